//! Which service calls which, told from the spans of traces. A span is reduced to the few facts that this takes, so
//! that those of open traces can be kept in memory. The rules are those of Zipkin's dependency links, and two more for
//! services that report nothing themselves.

use super::merge::{Mark, Piece, merge_pieces};
use super::tree::parents;
use super::{Kind, Span};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Local spans between two sides of calls: one behind more of them is told by its own names alone.
const ANCESTORS_MAX: usize = 1_000;

/// What of a span the linker looks at. Services are numbers that the caller gives to names; 0 is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpan {
    /// Its id.
    pub id: u64,
    /// The span it belongs to, or zero.
    pub parent: u64,
    /// Who reports.
    pub local: u32,
    /// The other side.
    pub remote: u32,
    /// The address and port that report, as one number; 0 if unknown.
    pub place: u32,
    /// What was done.
    pub kind: Option<Kind>,
    /// Whether the other side reports the same id.
    pub shared: bool,
    /// Whether it failed.
    pub error: bool,
    /// Whether Tombolo carried what it tells of, and reports it: its two sides have the names that all others know.
    pub carried: bool,
}

impl LinkSpan {
    /// The facts of a span.
    pub fn of(span: &Span, mut number: impl FnMut(&str) -> u32) -> Self {
        let mut known = |name: &str| if name.is_empty() { 0 } else { number(name) };
        let (local, remote) = (known(&span.local.service), known(&span.remote.service));
        let place = (span.local.ipv4, span.local.ipv6, span.local.port);
        let place = match place {
            (None, None, 0) => 0,
            place => {
                // Within this process only: the same number for the same place.
                let mut hasher = DefaultHasher::new();
                place.hash(&mut hasher);
                (hasher.finish() as u32).max(1)
            }
        };
        let (kind, shared, error) = (span.kind, span.shared, span.is_error());
        let carried = span.is_carried();
        Self { id: span.id, parent: span.parent, local, remote, place, kind, shared, error, carried }
    }
}

impl Piece for LinkSpan {
    fn mark(&self) -> Mark {
        Mark { id: self.id, parent: self.parent, kind: self.kind, shared: self.shared }
    }

    fn complete(&mut self, parent: u64, shared: bool) {
        (self.parent, self.shared) = (parent, shared);
    }

    fn may_be_at(&self, other: &Self) -> bool {
        let agree = |one: u32, other: u32| one == 0 || other == 0 || one == other;
        agree(self.local, other.local) && agree(self.place, other.place)
    }

    fn is_of_same_service(&self, other: &Self) -> bool {
        self.local == other.local
    }

    fn merge(&mut self, other: Self) {
        for (mine, theirs) in
            [(&mut self.local, other.local), (&mut self.remote, other.remote), (&mut self.place, other.place)]
        {
            if *mine == 0 {
                *mine = theirs;
            }
        }
        if self.parent == 0 {
            self.parent = other.parent;
        }
        self.kind = self.kind.or(other.kind);
        self.error |= other.error;
        self.carried |= other.carried;
    }
}

/// Calls from one service to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who calls.
    pub parent: String,
    /// Who is called.
    pub child: String,
    /// How often.
    pub calls: u64,
    /// How many of them failed.
    pub errors: u64,
}

/// Links of traces, added up.
#[derive(Debug, Default)]
pub struct Linker {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    /// In the order in which they were found.
    found: Vec<(u32, u32)>,
    /// Calls and how many of them failed, by the numbers of caller and callee.
    counts: HashMap<(u32, u32), (u64, u64)>,
}

impl Linker {
    /// Adds the links of a trace, given all of its spans.
    pub fn put_trace(&mut self, spans: &[Span]) {
        let spans: Vec<_> = spans.iter().map(|span| LinkSpan::of(span, |name| self.number(name))).collect();
        for (parent, child, error) in links_of(spans) {
            self.add(parent, child, 1, u64::from(error));
        }
    }

    /// Adds a link.
    pub fn put_link(&mut self, link: &Link) {
        let (parent, child) = (self.number(&link.parent), self.number(&link.child));
        self.add(parent, child, link.calls, link.errors);
    }

    /// All links, in the order in which they were found.
    pub fn links(&self) -> Vec<Link> {
        let name = |number: u32| self.names.get(number as usize - 1).cloned().unwrap_or_default();
        let link = |key: &(u32, u32)| {
            let (calls, errors) = self.counts[key];
            Link { parent: name(key.0), child: name(key.1), calls, errors }
        };
        self.found.iter().map(link).collect()
    }

