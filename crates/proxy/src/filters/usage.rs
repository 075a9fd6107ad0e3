//! The filter that counts who uses which endpoint of an API. What a path template is called and which paths are its
//! stands in [`super::path_templates`].

use super::path_templates::{label, pattern};
use super::strangers::Strangers;
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{Claims, Exchange};
use crate::lasting::IDLE;
use crate::predicates::{KNOWN_METHODS, Regexp};
use crate::question::read_claims;
use base::Moment;
use http::{Method, StatusCode};
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet, btree_map};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use telemetry::Metrics;
use telemetry::metrics::{CUSTOM_DURATION, CUSTOM_TOTAL, Counter, Sum, Timer};
use wire::Response;

/// Templates of one filter.
const TEMPLATES_MAX: usize = 2000;

/// Most bytes of all their expressions, compiled.
const COMPILED_BYTES_MAX: usize = 32 << 20;

/// Skipper's words for what is not known.
const UNKNOWN: &str = "{unknown}";
const NO_MATCH: &str = "{no-match}";
const NO_TAG: &str = "{no-tag}";
const UNKNOWN_CALLER: &str = "{unknown}.{unknown}";

/// Whoever is one too many, or has too long a name.
const OTHER_CALLER: &str = "{other}.{other}";

/// By the first digit of the status.
const CLASSES: [&str; 6] =
    ["httpxxx_count", "http1xx_count", "http2xx_count", "http3xx_count", "http4xx_count", "http5xx_count"];

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "apiUsageMonitoring",
    args: "api[, api, ...]",
    docs: "Counts requests by the path template they match and, if `-api-usage-monitoring-realm-keys` is set, by who \
           calls. Each API is a JSON object with `application_id`, `api_id` and `path_templates` (`orders/:id`, \
           `orders/{id}`, and `{id?}` for what may be empty), and maybe `tag` and `client_tracking_pattern`, an \
           expression for the callers that are counted one by one (all of them by default, none if it is empty). Of \
           several templates that match, one with a word counts before one with a variable in its place; of two for \
           the same paths, the first written. The path is the one that comes to the filter, or if that has no template, the one \
           the backend is asked for.\n\n\
           With the prefix `apiUsageMonitoring.custom.APPLICATION.TAG.API.`, `skipper_custom_total` has the keys \
           `METHOD.TEMPLATE.*.*.http_count` and `….http2xx_count` (and so on), and `*.*.REALM.CALLER.http_count`, \
           `….http2xx_count` and `….latency_sum` (seconds); `skipper_custom_duration_seconds` has \
           `METHOD.TEMPLATE.*.*.latency`. Durations end when the head of the answer is there. Realm and caller are \
           claims of the token in `Authorization: Bearer`, which nobody has checked: which ones is said by \
           `-api-usage-monitoring-realm-keys` and `-api-usage-monitoring-client-keys`. A realm that \
           `-api-usage-monitoring-realms-tracking-pattern` does not match is counted as `REALM.{all}`. Skipper takes \
           any number of callers; here those beyond 1000, of all routes, and keys of over 512 bytes are \
           `{other}.{other}`. A \
           mistake in an API refuses the route, where Skipper counts nothing.",
    example: Example {
        filters: r#"apiUsageMonitoring("{\"application_id\": \"shop\", \"api_id\": \"orders\", \"path_templates\": [\"orders/:id\"]}")"#,
        request: "GET /orders/7",
        saw: "GET /orders/7",
        got: "200",
    },
    build: usage,
}];

/// Which claims of a token say who calls, for `apiUsageMonitoring` (Skipper's `-api-usage-monitoring-…`).
#[derive(Clone, Debug)]
pub struct Callers {
    /// Claims that may name the realm, the first that is there counting. None: callers are not counted.
    pub realm_keys: Vec<String>,
    /// Claims that may name the caller, likewise.
    pub client_keys: Vec<String>,
    /// Realms whose callers are counted one by one.
    pub realms: Regexp,
}

impl Default for Callers {
    fn default() -> Self {
        let realms = Regexp::new("services").expect("a word is an expression");
        Self { realm_keys: Vec::new(), client_keys: vec!["sub".to_owned()], realms }
    }
}

/// An API as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Api {
    #[serde(rename = "application_id")]
    application: String,
    #[serde(default)]
    tag: String,
    #[serde(rename = "api_id")]
    name: String,
    path_templates: Vec<String>,
    #[serde(rename = "client_tracking_pattern", default = "all_callers")]
    callers: String,
}

fn all_callers() -> String {
    ".*".to_owned()
}

/// What filters with the same arguments share.
struct Usage {
    /// The paths of the endpoints, by the same numbers; of several the first counts.
    paths: RegexSet,
    endpoints: Vec<Endpoint>,
    /// For paths that are no template's.
    unknown: Endpoint,
}

