//! The checks that span several keys, and the step from draft to values: every name is known, nothing goes in
//! a circle, no port is taken twice. All of them run, whatever the others found.

use crate::consumers::Consumer;
use crate::draft::{GatewaySection, Given, ManifestDraft, Placed, ServiceDraft};
use crate::names::url_variable;
use crate::texts::TextMap;
use crate::values::{Manifest, Service, Source as ServiceSource, StoreUrl, Traces};
use base::{Diagnostic, Source, Span};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

/// Checks a draft and makes the values of it. They are of use only if no error was found.
pub(crate) fn settle(source: &Source, draft: ManifestDraft, diagnostics: &mut Vec<Diagnostic>) -> Manifest {
    let mut draft = draft;
    if !draft.consumers.is_empty() {
        draft.streams.get_or_insert_with(Default::default);
    }
    let mut checks = Checks { source, diagnostics };
    checks.tls(&draft.gateway);
    checks.ports(&draft);
    checks.names(&draft.services);
    checks.circles(&draft.services);
    checks.consumers(&draft);
    for service in &draft.services {
        checks.run_or_at(service);
        checks.replicas(service);
        checks.variables(service);
    }
    let database = draft.streams.as_ref().and_then(|(streams, _)| streams.store.clone());
    let mut texts = draft.texts;
    let services = draft.services.into_iter().map(|service| values(service, &mut texts)).collect();
    Manifest {
        name: draft.name,
        services,
        routes: draft.routes,
        gateway: draft.gateway.value,
        streams: draft.streams.map(|(streams, _)| streams),
        traces: draft.traces.map(|(traces, given)| spans_beside(database, traces, &given)),
        consumers: draft.consumers.into_iter().map(|consumer| consumer.value).collect(),
        log: draft.log,
        limits: draft.limits,
        texts,
    }
}

/// Spans are kept where the messages are, unless something is said of where they are.
fn spans_beside(database: Option<StoreUrl>, mut traces: Traces, given: &[Given]) -> Traces {
    if !given.iter().any(|given| matches!(given.name, "store" | "dir")) {
        traces.store = database;
    }
    traces
}

fn values(draft: ServiceDraft, texts: &mut Vec<TextMap>) -> Service {
    let (filters, filters_span) = match draft.filters {
        Some((text, map)) => {
            let span = map.span().clone();
            texts.push(map);
            (text, span)
        }
        None => (String::new(), draft.span.end..draft.span.end),
    };
    let source = if let Some(urls) = draft.at {
        ServiceSource::At(urls)
    } else {
        let mut command = draft.command;
        command.run = draft.run.unwrap_or_default();
        command.env = draft.env.into_iter().map(|variable| (variable.name, variable.value)).collect();
        command.port = draft.port.map(|port| port.value);
        command.depends_on = draft.depends_on.into_iter().map(|placed| placed.value).collect();
        ServiceSource::Run(Box::new(command))
    };
    let calls = draft.calls.into_iter().map(|placed| placed.value).collect();
    Service { name: draft.name, span: draft.span, source, calls, filters, filters_span }
}

struct Checks<'a> {
    source: &'a Source,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// Who listens on a port.
struct Listener {
    /// As in "port 9090 is taken by".
    who: String,
    ip: Option<IpAddr>,
    port: u16,
    /// `None` for a default that is not in the file.
    span: Option<Span>,
}

