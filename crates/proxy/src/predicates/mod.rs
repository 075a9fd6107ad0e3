//! What predicates are, and the table of all of them. A family of predicates is a file here; adding one is
//! a place in a file and a line in the table; the reference page, help and completion follow from the table.

mod auth;
mod cron;
mod header;
mod host;
mod hostnames;
mod method;
mod path;
mod plain;
mod reference;
mod regexp;
mod source;
mod time;
mod traffic;

pub use hostnames::{HostName, HostNames, Port};
pub(crate) use method::KNOWN as KNOWN_METHODS;
pub use reference::{page as reference, staged};
pub use regexp::Regexp;
pub(crate) use regexp::rewritten;

pub(crate) use hostnames::split_port;

use crate::args::Args;
use crate::lookup::Pattern;
use crate::question::Question;
use http::Method;
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// All predicates, in the order of the reference page.
pub static TABLE: &[&PredicateSpec] = &[
    &path::PATH,
    &path::PATH_SUBTREE,
    &path::PATH_REGEXP,
    &host::HOST,
    &host::HOST_ANY,
    &method::METHOD,
    &method::METHODS,
    &header::HEADER,
    &header::HEADER_REGEXP,
    &header::COOKIE,
    &header::QUERY_PARAM,
    &plain::WEIGHT,
    &plain::ANY,
    &plain::TRUE,
    &plain::FALSE,
    &plain::SHUTDOWN,
    &plain::CONTENT_LENGTH_BETWEEN,
    &source::SOURCE,
    &source::SOURCE_FROM_LAST,
    &source::CLIENT_IP,
    &source::FORWARDED_HOST,
    &source::FORWARDED_PROTOCOL,
    &traffic::TRAFFIC,
    &traffic::TRAFFIC_SEGMENT,
    &traffic::TEE,
    &traffic::OTEL_BAGGAGE,
    &auth::JWT_ANY,
    &auth::JWT_ALL,
    &auth::JWT_ANY_REGEXP,
    &auth::JWT_ALL_REGEXP,
    &auth::HEADER_SHA256,
    &time::AFTER,
    &time::BEFORE,
    &time::BETWEEN,
    &cron::CRON,
];

/// Decides whether a request may take a route. One value serves all requests at once.
pub trait Predicate: Send + Sync {
    /// Whether it holds.
    fn matches(&self, question: &Question<'_>) -> bool;

    /// The only hosts for which it holds, if it is exactly a list of hosts: the route table finds such
    /// routes by hash.
    fn hosts(&self) -> Option<&HostNames> {
        None
    }

    /// The only methods for which it may hold, if it names some.
    fn methods(&self) -> Option<&[Method]> {
        None
    }
}

/// A predicate that was built.
pub enum Built {
    /// Holds always and weighs nothing: `*`.
    Any,
    /// Adds to the weight of its route.
    Weight(i64),
    /// The place of its route in the path tree.
    Path(Pattern),
    /// Checked for each request.
    Check(Box<dyn Predicate>),
}

/// What there is to know of a predicate: its entry in the table, the reference page and the help.
pub struct PredicateSpec {
    /// Its name.
    pub name: &'static str,
    /// Its arguments as a signature: `name, value`, optional ones in brackets, repeated ones with dots.
    pub args: &'static str,
    /// What it means; the first sentence stands alone.
    pub docs: &'static str,
    /// One use of it that runs as a test.
    pub example: &'static str,
    /// Requests that the example matches; see [`staged`] for how they are written.
    pub matches: &'static [&'static str],
    /// Requests that it does not match.
    pub refuses: &'static [&'static str],
    /// What it adds to the weight of its route beside the 1 of each checked predicate.
    pub weight_extra: i64,
    /// Checks the arguments and makes the predicate. The error is one sentence without the predicate's name.
    pub build: fn(&mut Args<'_>, &PredicateEnv) -> Result<Built, Unfit>,
}

/// What a predicate is given when its route is built.
#[derive(Clone)]
pub struct PredicateEnv {
    /// Set when the gateway has been told to stop; `Shutdown()` looks at it.
    pub shutdown: Arc<AtomicBool>,
    /// The zone whose clock `Cron` reads; if there is none, the machine's own. Looking for that takes as long as
    /// building a hundred routes.
    pub zone: Option<TimeZone>,
    /// Regular expressions in use, so that routes share what they have in common.
    regexps: regexp::Shared,
}

impl Default for PredicateEnv {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl PredicateEnv {
    /// An environment whose shutdown is told by this flag.
    pub fn new(shutdown: Arc<AtomicBool>) -> Self {
        Self { shutdown, zone: None, regexps: regexp::Shared::default() }
    }

    /// The regular expression of this text, compiled once for all routes that have it.
    pub fn regexp(&self, text: &str) -> Result<Arc<Regexp>, String> {
        self.regexps.get(text)
    }
}

/// Why arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// One sentence without the predicate's name.
    pub why: String,
    /// What Skipper appends to its own sentence in this case; usually nothing.
    pub original: &'static str,
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self { why, original: "" }
    }
}

impl From<&str> for Unfit {
    fn from(why: &str) -> Self {
        Self::from(why.to_owned())
    }
}

/// The predicate of this name, of exactly this spelling.
pub fn find(name: &str) -> Option<&'static PredicateSpec> {
    TABLE.iter().find(|spec| spec.name == name).copied()
}

/// The names of all predicates, for help and completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|spec| spec.name)
}

/// A boxed check.
fn check(predicate: impl Predicate + 'static) -> Built {
    Built::Check(Box::new(predicate))
}

/// All arguments as strings; at least one.
fn some_texts<'a>(args: &mut Args<'a>, what: &str) -> Result<Vec<&'a str>, String> {
    let first = args.text(what)?;
    let mut texts = args.texts(what)?;
    texts.insert(0, first);
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_predicate_stands_in_the_table_once() {
        let mut all: Vec<&str> = names().collect();
        assert_eq!(all.len(), 35, "34 of the original, and `Any` for `*`");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 35);
        assert!(find("path").is_none());
    }

    #[test]
    fn every_predicate_is_documented() {
        for spec in TABLE {
            assert!(spec.docs.ends_with('.') && spec.docs.starts_with(char::is_uppercase), "{}", spec.name);
            assert!(spec.example.contains(spec.name) || spec.name == "Any", "{}", spec.name);
            assert!(!spec.matches.is_empty() || spec.name == "False", "{}", spec.name);
        }
    }
}