    fn add(&mut self, parent: u32, child: u32, calls: u64, errors: u64) {
        let counts = self.counts.entry((parent, child)).or_insert_with(|| {
            self.found.push((parent, child));
            (0, 0)
        });
        counts.0 += calls;
        counts.1 += errors;
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// Caller, callee and whether it failed, of each call that the spans of a trace show.
pub(crate) fn links_of(spans: Vec<LinkSpan>) -> Vec<(u32, u32, bool)> {
    let mut links = Vec::new();
    each_link(&merge_pieces(spans), |_, parent, child, error| links.push((parent, child, error)));
    links
}

/// Tells of each call that the spans of a trace show, each of which is there once, by their ids: which span shows it,
/// caller, callee and whether it failed.
pub(super) fn each_link(spans: &[LinkSpan], mut found: impl FnMut(usize, u32, u32, bool)) {
    let parents = parents(spans);
    let mut has_children = vec![false; spans.len()];
    for parent in parents.iter().flatten() {
        has_children[*parent] = true;
    }
    let ancestors: Vec<_> = (0..spans.len()).map(|at| remote_ancestor(spans, &parents, at)).collect();
    let silent = silent(spans, &ancestors);
    let root = spans.iter().position(|span| span.parent == 0 && !span.shared);
    for at in breadth_first(&parents, root) {
        let span = &spans[at];
        // The server knows its name better than its client does.
        if span.kind == Some(Kind::Client) && has_children[at] {
            if silent[at] {
                found(at, span.local, span.remote, span.error);
            }
            continue;
        }
        let kind = match span.kind {
            Some(kind) => kind,
            None if span.local != 0 && span.remote != 0 => Kind::Client,
            None => continue,
        };
        let (mut parent, child) = match kind {
            Kind::Server | Kind::Consumer => (span.remote, span.local),
            Kind::Client | Kind::Producer => (span.local, span.remote),
        };
        if matches!(kind, Kind::Server | Kind::Consumer) && Some(at) == root && parent == 0 {
            continue;
        }
        let ancestor = ancestors[at].filter(|ancestor| spans[*ancestor].local != 0);
        if matches!(kind, Kind::Producer | Kind::Consumer) {
            if parent != 0 && child != 0 {
                found(at, parent, child, span.error);
            } else if kind == Kind::Producer
                && span.carried
                && let Some(ancestor) = ancestor
            {
                // Told by the broker itself: whoever gave it the message is above.
                let parent = caller(&spans[ancestor], span);
                if span.local != 0 && parent != span.local {
                    found(at, parent, span.local, span.error);
                }
            }
            continue;
        }
        let mut error = span.error;
        if let Some(ancestor) = ancestor.map(|ancestor| &spans[ancestor]) {
            // A client under another service's name: the call to that service has no span of its own.
            let is_told = ancestor.kind == Some(Kind::Client) && ancestor.remote == span.local;
            if kind == Kind::Client && span.local != 0 && ancestor.local != span.local && !is_told {
                found(at, ancestor.local, span.local, false);
            }
            if kind == Kind::Server || parent == 0 {
                parent = caller(ancestor, span);
            }
            // The client of this server was passed over: its failure is told here.
            let is_its_client = span.parent == ancestor.id || (span.shared && span.id == ancestor.id);
            let is_its_client = is_its_client && parent == ancestor.local;
            error |= ancestor.kind == Some(Kind::Client) && is_its_client && ancestor.error;
        }
        if parent != 0 && child != 0 {
            found(at, parent, child, error);
        }
    }
}

/// Who called, of a span and the nearest one above that is one side of a call.
fn caller(ancestor: &LinkSpan, span: &LinkSpan) -> u32 {
    if passes_on(ancestor, span) { ancestor.remote } else { ancestor.local }
}

/// Whether the span belongs to a service further on than that which the client called. Of what Tombolo carried both
/// sides have the right names, so that another name is another service.
fn passes_on(client: &LinkSpan, span: &LinkSpan) -> bool {
    client.kind == Some(Kind::Client)
        && client.carried
        && client.remote != 0
        && span.carried
        && matches!(span.kind, Some(Kind::Server | Kind::Producer))
        && span.local != client.remote
}

/// The clients whose server reports nothing, while others report what it calls: they tell the call themselves, once,
/// however many calls follow from it.
fn silent(spans: &[LinkSpan], ancestors: &[Option<usize>]) -> Vec<bool> {
    let mut silent = vec![false; spans.len()];
    let mut served = vec![false; spans.len()];
    for (span, ancestor) in spans.iter().zip(ancestors) {
        let Some(at) = *ancestor else { continue };
        let client = &spans[at];
        if client.kind != Some(Kind::Client) || client.remote == 0 || client.local == 0 {
            continue;
        }
        let calls = matches!(span.kind, Some(Kind::Client | Kind::Producer));
        if passes_on(client, span) || (calls && span.local == client.remote && span.local != client.local) {
            silent[at] = true;
        } else if span.kind == Some(Kind::Server) {
            served[at] = true;
        }
    }
    silent.iter().zip(served).map(|(silent, served)| *silent && !served).collect()
}

/// The nearest span above that is one side of a call.
fn remote_ancestor(spans: &[LinkSpan], parents: &[Option<usize>], at: usize) -> Option<usize> {
    let mut above = parents[at];
    // A chain of parents may go round.
    for _ in 0..ANCESTORS_MAX {
        if spans[above?].kind.is_some() {
            return above;
        }
        above = parents[above?];
    }
    None
}

/// The spans level by level, each once.
fn breadth_first(parents: &[Option<usize>], root: Option<usize>) -> Vec<usize> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    let mut order = Vec::with_capacity(parents.len());
    for (at, parent) in parents.iter().enumerate() {
        match parent {
            Some(parent) if Some(at) != root => children[*parent].push(at),
            _ => order.push(at),
        }
    }
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        order.append(&mut children[at]);
    }
    order
}
