//! The streams of messages of a running `tombolo up`: the store in its data directory or in PostgreSQL, Message DB's
//! interface to it, and the API's.

use super::consumers::{self, Pushing};
use super::doors::Doors;
use super::gauges;
use super::plan::Plan;
use super::screen::Screen;
use crate::term::{self, GREEN, paint};
use crate::wiring::{World, name_listener};
use base::{Fault, Kind, OnError, Scope};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{Embedded, Encrypted, LogOptions, Postgres, PostgresOptions, State, Store};
use streams::consumers::{Consumers, Setup};
use streams::outbox::{News, Outbox};
use streams::retention::Keep;
use streams::tap::MessageTaps;
use streams::{http, messagedb, outbox, retention};

/// How often a follower that nothing comes for hears that it is not forgotten.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Longest wait for deliveries under way when everything stops.
const DELIVERIES_END: Duration = Duration::from_secs(15);

/// What is open of them.
pub(crate) struct Streams {
    /// What answers calls of the API.
    pub(crate) api: http::Api,
    /// The data directory, if that is where messages are kept.
    pub(crate) embedded: Option<Embedded>,
    /// Where clients of Message DB are served.
    pub(crate) messagedb: Option<SocketAddr>,
    /// Those who watch messages.
    pub(crate) taps: MessageTaps,
    /// Who is brought messages.
    consumers: Consumers,
    /// The way to them.
    pushing: Arc<Pushing>,
    /// Their work, which ends before that of the servers.
    deliveries: Scope,
    /// The servers.
    scope: Scope,
}

/// Where messages and small state are kept.
struct Kept {
    encrypted: Arc<Encrypted>,
    state: State,
    embedded: Option<Embedded>,
}

impl Kept {
    async fn open(
        wished: &manifest::Streams,
        plan: &Plan,
        world: &World,
        screen: &Screen,
    ) -> Result<Self, Fault> {
        let clock = world.clock.clone();
        if let Some(url) = &wished.store {
            let postgres = Postgres::open(&url.0, clock.clone(), PostgresOptions::default()).await?;
            let encrypted = postgres.encrypted(clock);
            return Ok(Self { encrypted, state: postgres.state(), embedded: None });
        }
        let dir = plan.folder.join(&wished.dir);
        let (embedded, recovered) =
            Embedded::open(&dir, clock.clone(), LogOptions::default()).map_err(|fault| match fault.hint {
                Some(_) => fault,
                None => fault.hint("`dir` of `streams` says where it is; may you write there?"),
            })?;
        if recovered.cut_bytes > 0 {
            screen.note(&format!(
                "the last {} bytes of the log were never acknowledged and are cut off: the last stop was none",
                recovered.cut_bytes
            ));
        }
        let encrypted = embedded.encrypted(clock);
        Ok(Self { encrypted, state: embedded.state(), embedded: Some(embedded) })
    }
}

impl Streams {
    /// Opens the store that the manifest asks for, if it does, and its port.
    /// What is appended and delivered leaves spans where requests do.
    pub(crate) async fn open(
        plan: &Plan,
        world: &World,
        screen: &Screen,
        spans: Option<&proxy::Spans>,
    ) -> Result<Option<Self>, Fault> {
        let Some(wished) = &plan.manifest.streams else { return Ok(None) };
        let spans =
            spans.map(|spans| streams::Spans::new(spans.recorder.clone(), spans.sample, world.chance.fork()));
        let Kept { encrypted, state, embedded } = Kept::open(wished, plan, world, screen).await?;
        let taps = MessageTaps::default();
        let (metrics, clock) = (world.metrics.clone(), world.clock.clone());
        let store = Store::of(streams::Counted::over(encrypted.clone(), metrics, taps.clone(), clock));
        let (scope, deliveries) = (new_scope(world), new_scope(world));
        let messagedb = serve_messagedb(wished, &store, world, screen, &scope, spans.clone())?;
        keep(wished, &store, &state, world, &scope);
        import(wished, &store, &state, world, &scope, spans.as_ref())?;
        let pushing = Arc::<Pushing>::default();
        let consumers = Consumers::new(Setup {
            store: store.clone(),
            state: state.clone(),
            clock: world.clock.clone(),
            chance: world.chance.clone(),
            scope: deliveries.clone(),
            deliver: pushing.clone(),
            spans: spans.clone(),
            metrics: world.metrics.clone(),
            taps: taps.clone(),
            // A data directory has one process.
            node: embedded.is_none().then(|| format!("node-{:08x}", world.chance.bits() as u32)),
        });
        let kept = embedded.clone().map(|embedded| (plan.folder.join(&wished.dir), embedded));
        gauges::tell(world, &scope, &store, &consumers, kept);
        let parts = http::Parts {
            store,
            state,
            encrypted,
            clock: world.clock.clone(),
            drain: world.drain.clone(),
            keep_alive: KEEP_ALIVE,
            spans,
        };
        let api = http::Api::with_consumers(parts, consumers.clone());
        let replies = api.replies().clone();
        scope.spawn("replies", OnError::Restart, move || replies.clone().run());
        let schedule = api.schedule().clone();
        scope.spawn("schedule", OnError::Restart, move || schedule.clone().run());
        Ok(Some(Self { api, embedded, messagedb, taps, consumers, pushing, deliveries, scope }))
    }

