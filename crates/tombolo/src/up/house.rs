//! A running `tombolo up`: opens everything in order, keeps it as the manifest says while files change, and
//! closes it in the reverse order. Boot is a reload from nothing.

use super::api::Api;
use super::consumers;
use super::doors::Doors;
use super::pages;
use super::plan::{Plan, has_errors, read_manifest};
use super::run_file::{Held, RunFile, runs_already};
use super::screen::Screen;
use super::streams::Streams;
use super::tap::Tapping;
use super::traces::{self, Traces};
use crate::serving::{Reloader, Signal, Signals};
use crate::watching::FileWatch;
use crate::wiring::{Access, World, name_listener};
use base::{Fault, Kind, OnError, queue};
use console::About;
use control::{Event, Heard as Said, Line, Setup, Subscriber, Supervisor, Wanted};
use manifest::{LogFormat, ServiceSource};
use proxy::{Handles, Plane, RequestTaps, Served, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use telemetry::AccessLog;
use telemetry::access::Format;
use telemetry::doctor::Doctor;
use tokio::sync::Notify;
use wire::{CertificateFiles, Limits, ServerTls};

/// How often we look whether a start takes long.
const STARTING_TICK: Duration = Duration::from_secs(1);

/// Most lines shown before something that happened: as many as a subscriber can be behind.
const LINES_BEFORE_MAX: usize = 1024;

/// What the API asks of the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To stop everything.
    Stop,
}

/// Everything that runs.
pub(crate) struct House {
    plan: Plan,
    world: World,
    gateway: Arc<Plane>,
    calls: Arc<Plane>,
    reloader: Reloader,
    doors: Doors,
    streams: Option<Streams>,
    traces: Option<Traces>,
    supervisor: Supervisor,
    served: Served,
    /// Written to the end before we are gone.
    logs: Vec<AccessLog>,
    addresses: Addresses,
    run_file: Held,
    about: Arc<Mutex<serde_json::Value>>,
    /// The same for the console.
    shown: Arc<Mutex<About>>,
    doctor: Option<Doctor>,
    wishes: queue::Receiver<Wish>,
    /// What happens to services, and what they print, from the first start on.
    heard: Heard,
    screen: Screen,
}

/// Who listens to the supervisor.
struct Heard {
    events: Subscriber<Event>,
    lines: Subscriber<Arc<Line>>,
}

impl Heard {
    /// Shows the lines that came before what just happened: the last words of a process stand before its end.
    fn lines_so_far(&mut self, screen: &Screen) {
        for _ in 0..LINES_BEFORE_MAX {
            if !screen.has_room() {
                return;
            }
            match self.lines.try_next() {
                Some(Said::Item(line)) => screen.line(&line),
                Some(Said::Missed(missed)) => screen.missed(missed),
                None => return,
            }
        }
    }
}

/// What is open where.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) gateway: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) api: SocketAddr,
    pub(crate) support: Option<SocketAddr>,
    pub(crate) messagedb: Option<SocketAddr>,
    pub(crate) traces: traces::Doors,
}

