//! The route table: routes built once, looked up by every request, replaced whole. Building never fails: a
//! route that can't be built is left out and kept in the list of invalid ones, with the reason.

use crate::backend::{Endpoint, LocalEndpoint, Pool, Services, Upstream, UpstreamBuilder};
use crate::filters::{Chain, FilterEnv, Handles};
use crate::lookup::{self, Entry, Lookup};
use crate::predicates::PredicateEnv;
use crate::question::Question;
use crate::{Lasting, Refusal};
use base::{Chance, Clock, Diagnostic, Severity, Source, UnixTime};
use eskip::{Algorithm, Backend};
use rules::Algorithm as Balance;
use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use telemetry::spans::Tail;

/// A route that serves.
pub struct Route {
    /// Its id.
    pub id: Arc<str>,
    /// As it was written.
    pub source: Arc<eskip::Route>,
    pub(crate) chain: Chain,
    pub(crate) target: Target,
    pub(crate) meter: Arc<telemetry::RouteMeter>,
    /// Keys of the query whose values must not be logged.
    pub(crate) masked_keys: Arc<[String]>,
    /// The share of its traces that is recorded whole, if its filters say.
    pub(crate) sample: Option<f64>,
    /// The paths it is for, as it is written: what spans are named by.
    pub(crate) pattern: Option<Box<str>>,
}

/// A route, and for each core the part of it that the core's requests hold on to.
pub(crate) struct Routed {
    route: Arc<Route>,
    cores: Box<[OnceLock<Arc<LocalRoute>>]>,
}

/// A route as one core sees it.
pub(crate) struct LocalRoute {
    route: Arc<Route>,
    /// Its id.
    pub(crate) id: Arc<str>,
    /// The endpoint that was chosen first: most routes have no other.
    endpoint: OnceLock<Arc<LocalEndpoint>>,
    /// Tells which of its requests are kept; only where there are spans.
    tail: OnceLock<Box<Tail>>,
}

impl Routed {
    /// The route for the requests of this core.
    pub(crate) fn on(&self, worker: usize) -> Arc<LocalRoute> {
        let local = || {
            let (route, id) = (self.route.clone(), (*self.route.id).into());
            Arc::new(LocalRoute { route, id, endpoint: OnceLock::new(), tail: OnceLock::new() })
        };
        self.cores[worker % self.cores.len()].get_or_init(local).clone()
    }
}

impl LocalRoute {
    /// An endpoint as this core sees it, whose pool this is.
    pub(crate) fn endpoint(&self, chosen: &Arc<Endpoint>, pool: &Pool) -> Arc<LocalEndpoint> {
        let first = self.endpoint.get_or_init(|| pool.of(chosen));
        if first.is(chosen) { first.clone() } else { pool.of(chosen) }
    }

    /// What tells which of its requests on this core are kept.
    pub(crate) fn tail(&self) -> &Tail {
        self.tail.get_or_init(Box::default)
    }
}

impl Deref for LocalRoute {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

/// Who answers on a route.
pub(crate) enum Target {
    Shunt,
    Loopback,
    Dynamic,
    Upstream(Upstream),
}

/// Who shall answer, before the filters have had their say.
enum Aim {
    Upstream(UpstreamBuilder),
    Other(Target),
}

/// A route that does not serve, and why.
pub struct Invalid {
    /// As it was written.
    pub route: Arc<eskip::Route>,
    /// Skipper's reason code, such as `unknown_filter`.
    pub code: &'static str,
    /// What is wrong, where, and what to do about it.
    pub diagnostic: Diagnostic,
}

/// All routes at one moment.
pub struct Table {
    pub(crate) lookup: Lookup<Routed>,
    /// The routes whose endpoints are probed.
    pub(crate) watched: Vec<Arc<Route>>,
    /// The routes that serve, in source order.
    pub routes: Vec<Arc<Route>>,
    /// The ones that do not.
    pub invalid: Vec<Invalid>,
    /// When it was built.
    pub built_at: UnixTime,
}

/// Routes with the text they came from, if they came from one.
#[derive(Clone, Default)]
pub struct Definitions {
    /// In source order. A later route of the same id wins, as in Skipper.
    pub routes: Vec<(Arc<eskip::Route>, Option<Source>)>,
}

/// What building routes needs.
#[derive(Clone)]
pub struct Builder {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// State that survives a reload.
    pub lasting: Arc<Lasting>,
    /// What `service://NAME` may name.
    pub services: Arc<Services>,
    /// Where requests of each route are counted.
    pub metrics: Arc<telemetry::Metrics>,
    /// Time, chance and state for predicates.
    pub predicates: PredicateEnv,
    /// How paths are looked up.
    pub lookup: lookup::Options,
    /// Where relative file names in filters begin; empty for the current folder.
    pub folder: PathBuf,
    /// What else filters may reach.
    pub handles: Handles,
    /// Where `<forward>` goes; without it such routes are invalid.
    pub forward: Option<String>,
}

impl Definitions {
    /// These routes, from this text.
    pub fn from_source(source: &Source, routes: Vec<eskip::Route>) -> Self {
        Self { routes: routes.into_iter().map(|route| (Arc::new(route), Some(source.clone()))).collect() }
    }

