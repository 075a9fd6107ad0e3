//! Nothing is left behind even when Tombolo itself is killed: the guardian, a process of its own that knows
//! every process group and ends them when its standard input ends. Both sides of that pipe are here.
//!
//! The one gap: a process started in the same instant in which Tombolo is killed may not be known yet.

use crate::group;
use base::{Fault, Kind, OnError, Scope};
use nix::sys::signal::{SigSet, Signal, killpg};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// From SIGTERM to SIGKILL once Tombolo is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks whether the groups are gone.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Longest line of the pipe: `drop` and a number.
const LINE_BYTES_MAX: u64 = 32;

/// Most groups known at once: what is said of them fits the pipe (64 KiB on Linux) before anybody reads it.
const GROUPS_MAX: usize = 1 << 12;

/// How long an idle guardian may take to end.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What the guardian process executes. Reads `add GROUP` and `drop GROUP` lines from standard input; at its
/// end, asks all groups still known to end (SIGTERM), waits up to two seconds and kills what is left. Deaf
/// to the signals that end Tombolo.
///
/// To be called before the process starts any other thread: the signals are blocked for this one and those
/// it starts.
pub fn run() -> Result<(), Fault> {
    let mut deaf = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        deaf.add(signal);
    }
    deaf.thread_block().map_err(|error| Fault::new(Kind::Io, "cannot block signals").because(error))?;
    let mut known = listen(std::io::stdin().lock());
    signal_all(&known, Signal::SIGTERM);
    signal_all(&known, Signal::SIGCONT);
    let deadline = Instant::now() + GRACE;
    while !known.is_empty() && Instant::now() < deadline {
        std::thread::sleep(LOOK_PAUSE);
        known.retain(|number| group::group_id(*number).is_some_and(group::lives));
    }
    signal_all(&known, Signal::SIGKILL);
    Ok(())
}

/// The groups known when the input ends or can't be read any more.
fn listen(input: impl Read) -> BTreeSet<u32> {
    let mut input = BufReader::new(input);
    let mut known = BTreeSet::new();
    let mut line = String::new();
    loop {
        line.clear();
        match input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return known,
        }
        let number = |rest: &str| rest.trim_end().parse().ok().filter(|n| group::group_id(*n).is_some());
        if let Some(number) = line.strip_prefix("add ").and_then(number) {
            if known.len() < GROUPS_MAX {
                known.insert(number);
            }
        } else if let Some(number) = line.strip_prefix("drop ").and_then(number) {
            known.remove(&number);
        }
    }
}

fn signal_all(groups: &BTreeSet<u32>, signal: Signal) {
    for group in groups.iter().filter_map(|number| group::group_id(*number)) {
        let _ = killpg(group, signal);
    }
}

/// Our side: tells the guardian process of every group, and starts another one when it is gone. Clones are
/// the same guardian.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guardian(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    state: Mutex<Side>,
    lost: Notify,
}

#[derive(Debug, Default)]
struct Side {
    groups: BTreeSet<i32>,
    /// The guardian's standard input, never blocking: a guardian too slow to read is replaced.
    pipe: Option<File>,
    /// The pipe took no more. It stays open until its guardian is gone: at the end of its input the guardian
    /// would end every group it knows.
    broken: bool,
}

impl Guardian {
    /// A guardian run by this command line as a task of `scope`.
    pub(crate) fn start(command: Vec<String>, scope: &Scope) -> Self {
        let guardian = Self::default();
        let (task, of) = (guardian.clone(), scope.clone());
        scope.spawn("guardian", OnError::Restart, move || task.clone().keep(command.clone(), of.clone()));
        guardian
    }

    /// Tells of a new group.
    pub(crate) fn add(&self, group: i32) {
        let mut side = self.lock();
        side.groups.insert(group);
        self.tell(&mut side, "add", group);
    }

    /// Tells that a group is gone.
    pub(crate) fn drop_group(&self, group: i32) {
        let mut side = self.lock();
        side.groups.remove(&group);
        self.tell(&mut side, "drop", group);
    }

    fn tell(&self, side: &mut Side, word: &str, group: i32) {
        let Some(pipe) = side.pipe.as_mut().filter(|_| !side.broken) else {
            return;
        };
        // A line is far shorter than PIPE_BUF: it goes in whole or not at all (POSIX write).
        if pipe.write_all(format!("{word} {group}\n").as_bytes()).is_err() {
            side.broken = true;
            self.0.lost.notify_one();
        }
    }

    /// Runs one guardian process until it ends, which is a fault, or the scope stops.
    async fn keep(self, command: Vec<String>, scope: Scope) -> Result<(), Fault> {
        // What it must know is in the pipe before it is born: there is no moment in which it knows less.
        let (sender, receiver) = tokio::net::unix::pipe::pipe()?;
        let receiver = receiver.into_blocking_fd()?;
        {
            let mut side = self.lock();
            side.pipe = Some(File::from(sender.into_nonblocking_fd()?));
            side.broken = false;
            for group in side.groups.clone() {
                self.tell(&mut side, "add", group);
            }
        }
        let mut child = spawn(&command, receiver.into()).inspect_err(|_| self.lock().pipe = None)?;
        let ended = |text: String| Fault::new(Kind::Unavailable, format!("the guardian process {text}"));
        loop {
            tokio::select! {
                status = child.wait() => {
                    self.lock().pipe = None;
                    let how = status.map_or_else(|error| error.to_string(), |status| format!("ended: {status}"));
                    return Err(ended(how));
                }
                () = self.0.lost.notified() => {
                    // A word about the one before it may come late.
                    if self.lock().broken {
                        let _ = child.start_kill();
                        let _ = child.wait().await;
                        self.lock().pipe = None;
                        return Err(ended("does not listen any more".to_owned()));
                    }
                }
                () = scope.stopping() => {
                    self.lock().pipe = None;
                    let _ = tokio::time::timeout(END_PATIENCE, child.wait()).await;
                    return Ok(());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Side> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(command: &[String], pipe: Stdio) -> Result<Child, Fault> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Fault::new(Kind::Invalid, "the guardian's command line is empty"))?;
    // A group of its own: Ctrl-C in the terminal is meant for Tombolo, not for its guardian.
    Command::new(program)
        .args(arguments)
        .stdin(pipe)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| {
            Fault::new(Kind::Io, format!("cannot start the guardian `{program}`")).because(error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guardian_knows_what_was_added_and_not_dropped() {
        let known = |text: &str| listen(text.as_bytes()).into_iter().collect::<Vec<_>>();
        assert_eq!(known("add 12\nadd 13\ndrop 12\nadd 14"), [13, 14]);
        assert_eq!(known("add 0\nadd 1\nadd -5\nadd x\nhello\nadd 99999999999\n"), [0; 0]);
        assert_eq!(known(&("x".repeat(1000) + "\nadd 5\n")), [5]);
    }
}
