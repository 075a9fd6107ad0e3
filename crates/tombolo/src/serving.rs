//! What `gateway` and `up` share while they serve: reading routes again when files change or time has come,
//! and noticing that we shall stop.

use base::{Diagnostic, Severity};
use notify::Watcher as _;
use proxy::{Plane, RouteSource, RouteSources, RouteStep};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Changes come in bursts (editors write, rename and touch): so long a silence ends one.
const SETTLE: Duration = Duration::from_millis(80);

/// A burst is not waited out for longer.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Reads routes and puts them in force.
pub(crate) struct Reloader {
    sources: RouteSources,
    strict: bool,
    first: bool,
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
        Self { sources: RouteSources::new(sources, steps), strict, first: true }
    }

    /// Other sources from now on.
    pub(crate) fn replace(&mut self, sources: Vec<RouteSource>, strict: bool) {
        self.sources.replace(sources);
        self.strict = strict;
        // The set of sources changed even if none of their texts did.
        self.first = true;
    }

    /// The files to watch.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.sources.files().map(Path::to_owned).collect()
    }

    /// Reads all sources and, if anything changed, puts the new table in force. A source with a syntax
    /// error keeps its last good routes; one without any stops the first start.
    pub(crate) async fn reload(&mut self, plane: &Arc<Plane>) -> Told {
        let refreshed = self.sources.refresh(plane.dialer()).await;
        let first = std::mem::take(&mut self.first);
        if !refreshed.changed && !first {
            return Told { diagnostics: refreshed.diagnostics, ..Told::default() };
        }
        let unreadable = refreshed.has_errors();
        let mut diagnostics = refreshed.diagnostics;
        let (table, told) = self.sources.build(plane.builder());
        let bad = told.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        diagnostics.extend(told);
        let refused = (first && unreadable) || (self.strict && (bad || unreadable));
        let line = if refused {
            // It is tried again even if the next change brings back the same text.
            self.first = first;
            format!("routes refused, {} stay in force", plane.table().routes.len())
        } else {
            let (serve, left_out) = (table.routes.len(), table.invalid.len());
            plane.put(table);
            match left_out {
                0 => format!("routes reloaded, {serve} serve"),
                _ => format!("routes reloaded, {serve} serve, {left_out} left out"),
            }
        };
        Told { diagnostics, line: (!first || refused).then_some(line), refused }
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

/// Tells that one of some files or folders may have changed. Folders are watched, not files: editors replace
/// a file by renaming another, and Kubernetes swaps a link beside it.
pub(crate) struct FileWatch {
    changes: mpsc::Receiver<PathBuf>,
    watcher: Option<notify::RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    wanted: BTreeSet<PathBuf>,
}

impl FileWatch {
    /// Watches these files, and these folders with all below them.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        // A full channel loses nothing: what is in it already says that something changed.
        let (sender, changes) = mpsc::channel(64);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if matches!(event.kind, notify::EventKind::Access(_)) {
                return;
            }
            for path in event.paths {
                let _ = sender.try_send(path);
            }
        })
        .ok();
        let mut watch = Self { changes, watcher, folders: BTreeSet::new(), wanted: BTreeSet::new() };
        watch.set(paths);
        watch
    }

    /// Watches these from now on.
    pub(crate) fn set(&mut self, paths: &[PathBuf]) {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.wanted = paths.iter().map(absolute).collect();
        let Some(watcher) = &mut self.watcher else { return };
        let mut folders = BTreeSet::new();
        for path in &self.wanted {
            let (folder, mode) = if path.is_dir() {
                (path.clone(), notify::RecursiveMode::Recursive)
            } else {
                let parent = path.parent().unwrap_or(Path::new("/"));
                (parent.to_owned(), notify::RecursiveMode::NonRecursive)
            };
            if self.folders.contains(&folder) || watcher.watch(&folder, mode).is_ok() {
                folders.insert(folder);
            }
        }
        for gone in self.folders.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        self.folders = folders;
    }

    /// Waits for a change and for the end of its burst; answers the wanted paths it was about.
    pub(crate) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            let mut about = BTreeSet::new();
            match self.changes.recv().await {
                Some(path) => self.note(&path, &mut about),
                None => std::future::pending().await,
            }
            let _ = tokio::time::timeout(SETTLE_MAX, async {
                while let Ok(Some(path)) = tokio::time::timeout(SETTLE, self.changes.recv()).await {
                    self.note(&path, &mut about);
                }
            })
            .await;
            if !about.is_empty() {
                return about;
            }
        }
    }

    fn note(&self, changed: &Path, about: &mut BTreeSet<PathBuf>) {
        for wanted in &self.wanted {
            let inside = changed.starts_with(wanted);
            // A link that stands for the file, or the folder that holds it, may be what changed.
            let linked = wanted.is_symlink() && changed.parent() == wanted.parent();
            if inside || linked {
                about.insert(wanted.clone());
            }
        }
    }
}