impl House {
    /// Checks everything, opens all ports, then starts the services. On an error nothing is left running.
    pub(crate) async fn open(plan: Plan, screen: Screen) -> Result<Self, Fault> {
        if let Some(running) = RunFile::read(&plan.folder) {
            return Err(runs_already(Some(running.pid)));
        }
        let gateway = &plan.manifest.gateway;
        let tls = match (&gateway.tls_cert, &gateway.tls_key) {
            (Some(chain), Some(key)) => {
                let files = CertificateFiles { chain: plan.folder.join(chain), key: plan.folder.join(key) };
                Some(ServerTls::from_pairs(vec![files], plan.flags.tls.tls_min_version)?)
            }
            _ => None,
        };
        let world = World::new(gateway.workers)?;
        world.services.declare(plan.names());
        set_outside_services(&plan, &world)?;
        let access = access_log(&plan, &world, screen.is_json())?;
        let spans = traces::spans(&plan, &world);
        let taps = RequestTaps::default();
        let settings = Settings {
            spans: spans.clone(),
            taps: taps.clone(),
            body_bytes: plan.manifest.limits.body_bytes,
            access_log: plan.manifest.log.access,
            ..plan.flags.settings(&plan.folder)?
        };
        let options = proxy::lookup::Options {
            ignore_trailing_slash: gateway.ignore_trailing_slash,
            ..Default::default()
        };
        let audit = world.audit_log()?;
        let handles = Handles { audit: Some(audit.clone()), ..plan.flags.handles(&plan.folder, &settings)? };
        world.watch_secrets(&handles.secrets, plan.flags.credentials_update_interval);
        let forward = plan.flags.forward_backend_url.clone();
        let gateway_plane = Plane::new(
            settings.clone(),
            world.builder(options, &plan.folder, forward, handles.clone()),
            access.clone(),
        );
        // What is said of strangers' requests is not meant for calls.
        let of_calls = Settings { forwarded: None, ratelimit: None, preserve_host: false, ..settings };
        let calls =
            Plane::new(of_calls, world.builder(options, &plan.folder, None, handles.clone()), access.clone());

        // Routes before ports: a mistake in a file must not cost a port.
        let mut reloader = Reloader::new(plan.sources(), plan.flags.steps()?, gateway.strict);
        let mut told = reloader.reload(&gateway_plane).await;
        plan.place(&mut told.diagnostics);
        let (table, of_calls) = plan.build_calls(calls.builder());
        let refused = told.refused || has_errors(&of_calls);
        calls.put(table);
        told.diagnostics.extend(of_calls);
        screen.diagnostics(&told.diagnostics);
        if refused {
            let message = "routes or filters have errors, nothing was started";
            return Err(Fault::new(Kind::Invalid, message).hint("they are named above"));
        }

        let listeners = world.gateway_listeners(gateway.address)?;
        let limits = limits(&plan)?;
        let address = listeners.first().map_or(Ok(gateway.address), TcpListener::local_addr)?;
        let (api_listener, support_listener) = side_listeners(&plan, &screen)?;
        let streams = Streams::open(&plan, &world, &screen, spans.as_ref()).await?;
        let traces = Traces::open(&plan, &world, &screen, spans.map(|spans| spans.recorder)).await?;
        let addresses = Addresses {
            gateway: address,
            tls: tls.is_some(),
            api: api_listener.local_addr()?,
            support: support_listener.as_ref().map(TcpListener::local_addr).transpose()?,
            messagedb: streams.as_ref().and_then(|streams| streams.messagedb),
            traces: traces.as_ref().map(|traces| traces.doors).unwrap_or_default(),
        };
        let served =
            world.workers.serve(&gateway_plane, listeners, tls.as_ref(), None, &limits, &world.drain).await?;
        crate::certificates::watch(&world, tls.as_ref());
        crate::certificates::watch(&world, handles.dialer.tls.as_ref());
        if let Some(listener) = support_listener {
            world.serve_support(listener, vec![gateway_plane.clone(), calls.clone()])?;
        }

        world.tend("gateway", &gateway_plane);
        world.tend("calls", &calls);

        let token = format!("{:016x}{:016x}", random_bits(), random_bits());
        let run = RunFile { pid: std::process::id(), api: addresses.api, token };
        let run_file = run.write(&plan.folder)?;

        let supervisor = Supervisor::start(Setup {
            clock: world.clock.clone(),
            chance: world.chance.clone(),
            dir: plan.folder.clone(),
            guard: Some(guard_command()?),
        });
        let heard = Heard { events: supervisor.events(), lines: supervisor.lines() };
        let about = Arc::new(Mutex::new(serde_json::Value::Null));
        let doctor = traces.as_ref().map(|traces| Doctor::new(traces.store.clone()));
        let (wishes_sender, wishes) = queue::bounded(16);
        let token: Arc<str> = run.token.as_str().into();
        let shown = Arc::<Mutex<About>>::default();
        let planes = console::Planes {
            clock: world.clock.clone(),
            drain: world.drain.clone(),
            token: token.clone(),
            about: shown.clone(),
            supervisor: supervisor.clone(),
            gateway: gateway_plane.clone(),
            calls: calls.clone(),
            spans: traces.as_ref().map(|traces| traces.store.clone()),
            doctor: doctor.clone(),
            streams: streams.as_ref().map(Streams::handles),
        };
        let api = Api {
            token,
            supervisor: supervisor.clone(),
            about: about.clone(),
            wishes: wishes_sender,
            streams: streams.as_ref().map(|streams| streams.api.clone()),
            embedded: streams.as_ref().and_then(|streams| streams.embedded.clone()),
            traces: traces.as_ref().map(|traces| traces.apis.clone()),
            console: pages::open(planes, &world),
            doctor: doctor.clone(),
            tapping: Tapping {
                requests: taps,
                messages: streams.as_ref().map(|streams| streams.taps.clone()),
                predicates: gateway_plane.builder().predicates.clone(),
                lookup: options,
                clock: world.clock.clone(),
                drain: world.drain.clone(),
                places: Tapping::places(),
            },
        };
        let listener = tokio::net::TcpListener::from_std(api_listener)?;
        let serve = wire::serve(listener, None, None, Limits::default(), api, world.drain.clone());
        world.scope.spawn_once("api", OnError::Report, serve);

        let mut house = Self {
            plan,
            world,
            gateway: gateway_plane,
            calls,
            reloader,
            doors: Doors::default(),
            streams,
            traces,
            supervisor,
            served,
            logs: access.into_iter().chain([audit]).collect(),
            addresses,
            run_file,
            about,
            shown,
            doctor,
            wishes,
            heard,
            screen,
        };
        house.follow_endpoints();
        house.screen.opened(&house.plan, house.addresses);
        let begun = house.start_services().await;
        if let Err(fault) = begun {
            house.close(Arc::default()).await;
            return Err(fault);
        }
        Ok(house)
    }

