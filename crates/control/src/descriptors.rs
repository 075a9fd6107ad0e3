//! How many files may be open: as many as the system allows us, and as many as before for whom we start.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::OnceLock;

/// What the bound was before it was raised: what a process may have at once, and what it may raise that to.
static BEFORE: OnceLock<(u64, u64)> = OnceLock::new();

/// Lets the process open as many files as the system allows it: the usual 1,024 are fewer than the clients and
/// backends it is meant for. Services that are started from now on have the bound that this process had, since
/// programs that wait with select(2) break above 1,024.
pub fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && BEFORE.set((soft, hard)).is_ok()
    {
        // Where it is refused, accepting waits when they run out.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Gives a process that was just started the bound that we had. Elsewhere than on Linux it keeps ours.
pub(crate) fn restore(pid: u32) {
    #[cfg(target_os = "linux")]
    if let (Some((soft, hard)), Some(pid)) =
        (BEFORE.get(), i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw))
    {
        let before = rustix::process::Rlimit { current: Some(*soft), maximum: Some(*hard) };
        // One that has ended already needs none.
        let _ = rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, before);
    }
}
