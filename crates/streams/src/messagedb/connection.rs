//! One connection, from its first byte to its last: it is let in, its queries are run one after the other, and what
//! they answer is sent as it is found (documentation of PostgreSQL 15, 55.2).

mod extended;
mod simple;

use super::commands::Deallocate;
use super::error::{Severity, Sql, SqlError};
use super::notices::Listening;
use super::plan::{self, Plan};
use super::session::{Session, Shared};
use super::sql::{self, Statement};
use super::transaction::Block;
use super::types::Type;
use super::wire::backend::Out;
use super::wire::frontend::{self, Message, STARTUP_BYTES_MAX, Startup};
use super::wire::scram::{MECHANISM, MECHANISMS, Secret};
use base::Scope;
use bytes::{Bytes, BytesMut};
use extended::Prepared;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Plans of statements that a connection sent before and may send again.
const PLANS_MAX: usize = 100;
/// Bytes of a statement whose plan is kept.
const PLANNED_BYTES_MAX: usize = 4_096;
/// Portals of a connection, each of which may hold a page of messages.
const PORTALS_MAX: usize = 32;
/// Bytes that are read at a time.
const READ_BYTES: usize = 16 << 10;

/// The bytes of a connection, in and out.
#[derive(Debug)]
struct Wire<S> {
    socket: S,
    received: BytesMut,
    out: Out,
    send_wait: Duration,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Connection<S> {
    wire: Wire<S>,
    session: Session,
    listening: Listening,
    prepared: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, extended::Portal>,
    plans: HashMap<(String, Vec<Type>), Arc<Prepared>>,
    /// An error was told; messages up to `Sync` are passed over.
    skipping: bool,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client is gone, or said so.
    Gone,
    /// It is told why.
    Told(Box<SqlError>),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// An error of a statement, with whether the connection stands it.
impl From<Box<SqlError>> for End {
    fn from(error: Box<SqlError>) -> Self {
        Self::Told(error)
    }
}

/// Serves a connection until it ends. `pid` is the session's number.
pub(super) async fn serve<S>(socket: S, shared: Arc<Shared>, secret: Option<Secret>, pid: i32, stop: Scope)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let send_wait = shared.settings.send_wait;
    let mut wire = Wire { socket, received: BytesMut::new(), out: Out::default(), send_wait };
    let begun =
        tokio::time::timeout(shared.settings.startup_wait, begin(&mut wire, &shared, secret, pid)).await;
    let session = match begun {
        Ok(Ok(Some(session))) => session,
        other => {
            shared.leave(pid);
            if let Ok(Err(End::Told(error))) = other {
                wire.last_words(&error).await;
            }
            return;
        }
    };
    let mut connection = Connection {
        wire,
        session,
        listening: Listening::default(),
        prepared: HashMap::new(),
        portals: HashMap::new(),
        plans: HashMap::new(),
        skipping: false,
    };
    let end = connection.run(&stop).await;
    connection.session.rollback();
    connection.session.shared.leave(pid);
    if let End::Told(error) = end {
        connection.wire.last_words(&error).await;
    }
}

/// Tells a client that there is no place for it.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin + Send>(socket: S, wait: Duration) {
    let mut wire = Wire { socket, received: BytesMut::new(), out: Out::default(), send_wait: wait };
    let told = async {
        // Clients expect the answer behind their own first message.
        let first = wire.receive(false, STARTUP_BYTES_MAX).await;
        if first.is_ok() {
            wire.last_words(&SqlError::fatal("53300", "sorry, too many clients already")).await;
        }
    };
    drop(tokio::time::timeout(wait, told).await);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    /// The next message, whole.
    async fn receive(&mut self, typed: bool, bytes_max: usize) -> Result<Bytes, End> {
        loop {
            if let Some(length) = frontend::length(&self.received, typed, bytes_max)? {
                return Ok(self.received.split_to(length).freeze());
            }
            self.received.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(End::Gone);
            }
        }
    }

    /// Whether `Sync` has come and nothing is executed before it: sqlx closes its portal in between.
    fn syncs_next(&self) -> bool {
        let mut left = &self.received[..];
        while let Some(b'C' | b'H') = left.first() {
            match frontend::length(left, true, usize::MAX) {
                Ok(Some(length)) => left = &left[length..],
                _ => return false,
            }
        }
        left.first() == Some(&b'S')
    }

    async fn send(&mut self) -> Result<(), End> {
        if !self.out.0.is_empty() {
            let sent = tokio::time::timeout(self.send_wait, self.socket.write_all(&self.out.0)).await;
            sent.map_err(|_| End::Gone)??;
            self.out.0.clear();
            // What one large row needed is not kept for good.
            self.out.0.shrink_to(1 << 20);
        }
        Ok(())
    }

    async fn last_words(&mut self, error: &SqlError) {
        self.out.error(&SqlError { severity: Severity::Fatal, ..error.clone() }, "");
        if self.send().await.is_ok() {
            drop(self.socket.shutdown().await);
        }
    }
}

