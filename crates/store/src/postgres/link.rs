//! Connections to the server: how they are made, shared and given back, and what their errors mean to a caller.
//! The address holds a password, so that no error shows any of it but host, port and database.

use super::password;
use super::tls::{self, Tls};
use base::{Blame, Fault, Kind, Retry};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, Statement};

/// Longest wait for one answer of the server. Its own limits below end sooner, and say more.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Longest wait for a connection that is free.
const FREE_WAIT: Duration = Duration::from_secs(10);
/// How long a server that does not answer is dialled again before that is said.
const DIAL_FOR: Duration = Duration::from_secs(5);
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What each connection to a store sets. A server whose settings do not make a commit durable does so for us. Plans
/// are made while a table is small and kept while it grows, so that they have to use its indexes from the beginning.
/// Functions of Message DB's own scripts find each other by the search path alone.
pub(super) const STORE_SETTINGS: &str = "
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';
    SET search_path = message_store, public;
    SET enable_seqscan = off;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// What stands for `$1` and on.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Connections to one database, for whoever keeps something in it beside the store.
#[derive(Debug)]
pub struct Links {
    config: Config,
    tls: Tls,
    /// What each connection sets first.
    settings: &'static str,
    /// Where connections live, whoever asks for them.
    runtime: Handle,
    idle: Mutex<Vec<Link>>,
    free: Arc<Semaphore>,
    place: String,
}

/// One connection, with the statements that it knows.
#[derive(Debug)]
pub struct Link {
    pub(super) client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection in somebody's hands. Dropping it closes it: what was going on in it is rolled back. Who is done
/// gives it back.
#[derive(Debug)]
pub struct Lent {
    link: Link,
    _free: OwnedSemaphorePermit,
    links: Arc<Links>,
}

impl std::ops::Deref for Lent {
    type Target = Link;
    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Lent {
    /// Gives a connection back that is in no transaction.
    pub fn give_back(self) {
        if !self.link.client.is_closed() {
            self.links.idle().push(self.link);
        }
    }
}

impl Link {
    /// What statements are given to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The statement of this text, prepared once.
    pub(super) async fn statement(&self, sql: &str) -> Result<Statement, Error> {
        let statements = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        statements().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Links {
    /// Reads an address, and looks for the password if it has none. No connection is made: each sets what `settings`
    /// says before it is used, and lives on the runtime that this is called in.
    pub fn new(url: &str, connections: usize, settings: &'static str) -> Result<Arc<Self>, Fault> {
        let malformed = || {
            let text = "the address of the PostgreSQL database can't be read";
            Fault::new(Kind::Invalid, text)
                .hint("write `postgres://USER:PASSWORD@HOST:5432/DATABASE`, special characters as `%40`")
        };
        // What is wrong is not shown: it may be a part of the password.
        let mut config: Config = url.parse().map_err(|_| malformed())?;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(malformed()),
        };
        if host.contains('@') {
            return Err(malformed());
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default().to_owned();
        // As libpq has it: a password need not stand in the address.
        if config.get_password().is_none()
            && let Some(password) = password::of(&host, port, &database, config.get_user())?
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("tombolo");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(DIAL_TIMEOUT);
        }
        // "If it happens to go" protects from nobody: it is asked for, or left.
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        // A network that swallows everything is noticed in half a minute.
        config.keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(30));
        Ok(Arc::new(Self {
            tls: Tls::default(),
            settings,
            runtime: Handle::current(),
            idle: Mutex::default(),
            free: Arc::new(Semaphore::new(connections)),
            place: format!("database `{database}` at `{host}:{port}`"),
            config,
        }))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the server is, as it may be shown.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A connection out of those that may be used at once, made if none is idle.
    pub async fn lend(self: &Arc<Self>) -> Result<Lent, Fault> {
        let free = tokio::time::timeout(FREE_WAIT, self.free.clone().acquire_owned()).await;
        let Ok(Ok(free)) = free else {
            let text = format!("no connection to {} was free for `{}` s", self.place, FREE_WAIT.as_secs());
            return Err(Fault::new(Kind::Unavailable, text).retry(Retry::Safe));
        };
        let idle = std::iter::from_fn(|| self.idle().pop()).find(|link| !link.client.is_closed());
        let link = match idle {
            Some(link) => link,
            None => self.connect_patiently().await?,
        };
        Ok(Lent { link, _free: free, links: self.clone() })
    }

    async fn connect_patiently(&self) -> Result<Link, Fault> {
        let begun = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            match self.connect(|_, _| {}).await {
                Err(fault) if fault.kind == Kind::Unavailable && begun.elapsed() < DIAL_FOR => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                done => return done,
            }
        }
    }

