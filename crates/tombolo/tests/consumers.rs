//! Consumers at the door: `tombolo up` pushes messages to a service of its manifest, is killed and goes on where it
//! was, or leaves that to another over its database; `tombolo consumers` shows how they do and deals with dead letters.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Folder, Running, eventually, taken};
use testkit::{Backend, Reply, Seen};

/// A service that takes orders and says for each what it did. It refuses that of stream `order-13` until told.
struct Shop {
    backend: Backend,
    takes_all: Arc<AtomicBool>,
}

impl Shop {
    fn start() -> Self {
        let takes_all = Arc::new(AtomicBool::new(false));
        let all = takes_all.clone();
        let (started, backend) = std::sync::mpsc::channel();
        // It ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                started.send(Backend::start(move |seen| answer(seen, &all)).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        Self { backend: backend.recv().unwrap(), takes_all }
    }

    fn manifest(&self) -> String {
        format!(
            "services: {{shop: {{at: 'http://{}'}}}}\n\
             streams: {{messagedb: off}}\n\
             consumers:\n\
             \x20 billing: {{category: order, handler: shop/orders, attempts: 2, backoff: 10ms, backoff_max: 10ms}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n",
            self.backend.address()
        )
    }
}

fn answer(seen: &Seen, takes_all: &AtomicBool) -> Reply {
    let message: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    let stream = message["stream_name"].as_str().unwrap();
    if stream == "order-13" && !takes_all.load(Ordering::SeqCst) {
        return Reply::status(500).body("no such order");
    }
    let did = format!("did-{stream}.{}", message["position"]);
    let append = serde_json::json!({ "append": [{ "stream_name": did, "messages": [{ "type": "Did" }] }] });
    Reply::ok(append.to_string()).after(Duration::from_millis(5))
}

fn up(folder: &Folder) -> Running {
    let mut running = folder.start(&["up"]);
    running.wait_for("gateway");
    // Consumers begin after the ports are open.
    eventually("its consumer is there", || billing(folder));
    running
}

