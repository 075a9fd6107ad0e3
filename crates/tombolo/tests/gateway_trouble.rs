//! `tombolo gateway` when things change or go wrong: addresses that are polled, several files, links that are
//! swapped, strict reloads, signals, ports that somebody has.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use nix::sys::signal::Signal;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use support::{Folder, Running, eventually, get, get_until, taken, try_get};

const PORTS: [&str; 5] = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "off"];

/// Starts a gateway on a port of its own.
fn start(folder: &Folder, arguments: &[&str]) -> (Running, SocketAddr) {
    let mut running = folder.start(&[&PORTS[..], arguments].concat());
    let address = running.address("gateway http://");
    running.wait_for(" serve");
    (running, address)
}

fn says(id: &str, word: &str) -> String {
    format!("{id}: Path(\"/{id}\") -> inlineContent(\"{word}\") -> <shunt>;")
}

/// A server of routes.
struct RoutesServer {
    address: SocketAddr,
    /// What it serves; may be changed.
    text: Arc<Mutex<String>>,
    /// Each request's head.
    heads: Arc<Mutex<Vec<String>>>,
}

/// Starts one. The tag follows from the text.
fn routes_server() -> RoutesServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (text, heads) = (Arc::new(Mutex::new(says("a", "one"))), Arc::new(Mutex::new(Vec::new())));
    let (served, seen) = (text.clone(), heads.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
            let text = served.lock().unwrap().clone();
            let tag = format!("\"{}\"", text.len());
            let answer = if text == "broken" {
                "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
            } else if head.contains(&format!("if-none-match: {tag}")) {
                format!("HTTP/1.1 304 Same\r\nETag: {tag}\r\nConnection: close\r\n\r\n")
            } else {
                let length = text.len();
                format!(
                    "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
                )
            };
            seen.lock().unwrap().push(head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    RoutesServer { address, text, heads }
}

#[test]
fn an_address_of_routes_is_polled_with_its_tag_and_its_trouble_is_told_once() {
    let RoutesServer { address: server, text, heads } = routes_server();
    let folder = Folder::new();
    let url = format!("http://{server}/routes");
    let (mut gateway, address) = start(&folder, &["-routes-urls", &url, "-source-poll-timeout", "100"]);
    assert_eq!(get(address, "/a").body, "one");
    eventually("it asks with the tag", || {
        heads.lock().unwrap().iter().any(|h| h.contains("if-none-match")).then_some(())
    });
    *text.lock().unwrap() = says("a", "two, longer");
    get_until(address, "/a", "two, longer");
    *text.lock().unwrap() = "broken".to_owned();
    gateway.wait_for(&format!("routes of `{url}` can't be fetched: the answer is 500"));
    let asked = heads.lock().unwrap().len();
    eventually("it goes on asking", || (heads.lock().unwrap().len() > asked + 3).then_some(()));
    assert_eq!(gateway.said().matches("can't be fetched").count(), 1, "{}", gateway.said());
    assert_eq!(get(address, "/a").body, "two, longer");
    *text.lock().unwrap() = says("a", "three");
    get_until(address, "/a", "three");
}

#[test]
fn several_files_and_inline_routes_are_one_table() {
    let folder = Folder::new();
    folder.write("a.eskip", &says("a", "file a"));
    folder.write("b.eskip", &says("b", "file b"));
    let inline = says("c", "inline");
    let (mut gateway, address) =
        start(&folder, &["-routes-file", "a.eskip,b.eskip", "-inline-routes", &inline]);
    for (path, body) in [("/a", "file a"), ("/b", "file b"), ("/c", "inline")] {
        assert_eq!(get(address, path).body, body);
    }
    folder.write("b.eskip", &says("b", "changed"));
    get_until(address, "/b", "changed");
    gateway.wait_for("routes reloaded, 3 serve");
    assert_eq!(get(address, "/a").body, "file a");
}

#[test]
fn a_config_map_whose_link_is_swapped_is_read_again() {
    // As Kubernetes mounts it: routes.eskip -> ..data/routes.eskip, ..data -> ..v1, swapped by a rename.
    let folder = Folder::new();
    let root = folder.path();
    for (version, word) in [("..v1", "one"), ("..v2", "two")] {
        std::fs::create_dir(root.join(version)).unwrap();
        std::fs::write(root.join(version).join("routes.eskip"), says("a", word)).unwrap();
    }
    std::os::unix::fs::symlink("..v1", root.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/routes.eskip", root.join("routes.eskip")).unwrap();
    let (_gateway, address) = start(&folder, &["-routes-file", "routes.eskip"]);
    assert_eq!(get(address, "/a").body, "one");
    std::os::unix::fs::symlink("..v2", root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    get_until(address, "/a", "two");
}

#[test]
fn a_strict_gateway_keeps_its_table_and_another_leaves_the_bad_route_out() {
    let folder = Folder::new();
    let bad = |word: &str| format!("{} b: * -> stauts(200) -> <shunt>;", says("a", word));
    folder.write("a.eskip", &says("a", "one"));
    let (mut strict, strictly) = start(&folder, &["-routes-file", "a.eskip", "-strict"]);
    let (mut lenient, leniently) = start(&folder, &["-routes-file", "a.eskip"]);
    folder.write("a.eskip", &bad("two"));
    strict.wait_for("routes refused, 1 stay in force");
    lenient.wait_for("routes reloaded, 1 serve, 1 left out");
    assert_eq!((get(strictly, "/a").body, get(leniently, "/a").body), ("one".into(), "two".into()));
    folder.write("a.eskip", &says("a", "three"));
    get_until(strictly, "/a", "three");
    get_until(leniently, "/a", "three");
}

#[test]
fn sighup_reads_again_and_a_file_that_went_leaves_its_routes() {
    let folder = Folder::new();
    folder.write("a.eskip", &says("a", "one"));
    let (mut gateway, address) = start(&folder, &["-routes-file", "a.eskip"]);
    std::fs::remove_file(folder.path().join("a.eskip")).unwrap();
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for("routes file `a.eskip` can't be read");
    assert_eq!(get(address, "/a").body, "one");
    folder.write("a.eskip", &says("a", "two"));
    get_until(address, "/a", "two");
}

/// A gateway with a request under way, whose backend will never answer.
fn with_a_request_under_way(flags: &[&str]) -> (Folder, Running, std::thread::JoinHandle<Option<u16>>) {
    let (held, port) = taken();
    let folder = Folder::new();
    let routes = format!("a: * -> \"http://127.0.0.1:{port}\";");
    let (gateway, address) = start(&folder, &[&["-inline-routes", &routes], flags].concat());
    let asking = std::thread::spawn(move || {
        let answer = try_get(address, "/", "");
        drop(held);
        answer.map(|answer| answer.status)
    });
    // The client's thread holds the listener open; what it accepts is never looked at. The access of the
    // request to the backend shows as a connection in the kernel's table.
    eventually("the backend has a connection", || {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let wanted = format!("0100007F:{port:04X} ");
        // State 01: established (proc(5)).
        table.lines().any(|line| line.contains(&wanted) && line.contains(" 01 ")).then_some(())
    });
    (folder, gateway, asking)
}

#[test]
fn a_request_that_takes_too_long_is_cut_off_and_told() {
    let (_folder, mut gateway, asking) = with_a_request_under_way(&["-drain-timeout", "300ms"]);
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.wait(), 1);
    assert!(gateway.said().contains("1 requests did not end in time and were cut off"), "{}", gateway.said());
    assert!(asking.join().unwrap().is_none_or(|status| status >= 500));
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let (_folder, mut gateway, asking) = with_a_request_under_way(&["-drain-timeout", "1h"]);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for("SIGINT: finishing requests under way, at most 1h");
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait(), 1);
    assert!(asking.join().unwrap().is_none_or(|status| status >= 500));
}

#[test]
fn while_the_health_check_notices_requests_are_still_taken() {
    let folder = Folder::new();
    let routes = "down: Path(\"/health\") && Shutdown() -> status(503) -> <shunt>;\n\
                  up: Path(\"/health\") -> status(200) -> <shunt>;";
    let (mut gateway, address) =
        start(&folder, &["-inline-routes", routes, "-wait-for-healthcheck-interval", "2s"]);
    assert_eq!(get(address, "/health").status, 200);
    gateway.signal(Signal::SIGTERM);
    eventually("the check tells", || (get(address, "/health").status == 503).then_some(()));
    assert_eq!(gateway.wait(), 0);
}

#[test]
fn the_support_listener_shows_routes_and_metrics() {
    let folder = Folder::new();
    let (mut gateway, address) = {
        let ports = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "127.0.0.1:0"];
        let routes = says("a", "one");
        let mut gateway = folder.start(&[&ports[..], &["-inline-routes", &routes]].concat());
        let address = gateway.address("gateway http://");
        (gateway, address)
    };
    let support = gateway.address("support http://");
    assert_eq!(get(address, "/a").body, "one");
    assert!(get(support, "/routes").body.contains("inlineContent(\"one\")"));
    eventually("the request is counted", || get(support, "/metrics").body.contains("200").then_some(()));
}

#[test]
fn a_disabled_filter_takes_its_routes_out() {
    let folder = Folder::new();
    let routes = format!("{} b: Path(\"/b\") -> status(204) -> <shunt>;", says("a", "one"));
    let (gateway, address) =
        start(&folder, &["-inline-routes", &routes, "-disabled-filters", "inlineContent"]);
    assert_eq!(get(address, "/a").status, 404);
    assert_eq!(get(address, "/b").status, 204);
    assert!(gateway.said().contains("inlineContent"), "{}", gateway.said());
}
