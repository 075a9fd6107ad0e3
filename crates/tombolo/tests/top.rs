//! `tombolo top` at the door: requests go through the gateway of a running `tombolo up`, and the table has them.

mod support;

use nix::sys::signal::Signal;
use support::{Folder, eventually, get};

#[test]
fn what_the_gateway_carries_is_on_the_table() {
    let folder = Folder::with(
        "routes: 'hello: Path(\"/hello\") -> inlineContent(\"hi\") -> <shunt>; broken: Path(\"/broken\") -> status(500) -> <shunt>'\n\
         gateway: {address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}\n",
    );
    let mut running = folder.start(&["up"]);
    let gateway = running.address("  gateway  http://");
    eventually("it runs", || folder.path().join(".tombolo/run.json").is_file().then_some(()));
    assert!(folder.run(&["top", "--once"]).contains("no requests so far"));
    let seen = eventually("all are counted", || {
        assert_eq!((get(gateway, "/hello").status, get(gateway, "/broken").status), (200, 500));
        let shown = folder.command(&["top", "--once", "--json"]).output().expect("it runs");
        let seen: serde_json::Value = serde_json::from_slice(&shown.stdout).ok()?;
        let whole = seen["routes"].as_array().is_some_and(|routes| routes.len() == 2)
            && seen["services"][0]["rate_per_s"].as_f64().is_some_and(|rate| rate > 0.0);
        whole.then_some(seen)
    });
    assert_eq!(seen["services"][0]["service"], "gateway");
    let broken =
        seen["routes"].as_array().and_then(|all| all.iter().find(|route| route["route"] == "broken"));
    assert_eq!(broken.map(|route| route["error_share"].clone()), Some(1.0.into()), "{seen}");
    let shown = folder.run(&["top", "--once", "--filter", "hello", "-n", "1"]);
    assert!(shown.contains("ROUTE") && shown.contains("hello") && !shown.contains("broken"), "{shown}");

    // It goes on until what it watches has ended.
    let mut live = folder.start(&["top", "--every", "1ms"]);
    live.wait_for_times("SERVICE", 2);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    assert_eq!(live.wait(), 0, "{}", live.said());
    assert!(folder.run(&["top"]).contains("no `tombolo up` runs"));
}