impl Checks<'_> {
    fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: &Span,
        hint: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::error(code, message).at(self.source, span.clone()).hint(hint));
    }

    fn warn(&mut self, code: &'static str, message: impl Into<String>, span: &Span, hint: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(code, message).at(self.source, span.clone()).hint(hint));
    }

    fn run_or_at(&mut self, service: &ServiceDraft) {
        let name = &service.name;
        match (service.given("run"), service.given("at")) {
            _ if service.unreadable => {}
            (Some(_), Some(at)) => self.error(
                "run_and_at",
                format!("service `{name}` has both `run` and `at`"),
                &at.key,
                "keep `run` if Tombolo starts it, `at` if somebody else does",
            ),
            (None, None) => self.error(
                "run_or_at",
                format!("service `{name}` has neither `run` nor `at`"),
                &service.span,
                "add `run: COMMAND` to have it started, or `at: http://HOST:PORT` if somebody else runs it",
            ),
            (None, Some(_)) => {
                for given in &service.given {
                    if !matches!(given.name, "at" | "calls" | "filters") {
                        self.error(
                            "not_with_at",
                            format!("`{}` of service `{name}` means nothing beside `at`", given.name),
                            &given.key,
                            "Tombolo does not run what stands at an address: remove the line",
                        );
                    }
                }
            }
            (Some(_), None) => {}
        }
    }

    fn replicas(&mut self, service: &ServiceDraft) {
        let (Some(port), Some(given)) = (&service.port, service.given("replicas")) else { return };
        if service.command.replicas > 1 {
            self.error(
                "port_of_replicas",
                format!(
                    "the {} replicas of service `{}` can't all listen on port {}",
                    service.command.replicas, service.name, port.value
                ),
                &given.value,
                "remove `port`: each replica is then assigned one and given it as `PORT`",
            );
        }
    }

    /// Variables of `env` that are set by us as well.
    fn variables(&mut self, service: &ServiceDraft) {
        for variable in &service.env {
            let name = &variable.name;
            if let Some(call) = service.calls.iter().find(|call| url_variable(&call.value) == *name) {
                self.warn(
                    "overwritten_variable",
                    format!("`env` of service `{}` sets `{name}`, which `calls` sets too", service.name),
                    &variable.span,
                    format!(
                        "the one from `calls` wins: remove the variable, or `{}` from `calls`",
                        call.value
                    ),
                );
            } else if name == "PORT" {
                self.warn(
                    "overwritten_variable",
                    format!(
                        "`env` of service `{}` sets `PORT`, which is set to the service's port",
                        service.name
                    ),
                    &variable.span,
                    "write `port:` in the service instead, or leave both out and have one assigned",
                );
            }
        }
    }

    /// Names in `calls` and `depends_on`.
    fn names(&mut self, services: &[ServiceDraft]) {
        let known: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let set: HashSet<&str> = known.iter().copied().collect();
        for service in services {
            let calls = service.calls.iter().map(|call| ("calls", &call.value, &call.span));
            let waits =
                service.depends_on.iter().map(|placed| ("depends_on", &placed.value.service, &placed.span));
            let mut seen = HashSet::new();
            for (key, name, span) in calls.chain(waits) {
                let owner = &service.name;
                if !seen.insert((key, name)) {
                    let message = format!("`{key}` of service `{owner}` names `{name}` twice");
                    self.warn("named_twice", message, span, "remove one of them");
                } else if name == owner {
                    let message = match key {
                        "calls" => format!("service `{owner}` names itself in `calls`"),
                        _ => format!("service `{owner}` waits for itself"),
                    };
                    self.error("names_itself", message, span, format!("remove `{name}` from `{key}`"));
                } else if !set.contains(name.as_str()) {
                    let message = format!("`{key}` of service `{owner}` names `{name}`, which is no service");
                    let others: Vec<&str> = known.iter().copied().filter(|other| other != owner).collect();
                    let hint = match base::did_you_mean(name, others.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if others.is_empty() => "there is no other service here yet".to_owned(),
                        None if others.len() == 1 => format!("the other service is `{}`", others[0]),
                        None if others.len() <= 8 => {
                            format!("the other services are {}", crate::kinds::and_words(&others))
                        }
                        None => format!("add it to `services`: `{{{name}: {{at: http://HOST:PORT}}}}`"),
                    };
                    self.error("unknown_service", message, span, hint);
                }
            }
        }
    }

    /// Services that wait for each other. Each circle is said once, at the edge that closes it.
    fn circles(&mut self, services: &[ServiceDraft]) {
        let index: HashMap<&str, usize> =
            services.iter().enumerate().map(|(at, service)| (service.name.as_str(), at)).collect();
        let mut state = vec![Visit::New; services.len()];
        for root in 0..services.len() {
            if state[root] != Visit::New {
                continue;
            }
            // The way from the root, each with the number of its next edge: no recursion, no bound needed.
            let mut way = vec![(root, 0)];
            state[root] = Visit::OnTheWay;
            while let Some((at, edge)) = way.last_mut() {
                let at = *at;
                let Some(next) = services[at].depends_on.get(*edge) else {
                    state[at] = Visit::Done;
                    way.pop();
                    continue;
                };
                *edge += 1;
                match index.get(next.value.service.as_str()) {
                    Some(&to) if to != at && state[to] == Visit::New => {
                        state[to] = Visit::OnTheWay;
                        way.push((to, 0));
                    }
                    Some(&to) if to != at && state[to] == Visit::OnTheWay => {
                        let begin = way.iter().position(|(on, _)| *on == to).unwrap_or(0);
                        let mut circle: Vec<&str> =
                            way[begin..].iter().map(|(on, _)| services[*on].name.as_str()).collect();
                        circle.push(&services[to].name);
                        let message = format!("`depends_on` goes in a circle: {}", circle.join(" -> "));
                        let hint = "none of them could ever start: remove one of these dependencies; a service \
                                    may name another in `calls` without waiting for it";
                        self.error("circle", message, &next.span, hint);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What consumers name, and what of them does not go together.
    fn consumers(&mut self, draft: &ManifestDraft) {
        let known: Vec<&str> = draft.services.iter().map(|service| service.name.as_str()).collect();
        for consumer in &draft.consumers {
            let Consumer { name, category, member, size, .. } = &consumer.value;
            if category.is_empty() && consumer.given("category").is_none() {
                let message = format!("consumer `{name}` has no `category`");
                let hint = "write which messages it takes, such as `category: order`";
                self.error("no_category", message, &consumer.value.span, hint);
            }
            if let (Some(member), Some(given)) = (member, consumer.given("member"))
                && member >= size
            {
                let message = format!("`member` of consumer `{name}` is {member}, of a group of {size}");
                self.error("bad_member", message, &given.value, "members count from 0 to `size` - 1");
            }
            if let (Some(handler), Some(given)) = (&consumer.value.handler, consumer.given("handler"))
                && !known.contains(&handler.service.as_str())
            {
                let service = &handler.service;
                let message =
                    format!("`handler` of consumer `{name}` names `{service}`, which is no service");
                let hint = match base::did_you_mean(service, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add it to `services`: `{{{service}: {{at: http://HOST:PORT}}}}`"),
                };
                self.error("unknown_service", message, &given.value, hint);
            }
        }
    }

    fn tls(&mut self, gateway: &GatewaySection) {
        let given = |name: &str| gateway.given.iter().find(|given| given.name == name);
        let mut missing = |has: &Given, lacks: &str, example: &str| {
            let message = format!("`{}` of `gateway` needs `{lacks}` beside it", has.name);
            self.error("half_of_tls", message, &has.key, format!("for example `{lacks}: {example}`"));
        };
        match (given("tls_cert"), given("tls_key")) {
            (Some(cert), None) => missing(cert, "tls_key", "tls/server.key"),
            (None, Some(key)) => missing(key, "tls_cert", "tls/server.pem"),
            _ => {}
        }
    }

    /// Fixed ports, each of which one may have. Port 0 is whatever the system gives.
    fn ports(&mut self, draft: &ManifestDraft) {
        let gateway = &draft.gateway.value;
        let mut addresses = vec![
            ("gateway", "address", Some(gateway.address), &draft.gateway.given),
            ("gateway", "api", Some(gateway.api), &draft.gateway.given),
            ("gateway", "support", gateway.support, &draft.gateway.given),
        ];
        if let Some((streams, given)) = &draft.streams {
            addresses.push(("streams", "messagedb", streams.messagedb, given));
        }
        if let Some((traces, given)) = &draft.traces {
            addresses.push(("traces", "zipkin", traces.zipkin, given));
            addresses.push(("traces", "otlp_http", traces.otlp_http, given));
            addresses.push(("traces", "otlp_grpc", traces.otlp_grpc, given));
        }
        let own = addresses.into_iter().filter_map(|(section, key, address, given)| {
            let address = address?;
            let span = given.iter().find(|given| given.name == key).map(|given| given.value.clone());
            let default = if span.is_none() { " (its default)" } else { "" };
            let who = format!("`{key}` of `{section}`{default}");
            Some(Listener { who, ip: Some(address.ip()), port: address.port(), span })
        });
        let of_services = draft.services.iter().filter_map(|service| {
            let Placed { value: port, span } = service.port.clone()?;
            Some(Listener { who: format!("service `{}`", service.name), ip: None, port, span: Some(span) })
        });
        let mut taken: BTreeMap<u16, Vec<Listener>> = BTreeMap::new();
        for listener in own.chain(of_services).filter(|listener| listener.port != 0) {
            let others = taken.entry(listener.port).or_default();
            if let Some(other) = others.iter().find(|other| meet(other.ip, listener.ip))
                && let Some(span) = listener.span.as_ref().or(other.span.as_ref())
            {
                let hint = match listener.ip {
                    None => {
                        "give it another port, or remove `port`: a free one is then assigned and given to it \
                             as `PORT`"
                    }
                    Some(_) => "give one of them another port",
                };
                let message =
                    format!("port {} is taken twice, by {} and {}", listener.port, other.who, listener.who);
                self.error("port_taken", message, span, hint);
            }
            others.push(listener);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    OnTheWay,
    Done,
}

/// Whether one port of both would be the same. A service may listen on any address.
fn meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || one.is_unspecified() || other.is_unspecified(),
        _ => true,
    }
}