    /// Adds others behind these.
    pub fn extend(&mut self, others: Definitions) {
        self.routes.extend(others.routes);
    }
}

impl Table {
    /// Why a request takes the route it takes.
    pub fn explain(&self, question: &Question<'_>) -> lookup::Explanation {
        self.lookup.explain(question)
    }

    /// No routes.
    pub fn empty(builder: &Builder) -> Self {
        builder.build(&Definitions::default())
    }
}

impl Builder {
    /// Builds a table of what can be built.
    pub fn build(&self, definitions: &Definitions) -> Table {
        let mut invalid = Vec::new();
        let mut routes = Vec::new();
        let mut entries = Vec::new();
        let last: HashMap<&str, usize> =
            definitions.routes.iter().enumerate().map(|(at, (route, _))| (route.id.as_str(), at)).collect();
        for (at, (route, source)) in definitions.routes.iter().enumerate() {
            let built = match last.get(route.id.as_str()) {
                Some(winner) if *winner != at => Err(self.duplicate(route, &definitions.routes[*winner])),
                _ => self.route(route),
            };
            match built {
                Ok((rule, route)) => {
                    let route = Arc::new(route);
                    let cores = (0..self.metrics.workers()).map(|_| OnceLock::new()).collect();
                    entries.push(Entry { rule, payload: Routed { route: route.clone(), cores } });
                    routes.push(route);
                }
                Err(refusal) => invalid.push(Invalid {
                    route: route.clone(),
                    code: refusal.code,
                    diagnostic: refusal.diagnostic(&route.id, source.as_ref()),
                }),
            }
        }
        let watches = |route: &&Arc<Route>| matches!(&route.target, Target::Upstream(u) if u.is_watched());
        let watched = routes.iter().filter(watches).cloned().collect();
        let lookup = Lookup::build(entries, &self.lookup);
        Table { lookup, watched, routes, invalid, built_at: self.clock.unix() }
    }

    fn duplicate(
        &self,
        route: &eskip::Route,
        (winner, source): &(Arc<eskip::Route>, Option<Source>),
    ) -> Refusal {
        let place = source.as_ref().map_or_else(String::new, |source| {
            let (line, column) = source.position(winner.span.start);
            format!(" at {}:{line}:{column}", source.name)
        });
        Refusal::new("duplicate_route_id", format!("route id `{}` is used again{place}", route.id))
            .at(route.span.clone())
            .hint("the later one serves; give one of them another id")
    }

