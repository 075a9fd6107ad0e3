//! Connections of one core to backends: idle ones, for one request at a time, and shared ones, that carry many.
//! No other core touches them: a request stays on the core that accepted it, so the lock is waited for only while
//! somebody counts them.

use super::Endpoint;
use base::Moment;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::{Connection, Speak};

/// Shared connections to each endpoint of each core. When all are full, requests wait for a place on the one
/// with the fewest.
const SHARED_PER_ENDPOINT: usize = 16;

/// How long an idle connection is kept: shorter than the idle time-outs of common servers (Node 5 s is the
/// shortest; a request that crosses such a close is repeated on a new connection).
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Pool {
    worker: usize,
    idle_max: usize,
    /// By number.
    endpoints: Mutex<BTreeMap<usize, Arc<LocalEndpoint>>>,
}

/// An endpoint as one core sees it: with the connections that the core keeps to it.
pub(crate) struct LocalEndpoint {
    endpoint: Arc<Endpoint>,
    worker: usize,
    idle_max: usize,
    kept: Mutex<Kept>,
}

/// What is kept of one endpoint.
#[derive(Default)]
struct Kept {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// Held by whoever opens a connection that others may share.
    opening: Arc<tokio::sync::Mutex<()>>,
    /// Whether the last connection was one for a request at a time: then nobody waits for another's.
    alone: bool,
}

struct Idle {
    connection: Connection,
    since: Moment,
}

struct Shared {
    connection: Connection,
    /// Since when nobody has used it, as far as the sweep has seen.
    quiet_since: Option<Moment>,
}

/// What the pool has for a request.
pub(crate) enum Taken {
    /// This connection.
    Connection(Connection),
    /// Leave to open one.
    Open,
    /// Leave to open one that others may share, to whoever holds this.
    OpenInTurn(Arc<tokio::sync::Mutex<()>>),
}

impl Pool {
    /// The pool of this worker, with at most so many idle connections for each endpoint.
    pub(crate) fn new(worker: usize, idle_max: usize) -> Self {
        Self { worker, idle_max, endpoints: Mutex::default() }
    }

    /// An endpoint as this core sees it.
    pub(crate) fn of(&self, endpoint: &Arc<Endpoint>) -> Arc<LocalEndpoint> {
        let local = || {
            let (endpoint, worker, idle_max) = (endpoint.clone(), self.worker, self.idle_max);
            Arc::new(LocalEndpoint { endpoint, worker, idle_max, kept: Mutex::default() })
        };
        self.lock().entry(endpoint.number).or_insert_with(local).clone()
    }

    /// Drops what is dead or has been idle for too long. Run from time to time by the core.
    pub(crate) fn sweep(&self, now: Moment) {
        self.lock().retain(|_, local| {
            let mut kept = local.lock();
            kept.idle.retain_mut(|idle| !idle.connection.is_closed() && now.since(idle.since) < IDLE_TIMEOUT);
            kept.shared.retain_mut(|shared| !shared.connection.is_closed() && shared.is_wanted(now));
            // A request may be about to keep one.
            !kept.idle.is_empty() || !kept.shared.is_empty() || Arc::strong_count(local) > 1
        });
    }

    /// How many connections are kept to each endpoint: idle ones, and shared ones.
    pub(crate) fn each(&self, mut tell: impl FnMut(&Endpoint, [usize; 2])) {
        for local in self.lock().values() {
            let kept = local.lock();
            tell(&local.endpoint, [kept.idle.len(), kept.shared.len()]);
        }
    }