    /// Runs until somebody says stop.
    pub(crate) async fn run(mut self, mut signals: Signals) -> Result<(), Fault> {
        let mut watch = FileWatch::new(&self.plan.watched());
        let mut status = self.supervisor.watch_status();
        // What changed between the first reading and the watch.
        self.reload_manifest().await;
        watch.set(&self.plan.watched());
        // What was so before anybody watched counts as news, after the events that led to it.
        status.mark_changed();
        let mut ticks = tokio::time::interval(STARTING_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let reason = loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Stop(name) => break name,
                    Signal::Reload => {
                        self.reload_manifest().await;
                        watch.set(&self.plan.watched());
                    }
                },
                wish = self.wishes.take() => match wish {
                    Some(Wish::Stop) => break "tombolo stop",
                    None => {}
                },
                changed = watch.changed() => {
                    self.changed(&changed).await;
                    watch.set(&self.plan.watched());
                }
                event = self.heard.events.next() => match event {
                    Some(Said::Item(event)) => {
                        self.heard.lines_so_far(&self.screen);
                        self.screen.event(&event);
                    }
                    Some(Said::Missed(_)) => {}
                    None => break "the supervisor ended",
                },
                // Before the lines: a service that never stops printing must not keep the table away.
                Ok(()) = status.changed() => {
                    let services = status.borrow_and_update().clone();
                    self.screen.settled(&services, &self.plan, self.addresses);
                }
                _ = ticks.tick(), if self.screen.is_waiting() => {
                    self.screen.starting(&self.supervisor.status(), self.world.clock.unix());
                }
                line = self.heard.lines.next(), if self.screen.has_room() => match line {
                    Some(Said::Item(line)) => self.screen.line(&line),
                    Some(Said::Missed(missed)) => self.screen.missed(missed),
                    None => break "the supervisor ended",
                },
                () = self.screen.room(), if !self.screen.has_room() => {}
            }
        };
        self.screen.stopping(reason);
        self.close_watched(&mut signals).await;
        Ok(())
    }

    /// Stops everything while people watch; a second signal makes it quick.
    async fn close_watched(mut self, signals: &mut Signals) {
        let mut heard = Heard { events: self.supervisor.events(), lines: self.supervisor.lines() };
        std::mem::swap(&mut heard, &mut self.heard);
        let supervisor = self.supervisor.clone();
        let mut screen = std::mem::replace(&mut self.screen, Screen::quiet());
        let hurry = Arc::new(Notify::new());
        let mut closing = std::pin::pin!(self.close(hurry.clone()));
        let (mut events_end, mut lines_end) = (false, false);
        loop {
            tokio::select! {
                biased;
                event = heard.events.next(), if !events_end => match event {
                    Some(Said::Item(event)) => {
                        heard.lines_so_far(&screen);
                        screen.event(&event);
                    }
                    Some(Said::Missed(_)) => {}
                    None => events_end = true,
                },
                line = heard.lines.next(), if !lines_end && screen.has_room() => match line {
                    Some(Said::Item(line)) => screen.line(&line),
                    Some(Said::Missed(missed)) => screen.missed(missed),
                    None => lines_end = true,
                },
                ended = &mut closing => {
                    screen.stopped(&ended);
                    return;
                }
                signal = signals.next() => if let Signal::Stop(_) = signal {
                    screen.hurrying();
                    hurry.notify_one();
                    let supervisor = supervisor.clone();
                    tokio::spawn(async move { supervisor.shutdown(Duration::from_millis(500)).await });
                },
            }
        }
    }

    /// Takes no new requests, finishes those under way, stops the services (those who call before those who
    /// are called), then closes the doors between them.
    async fn close(self, hurry: Arc<Notify>) -> control::Ended {
        let grace = self.plan.manifest.limits.drain_timeout;
        self.world.announce_shutdown();
        self.world.drainer.drain();
        tokio::select! {
            () = self.served.ended() => {}
            () = tokio::time::sleep(grace) => {}
            () = hurry.notified() => {}
        }
        // Before those who handle what it delivers.
        if let Some(streams) = &self.streams {
            streams.stop_consumers().await;
        }
        // Each service has its own grace; this bound is only for what nobody thought of.
        let ended = self.supervisor.shutdown(Duration::from_secs(3600)).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.doors.close()).await;
        // After those who may be writing their last messages.
        if let Some(streams) = self.streams {
            streams.close(Duration::from_secs(5)).await;
        }
        if let Some(traces) = self.traces {
            traces.close(Duration::from_secs(5)).await;
        }
        for log in self.logs {
            log.stop(Duration::from_secs(2));
        }
        drop(self.run_file);
        ended
    }

    /// Files changed: the manifest, route files, or what services watch.
    async fn changed(&mut self, paths: &BTreeSet<PathBuf>) {
        let manifest = std::path::absolute(Path::new(&*self.plan.source.name)).unwrap_or_default();
        if paths.contains(&manifest) {
            self.reload_manifest().await;
        } else {
            self.reload_routes().await;
        }
        if paths.iter().any(|path| self.plan.is_env_file(path)) {
            // Whoever has other variables now begins anew.
            if let Err(fault) = self.start_services().await {
                self.screen.fault(&fault);
            }
        }
        let rebuild: BTreeSet<String> =
            paths.iter().flat_map(|path| self.plan.watchers(path)).map(str::to_owned).collect();
        for name in rebuild {
            self.screen.note(&format!("`{name}`: watched files changed"));
            if let Err(fault) = self.supervisor.restart_with_build(&name).await {
                self.screen.fault(&fault);
            }
        }
    }

    async fn reload_routes(&mut self) {
        let mut told = self.reloader.reload(&self.gateway).await;
        self.plan.place(&mut told.diagnostics);
        self.screen.diagnostics(&told.diagnostics);
        if let Some(line) = &told.line {
            self.screen.note(line);
        }
        self.tell_about();
    }

    /// Reads the manifest again. With errors, or a file it names missing, all stays as it is.
    async fn reload_manifest(&mut self) {
        let path = PathBuf::from(&*self.plan.source.name);
        let (next, mut diagnostics) = match read_manifest(&path) {
            Ok(read) => read,
            Err(fault) => return self.screen.fault(&fault),
        };
        let Some(next) = next else {
            self.screen.diagnostics(&diagnostics);
            return self.screen.note("manifest refused, the last good one stays in force");
        };
        diagnostics.extend(next.missing_files());
        diagnostics.extend(next.new_syntax_errors(&self.plan));
        // Old and new names are both known until it is decided which of them stay.
        let names: BTreeSet<&str> = self.plan.names().into_iter().chain(next.names()).collect();
        self.world.services.declare(names);
        let (calls, told) = next.build_calls(self.calls.builder());
        diagnostics.extend(told);
        self.screen.diagnostics(&diagnostics);
        if has_errors(&diagnostics) {
            self.world.services.declare(self.plan.names());
            return self.screen.note("manifest refused, the last good one stays in force");
        }
        let changes = manifest::diff(&self.plan.manifest, &next.manifest);
        if changes.is_empty() {
            self.plan = next;
            return self.reload_routes().await;
        }
        self.plan = next;
        if changes.rebind || changes.log || changes.limits {
            self.screen
                .note("changes of gateway addresses and flags, log and limits take effect with the next `tombolo up`");
        }
        self.world.services.declare(self.plan.names());
        if let Err(fault) = set_outside_services(&self.plan, &self.world) {
            self.screen.fault(&fault);
        }
        self.calls.put(calls);
        self.screen.know(&self.plan);
        self.reloader.replace(self.plan.sources(), self.plan.manifest.gateway.strict);
        self.reload_routes().await;
        if let Err(fault) = self.start_services().await {
            self.screen.fault(&fault);
        }
        self.screen.note("manifest reloaded");
    }

    /// Opens the doors of declared calls, then makes the supervisor's services those of the plan.
    async fn start_services(&mut self) -> Result<(), Fault> {
        // Nobody stands before a service that calls.
        let limits = Limits { proxy_protocol: None, ..limits(&self.plan)? };
        self.doors.apply(&self.plan.edges(), &self.world, &self.calls, &limits).await?;
        let wanted = self
            .plan
            .manifest
            .services
            .iter()
            .filter(|service| matches!(service.source, ServiceSource::Run(_)))
            .map(|service| Wanted {
                service: service.clone(),
                env: self.variables(&service.name),
                usual: self.addresses.traces.variables(&service.name).collect(),
            })
            .collect();
        let applied = self.supervisor.apply(wanted).await?;
        self.screen.applied(&applied);
        if let Some(streams) = &self.streams {
            streams.consume(&self.plan, &self.doors).await?;
        }
        self.tell_about();
        Ok(())
    }

    /// The variables that a service is given: where those are that it calls, and where streams are.
    fn variables(&self, service: &str) -> BTreeMap<String, String> {
        let mut variables = self.doors.variables(service);
        if self.streams.is_some() {
            variables.insert("TOMBOLO_API_URL".to_owned(), format!("http://{}", self.addresses.api));
        }
        variables
    }

    /// Keeps what `tombolo status` shows beside the services, and what the doctor knows of the manifest.
    fn tell_about(&self) {
        let scheme = if self.addresses.tls { "https" } else { "http" };
        let table = self.gateway.table();
        let calls = || self.doors.list().filter(|(caller, ..)| !consumers::is_one(caller));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = About {
            name: self.plan.name(),
            gateway: format!("{scheme}://{}", self.addresses.gateway),
            calls: calls().map(|(caller, callee, _)| (caller.to_owned(), callee.to_owned())).collect(),
            outside: self.plan.outside_names(),
        };
        let about = serde_json::json!({
            "name": self.plan.name(),
            "manifest": std::path::absolute(Path::new(&*self.plan.source.name)).unwrap_or_default(),
            "pid": std::process::id(),
            "gateway": format!("{scheme}://{}", self.addresses.gateway),
            "api": format!("http://{}", self.addresses.api),
            "support": self.addresses.support.map(|address| format!("http://{address}")),
            "messagedb": self.addresses.messagedb.map(messagedb_url),
            "streams": self.streams.is_some(),
            "routes": { "serving": table.routes.len(), "left_out": table.invalid.len() },
            "calls": calls().map(|(caller, callee, address)| serde_json::json!({
                "caller": caller, "callee": callee, "url": format!("http://{address}"),
            })).collect::<Vec<_>>(),
            "outside": self.plan.outside(),
        });
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = about;
        if let Some(doctor) = &self.doctor {
            doctor.know(super::doctor::facts(&self.plan, table.routes.iter().map(|route| &*route.source)));
        }
    }

    /// Tells the planes where the healthy instances of our services are, as that changes.
    fn follow_endpoints(&self) {
        let mut endpoints = self.supervisor.endpoints();
        let (services, lasting, clock) =
            (self.world.services.clone(), self.world.lasting.clone(), self.world.clock.clone());
        self.world.scope.spawn_once("endpoints", OnError::Report, async move {
            loop {
                let now = endpoints.borrow_and_update().clone();
                for (name, addresses) in &*now {
                    let addresses: Vec<String> = addresses.iter().map(|a| format!("http://{a}")).collect();
                    // Addresses of sockets are always good addresses of backends.
                    let _ = services.set(name, &addresses, &lasting, &clock);
                }
                if endpoints.changed().await.is_err() {
                    return Ok(());
                }
            }
        });
    }
}

