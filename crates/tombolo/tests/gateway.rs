//! `tombolo gateway` from outside: Skipper's flags, routes that change, a stop that finishes what is under way,
//! access logs, TLS, and what systemd hands over and is told.

mod support;

use expect_test::expect;
use nix::sys::signal::Signal;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use support::{Answer, Folder, PATIENCE, Running, eventually, get, get_until, taken, test_app, try_get};

/// Starts a gateway on ports of its own.
fn start(folder: &Folder, arguments: &[&str]) -> (Running, SocketAddr) {
    let ports = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "off"];
    let mut running = folder.start(&[&ports[..], arguments].concat());
    let address = running.address("gateway http://");
    running.wait_for("serve");
    (running, address)
}

/// One that serves inline routes.
fn inline(routes: &str, arguments: &[&str]) -> (Folder, Running, SocketAddr) {
    let folder = Folder::new();
    let (running, address) = start(&folder, &[&["-inline-routes", routes][..], arguments].concat());
    (folder, running, address)
}

/// The test app, running, and its address.
fn app() -> (Running, SocketAddr) {
    let (held, port) = taken();
    drop(held);
    let mut command = Command::new(test_app());
    command.env("PORT", port.to_string()).env("NAME", "app");
    let mut running = Running::of(command);
    running.wait_for("listens");
    (running, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn one_dash_is_as_good_as_two() {
    let routes = "all: * -> inlineContent(\"hello\") -> <shunt>;";
    let (_folder, _running, address) = inline(routes, &["--default-http-status=418", "-strict"]);
    assert_eq!(get(address, "/").body, "hello");
    let (_folder, _running, address) =
        inline("a: Path(\"/a\") -> <shunt>;", &["-default-http-status", "418"]);
    assert_eq!(get(address, "/b").status, 418);
}

#[test]
fn endpoints_are_probed_and_a_change_of_health_is_a_line() {
    let (app, address) = app();
    let routes = format!("all: * -> healthCheck(\"/\", \"100ms\", \"50ms\", 1, 1) -> \"http://{address}\";");
    let settings = "period=1s,min-requests=10,max-drop-probability=0.9";
    let (_folder, mut running, _) = inline(&routes, &["-passive-health-check", settings]);
    drop(app);
    running.wait_for(&format!("warning: endpoint http://{address} is unhealthy and passed over: /: "));
}

#[test]
fn a_new_secret_counts_without_a_restart_and_a_path_that_is_not_there_is_a_mistake() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    folder.write("secrets/token", "one\n");
    let secret = folder.path().join("secrets/token");
    let routes = format!(
        r#"in: Path("/") -> setRequestHeaderFromSecret("X-Token", "{0}") -> setPath("/out") -> <loopback>;
           out: Path("/out") -> setResponseHeader("X-Got", "${{request.header.X-Token}}") -> status(200) -> <shunt>;"#,
        secret.display()
    );
    let paths = folder.path().join("secrets");
    let paths = paths.to_str().unwrap();
    let arguments =
        ["-inline-routes", &routes, "-credentials-paths", paths, "-credentials-update-interval", "100ms"];
    let (_running, address) = start(&folder, &arguments);
    let got = |secret: &str| get(address, "/").head.to_lowercase().contains(&format!("x-got: {secret}\r\n"));
    assert!(got("one"));
    folder.write("secrets/token", "two\n");
    eventually("the new secret", || got("two").then_some(()));
    let none = folder.path().join("none");
    let text = folder.run(&[
        "gateway",
        "-inline-routes",
        "* -> <shunt>",
        "-credentials-paths",
        none.to_str().unwrap(),
    ]);
    assert!(text.contains("/none` can't be read") && text.contains("exit 1"), "{text}");
}

#[test]
fn a_routes_file_is_watched_and_a_broken_edit_changes_nothing() {
    let folder = Folder::new();
    folder.write("shop.eskip", "all: * -> inlineContent(\"one\") -> <shunt>;");
    let (mut running, address) = start(&folder, &["-routes-file", "shop.eskip"]);
    assert_eq!(get(address, "/").body, "one");
    folder.write("shop.eskip", "all: * -> inlineContent(\"two\") -> <shunt>;");
    get_until(address, "/", "two");
    folder.write("shop.eskip", "all: * -> inlineContent(\"three\" -> <shunt>;");
    running.wait_for("shop.eskip:1:");
    assert_eq!(get(address, "/").body, "two");
}

#[test]
fn strict_refuses_all_for_one_bad_route() {
    let folder = Folder::new();
    let routes = "good: Path(\"/good\") -> status(204) -> <shunt>; bad: * -> stauts(200) -> <shunt>;";
    let strict = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "off", "-strict"];
    expect![[r#"
        error: route `bad`: filter `stauts` is not known
         --> --inline-routes:1:58
          |
        1 | good: Path("/good") -> status(204) -> <shunt>; bad: * -> stauts(200) -> <shunt>;
          |                                                          ^^^^^^
          |
          = hint: did you mean `status`?

        error: the routes have errors, nothing was started
        hint: without --strict bad routes alone are left out
        exit 1
    "#]]
    .assert_eq(&folder.run(&[&strict[..], &["-inline-routes", routes]].concat()));
    let (running, address) = start(&folder, &["-inline-routes", routes]);
    assert_eq!(get(address, "/good").status, 204);
    assert_eq!(get(address, "/other").status, 404);
    assert!(running.said().contains("did you mean `status`?"), "{}", running.said());
}

#[test]
fn sigterm_lets_a_slow_request_finish() {
    let (mut app, backend) = app();
    let (_folder, mut running, address) = inline(&format!("all: * -> \"http://{backend}\";"), &[]);
    let slow = std::thread::spawn(move || get(address, "/slow/1500"));
    app.wait_for("slow answer begins");
    running.signal(Signal::SIGTERM);
    running.wait_for("SIGTERM: finishing requests under way");
    let Answer { status, body, .. } = slow.join().unwrap();
    assert_eq!((status, body.as_str()), (200, "late"));
    assert_eq!(running.wait(), 0);
    assert!(try_get(address, "/", "").is_none());
}

#[test]
fn the_access_log() {
    let routes = "all: * -> status(204) -> <shunt>;";
    let log_of = |arguments: &[&str]| {
        let (_folder, mut running, address) = inline(routes, arguments);
        get(address, "/cart?token=1");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.wait(), 0);
        running.said().lines().filter(|line| line.contains("/cart")).collect::<Vec<_>>().join("\n")
    };
    let combined = log_of(&[]);
    assert!(combined.contains("\"GET /cart?token=1 HTTP/1.1\" 204 "), "{combined}");
    let stripped = log_of(&["-access-log-strip-query"]);
    assert!(stripped.contains("\"GET /cart HTTP/1.1\" 204 "), "{stripped}");
    let json: serde_json::Value = serde_json::from_str(&log_of(&["-access-log-json-enabled"])).unwrap();
    assert_eq!((&json["method"], &json["status"]), (&"GET".into(), &204.into()), "{json}");
    assert_eq!(log_of(&["-access-log-disabled"]), "");

    let folder = Folder::new();
    let (mut running, address) = start(&folder, &["-inline-routes", routes, "-access-log", "access.log"]);
    get(address, "/cart");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), 0);
    let file = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert!(file.contains("\"GET /cart HTTP/1.1\" 204 "), "{file}");
    assert!(!running.said().contains("/cart"));
}

