//! The choice of one endpoint among many. Which of them may be chosen is narrowed here, step by step; how
//! each algorithm decides among those is in `rules`.

use super::health::Watched;
use super::{Endpoint, HealthCheck, Service};
use crate::Lasting;
use arc_swap::ArcSwapOption;
use base::{Chance, Clock, Moment, UnixTime};
use rules::fade::{FadeIn, takes_part};
use rules::{Algorithm, Ask, Balancer, Candidates, passive};
use std::sync::Arc;
use wire::Origin;

/// Endpoints at one moment; another vector is another set.
type Endpoints = Arc<Vec<Arc<Endpoint>>>;

/// What the filters of a route say of its endpoints; read once, when the route is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointWishes {
    /// How newcomers get their share.
    pub fade_in: Option<FadeIn>,
    /// When endpoints were made.
    pub made: Vec<(Origin, UnixTime)>,
    /// How much endpoints can take; 1 where nothing is said.
    pub weights: Vec<(Origin, f64)>,
    /// How they are probed.
    pub check: Option<HealthCheck>,
}

/// Where a route's requests go: fixed endpoints or the instances of a service, and how one is chosen.
pub(crate) struct Upstream {
    members: Members,
    algorithm: Algorithm,
    /// Whether the route wrote a balanced backend or a service: a failed connection is then tried
    /// elsewhere (Skipper repeats for load-balanced backends only).
    pub(crate) balanced: bool,
    wishes: EndpointWishes,
    lasting: Arc<Lasting>,
    chance: Chance,
    /// Made for the members there were last.
    ready: ArcSwapOption<Ready>,
}

/// What is made once for a set of members.
struct Ready {
    members: Endpoints,
    balancer: Balancer,
    /// Empty when all are alike.
    weights: Box<[f64]>,
    /// Empty when nobody is probed.
    watched: Box<[Arc<Watched>]>,
}

enum Members {
    Fixed(Endpoints),
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
    /// How endpoints that fail are passed over, if they are.
    pub(crate) passive: Option<&'a passive::Settings>,
    pub(crate) now: Moment,
}

/// An endpoint, and how many were passed over because they fail.
pub(crate) struct Chosen<E> {
    pub(crate) endpoint: E,
    pub(crate) left_out: usize,
}

/// The members as one choice sees them.
struct View<'a> {
    ready: &'a Ready,
    choice: &'a Choice<'a>,
    fade_in: Option<FadeIn>,
    /// Who may be chosen; empty when all may.
    eligible: Vec<bool>,
    /// How likely each is left out because it fails; empty when none is.
    drops: Vec<f64>,
}

impl Upstream {
    /// Fixed endpoints.
    pub(crate) fn fixed(
        members: Vec<Arc<Endpoint>>,
        algorithm: Algorithm,
        balanced: bool,
    ) -> UpstreamBuilder {
        UpstreamBuilder { members: Members::Fixed(Arc::new(members)), algorithm, balanced }
    }

    /// The instances of a service, whatever they are when a request comes.
    pub(crate) fn service(service: Arc<Service>, algorithm: Algorithm) -> UpstreamBuilder {
        UpstreamBuilder { members: Members::Service(service), algorithm, balanced: true }
    }

    /// The service's name, if it is one.
    pub(crate) fn service_name(&self) -> Option<&str> {
        match &self.members {
            Members::Fixed(_) => None,
            Members::Service(service) => Some(&service.name),
        }
    }

    /// Whether the choice depends on how quickly endpoints answer.
    pub(crate) fn learns_latency(&self) -> bool {
        self.algorithm == Algorithm::PeakEwma
    }

    /// Whether its endpoints are probed.
    pub(crate) fn is_watched(&self) -> bool {
        self.wishes.check.is_some()
    }

    /// How many endpoints there are now.
    pub(crate) fn len(&self) -> usize {
        self.with_members(|members| members.len())
    }

    /// The members there are now, looked at and not held: a hold is counted, by all cores together.
    fn with_members<T>(&self, look: impl FnOnce(&Endpoints) -> T) -> T {
        match &self.members {
            Members::Fixed(members) => look(members),
            Members::Service(service) => look(&service.look()),
        }
    }

    /// The table of this upstream is in force from now on: endpoints that were made anew since we saw them
    /// fade in again.
    pub(crate) fn begin(&self, clock: &Clock) {
        if self.wishes.fade_in.is_none() || self.wishes.made.is_empty() {
            return;
        }
        self.with_members(|members| {
            for endpoint in members.iter() {
                for (_, made) in self.wishes.made.iter().filter(|(origin, _)| *origin == endpoint.origin) {
                    endpoint.made_at(*made, clock);
                }
            }
        });
    }

    /// Those of the members there are now that are probed.
    pub(crate) fn watched(&self) -> Vec<Arc<Watched>> {
        if !self.is_watched() {
            return Vec::new();
        }
        self.with_members(|members| self.with_ready(members, |ready| ready.watched.to_vec()))
    }

