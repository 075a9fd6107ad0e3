//! One request on its way and what its filters know of it. Facts that filters share are typed fields here;
//! there is no bag of strings.

use crate::answer::Reason;
use crate::backend::InFlight;
use crate::body::FirstBytes;
use crate::cache::Visit;
use crate::context::Context;
use crate::filters::queues::Place;
use crate::filters::usage::Begun;
use crate::lookup::Params;
use base::{Chance, Clock, Moment, UnixTime};
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use telemetry::Tags;
use wire::Headers;
use wire::{Body, OnUpgrade, Origin};

/// A request on its way to a backend, as filters see and change it.
pub struct Exchange {
    /// As it came in; no filter changes it, but for the final dot of the host (`rfcHost`).
    pub arrival: Arrival,
    /// How the request shall go out. Only the path and query of its URI count.
    pub method: Method,
    /// See `method`; filters change path and query through [`Exchange::set_path`] and its kin.
    pub uri: Uri,
    /// See `method`. `Host` is the one that came in; the outgoing one is `notes.outgoing_host`.
    pub headers: Headers,
    /// The request's body.
    pub body: Body,
    /// The parameters of the route's path, those of outer routes (of a loopback) included.
    pub params: Params,
    /// The id of the route the request is on.
    pub route: Arc<str>,
    /// What filters tell the engine and each other.
    pub notes: Notes,
    /// Where the request stands in its trace: what the backend is told.
    pub trace: telemetry::TraceContext,
    /// Time for filters.
    pub clock: Clock,
    /// Chance for filters.
    pub chance: Chance,
}

/// A request as it came in.
#[derive(Clone)]
pub struct Arrival {
    /// When its head was there.
    pub at: Moment,
    /// The same on the wall clock.
    pub at_unix: UnixTime,
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its protocol.
    pub version: Version,
    /// Its Host header, or the authority of its target.
    pub host: Option<HeaderValue>,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Our side of the connection.
    pub local: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who calls whom, on a listener that belongs to one declared call.
    pub edge: Option<Arc<wire::Edge>>,
}

/// What filters tell the engine and each other. What few routes have to tell lies apart, and is read and set as if
/// it lay here: all requests are made, moved and dropped with their notes.
#[derive(Default)]
pub struct Notes {
    /// The Host header for the backend; the backend's own if nobody sets it.
    pub outgoing_host: Option<HeaderValue>,
    /// Longest wait for the backend's whole response (`backendTimeout`).
    pub backend_timeout: Option<Duration>,
    /// Longest time the response may take to the client (`writeTimeout`).
    pub write_timeout: Option<Duration>,
    /// The breaker of the route, in so far as its filters set one; the gateway's own otherwise.
    pub breaker: rules::breaker::Settings,
    /// Whether and when a failed try is repeated.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies of the response's body for others, whose answers nobody waits for.
    pub(crate) response_copies: Vec<ResponseCopy>,
    /// Set by a response filter: forget this response and route the changed request again.
    pub loop_back: bool,
    /// Whether `%2F` and its like in the path stay as they are, for routes and filters (`rfcPath`).
    pub keeps_reserved: bool,
    /// Why the response is ours, if it is.
    pub reason: Option<Reason>,
    /// The ends of a connection that changes its protocol, if the client asks for that.
    pub(crate) switch: Option<Switch>,
    /// Whether it came in as a call of gRPC.
    pub(crate) grpc: bool,
    /// The rest; made when the first of it is set.
    pub(crate) rare: Option<Box<RareNotes>>,
}

