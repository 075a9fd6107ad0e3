//! The console of a running `tombolo up`: what its pages are about, put together here.

use super::streams::Streams;
use super::traces::Traces;
use crate::wiring::World;
use base::OnError;
use console::{About, Console, Planes};
use control::Supervisor;
use proxy::Plane;
use std::sync::{Arc, Mutex};
use telemetry::doctor::Doctor;

/// What the console is made of beside the world.
pub(crate) struct Parts<'a> {
    pub(crate) token: Arc<str>,
    pub(crate) about: Arc<Mutex<About>>,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) gateway: &'a Arc<Plane>,
    pub(crate) calls: &'a Arc<Plane>,
    pub(crate) streams: Option<&'a Streams>,
    pub(crate) traces: Option<&'a Traces>,
    pub(crate) doctor: Option<Doctor>,
}

/// Opens the console, and reads for it what is counted as long as the world lasts.
pub(crate) fn open(parts: Parts<'_>, world: &World) -> Console {
    let console = Console::new(Planes {
        clock: world.clock.clone(),
        drain: world.drain.clone(),
        token: parts.token,
        about: parts.about,
        supervisor: parts.supervisor.clone(),
        gateway: parts.gateway.clone(),
        calls: parts.calls.clone(),
        doctor: parts.doctor,
        spans: parts.traces.map(|traces| traces.store.clone()),
        streams: parts.streams.map(Streams::handles),
    });
    let watching = console.clone();
    world.scope.spawn("console", OnError::Restart, move || watching.clone().watch());
    console
}
