//! The streams of messages of a running `tombolo up`: the store in its data directory, and Message DB's interface
//! to it.

use super::plan::Plan;
use super::screen::Screen;
use crate::wiring::{World, name_listener};
use base::{Fault, Kind, OnError, Scope};
use std::net::SocketAddr;
use std::time::Duration;
use store::{Embedded, LogOptions};
use streams::messagedb;

/// What is open of them.
pub(crate) struct Streams {
    /// Dropped last: whoever has it has the data directory.
    _store: Embedded,
    /// Where clients of Message DB are served.
    pub(crate) messagedb: Option<SocketAddr>,
    /// The servers.
    scope: Scope,
}

impl Streams {
    /// Opens the store that the manifest asks for, if it does, and its port.
    pub(crate) fn open(plan: &Plan, world: &World, screen: &Screen) -> Result<Option<Self>, Fault> {
        let Some(wished) = &plan.manifest.streams else { return Ok(None) };
        let dir = plan.folder.join(&wished.dir);
        let (store, recovered) = Embedded::open(&dir, world.clock.clone(), LogOptions::default())?;
        if recovered.cut_bytes > 0 {
            screen.note(&format!(
                "the last {} bytes of the log were never acknowledged and are cut off: the last stop was none",
                recovered.cut_bytes
            ));
        }
        let scope = Scope::new(world.clock.clone(), |end| {
            crate::term::fault(&Fault::new(Kind::Bug, format!("task `{}` failed: {}", end.task, end.error)));
        });
        let usual = manifest::Streams::default().messagedb;
        let listener = match wished.messagedb.map(|address| (address, wire::bind(address))) {
            None => None,
            Some((address, Err(fault))) if fault.kind == Kind::Conflict && Some(address) == usual => {
                let message = name_listener(fault, address, "Message DB's interface").message;
                screen.note(&format!("{message}; it is not served"));
                None
            }
            Some((address, bound)) => {
                Some(bound.map_err(|fault| name_listener(fault, address, "Message DB's interface"))?)
            }
        };
        let messagedb = listener.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        if let Some(listener) = listener {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let settings = messagedb::Settings { sql_condition: wished.sql_condition, ..Default::default() };
            let serve =
                messagedb::serve(listener, store.store(), settings, world.clock.clone(), scope.clone());
            scope.spawn_once("messagedb", OnError::Report, serve);
        }
        Ok(Some(Self { _store: store, messagedb, scope }))
    }

    /// Tells clients to go, and waits until they have gone.
    pub(crate) async fn close(self, grace: Duration) {
        self.scope.stop(grace).await;
    }
}
