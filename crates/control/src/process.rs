//! Starting a process as the leader of its own group, keeping its lines, and saying in words how it ended.

use crate::descriptors;
use crate::group::Group;
use crate::guard::Guardian;
use crate::logs::{Stream, Tap};
use base::{Clock, Fault, Kind, Retry};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long after its end a process's output is still read: whoever left the group may hold the pipe open.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// Meant for Tombolo alone by whoever started it: a child that saw them would take over its sockets or speak
/// to the service manager in its name.
const PRIVATE_VARIABLES: [&str; 6] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What to start.
pub(crate) struct Launch<'a> {
    /// For people: "service `web`".
    pub(crate) who: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) dir: &'a Path,
    /// Over what we inherited ourselves. Never shown: values may be secrets.
    pub(crate) env: &'a BTreeMap<String, String>,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) group: Arc<Group>,
    pub(crate) pid: u32,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) killed_by_us: bool,
}

/// Starts a process. Fails where there is no such folder or program, or the system refuses; a fault that may
/// be over next time says so in `retry`.
pub(crate) fn spawn(launch: &Launch<'_>, guardian: &Guardian) -> Result<Spawned, Fault> {
    let Launch { who, argv, dir, env } = launch;
    let (name, arguments) = argv
        .split_first()
        .ok_or_else(|| Fault::new(Kind::Invalid, format!("{who} has an empty command line")))?;
    if !dir.is_dir() {
        return Err(Fault::new(
            Kind::NotFound,
            format!("`dir` of {who} is not a folder: `{}`", dir.display()),
        )
        .hint("it is taken relative to the folder of the manifest"));
    }
    let path = env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    let program = find_program(who, name, dir, &path)?;
    let mut command = Command::new(&program);
    command
        .arg0(name)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for variable in PRIVATE_VARIABLES {
        command.env_remove(variable);
    }
    command.envs(env.iter());
    let child = command.spawn().map_err(|error| refused(who, &program, &error))?;
    let pid = child.id().unwrap_or_default();
    descriptors::restore(pid);
    let group = Group::led_by(pid, guardian)
        .ok_or_else(|| Fault::new(Kind::Bug, format!("{who} was started as process {pid}")))?;
    Ok(Spawned { child, group: Arc::new(group), pid })
}

/// Keeps the lines of a process until it and all of its group have ended. What the leader leaves behind
/// gets `grace` to end by itself.
pub(crate) async fn attend(
    mut spawned: Spawned,
    tap: &Tap,
    streams: [Stream; 2],
    grace: Duration,
    clock: &Clock,
) -> Exit {
    let (out, err) = (spawned.child.stdout.take(), spawned.child.stderr.take());
    let drinking = async { tokio::join!(tap.drink(out, streams[0]), tap.drink(err, streams[1])) };
    tokio::pin!(drinking);
    let mut dry = false;
    let status = loop {
        tokio::select! {
            status = spawned.child.wait() => break status,
            _ = &mut drinking, if !dry => dry = true,
        }
    };
    let killed_by_us = spawned.group.was_killed();
    {
        let ending = spawned.group.end(grace, clock);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                () = &mut ending => break,
                _ = &mut drinking, if !dry => dry = true,
            }
        }
    }
    if !dry {
        tokio::select! {
            _ = &mut drinking => {}
            () = clock.sleep(DRAIN_PATIENCE) => {}
        }
    }
    Exit::of(status.ok(), killed_by_us)
}

impl Exit {
    fn of(status: Option<ExitStatus>, killed_by_us: bool) -> Self {
        Self {
            status: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            killed_by_us,
        }
    }

    /// Whether it ended with status 0.
    pub(crate) fn success(self) -> bool {
        self.status == Some(0)
    }

    /// In words: "exited with status 3", "killed by signal 9 (SIGKILL)".
    pub(crate) fn text(self) -> String {
        match (self.status, self.signal) {
            (Some(status), _) => format!("exited with status {status}"),
            (None, Some(signal)) => {
                let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
                format!("killed by signal {signal} ({name})")
            }
            (None, None) => "ended in an unknown way".to_owned(),
        }
    }

    /// What may lie behind it; `shell`: the process was a shell that runs a line.
    pub(crate) fn hint(self, shell: bool) -> Option<&'static str> {
        match (self.status, self.signal) {
            (_, Some(9)) if !self.killed_by_us => {
                Some("out of memory? the system ends the largest process with SIGKILL (see `dmesg`)")
            }
            (_, Some(11 | 7)) => {
                Some("it touched memory that is not its own: a bug in it or a library it uses")
            }
            (Some(127), _) if shell => Some("the shell found no such program: is it installed and in PATH?"),
            (Some(126), _) if shell => Some("the shell may not execute it: is it executable (`chmod +x`)?"),
            _ => None,
        }
    }
}

