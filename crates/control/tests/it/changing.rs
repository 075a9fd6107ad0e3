//! What a newer manifest and orders by hand do to services that run.

use crate::world::{AMPLE, World, patiently, pids, serve, sh, wanted};
use control::{State, What};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

#[tokio::test]
async fn only_what_changed_is_restarted() {
    let world = World::new();
    let greet = |word: &str| {
        let mut command = serve(&[]);
        command.env.insert("GREETING".to_owned(), word.to_owned());
        wanted("web", command)
    };
    let cart = || wanted("cart", serve(&[]));
    world.supervisor.apply(vec![greet("hello"), cart(), wanted("mail", serve(&[]))]).await.unwrap();
    for name in ["web", "cart", "mail"] {
        world.until_state(name, State::Healthy).await;
    }
    let pid = |name: &str| pids(world.supervisor.status().iter().find(|one| one.name == name).unwrap());
    let (web, same) = (pid("web"), pid("cart"));

    // Where it stands in the file, its routes and how it is watched are nothing its process would notice.
    let mut moved = cart();
    moved.service.span = 70..80;
    if let manifest::ServiceSource::Run(command) = &mut moved.service.source {
        command.stop_grace = Duration::from_secs(1);
    }
    let applied =
        world.supervisor.apply(vec![greet("good day"), moved, wanted("new", serve(&[]))]).await.unwrap();
    assert_eq!(applied.started, ["new"]);
    assert_eq!(applied.restarted, ["web"]);
    assert_eq!(applied.adjusted, ["cart"]);
    assert_eq!(applied.stopped, ["mail"]);
    world
        .until_status("web", |status| {
            pids(status) != web && status.state == State::Healthy && !status.rolling
        })
        .await;
    world.until_state("new", State::Healthy).await;
    patiently("mail is gone", || (world.supervisor.status().len() == 3).then_some(())).await;
    assert_eq!(pid("cart"), same);
    let lines = world.supervisor.logs(Some("web"), 10);
    assert!(lines.iter().any(|line| line.text.ends_with("greeting good day")), "{lines:?}");
    assert_eq!(world.supervisor.logs(Some("mail"), 10), []);
}

#[tokio::test]
async fn replicas_roll_without_a_gap_and_shrink_from_the_end() {
    let mut world = World::new();
    let replicas = |count: u32, word: &str| {
        let mut command = serve(&["delay=50"]);
        command.replicas = count;
        command.env.insert("GREETING".to_owned(), word.to_owned());
        vec![wanted("web", command)]
    };
    world.supervisor.apply(replicas(3, "a")).await.unwrap();
    let old = world
        .until_status("web", |status| world.endpoints("web").len() == 3 && status.replicas.len() == 3)
        .await;
    assert_eq!(world.endpoints("web").iter().collect::<BTreeSet<_>>().len(), 3, "a port each");

    let mut endpoints = world.supervisor.endpoints();
    let fewest = tokio::spawn(async move {
        let mut fewest = usize::MAX;
        while endpoints.changed().await.is_ok() {
            fewest = fewest.min(endpoints.borrow_and_update().get("web").map_or(0, Vec::len));
            if fewest < 3 {
                break;
            }
        }
        fewest
    });
    world.supervisor.apply(replicas(3, "b")).await.unwrap();
    let new = world
        .until_status("web", |status| {
            !status.rolling
                && status.state == State::Healthy
                && status.replicas.len() == 3
                && pids(status).iter().all(|pid| !pids(&old).contains(pid))
        })
        .await;
    assert!(!fewest.is_finished(), "never fewer than three served");
    fewest.abort();

    let applied = world.supervisor.apply(replicas(1, "b")).await.unwrap();
    assert_eq!((applied.restarted.len(), applied.adjusted), (0, vec!["web".to_owned()]));
    world.until("web", |what| matches!(what, What::Stopped { .. })).await;
    let small = world.until_status("web", |status| status.replicas.len() == 1).await;
    assert_eq!(pids(&small), pids(&new)[..1]);
}

