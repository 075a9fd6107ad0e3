//! The flags about how requests are carried, by `tombolo gateway` and, from the manifest's `gateway.flags`, by `tombolo
//! up`: which flags hold for both is which stand here.

mod in_manifest;
mod protocols;
pub(crate) mod skipper;
mod tls;

pub(crate) use in_manifest::read;

use self::protocols::ProtocolFlags;
use self::tls::TlsFlags;
use base::{Fault, Kind, Source, parse_bytes, parse_duration};
use clap::{Args, ValueEnum};
use http::StatusCode;
use proxy::net::{ForwardedFor, ForwardedHeaders, Networks, Told as Header};
use proxy::predicates::Regexp;
use proxy::{Callers, Handles, RouteStep, Secrets, Settings};
use rules::limit::Scope;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wire::{Dialer, Limits};

/// Flags about how requests are carried.
#[derive(Args)]
pub(crate) struct CarryFlags {
    /// Reserved characters that a client sends encoded, such as `%2F`, stay so for routes and filters
    #[arg(long, help_heading = "Routes")]
    rfc_patch_path: bool,

    /// Change predicates and filters of every route: `/pattern/replacement/`
    #[arg(long, value_name = "EDIT", help_heading = "Routes")]
    edit_route: Vec<String>,

    /// Add a changed copy of every route that the pattern matches: `/pattern/replacement/`
    #[arg(long, value_name = "EDIT", help_heading = "Routes")]
    clone_route: Vec<String>,

    /// Filters put before those of every route
    #[arg(long, value_name = "FILTERS", help_heading = "Routes")]
    default_filters_prepend: Option<String>,

    /// Filters put behind those of every route
    #[arg(long, value_name = "FILTERS", help_heading = "Routes")]
    default_filters_append: Option<String>,

    /// Filters that no route may use
    #[arg(long, value_delimiter = ',', value_name = "NAME", help_heading = "Routes")]
    disabled_filters: Vec<String>,

    /// Where `<forward>` goes
    #[arg(long, value_name = "URL", help_heading = "Routes")]
    pub(crate) forward_backend_url: Option<String>,

    /// The answer when no route matches
    #[arg(long, default_value = "404", value_parser = status, value_name = "STATUS", help_heading = "Routes")]
    default_http_status: StatusCode,

    #[command(flatten)]
    pub(crate) tls: TlsFlags,

    #[command(flatten)]
    protocols: ProtocolFlags,

    /// Most bytes of a request's body that the filter `auditLog` writes; 0 for none
    #[arg(long, default_value = "1024", value_name = "NUMBER", help_heading = "Log")]
    max_audit_body: usize,

    /// Claims of a token that may name the caller's realm, for the filter `apiUsageMonitoring`; without any, callers are
    /// not counted
    #[arg(long, value_delimiter = ',', value_name = "CLAIM", help_heading = "Metrics")]
    api_usage_monitoring_realm_keys: Vec<String>,

