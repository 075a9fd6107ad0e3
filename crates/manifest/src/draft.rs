//! What was read, with its places, before the checks across keys: the halfway house between the tree and the
//! values that others see.

use crate::consumers::ConsumerDraft;
use crate::texts::TextMap;
use crate::values::{Check, Command, DependsOn, Gateway, Health, Limits, Log, RoutesEntry, Streams, Traces};
use base::Span;
use std::path::PathBuf;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A known key that was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) name: &'static str,
    pub(crate) key: Span,
    pub(crate) value: Span,
}

#[derive(Default)]
pub(crate) struct ManifestDraft {
    pub(crate) name: Option<String>,
    pub(crate) services: Vec<ServiceDraft>,
    pub(crate) routes: Vec<RoutesEntry>,
    /// Of inline routes; those of filters stand with their services.
    pub(crate) texts: Vec<TextMap>,
    pub(crate) gateway: GatewaySection,
    /// With the keys that were given.
    pub(crate) streams: Option<(Streams, Vec<Given>)>,
    pub(crate) consumers: Vec<ConsumerDraft>,
    /// With the keys that were given.
    pub(crate) traces: Option<(Traces, Vec<Given>)>,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
}

#[derive(Default)]
pub(crate) struct GatewaySection {
    pub(crate) value: Gateway,
    pub(crate) given: Vec<Given>,
}

impl ManifestDraft {
    /// An entry of inline routes; how its places map to the file is kept beside.
    pub(crate) fn inline(&mut self, (text, map): (String, TextMap)) -> RoutesEntry {
        let span = map.span().clone();
        self.texts.push(map);
        RoutesEntry::Inline { text, span }
    }
}

/// A service before it is known to be run here or elsewhere.
pub(crate) struct ServiceDraft {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) given: Vec<Given>,
    /// It was no map, which was said: nothing else is wrong with it.
    pub(crate) unreadable: bool,
    pub(crate) run: Option<Vec<String>>,
    pub(crate) at: Option<Vec<String>>,
    pub(crate) env: Vec<Variable>,
    pub(crate) port: Option<Placed<u16>>,
    pub(crate) depends_on: Vec<Placed<DependsOn>>,
    pub(crate) calls: Vec<Placed<String>>,
    pub(crate) filters: Option<(String, TextMap)>,
    /// The rest of a command, `run` left empty.
    pub(crate) command: Command,
}

/// A variable; `span` is its name's.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) span: Span,
}

pub(crate) struct HealthDraft {
    pub(crate) http: Option<String>,
    pub(crate) tcp: Option<bool>,
    pub(crate) command: Option<Vec<String>>,
    /// Everything but the check.
    pub(crate) times: Health,
}

#[derive(Default)]
pub(crate) struct RoutesDraft {
    pub(crate) inline: Option<(String, TextMap)>,
    pub(crate) file: Option<(PathBuf, Span)>,
}

impl ServiceDraft {
    pub(crate) fn new(name: String, span: Span) -> Self {
        Self {
            name,
            span,
            given: Vec::new(),
            unreadable: false,
            run: None,
            at: None,
            env: Vec::new(),
            port: None,
            depends_on: Vec::new(),
            calls: Vec::new(),
            filters: None,
            command: Command::of(Vec::new()),
        }
    }

    /// Where a key was given.
    pub(crate) fn given(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.name == name)
    }
}

impl HealthDraft {
    pub(crate) fn new() -> Self {
        Self { http: None, tcp: None, command: None, times: Health::of(Check::Tcp) }
    }
}
