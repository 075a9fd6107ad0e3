//! What filters are, and the table of all of them. A family of filters is a file here; adding a filter is a
//! place in a file and a line in a table; the reference page, help and completion follow from the tables.

mod absent;
mod answers;
mod audit;
mod auth;
mod backends;
pub(crate) mod caching;
mod chain;
mod charsets;
mod compress;
pub(crate) mod conditions;
mod content;
mod cookies;
mod delays;
mod edit;
mod egress;
mod endpoints;
mod files;
mod form;
mod header_values;
mod headers;
mod htpasswd;
mod identity;
mod jwks;
mod jwt;
mod limits;
mod logs;
mod made;
mod media;
mod path_templates;
pub(crate) mod queues;
mod records;
mod redirects;
mod reference;
mod resilience;
mod search;
mod shadow;
mod shedding;
mod sniff;
mod spans;
mod strangers;
mod targets;
mod throttle;
mod token_counts;
pub(crate) mod usage;
mod values;

pub use chain::{Chain, Outcome};
pub(crate) use limits::Ratelimit;
pub use reference::page as reference;
pub use usage::Callers;

use crate::args::Args;
use crate::backend::EndpointWishes;
use crate::exchange::Exchange;
use base::{Chance, Clock};
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wire::Response;

/// All filters, by what they are about, in the order of the reference page.
pub static TABLE: &[Family] = &[
    Family { title: "Answers", filters: answers::FILTERS },
    Family { title: "Redirects", filters: redirects::FILTERS },
    Family { title: "Headers", filters: headers::FILTERS },
    Family { title: "Headers with a meaning", filters: identity::FILTERS },
    Family { title: "Header values from elsewhere", filters: header_values::FILTERS },
    Family { title: "Cookies", filters: cookies::FILTERS },
    Family { title: "Path and query", filters: targets::FILTERS },
    Family { title: "Rate limits", filters: limits::FILTERS },
    Family { title: "Queues", filters: queues::FILTERS },
    Family { title: "Shedding of load", filters: shedding::FILTERS },
    Family { title: "Timeouts, breakers and retries", filters: resilience::FILTERS },
    Family { title: "Who may come", filters: auth::FILTERS },
    Family { title: "Tokens", filters: jwt::FILTERS },
    Family { title: "Counts of tokens", filters: token_counts::FILTERS },
    Family { title: "Counts of callers", filters: usage::FILTERS },
    Family { title: "Secrets for services outside", filters: egress::FILTERS },
    Family { title: "Choice of the backend", filters: backends::FILTERS },
    Family { title: "Endpoints of a backend", filters: endpoints::FILTERS },
    Family { title: "Copies for others", filters: shadow::FILTERS },
    Family { title: "Files", filters: files::FILTERS },
    Family { title: "Caching", filters: caching::FILTERS },
    Family { title: "Compression", filters: compress::FILTERS },
    Family { title: "Editing of bodies", filters: edit::FILTERS },
    Family { title: "Contents of bodies", filters: content::FILTERS },
    Family { title: "Made-up content", filters: made::FILTERS },
    Family { title: "Slow networks", filters: throttle::FILTERS },
    Family { title: "Delays", filters: delays::FILTERS },
    Family { title: "Records and notes", filters: records::FILTERS },
    Family { title: "Audits", filters: audit::FILTERS },
    Family { title: "Spans", filters: spans::FILTERS },
    Family { title: "A close look", filters: logs::FILTERS },
];

/// Filters about one thing.
pub struct Family {
    /// What they are about.
    pub title: &'static str,
    /// They themselves.
    pub filters: &'static [FilterSpec],
}

/// Acts on a request and on its response. One value serves all requests of its route at once.
pub trait Filter: Send + Sync + 'static {
    /// On the way to the backend, in the order of the route.
    fn request(&self, exchange: &mut Exchange) -> Step {
        let _ = exchange;
        Step::Next
    }

    /// On the way back, in the reverse order; only if its `request` ran, the one that replied included.
    /// `Step::Reply` puts another response in this one's place.
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let _ = (exchange, response);
        Step::Next
    }

    /// What it says of its route as a whole; asked once, when the route is built.
    fn wish(&self, wishes: &mut Wishes) {
        let _ = wishes;
    }
}

/// What the filters of a route say of it as a whole.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Of the backend's endpoints.
    pub endpoints: EndpointWishes,
    /// Keys of the query whose values must not be logged, however the request ends.
    pub masked_keys: Vec<String>,
    /// The share of traces that begin here and are recorded whole.
    pub sample: Option<f64>,
}