    /// Likewise, claims that may name the caller
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sub",
        value_name = "CLAIM",
        help_heading = "Metrics"
    )]
    api_usage_monitoring_client_keys: Vec<String>,

    /// Realms whose callers that filter counts one by one, an expression
    #[arg(long, default_value = "services", value_parser = expression, value_name = "EXPRESSION", help_heading = "Metrics")]
    api_usage_monitoring_realms_tracking_pattern: Regexp,

    /// Most memory that the filter `cache` takes, for all routes together
    #[arg(long, default_value = "64MiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    cache_bytes: u64,

    /// Files of secrets, or folders of them, for filters that send secrets to services outside
    #[arg(long, value_delimiter = ',', value_name = "PATH", help_heading = "Secrets")]
    credentials_paths: Vec<PathBuf>,

    /// How often the secrets are read again: a duration or milliseconds
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME", help_heading = "Secrets")]
    pub(crate) credentials_update_interval: Duration,

    /// Longest wait for a connection to a backend
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    timeout_backend: Duration,

    /// Longest wait for the head of a backend's response
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    response_header_timeout_backend: Duration,

    /// How often requests may come, whatever their route: `type=client,max-hits=20,time-window=1m`, or
    /// `type=service`
    #[arg(long, value_parser = ratelimit, value_name = "SETTINGS", help_heading = "Time-outs and bounds")]
    ratelimits: Option<rules::limit::Settings>,

    /// Leave a backend alone that fails: `type=consecutive,failures=5` or `type=rate,window=300,failures=30`, and
    /// optionally `host=api.example:80`, `timeout=1m`, `half-open-requests=1`, `idle-ttl=1h`; may be given again
    #[arg(long, value_parser = rules::breaker::Settings::parse, value_name = "SETTINGS", help_heading = "Backends")]
    breaker: Vec<(String, rules::breaker::Settings)>,

    /// Tell backends the Host that came in, unless a filter says otherwise
    #[arg(long, help_heading = "Backends")]
    proxy_preserve_host: bool,

    /// Idle connections kept to each endpoint by each worker
    #[arg(long, default_value = "64", value_name = "NUMBER", help_heading = "Backends")]
    idle_conns_num: usize,

    /// Ask endpoints less often that fail much of what they are asked:
    /// `period=1s,min-requests=10,max-drop-probability=0.9`, and optionally `min-drop-probability=0` and
    /// `max-unhealthy-endpoints-ratio=1`
    #[arg(long, value_parser = rules::passive::Settings::parse, value_name = "SETTINGS", help_heading = "Backends")]
    passive_health_check: Option<rules::passive::Settings>,

    /// Most header lines of a request
    #[arg(long, default_value = "100", value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    max_headers: usize,

    /// Most bytes of a request's path and query
    #[arg(long, default_value = "32KiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_uri_bytes: u64,

    /// Who frames HTTP/1.1 on both sides: our own strict codec, or hyper to compare with
    #[arg(
        long,
        value_enum,
        default_value = "strict",
        value_name = "ENGINE",
        help_heading = "Time-outs and bounds"
    )]
    http1: Http1,

    /// X-Forwarded-* headers to set: X-Forwarded-For, +X-Forwarded-For (put first), X-Forwarded-Host,
    /// X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Proto[=VALUE], X-Forwarded-Port[=VALUE], Forwarded
    #[arg(long, value_delimiter = ',', value_name = "HEADER", help_heading = "Forwarded headers")]
    forwarded_headers: Vec<String>,

    /// Networks whose requests keep their X-Forwarded-* headers as they are
    #[arg(long, value_delimiter = ',', value_name = "CIDR", help_heading = "Forwarded headers")]
    forwarded_headers_exclude_cidrs: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Http1 {
    Strict,
    Hyper,
}

impl From<Http1> for wire::Http1 {
    fn from(engine: Http1) -> Self {
        match engine {
            Http1::Strict => Self::Strict,
            Http1::Hyper => Self::Hyper,
        }
    }
}

/// A duration, or a number of milliseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => parse_duration(text),
    }
}

/// A size.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text)
}

fn ratelimit(text: &str) -> Result<rules::limit::Settings, String> {
    let settings = rules::limit::Settings::parse(text)?;
    match settings.scope {
        Scope::ClusterService | Scope::ClusterClient => {
            Err(format!("`{}` needs gateways that count together; use service or client", settings.scope))
        }
        _ => Ok(settings),
    }
}

fn expression(text: &str) -> Result<Regexp, String> {
    Regexp::new(text)
}

fn status(text: &str) -> Result<StatusCode, String> {
    text.parse().map_err(|_| format!("`{text}` is no HTTP status"))
}

impl CarryFlags {
    /// What they say of routes and backends; relative paths begin at this folder.
    pub(crate) fn settings(&self, folder: &Path) -> Result<Settings, Fault> {
        let tls = self.tls.client(folder)?;
        Ok(Settings {
            default_status: self.default_http_status,
            response_timeout: self.response_header_timeout_backend,
            dialer: Dialer {
                connect_timeout: self.timeout_backend,
                http1: self.http1.into(),
                tls,
                http2: self.protocols.backend_http2,
                ..Dialer::default()
            },
            upgrades: self.protocols.experimental_upgrade,
            upgrade_idle_timeout: self.protocols.upgrade_idle_timeout,
            uri_bytes: usize::try_from(self.max_uri_bytes).unwrap_or(usize::MAX),
            keeps_reserved: self.rfc_patch_path,
            ratelimit: self.ratelimits.clone(),
            breaker: self
                .breaker
                .iter()
                .rfind(|(host, _)| host.is_empty())
                .map(|(_, all)| *all)
                .unwrap_or_default(),
            host_breakers: self.breaker.iter().filter(|(host, _)| !host.is_empty()).cloned().collect(),
            preserve_host: self.proxy_preserve_host,
            idle_connections: self.idle_conns_num,
            passive_health: self.passive_health_check,
            forwarded: self.forwarded()?,
            ..Settings::default()
        })
    }