    /// One endpoint, as `take` takes it; `None` when there is none.
    pub(crate) fn choose<E>(
        &self,
        choice: &Choice<'_>,
        take: impl FnOnce(&Arc<Endpoint>) -> E,
    ) -> Option<Chosen<E>> {
        self.with_members(|members| match members.as_slice() {
            [] => None,
            [only] => Some(Chosen { endpoint: take(only), left_out: 0 }),
            _ => self.with_ready(members, |ready| {
                let mut view = View {
                    ready,
                    choice,
                    fade_in: self.wishes.fade_in,
                    eligible: Vec::new(),
                    drops: Vec::new(),
                };
                let left_out = view.narrow(self.algorithm, &self.chance);
                // Only one algorithm looks at the key, and making it costs an allocation.
                let key =
                    if self.algorithm == Algorithm::ConsistentHash { (choice.key)() } else { String::new() };
                let ask = Ask { key: key.as_bytes(), balance_factor: choice.factor };
                let chosen = ready.balancer.pick(&view, ask, &self.chance)?;
                Some(Chosen { endpoint: take(members.get(chosen)?), left_out })
            }),
        })
    }

    /// Looks at what is made once for these members, made anew when they have changed.
    fn with_ready<T>(&self, members: &Endpoints, look: impl FnOnce(&Ready) -> T) -> T {
        if let Some(ready) = &*self.ready.load()
            && Arc::ptr_eq(&ready.members, members)
        {
            return look(ready);
        }
        let texts: Vec<&str> = members.iter().map(|endpoint| endpoint.text.as_str()).collect();
        let weight = |endpoint: &Arc<Endpoint>| {
            let said = self.wishes.weights.iter().rev().find(|(origin, _)| *origin == endpoint.origin);
            said.map_or(1.0, |(_, weight)| *weight)
        };
        let check = self.wishes.check.as_ref();
        let watch = |check| members.iter().map(|member| Watched::of(member, check, &self.lasting)).collect();
        let ready = Arc::new(Ready {
            members: members.clone(),
            balancer: Balancer::new(self.algorithm, &texts, &self.chance),
            weights: if self.wishes.weights.is_empty() {
                Box::default()
            } else {
                members.iter().map(weight).collect()
            },
            watched: check.map(watch).unwrap_or_default(),
        });
        self.ready.store(Some(ready.clone()));
        look(&ready)
    }
}

/// An upstream that wants to know what the route's filters say.
pub(crate) struct UpstreamBuilder {
    members: Members,
    algorithm: Algorithm,
    balanced: bool,
}

impl UpstreamBuilder {
    pub(crate) fn build(self, wishes: EndpointWishes, lasting: &Arc<Lasting>, chance: &Chance) -> Upstream {
        let Self { members, algorithm, balanced } = self;
        Upstream {
            members,
            algorithm,
            balanced,
            wishes,
            lasting: lasting.clone(),
            chance: chance.clone(),
            ready: ArcSwapOption::empty(),
        }
    }
}

impl View<'_> {
    /// Leaves out whom it is better not to ask, as long as somebody is left after each reason; answers how
    /// many are left out because they fail. Endpoints that failed this very request come first, then those
    /// whose probes fail, then what was seen of them, and last their age.
    fn narrow(&mut self, algorithm: Algorithm, chance: &Chance) -> usize {
        let (ready, choice) = (self.ready, self.choice);
        let members = ready.members.as_slice();
        if !choice.tried.is_empty() {
            self.keep(|at| !choice.tried.contains(&members[at].number));
        }
        if !ready.watched.is_empty() {
            self.keep(|at| ready.watched[at].is_healthy());
        }
        // Where weights decide, they also carry what was seen: a smaller share needs no chance there.
        let by_weight = matches!(algorithm, Algorithm::WeightedRoundRobin | Algorithm::LeastRequests);
        let mut left_out = 0;
        if let Some(settings) = choice.passive {
            let drop = |endpoint: &Arc<Endpoint>| endpoint.outcomes.drop_probability(settings, choice.now);
            let drops: Vec<f64> = members.iter().map(drop).collect();
            if drops.iter().any(|drop| *drop > 0.0) {
                // By weight none is left out; but neither is any when too many fail.
                let roll = if by_weight { 0.0 } else { chance.unit() };
                match passive::left_out(&drops, settings, roll) {
                    Some(_) if by_weight => self.drops = drops,
                    Some(out) => {
                        left_out = out.iter().filter(|out| **out).count();
                        self.keep(|at| !out[at]);
                    }
                    None => {}
                }
            }
        }
        if let Some(fade_in) = self.fade_in {
            let roll = chance.bits();
            self.keep(|at| takes_part(fade_in.factor(members[at].since(), choice.now), roll, at));
        }
        left_out
    }

    /// Keeps those of whom it holds, if there is any among those who are left.
    fn keep(&mut self, holds: impl Fn(usize) -> bool) {
        let kept: Vec<bool> = (0..self.count()).map(|at| self.is_eligible(at) && holds(at)).collect();
        if kept.contains(&true) {
            self.eligible = kept;
        }
    }
}

impl Candidates for View<'_> {
    fn count(&self) -> usize {
        self.ready.members.len()
    }

    fn is_eligible(&self, endpoint: usize) -> bool {
        self.eligible.is_empty() || self.eligible[endpoint]
    }

    fn in_flight(&self, endpoint: usize) -> u32 {
        u32::try_from(self.ready.members[endpoint].in_flight()).unwrap_or(u32::MAX)
    }

    fn weight(&self, endpoint: usize) -> f64 {
        let said = self.ready.weights.get(endpoint).copied().unwrap_or(1.0);
        said * (1.0 - self.drops.get(endpoint).copied().unwrap_or(0.0))
    }

    fn cost(&self, endpoint: usize) -> f64 {
        self.ready.members[endpoint].latency.cost(self.in_flight(endpoint), self.choice.now)
    }
}