/// Requests for one template.
struct Endpoint {
    /// `METHOD.` and what is here make a key.
    template: String,
    group: Arc<Group>,
    /// By method, the last for all others.
    methods: [OnceLock<MethodCounts>; KNOWN_METHODS.len() + 1],
}

/// Endpoints with the same application, tag and API.
struct Group {
    /// Ends with a dot.
    prefix: String,
    callers: Tracked,
}

/// Which callers are counted.
enum Tracked {
    /// None.
    Nobody,
    /// All, but none by name.
    Realms,
    /// All, and by name those that match.
    Some(Regexp),
}

struct MethodCounts {
    requests: Classes,
    latency: Timer,
}

struct CallerCounts {
    requests: Classes,
    latency: Sum,
}

/// Requests by their status.
struct Classes {
    prefix: String,
    all: Counter,
    by_class: [OnceLock<Counter>; CLASSES.len()],
}

struct Monitoring {
    usage: Arc<Usage>,
    callers: Arc<Callers>,
    counts: Arc<Strangers<CallerCounts>>,
    metrics: Arc<Metrics>,
}

/// A request that such a filter has seen and whose answer it has not.
pub(crate) struct Begun {
    at: Moment,
    /// Which endpoint's it is, if its path was a template's.
    endpoint: Option<usize>,
}

fn usage(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let callers = env.handles.callers.clone();
    let mut apis = vec![args.text("API")?];
    let mut read = vec![api(args, apis[0])?];
    while args.left() > 0 {
        let text = args.text("API")?;
        read.push(api(args, text)?);
        apis.push(text);
    }
    // Routes often share what is counted, and it is large.
    let usage = env.lasting.try_get(&format!("usage {apis:?}"), IDLE, || Usage::new(&read, &callers))?;
    let counts = env.lasting.get("apiUsageMonitoring", Strangers::default);
    Ok(plain(Monitoring { usage, callers, counts, metrics: env.metrics.clone() }))
}

fn api(args: &Args<'_>, text: &str) -> Result<Api, String> {
    let wrong = |why: &str| args.refuse("API", why);
    let api: Api = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    for (key, is_there) in [
        ("application_id", !api.application.is_empty()),
        ("api_id", !api.name.is_empty()),
        ("path_templates", !api.path_templates.is_empty()),
    ] {
        if !is_there {
            return Err(wrong(&format!("`{key}` is empty")));
        }
    }
    if api.path_templates.iter().any(String::is_empty) {
        return Err(wrong("a path template is empty; `/` is the root"));
    }
    Ok(api)
}

impl Usage {
    fn new(apis: &[Api], callers: &Callers) -> Result<Self, String> {
        let number: usize = apis.iter().map(|api| api.path_templates.len()).sum();
        if number > TEMPLATES_MAX {
            return Err(format!("there are {number} path templates, at most {TEMPLATES_MAX} are taken"));
        }
        let unknown = unknown(apis, callers);
        let (mut labels, mut templates) = (HashSet::new(), BTreeMap::new());
        for api in apis {
            let group = Arc::new(Group::of(api, callers)?);
            for template in &api.path_templates {
                let label = label(template);
                if let btree_map::Entry::Vacant(place) = templates.entry(pattern(template))
                    && labels.insert(label.clone())
                {
                    place.insert(Endpoint::new(label, group.clone()));
                }
            }
        }
        // Skipper's order: what is written out comes before a variable, as letters come behind `.`.
        let (patterns, endpoints): (Vec<_>, Vec<_>) = templates.into_iter().rev().unzip();
        let paths = RegexSetBuilder::new(patterns).size_limit(COMPILED_BYTES_MAX).build();
        let paths = paths.map_err(|error| format!("the path templates can't be compiled: {error}"))?;
        Ok(Self { paths, endpoints, unknown })
    }

    /// The number of the endpoint with this path.
    fn endpoint(&self, path: &str) -> Option<usize> {
        self.paths.matches(path).iter().next()
    }
}

/// Where requests are counted that are no template's: under the application, if there is but one.
fn unknown(apis: &[Api], callers: &Callers) -> Endpoint {
    let mut applications = apis.iter().map(|api| application(api).0);
    let first = applications.next().unwrap_or(UNKNOWN);
    let application = if applications.all(|other| other == first) { first } else { UNKNOWN };
    let callers = if callers.realm_keys.is_empty() { Tracked::Nobody } else { Tracked::Realms };
    let group = Group { prefix: prefix(application, NO_TAG, UNKNOWN), callers };
    Endpoint::new(NO_MATCH.to_owned(), Arc::new(group))
}

/// Application and tag. An application may be written with its tag, behind a colon (Skipper's).
fn application(api: &Api) -> (&str, &str) {
    let written = api.application.as_str();
    let (application, tag) = match written.split_once(':') {
        Some((application, rest)) => (application, rest.split(':').next().unwrap_or_default()),
        None => (written, api.tag.as_str()),
    };
    (application, if tag.is_empty() { NO_TAG } else { tag })
}