/// Services that somebody else runs.
fn set_outside_services(plan: &Plan, world: &World) -> Result<(), Fault> {
    for service in &plan.manifest.services {
        if let ServiceSource::At(addresses) = &service.source {
            world.services.set(&service.name, addresses, &world.lasting, &world.clock)?;
        }
    }
    Ok(())
}

/// Machines that read what happens are given the access log in a form they can read too.
fn access_log(plan: &Plan, world: &World, json: bool) -> Result<Option<AccessLog>, Fault> {
    let log = &plan.manifest.log;
    let format = match log.format {
        LogFormat::Text if !json => Format::Terminal,
        LogFormat::Text | LogFormat::Json => Format::Json,
    };
    world.access_log(&Access { format, strip_query: log.strip_query, file: None }).map(Some)
}

pub(crate) fn limits(plan: &Plan) -> Result<Limits, Fault> {
    let limits = &plan.manifest.limits;
    let mut limits = Limits {
        header_bytes: usize::try_from(limits.header_bytes).unwrap_or(usize::MAX),
        header_timeout: limits.header_timeout,
        read_timeout: limits.read_timeout,
        write_timeout: limits.write_timeout,
        idle_timeout: limits.idle_timeout,
        connections: limits.connections as usize,
        ..Limits::default()
    };
    plan.flags.apply(&mut limits)?;
    Ok(limits)
}

