//! The listeners of declared calls: one loopback address for each caller and callee. A service has an address
//! only for what it declared; anything else it tries is not there. Doors keep their address while they stay
//! declared, so a reload tells no service a new one.

use crate::wiring::World;
use base::Fault;
use proxy::{Plane, Served};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use wire::{Drainer, Edge, Limits};

/// The open doors by (caller, callee).
#[derive(Default)]
pub(crate) struct Doors(BTreeMap<(String, String), Door>);

struct Door {
    address: SocketAddr,
    drainer: Drainer,
    served: Served,
}

impl Doors {
    /// Opens doors for new calls and closes those no longer declared.
    pub(crate) async fn apply(
        &mut self,
        edges: &[Edge],
        world: &World,
        plane: &Arc<Plane>,
        limits: &Limits,
    ) -> Result<(), Fault> {
        for edge in edges {
            let key = (edge.caller.clone(), edge.callee.clone());
            if self.0.contains_key(&key) {
                continue;
            }
            let listeners =
                wire::bind_each(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), world.workers.count())?;
            let Some(address) = listeners.first().map(std::net::TcpListener::local_addr).transpose()? else {
                continue;
            };
            let (drainer, drain) = Drainer::new();
            let served =
                world.workers.serve(plane, listeners, None, Some(edge.clone()), limits, &drain).await?;
            self.0.insert(key, Door { address, drainer, served });
        }
        self.0.retain(|(caller, callee), door| {
            let declared = edges.iter().any(|edge| edge.caller == *caller && edge.callee == *callee);
            if !declared {
                door.drainer.drain();
            }
            declared
        });
        Ok(())
    }

    /// The variables a caller is given: `NAME_URL` for each of its calls.
    pub(crate) fn variables(&self, caller: &str) -> BTreeMap<String, String> {
        self.0
            .iter()
            .filter(|((from, _), _)| from == caller)
            .map(|((_, callee), door)| (manifest::url_variable(callee), format!("http://{}", door.address)))
            .collect()
    }

    /// Caller, callee and address of each.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&str, &str, SocketAddr)> {
        self.0.iter().map(|((caller, callee), door)| (caller.as_str(), callee.as_str(), door.address))
    }

    /// Closes all, and waits for the last call to end.
    pub(crate) async fn close(self) {
        for door in self.0.values() {
            door.drainer.drain();
        }
        for door in self.0.into_values() {
            door.served.ended().await;
        }
    }
}
