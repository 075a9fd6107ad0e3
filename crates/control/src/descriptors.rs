//! How many files may be open: as many as the system allows us, and as many as before for whom we start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// What the bound was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets the process open as many files as the system allows it: the usual 1,024 are fewer than the clients and
/// backends it is meant for. Services that are started from now on have the bound that this process had, since
/// programs that wait with select(2) break above 1,024.
pub fn raise_descriptors() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before != raised && BEFORE.set(before).is_ok() {
        // Where it is refused, accepting waits when they run out.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// Gives a process that was just started the bound that we had.
#[cfg(target_os = "linux")]
pub(crate) fn restore(pid: u32) {
    use rustix::process::{Pid, prlimit};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some((before, pid)) = BEFORE.get().zip(pid) {
        // One that has ended already needs none.
        let _ = prlimit(Some(pid), Resource::Nofile, *before);
    }
}

/// No other system lets us change it: a process keeps ours.
#[cfg(not(target_os = "linux"))]
pub(crate) fn restore(_pid: u32) {}
