//! `tombolo gateway`: the gateway alone, as it runs in production, with the flags of Skipper that people use
//! most. Files are watched, addresses polled; SIGTERM drains, SIGHUP reads everything again.

mod protocols;
pub(crate) mod skipper;
mod tls;

use self::protocols::ProtocolFlags;
use self::tls::TlsFlags;
use crate::serving::{Reloader, Signal, Signals, Told};
use crate::term::{BOLD, CYAN, DIM, GREEN, err, paint};
use crate::wiring::{Access, World};
use base::{Fault, Kind, Source, format_duration, parse_bytes, parse_duration};
use clap::{Args, ValueEnum};
use http::StatusCode;
use proxy::net::{ForwardedFor, ForwardedHeaders, Networks, Told as Header};
use proxy::{Handles, RouteSource, RouteStep, Secrets, Settings};
use rules::limit::Scope;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::access::Format;
use wire::{Dialer, Limits};

/// Arguments of `tombolo gateway`. Skipper's flags may be written with one dash or two.
#[derive(Args)]
pub(crate) struct GatewayCommand {
    /// Where traffic comes in; `:9090` is all addresses of this machine
    #[arg(long, default_value = "127.0.0.1:9090", value_parser = address, value_name = "ADDRESS")]
    address: SocketAddr,

    /// Where /routes and /metrics are served; `off` for nowhere
    #[arg(long, default_value = "127.0.0.1:9911", value_parser = address_or_off, value_name = "ADDRESS")]
    support_listener: AddressOrOff,

    /// A file of routes, watched for changes; may be given again, or several with commas
    #[arg(long, value_delimiter = ',', value_name = "FILE", help_heading = "Routes")]
    routes_file: Vec<PathBuf>,

    /// Routes in eskip
    #[arg(long, value_name = "ESKIP", help_heading = "Routes")]
    inline_routes: Option<String>,

    /// An address that serves routes in eskip, asked again every --source-poll-timeout
    #[arg(long, value_delimiter = ',', value_name = "URL", help_heading = "Routes")]
    routes_urls: Vec<String>,

    /// Between two questions to --routes-urls: a duration or milliseconds
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "TIME", help_heading = "Routes")]
    source_poll_timeout: Duration,

    /// Refuse a new table as a whole when one of its routes is bad; the last good one stays
    #[arg(long, help_heading = "Routes")]
    strict: bool,

    /// `/a` and `/a/` are one path
    #[arg(long, help_heading = "Routes")]
    ignore_trailing_slash: bool,

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
    forward_backend_url: Option<String>,

    /// The answer when no route matches
    #[arg(long, default_value = "404", value_parser = status, value_name = "STATUS", help_heading = "Routes")]
    default_http_status: StatusCode,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    protocols: ProtocolFlags,

    /// A file for the access log, in place of standard output
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    access_log: Option<PathBuf>,

    /// No access log
    #[arg(long, help_heading = "Log")]
    access_log_disabled: bool,

    /// JSON lines in place of Apache's combined format
    #[arg(long, help_heading = "Log")]
    access_log_json_enabled: bool,

    /// Leave the query out of the access log
    #[arg(long, help_heading = "Log")]
    access_log_strip_query: bool,

    /// Most bytes of a request's body that the filter `auditLog` writes; 0 for none
    #[arg(long, default_value = "1024", value_name = "NUMBER", help_heading = "Log")]
    max_audit_body: usize,

    /// Most memory that the filter `cache` takes, for all routes together
    #[arg(long, default_value = "64MiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    cache_bytes: u64,

    /// Files of secrets, or folders of them, for filters that send secrets to services outside
    #[arg(long, value_delimiter = ',', value_name = "PATH", help_heading = "Secrets")]
    credentials_paths: Vec<PathBuf>,

    /// How often the secrets are read again: a duration or milliseconds
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME", help_heading = "Secrets")]
    credentials_update_interval: Duration,

    /// Longest wait for a whole request
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    read_timeout_server: Duration,

    /// Longest wait for a request's head
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    read_header_timeout_server: Duration,

    /// Longest wait for the client to take the response
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    write_timeout_server: Duration,

    /// How long an idle client connection is kept
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    idle_timeout_server: Duration,

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

    /// Most bytes of a request's head, such as 64KiB
    #[arg(long, default_value = "1MiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_header_bytes: u64,

    /// Most header lines of a request
    #[arg(long, default_value = "100", value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    max_headers: usize,

    /// Most bytes of a request's path and query
    #[arg(long, default_value = "32KiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_uri_bytes: u64,

    /// Most bytes of a request's body; no bound if not given
    #[arg(long, value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_body_bytes: Option<u64>,

    /// Most open client connections of a worker
    #[arg(long, default_value = "10000", value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    max_connections: usize,

    /// Who frames HTTP/1.1 on both sides: our own strict codec, or hyper to compare with
    #[arg(
        long,
        value_enum,
        default_value = "strict",
        value_name = "ENGINE",
        help_heading = "Time-outs and bounds"
    )]
    http1: Http1,

    /// Threads that carry requests; one for each core if not given
    #[arg(long, value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    workers: Option<usize>,

    /// From SIGTERM to the drain: `Shutdown()` holds, new connections are still taken
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    wait_for_healthcheck_interval: Duration,

    /// Longest wait for requests under way when we stop
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    drain_timeout: Duration,

    /// X-Forwarded-* headers to set: X-Forwarded-For, +X-Forwarded-For (put first), X-Forwarded-Host,
    /// X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Proto[=VALUE], X-Forwarded-Port[=VALUE], Forwarded
    #[arg(long, value_delimiter = ',', value_name = "HEADER", help_heading = "Forwarded headers")]
    forwarded_headers: Vec<String>,

    /// Networks whose requests keep their X-Forwarded-* headers as they are
    #[arg(long, value_delimiter = ',', value_name = "CIDR", help_heading = "Forwarded headers")]
    forwarded_headers_exclude_cidrs: Vec<String>,

    /// The application log's level; kept for Skipper's command lines, everything worth a line is printed
    #[arg(long, value_enum, ignore_case = true, default_value = "info", hide = true)]
    application_log_level: Level,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Panic,
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
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

