//! A connection to an endpoint: an idle one, a share of one that carries many requests, or a new one.

use crate::backend::{Endpoint, LocalEndpoint, Taken};
use crate::engine::Gateway;
use base::{Fault, Kind, Moment};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use wire::{Connection, Scheme, Speak};

/// How long an idle connection may take to be ready.
const READY_WAIT: Duration = Duration::from_millis(5);

impl Gateway {
    /// What a request to this endpoint must be carried by: gRPC is nothing without HTTP/2, so an `http://`
    /// address that is called that way is meant to speak it.
    pub(crate) fn speaks(&self, endpoint: &Endpoint, grpc: bool) -> Speak {
        match endpoint.origin.scheme {
            Scheme::Http if grpc => Speak::Http2,
            _ => self.plane().settings.dialer.speaks(&endpoint.origin),
        }
    }

    /// A connection to an endpoint that speaks this, by this time. `idle_ones`: whether one that was used
    /// before will do.
    pub(crate) async fn connect(
        &self,
        endpoint: &LocalEndpoint,
        speak: Speak,
        now: Moment,
        by: tokio::time::Instant,
        idle_ones: bool,
    ) -> Result<Connection, Fault> {
        let taken = if idle_ones {
            match endpoint.take(speak, now) {
                Taken::Connection(mut connection) => {
                    if connection.is_ready() {
                        return Ok(connection);
                    }
                    Some(connection)
                }
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
            self.reach(endpoint, speak, idle_ones).await
        });
        tokio::time::timeout_at(by, reach).await.unwrap_or_else(|_| {
            Err(Fault::new(Kind::Timeout, format!("no connection to `{}` in time", endpoint.origin)))
        })
    }

    /// A connection from the pool, or a new one.
    async fn reach(
        &self,
        endpoint: &LocalEndpoint,
        speak: Speak,
        idle_ones: bool,
    ) -> Result<Connection, Fault> {
        let turn = if idle_ones {
            match self.kept(endpoint, speak).await {
                Ok(connection) => return Ok(connection),
                Err(turn) => turn,
            }
        } else {
            None
        };
        let connection = self.plane().settings.dialer.dial_speaking(&endpoint.origin, speak).await?;
        if speak == Speak::Http1 {
            return Ok(connection);
        }
        let connection = endpoint.opened(connection);
        drop(turn);
        Ok(connection)
    }

    /// A connection from the pool; without one, leave to open one, held while it is being opened if others
    /// wait for it.
    async fn kept(
        &self,
        endpoint: &LocalEndpoint,
        speak: Speak,
    ) -> Result<Connection, Option<OwnedMutexGuard<()>>> {
        loop {
            match endpoint.take(speak, self.now()) {
                Taken::Connection(connection) => {
                    if let Some(connection) = usable(connection).await {
                        return Ok(connection);
                    }
                }
                Taken::Open => return Err(None),
                // Many requests at once shall share one new connection and not open one each.
                Taken::OpenInTurn(opening) => {
                    let turn = opening.lock_owned().await;
                    return endpoint.share().ok_or(Some(turn));
                }
            }
        }
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