/// Lets a client in, or not. `None` is a connection that only cancelled a statement.
async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send>(
    wire: &mut Wire<S>,
    shared: &Arc<Shared>,
    secret: Option<Secret>,
    pid: i32,
) -> Result<Option<Session>, End> {
    let (minor, given) = loop {
        let bytes = wire.receive(false, STARTUP_BYTES_MAX).await?;
        match frontend::startup(&bytes)? {
            Startup::Encrypt => {
                wire.out.0.push(b'N');
                wire.send().await?;
            }
            Startup::Cancel { pid, secret } => {
                shared.cancel(pid, secret);
                return Ok(None);
            }
            Startup::Begin { minor, parameters } => {
                let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                break (minor, parameters.iter().map(owned).collect::<Vec<_>>());
            }
        }
    };
    let get = |wanted: &str| given.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let user = get("user")
        .ok_or_else(|| SqlError::fatal("28000", "no PostgreSQL user name specified in startup packet"))?;
    let mut session = Session::new(shared.clone(), pid, user, get("database").unwrap_or(user));
    if shared.settings.sql_condition {
        session.parameters.begin_with("message_store.sql_condition", "on")?;
    }
    let mut unknown = Vec::new();
    for (name, value) in &given {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => options(value, &mut session)?,
            // Clients say where they are, as JDBC does; times are told in UTC with their offset all the same.
            name if name.eq_ignore_ascii_case("timezone") => drop(session.parameters.begin_with(name, value)),
            name if name.starts_with("_pq_.") => unknown.push(name),
            name => session.parameters.begin_with(name, value)?,
        }
    }
    if minor > 0 || !unknown.is_empty() {
        wire.out.negotiate(&unknown);
    }
    if let Some(secret) = secret {
        authenticate(wire, &secret, user).await?;
    }
    wire.out.authentication(0, &[]);
    let mut key = [0; 4];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| SqlError::fatal("XX000", "there is no randomness"))?;
    let key = i32::from_be_bytes(key);
    shared.enter(pid, key, session.cancel.clone());
    for (name, value) in session.parameters.told() {
        let value = if name == "session_authorization" { user } else { value };
        wire.out.parameter(name, value);
    }
    wire.out.key(pid, key);
    wire.out.ready(b'I');
    wire.send().await?;
    Ok(Some(session))
}

