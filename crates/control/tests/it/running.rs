//! Starting, health and ending of services that nobody changes.

use crate::world::{APP, World, after, patiently, pids, serve, sh, wanted};
use control::{Heard, State, What};
use manifest::{Check, Health, RestartWhen, StartWhen};
use std::net::TcpListener;
use std::time::Duration;

fn health(check: Check) -> Health {
    let millis = Duration::from_millis;
    Health { interval: millis(50), failures: 2, start_period: millis(200), ..Health::of(check) }
}

#[tokio::test]
async fn each_starts_when_what_it_depends_on_is_healthy() {
    let mut world = World::new();
    let services = vec![
        wanted("web", after(serve(&[]), "cart", StartWhen::Healthy)),
        wanted("cart", after(serve(&["delay=200"]), "db", StartWhen::Healthy)),
        wanted("db", serve(&["delay=200"])),
    ];
    let applied = world.supervisor.apply(services).await.unwrap();
    assert_eq!(applied.started, ["db", "cart", "web"]);
    let waiting = world.until_state("web", State::Waiting).await;
    assert_eq!(waiting.waiting_for, ["cart"]);
    world.until_healthy("web").await;
    let milestones: Vec<String> = world
        .seen()
        .iter()
        .filter_map(|event| match event.what {
            What::Started { .. } => Some(format!("started {}", event.service)),
            What::Healthy { .. } => Some(format!("healthy {}", event.service)),
            _ => None,
        })
        .collect();
    assert_eq!(
        milestones,
        ["started db", "healthy db", "started cart", "healthy cart", "started web", "healthy web"]
    );
    assert_eq!(world.journal(), ["start db", "start cart", "start web"]);
}

#[tokio::test]
async fn started_is_enough_where_the_manifest_says_so() {
    let mut world = World::new();
    let services = vec![
        wanted("db", sh("sleep 1000")),
        wanted("web", after(serve(&[]), "db", StartWhen::Started)),
        wanted("mail", after(serve(&[]), "somewhere-else", StartWhen::Healthy)),
    ];
    world.supervisor.apply(services).await.unwrap();
    world.until_healthy("web").await;
    world.until_state("mail", State::Healthy).await;
    world.until_state("db", State::Starting).await;
}

#[tokio::test]
async fn a_job_that_is_done_lets_others_start() {
    let mut world = World::new();
    let mut migrate = sh("sleep 0.1; echo migrated > schema");
    migrate.restart.when = RestartWhen::OnFailure;
    let services = vec![
        wanted("migrate", migrate),
        wanted("web", after(sh("cat schema; sleep 1000"), "migrate", StartWhen::Healthy)),
    ];
    world.supervisor.apply(services).await.unwrap();
    world.until("migrate", |what| *what == What::Done { success: true }).await;
    world.until_state("migrate", State::Done).await;
    patiently("web reads what migrate wrote", || {
        world.supervisor.logs(Some("web"), 1).first().filter(|line| line.text == "migrated").cloned()
    })
    .await;
}