#[derive(Clone, Copy)]
enum AddressOrOff {
    Address(SocketAddr),
    Off,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    crate::wiring::parse_address(text)
}

fn address_or_off(text: &str) -> Result<AddressOrOff, String> {
    if matches!(text, "off" | "") { Ok(AddressOrOff::Off) } else { address(text).map(AddressOrOff::Address) }
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => parse_duration(text),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
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

fn status(text: &str) -> Result<StatusCode, String> {
    text.parse().map_err(|_| format!("`{text}` is no HTTP status"))
}

impl GatewayCommand {
    /// Runs the gateway until it is told to stop.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        control::raise_descriptors();
        let runtime = crate::wiring::runtime()?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> Result<ExitCode, Fault> {
        let mut signals = Signals::new();
        let world = World::new(self.workers)?;
        let tls = self.tls.server()?;
        let limits = self.limits()?;
        let access = self.access(&world)?;
        let audit = world.audit_log()?;
        let settings = self.settings()?;
        let handles = Handles {
            audit: Some(audit.clone()),
            audit_body_bytes: self.max_audit_body,
            dialer: settings.dialer.clone(),
            cache_bytes: usize::try_from(self.cache_bytes).unwrap_or(usize::MAX),
            secrets: Arc::new(Secrets::read(self.credentials_paths.clone())?),
        };
        world.watch_secrets(&handles.secrets, self.credentials_update_interval);
        let builder = world.builder(
            proxy::lookup::Options {
                ignore_trailing_slash: self.ignore_trailing_slash,
                ..Default::default()
            },
            Path::new(""),
            self.forward_backend_url.clone(),
            handles,
        );
        let plane = proxy::Plane::new(settings, builder, access.clone());
        let mut reloader = Reloader::new(self.sources()?, self.steps()?, self.strict);
        let told = reloader.reload(&plane).await;
        show(&told);
        if told.refused {
            let fault = Fault::new(Kind::Invalid, "the routes have errors, nothing was started");
            return Err(fault.hint(if self.strict {
                "without --strict bad routes alone are left out"
            } else {
                "each source must be readable at the start; later its last good routes stay in force"
            }));
        }
        let listeners = world.gateway_listeners(self.address)?;
        let address = listeners.first().map_or(Ok(self.address), std::net::TcpListener::local_addr)?;
        // Both ports before the first request: what is taken must not end a gateway that serves.
        let support = match self.support_listener {
            AddressOrOff::Off => None,
            AddressOrOff::Address(wished) => Some(wire::bind(wished).map_err(|fault| {
                let fault = crate::wiring::name_listener(fault, wished, "--support-listener");
                fault.hint("choose another address with --support-listener, or `off` for none")
            })?),
        };
        let served =
            world.workers.serve(&plane, listeners, tls.as_ref(), None, &limits, &world.drain).await?;
        let support = support
            .map(|listener| {
                let address = listener.local_addr()?;
                world.serve_support(listener, vec![plane.clone()])?;
                Ok::<_, Fault>(address)
            })
            .transpose()?;
        if let Some(tls) = &tls {
            crate::certificates::watch(&world, tls);
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        world.tend("gateway", &plane);
        err(format_args!("{} {}", paint(BOLD, "gateway"), paint(CYAN, format_args!("{scheme}://{address}"))));
        if let Some(support) = support {
            err(format_args!(
                "{} {}",
                paint(BOLD, "support"),
                paint(CYAN, format_args!("http://{support}/routes"))
            ));
        }
        err(paint(GREEN, format_args!("{} routes serve", plane.table().routes.len())));
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

        let ended = crate::serving::until_stopped(
            &mut signals,
            &mut reloader,
            &plane,
            self.source_poll_timeout,
            show,
        )
        .await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        err(paint(
            DIM,
            format_args!(
                "{ended}: finishing requests under way, at most {} (again: at once)",
                format_duration(self.drain_timeout)
            ),
        ));
        world.announce_shutdown();
        let draining = async {
            tokio::time::sleep(self.wait_for_healthcheck_interval).await;
            world.drainer.drain();
            tokio::time::timeout(self.drain_timeout, served.ended()).await.is_ok()
        };
        let hurried = async {
            // A reload is nothing to wait for any more.
            while let Signal::Reload = signals.next().await {}
        };
        let in_time = tokio::select! {
            in_time = draining => in_time,
            () = hurried => false,
        };
        if !in_time {
            err(format_args!("{} requests did not end in time and were cut off", world.metrics.in_flight()));
        }
        for log in access.into_iter().chain([audit]) {
            log.stop(Duration::from_secs(2));
        }
        Ok(if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn access(&self, world: &World) -> Result<Option<telemetry::AccessLog>, Fault> {
        if self.access_log_disabled {
            return Ok(None);
        }
        let format = if self.access_log_json_enabled { Format::Json } else { Format::Combined };
        let access =
            Access { format, strip_query: self.access_log_strip_query, file: self.access_log.clone() };
        world.access_log(&access).map(Some)
    }

    fn settings(&self) -> Result<Settings, Fault> {
        let tls = self.tls.client()?;
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
            body_bytes: self.max_body_bytes,
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

    fn limits(&self) -> Result<Limits, Fault> {
        let mut limits = Limits {
            header_bytes: usize::try_from(self.max_header_bytes).unwrap_or(usize::MAX),
            headers: self.max_headers,
            header_timeout: self.read_header_timeout_server,
            read_timeout: self.read_timeout_server,
            write_timeout: self.write_timeout_server,
            idle_timeout: self.idle_timeout_server,
            connections: self.max_connections,
            http1: self.http1.into(),
            ..Limits::default()
        };
        self.protocols.apply(&mut limits)?;
        Ok(limits)
    }

    fn sources(&self) -> Result<Vec<RouteSource>, Fault> {
        let mut sources = Vec::new();
        if let Some(text) = &self.inline_routes {
            sources.push(RouteSource::Text(Source::new("--inline-routes", text.as_str())));
        }
        sources.extend(self.routes_file.iter().cloned().map(RouteSource::File));
        sources.extend(self.routes_urls.iter().cloned().map(RouteSource::Url));
        if sources.is_empty() {
            return Err(Fault::new(Kind::Invalid, "the gateway has no routes")
                .hint("give --routes-file FILE, --inline-routes ESKIP or --routes-urls URL"));
        }
        Ok(sources)
    }

    fn steps(&self) -> Result<Vec<RouteStep>, Fault> {
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

/// What a reload told, on standard error.
fn show(told: &Told) {
    crate::term::diagnostics(&told.diagnostics);
    if let Some(line) = &told.line {
        err(line);
    }
}
