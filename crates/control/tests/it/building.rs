//! Builds before starts and restarts.

use crate::world::{AMPLE, PATIENCE, World, pids, serve, sh, until_gone, wanted};
use control::{State, Stream, What};
use manifest::Command;

fn built(mut command: Command, line: &str) -> Command {
    command.build = Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
    command
}

#[tokio::test]
async fn services_that_share_a_build_build_once_and_in_start_order() {
    let mut world = World::new();
    let shared = "echo built >> shared; echo compiling";
    // A build is the same when its command, folder and variables are; those given to the service are not among
    // its variables.
    let same = |name: &str| {
        let mut wanted = wanted(name, built(serve(&[]), shared));
        let manifest::ServiceSource::Run(command) = &mut wanted.service.source else {
            unreachable!("made so")
        };
        command.env.clear();
        wanted.env.insert("NAME".to_owned(), name.to_owned());
        wanted
    };
    let services = vec![
        same("web"),
        same("cart"),
        wanted("mail", built(serve(&[]), "test -f shared && echo own >> own")),
    ];
    world.supervisor.apply(services).await.unwrap();
    for name in ["web", "cart", "mail"] {
        world.until_state(name, State::Healthy).await;
    }
    assert_eq!(
        (world.read("shared").await, world.read("own").await),
        ("built\n".to_owned(), "own\n".to_owned())
    );
    let lines = world.supervisor.logs(Some("web"), 100);
    let line = lines.iter().find(|line| line.stream == Stream::Build).unwrap();
    assert_eq!((line.text.as_str(), line.instance), ("compiling", None));
    world.until("mail", |what| matches!(what, What::BuildFinished { ok: true, .. })).await;
    let started: Vec<Vec<String>> = world
        .seen()
        .iter()
        .filter_map(|event| match &event.what {
            What::BuildStarted { services, .. } => Some(services.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(started, [vec!["web".to_owned(), "cart".to_owned()], vec!["mail".to_owned()]]);
}

#[tokio::test]
async fn a_failed_build_is_shown_and_others_go_on() {
    let mut world = World::new();
    let services = vec![
        wanted("web", built(serve(&[]), "echo error: no such thing; exit 7")),
        wanted("cart", serve(&[])),
    ];
    world.supervisor.apply(services).await.unwrap();
    world.until_healthy("cart").await;
    let status = world.until_state("web", State::BuildFailed).await;
    assert_eq!(status.trouble.unwrap().message, "the build failed: exited with status 7");
    assert_eq!((status.last_lines, status.replicas.len()), (vec!["error: no such thing".to_owned()], 0));
}

#[tokio::test]
async fn a_change_is_built_before_the_old_one_goes() {
    let mut world = World::new();
    let command = built(serve(&[]), "test ! -f broken && echo built >> builds");
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    world.until_healthy("web").await;
    let first = world.until_state("web", State::Healthy).await;

    std::fs::write(world.dir.path().join("broken"), "").unwrap();
    world.supervisor.restart_with_build("web").await.unwrap();
    world.until("web", |what| matches!(what, What::BuildFinished { ok: false, .. })).await;
    let status = world.until_status("web", |status| status.state == State::BuildFailed).await;
    assert_eq!((pids(&status), world.endpoints("web").len()), (pids(&first), 1));

    std::fs::remove_file(world.dir.path().join("broken")).unwrap();
    world.supervisor.restart_with_build("web").await.unwrap();
    world
        .until_status("web", |one| one.state == State::Healthy && !one.rolling && pids(one) != pids(&first))
        .await;
    assert_eq!(world.read("builds").await, "built\nbuilt\n");
    // A restart alone does not build again what is built.
    world.supervisor.restart("web").await.unwrap();
    world.until_healthy("web").await;
    world.until_state("web", State::Healthy).await;
    assert_eq!(world.read("builds").await, "built\nbuilt\n");
}

#[tokio::test]
async fn a_build_that_nobody_wants_any_more_is_ended() {
    let mut world = World::new();
    let command = built(sh("true"), "echo $$ > building; sleep 1000; true");
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    let pid = world.read("building").await.trim().parse().unwrap();
    world.until_state("web", State::Building).await;
    world.supervisor.stop("web").await.unwrap();
    world.until("web", |what| matches!(what, What::BuildFinished { ok: false, .. })).await;
    until_gone(pid).await;
    // And a shutdown does not wait for it either.
    std::fs::remove_file(world.dir.path().join("building")).unwrap();
    world.supervisor.start_service("web").await.unwrap();
    let pid = world.read("building").await.trim().parse().unwrap();
    tokio::time::timeout(PATIENCE, world.supervisor.shutdown(AMPLE)).await.unwrap();
    until_gone(pid).await;
}