#[tokio::test]
async fn only_the_healthy_are_endpoints() {
    let mut world = World::new();
    let sick = world.dir.path().join("sick").display().to_string();
    let mut command = serve(&[&format!("sick={sick}")]);
    command.health = Some(health(Check::Http("/healthz".to_owned())));
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    world.until_healthy("web").await;
    let status = world.until_state("web", State::Healthy).await;
    let port = status.replicas[0].port.unwrap();
    assert_eq!(world.endpoints("web"), [([127, 0, 0, 1], port).into()]);

    std::fs::write(&sick, "").unwrap();
    let event = world.until("web", |what| matches!(what, What::Unhealthy(_))).await;
    let What::Unhealthy(trouble) = event.what else { unreachable!("awaited") };
    assert_eq!((trouble.message.as_str(), trouble.hint), ("GET /healthz answered 503", None));
    let status = world.until_state("web", State::Unhealthy).await;
    assert_eq!(status.replicas[0].health.as_deref(), Some("GET /healthz answered 503"));
    assert_eq!(world.endpoints("web"), []);

    std::fs::remove_file(&sick).unwrap();
    world.until_healthy("web").await;
    let again = world.until_state("web", State::Healthy).await;
    assert_eq!(pids(&again), pids(&status), "it was not restarted for it");
    patiently("it is an endpoint again", || (world.endpoints("web").len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_command_can_be_asked_for_health() {
    let world = World::new();
    let mut command = sh("sleep 0.2; touch ready; sleep 1000");
    command.health =
        Some(health(Check::Command(["/bin/sh", "-c", "test -f ready"].map(str::to_owned).to_vec())));
    world.supervisor.apply(vec![wanted("worker", command)]).await.unwrap();
    world.until_state("worker", State::Healthy).await;
}

#[tokio::test]
async fn a_service_that_never_opens_its_port_is_told_of_the_variable() {
    let mut world = World::new();
    let mut command = sh("sleep 1000");
    command.health = Some(health(Check::Tcp));
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    let event = world.until("web", |what| matches!(what, What::Unhealthy(_))).await;
    let What::Unhealthy(trouble) = event.what else { unreachable!("awaited") };
    let port = world.until_state("web", State::Unhealthy).await.replicas[0].port.unwrap();
    assert_eq!(trouble.message, format!("nothing listens on 127.0.0.1:{port}"));
    assert!(trouble.hint.unwrap().contains(&format!("the variable `PORT` (here {port})")));
}

#[tokio::test]
async fn a_crash_loop_ends_with_the_cause_and_the_last_lines() {
    let mut world = World::new();
    let services = vec![
        wanted("bad", sh("for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $n; done; exit 3")),
        wanted("good", serve(&[])),
    ];
    world.supervisor.apply(services).await.unwrap();
    let event = world.until("bad", |what| matches!(what, What::CrashLooped { .. })).await;
    let What::CrashLooped { trouble, restarts, last_lines } = event.what else { unreachable!("awaited") };
    assert_eq!((trouble.message.as_str(), restarts), ("exited with status 3", 2));
    let expected: Vec<String> = (3..=12).map(|n| format!("line {n}")).collect();
    assert_eq!(last_lines, expected);
    let pauses: Vec<u64> = world
        .seen()
        .iter()
        .filter_map(
            |event| if let What::Restarting { after_ms, .. } = event.what { Some(after_ms) } else { None },
        )
        .collect();
    assert_eq!(pauses, [20, 40]);
    let status = world.until_state("bad", State::CrashLooped).await;
    assert_eq!((status.replicas[0].restarts, &status.replicas[0].last_lines), (2, &expected));
    world.until_state("good", State::Healthy).await;
}

#[tokio::test]
async fn being_killed_from_outside_asks_about_memory() {
    let mut world = World::new();
    world.supervisor.apply(vec![wanted("big", sh("kill -9 $$"))]).await.unwrap();
    let event = world.until("big", |what| matches!(what, What::Exited { .. })).await;
    let What::Exited { trouble, asked } = event.what else { unreachable!("awaited") };
    assert_eq!((trouble.message.as_str(), asked), ("killed by signal 9 (SIGKILL)", false));
    assert!(trouble.hint.unwrap().starts_with("out of memory?"));
}

#[tokio::test]
async fn a_missing_program_fails_once_and_alone() {
    let mut world = World::new();
    let mut missing = sh("");
    missing.run = vec!["no-such-program-anywhere".to_owned()];
    let mut lost = sh("true");
    lost.dir = Some("no/such/folder".into());
    let services = vec![wanted("missing", missing), wanted("lost", lost), wanted("good", serve(&[]))];
    world.supervisor.apply(services).await.unwrap();
    world.until_healthy("good").await;
    let status = world.until_state("missing", State::Failed).await;
    let trouble = status.replicas[0].trouble.clone().unwrap();
    assert_eq!(
        trouble.message,
        "service `missing` names program `no-such-program-anywhere`, which is not in PATH"
    );
    assert!(trouble.hint.unwrap().starts_with("looked in PATH: /"));
    let status = world.until_state("lost", State::Failed).await;
    assert!(
        status.replicas[0]
            .trouble
            .as_ref()
            .unwrap()
            .message
            .starts_with("`dir` of service `lost` is not a folder")
    );
    let failed =
        |event: &&control::Event| event.service == "missing" && matches!(event.what, What::Failed(_));
    assert_eq!(world.seen().iter().filter(failed).count(), 1);
}

#[tokio::test]
async fn a_taken_port_is_told_with_who_has_it_and_tried_again() {
    let mut world = World::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = serve(&[]);
    command.port = Some(port);
    command.restart.limit = 0;
    world.supervisor.apply(vec![wanted("web", command)]).await.unwrap();
    let event = world.until("web", |what| matches!(what, What::Failed(_))).await;
    let What::Failed(trouble) = event.what else { unreachable!("awaited") };
    assert!(
        trouble.message.starts_with(&format!("port {port} of service `web` is taken by `")),
        "{trouble:?}"
    );
    assert!(trouble.message.ends_with(&format!("(pid {})", std::process::id())), "{trouble:?}");
    drop(taken);
    let healthy = world.until_healthy("web").await;
    assert!(matches!(healthy.what, What::Healthy { port: at, .. } if at == port));
}

#[tokio::test]
async fn a_flood_is_bounded_and_the_slow_listener_knows_what_it_missed() {
    const FLOOD: u64 = 200_000;
    let mut world = World::new();
    let mut slow = world.supervisor.lines();
    let mut command = sh("");
    command.run = vec![APP.to_owned(), "flood".to_owned(), FLOOD.to_string()];
    command.restart.when = RestartWhen::Never;
    world.supervisor.apply(vec![wanted("loud", command)]).await.unwrap();
    world.until("loud", |what| *what == What::Done { success: true }).await;
    let kept = world.supervisor.logs(Some("loud"), usize::MAX);
    assert_eq!((kept.len(), kept[999].text.as_str()), (1000, "flood line 199999"));
    let (mut heard, mut missed) = (0, 0);
    while let Some(one) = slow.try_next() {
        match one {
            Heard::Item(_) => heard += 1,
            Heard::Missed(lines) => missed += lines,
        }
    }
    assert_eq!(heard + missed, FLOOD);
    assert!(missed > 0 && heard <= 1024);
}

#[tokio::test]
async fn variables_come_from_file_manifest_and_wiring() {
    let mut world = World::new();
    std::fs::write(world.dir.path().join("web.env"), "GREETING=from-file\nLOUD=yes\n").unwrap();
    let mut command = sh("echo $GREETING $LOUD $CART_URL $HOST ${PORT:+port}; sleep 1000");
    command.env_file = vec!["web.env".into()];
    command.env.insert("GREETING".to_owned(), "from-manifest".to_owned());
    let mut web = wanted("web", command);
    web.env.insert("CART_URL".to_owned(), "http://127.0.0.1:1".to_owned());
    assert!(!format!("{web:?}").contains("from-manifest"), "values are never shown");
    world.supervisor.apply(vec![web]).await.unwrap();
    world.until("web", |what| matches!(what, What::Started { .. })).await;
    let line = patiently("a line", || world.supervisor.logs(Some("web"), 1).first().cloned()).await;
    assert_eq!(line.text, "from-manifest yes http://127.0.0.1:1 127.0.0.1 port");
}