    /// What the console shows of them.
    pub(crate) fn handles(&self) -> console::Streams {
        console::Streams { store: self.api.store.clone(), consumers: self.consumers.clone() }
    }

    /// Has messages brought to the consumers that a manifest declares, and to all others, through these doors.
    pub(crate) async fn consume(&self, plan: &Plan, doors: &Doors) -> Result<(), Fault> {
        let declared = consumers::declared(&plan.manifest)?;
        self.pushing.through(doors);
        self.consumers.declare(declared).await?;
        // The second time it is at work already.
        self.consumers.start();
        Ok(())
    }

    /// Lets deliveries under way end, and begins none.
    pub(crate) async fn stop_consumers(&self) {
        self.deliveries.stop(DELIVERIES_END).await;
    }

    /// Tells clients to go, and waits until they have gone.
    pub(crate) async fn close(self, grace: Duration) {
        self.scope.stop(grace).await;
    }
}

pub(super) fn new_scope(world: &World) -> Scope {
    Scope::new(world.clock.clone(), |end| {
        term::fault(&Fault::new(Kind::Bug, format!("task `{}` failed: {}", end.task, end.error)));
    })
}

/// Has messages removed that nobody wants to keep, if the manifest says so.
fn keep(wished: &manifest::Streams, store: &Store, state: &State, world: &World, scope: &Scope) {
    let keep =
        |keep: &manifest::Keep| Keep { category: keep.category.clone(), age: keep.age, count: keep.count };
    let keeps: Vec<Keep> = wished.keep.iter().map(keep).collect();
    if keeps.is_empty() {
        return;
    }
    let (store, state, clock) = (store.clone(), state.clone(), world.clock.clone());
    scope.spawn("retention", OnError::Restart, move || {
        let told = |keep: &Keep, removed| {
            let category = &keep.category;
            term::err(format_args!(
                "{}: {removed} messages of `{category}` are removed",
                paint(GREEN, "info")
            ));
        };
        retention::run(store.clone(), state.clone(), clock.clone(), keeps.clone(), told)
    });
}

/// Has messages appended from the outboxes of services, those that the manifest names.
fn import(
    wished: &manifest::Streams,
    store: &Store,
    state: &State,
    world: &World,
    scope: &Scope,
    spans: Option<&Arc<streams::Spans>>,
) -> Result<(), Fault> {
    for wished in &wished.outboxes {
        let outbox = Outbox {
            name: wished.name.clone(),
            url: wished.database.0.clone(),
            table: wished.table.clone(),
            every: wished.every,
        };
        outbox.check()?;
        let (store, state, clock) = (store.clone(), state.clone(), world.clock.clone());
        let spans = spans.cloned();
        scope.spawn(format!("outbox {}", outbox.name), OnError::Restart, move || {
            outbox::run(store.clone(), state.clone(), clock.clone(), spans.clone(), outbox.clone(), tell)
        });
    }
    Ok(())
}

/// Says what became of an outbox.
fn tell(outbox: &Outbox, news: News) {
    let name = &outbox.name;
    match news {
        News::Halted(fault) => {
            term::warning(&format!("outbox `{name}` waits: {fault}"), fault.hint.as_deref());
        }
        News::Resumed => term::err(format_args!("{}: outbox `{name}` goes on", paint(GREEN, "info"))),
        News::Refused { position, reason } => term::warning(
            &format!("the row at position {position} of outbox `{name}` can't be appended: {reason}"),
            Some("mend the row and set its column `refused` to null"),
        ),
    }
}

/// Serves clients of Message DB, if that is wished for. Their usual port may be another's; then they are not.
fn serve_messagedb(
    wished: &manifest::Streams,
    store: &Store,
    world: &World,
    screen: &Screen,
    scope: &Scope,
    spans: Option<Arc<streams::Spans>>,
) -> Result<Option<SocketAddr>, Fault> {
    let usual = manifest::Streams::default().messagedb;
    let listener = match wished.messagedb.map(|address| (address, wire::bind(address))) {
        None => return Ok(None),
        Some((address, Err(fault))) if fault.kind == Kind::Conflict && Some(address) == usual => {
            let message = name_listener(fault, address, "Message DB's interface").message;
            screen.note(&format!("{message}; it is not served"));
            return Ok(None);
        }
        Some((address, bound)) => {
            bound.map_err(|fault| name_listener(fault, address, "Message DB's interface"))?
        }
    };
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let settings = messagedb::Settings { sql_condition: wished.sql_condition, spans, ..Default::default() };
    let serve = messagedb::serve(listener, store.clone(), settings, world.clock.clone(), scope.clone());
    scope.spawn_once("messagedb", OnError::Report, serve);
    Ok(Some(address))
}