/// The API's listener and, if there is to be one, the support listener. Their usual ports may be another
/// `tombolo up`'s: the API then takes any port, and support is left out; a port that the manifest chose must
/// be free.
fn side_listeners(plan: &Plan, screen: &Screen) -> Result<(TcpListener, Option<TcpListener>), Fault> {
    let usual = manifest::Gateway::default();
    let wished = &plan.manifest.gateway;
    let api = match wire::bind(wished.api) {
        Err(fault) if fault.kind == Kind::Conflict && wished.api == usual.api => {
            screen.note(&format!(
                "{}; the API takes another",
                name_listener(fault, wished.api, "the API").message
            ));
            wire::bind(SocketAddr::new(wished.api.ip(), 0))?
        }
        bound => bound.map_err(|fault| name_listener(fault, wished.api, "the API"))?,
    };
    let support = match wished.support {
        None => None,
        Some(address) => match wire::bind(address) {
            Err(fault) if fault.kind == Kind::Conflict && wished.support == usual.support => {
                let message = name_listener(fault, address, "support").message;
                screen.note(&format!("{message}; /routes and /metrics are not served"));
                None
            }
            bound => Some(bound.map_err(|fault| name_listener(fault, address, "support"))?),
        },
    };
    Ok((api, support))
}

/// Where clients of Message DB find it.
pub(crate) fn messagedb_url(address: SocketAddr) -> String {
    format!("postgres://message_store@{address}/message_store")
}

/// The command line of the guardian: this very binary.
fn guard_command() -> Result<Vec<String>, Fault> {
    let binary = std::env::current_exe()
        .map_err(|error| Fault::new(Kind::Io, "cannot find the tombolo binary itself").because(error))?;
    // Absolute: a bare name would be looked for in PATH, and may be another program there.
    Ok(vec![binary.display().to_string(), "guard".to_owned()])
}

/// 64 bits nobody can guess: from the operating system, by the standard library's hash keys.
fn random_bits() -> u64 {
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id())
}