/// Notes that few routes have.
#[derive(Default)]
pub struct RareNotes {
    /// Longest wait for the request's body (`readTimeout`).
    pub read_timeout: Option<Duration>,
    /// The target of a `<dynamic>` backend.
    pub dynamic: DynamicTarget,
    /// What `consistentHash` hashes; the client's address if nobody sets it.
    pub hash_key: Option<String>,
    /// The bound on a member's share of the load for `consistentHash`, at least 1.
    pub balance_factor: Option<f64>,
    /// Copies of the request for others, whose answers nobody waits for.
    pub mirrors: Vec<Mirror>,
    /// What filters leave for later ones under names that routes choose.
    pub context: Context,
    /// Whether the request leaves a line in the access log.
    pub access_log: LogChoice,
    /// Who calls, as a filter has found out for certain.
    pub user: Option<Arc<str>>,
    /// What a token says of who calls, checked by a filter.
    pub claims: Option<Arc<Claims>>,
    /// Why a filter refused whoever calls, in Skipper's words (`invalid-token`).
    pub reject_reason: Option<&'static str>,
    /// The name of the request's span.
    pub span_name: Option<Arc<str>>,
    /// What filters note of the request's span.
    pub tags: Tags,
    /// Whether `admissionControl` refused the request, or would have if it were active.
    pub shed: bool,
    /// Keys of the notes that filters `annotate` made.
    pub annotations: Vec<Arc<str>>,
    /// What filters `apiUsageMonitoring` have seen, the one that ran last coming last.
    pub(crate) usage: Vec<Begun>,
    /// What has passed of the body that `auditLog` watches.
    pub(crate) audited_body: Option<FirstBytes>,
    /// What filters `cache` have to do when the answer comes, the one that ran last coming last.
    pub(crate) cache_visits: Vec<Visit>,
    /// Set by a filter `cache` that gives what is stale: have a new one fetched behind it.
    pub(crate) refresh: Option<Visit>,
    /// The places that the request has in queues, the last one taken last; `None` for one it was refused.
    pub(crate) places: Vec<Option<Place>>,
}

impl Deref for Notes {
    type Target = RareNotes;

    fn deref(&self) -> &RareNotes {
        static NONE: LazyLock<RareNotes> = LazyLock::new(RareNotes::default);
        self.rare.as_deref().unwrap_or_else(|| &NONE)
    }
}

impl DerefMut for Notes {
    fn deref_mut(&mut self) -> &mut RareNotes {
        self.rare.get_or_insert_default()
    }
}

impl Notes {
    /// What filters have left or found out, under the name that Skipper keeps it.
    pub fn fact(&self, name: &str) -> Option<&str> {
        match name {
            "auth-user" if self.user.is_some() => self.user.as_deref(),
            "auth-reject-reason" if self.reject_reason.is_some() => self.reject_reason,
            "shedder:admission_control" if self.shed => Some("reject"),
            _ => self.context.get(name),
        }
    }
}

/// The two ends of a connection that changes its protocol.
pub(crate) struct Switch {
    /// The client's, usable when our answer 101 has passed.
    pub(crate) client: OnUpgrade,
    /// The backend's, when it has answered 101; it is under way as long as the tunnel is.
    pub(crate) backend: Option<(OnUpgrade, InFlight)>,
}

/// The claims of a token.
pub type Claims = serde_json::Map<String, serde_json::Value>;

/// Whether a request leaves a line in the access log (Skipper's `disableAccessLog`, `enableAccessLog`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogChoice {
    /// As the gateway's setting says.
    #[default]
    Inherit,
    /// Always or never.
    Set(bool),
    /// With the status of the answer: `true` logs these alone, `false` all but these.
    Statuses(bool, Arc<[u16]>),
}

impl LogChoice {
    /// Whether an answer of this status is logged; `inherited` is the gateway's setting. A prefix of one
    /// digit stands for a hundred statuses, one of two digits for ten.
    pub fn wants(&self, status: StatusCode, inherited: bool) -> bool {
        match self {
            LogChoice::Inherit => inherited,
            LogChoice::Set(on) => *on,
            LogChoice::Statuses(on, prefixes) => {
                let code = status.as_u16();
                let matches = prefixes.iter().any(|prefix| match prefix {
                    0..=9 => code / 100 == *prefix,
                    10..=99 => code / 10 == *prefix,
                    _ => code == *prefix,
                });
                matches == *on
            }
        }
    }
}

/// Where a `<dynamic>` backend sends to. Parts that nobody set come from the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicTarget {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Host with or without port.
    pub host: Option<String>,
    /// A whole address; wins over both.
    pub url: Option<String>,
}

impl DynamicTarget {
    /// The address to send to: what filters set, the rest from the request.
    pub fn url_for(&self, exchange: &Exchange) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let own = if exchange.arrival.tls { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(own);
        format!("{scheme}://{}", self.host.as_deref().unwrap_or_else(|| exchange.host()))
    }
}

/// When a failed try is repeated.
#[derive(Debug)]
pub struct RetryPolicy {
    /// So many tries beyond the first.
    pub retries: u32,
    /// What counts as failed.
    pub when: RetryWhen,
    /// Most bytes of a request's body that are kept for a repetition; a larger one is sent once.
    pub body_bytes: usize,
    /// What bounds the extra load of all requests on the route.
    pub budget: Arc<rules::RetryBudget>,
}