/// `-c name=value` and `--name=value` of the startup message; a backslash takes the next character as it is.
fn options(text: &str, session: &mut Session) -> Sql<()> {
    let mut words: Vec<String> = vec![String::new()];
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        let last = words.len() - 1;
        match next {
            '\\' => words[last].extend(rest.next()),
            next if next.is_whitespace() => words.push(String::new()),
            next => words[last].push(next),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().unwrap_or_default(),
            Some(setting) => setting.to_owned(),
            None => word,
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            SqlError::fatal("42601", format!("invalid command-line argument for server process: {setting}"))
        })?;
        session.parameters.begin_with(name, value)?;
    }
    Ok(())
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin + Send>(
    wire: &mut Wire<S>,
    secret: &Secret,
    user: &str,
) -> Result<(), End> {
    wire.out.authentication(10, MECHANISMS);
    wire.send().await?;
    let bytes = wire.receive(true, STARTUP_BYTES_MAX).await?;
    let (mechanism, said) = frontend::sasl_begin(frontend::password(&bytes)?)?;
    if mechanism != MECHANISM {
        return Err(
            SqlError::fatal("08P01", "client selected an invalid SASL authentication mechanism").into()
        );
    }
    let (exchange, first) = secret.begin(said)?;
    wire.out.authentication(11, first.as_bytes());
    wire.send().await?;
    let bytes = wire.receive(true, STARTUP_BYTES_MAX).await?;
    let last = exchange.finish(frontend::password(&bytes)?, user)?;
    wire.out.authentication(12, last.as_bytes());
    Ok(())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Takes message after message until the connection ends, and why.
    async fn run(&mut self, stop: &Scope) -> End {
        loop {
            let bytes = match self.next(stop).await {
                Ok(bytes) => bytes,
                Err(end) => return end,
            };
            if let Err(end) = self.take(&bytes).await {
                return end;
            }
        }
    }

    /// The next message. While there is none, notifications go out, and the wait has an end.
    async fn next(&mut self, stop: &Scope) -> Result<Bytes, End> {
        let settings = &self.session.shared.settings;
        let (idle, open, bytes_max) =
            (settings.idle_wait, settings.transaction_idle_wait, settings.message_bytes_max);
        let in_block = self.session.transaction.block != Block::None;
        let own = self.session.parameters.wait("idle_in_transaction_session_timeout");
        let wait = if in_block { own.unwrap_or(open).min(open) } else { idle };
        let waited = tokio::time::sleep(wait);
        tokio::pin!(waited);
        loop {
            if let Some(length) = frontend::length(&self.wire.received, true, bytes_max)? {
                return Ok(self.wire.received.split_to(length).freeze());
            }
            self.wire.send().await?;
            self.wire.received.reserve(READ_BYTES);
            tokio::select! {
                biased;
                read = self.wire.socket.read_buf(&mut self.wire.received) => {
                    if read? == 0 {
                        return Err(End::Gone);
                    }
                }
                notification = self.listening.heard(), if !in_block => {
                    self.wire.out.notification(notification.pid, &notification.channel, &notification.payload);
                }
                // A transaction under way may still come to its end.
                () = stop.stopping(), if !in_block => {
                    let text = "terminating connection due to administrator command";
                    return Err(SqlError::fatal("57P01", text).into());
                }
                () = &mut waited => {
                    return Err(if in_block {
                        SqlError::fatal("25P03", "terminating connection due to idle-in-transaction timeout")
                    } else {
                        SqlError::fatal("57P05", "terminating connection due to idle-session timeout")
                    }.into());
                }
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        let message = match frontend::message(bytes) {
            Ok(message) => message,
            Err(error) if error.severity == Severity::Fatal => return Err(error.into()),
            Err(error) => {
                self.failed(&error, "");
                // A query that could not be read has an end of its own; the extended protocol goes on to `Sync`.
                if bytes.first() == Some(&b'Q') {
                    self.ready().await?;
                } else {
                    self.skipping = true;
                }
                return Ok(());
            }
        };
        match message {
            Message::Terminate => Err(End::Gone),
            Message::Sync => {
                self.skipping = false;
                self.sync().await
            }
            Message::Copy => Ok(()),
            _ if self.skipping => Ok(()),
            Message::Query(sql) => self.query(sql).await,
            Message::Flush => self.wire.send().await,
            message => {
                let sql = if let Message::Parse { sql, .. } = &message { sql } else { "" };
                match self.extended(&message).await {
                    Ok(()) => Ok(()),
                    Err(End::Told(error)) => {
                        self.failed(&error, sql);
                        self.skipping = true;
                        Ok(())
                    }
                    Err(gone) => Err(gone),
                }
            }
        }
    }

    /// Tells of an error, and the transaction with it fails.
    fn failed(&mut self, error: &SqlError, sql: &str) {
        self.told(sql);
        self.wire.out.error(error, sql);
        self.session.fail();
        self.portals.clear();
    }

    /// Sends what is to be told before a statement's end.
    fn told(&mut self, sql: &str) {
        for notice in self.session.notices.drain(..) {
            self.wire.out.error(&notice, sql);
        }
        for name in std::mem::take(&mut self.session.changed) {
            let value = self.session.parameters.get(&name).unwrap_or_default();
            self.wire.out.parameter(&super::parameters::canonical(&name), value);
        }
    }

    /// Ends an implicit transaction and says that the next query may come.
    async fn ready(&mut self) -> Result<(), End> {
        if self.session.transaction.block == Block::Implicit
            && let Err(error) = self.session.commit().await
        {
            self.failed(&error, "");
        }
        if self.session.transaction.block == Block::None {
            // Portals do not outlive their transaction.
            self.portals.clear();
            while let Some(notification) = self.listening.heard_now() {
                self.wire.out.notification(notification.pid, &notification.channel, &notification.payload);
            }
        }
        self.wire.out.ready(self.session.transaction.status());
        Ok(())
    }

    /// Refuses what a failed transaction does not take.
    fn check_block(&self, statement: &Statement) -> Sql<()> {
        if self.session.transaction.block == Block::Failed && !super::commands::ends_failure(statement) {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new("25P02", text));
        }
        Ok(())
    }

    /// Forgets prepared statements.
    fn deallocate(&mut self, what: &Deallocate) -> Sql<()> {
        match what {
            Deallocate::None => {}
            Deallocate::All => self.prepared.clear(),
            Deallocate::One(name) if self.prepared.remove(name).is_some() => {}
            Deallocate::One(name) => {
                return Err(SqlError::new("26000", format!("prepared statement \"{name}\" does not exist")));
            }
        }
        Ok(())
    }
}

/// Understands one statement of a query of the simple protocol.
fn understood(statement: Statement) -> Sql<Arc<Plan>> {
    Ok(Arc::new(plan::plan(statement, None)?))
}

/// The statements of a query.
fn parsed(sql: &str) -> Sql<Vec<Statement>> {
    sql::parse(sql)
}
