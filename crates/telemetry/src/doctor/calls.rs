//! The calls between services that a trace shows: who called whom, within which other call, how it went, and which calls
//! were a second try. Spans of whoever only carries calls, such as the gateway, make no service of it.

use super::Facts;
use crate::spans::{COPY_TAG, Kind, Node, Span, Tree};

/// Bytes of a name that count: longer ones that begin alike are one.
const NAME_BYTES_MAX: usize = 256;
/// Tags under which instrumentations say that a request was sent again.
const RESEND_TAGS: [&str; 2] = ["http.request.resend_count", "http.resend_count"];
/// Tags under which they say what was asked for.
const TARGET_TAGS: [&str; 6] =
    ["url.full", "http.url", "url.path", "http.target", "http.path", "db.query.text"];

/// Tags under which they say what was answered.
const STATUS_TAGS: [&str; 2] = ["http.response.status_code", "http.status_code"];

/// One call, or one try of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Who called; none where a trace begins with being called.
    pub(super) caller: Option<&'a str>,
    /// Who was called.
    pub(super) callee: &'a str,
    /// What was called.
    pub(super) name: &'a str,
    /// The call in which it was made, and which waits for it.
    pub(super) above: Option<usize>,
    /// The node of the span that made it: one that was called, a consumer, or the begin of it all.
    pub(super) maker: usize,
    /// Microseconds since 1970; zero if unknown.
    pub(super) began_us: u64,
    pub(super) ended_us: u64,
    /// Whether the callee is a service that can be seen at work, and not, say, a database.
    pub(super) is_served: bool,
    /// Whether it failed.
    pub(super) failed: bool,
    /// Which try of the same call it was, from 0.
    pub(super) attempt: u32,
    /// Whether another try came after it, so that it does not decide how the call went.
    pub(super) is_superseded: bool,
}

impl<'a> Call<'a> {
    /// Whether it went wrong in the end.
    pub(super) fn is_failure(&self) -> bool {
        self.failed && !self.is_superseded
    }

    /// Caller and callee, if they are two services.
    pub(super) fn edge(&self) -> Option<(&'a str, &'a str)> {
        self.caller.filter(|caller| *caller != self.callee).map(|caller| (caller, self.callee))
    }

    /// What may be tried several times.
    fn kind(&self) -> (usize, Option<&'a str>, &'a str, &'a str) {
        (self.maker, self.caller, self.callee, self.name)
    }
}

/// What is known where a span stands.
#[derive(Clone, Copy, Default)]
struct Context<'a> {
    /// The service that is at work.
    service: Option<&'a str>,
    /// The call that is being served.
    call: Option<usize>,
    /// The node that serves it.
    maker: usize,
    /// The client's side of the call that comes next.
    client: Option<usize>,
    /// The node below which everything is a try of one call.
    within: Option<usize>,
    /// What a carrier was called for, before any service was.
    entry: Option<&'a str>,
}

/// What tells whether a call is another one's second try.
struct Trying<'a> {
    within: Option<usize>,
    target: Option<&'a str>,
    is_resent: bool,
}

/// The calls of a trace, those that wait before those that they wait for.
pub(super) fn calls<'a>(tree: &'a Tree, facts: &Facts) -> Vec<Call<'a>> {
    let walk = Walk::new(&tree.nodes, facts);
    let mut contexts: Vec<Context> = Vec::with_capacity(tree.nodes.len());
    let mut calls: Vec<Call> = Vec::new();
    let mut tryings: Vec<Trying> = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        let above = |node: &Node| node.parent.map(|parent| contexts[parent]);
        let before = above(node).unwrap_or(Context { maker: at, ..Context::default() });
        let (mut context, call) = walk.step(at, before);
        if let Some(call) = call {
            context.call = Some(calls.len());
            // Client and server are one try: what stands above both is what they are tries of.
            let client = before.client.filter(|_| node.span.kind == Some(Kind::Server));
            let client = client.map(|client| &tree.nodes[client]);
            let within = client.map_or(before.within, |client| above(client).and_then(|above| above.within));
            tryings.push(trying(node, client, within));
            calls.push(call);
        }
        contexts.push(context);
    }
    mark_tries(&mut calls, &tryings);
    calls
}

/// What spans are in the light of those below them.
struct Walk<'a, 'f> {
    nodes: &'a [Node],
    facts: &'f Facts,
    /// Clients that are told more closely by what is below them: by their server, or the tries they were made of.
    is_passed: Vec<bool>,
    /// Clients whose callee reports something below them, though not the call itself.
    is_heard: Vec<bool>,
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(nodes: &'a [Node], facts: &'f Facts) -> Self {
        let (mut is_passed, mut is_heard) = (vec![false; nodes.len()], vec![false; nodes.len()]);
        for node in nodes {
            let Some(at) = node.parent else { continue };
            let (above, below) = (&nodes[at].span, &node.span);
            if above.kind == Some(Kind::Client) {
                let is_carried = facts.is_carrier(&below.local.service);
                let is_try = (is_carried || below.local.service == above.local.service) && !is_copy(below);
                is_passed[at] |=
                    below.kind == Some(Kind::Server) || (below.kind == Some(Kind::Client) && is_try);
                is_heard[at] |= below.local.service == above.remote.service;
            }
        }
        Self { nodes, facts, is_passed, is_heard }
    }

