//! `tombolo doctor` at the door: traces are posted to a running `tombolo up`, and what they say about the architecture of
//! its manifest is told, with evidence that can be opened, a remedy, and an exit code for machines.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use expect_test::{Expect, expect};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Folder, Running, eventually, get, post_spans, taken, try_get};

fn manifest(more: &str) -> String {
    format!(
        "services:\n\
         \x20 web: {{run: exec APP, env: {{NAME: web}}, calls: [cart]}}\n\
         \x20 cart: {{at: 'http://127.0.0.1:2', calls: [], {more}}}\n\
         traces: {{zipkin: '127.0.0.1:{}', otlp_http: off, otlp_grpc: off}}\n\
         gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n",
        taken().1
    )
}

fn up(folder: &Folder) -> (Running, String) {
    let mut running = folder.start(&["up"]);
    let zipkin = running.address("  zipkin   http://");
    (running, format!("http://{zipkin}/api/v2/spans"))
}

/// So many traces in which `web` calls `cart`, from this number on.
fn traces(from: u64, count: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64 - 60_000_000;
    let mut list = String::from("[");
    for number in from..from + count {
        let begun = now + number * 1_000;
        let comma = if number == from { "" } else { "," };
        let span = |id: u64, parent: u64, kind: &str, service: &str| {
            let parent = if parent == 0 { String::new() } else { format!(r#""parentId":"{parent}","#) };
            format!(
                r#"{{"traceId":"{number:x}",{parent}"id":"{id}","kind":"{kind}","name":"get","timestamp":{begun},"duration":900,"localEndpoint":{{"serviceName":"{service}"}}}}"#
            )
        };
        let spans = [span(1, 0, "SERVER", "web"), span(2, 1, "CLIENT", "web"), span(3, 2, "SERVER", "cart")];
        write!(list, "{comma}{}", spans.join(",")).unwrap();
    }
    list + "]"
}

/// What a command prints, to the letter.
fn check(folder: &Folder, arguments: &[&str], expected: &Expect) {
    expected.assert_eq(&folder.printed(arguments));
}

#[test]
fn the_doctor_tells_what_it_found_and_falls_silent_when_it_is_mended() {
    let folder = Folder::with(&manifest(""));
    let (mut running, zipkin) = up(&folder);
    check(
        &folder,
        &["doctor"],
        &expect![[r#"
        no traces of the last 24h: nothing can be said yet
        exit 0
    "#]],
    );
    post_spans(&zipkin, &traces(10, 20));
    eventually("all are kept", || folder.run(&["doctor", "--json"]).contains("\"traces\": 20").then_some(()));
    check(
        &folder,
        &["doctor"],
        &expect![[r#"
        warning[no-timeout]: calls without a timeout of their own
          20 calls to `cart` by `web` have no timeout; the longest took 0.9 ms
          traces: 000000000000001d 000000000000001c 000000000000001b
          remedy: give `cart` in the manifest `filters: backendTimeout("2s")`, or what it needs

        1 warning in 20 traces with 60 spans of the last 24h: the latest, 2000 at most, and up to 50 more of each service
        exit 1
    "#]],
    );
    check(
        &folder,
        &["doctor", "--fail-on", "error", "--json"],
        &expect![[r#"
        {
          "counts": {
            "error": 0,
            "note": 0,
            "warning": 1
          },
          "findings": [
            {
              "code": "no-timeout",
              "evidence": [
                "000000000000001d",
                "000000000000001c",
                "000000000000001b"
              ],
              "remedy": "give `cart` in the manifest `filters: backendTimeout(\"2s\")`, or what it needs",
              "severity": "warning",
              "title": "calls without a timeout of their own",
              "what": "20 calls to `cart` by `web` have no timeout; the longest took 0.9 ms"
            }
          ],
          "looked_at": {
            "latest": 2000,
            "left_out": 0,
            "of_each_service": 50,
            "spans": 60,
            "traces": 20
          },
          "more_findings": 0
        }
        exit 0
    "#]],
    );
    // The evidence is there to be looked at.
    let shown = folder.run(&["traces", "show", "000000000000001d"]);
    assert!(shown.contains("cart: get") && shown.ends_with("exit 0\n"), "{shown}");
    check(
        &folder,
        &["doctor", "--lookback", "1s"],
        &expect![[r#"
        no traces of the last 1s: nothing can be said yet
        exit 0
    "#]],
    );
    check(
        &folder,
        &["doctor", "--lookback", "soon"],
        &expect![[r#"
        error: invalid value 'soon' for '--lookback <DURATION>': `soon` is not a duration: write numbers with units, such as `1m30s` or `250ms`

        For more information, try '--help'.
        exit 2
    "#]],
    );

    // A manifest that gives the calls a timeout takes effect at once.
    folder.write("tombolo.yaml", &manifest("filters: 'backendTimeout(\"2s\")'"));
    eventually("it is mended", || folder.run(&["doctor"]).contains("nothing found").then_some(()));
    assert!(folder.run(&["doctor"]).ends_with("exit 0\n"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn traces_of_a_file_are_looked_at_without_anything_that_runs() {
    let folder = Folder::with(&manifest(""));
    folder.write("traces.json", &traces(10, 20));
    check(
        &folder,
        &["doctor", "--file", "traces.json", "--fail-on", "never"],
        &expect![[r#"
        warning[no-timeout]: calls without a timeout of their own
          20 calls to `cart` by `web` have no timeout; the longest took 0.9 ms
          traces: 000000000000000a 000000000000000b 000000000000000c
          remedy: give `cart` in the manifest `filters: backendTimeout("2s")`, or what it needs

        1 warning in 20 traces with 60 spans of `traces.json`
        exit 0
    "#]],
    );
    folder.write("traces.json", "{}");
    check(
        &folder,
        &["doctor", "--file", "traces.json"],
        &expect![[r#"
        error: the file holds no traces: Expected an array but was BEGIN_OBJECT at $
        hint: `tombolo traces list --json` prints some
        exit 1
    "#]],
    );
    check(
        &folder,
        &["doctor", "--file", "none.json"],
        &expect![[r#"
        error: `none.json` can't be read: No such file or directory (os error 2)
        hint: check the path; a relative one begins at the current folder or the manifest's
        exit 1
    "#]],
    );
    check(
        &folder,
        &["doctor"],
        &expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]],
    );
}

#[test]
fn what_is_carried_is_judged_though_services_report_nothing() {
    let zipkin = taken().1;
    let folder = Folder::with(&format!(
        r#"gateway: {{ address: '127.0.0.1:0', api: '127.0.0.1:0', support: off }}
traces: {{ zipkin: '127.0.0.1:{zipkin}', otlp_http: off, otlp_grpc: off }}
services:
  web: {{ run: exec APP, env: {{ NAME: web }}, health: /health, calls: [cart, news], depends_on: [cart] }}
  cart: {{ run: exec APP, env: {{ NAME: cart }}, health: /health }}
  news: {{ at: 'http://127.0.0.1:1' }}
routes: 'pages: PathSubtree("/call") -> "service://web"'
"#
    ));
    let mut running = folder.start(&["up"]);
    let gateway = running.address("gateway  http://");
    eventually("the shop answers", || {
        try_get(gateway, "/call/NONE", "").filter(|answer| answer.status == 404)
    });
    for _ in 0..100 {
        assert_eq!(get(gateway, "/call/CART_URL").status, 200);
    }
    let told = eventually("all are looked at", || {
        Some(folder.run(&["doctor"])).filter(|told| told.contains("100 calls to `cart`"))
    });
    let codes: Vec<&str> = told.split(['[', ']']).skip(1).step_by(2).collect();
    assert_eq!(codes, ["no-timeout", "unused-call"], "{told}");
    assert!(
        told.contains("`web` declares to call `news`, was at work in 101 traces and never did"),
        "{told}"
    );
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}
