//! Process groups: every process we start leads one, and whatever it starts in turn belongs to it, so that
//! stopping the group leaves nothing behind.

use crate::guard::Guardian;
use base::Clock;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest pause between two looks whether a group is gone.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(50);

/// How long after SIGKILL a group is still looked for.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// Most zombies taken in at one look.
const REAPED_MAX: usize = 256;

/// A process group of ours. Killed when dropped before its end: a supervisor that goes down takes it along.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    guardian: Guardian,
    terminated: AtomicBool,
    killed: AtomicBool,
    ended: AtomicBool,
}

impl Group {
    /// The group led by this process, made known to the guardian. `None` for an id no process of ours has.
    pub(crate) fn led_by(pid: u32, guardian: &Guardian) -> Option<Self> {
        let id = group_id(pid)?;
        guardian.add(id.as_raw());
        Some(Self {
            id,
            guardian: guardian.clone(),
            terminated: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// SIGTERM to all of it, and SIGCONT so that a halted process hears it.
    pub(crate) fn terminate(&self) {
        if !self.terminated.swap(true, Ordering::Relaxed) {
            self.signal(Signal::SIGTERM);
            self.signal(Signal::SIGCONT);
        }
    }

    /// SIGKILL to all of it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.signal(Signal::SIGKILL);
    }

    /// Whether we sent SIGKILL.
    pub(crate) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// After its leader has ended and been waited for: asks what is left to end, waits up to `grace`, and
    /// kills the rest. Returns when the group is gone, or can't be got rid of.
    pub(crate) async fn end(&self, grace: Duration, clock: &Clock) {
        let mut pause = Duration::from_millis(2);
        let mut deadline = clock.now() + grace;
        let mut killed = false;
        loop {
            reap_adopted(self.id);
            if !lives(self.id) {
                break;
            }
            self.terminate();
            if clock.now() >= deadline {
                if killed {
                    break;
                }
                self.kill();
                killed = true;
                deadline = clock.now() + KILL_PATIENCE;
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(LOOK_PAUSE_MAX);
        }
        self.ended.store(true, Ordering::Relaxed);
        self.guardian.drop_group(self.id.as_raw());
    }

    fn signal(&self, signal: Signal) {
        if !self.ended.load(Ordering::Relaxed) {
            // It may have ended by itself meanwhile: nothing to do then.
            let _ = killpg(self.id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            let _ = killpg(self.id, Signal::SIGKILL);
            self.guardian.drop_group(self.id.as_raw());
        }
    }
}

/// The group a number names. 0 would be our own group and 1 the system's first process.
pub(crate) fn group_id(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().filter(|number| *number > 1).map(Pid::from_raw)
}

/// Whether the group has a process that still runs. Zombies do not count: where we, or a first process that
/// does not wait for them, adopted them, they would stay for ever.
pub(crate) fn lives(group: Pid) -> bool {
    killpg(group, None) != Err(Errno::ESRCH) && has_running_member(group)
}

#[cfg(target_os = "linux")]
fn has_running_member(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    processes.flatten().any(|entry| {
        let numeric = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let stat = if numeric { std::fs::read_to_string(entry.path().join("stat")) } else { return false };
        stat.is_ok_and(|stat| runs_in(&stat, group))
    })
}

#[cfg(not(target_os = "linux"))]
fn has_running_member(_group: Pid) -> bool {
    true
}

/// Reads `/proc/PID/stat`: `pid (command) state parent group …`; the command may hold anything.
#[cfg(target_os = "linux")]
fn runs_in(stat: &str, group: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_whitespace();
    let state = fields.next();
    let of = fields.nth(1).and_then(|field| field.parse::<i32>().ok());
    of == Some(group.as_raw()) && !matches!(state, None | Some("Z" | "X"))
}

/// Waits for members whose parents have ended and that were given to us: as the first process of a container
/// we are everybody's last parent.
fn reap_adopted(group: Pid) {
    for _ in 0..REAPED_MAX {
        match waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_command_named_to_confuse_does_not() {
        let group = Pid::from_raw(77);
        for (stat, expected) in [
            ("80 (sh) S 1 77 77 0", true),
            ("80 (a) Z 1 77 (b) R 1 77 77 0", true),
            ("80 (sh) Z 1 77 77 0", false),
            ("80 (sh) S 77 78 77 0", false),
            ("80", false),
            ("", false),
        ] {
            assert_eq!(runs_in(stat, group), expected, "{stat}");
        }
    }

    #[test]
    fn our_own_group_and_the_first_process_are_out_of_reach() {
        assert_eq!((group_id(0), group_id(1), group_id(u32::MAX)), (None, None, None));
        assert_eq!(group_id(2), Some(Pid::from_raw(2)));
    }
}