fn prefix(application: &str, tag: &str, api: &str) -> String {
    format!("apiUsageMonitoring.custom.{application}.{tag}.{api}.")
}

impl Group {
    fn of(api: &Api, callers: &Callers) -> Result<Self, String> {
        let (application, tag) = application(api);
        let which = Regexp::new(&api.callers).map_err(|why| format!("`client_tracking_pattern`: {why}"))?;
        let are_counted =
            !callers.realm_keys.is_empty() && !callers.client_keys.is_empty() && !api.callers.is_empty();
        let callers = if are_counted { Tracked::Some(which) } else { Tracked::Nobody };
        Ok(Self { prefix: prefix(application, tag, &api.name), callers })
    }
}

impl Endpoint {
    fn new(template: String, group: Arc<Group>) -> Self {
        Self { template, group, methods: Default::default() }
    }

    fn count(&self, method: &Method, status: StatusCode, took: Duration, metrics: &Metrics) {
        let number = KNOWN_METHODS.iter().position(|known| known == method);
        let counts = self.methods[number.unwrap_or(KNOWN_METHODS.len())].get_or_init(|| {
            let method = number.map_or(UNKNOWN, |number| KNOWN_METHODS[number].as_str());
            let prefix = format!("{}{method}.{}.*.*.", self.group.prefix, self.template);
            let latency = metrics.timer(CUSTOM_DURATION, &[&format!("{prefix}latency")]);
            MethodCounts { requests: Classes::new(prefix, metrics), latency }
        });
        counts.requests.count(status, metrics);
        counts.latency.observe(took);
    }
}

impl Tracked {
    /// Realm and name of whoever brings these claims.
    fn caller(&self, claims: Option<&Claims>, callers: &Callers) -> String {
        let one_of = |keys: &[String]| {
            let value = claims.and_then(|claims| keys.iter().find_map(|key| claims.get(key)))?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let Some(realm) = one_of(&callers.realm_keys) else { return UNKNOWN_CALLER.to_owned() };
        if !callers.realms.matches(&realm) {
            return format!("{realm}.{{all}}");
        }
        let Some(client) = one_of(&callers.client_keys) else { return format!("{realm}.{UNKNOWN}") };
        let is_counted = matches!(self, Tracked::Some(which) if which.matches(&client));
        format!("{realm}.{}", if is_counted { &client } else { NO_MATCH })
    }
}

impl CallerCounts {
    /// `key` is all of the key but the last word.
    fn new(key: &str, metrics: &Metrics) -> Self {
        let latency = metrics.sum(CUSTOM_TOTAL, &[&format!("{key}latency_sum")]);
        Self { requests: Classes::new(key.to_owned(), metrics), latency }
    }
}

impl Classes {
    fn new(prefix: String, metrics: &Metrics) -> Self {
        let all = metrics.counter(CUSTOM_TOTAL, &[&format!("{prefix}http_count")]);
        Self { prefix, all, by_class: Default::default() }
    }

    fn count(&self, status: StatusCode, metrics: &Metrics) {
        let class = usize::from(status.as_u16() / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        self.all.increment();
        let key = || format!("{}{}", self.prefix, CLASSES[class]);
        self.by_class[class].get_or_init(|| metrics.counter(CUSTOM_TOTAL, &[&key()])).increment();
    }
}

impl Monitoring {
    fn count_caller(&self, group: &Group, exchange: &Exchange, status: StatusCode, took: Duration) {
        let claims = read_claims(&exchange.headers);
        let caller = group.callers.caller(claims.as_ref(), &self.callers);
        let key = |caller: &str| format!("{}*.*.{caller}.", group.prefix);
        let make = |key: &str| CallerCounts::new(key, &self.metrics);
        self.counts.count(
            &key(&caller),
            || key(OTHER_CALLER),
            make,
            |counts| {
                counts.requests.count(status, &self.metrics);
                counts.latency.add(took.as_secs_f64());
            },
        );
    }
}

impl Filter for Monitoring {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let endpoint = self.usage.endpoint(&exchange.path());
        let begun = Begun { at: exchange.clock.now(), endpoint };
        exchange.notes.usage.push(begun);
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let Some(Begun { at, endpoint }) = exchange.notes.usage.pop() else { return Step::Next };
        let endpoint = endpoint.or_else(|| self.usage.endpoint(&exchange.path()));
        let endpoint = endpoint.and_then(|number| self.usage.endpoints.get(number));
        let endpoint = endpoint.unwrap_or(&self.usage.unknown);
        let (status, took) = (response.status(), exchange.clock.now().since(at));
        endpoint.count(&exchange.method, status, took, &self.metrics);
        if !matches!(endpoint.group.callers, Tracked::Nobody) {
            self.count_caller(&endpoint.group, exchange, status, took);
        }
        Step::Next
    }
}
