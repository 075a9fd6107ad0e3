//! The console at the door of the binary: pages beside the API, the link that signs in, and what stays closed without.
//! What pages look like is in the tests of its crate, how a browser takes them in `peers`.

mod support;

use std::process::Command;
use support::{Folder, eventually};

const MANIFEST: &str = "name: harbour\n\
    gateway: {address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}\n\
    streams: {messagedb: off}\n\
    services:\n  web: {run: exec APP, env: {NAME: web}}\n";

/// What curl prints for these arguments.
fn curl(arguments: &[&str]) -> String {
    let ran = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

#[test]
fn a_link_opens_the_console_and_signs_in() {
    let folder = Folder::with(MANIFEST);
    assert_eq!(
        folder.run(&["console"]),
        "error: no `tombolo up` runs in `DIR`\nhint: start one, or name another folder with -C DIR\nexit 1\n"
    );
    let mut running = folder.start(&["up"]);
    running.wait_for("  console  http://127.0.0.1:");
    let said = folder.command(&["console"]).output().expect("it runs");
    let link = String::from_utf8(said.stdout).expect("a link").trim().to_owned();
    let api = link.split("/sign-in").next().expect("an address").to_owned();
    let page = |path: &str, more: &[&str]| curl(&[more, &[&format!("{api}{path}")]].concat());

    let seen = page("/services/web", &[]);
    assert!(
        seen.contains("healthy") && seen.contains("signed in") && !seen.contains("web  listens"),
        "{seen}"
    );
    let head = page("/", &["-I"]);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("default-src 'none'"), "{head}");

    let head = curl(&["-D", "-", "-o", "/dev/null", &link]);
    let cookie =
        head.lines().find_map(|line| line.to_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    let cookie = cookie.expect("it signs in").split(';').next().expect("a cookie");
    eventually("what it printed is shown", || {
        Some(page("/services/web", &["-b", cookie])).filter(|page| page.contains("web  listens"))
    });
    // Live lines end when all stops, and hold nothing up.
    let mut follower = Command::new("curl")
        .args(["-sSN", "-b", cookie, &format!("{api}/services/web/lines.sse")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl");

    // The API wants its token as ever, and a page of another site gets nothing.
    assert!(page("/api/v1/status", &[]).contains("token"), "{}", page("/api/v1/status", &[]));
    assert!(page("/api/nothing", &["-b", cookie]).contains("token"));
    assert!(page("/", &["-H", "Origin: http://evil.example"]).contains("another origin"));
    assert!(page("/nothing", &[]).contains("there is no page"));

    running.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(running.wait(), 0, "{}", running.said());
    assert!(follower.wait().expect("curl").success());
}