#[test]
fn https_in_front_and_behind() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("cert.pem", &made.cert.pem());
    folder.write("key.pem", &made.signing_key.serialize_pem());
    let tls = ["-inline-routes", "all: * -> inlineContent(\"safe\") -> <shunt>;"];
    let (mut behind, _) = {
        let files = ["-tls-cert", "cert.pem", "-tls-key", "key.pem"];
        let ports = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "off"];
        let mut running = folder.start(&[&ports[..], &tls, &files].concat());
        let address = running.address("gateway https://");
        (running, address)
    };
    let port = behind.address("gateway https://").port();
    let to = format!("all: * -> \"https://localhost:{port}\";");
    let (_trusts, address) = start(&folder, &["-inline-routes", &to, "-backend-roots", "cert.pem"]);
    assert_eq!(get(address, "/").body, "safe");
    // Who was not told of the certificate does not trust it.
    let (_doubts, address) = start(&folder, &["-inline-routes", &to]);
    assert_eq!(get(address, "/").status, 502);
}

#[test]
fn certificates_are_read_again_when_they_change_and_bad_ones_change_nothing() {
    let folder = Folder::new();
    let pair = |name: &str, host: &str| {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        folder.write(&format!("{name}.pem"), &made.cert.pem());
    };
    pair("one", "localhost");
    pair("two", "two.example");
    let ports = ["gateway", "-address", "127.0.0.1:0", "-support-listener", "off"];
    let files = [
        "-tls-cert",
        "two.pem,one.pem",
        "-tls-key",
        "two.key,one.key",
        "-inline-routes",
        "* -> status(204) -> <shunt>",
    ];
    let mut behind = folder.start(&[&ports[..], &files].concat());
    let port = behind.address("gateway https://").port();
    behind.wait_for("serve");
    let to = format!("all: * -> \"https://localhost:{port}\";");
    // Each front trusts the certificate that was there when it started.
    let front = |folder: &Folder| start(folder, &["-inline-routes", &to, "-backend-roots", "one.pem"]);
    let (_first, first) = front(&folder);
    assert_eq!(get(first, "/").status, 204, "chosen by name");
    folder.write("one.pem", "no certificate");
    behind.wait_for("`one.pem` holds no certificate");
    behind.wait_for("the last good certificates stay in force");
    pair("one", "localhost");
    behind.wait_for("certificates reloaded");
    let (_second, second) = front(&folder);
    assert_eq!(get(second, "/").status, 204);
    let copy = |from: &str| std::fs::copy(folder.path().join(from), folder.path().join("roots.pem")).unwrap();
    copy("two.pem");
    let (mut sceptical, sceptic) = start(&folder, &["-inline-routes", &to, "-backend-roots", "roots.pem"]);
    assert_eq!(get(sceptic, "/").status, 502);
    folder.write("roots.pem", "no certificate");
    sceptical.wait_for("`roots.pem` holds no certificate");
    assert_eq!(get(sceptic, "/").status, 502);
    copy("one.pem");
    sceptical.wait_for("certificates reloaded");
    assert_eq!(get(sceptic, "/").status, 204);
    let (_careless, careless) = start(&folder, &["-inline-routes", &to, "-insecure"]);
    assert_eq!(get(careless, "/").status, 204);
}

