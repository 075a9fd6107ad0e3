//! Noticing that files changed. What a change means is left to those who ask: `serving` for routes, `up` for
//! manifests and what services watch.

use notify::{RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Changes come in bursts (editors write, rename and touch): so long a silence ends one.
const SETTLE: Duration = Duration::from_millis(80);

/// A burst is not waited out for longer.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Tells that one of some files or folders may have changed. Folders are watched, not files: editors replace
/// a file by renaming another, and Kubernetes swaps a link beside it. What is not there yet is waited for in the
/// nearest folder that is.
pub(crate) struct FileWatch {
    pending: Arc<Pending>,
    watcher: Option<notify::RecommendedWatcher>,
    /// Each with what it was when the watch began.
    folders: BTreeMap<PathBuf, Watched>,
}

/// What the watcher's own thread has seen, and what it looks for. It is kept here and not in the future of whoever
/// waits, which may be dropped at any time.
#[derive(Default)]
struct Pending {
    seen: Mutex<Seen>,
    wake: Notify,
}

#[derive(Default)]
struct Seen {
    wanted: Vec<Wanted>,
    /// The wanted paths that changed, as they were named.
    about: BTreeSet<PathBuf>,
    /// When the burst began and when its last change came.
    burst: Option<(Instant, Instant)>,
    /// Watched folders to which something happened: each may be another one of the same name by now.
    folders: BTreeSet<PathBuf>,
}

struct Wanted {
    /// As somebody named it.
    named: PathBuf,
    /// Where links lead.
    real: PathBuf,
    there: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Watched {
    /// With all below it.
    deep: bool,
    /// Device and inode.
    number: (u64, u64),
}

impl FileWatch {
    /// Watches these files, and these folders with all below them. What changed before is not told: whoever
    /// asks looks at them once more after this.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        let pending = Arc::<Pending>::default();
        let noting = pending.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !matches!(event.kind, notify::EventKind::Access(_)) {
                noting.note(&event.paths);
            }
        });
        let mut watch = Self { pending, watcher: watcher.ok(), folders: BTreeMap::new() };
        watch.set(paths);
        watch
    }

    /// Watches these from now on.
    pub(crate) fn set(&mut self, paths: &[PathBuf]) {
        let resolved = |path: &PathBuf| {
            let named = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let real = std::fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
            Wanted { there: named.exists(), named, real }
        };
        let wanted: Vec<Wanted> = paths.iter().map(resolved).collect();
        let mut folders: BTreeMap<PathBuf, Watched> = BTreeMap::new();
        for path in wanted.iter().flat_map(|wanted| [&wanted.named, &wanted.real]) {
            let deep = path.is_dir();
            let above = if deep { Some(path.as_path()) } else { path.parent() };
            let folder = above.into_iter().flat_map(Path::ancestors).find(|folder| folder.is_dir());
            let Some((folder, metadata)) = folder.and_then(|f| Some((f, std::fs::metadata(f).ok()?))) else {
                continue;
            };
            let number = (metadata.dev(), metadata.ino());
            folders.entry(folder.to_owned()).or_insert(Watched { deep, number }).deep |= deep;
        }
        let touched = {
            let mut seen = self.pending.lock();
            seen.wanted = wanted;
            std::mem::take(&mut seen.folders)
        };
        self.folders.retain(|folder, _| !touched.contains(folder));
        let Some(watcher) = &mut self.watcher else { return };
        let gone = self.folders.iter().filter(|(folder, was)| folders.get(*folder) != Some(*was));
        for folder in gone.map(|(folder, _)| folder).chain(&touched) {
            // A folder that is no more is no longer watched anyway.
            let _ = watcher.unwatch(folder);
        }
        folders.retain(|folder, watched| {
            let mode = if watched.deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            self.folders.get(folder) == Some(watched) || watcher.watch(folder, mode).is_ok()
        });
        self.folders = folders;
    }

    /// Waits for a change and for the end of its burst; answers the wanted paths it was about, as they were
    /// named. Nothing is lost when the wait is given up.
    pub(crate) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            let woken = self.pending.wake.notified();
            let now = Instant::now();
            let quiet_at = {
                let mut seen = self.pending.lock();
                let quiet_at = seen.burst.map(|(first, last)| (first + SETTLE_MAX).min(last + SETTLE));
                if quiet_at.is_some_and(|at| at <= now) {
                    seen.burst = None;
                    return std::mem::take(&mut seen.about);
                }
                quiet_at
            };
            match quiet_at {
                None => woken.await,
                Some(at) => tokio::time::sleep(at - now).await,
            }
        }
    }
}

impl Pending {
    fn note(&self, changed: &[PathBuf]) {
        let mut seen = self.lock();
        let Seen { wanted, about, burst, folders } = &mut *seen;
        let before = about.len();
        let mut concerned = false;
        for changed in changed {
            for Wanted { named, real, there } in wanted.iter() {
                let below = changed.strip_prefix(named).or_else(|_| changed.strip_prefix(real));
                let inside = below.is_ok_and(|rest| !is_bookkeeping(rest));
                // A folder on the way to what was not there yet.
                let above = !there && named.starts_with(changed);
                // A link that stands for the file, or the folder that holds it, may be what changed.
                let linked = named.is_symlink() && changed.parent() == named.parent();
                if inside || above || linked {
                    concerned = true;
                    about.insert(named.clone());
                }
                if changed == named || changed == real {
                    folders.insert(changed.clone());
                }
            }
        }
        if concerned {
            let now = Instant::now();
            let first = burst.map_or(now, |(first, _)| first);
            *burst = Some((first, now));
        }
        let first_of_burst = before == 0 && concerned;
        drop(seen);
        if first_of_burst {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a change is in a folder in which programs keep their own state, which is no source of anything: below
/// `watch: .` it would build for ever.
fn is_bookkeeping(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some(".git" | ".tombolo")))
}
