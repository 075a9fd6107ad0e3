//! Idle connections of one core. No other core touches them: a request stays on the core that accepted it,
//! so the lock is never waited for.

use super::Endpoint;
use base::Moment;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wire::Connection;

/// Idle connections kept for each endpoint by each core (Skipper's `-idle-conns-num` default).
const IDLE_PER_ENDPOINT: usize = 64;

/// How long an idle connection is kept: shorter than the idle time-outs of common servers (Node 5 s is the
/// shortest; a request that crosses such a close is repeated on a new connection).
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<usize, Vec<Idle>>>,
}

struct Idle {
    connection: Connection,
    since: Moment,
}

impl Pool {
    /// An idle connection to this endpoint, the one used last first; dead and old ones are dropped.
    pub(crate) fn take(&self, endpoint: &Endpoint, now: Moment) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(&endpoint.number)?;
        while let Some(Idle { connection, since }) = connections.pop() {
            if !connection.is_closed() && now.since(since) < IDLE_TIMEOUT {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last response has passed whole.
    pub(crate) fn keep(&self, endpoint: &Endpoint, connection: Connection, now: Moment) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(endpoint.number).or_default();
        if connections.len() < IDLE_PER_ENDPOINT {
            connections.push(Idle { connection, since: now });
        }
    }

    /// Drops what is dead or has been idle for too long. Run from time to time by the core.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|idle| !idle.connection.is_closed() && now.since(idle.since) < IDLE_TIMEOUT);
            !connections.is_empty()
        });
    }

    /// Drops all: the gateway drains.
    pub(crate) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