#[test]
fn what_is_spoken_can_be_chosen() {
    let routes = "all: * -> status(204) -> <shunt>;";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answers = |arguments: &[&str]| {
        let (_folder, _running, address) = inline(routes, arguments);
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(preface.as_bytes()).unwrap();
        let mut frame = [0; 9];
        // A SETTINGS frame is type 4.
        stream.read_exact(&mut frame).is_ok() && frame[3] == 4
    };
    assert!(answers(&[]) && answers(&["-enable-h2c-server"]) && answers(&["-enable-h2c-server=true"]));
    assert!(!answers(&["-enable-h2c-server=false"]));
    let seen_by = "all: Source(\"203.0.113.7\") -> status(204) -> <shunt>;";
    let (_folder, _running, address) =
        inline(seen_by, &["-enable-proxy-protocol", "-proxy-allow-cidrs", "127.0.0.0/8,::1"]);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request =
        "PROXY TCP4 203.0.113.7 198.51.100.1 1 443\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[test]
fn systemd_hands_over_the_socket_and_hears_of_readiness() {
    let folder = Folder::new();
    let (listener, port) = taken();
    let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_tombolo"), "gateway", "-support-listener", "off"]);
    command.args(["-inline-routes", "all: * -> status(204) -> <shunt>;"]);
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("NO_COLOR", "1");
    command.stdin(OwnedFd::from(listener));
    let mut running = Running::of(command);
    let mut bytes = [0; 256];
    let mut heard = |what: &str| {
        eventually(what, || {
            let read = told.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..read]).contains(what).then_some(())
        });
    };
    heard("READY=1");
    assert_eq!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/").status, 204);
    running.signal(Signal::SIGTERM);
    heard("STOPPING=1");
    assert_eq!(running.wait(), 0);
}

#[test]
fn forwarded_headers_are_set() {
    let (_app, backend) = app();
    let routes = format!("all: * -> \"http://{backend}\";");
    let (_folder, _running, address) = inline(
        &routes,
        &["-forwarded-headers", "X-Forwarded-For,X-Forwarded-Host,X-Forwarded-Proto=https,Forwarded"],
    );
    let seen = get(address, "/").body.to_ascii_lowercase();
    for header in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: https",
        "forwarded: for=127.0.0.1;",
    ] {
        assert!(seen.contains(header), "no `{header}` in:\n{seen}");
    }
}

#[test]
fn flags_change_every_route() {
    let (_app, backend) = app();
    let routes = format!("all: Path(\"/a\") -> setRequestHeader(\"X-One\", \"1\") -> \"http://{backend}\";");
    let (_folder, _running, address) = inline(
        &routes,
        &[
            "-default-filters-prepend",
            "setRequestHeader(\"X-First\", \"1\")",
            "-default-filters-append",
            "setRequestHeader(\"X-Last\", \"1\")",
            "-clone-route",
            "#Path[(]\"/a\"[)]#Path(\"/b\")#",
            "-edit-route",
            "/X-One/X-Two/",
        ],
    );
    for path in ["/a", "/b"] {
        let seen = get(address, path).body.to_ascii_lowercase();
        for header in ["x-first: 1", "x-two: 1", "x-last: 1"] {
            assert!(seen.contains(header), "no `{header}` of {path} in:\n{seen}");
        }
    }
}
