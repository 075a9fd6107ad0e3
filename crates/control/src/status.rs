//! What a caller sees of the services: how each is doing, and what just happened.

use crate::logs::micros;
use base::{Fault, UnixTime};
use serde::Serialize;
use std::fmt;

/// How a service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// In one word: of its instances the one that needs the most attention speaks for all.
    pub state: State,
    /// Whether instances of the last definition are still being replaced by those of the new one.
    pub rolling: bool,
    /// Names of the services it waits for.
    pub waiting_for: Vec<String>,
    /// Its instances, by number.
    pub replicas: Vec<InstanceStatus>,
    /// What is wrong with the service as a whole: its build failed, a file of variables is missing.
    pub trouble: Option<Trouble>,
    /// The last lines of a failed build.
    pub last_lines: Vec<String>,
}

/// How one instance is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    /// Its number, from 1. During a rollout two instances may have the same.
    pub instance: u32,
    /// How far it is.
    pub state: State,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// The port it was given.
    pub port: Option<u16>,
    /// Why its last check failed; `None` if it passed or there was none.
    pub health: Option<String>,
    /// How often it began anew.
    pub restarts: u32,
    /// When its process started; as microseconds since 1970 for machines.
    #[serde(rename = "started_at_us", serialize_with = "micros_if_any")]
    pub started_at: Option<UnixTime>,
    /// How its last process ended, or why there is none.
    pub trouble: Option<Trouble>,
    /// The last lines of the process that ended.
    pub last_lines: Vec<String>,
}

/// How far an instance, or a service as a whole, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    // From what needs the least attention to what needs the most: a service's state is the greatest of its
    // instances' states.
    /// It ended by itself, as it should.
    Done,
    /// It can serve.
    Healthy,
    /// It was asked to end and has ended.
    Stopped,
    /// It was asked to end.
    Stopping,
    /// It waits for services it depends on.
    Waiting,
    /// Its build runs, or waits for another.
    Building,
    /// Its process runs and has not been healthy yet.
    Starting,
    /// It ended and begins anew after a pause.
    Backoff,
    /// Its process runs, but its checks fail.
    Unhealthy,
    /// Its build failed.
    BuildFailed,
    /// It could not be started, or ended with a failure and shall not begin anew.
    Failed,
    /// It ended too often and is left ended.
    CrashLooped,
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// One sentence in lower case, no final dot.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When; as microseconds since 1970 for machines.
    #[serde(rename = "at_us", serialize_with = "micros")]
    pub at: UnixTime,
    /// To which service; empty for the supervisor itself.
    pub service: String,
    /// To which of its instances; `None` for the service as a whole.
    pub instance: Option<u32>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A build began.
    BuildStarted {
        /// Its command line.
        command: Vec<String>,
        /// All services it is for.
        services: Vec<String>,
    },
    /// A build ended.
    BuildFinished {
        /// Whether it succeeded.
        ok: bool,
        /// How long it took.
        took_ms: u64,
        /// All services it was for.
        services: Vec<String>,
        /// Why it failed.
        trouble: Option<Trouble>,
        /// Its last lines, if it failed.
        last_lines: Vec<String>,
    },
    /// A process was started.
    Started {
        /// Its id.
        pid: u32,
        /// The port it was given.
        port: u16,
    },
    /// An instance can serve.
    Healthy {
        /// How long it took, from its process's start or from when its checks failed.
        took_ms: u64,
        /// The port it serves at.
        port: u16,
    },
    /// An instance's checks fail; its process runs on.
    Unhealthy(Trouble),
    /// A process ended.
    Exited {
        /// How, and what may lie behind it.
        #[serde(flatten)]
        trouble: Trouble,
        /// Whether we had asked it to.
        asked: bool,
    },
    /// An instance begins anew after a pause.
    Restarting {
        /// How long the pause is.
        after_ms: u64,
        /// How many restarts in a row this makes.
        restarts: u32,
    },
    /// An instance ended too often and is left ended.
    CrashLooped {
        /// How it ended last.
        #[serde(flatten)]
        trouble: Trouble,
        /// After so many restarts in a row.
        restarts: u32,
        /// The last lines it wrote.
        last_lines: Vec<String>,
    },
    /// It can't be started (yet): the message says what is in the way.
    Failed(Trouble),
    /// An instance ended by itself and is left ended, as the manifest says.
    Done {
        /// Whether it ended with status 0.
        success: bool,
    },
    /// An instance was asked to end.
    Stopping,
    /// An instance is gone.
    Stopped {
        /// It had to be killed.
        killed: bool,
    },
    /// Not even SIGKILL ended a process: it is stuck in the kernel.
    Stuck {
        /// Its id.
        pid: Option<u32>,
    },
    /// A part of the supervisor itself failed.
    Trouble(Trouble),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Healthy => "healthy",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Starting => "starting",
            Self::Backoff => "restarting",
            Self::Unhealthy => "unhealthy",
            Self::BuildFailed => "build failed",
            Self::Failed => "failed",
            Self::CrashLooped => "crash-looping",
        })
    }
}

impl From<&Fault> for Trouble {
    fn from(fault: &Fault) -> Self {
        Self { message: fault.to_string(), hint: fault.hint.clone() }
    }
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn micros_if_any<S: serde::Serializer>(at: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_some(&at.micros()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::time::Duration;

    #[test]
    fn events_are_flat_for_machines() {
        let trouble = Trouble { message: "exited with status 3".to_owned(), hint: None };
        let what = What::CrashLooped { trouble, restarts: 5, last_lines: vec!["boom".to_owned()] };
        let at = UnixTime(Duration::from_micros(7));
        let event = Event { at, service: "web".to_owned(), instance: Some(1), what };
        expect![[r#"{"at_us":7,"service":"web","instance":1,"event":"crash_looped","message":"exited with status 3","hint":null,"restarts":5,"last_lines":["boom"]}"#]]
            .assert_eq(&serde_json::to_string(&event).unwrap());
        let event = Event { instance: None, what: What::Stopping, ..event };
        expect![[r#"{"at_us":7,"service":"web","instance":null,"event":"stopping"}"#]]
            .assert_eq(&serde_json::to_string(&event).unwrap());
    }

    #[test]
    fn a_state_is_shown_in_a_column() {
        assert_eq!(format!("{:<14}|", State::CrashLooped), "crash-looping |");
    }
}