/// The address of the API of a running `tombolo up`.
fn api(folder: &Folder) -> String {
    let text = std::fs::read_to_string(folder.path().join(".tombolo/run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&text).unwrap();
    format!("http://{}/api/v1", run["api"].as_str().unwrap())
}

fn curl(arguments: &[&str]) -> String {
    let ran = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

/// Appends `count` orders to each of 20 streams.
fn order(folder: &Folder, count: usize) {
    let message = r#"{"type":"OrderPlaced","data":{"n":1},"metadata":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#;
    let body = format!("[{}]", vec![message; count].join(","));
    for stream in 0..20 {
        let url = format!("{}/streams/order-{stream}/messages", api(folder));
        let answer = curl(&[&url, "-H", "content-type: application/json", "-d", &body]);
        assert!(answer.contains("last_position"), "{answer}");
    }
}

fn billing(folder: &Folder) -> Option<serde_json::Value> {
    let shown = folder.command(&["consumers", "show", "billing", "--json"]).output().unwrap();
    serde_json::from_slice(&shown.stdout).ok()
}

#[test]
fn messages_reach_their_service_once_in_effect_though_tombolo_is_killed() {
    let shop = Shop::start();
    let folder = Folder::with(&shop.manifest());
    let mut running = up(&folder);
    order(&folder, 20);
    eventually("some are handled", || (shop.backend.seen().len() > 60).then_some(()));
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait(), -1);
    let before = shop.backend.seen().len();
    assert!(before < 380, "it was killed in the middle: {before}");

    let mut running = up(&folder);
    eventually("all are handled", || {
        billing(&folder).filter(|billing| billing["lag"]["messages"] == 0 && billing["dead_letters"] == 20)
    });
    let categories = curl(&[&format!("{}/categories", api(&folder))]);
    assert!(categories.contains(r#"{"category":"did","messages":380}"#), "{categories}");

    let seen = shop.backend.seen();
    let first = &seen[0];
    assert_eq!((first.line().as_str(), first.header("tombolo-consumer")), ("POST /orders", Some("billing")));
    assert!(first.header("traceparent").unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    check_order(&seen);

    let listed = folder.run(&["consumers", "list"]);
    for part in ["CONSUMER", "billing", "order", "shop/orders", "running", "20"] {
        assert!(listed.contains(part), "{listed}");
    }
    let dead = folder.run(&["consumers", "dead-letters", "billing"]);
    assert!(
        dead.contains("order-13[0]") && dead.contains("the handler answered 500: no such order"),
        "{dead}"
    );
    shop.takes_all.store(true, Ordering::SeqCst);
    let retried = folder.run(&["consumers", "dead-letters", "billing", "--retry", "all"]);
    assert!(retried.contains("20 dead letters are tried again"), "{retried}");
    eventually("they are handled", || {
        curl(&[&format!("{}/categories", api(&folder))]).contains(r#""did","messages":400}"#).then_some(())
    });
    assert!(folder.run(&["consumers", "dead-letters", "billing"]).contains("no dead letters"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

/// That what a service was given of each stream was in its order, whatever came again.
fn check_order(seen: &[Seen]) {
    let mut furthest = HashMap::new();
    for seen in seen {
        // A kill may have cut one short.
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(&seen.body) else { continue };
        let position = message["position"].as_i64().unwrap();
        let before = furthest.entry(message["stream_name"].as_str().unwrap().to_owned()).or_insert(-1);
        assert!(position <= *before + 1, "{message}");
        *before = (*before).max(position);
    }
}

#[test]
fn a_node_that_is_killed_leaves_its_work_to_the_other_over_one_database() {
    let shop = Shop::start();
    shop.takes_all.store(true, Ordering::SeqCst);
    let postgres = testkit::Postgres::start();
    let kept = format!("streams: {{store: '{}', messagedb: off}}", postgres.url(&postgres.database()));
    let manifest = shop.manifest().replace("streams: {messagedb: off}", &kept);
    let manifest = manifest.replace("{category: order,", "{category: order, size: 4,");
    let nodes = [Folder::with(&manifest), Folder::with(&manifest)];
    let mut running = nodes.each_ref().map(up);
    let owners = || {
        let billing = billing(&nodes[1])?;
        let shares = billing["shares"].as_array().unwrap();
        let nodes: Vec<String> = shares.iter().filter_map(|s| Some(s["node"].as_str()?.to_owned())).collect();
        Some(nodes).filter(|nodes| nodes.len() == 4)
    };
    let both = eventually("each node has half of the shares", || {
        let owners = owners()?;
        let of_first = owners.iter().filter(|node| **node == owners[0]).count();
        (of_first == 2).then_some(owners)
    });
    order(&nodes[1], 40);
    eventually("some are handled", || (shop.backend.seen().len() > 100).then_some(()));
    running[0].signal(Signal::SIGKILL);
    assert_eq!(running[0].wait(), -1);
    let before = shop.backend.seen().len();
    assert!(before < 700, "it was killed in the middle: {before}");

    eventually("all are handled", || billing(&nodes[1]).filter(|billing| billing["lag"]["messages"] == 0));
    let owners = owners().expect("every share has a node");
    assert!(both.contains(&owners[0]) && owners.iter().all(|node| *node == owners[0]), "{both:?} {owners:?}");
    let categories = curl(&[&format!("{}/categories", api(&nodes[1]))]);
    assert!(categories.contains(r#"{"category":"did","messages":800}"#), "{categories}");
    check_order(&shop.backend.seen());
    running[1].signal(Signal::SIGINT);
    assert_eq!(running[1].wait(), 0);
}

#[test]
fn a_consumer_is_paused_set_back_and_changed_with_its_manifest() {
    let shop = Shop::start();
    shop.takes_all.store(true, Ordering::SeqCst);
    let folder = Folder::with(&shop.manifest());
    let mut running = up(&folder);
    assert!(folder.run(&["consumers", "pause", "billing"]).contains("billing is paused"));
    order(&folder, 1);
    let lag = folder.run(&["consumers", "lag", "billing"]);
    assert!(lag.contains("20"), "{lag}");
    assert!(folder.run(&["consumers", "skip", "billing", "--to", "15"]).contains("everything up to 15"));
    assert!(folder.run(&["consumers", "resume", "billing"]).contains("billing goes on"));
    let caught_up = || billing(&folder).filter(|billing| billing["lag"]["messages"] == 0);
    eventually("five are handled", || caught_up().filter(|_| shop.backend.seen().len() == 5));
    assert!(folder.run(&["consumers", "replay", "billing", "--from", "beginning"]).contains("again from"));
    eventually("all are handled", || caught_up().filter(|_| shop.backend.seen().len() == 25));

    folder.write("tombolo.yaml", &shop.manifest().replace("billing:", "mail:").replace("order,", "did,"));
    running.wait_for("manifest reloaded");
    let shown = folder.run(&["consumers", "show", "billing"]);
    assert!(shown.contains("there is no consumer `billing`") && shown.ends_with("exit 1\n"), "{shown}");
    eventually("the other works", || (shop.backend.seen().len() >= 45).then_some(()));
    let lost = shop.backend.seen().last().unwrap().header("tombolo-consumer").map(str::to_owned);
    assert_eq!(lost.as_deref(), Some("mail"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_service_that_is_away_costs_no_message() {
    let shop = Shop::start();
    let (held, port) = taken();
    drop(held);
    let nobody = format!("127.0.0.1:{port}");
    let folder = Folder::with(&shop.manifest().replace(&shop.backend.address().to_string(), &nobody));
    let mut running = up(&folder);
    order(&folder, 1);
    eventually("it is told", || billing(&folder).filter(|billing| billing["error"].is_string()));
    let billing = billing(&folder).unwrap();
    let error = billing["error"].as_str().unwrap();
    assert!(error.starts_with("`shop` was not reached: "), "{error}");
    assert_eq!((&billing["dead_letters"], &billing["lag"]["messages"]), (&0.into(), &20.into()));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}