#[tokio::test]
async fn a_broken_change_leaves_the_old_one_serving() {
    let mut world = World::new();
    world.supervisor.apply(vec![wanted("web", serve(&[]))]).await.unwrap();
    let good = world.until_state("web", State::Healthy).await;
    world.supervisor.apply(vec![wanted("web", sh("exit 1"))]).await.unwrap();
    world.until("web", |what| matches!(what, What::CrashLooped { .. })).await;
    let status = world.until_status("web", |status| status.state == State::CrashLooped).await;
    assert!(status.rolling);
    assert_eq!(pids(&status), pids(&good));
    assert_eq!(world.endpoints("web").len(), 1);
    // A file of variables that is not there changes nothing either.
    let mut unreadable = serve(&["delay=1"]);
    unreadable.env_file = vec!["absent.env".into()];
    world.supervisor.apply(vec![wanted("web", unreadable)]).await.unwrap();
    world.until("web", |what| matches!(what, What::Failed(_))).await;
    assert_eq!(world.endpoints("web").len(), 1);
    // And the way back is open.
    world.supervisor.apply(vec![wanted("web", serve(&["delay=2"]))]).await.unwrap();
    let status = world.until_state("web", State::Healthy).await;
    assert_ne!(pids(&status), pids(&good));
}

#[tokio::test]
async fn a_fixed_port_is_left_before_it_is_taken_again() {
    let mut world = World::new();
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = serve(&[]);
    command.port = Some(port);
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    world.until_healthy("web").await;
    world.supervisor.restart("web").await.unwrap();
    world.until_healthy("web").await;
    assert_eq!(world.journal(), ["start web", "stop web", "start web"]);
    assert_eq!(world.endpoints("web"), [([127, 0, 0, 1], port).into()]);
}

#[tokio::test]
async fn an_assigned_port_stays_when_a_process_begins_anew() {
    let mut world = World::new();
    world.supervisor.apply(vec![wanted("web", serve(&[]))]).await.unwrap();
    world.until_healthy("web").await;
    let status = world.until_state("web", State::Healthy).await;
    let (pid, port) = (pids(&status)[0], status.replicas[0].port);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    world.until_healthy("web").await;
    let again =
        world.until_status("web", |status| status.state == State::Healthy && pids(status) != [pid]).await;
    assert_eq!((again.replicas[0].port, again.replicas[0].restarts), (port, 1));
}

#[tokio::test]
async fn by_hand_a_service_is_stopped_started_and_restarted() {
    let mut world = World::new();
    let both = || vec![wanted("web", serve(&[])), wanted("cart", serve(&[]))];
    world.supervisor.apply(both()).await.unwrap();
    world.until_state("web", State::Healthy).await;
    world.until_state("cart", State::Healthy).await;
    world.supervisor.stop("web").await.unwrap();
    world.until("web", |what| matches!(what, What::Stopped { killed: false })).await;
    world.until_state("web", State::Stopped).await;
    // A manifest that says nothing new does not start it.
    let applied = world.supervisor.apply(both()).await.unwrap();
    assert_eq!(applied.unchanged, ["web", "cart"]);
    world.until_state("web", State::Stopped).await;
    world.supervisor.start_service("web").await.unwrap();
    let first = world.until_state("web", State::Healthy).await;
    world.supervisor.start_service("web").await.unwrap();
    world.supervisor.restart("web").await.unwrap();
    world
        .until_status("web", |one| one.state == State::Healthy && !one.rolling && pids(one) != pids(&first))
        .await;
    let fault = world.supervisor.restart("carr").await.unwrap_err();
    assert_eq!(fault.to_string(), "there is no service `carr` that is run here");
    assert_eq!(fault.hint.as_deref(), Some("did you mean `cart`?"));
    world.supervisor.shutdown(AMPLE).await;
    let fault = world.supervisor.stop("web").await.unwrap_err();
    assert_eq!(fault.to_string(), "the supervisor has been shut down");
}

#[tokio::test]
async fn a_crash_loop_is_left_by_a_restart() {
    let mut world = World::new();
    world.supervisor.apply(vec![wanted("web", sh("test -f fixed && exec sleep 1000"))]).await.unwrap();
    world.until("web", |what| matches!(what, What::CrashLooped { .. })).await;
    std::fs::write(world.dir.path().join("fixed"), "").unwrap();
    world.supervisor.start_service("web").await.unwrap();
    let status = world.until_state("web", State::Starting).await;
    assert_eq!(status.replicas[0].restarts, 0);
}