    fn route(&self, route: &Arc<eskip::Route>) -> Result<(lookup::Rule, Route), Refusal> {
        let id: Arc<str> = route.id.as_str().into();
        let rule = lookup::compile(route, &self.predicates, &self.lookup)?;
        // `<forward>` hands the request on as it is: its filters are the other gateway's business.
        let filters = if matches!(route.backend, Backend::Forward) { &[][..] } else { &route.filters[..] };
        let env = FilterEnv {
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            route: id.clone(),
            place: 0,
            lasting: self.lasting.clone(),
            folder: self.folder.clone(),
            metrics: self.metrics.clone(),
            handles: self.handles.clone(),
        };
        let chain = Chain::build(filters, env)?;
        let target = self.target(&route.backend).map_err(|refusal| refusal.at(route.backend_span.clone()))?;
        let wishes = chain.wishes();
        let target = match target {
            Aim::Upstream(upstream) => {
                Target::Upstream(upstream.build(wishes.endpoints, &self.lasting, &self.chance))
            }
            Aim::Other(target) => target,
        };
        let meter = self.metrics.route(&id);
        meter.leads_to(match &target {
            Target::Upstream(upstream) => upstream.service_name(),
            _ => None,
        });
        let (masked_keys, sample) = (wishes.masked_keys.into(), wishes.sample);
        let pattern = pattern(route);
        let source = route.clone();
        Ok((rule, Route { id, source, chain, target, meter, masked_keys, sample, pattern }))
    }

    fn target(&self, backend: &Backend) -> Result<Aim, Refusal> {
        let fixed = |address: &str| {
            let endpoint = self.endpoint(address)?;
            Ok(Aim::Upstream(Upstream::fixed(vec![endpoint], Balance::RoundRobin, false)))
        };
        match backend {
            Backend::Shunt => Ok(Aim::Other(Target::Shunt)),
            Backend::Loopback => Ok(Aim::Other(Target::Loopback)),
            Backend::Dynamic => Ok(Aim::Other(Target::Dynamic)),
            Backend::Forward => match &self.forward {
                Some(address) => fixed(address),
                None => {
                    Err(Refusal::new("failed_backend_split", "the gateway has no address for `<forward>`")
                        .hint("start it with --forward-backend-url URL"))
                }
            },
            Backend::Network(address) => match address.strip_prefix("service://") {
                Some(name) => self.service(name, Balance::RoundRobin),
                None => fixed(address),
            },
            Backend::Balanced { algorithm, endpoints } => {
                let name = match algorithm {
                    Algorithm::Unset => "",
                    Algorithm::Named(name) => name,
                };
                let algorithm =
                    Balance::parse(name).map_err(|why| Refusal::new("failed_backend_split", why))?;
                if let [only] = endpoints.as_slice()
                    && let Some(name) = only.address.strip_prefix("service://")
                {
                    return self.service(name, algorithm);
                }
                let members = endpoints
                    .iter()
                    .map(|e| self.endpoint(&e.address))
                    .collect::<Result<Vec<_>, Refusal>>()?;
                Ok(Aim::Upstream(Upstream::fixed(members, algorithm, true)))
            }
        }
    }

    fn service(&self, name: &str, algorithm: Balance) -> Result<Aim, Refusal> {
        let name = name.trim_end_matches('/');
        if let Some(service) = self.services.get(name) {
            return Ok(Aim::Upstream(Upstream::service(service, algorithm)));
        }
        let known = self.services.names();
        let refusal = Refusal::new("unknown_service", format!("`{name}` is no service of the manifest"));
        Err(if known.is_empty() {
            refusal.hint(
                "services are declared in tombolo.yaml and served by `tombolo up`; write an address here",
            )
        } else {
            refusal
                .hint(format!("the services are {}", known.join(", ")))
                .suggest(name, known.iter().map(String::as_str))
        })
    }

    fn endpoint(&self, address: &str) -> Result<Arc<Endpoint>, Refusal> {
        Endpoint::of(address, &self.lasting, &self.clock)
            .map_err(|fault| Refusal::new("failed_backend_split", fault.to_string()))
    }
}

/// The paths that a route is for, in the words of its `Path` or `PathSubtree`.
fn pattern(route: &eskip::Route) -> Option<Box<str>> {
    let path = |call: &eskip::Call| {
        let path = call.args.first()?.text()?;
        match call.name.as_str() {
            "Path" => Some(path.into()),
            "PathSubtree" => Some(format!("{}/**", path.trim_end_matches('/')).into()),
            _ => None,
        }
    };
    route.predicates.iter().find_map(path)
}

impl Invalid {
    /// Whether the route is left out; a duplicate that lost to a later route of its id is not missed.
    pub fn is_error(&self) -> bool {
        self.diagnostic.severity == Severity::Error
    }
}
