//! `tombolo up` from outside: services start in order, call each other, change while files change, answer to
//! other commands, and leave nothing behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use expect_test::expect;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use support::{Folder, Running, eventually, get, get_until, runs, try_get};

/// Said when all is settled.
const SETTLED: &str = "Ctrl-C stops everything";

const GATEWAY: &str = "gateway: { address: 127.0.0.1:0, api: 127.0.0.1:0, support: off }";

/// A web that calls a cart, behind a route for each.
fn shop() -> String {
    format!(
        r#"name: shop
{GATEWAY}
services:
  web:
    run: exec APP
    env: {{ NAME: web }}
    health: {{ http: /health, interval: 100ms }}
    calls: [cart]
    depends_on: [cart]
  cart:
    run: exec APP
    env: {{ NAME: cart }}
    health: {{ http: /health, interval: 100ms }}
routes: |
  cart: PathSubtree("/cart") -> modPath("^/cart", "") -> "service://cart";
  web: * -> "service://web";
"#
    )
}

/// Starts a manifest and waits until all is settled.
fn up(manifest: &str) -> (Folder, Running, SocketAddr) {
    let folder = Folder::with(manifest);
    let (running, gateway) = start(&folder);
    (folder, running, gateway)
}

fn start(folder: &Folder) -> (Running, SocketAddr) {
    let mut running = folder.start(&["up"]);
    let gateway = running.address("gateway at http://");
    running.wait_for(SETTLED);
    (running, gateway)
}

