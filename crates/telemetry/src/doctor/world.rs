//! Traces for tests, written as what calls what: each call is a client's and a server's span, one after the other unless
//! they are said to be at once.

use super::{Facts, Observed, Policy, Report, examine};
use crate::spans::{Endpoint, Kind, Span, TraceKey};
use std::collections::BTreeSet;

/// A call that is made, and those that are made to serve it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) callee: String,
    pub(super) name: String,
    pub(super) below: Vec<Made>,
    /// Tags of the client's span.
    pub(super) tags: Vec<(String, String)>,
    pub(super) fails: bool,
    /// Whether all that are made to serve it are under way together.
    pub(super) at_once: bool,
    /// Whether the callee reports nothing.
    pub(super) is_silent: bool,
    /// Microseconds before it begins.
    pub(super) pause_us: u64,
}

/// A call of this service, for which these are made.
pub(super) fn call(callee: &str, below: impl IntoIterator<Item = Made>) -> Made {
    Made {
        callee: callee.to_owned(),
        name: "get".to_owned(),
        below: below.into_iter().collect(),
        tags: Vec::new(),
        fails: false,
        at_once: false,
        is_silent: false,
        pause_us: 10,
    }
}

/// A chain of calls: `a b c` is `a`, which calls `b`, which calls `c`.
pub(super) fn chain(services: &str) -> Made {
    match services.split_once(' ') {
        Some((first, rest)) => call(first, [chain(rest)]),
        None => call(services, []),
    }
}

impl Made {
    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    pub(super) fn failing(mut self) -> Self {
        self.fails = true;
        self
    }

    pub(super) fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }

    pub(super) fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    pub(super) fn after(mut self, pause_us: u64) -> Self {
        self.pause_us = pause_us;
        self
    }

    pub(super) fn tagged(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// Traces that were looked at, and what is declared.
pub(super) struct World {
    observed: Observed,
    next: u64,
}

impl World {
    pub(super) fn new(facts: Facts) -> Self {
        Self { observed: Observed::new(facts), next: 1 }
    }

    /// Looks at so many traces of this.
    pub(super) fn see(&mut self, times: u64, entry: &Made) -> &mut Self {
        for _ in 0..times {
            let spans = trace(self.next, entry);
            self.next += 1;
            self.observed.put_trace(spans);
        }
        self
    }

    pub(super) fn see_link(&mut self, caller: &str, callee: &str) -> &mut Self {
        self.observed.put_link(caller, callee);
        self
    }

    pub(super) fn see_spans(&mut self, spans: Vec<Span>) -> &mut Self {
        self.observed.put_trace(spans);
        self
    }

    pub(super) fn report(&self) -> Report {
        examine(&self.observed)
    }

    /// The codes of what is found.
    pub(super) fn codes(&self) -> String {
        self.report().findings.iter().map(|finding| finding.code).collect::<Vec<_>>().join(" ")
    }

    /// What a rule says, a line for each case.
    pub(super) fn told(&self, code: &str) -> String {
        let findings = self.report().findings;
        let told = findings.iter().filter(|finding| finding.code == code).map(|finding| {
            let evidence: Vec<String> = finding.evidence.iter().map(|trace| trace.low.to_string()).collect();
            format!("{} [{}]\n", finding.what, evidence.join(" "))
        });
        told.collect()
    }
}

/// What is declared: `web>cart` for a call of services that are all in the manifest, with this done for it.
pub(super) fn facts(calls: &[(&str, Policy)]) -> Facts {
    let mut facts =
        Facts { carriers: BTreeSet::from(["gateway".to_owned()]), sees_calls: true, ..Facts::default() };
    for (call, policy) in calls {
        let (caller, callee) = call.split_once('>').expect("caller>callee");
        facts.edges.insert((caller.to_owned(), callee.to_owned()), *policy);
        facts.services.entry(callee.to_owned()).or_default();
        if !caller.is_empty() {
            facts.services.entry(caller.to_owned()).or_default().insert(callee.to_owned());
        }
    }
    facts
}

/// The spans of a trace that begins with this being called.
pub(super) fn trace(number: u64, entry: &Made) -> Vec<Span> {
    let mut spans = Spans { trace: TraceKey { high: 0, low: number }, all: Vec::new() };
    spans.serve(entry, 0, 1_764_158_400_000_000);
    spans.all
}

struct Spans {
    trace: TraceKey,
    all: Vec<Span>,
}

impl Spans {
    /// Adds a span and answers its place.
    fn put(&mut self, parent: u64, kind: Kind, service: &str, made: &Made, began_us: u64) -> usize {
        let tags = made.fails.then(|| ("error".to_owned(), "it failed".to_owned()));
        let mut span = Span {
            trace: self.trace,
            parent,
            id: self.all.len() as u64 + 1,
            kind: Some(kind),
            name: made.name.clone(),
            timestamp_us: began_us,
            local: Endpoint { service: service.to_owned(), ..Endpoint::default() },
            tags: tags.into_iter().collect(),
            ..Span::default()
        };
        if kind == Kind::Client {
            span.remote.service.clone_from(&made.callee);
            span.tags.extend(made.tags.iter().cloned());
        }
        span.tidy();
        self.all.push(span);
        self.all.len() - 1
    }

    /// The server's span and all below it; answers when it ended.
    fn serve(&mut self, made: &Made, parent: u64, began_us: u64) -> u64 {
        let server = self.put(parent, Kind::Server, &made.callee, made, began_us);
        let id = self.all[server].id;
        let (mut at, mut ended) = (began_us, began_us);
        for below in &made.below {
            at += below.pause_us;
            let end = self.ask(below, &made.callee, id, at);
            ended = ended.max(end);
            at = if made.at_once { at } else { end };
        }
        self.end(server, ended.max(at) + 500)
    }

    fn ask(&mut self, made: &Made, caller: &str, parent: u64, began_us: u64) -> u64 {
        let client = self.put(parent, Kind::Client, caller, made, began_us);
        let id = self.all[client].id;
        let ended = if made.is_silent { began_us + 500 } else { self.serve(made, id, began_us + 100) };
        self.end(client, ended + 100)
    }

    fn end(&mut self, at: usize, ended_us: u64) -> u64 {
        let span = &mut self.all[at];
        span.duration_us = ended_us - span.timestamp_us;
        ended_us
    }
}