/// The file a program's name means: itself where it has a slash (relative to `dir`), otherwise the first
/// executable of that name in PATH.
fn find_program(who: &str, name: &str, dir: &Path, path: &OsString) -> Result<PathBuf, Fault> {
    if name.contains('/') {
        let file = dir.join(name);
        return match is_program(&file) {
            Some(true) => Ok(file),
            Some(false) => {
                Err(Fault::new(Kind::Refused, format!("`{}` of {who} is not executable", file.display()))
                    .hint(format!("make it executable: `chmod +x {}`", file.display())))
            }
            None => Err(Fault::new(
                Kind::NotFound,
                format!("{who} names program `{name}`, which does not exist"),
            )
            .hint(format!(
                "looked for `{}`; a path is taken relative to the service's `dir`, and a program that must \
                     first be compiled needs a `build`",
                file.display()
            ))),
        };
    }
    let folders: Vec<PathBuf> = std::env::split_paths(path).map(|folder| dir.join(folder)).collect();
    if let Some(file) =
        folders.iter().map(|folder| folder.join(name)).find(|file| is_program(file) == Some(true))
    {
        return Ok(file);
    }
    let beside = is_program(&dir.join(name)).is_some();
    let hint = if beside {
        format!("there is one in its `dir`: write `./{name}`")
    } else {
        format!("looked in PATH: {}; is it installed?", path.to_string_lossy())
    };
    Err(Fault::new(Kind::NotFound, format!("{who} names program `{name}`, which is not in PATH")).hint(hint))
}

/// Whether there is such a file, and whether anybody may execute it.
fn is_program(file: &Path) -> Option<bool> {
    let metadata = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file)?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}

fn refused(who: &str, program: &Path, error: &std::io::Error) -> Fault {
    let fault = |kind| Fault::new(kind, format!("cannot start `{}` of {who}: {error}", program.display()));
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENOEXEC) => fault(Kind::Invalid)
            .hint("it is neither a program of this machine nor a script that begins with `#!`"),
        Some(nix::errno::Errno::ENOENT) => {
            fault(Kind::NotFound).hint("does the interpreter exist that its first line (`#!`) names?")
        }
        Some(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => fault(Kind::Refused),
        // Too many processes, no memory, the file is just being written: it may be over next time.
        _ => fault(Kind::Io).retry(Retry::Safe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[expect(clippy::needless_pass_by_value, reason = "a call reads as a sentence")]
    #[track_caller]
    fn check(status: i32, killed_by_us: bool, expected: Expect) {
        let exit = Exit::of(Some(ExitStatus::from_raw(status)), killed_by_us);
        let hint = exit.hint(true).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        expected.assert_eq(&(exit.text() + &hint));
    }

    #[test]
    fn an_end_is_told_in_words_with_what_may_lie_behind_it() {
        check(0, false, expect!["exited with status 0"]);
        check(3 << 8, false, expect!["exited with status 3"]);
        check(15, false, expect!["killed by signal 15 (SIGTERM)"]);
        check(9, true, expect!["killed by signal 9 (SIGKILL)"]);
        check(
            9,
            false,
            expect![[r"
            killed by signal 9 (SIGKILL)
            hint: out of memory? the system ends the largest process with SIGKILL (see `dmesg`)"]],
        );
        check(
            11,
            false,
            expect![[r"
            killed by signal 11 (SIGSEGV)
            hint: it touched memory that is not its own: a bug in it or a library it uses"]],
        );
        check(
            127 << 8,
            false,
            expect![[r"
            exited with status 127
            hint: the shell found no such program: is it installed and in PATH?"]],
        );
        check(40, false, expect!["killed by signal 40 (unknown)"]);
    }

    #[test]
    fn a_missing_program_is_named_with_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("script"), "echo hi").unwrap();
        let told = |name: &str| {
            let fault =
                find_program("service `web`", name, dir.path(), &OsString::from("/nowhere:bin")).unwrap_err();
            let text = format!("{fault}\nhint: {}", fault.hint.as_deref().unwrap_or_default());
            text.replace(&dir.path().display().to_string(), "DIR")
        };
        expect![[r"
            service `web` names program `noed`, which is not in PATH
            hint: looked in PATH: /nowhere:bin; is it installed?"]]
        .assert_eq(&told("noed"));
        expect![[r"
            service `web` names program `./noed`, which does not exist
            hint: looked for `DIR/./noed`; a path is taken relative to the service's `dir`, and a program that must first be compiled needs a `build`"]]
        .assert_eq(&told("./noed"));
        expect![[r"
            `DIR/./script` of service `web` is not executable
            hint: make it executable: `chmod +x DIR/./script`"]]
        .assert_eq(&told("./script"));
        expect![[r"
            service `web` names program `script`, which is not in PATH
            hint: there is one in its `dir`: write `./script`"]]
        .assert_eq(&told("script"));
    }
}