/// What `tombolo status --json` says.
fn status(folder: &Folder) -> serde_json::Value {
    let output = folder.command(&["status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The processes of a service.
fn pids(folder: &Folder, service: &str) -> Vec<u32> {
    let status = status(folder);
    let services = status["services"].as_array().unwrap();
    let Some(found) = services.iter().find(|found| found["name"] == service) else { return Vec::new() };
    let replicas = found["replicas"].as_array().unwrap();
    replicas.iter().filter_map(|replica| replica["pid"].as_u64()).map(|pid| pid as u32).collect()
}

/// Waits until a service is healthy with a process other than this one.
fn replaced(folder: &Folder, service: &str, old: u32) -> u32 {
    eventually(&format!("another process of {service}"), || {
        let status = status(folder);
        let found = status["services"].as_array()?.iter().find(|found| found["name"] == service)?;
        let pid = found["replicas"][0]["pid"].as_u64()? as u32;
        (found["state"] == "healthy" && pid != old).then_some(pid)
    })
}

#[test]
fn services_start_in_order_call_each_other_and_stop_in_the_reverse_order() {
    let (folder, mut running, gateway) = up(&shop());
    let pids = [pids(&folder, "web")[0], pids(&folder, "cart")[0]];
    assert!(get(gateway, "/").body.starts_with("I am web\n"));
    let called = get(gateway, "/call/CART_URL").body;
    assert!(called.starts_with("I am cart\n"), "{called}");
    assert!(called.to_ascii_lowercase().contains("tombolo-caller: web"), "{called}");
    // Cart declared no calls: nothing tells it where web is.
    assert_eq!(get(gateway, "/cart/call/WEB_URL").body, "no WEB_URL");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    let said = running.said();
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no `{text}` in:\n{said}"));
    assert!(at("cart    | healthy") < at("web     | healthy"), "{said}");
    assert!(at("web     | stopped") < at("cart    | stopped"), "{said}");
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert!(!folder.path().join(".tombolo").exists());
}

#[test]
fn the_first_screen() {
    let (folder, running, _) = up(&shop());
    let said = folder.plain(&running.said());
    let table = &said[said.find("  SERVICE").unwrap()..];
    // Columns are as wide as what they hold: ports and processes differ in length from run to run.
    let squeezed: Vec<_> = table
        .lines()
        .filter(|line| !line.contains(" | "))
        .map(|line| {
            let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
            let words = line.split_whitespace().map(|word| if is_number(word) { "N" } else { word });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    expect![[r#"
        SERVICE STATE ADDRESS PID RESTARTS
        web healthy http://127.0.0.1:N N
        cart healthy http://127.0.0.1:N N

        gateway http://127.0.0.1:N
        console http://127.0.0.1:N
        Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal
    "#]]
    .assert_eq(&(squeezed.join("\n").trim_end().to_owned() + "\n"));
    let raw = running.said();
    let column = |line: &str, word: &str| {
        let line = raw.lines().find(|found| found.starts_with(line)).unwrap();
        line.find(word).unwrap()
    };
    for (head, cell) in [("STATE", "healthy"), ("ADDRESS", "http")] {
        assert_eq!(column("  SERVICE", head), column("  web ", cell), "{raw}");
        assert_eq!(column("  SERVICE", head), column("  cart ", cell), "{raw}");
    }
}

#[test]
fn routes_change_while_it_runs_and_a_broken_edit_changes_nothing() {
    let (folder, mut running, gateway) = up(&shop());
    let before = (pids(&folder, "web"), pids(&folder, "cart"));
    let more = shop() + "  new: Path(\"/new\") -> inlineContent(\"fresh\") -> <shunt>;\n";
    folder.write("tombolo.yaml", &more);
    get_until(gateway, "/new", "fresh");
    folder.write("tombolo.yaml", &more.replace("inlineContent(\"fresh\")", "inlineContent(\"fresh\""));
    running.wait_for("expected `,` or `)`");
    assert_eq!(get(gateway, "/new").body, "fresh");
    folder.write("tombolo.yaml", &more.replace("services:", "servces:"));
    running.wait_for("the last good one stays in force");
    assert_eq!(get(gateway, "/new").body, "fresh");
    folder.write("tombolo.yaml", &more.replace("fresh", "fresher"));
    get_until(gateway, "/new", "fresher");
    assert_eq!((pids(&folder, "web"), pids(&folder, "cart")), before);
}

#[test]
fn a_routes_file_is_watched() {
    let folder = Folder::with(&format!("{GATEWAY}\nroutes: shop.eskip\n"));
    folder.write("shop.eskip", "all: * -> inlineContent(\"one\") -> <shunt>;");
    let (mut running, gateway) = start(&folder);
    assert_eq!(get(gateway, "/").body, "one");
    folder.write("shop.eskip", "all: * -> inlineContent(\"two\") -> <shunt>;");
    get_until(gateway, "/", "two");
    folder.write("shop.eskip", "all: * -> inlineContent(");
    running.wait_for("shop.eskip:1:");
    assert_eq!(get(gateway, "/").body, "two");
}

#[test]
fn only_what_changed_restarts() {
    let (folder, _running, gateway) = up(&shop());
    let (web, cart) = (pids(&folder, "web")[0], pids(&folder, "cart")[0]);
    let changed = shop().replace("NAME: web", "NAME: new-web");
    folder.write("tombolo.yaml", &changed);
    get_until(gateway, "/", "I am new-web");
    let web = replaced(&folder, "web", web);
    assert_eq!(pids(&folder, "cart"), [cart]);

    let third = "  extra:\n    run: exec APP\n    env: { NAME: extra }\nroutes: |\n  \
                 extra: Path(\"/extra\") -> \"service://extra\";";
    folder.write("tombolo.yaml", &changed.replace("routes: |", third));
    get_until(gateway, "/extra", "I am extra");
    let extra = pids(&folder, "extra")[0];
    folder.write("tombolo.yaml", &changed);
    eventually("extra is gone", || (pids(&folder, "extra").is_empty() && !runs(extra)).then_some(()));
    assert_eq!((pids(&folder, "web"), pids(&folder, "cart")), (vec![web], vec![cart]));
}

#[test]
fn replicas_share_the_requests() {
    let services = "services:\n  web:\n    run: exec APP\n    replicas: 2\n    health: /health";
    let (folder, _running, gateway) =
        up(&format!("{GATEWAY}\n{services}\nroutes: 'all: * -> \"service://web\"'\n"));
    let mut expected = pids(&folder, "web");
    assert_eq!(expected.len(), 2);
    let mut seen = Vec::new();
    eventually("both replicas answer", || {
        let pid: u32 = get(gateway, "/pid").body.parse().unwrap();
        if !seen.contains(&pid) {
            seen.push(pid);
        }
        (seen.len() == 2).then_some(())
    });
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_service_that_ends_is_started_again() {
    let (folder, _running, gateway) = up(&shop());
    let cart = pids(&folder, "cart")[0];
    // It ends in the middle of this answer.
    let _ = try_get(gateway, "/cart/exit", "");
    replaced(&folder, "cart", cart);
    get_until(gateway, "/cart", "I am cart");
}

#[test]
fn killed_it_leaves_no_service_behind() {
    let (folder, mut running, _) = up(&shop());
    let pids = [pids(&folder, "web"), pids(&folder, "cart")].concat();
    assert_eq!(pids.len(), 2);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait_alone(), -1);
    eventually("the guardian ends the services", || pids.iter().all(|pid| !runs(*pid)).then_some(()));
    // What the killed one left in the folder is no hindrance.
    let (_again, gateway) = start(&folder);
    assert!(get(gateway, "/").body.starts_with("I am web\n"));
}

#[test]
fn other_commands_ask_it() {
    let (folder, mut running, _) = up(&shop());
    let run_file = folder.path().join(".tombolo/run.json");
    assert_eq!(run_file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let said = status(&folder);
    assert_eq!(said["name"], "shop");
    assert_eq!(said["pid"], running.pid());
    assert_eq!(said["routes"], serde_json::json!({ "serving": 2, "left_out": 0 }));
    let api = said["api"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
    assert_eq!(get(api, "/api/v1/status").status, 401);
    let wrong = try_get(api, "/api/v1/status", "Authorization: Bearer wrong\r\n").unwrap();
    assert_eq!(wrong.status, 401);

    expect![[r#"
        cart | cart  listens
        exit 0
    "#]]
    .assert_eq(&folder.run(&["logs", "cart"]));
    expect![[r#"
        error: `crat` is no service that runs here
        hint: did you mean `cart`?
        exit 1
    "#]]
    .assert_eq(&folder.run(&["logs", "crat"]));

    let (web, cart) = (pids(&folder, "web"), pids(&folder, "cart")[0]);
    assert_eq!(folder.run(&["restart", "cart"]), "cart restarts\nexit 0\n");
    replaced(&folder, "cart", cart);
    assert_eq!(pids(&folder, "web"), web);

    expect![[r#"
        error: `tombolo up` runs here already (pid N)
        hint: `tombolo status` shows it, `tombolo stop` ends it
        exit 1
    "#]]
    .assert_eq(&folder.run(&["up"]));

    assert_eq!(folder.run(&["stop", "cart"]), "cart stops\nexit 0\n");
    eventually("cart has stopped", || pids(&folder, "cart").is_empty().then_some(()));
    assert_eq!(folder.run(&["stop"]), "stopped\nexit 0\n");
    assert_eq!(running.wait(), 0);
    assert!(!run_file.exists());
}

#[test]
fn machines_get_one_object_a_line() {
    let folder = Folder::with(&shop());
    let mut running = folder.start(&["up", "--json"]);
    running.wait_for("\"settled\"");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), 0);
    let said = running.said();
    let mut kinds: Vec<String> = Vec::new();
    for line in said.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        kinds.extend(value.as_object().unwrap().keys().filter(|key| *key != "gateway").cloned());
    }
    kinds.sort();
    kinds.dedup();
    expect!["event log note settled"].assert_eq(&kinds.join(" "));
}

#[test]
fn the_first_build_is_shown() {
    let services = "services:\n  web:\n    build: echo compiled\n    run: exec APP\n    health: /health";
    let (_folder, running, _) = up(&format!("{GATEWAY}\n{services}\n"));
    let said = running.said();
    for text in ["web     | building: echo compiled", "web     | compiled", "web     | built in"] {
        assert!(said.contains(text), "no `{text}` in:\n{said}");
    }
}

#[test]
fn many_files_may_be_open_here_and_as_many_as_before_in_services() {
    let folder = Folder::with(&format!(
        "{GATEWAY}\nservices:\n  tell:\n    run: sleep 0.3; echo may open $(ulimit -Sn); exec sleep 1000\n"
    ));
    let mut command = Command::new("sh");
    let script = "ulimit -Sn 300 && exec \"$0\" up";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tombolo")]).current_dir(folder.path());
    let mut running = Running::of(command);
    running.wait_for("may open 300");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let bounds: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert!(bounds[0] == bounds[1] && bounds[0] != "300", "{line}");
}

#[test]
fn flags_of_the_gateway_hold_here_too() {
    let flags = r#"flags: [-forwarded-headers=X-Forwarded-For, '-default-filters-prepend=setRequestHeader("X-From", "flags")',
        -max-uri-bytes=200, -passive-health-check, 'period=1s,min-requests=10,max-drop-probability=0.9',
        -response-header-timeout-backend=200ms] }"#;
    let with_flags = format!("{}, {flags}", GATEWAY.trim_end_matches(" }"));
    // It takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = format!("services:\n  mute: {{ at: 'http://{}' }}\n", mute.local_addr().unwrap());
    let manifest = shop().replace(GATEWAY, &with_flags).replace("calls: [cart]", "calls: [cart, mute]");
    let manifest = manifest.replace("services:\n", &outside);
    let (folder, mut running, gateway) = up(&manifest);
    let seen = get(gateway, "/").body.to_ascii_lowercase();
    assert!(seen.contains("x-from: flags") && seen.contains("x-forwarded-for: 127.0.0.1"), "{seen}");
    // Calls are no requests of strangers.
    let called = get(gateway, "/call/CART_URL").body.to_ascii_lowercase();
    assert!(called.starts_with("i am cart") && !called.contains("x-f"), "{called}");
    // What is said of backends holds for them: this would take a minute.
    assert_eq!(get(gateway, "/call/MUTE_URL").body, "Gateway Timeout\n");
    assert_eq!(get(gateway, &format!("/{}", "a".repeat(200))).status, 414);
    folder.write("tombolo.yaml", &manifest.replace("=200", "=300"));
    running.wait_for("changes of gateway addresses and flags, log and limits take effect");
}
