//! The port: connections are taken, counted and served each in a task of its own, until the server is to stop.

use super::connection;
use super::locks::Locks;
use super::notices::Channels;
use super::session::Shared;
use super::settings::Settings;
use super::wire::scram::Secret;
use base::{Blame, Chance, Clock, Fault, Kind, Scope};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections that are told at a time that there is no place for them.
const REFUSED_MAX: usize = 64;
/// The pause when no connection can be taken, as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves Message DB's interface on a listener until `stop` is asked to stop. Then idle connections are told and
/// closed at once, and those with a statement or a transaction under way have [`Settings::drain_wait`].
///
/// Fails at once where the listener is open to other machines and there is no password.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: Settings,
    clock: Clock,
    stop: Scope,
) -> Result<(), Fault> {
    let address = listener.local_addr().map_err(|error| {
        Fault::new(Kind::Io, "the listener of Message DB's port has no address")
            .blame(Blame::Us)
            .because(error)
    })?;
    settings.check(address)?;
    let secret = settings
        .password
        .as_deref()
        .map(Secret::new)
        .transpose()
        .map_err(|error| Fault::new(Kind::Io, error.message))?;
    let (places, refusals) =
        (Arc::new(Semaphore::new(settings.connections_max)), Arc::new(Semaphore::new(REFUSED_MAX)));
    let drain_wait = settings.drain_wait;
    let startup_wait = settings.startup_wait;
    let shared = Arc::new(Shared {
        store,
        settings,
        clock: clock.clone(),
        chance: Chance::from_entropy(),
        locks: Locks::default(),
        channels: Channels::default(),
        sessions: Mutex::default(),
    });
    let mut connections = JoinSet::new();
    let mut pid = 0_i32;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopping() => break,
            accepted = listener.accept() => accepted,
            // Ended tasks are let go as they end.
            Some(_) = connections.join_next() => continue,
        };
        let Ok((socket, _)) = accepted else {
            clock.sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Small answers go out at once; a socket without this option only is slower.
        drop(socket.set_nodelay(true));
        if let Ok(place) = places.clone().try_acquire_owned() {
            pid = pid.checked_add(1).unwrap_or(1);
            let session = connection::serve(socket, shared.clone(), secret.clone(), pid, stop.clone());
            connections.spawn(async move {
                session.await;
                drop(place);
            });
        } else if let Ok(refusal) = refusals.clone().try_acquire_owned() {
            connections.spawn(async move {
                connection::refuse(socket, startup_wait).await;
                drop(refusal);
            });
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = clock.sleep(drain_wait) => {}
    }
    connections.shutdown().await;
    Ok(())
}
