//! The request plane's settings, checked before any port opens.

use http::StatusCode;
use std::time::Duration;
use wire::Dialer;

/// Settings of the request plane.
#[derive(Clone)]
pub struct Settings {
    /// The answer when no route matches (Skipper's `-default-http-status`).
    pub default_status: StatusCode,
    /// Longest wait for the head of a backend's response.
    pub response_timeout: Duration,
    /// How connections to backends are opened.
    pub dialer: Dialer,
    /// Most bytes of a request's path and query; past it the answer is 414.
    pub uri_bytes: usize,
    /// Most bytes of a request's body; `None`: no bound, since bodies are passed on as they come.
    pub body_bytes: Option<u64>,
    /// The breaker of every backend that no filter gives another; none by default.
    pub breaker: rules::breaker::Settings,
    /// The breakers of single hosts (`host:port`), in so far as they differ.
    pub host_breakers: Vec<(String, rules::breaker::Settings)>,
    /// Whether backends are told the Host that came in unless a filter says otherwise (Skipper's
    /// `-proxy-preserve-host`).
    pub preserve_host: bool,
    /// Idle connections kept to each endpoint by each core (Skipper's `-idle-conns-num`).
    pub idle_connections: usize,
    /// Whether `%2F` and its like in paths stay encoded for routes and filters (Skipper's `-rfc-patch-path`).
    pub keeps_reserved: bool,
    /// How often requests may come at all; `None`: as often as they like (Skipper's `-ratelimits`). A limit
    /// that other gateways share is none here.
    pub ratelimit: Option<rules::limit::Settings>,
    /// How endpoints that fail much of what they are asked are asked less often; `None`: they are not
    /// (Skipper's `-passive-health-check`).
    pub passive_health: Option<rules::passive::Settings>,
    /// Which `X-Forwarded-*` headers are set; `None`: none.
    pub forwarded: Option<crate::net::ForwardedHeaders>,
    /// Whether a request leaves a line in the access log when no filter says.
    pub access_log: bool,
    /// Whether connections may change to another protocol, such as WebSocket (Skipper's
    /// `-experimental-upgrade`).
    pub upgrades: bool,
    /// How long a connection that changed its protocol may be silent.
    pub upgrade_idle_timeout: Duration,
    /// How requests leave spans; `None`: they leave none.
    pub spans: Option<crate::Spans>,
    /// Those who watch requests.
    pub taps: crate::RequestTaps,
    /// Mirrored requests a core has under way at most; more are not sent.
    pub mirrors: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_status: StatusCode::NOT_FOUND,
            response_timeout: Duration::from_secs(60),
            dialer: Dialer::default(),
            uri_bytes: 32 << 10,
            body_bytes: None,
            breaker: rules::breaker::Settings::default(),
            host_breakers: Vec::new(),
            preserve_host: false,
            idle_connections: 64,
            keeps_reserved: false,
            ratelimit: None,
            passive_health: None,
            forwarded: None,
            access_log: true,
            upgrades: true,
            upgrade_idle_timeout: Duration::from_secs(600),
            spans: None,
            taps: crate::RequestTaps::default(),
            mirrors: 100,
        }
    }
}