    /// What filters work with; relative paths begin at this folder.
    pub(crate) fn handles(&self, folder: &Path, settings: &Settings) -> Result<Handles, Fault> {
        let paths = self.credentials_paths.iter().map(|path| folder.join(path));
        Ok(Handles {
            audit: None,
            audit_body_bytes: self.max_audit_body,
            dialer: settings.dialer.clone(),
            cache_bytes: usize::try_from(self.cache_bytes).unwrap_or(usize::MAX),
            secrets: Arc::new(Secrets::read(paths.collect())?),
            callers: Arc::new(self.callers()),
        })
    }

    /// Which claims say who calls. Skipper takes spaces and nothing between commas.
    fn callers(&self) -> Callers {
        let keys = |written: &[String]| {
            let keys = written.iter().map(|key| key.trim()).filter(|key| !key.is_empty());
            keys.map(str::to_owned).collect()
        };
        Callers {
            realm_keys: keys(&self.api_usage_monitoring_realm_keys),
            client_keys: keys(&self.api_usage_monitoring_client_keys),
            realms: self.api_usage_monitoring_realms_tracking_pattern.clone(),
        }
    }

    /// What they say of connections of clients.
    pub(crate) fn apply(&self, limits: &mut Limits) -> Result<(), Fault> {
        limits.headers = self.max_headers;
        limits.http1 = self.http1.into();
        self.protocols.apply(limits)
    }

    /// What is done to routes before they are a table.
    pub(crate) fn steps(&self) -> Result<Vec<RouteStep>, Fault> {
        let edits = |flag: &str, texts: &[String]| {
            texts
                .iter()
                .map(|text| eskip::Edit::parse(text).map_err(|d| in_flag(flag, d)))
                .collect::<Result<Vec<_>, _>>()
        };
        let filters = |flag: &str, text: &Option<String>| match text {
            None => Ok(Vec::new()),
            Some(text) => eskip::parse_filters(&Source::new(flag, text.as_str())).map_err(|errors| {
                let first = errors.diagnostics().into_iter().next();
                first.map_or_else(|| Fault::new(Kind::Invalid, flag), |diagnostic| in_flag(flag, diagnostic))
            }),
        };
        // Skipper's order: clones are made of the routes as written, edits and default filters follow.
        let mut steps: Vec<RouteStep> =
            edits("--clone-route", &self.clone_route)?.into_iter().map(RouteStep::Clone).collect();
        steps.extend(edits("--edit-route", &self.edit_route)?.into_iter().map(RouteStep::Edit));
        let around = eskip::DefaultFilters {
            prepend: filters("--default-filters-prepend", &self.default_filters_prepend)?,
            append: filters("--default-filters-append", &self.default_filters_append)?,
        };
        if !around.prepend.is_empty() || !around.append.is_empty() {
            steps.push(RouteStep::Around(around));
        }
        if !self.disabled_filters.is_empty() {
            let names = self.disabled_filters.iter().cloned().collect();
            steps.push(RouteStep::Without(eskip::DisabledFilters { names }));
        }
        Ok(steps)
    }

    fn forwarded(&self) -> Result<Option<ForwardedHeaders>, Fault> {
        let wrong = |why: String| Fault::new(Kind::Invalid, why);
        let mut headers = ForwardedHeaders::default();
        for written in &self.forwarded_headers {
            let (name, value) = written.split_once('=').unwrap_or((written, "auto"));
            let told = || Header::parse(value).map_err(wrong);
            match name.to_ascii_lowercase().as_str() {
                "x-forwarded-for" => headers.forwarded_for = ForwardedFor::Append,
                "+x-forwarded-for" => headers.forwarded_for = ForwardedFor::Prepend,
                "x-forwarded-host" => headers.host = true,
                "x-forwarded-method" => headers.method = true,
                "x-forwarded-uri" => headers.uri = true,
                "x-forwarded-proto" => headers.proto = Some(told()?),
                "x-forwarded-port" => headers.port = Some(told()?),
                "forwarded" => headers.forwarded = true,
                _ => {
                    return Err(wrong(format!("`{name}` is no header that --forwarded-headers can set"))
                        .hint("X-Forwarded-For, -Host, -Method, -Uri, -Proto and -Port are, and Forwarded"));
                }
            }
        }
        headers.exclude = Networks::parse(&self.forwarded_headers_exclude_cidrs).map_err(wrong)?;
        Ok((!self.forwarded_headers.is_empty()).then_some(headers))
    }
}

fn in_flag(flag: &str, diagnostic: base::Diagnostic) -> Fault {
    let fault = Fault::new(Kind::Invalid, format!("{flag}: {}", diagnostic.message));
    match diagnostic.hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
