//! A connection to an endpoint: an idle one, a share of one that carries many requests, or a new one.

use crate::backend::{Endpoint, Taken};
use crate::engine::Gateway;
use base::{Fault, Kind};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use wire::Connection;

/// How long an idle connection may take to be ready.
const READY_WAIT: Duration = Duration::from_millis(5);

impl Gateway {
    /// A connection to an endpoint, by this time. `idle_ones`: whether one that was used before will do;
    /// `upgrade`: whether it must be one that can change its protocol.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        by: tokio::time::Instant,
        idle_ones: bool,
        upgrade: bool,
    ) -> Result<Connection, Fault> {
        let now = self.now();
        let may_share = self.plane.settings.dialer.may_share(&endpoint.origin);
        let taken = if idle_ones && !upgrade {
            match self.core.pool.take(endpoint, may_share, now) {
                Taken::Connection(connection) if connection.is_ready() => return Ok(connection),
                Taken::Connection(connection) => Some(connection),
                Taken::Open | Taken::OpenInTurn(_) => None,
            }
        } else {
            None
        };
        // Boxed, so that the many requests that find a connection carry no room for opening one.
        let reach = Box::pin(async move {
            if let Some(connection) = taken
                && let Some(connection) = usable(connection).await
            {
                return Ok(connection);
            }
            if upgrade {
                self.reach_http1(endpoint, idle_ones).await
            } else {
                self.reach(endpoint, idle_ones).await
            }
        });
        tokio::time::timeout_at(by, reach).await.unwrap_or_else(|_| {
            Err(Fault::new(Kind::Timeout, format!("no connection to `{}` in time", endpoint.origin)))
        })
    }

    /// A connection from the pool, or a new one.
    async fn reach(&self, endpoint: &Endpoint, idle_ones: bool) -> Result<Connection, Fault> {
        let turn = if idle_ones {
            match self.kept(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(turn) => turn,
            }
        } else {
            None
        };
        let connection = self.plane.settings.dialer.dial(&endpoint.origin).await?;
        let connection = self.core.pool.opened(endpoint, connection);
        drop(turn);
        Ok(connection)
    }

    /// A connection from the pool; without one, leave to open one, held while it is being opened if others
    /// wait for it.
    async fn kept(&self, endpoint: &Endpoint) -> Result<Connection, Option<OwnedMutexGuard<()>>> {
        let pool = &self.core.pool;
        let may_share = self.plane.settings.dialer.may_share(&endpoint.origin);
        loop {
            match pool.take(endpoint, may_share, self.now()) {
                Taken::Connection(connection) => {
                    if let Some(connection) = usable(connection).await {
                        return Ok(connection);
                    }
                }
                Taken::Open => return Err(None),
                // Many requests at once shall share one new connection and not open one each.
                Taken::OpenInTurn(opening) => {
                    let turn = opening.lock_owned().await;
                    return pool.share(endpoint).ok_or(Some(turn));
                }
            }
        }
    }

    /// The same, of connections that can change their protocol.
    async fn reach_http1(&self, endpoint: &Endpoint, idle_ones: bool) -> Result<Connection, Fault> {
        while idle_ones && let Some(connection) = self.core.pool.take_idle(endpoint, self.now()) {
            if let Some(connection) = usable(connection).await {
                return Ok(connection);
            }
        }
        self.plane.settings.dialer.dial_http1(&endpoint.origin).await
    }
}

/// An idle connection, if it is ready. Its last response has passed, so it is ready now or after its own
/// bookkeeping; unless that response came early and the request's body is still on its way: then it is of no
/// use to us.
async fn usable(mut connection: Connection) -> Option<Connection> {
    let ready =
        connection.is_ready() || tokio::time::timeout(READY_WAIT, connection.ready()).await == Ok(true);
    ready.then_some(connection)
}
