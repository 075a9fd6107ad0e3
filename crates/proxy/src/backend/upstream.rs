//! The choice of one endpoint among many. How each algorithm decides is in `rules`; this file gives it the
//! candidates and what it needs to know of them.

use super::{Endpoint, Service};
use base::Chance;
use rules::{Algorithm, Ask, Balancer, Candidates};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a route's requests go: fixed endpoints or the instances of a service, and how one is chosen.
pub(crate) struct Upstream {
    members: Members,
    algorithm: Algorithm,
    /// Whether the route wrote a balanced backend or a service: a failed connection is then tried
    /// elsewhere (Skipper repeats for load-balanced backends only).
    pub(crate) balanced: bool,
    chance: Chance,
    /// The balancer of the members it was made for.
    balancer: Mutex<Option<Balanced>>,
}

/// A balancer and the members it was made for.
type Balanced = (Arc<Vec<Arc<Endpoint>>>, Arc<Balancer>);

enum Members {
    Fixed(Arc<Vec<Arc<Endpoint>>>),
    Service(Arc<Service>),
}

/// What a choice depends on.
pub(crate) struct Choice<'a> {
    /// What consistent hashing hashes.
    pub(crate) key: &'a dyn Fn() -> String,
    /// The bound on a member's share of the load.
    pub(crate) factor: Option<f64>,
    /// Endpoints that failed this request already: chosen only if there is no other.
    pub(crate) tried: &'a [usize],
}

/// Endpoints that did not fail this request yet.
struct Untried<'a> {
    members: &'a [Arc<Endpoint>],
    tried: &'a [usize],
}

impl Candidates for Untried<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn is_eligible(&self, endpoint: usize) -> bool {
        !self.tried.contains(&self.members[endpoint].number)
    }

    fn in_flight(&self, endpoint: usize) -> u32 {
        u32::try_from(self.members[endpoint].in_flight()).unwrap_or(u32::MAX)
    }
}

impl Upstream {
    /// Fixed endpoints.
    pub(crate) fn fixed(
        members: Vec<Arc<Endpoint>>,
        algorithm: Algorithm,
        balanced: bool,
        chance: Chance,
    ) -> Self {
        Self {
            members: Members::Fixed(Arc::new(members)),
            algorithm,
            balanced,
            chance,
            balancer: Mutex::default(),
        }
    }

    /// The instances of a service, whatever they are when a request comes.
    pub(crate) fn service(service: Arc<Service>, algorithm: Algorithm, chance: Chance) -> Self {
        Self {
            members: Members::Service(service),
            algorithm,
            balanced: true,
            chance,
            balancer: Mutex::default(),
        }
    }

    /// The service's name, if it is one.
    pub(crate) fn service_name(&self) -> Option<&str> {
        match &self.members {
            Members::Fixed(_) => None,
            Members::Service(service) => Some(&service.name),
        }
    }

    /// How many endpoints there are now.
    pub(crate) fn len(&self) -> usize {
        match &self.members {
            Members::Fixed(members) => members.len(),
            Members::Service(service) => service.members().len(),
        }
    }

    /// One endpoint; `None` when there is none.
    pub(crate) fn choose(&self, choice: &Choice<'_>) -> Option<Arc<Endpoint>> {
        let members = match &self.members {
            Members::Fixed(members) => members.clone(),
            Members::Service(service) => service.members(),
        };
        match members.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            _ => {
                let balancer = self.balancer(&members);
                let any_untried = members.iter().any(|endpoint| !choice.tried.contains(&endpoint.number));
                let candidates =
                    Untried { members: &members, tried: if any_untried { choice.tried } else { &[] } };
                // Only one algorithm looks at the key, and making it costs an allocation.
                let key =
                    if self.algorithm == Algorithm::ConsistentHash { (choice.key)() } else { String::new() };
                let ask = Ask { key: key.as_bytes(), balance_factor: choice.factor };
                members.get(balancer.pick(&candidates, ask, &self.chance)?).cloned()
            }
        }
    }

    /// The balancer for these members, made anew when they have changed.
    fn balancer(&self, members: &Arc<Vec<Arc<Endpoint>>>) -> Arc<Balancer> {
        let mut held = self.balancer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((made_for, balancer)) if Arc::ptr_eq(made_for, members) => balancer.clone(),
            _ => {
                let texts: Vec<&str> = members.iter().map(|endpoint| endpoint.text.as_str()).collect();
                let balancer = Arc::new(Balancer::new(self.algorithm, &texts, &self.chance));
                *held = Some((members.clone(), balancer.clone()));
                balancer
            }
        }
    }
}