/// What happens after a filter.
pub enum Step {
    /// The next filter, or the backend.
    Next,
    /// This response, without the filters and the backend that would follow. Whoever replies also sets
    /// `exchange.notes.reason`.
    Reply(Response),
    /// The same, after a pause.
    Pause(Duration),
    /// When the future has come, what it gives decides.
    Wait(Later),
}

/// A wait of a filter: what it gives is called with the exchange and says what happens then.
pub type Later = Pin<Box<dyn Future<Output = Box<dyn FnOnce(&mut Exchange) -> Step + Send>> + Send>>;

/// What a filter is given when its route is built.
#[derive(Clone)]
pub struct FilterEnv {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// The route's id.
    pub route: Arc<str>,
    /// The filter's place in its route, from 0. With the route's id and its arguments this is the name of
    /// state that survives a reload.
    pub place: usize,
    /// State that survives a reload.
    pub lasting: Arc<crate::lasting::Lasting>,
    /// Where relative file names begin; empty for the current folder.
    pub folder: PathBuf,
    /// Where filters count.
    pub metrics: Arc<telemetry::Metrics>,
    /// What else they may reach.
    pub handles: Handles,
}

/// What filters may reach beside the request.
#[derive(Clone)]
pub struct Handles {
    /// Where `auditLog` writes, and the filters for a close look; nowhere if there is none.
    pub audit: Option<telemetry::AccessLog>,
    /// Most bytes of a request's body that `auditLog` writes (Skipper's `-max-audit-body`).
    pub audit_body_bytes: usize,
    /// How connections are opened to whoever knows the keys of tokens.
    pub dialer: wire::Dialer,
    /// Most bytes that `cache` keeps, of all routes together.
    pub cache_bytes: usize,
    /// Secrets that filters send to services outside.
    pub secrets: Arc<crate::secrets::Secrets>,
    /// Which claims of tokens say who calls.
    pub callers: Arc<Callers>,
}

impl Default for Handles {
    fn default() -> Self {
        Self {
            audit: None,
            audit_body_bytes: 1024,
            dialer: wire::Dialer::default(),
            cache_bytes: 64 << 20,
            secrets: Arc::default(),
            callers: Arc::default(),
        }
    }
}

/// A filter that was built.
pub type Built = Box<dyn Filter>;

/// What there is to know of a filter: its entry in the table, the reference page and the help.
pub struct FilterSpec {
    /// Its name.
    pub name: &'static str,
    /// Its arguments as a signature: `name, value`, optional ones in brackets. Empty for none.
    pub args: &'static str,
    /// What it does; the first sentence stands alone.
    pub docs: &'static str,
    /// One use of it that runs as a test.
    pub example: Example,
    /// Checks the arguments and makes the filter. The error is one sentence without the filter's name.
    pub build: fn(&mut Args<'_>, &FilterEnv) -> Result<Built, String>,
}

/// A use of a filter that runs as a test: one request from 192.0.2.7 through a route of these filters to a
/// backend that answers 200 with the body `hello`. A line that begins with `!` must not begin any line.
pub struct Example {
    /// The filters.
    pub filters: &'static str,
    /// The request: a line `METHOD target`, then header lines.
    pub request: &'static str,
    /// Lines that must be in what the backend saw (`METHOD target` and header lines), or `-` alone when it
    /// must not have been asked.
    pub saw: &'static str,
    /// Lines that must be in what the client got (the status, header lines, body).
    pub got: &'static str,
}

/// Which way a filter acts that exists for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Request,
    Response,
}

/// The filter of this name, of exactly this spelling.
pub fn find(name: &str) -> Option<&'static FilterSpec> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static FilterSpec>> =
        LazyLock::new(|| specs().map(|spec| (spec.name, spec)).collect());
    BY_NAME.get(name).copied()
}

/// All filters, in the order of the reference page.
pub fn specs() -> impl Iterator<Item = &'static FilterSpec> {
    TABLE.iter().flat_map(|family| family.filters)
}

/// The names of all filters, for help and completion.
pub fn names() -> impl Iterator<Item = &'static str> {
    specs().map(|spec| spec.name)
}

/// A filter that was built.
fn plain(filter: impl Filter) -> Built {
    Box::new(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_stands_in_the_table_once_and_is_documented() {
        let mut all: Vec<&str> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for spec in specs() {
            assert!(spec.docs.ends_with('.') && spec.docs.starts_with(char::is_uppercase), "{}", spec.name);
            assert!(spec.example.filters.contains(&format!("{}(", spec.name)), "{}", spec.name);
        }
        assert!(find("setpath").is_none() && find("setPath").is_some());
    }
}
