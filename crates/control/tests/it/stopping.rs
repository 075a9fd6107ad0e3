//! Stopping, in order and for good: nothing is left behind, whoever ends.

use crate::world::{AMPLE, APP, PATIENCE, World, after, patiently, runs, serve, sh, until_gone, wanted};
use control::{State, What};
use manifest::{RestartWhen, StartWhen};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

#[tokio::test]
async fn dependants_and_callers_stop_before_what_they_lean_on() {
    let world = World::new();
    let mut web = wanted("web", serve(&[]));
    web.service.calls = vec!["cart".to_owned()];
    let services =
        vec![web, wanted("cart", after(serve(&[]), "db", StartWhen::Healthy)), wanted("db", serve(&[]))];
    world.supervisor.apply(services).await.unwrap();
    for name in ["web", "cart", "db"] {
        world.until_state(name, State::Healthy).await;
    }
    let ended = world.supervisor.shutdown(AMPLE).await;
    assert_eq!(ended.killed, [""; 0]);
    assert_eq!(world.journal()[3..], ["stop web", "stop cart", "stop db"]);
    assert!(world.supervisor.status().iter().all(|one| one.state == State::Stopped));
    assert!(world.supervisor.endpoints().borrow().values().all(Vec::is_empty));
    assert_eq!(world.supervisor.shutdown(AMPLE).await.killed, [""; 0], "a second one has nothing to do");
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_and_named() {
    let world = World::new();
    let mut deaf = serve(&["deaf"]);
    deaf.stop_grace = Duration::from_millis(200);
    world.supervisor.apply(vec![wanted("deaf", deaf), wanted("polite", serve(&[]))]).await.unwrap();
    world.until_state("deaf", State::Healthy).await;
    world.until_state("polite", State::Healthy).await;
    let ended = world.supervisor.shutdown(AMPLE).await;
    assert_eq!(ended.killed, ["deaf"]);
    assert!(world.lines().contains("deaf | asked to end"));
    assert_eq!(world.journal().last().map(String::as_str), Some("stop polite"));
}

#[tokio::test]
async fn the_deadline_counts_even_where_a_dependant_holds_things_up() {
    let world = World::new();
    let services = vec![
        wanted("db", serve(&["deaf"])),
        wanted("web", after(serve(&["deaf"]), "db", StartWhen::Healthy)),
    ];
    world.supervisor.apply(services).await.unwrap();
    world.until_state("web", State::Healthy).await;
    let mut killed = {
        // A second, more urgent request, as by a second Ctrl-C, shortens the first.
        let (first, second) = tokio::join!(
            world.supervisor.shutdown(Duration::from_mins(10)),
            world.supervisor.shutdown(Duration::from_millis(300)),
        );
        assert_eq!(first.killed, second.killed);
        first.killed
    };
    killed.sort();
    assert_eq!(killed, ["db", "web"]);
}

#[tokio::test]
async fn grandchildren_go_with_their_group() {
    let mut world = World::new();
    let command = sh("sleep 1000 & echo $! > child; wait");
    world.supervisor.apply(vec![wanted("family", command)]).await.unwrap();
    let child = world.read("child").await.trim().parse().unwrap();
    assert!(runs(child));
    world.supervisor.stop("family").await.unwrap();
    world.until("family", |what| matches!(what, What::Stopped { killed: false })).await;
    assert!(!runs(child), "gone before it counts as stopped");
}

#[tokio::test]
async fn what_a_dead_process_leaves_behind_is_ended_before_it_begins_anew() {
    let mut world = World::new();
    let mut command = sh("(trap '' TERM; while :; do sleep 1; done) & echo $! > child; exit 1");
    command.restart.when = RestartWhen::Never;
    command.stop_grace = Duration::from_millis(200);
    world.supervisor.apply(vec![wanted("careless", command)]).await.unwrap();
    world.until("careless", |what| *what == What::Done { success: false }).await;
    let child = world.read("child").await.trim().parse().unwrap();
    assert!(!runs(child));
}

#[tokio::test]
async fn a_pipe_held_by_an_escaped_process_does_not_hold_the_supervisor() {
    let mut world = World::new();
    let command = sh("setsid sleep 1000 & echo $! > escaped; exec sleep 1000");
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    let escaped: i32 = world.read("escaped").await.trim().parse().unwrap();
    world.until("web", |what| matches!(what, What::Started { .. })).await;
    let ended = tokio::time::timeout(PATIENCE, world.supervisor.shutdown(AMPLE)).await.unwrap();
    // Whoever leaves the group on purpose is beyond us; the test must not leave it behind.
    let _ = kill(Pid::from_raw(escaped), Signal::SIGKILL);
    assert_eq!(ended.killed, [""; 0]);
}

#[tokio::test]
async fn dropping_the_last_handle_stops_everything() {
    let world = World::new();
    world.supervisor.apply(vec![wanted("web", sh("echo $$ > pid; exec sleep 1000"))]).await.unwrap();
    let pid = world.read("pid").await.trim().parse().unwrap();
    let World { dir: _dir, supervisor, .. } = world;
    drop(supervisor);
    until_gone(pid).await;
}

#[test]
fn a_runtime_that_goes_down_takes_everything_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, pid) = runtime.block_on(async {
        let world = World::new();
        let command = sh("trap '' TERM; echo $$ > pid; while :; do sleep 1; done");
        world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
        let pid: i32 = world.read("pid").await.trim().parse().unwrap();
        (world, pid)
    });
    drop(runtime);
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    waiting.block_on(until_gone(pid));
    drop(world);
}

#[tokio::test]
async fn the_guardian_ends_everything_when_the_supervisor_is_killed() {
    let mut tombolo = Tombolo::start().await;
    tombolo.kill();
    for pid in tombolo.pids.clone() {
        until_gone(pid).await;
    }
}

#[tokio::test]
async fn a_killed_guardian_is_replaced_by_one_that_knows_as_much() {
    let mut tombolo = Tombolo::start().await;
    let first = patiently("a guardian", || tombolo.guardian()).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    patiently("another guardian", || tombolo.guardian().filter(|pid| *pid != first)).await;
    // It was told all it must know as soon as it was there; SIGTERM does not move it.
    tombolo.kill();
    for pid in tombolo.pids.clone() {
        until_gone(pid).await;
    }
}

#[tokio::test]
async fn variables_meant_for_the_supervisor_alone_are_not_passed_on() {
    let mut tombolo = Tombolo::start().await;
    assert_eq!(std::fs::read_to_string(tombolo.dir.path().join("private")).unwrap(), "none none\n");
    tombolo.kill();
}

/// A supervisor in a process of its own, with one service of two processes that are deaf to SIGTERM.
struct Tombolo {
    process: Child,
    pids: Vec<i32>,
    dir: TempDir,
}

impl Tombolo {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(APP);
        let process = command
            .arg("supervise")
            .arg(dir.path())
            .env("NOTIFY_SOCKET", "/ours")
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let file = dir.path().join("pids");
        let pids: Vec<i32> = patiently("the service runs", || {
            let text = std::fs::read_to_string(&file).ok()?;
            Some(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        })
        .await;
        assert!(pids.len() == 2 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
        Self { process, pids, dir }
    }

    /// SIGKILL: nothing in it can clean up.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Its child that was started with the word `guard`.
    fn guardian(&self) -> Option<i32> {
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let ours = parent == self.process.id() && line.ends_with(b"\0guard\0");
            ours.then(|| entry.file_name().to_str()?.parse().ok())?
        })
    }
}