    /// Drops all connections: the gateway drains. What is remembered of endpoints goes with the next sweep.
    pub(crate) fn clear(&self) {
        for local in self.lock().values() {
            let mut kept = local.lock();
            kept.idle.clear();
            kept.shared.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<LocalEndpoint>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for LocalEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl LocalEndpoint {
    /// Whether it is this endpoint.
    pub(crate) fn is(&self, endpoint: &Arc<Endpoint>) -> bool {
        Arc::ptr_eq(&self.endpoint, endpoint)
    }

    /// The worker whose it is.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// A connection that speaks this and can carry a request now: the idle one used last, or a share. Dead and
    /// old ones are dropped.
    pub(crate) fn take(&self, speak: Speak, now: Moment) -> Taken {
        let mut kept = self.lock();
        if speak == Speak::Http1 {
            return kept.take_idle(now).map_or(Taken::Open, Taken::Connection);
        }
        let either = speak == Speak::Either;
        let idle = |kept: &mut Kept| if either { kept.take_idle(now) } else { None };
        match kept.share().or_else(|| idle(&mut kept)) {
            Some(connection) => Taken::Connection(connection),
            None if kept.alone && either => Taken::Open,
            None => Taken::OpenInTurn(kept.opening.clone()),
        }
    }

    /// A share of a connection that somebody else has opened meanwhile.
    pub(crate) fn share(&self) -> Option<Connection> {
        self.lock().share()
    }

    /// A connection that was just opened: itself, or a share of it when it carries many.
    pub(crate) fn opened(&self, mut connection: Connection) -> Connection {
        let share = connection.share();
        let mut kept = self.lock();
        kept.alone = share.is_none();
        match share {
            None => connection,
            Some(share) => {
                if kept.shared.len() < SHARED_PER_ENDPOINT {
                    kept.shared.push(Shared { connection, quiet_since: None });
                }
                share
            }
        }
    }

    /// Keeps a connection whose last response has passed whole. Whether it still lives is seen when it is taken.
    pub(crate) fn keep(&self, connection: Connection, now: Moment) {
        if !connection.can_upgrade() {
            return;
        }
        let idle = &mut self.lock().idle;
        if idle.len() < self.idle_max {
            idle.push(Idle { connection, since: now });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The idle connection used last, unless it is dead or something came on it that nobody asked for: the next
    /// request must not take that for its answer.
    fn take_idle(&mut self, now: Moment) -> Option<Connection> {
        while let Some(Idle { mut connection, since }) = self.idle.pop() {
            if !connection.is_closed() && now.since(since) < IDLE_TIMEOUT {
                return Some(connection);
            }
        }
        None
    }

    /// A share of a connection with room: the first, so that the others may fall idle. Of full ones only
    /// when there may be no more.
    fn share(&mut self) -> Option<Connection> {
        self.shared.retain_mut(|shared| !shared.connection.is_closed());
        let full = self.shared.len() >= SHARED_PER_ENDPOINT;
        let shared = match self.shared.iter_mut().position(|shared| shared.connection.has_room()) {
            Some(at) => &mut self.shared[at],
            None if full => self.shared.iter_mut().min_by_key(|shared| shared.connection.shares())?,
            None => return None,
        };
        shared.quiet_since = None;
        shared.connection.share()
    }
}

impl Shared {
    fn is_wanted(&mut self, now: Moment) -> bool {
        if self.connection.shares() > 0 {
            self.quiet_since = None;
            return true;
        }
        now.since(*self.quiet_since.get_or_insert(now)) < IDLE_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn by() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }
    use testkit::{After, H2Backend};
    use wire::{Dialer, Origin};

    /// The pool of an endpoint that speaks HTTP/2, with one connection, and a share of that.
    async fn with_a_share(backend: &H2Backend) -> (Pool, Arc<LocalEndpoint>, Connection) {
        let pool = Pool::new(0, 64);
        let endpoint = pool.of(&Arc::new(Endpoint::fleeting(&backend.url(), Moment::default()).unwrap()));
        assert!(matches!(endpoint.take(Speak::Http2, Moment::default()), Taken::OpenInTurn(_)));
        let origin = Origin::parse(&backend.url()).unwrap();
        let share = endpoint.opened(Dialer::default().dial(&origin).await.unwrap());
        (pool, endpoint, share)
    }

    #[tokio::test]
    async fn a_shared_connection_is_kept_while_it_is_used_and_for_the_idle_time() {
        let backend = H2Backend::echo().await;
        let (pool, endpoint, share) = with_a_share(&backend).await;
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        pool.sweep(at(100));
        let Taken::Connection(other) = endpoint.take(Speak::Http2, at(100)) else { panic!("it is in use") };
        drop((share, other));
        pool.sweep(at(200));
        pool.sweep(at(219));
        assert!(endpoint.share().is_some(), "19 seconds are not too long");
        pool.sweep(at(230));
        pool.sweep(at(250));
        assert!(endpoint.share().is_none());
        backend.all_closed().await;
        drop(endpoint);
        pool.sweep(at(250));
        assert_eq!(pool.lock().len(), 0, "nothing is remembered");
    }

    #[tokio::test]
    async fn a_connection_that_takes_no_more_requests_is_not_shared() {
        let backend = H2Backend::start(|mut request| async move {
            request.answer_whole(200, "");
            After::GoAway
        })
        .await;
        let (_pool, endpoint, mut share) = with_a_share(&backend).await;
        let request = || {
            let mut request = wire::Request::default();
            *request.uri_mut() = "/".parse().unwrap();
            request
        };
        assert!(share.send(request(), by()).await.is_ok());
        backend.all_closed().await;
        while !share.is_closed() {
            assert!(share.send(request(), by()).await.unwrap_err().body.is_some(), "nothing of it was sent");
        }
        assert!(endpoint.share().is_none());
    }
}
