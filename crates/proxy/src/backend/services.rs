//! The services a route may name as `service://NAME`, and where their instances are right now. Routes hold
//! the service itself, so instances come and go without a new route table.

use super::Endpoint;
use crate::Lasting;
use arc_swap::ArcSwap;
use base::{Clock, Fault};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A service and its instances that can serve now.
pub struct Service {
    /// Its name.
    pub name: String,
    members: ArcSwap<Vec<Arc<Endpoint>>>,
}

impl Service {
    /// Its instances that can serve now, looked at without a hold on them. Each change is a new vector, so its
    /// address tells a change.
    pub(crate) fn look(&self) -> arc_swap::Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.members.load()
    }
}

/// All services known by name.
#[derive(Default)]
pub struct Services(Mutex<BTreeMap<String, Arc<Service>>>);

impl Services {
    /// Makes exactly these names known; instances of those that stay are kept.
    pub fn declare<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for name in names {
            // A name given twice is one service: making it anew would empty it.
            if next.contains_key(name) {
                continue;
            }
            let service = known
                .remove(name)
                .unwrap_or_else(|| Arc::new(Service { name: name.to_owned(), members: ArcSwap::default() }));
            next.insert(name.to_owned(), service);
        }
        *known = next;
    }

    /// The service of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Service>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Says where the instances of a service are (`http://host:port`). A name that is not known is left
    /// out: its service is going away.
    pub fn set(
        &self,
        name: &str,
        addresses: &[String],
        lasting: &Lasting,
        clock: &Clock,
    ) -> Result<(), Fault> {
        let members = addresses
            .iter()
            .map(|address| Endpoint::of(address, lasting, clock))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(service) = self.get(name) {
            // An unchanged list keeps its identity, and with it what balancers keep about it.
            let same = service.members.load().iter().map(|e| e.number).eq(members.iter().map(|e| e.number));
            if !same {
                service.members.store(Arc::new(members));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_its_instances_when_names_change_around_it() {
        let clock = Clock::system();
        let lasting = Lasting::new(clock.clone());
        let services = Services::default();
        services.declare(["cart", "web"]);
        services.set("cart", &["http://127.0.0.1:1".into()], &lasting, &clock).unwrap();
        let before = Arc::clone(&services.get("cart").unwrap().look());
        services.declare(["cart", "cart"]);
        services.set("cart", &["http://127.0.0.1:1".into()], &lasting, &clock).unwrap();
        services.set("gone", &["http://127.0.0.1:1".into()], &lasting, &clock).unwrap();
        assert!(Arc::ptr_eq(&before, &services.get("cart").unwrap().look()));
        assert_eq!(services.names(), ["cart"]);
        assert!(services.set("cart", &["cart:80".into()], &lasting, &clock).is_err());
    }
}
