//! What `gateway` and `up` share while they serve: reading routes again when files change or time has come,
//! and noticing that we shall stop.

use crate::watching::FileWatch;
use base::{Diagnostic, Severity};
use proxy::{Plane, RouteSource, RouteSources, RouteStep};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Reads routes and puts them in force.
pub(crate) struct Reloader {
    sources: RouteSources,
    strict: bool,
    /// Nothing is in force yet: a source that can't be read has no last good state.
    starting: bool,
    /// The table is built even if no source changed.
    anew: bool,
}

/// What a reload has to say.
#[derive(Default)]
pub(crate) struct Told {
    /// What is wrong with the routes.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// One line for people; `None` when nothing changed.
    pub(crate) line: Option<String>,
    /// The new routes were refused as a whole; what was in force before still is.
    pub(crate) refused: bool,
}

impl Reloader {
    /// For these sources, none read yet.
    pub(crate) fn new(sources: Vec<RouteSource>, steps: Vec<RouteStep>, strict: bool) -> Self {
        Self { sources: RouteSources::new(sources, steps), strict, starting: true, anew: true }
    }

    /// Other sources from now on.
    pub(crate) fn replace(&mut self, sources: Vec<RouteSource>, strict: bool) {
        self.sources.replace(sources);
        self.strict = strict;
        // The set of sources changed even if none of their texts did.
        self.anew = true;
    }

    /// The files to watch.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.sources.files().map(Path::to_owned).collect()
    }

    /// Reads all sources and, if anything changed, puts the new table in force. A source with a syntax
    /// error keeps its last good routes; one without any stops the first start.
    pub(crate) async fn reload(&mut self, plane: &Arc<Plane>) -> Told {
        let refreshed = self.sources.refresh(plane.dialer()).await;
        let (starting, anew) = (self.starting, std::mem::take(&mut self.anew));
        if !refreshed.changed && !anew {
            return Told { diagnostics: refreshed.diagnostics, ..Told::default() };
        }
        let unreadable = refreshed.has_errors();
        let mut diagnostics = refreshed.diagnostics;
        let (table, told) = self.sources.build(plane.builder());
        let bad = told.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        diagnostics.extend(told);
        let refused = (starting && unreadable) || (self.strict && (bad || unreadable));
        let line = if refused {
            // It is tried again even if the next change brings back the same text.
            self.anew = anew;
            format!("routes refused, {} stay in force", plane.table().routes.len())
        } else {
            let (serve, left_out) = (table.routes.len(), table.invalid.len());
            plane.put(table);
            self.starting = false;
            match left_out {
                0 => format!("routes reloaded, {serve} serve"),
                _ => format!("routes reloaded, {serve} serve, {left_out} left out"),
            }
        };
        Told { diagnostics, line: (!starting).then_some(line), refused }
    }
}

/// Serves until a signal says stop; the name of the signal is the answer.
pub(crate) async fn until_stopped(
    signals: &mut Signals,
    reloader: &mut Reloader,
    plane: &Arc<Plane>,
    poll: Duration,
    show: impl Fn(&Told),
) -> &'static str {
    let mut watch = FileWatch::new(&reloader.files());
    let urls = reloader.sources.has_urls();
    let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What changed between the first reading and the watch.
    show(&reloader.reload(plane).await);
    loop {
        tokio::select! {
            stop = signals.next() => match stop {
                Signal::Stop(name) => return name,
                Signal::Reload => {}
            },
            _ = watch.changed() => {}
            _ = ticks.tick(), if urls => {}
        }
        show(&reloader.reload(plane).await);
        // A link may lead elsewhere by now, a folder may be another of the same name.
        watch.set(&reloader.files());
    }
}

/// What a signal asks for.
pub(crate) enum Signal {
    /// To stop; by this signal.
    Stop(&'static str),
    /// To read everything again.
    Reload,
}

/// SIGINT, SIGTERM and SIGHUP as they come. Made before anything is served: until then a signal ends the
/// process on the spot.
pub(crate) struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hangup: signal(SignalKind::hangup()).ok(),
        }
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = of(&mut self.interrupt) => Signal::Stop("SIGINT"),
            () = of(&mut self.terminate) => Signal::Stop("SIGTERM"),
            () = of(&mut self.hangup) => Signal::Reload,
        }
    }
}
