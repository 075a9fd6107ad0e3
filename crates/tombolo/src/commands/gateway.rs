//! `tombolo gateway`: the gateway alone, as it runs in production, with the flags of Skipper that people use
//! most. Files are watched, addresses polled; SIGTERM drains, SIGHUP reads everything again.

use crate::flags::{CarryFlags, bytes, duration};
use crate::serving::{Reloader, Signal, Signals, Told};
use crate::term::{BOLD, CYAN, DIM, GREEN, err, paint};
use crate::wiring::{Access, World};
use base::{Fault, Kind, Source, format_duration};
use clap::{Args, ValueEnum};
use proxy::{Handles, RouteSource, Settings};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use telemetry::access::Format;
use wire::{CertificateFiles, Limits, ServerTls};

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

    #[command(flatten)]
    carry: CarryFlags,

    /// PEM files of certificate chains, watched for changes; with --tls-key, HTTPS is served, each client shown
    /// the first whose names it calls, or the first
    #[arg(long, help_heading = "TLS", value_delimiter = ',', value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// PEM files of the private keys, in the order of the certificates
    #[arg(long, help_heading = "TLS", value_delimiter = ',', value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

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

    /// Most bytes of a request's head, such as 64KiB
    #[arg(long, default_value = "1MiB", value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_header_bytes: u64,

    /// Most bytes of a request's body; no bound if not given
    #[arg(long, value_parser = bytes, value_name = "SIZE", help_heading = "Time-outs and bounds")]
    max_body_bytes: Option<u64>,

    /// Most open client connections of a worker
    #[arg(long, default_value = "10000", value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    max_connections: usize,

    /// Threads that carry requests; one for each core if not given
    #[arg(long, value_name = "NUMBER", help_heading = "Time-outs and bounds")]
    workers: Option<usize>,

    /// From SIGTERM to the drain: `Shutdown()` holds, new connections are still taken
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    wait_for_healthcheck_interval: Duration,

    /// Longest wait for requests under way when we stop
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = "Time-outs and bounds")]
    drain_timeout: Duration,

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
        let tls = self.tls()?;
        let limits = self.limits()?;
        let access = self.access(&world)?;
        let audit = world.audit_log()?;
        let settings = Settings { body_bytes: self.max_body_bytes, ..self.carry.settings(Path::new(""))? };
        let handles = Handles { audit: Some(audit.clone()), ..self.carry.handles(Path::new(""), &settings)? };
        let trust = handles.dialer.tls.clone();
        world.watch_secrets(&handles.secrets, self.carry.credentials_update_interval);
        let builder = world.builder(
            proxy::lookup::Options {
                ignore_trailing_slash: self.ignore_trailing_slash,
                ..Default::default()
            },
            Path::new(""),
            self.carry.forward_backend_url.clone(),
            handles,
        );
        let plane = proxy::Plane::new(settings, builder, access.clone());
        let mut reloader = Reloader::new(self.sources()?, self.carry.steps()?, self.strict);
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
        crate::certificates::watch(&world, tls.as_ref());
        crate::certificates::watch(&world, trust.as_ref());
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

    /// How the gateway proves who it is, if it serves HTTPS.
    fn tls(&self) -> Result<Option<ServerTls>, Fault> {
        if self.tls_cert.len() != self.tls_key.len() {
            let (chains, keys) = (self.tls_cert.len(), self.tls_key.len());
            let fault = Fault::new(Kind::Invalid, format!("--tls-cert names {chains}, --tls-key {keys}"));
            return Err(fault.hint("give a key for each certificate, in the same order"));
        }
        if self.tls_cert.is_empty() {
            return Ok(None);
        }
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let files = pairs.map(|(chain, key)| CertificateFiles { chain: chain.clone(), key: key.clone() });
        ServerTls::from_pairs(files.collect(), self.carry.tls.tls_min_version).map(Some)
    }

    fn limits(&self) -> Result<Limits, Fault> {
        let mut limits = Limits {
            header_bytes: usize::try_from(self.max_header_bytes).unwrap_or(usize::MAX),
            header_timeout: self.read_header_timeout_server,
            read_timeout: self.read_timeout_server,
            write_timeout: self.write_timeout_server,
            idle_timeout: self.idle_timeout_server,
            connections: self.max_connections,
            ..Limits::default()
        };
        self.carry.apply(&mut limits)?;
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
}

/// What a reload told, on standard error.
fn show(told: &Told) {
    crate::term::diagnostics(&told.diagnostics);
    if let Some(line) = &told.line {
        err(line);
    }
}