    /// What a span adds to what is known above it, and the call that it is.
    fn step(&self, at: usize, before: Context<'a>) -> (Context<'a>, Option<Call<'a>>) {
        let node = &self.nodes[at];
        let span = &node.span;
        let local = self.service(&span.local.service);
        let service = local.or(before.service);
        match span.kind {
            // Nobody waits for it, nor for what it makes others do.
            Some(Kind::Client) if is_copy(span) => (served(at), None),
            Some(Kind::Client) if self.is_passed[at] => {
                (Context { service, client: Some(at), within: Some(at), ..before }, None)
            }
            // A carrier, or nobody knows who: what comes next is called by who called before.
            Some(Kind::Server) if local.is_none() => {
                let name =
                    Some(short(&span.name)).filter(|name| !name.is_empty() && before.service.is_none());
                (Context { entry: before.entry.or(name), within: Some(at), ..before }, None)
            }
            Some(Kind::Server) => {
                let caller = before.service.or_else(|| self.service(&span.remote.service));
                let seen = before.client.map_or(node, |client| &self.nodes[client]);
                let call = call(before, caller, local.unwrap_or_default(), (seen, &span.name));
                let failed = call.failed || has_failed(span);
                (Context { service: local, ..served(at) }, Some(Call { is_served: true, failed, ..call }))
            }
            // Nobody waits for what is done with a message.
            Some(Kind::Consumer) => (Context { service: local, ..served(at) }, None),
            Some(Kind::Producer) => (served(at), None),
            Some(Kind::Client) | None => {
                let is_call =
                    span.kind.is_some() || (local.is_some() && local != self.service(&span.remote.service));
                let callee = self.service(&span.remote.service).filter(|_| is_call);
                let Some(callee) = callee else { return (Context { service, ..before }, None) };
                let is_served = self.is_heard[at] || self.facts.services.contains_key(callee);
                let call = call(before, service, callee, (node, &span.name));
                (Context { service: Some(callee), ..served(at) }, Some(Call { is_served, ..call }))
            }
        }
    }

    /// The name of a service, if it is known and none of a carrier.
    fn service(&self, name: &'a str) -> Option<&'a str> {
        Some(short(name)).filter(|name| !name.is_empty() && !self.facts.is_carrier(name))
    }
}

fn is_copy(span: &Span) -> bool {
    span.tag(COPY_TAG).is_some()
}

/// Where something new begins, for which this node is at work.
fn served<'a>(maker: usize) -> Context<'a> {
    Context { maker, ..Context::default() }
}

fn call<'a>(
    before: Context<'a>,
    caller: Option<&'a str>,
    callee: &'a str,
    (seen, name): (&Node, &'a str),
) -> Call<'a> {
    Call {
        caller,
        callee,
        name: before.entry.filter(|_| before.call.is_none()).unwrap_or_else(|| short(name)),
        above: before.call,
        maker: before.maker,
        began_us: seen.began_us(),
        ended_us: seen.ended_us(),
        is_served: false,
        failed: has_failed(&seen.span),
        attempt: 0,
        is_superseded: false,
    }
}

/// Whether the callee failed. What it answered to a caller that asked for the wrong thing is no failure.
fn has_failed(span: &Span) -> bool {
    let status = STATUS_TAGS.iter().find_map(|tag| span.tag(tag)?.parse::<u16>().ok());
    span.is_error() && !status.is_some_and(|status| (400..500).contains(&status))
}

fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

fn trying<'a>(node: &'a Node, client: Option<&'a Node>, within: Option<usize>) -> Trying<'a> {
    let spans: Vec<&Span> = client.into_iter().chain([node]).map(|node| &node.span).collect();
    let target = spans.iter().find_map(|span| TARGET_TAGS.iter().find_map(|tag| span.tag(tag)));
    let count = |span: &Span| RESEND_TAGS.iter().find_map(|tag| span.tag(tag)?.parse::<u32>().ok());
    let is_resent = spans.iter().filter_map(|span| count(span)).any(|count| count > 0);
    Trying { within, target, is_resent }
}

/// Finds the calls that are another's second try: one that failed came before, for the same thing.
fn mark_tries(calls: &mut [Call], tryings: &[Trying]) {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|at| (calls[*at].kind(), calls[*at].began_us));
    for pair in order.windows(2) {
        let [first, second] = [pair[0], pair[1]];
        let (one, other) = (&tryings[first], &tryings[second]);
        let is_told = other.is_resent
            || (one.within.is_some() && one.within == other.within)
            || (one.target.is_some() && one.target == other.target);
        let is_after = calls[first].began_us != 0 && calls[first].ended_us <= calls[second].began_us;
        if calls[first].kind() == calls[second].kind() && calls[first].failed && is_after && is_told {
            calls[first].is_superseded = true;
            calls[second].attempt = calls[first].attempt.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
