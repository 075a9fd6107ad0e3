//! The port: connections are taken, counted and served each in a task of its own, until the server is to stop.

use super::connection;
use super::locks::Locks;
use super::notices::Channels;
use super::session::Shared;
use super::settings::Settings;
use super::wire::scram::Secret;
use base::{Blame, Chance, Clock, Fault, Kind, Scope};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections that are told at a time that there is no place for them.
const REFUSED_MAX: usize = 64;
/// The pause when no connection can be taken, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Message DB's interface over a store: what all its connections share. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
    secret: Option<Secret>,
    numbers: Arc<AtomicU32>,
    places: Arc<Semaphore>,
}

/// Serves Message DB's interface on a listener until `stop` is asked to stop: [`Server::new`] and
/// [`Server::serve`].
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: Settings,
    clock: Clock,
    stop: Scope,
) -> Result<(), Fault> {
    Server::new(store, settings, clock)?.serve(listener, stop).await
}

impl Server {
    /// An interface that nobody reaches yet. Fails where the settings make no sense.
    pub fn new(store: Store, settings: Settings, clock: Clock) -> Result<Self, Fault> {
        let secret = settings.password.as_deref().map(Secret::new).transpose();
        let secret = secret.map_err(|error| Fault::new(Kind::Io, error.message))?;
        let places = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            store,
            settings,
            clock,
            chance: Chance::from_entropy(),
            locks: Locks::default(),
            channels: Channels::default(),
            sessions: Mutex::default(),
        });
        Ok(Self { shared, secret, numbers: Arc::default(), places })
    }

    /// Serves a listener until `stop` is asked to stop. Then idle connections are told and closed at once, and
    /// those with a statement or a transaction under way have [`Settings::drain_wait`].
    ///
    /// Fails at once where the listener is open to other machines and there is no password.
    pub async fn serve(&self, listener: TcpListener, stop: Scope) -> Result<(), Fault> {
        let settings = &self.shared.settings;
        let address = listener.local_addr().map_err(|error| {
            let text = "the listener of Message DB's port has no address";
            Fault::new(Kind::Io, text).blame(Blame::Us).because(error)
        })?;
        settings.check(address)?;
        let refusals = Arc::new(Semaphore::new(REFUSED_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.stopping() => break,
                accepted = listener.accept() => accepted,
                // Ended tasks are let go as they end.
                Some(_) = connections.join_next() => continue,
            };
            let Ok((socket, _)) = accepted else {
                self.shared.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Small answers go out at once; a socket without this option only is slower.
            drop(socket.set_nodelay(true));
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                let (server, stop) = (self.clone(), stop.clone());
                connections.spawn(async move {
                    server.connection(socket, stop).await;
                    drop(place);
                });
            } else if let Ok(refusal) = refusals.clone().try_acquire_owned() {
                let wait = settings.startup_wait;
                connections.spawn(async move {
                    connection::refuse(socket, wait).await;
                    drop(refusal);
                });
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = drained => {}
            () = self.shared.clock.sleep(settings.drain_wait) => {}
        }
        connections.shutdown().await;
        Ok(())
    }

    /// Serves one connection, whatever carries its bytes, until it ends.
    pub async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, socket: S, stop: Scope) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) & 0x3fff_ffff;
        let pid = i32::try_from(number).unwrap_or(0) + 1;
        connection::serve(socket, self.shared.clone(), self.secret.clone(), pid, stop).await;
    }
}