    /// Makes a connection; `told` hears of its notifications.
    pub(super) async fn connect(&self, told: impl FnMut(&str, &str) + Send + 'static) -> Result<Link, Fault> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        // On the runtime where it is to live: its socket belongs to that one.
        let connecting = self.runtime.spawn(async move {
            let (client, mut connection) = config.connect(tls).await?;
            let mut told = told;
            let driver = tokio::spawn(async move {
                while let Some(Ok(message)) =
                    std::future::poll_fn(|context| connection.poll_message(context)).await
                {
                    if let AsyncMessage::Notification(notification) = message {
                        told(notification.channel(), notification.payload());
                    }
                }
            });
            let driver = driver.abort_handle();
            Ok::<_, Error>(Link { client, statements: Mutex::default(), driver })
        });
        let timeout = DIAL_TIMEOUT * 2;
        let connected = match tokio::time::timeout(timeout, connecting).await {
            Ok(Ok(Ok(link))) => link.client.batch_execute(self.settings).await.map(|()| link),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(ended)) => {
                return Err(Fault::new(Kind::Bug, "connecting to PostgreSQL failed").because(ended));
            }
            Err(_) => {
                let text = format!("{} does not answer within `{}` s", self.place, timeout.as_secs());
                return Err(Fault::new(Kind::Unavailable, text)
                    .retry(Retry::Safe)
                    .hint("look whether the server and the network between are well"));
            }
        };
        connected.map_err(|error| self.not_connected(error))
    }

    fn not_connected(&self, error: Error) -> Fault {
        let (kind, hint) = match error.code().map(SqlState::code) {
            Some("28P01" | "28000") => {
                let hint = "look at user and password of the address, and at the server's pg_hba.conf; \
                    `?sslmode=require` encrypts";
                (Kind::Refused, hint)
            }
            Some("3D000") => (Kind::NotFound, "make the database with `createdb`"),
            Some("53300") => {
                (Kind::Unavailable, "raise the server's `max_connections`, or use fewer connections here")
            }
            _ => match tls::remedy(&error) {
                Some(hint) => (Kind::Refused, hint),
                None => (Kind::Unavailable, "start the server, or correct its address"),
            },
        };
        let fault = Fault::new(kind, format!("cannot connect to {}", self.place)).hint(hint);
        fault.blame(Blame::Neighbour).retry(Retry::Safe).because(error)
    }

    /// What an error of a question means: nothing was changed by it, unless it was a `COMMIT` whose connection broke.
    pub fn failed(&self, error: Error) -> Fault {
        if is_broken(&error) {
            let text = format!("the connection to {} broke", self.place);
            return Fault::new(Kind::Unavailable, text).retry(Retry::Safe).because(error);
        }
        let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
        // The server's own words say more than our library's around them.
        let words = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        let text = format!("{} refused a statement: {words}", self.place);
        match code.as_str() {
            "42501" => Fault::new(Kind::Refused, text)
                .blame(Blame::Neighbour)
                .hint("give the role of the address the rights, or use the one that made the tables"),
            "57014" | "55P03" => Fault::new(Kind::Timeout, text)
                .retry(Retry::Safe)
                .hint("somebody may hold a lock of the category; look at pg_stat_activity"),
            "40001" | "40P01" => Fault::new(Kind::Conflict, text).blame(Blame::Neighbour).retry(Retry::Safe),
            // A correlation of thousands of bytes does not fit Message DB's index.
            "54000" | "54001" => Fault::new(Kind::TooMuch, text).retry(Retry::No),
            "53100" => Fault::new(Kind::Io, text).retry(Retry::Safe).hint("make room on the server's disk"),
            "25006" => Fault::new(Kind::Unavailable, text)
                .retry(Retry::Safe)
                .hint("the server is a standby; the address has to name the one that is written to"),
            _ => Fault::new(Kind::Io, text),
        }
    }

    /// Waits for an answer of the server, with a bound.
    pub async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        match tokio::time::timeout(ANSWER_WAIT, answer).await {
            Ok(answered) => answered.map_err(|error| self.failed(error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Fault {
        let text = format!("{} did not answer for `{}` s", self.place, ANSWER_WAIT.as_secs());
        Fault::new(Kind::Timeout, text).retry(Retry::Safe)
    }
}

/// Whether the connection is gone, so that nobody knows what became of the statement.
pub(super) fn is_broken(error: &Error) -> bool {
    match error.as_db_error() {
        // Only an ERROR leaves the connection as it was; FATAL and PANIC are the server's last words.
        Some(error) => {
            error.parsed_severity().is_none_or(|severity| {
                matches!(
                    severity,
                    tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic
                )
            }) || error.code().code().starts_with("08")
        }
        None => true,
    }
}