/// What counts as a failed try.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "conditions that hold or not, each for itself")]
pub struct RetryWhen {
    /// No connection: nothing was sent, so any method may be repeated.
    pub connect: bool,
    /// The connection broke before an answer. Idempotent methods only.
    pub reset: bool,
    /// No answer within the try's share of the time. Idempotent methods only.
    pub timeout: bool,
    /// These statuses. Idempotent methods, and any method for those that say nothing was done (429, 503
    /// with `Retry-After`) or when `any_method` is set.
    pub statuses: Vec<(u16, u16)>,
    /// The route vouches that every method may be repeated.
    pub any_method: bool,
}

/// A copy of the request for somebody else.
#[derive(Clone, Debug, PartialEq)]
pub enum Mirror {
    /// To this address, with this path and query.
    To {
        /// Where.
        origin: Origin,
        /// Path and query, as on the wire.
        target: PathAndQuery,
        /// The Host header.
        host: HeaderValue,
    },
    /// Through the route table again, marked with this label (`teeLoopback`, chosen by the predicate `Tee`).
    Loopback {
        /// The label.
        label: HeaderValue,
    },
}

/// A copy of a response's body on its way to somebody else.
pub(crate) struct ResponseCopy {
    pub(crate) origin: Origin,
    pub(crate) host: HeaderValue,
    /// What describes the body.
    pub(crate) headers: Headers,
    pub(crate) body: Body,
}

impl RetryWhen {
    /// Whether an answer of this status counts as failed.
    pub fn has_status(&self, status: StatusCode) -> bool {
        self.statuses.iter().any(|(low, high)| (*low..=*high).contains(&status.as_u16()))
    }
}

impl Exchange {
    /// A request like this one, without its body: what filters have found out of how the backend is asked goes
    /// with it, what belongs to this one's answer does not.
    pub(crate) fn again(&self) -> Self {
        let notes = &self.notes;
        let notes = Notes {
            outgoing_host: notes.outgoing_host.clone(),
            backend_timeout: notes.backend_timeout,
            breaker: notes.breaker,
            retry: notes.retry.clone(),
            keeps_reserved: notes.keeps_reserved,
            rare: notes.rare.as_ref().map(|rare| {
                Box::new(RareNotes {
                    dynamic: rare.dynamic.clone(),
                    hash_key: rare.hash_key.clone(),
                    balance_factor: rare.balance_factor,
                    context: rare.context.clone(),
                    user: rare.user.clone(),
                    claims: rare.claims.clone(),
                    ..RareNotes::default()
                })
            }),
            ..Notes::default()
        };
        Self {
            arrival: self.arrival.clone(),
            method: self.method.clone(),
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            body: Body::empty(),
            params: self.params.clone(),
            route: self.route.clone(),
            notes,
            trace: self.trace,
            clock: self.clock.clone(),
            chance: self.chance.clone(),
        }
    }

    /// The path as sent, percent-encoded.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// The path, percent-decoded; bytes that are not UTF-8 become U+FFFD. Reserved characters that were sent
    /// encoded stay so if `notes.keeps_reserved` says it.
    pub fn path(&self) -> Cow<'_, str> {
        let raw = self.uri.path();
        if self.notes.keeps_reserved { crate::path::decode_keeping(raw) } else { crate::path::decode(raw) }
    }

    /// A path that is not encoded as it is sent; what [`Exchange::path`] keeps encoded is left alone.
    pub(crate) fn encode<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if self.notes.keeps_reserved { crate::path::encode_keeping(path) } else { crate::path::encode(path) }
    }

    /// The query without `?`, as sent.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Sets a path that is not encoded: what a path may not hold is percent-encoded (as Go's
    /// `url.URL.EscapedPath` does). The query stays. A path without leading `/` gets one.
    pub fn set_path(&mut self, path: &str) {
        let encoded = self.encode(path);
        self.uri = crate::path::join(&encoded, self.uri.query());
    }

    /// Sets the encoded query; `None` or an empty text removes it. The path stays.
    pub fn set_query(&mut self, query: Option<&str>) {
        self.uri = crate::path::join(self.uri.path(), query.filter(|query| !query.is_empty()));
    }

    /// The Host header that came in; empty if there was none.
    pub fn host(&self) -> &str {
        self.headers
            .get(HOST)
            .or(self.arrival.host.as_ref())
            .and_then(|host| host.to_str().ok())
            .unwrap_or("")
    }

    /// The client's address: the first entry of `X-Forwarded-For`, or who sent the request.
    pub fn client(&self) -> IpAddr {
        crate::net::remote_first(&self.headers, self.arrival.remote.ip())
    }
}
