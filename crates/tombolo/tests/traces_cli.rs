//! `tombolo traces` at the door: spans are posted to a running `tombolo up`, and the commands list them, show one as a
//! waterfall and print new ones as they complete.

mod support;

use expect_test::{Expect, expect};
use nix::sys::signal::Signal;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Folder, Running, eventually, post_spans, taken};

fn up() -> (Folder, Running, String) {
    let zipkin = format!("127.0.0.1:{}", taken().1);
    let folder = Folder::with(&format!(
        "traces: {{zipkin: '{zipkin}', otlp_http: off, otlp_grpc: off}}\n\
         gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n"
    ));
    let mut running = folder.start(&["up"]);
    running.wait_for("  zipkin   http://127.0.0.1:");
    (folder, running, format!("http://{zipkin}/api/v2/spans"))
}

/// A span of a trace; `more` are further fields.
fn span(trace: &str, ids: (&str, &str), service: &str, times: (u64, u64), more: &str) -> String {
    let parent = if ids.0.is_empty() { String::new() } else { format!(r#""parentId":"{}","#, ids.0) };
    format!(
        r#"{{"traceId":"{trace}",{parent}"id":"{}","timestamp":{},"duration":{},"localEndpoint":{{"serviceName":"{service}"}}{more}}}"#,
        ids.1, times.0, times.1
    )
}

const BEGAN: u64 = 1_764_158_400_000_000;

fn shop() -> String {
    let call = r#","kind":"CLIENT","name":"get","remoteEndpoint":{"serviceName":"cart"}"#;
    let cart = r#","kind":"SERVER","name":"get","tags":{"error":"cart is empty","http.method":"GET"}"#;
    [
        span("abcd", ("", "a"), "web", (BEGAN, 90_000), r#","kind":"SERVER","name":"get /""#),
        span("abcd", ("a", "b"), "web", (BEGAN + 10_000, 60_000), call),
        span("abcd", ("b", "c"), "cart", (BEGAN + 20_000, 40_000), cart),
        span("abce", ("f", "d"), "mail", (BEGAN + 1_000_000, 500), r#","name":"send""#),
    ]
    .join(",")
}

/// What a command prints, to the letter.
fn check(folder: &Folder, arguments: &[&str], expected: &Expect) {
    expected.assert_eq(&folder.printed(arguments));
}

#[test]
fn traces_are_listed_and_shown() {
    let (folder, mut running, zipkin) = up();
    let list = ["traces", "list", "--until", "2025-11-26T12:01:00Z"];
    check(
        &folder,
        &list,
        &expect![[r#"
        no such traces in the last 24h
        exit 0
    "#]],
    );
    post_spans(&zipkin, &format!("[{}]", shop()));
    eventually("the traces are there", || folder.run(&list).contains("Nabce").then_some(()));
    check(
        &folder,
        &list,
        &expect![[r#"
        TRACE             BEGAN                     DURATION             SPANS  SERVICES  ROOT
        000000000000abce  2025-11-26T12:00:01.000Z  ▏            500µs   1      1         ? mail send
        000000000000abcd  2025-11-26T12:00:00.000Z  ████████████ 90.0ms  3      2         web get /  1 error
        exit 0
    "#]],
    );
    let narrowed = [&list[..], &["--service", "web", "--remote", "cart", "-n", "1"]].concat();
    check(
        &folder,
        &narrowed,
        &expect![[r#"
        TRACE             BEGAN                     DURATION             SPANS  SERVICES  ROOT
        000000000000abcd  2025-11-26T12:00:00.000Z  ████████████ 90.0ms  3      2         web get /  1 error
        the latest 1; --limit takes more
        exit 0
    "#]],
    );
    let failed = [&list[..], &["--error", "--query", "http.method=GET", "--max-duration", "40ms"]].concat();
    check(
        &folder,
        &failed,
        &expect![[r#"
        TRACE             BEGAN                     DURATION             SPANS  SERVICES  ROOT
        000000000000abcd  2025-11-26T12:00:00.000Z  ████████████ 90.0ms  3      2         web get /  1 error
        exit 0
    "#]],
    );
    let shorter = [&list[..], &["--service", "cart", "--max-duration", "39ms"]].concat();
    check(
        &folder,
        &shorter,
        &expect![[r#"
        no such traces in the last 24h
        exit 0
    "#]],
    );
    check(
        &folder,
        &["traces", "show", "abcd"],
        &expect![[r#"
        000000000000abcd  2025-11-26T12:00:00.000Z  90.0ms  3 spans, 2 services, 1 error

        web: get /         ████████████████████████████████████████████████████   90.0ms
        └ web -> cart: get      ███████████████████████████████████▍              60.0ms
          └ cart: get                 ███████████████████████▋                    40.0ms
              error: cart is empty
        exit 0
    "#]],
    );
    check(
        &folder,
        &["traces", "show", "abce", "--tags"],
        &expect![[r#"
        000000000000abce  2025-11-26T12:00:01.000Z  500µs  1 span, 1 service

        ? mail: send ██████████████████████████████████████████████████████████    500µs

        note: spans marked `?` name a parent that nobody reported: 1
        exit 0
    "#]],
    );
    check(
        &folder,
        &["traces", "show", "abce", "--json"],
        &expect![[r#"
        [{"traceId":"000000000000abce","parentId":"000000000000000f","id":"000000000000000d","name":"send","timestamp":1764158401000000,"duration":500,"localEndpoint":{"serviceName":"mail"}}]
        exit 0
    "#]],
    );
    check(
        &folder,
        &[&narrowed[..], &["--json"]].concat(),
        &expect![[r#"
        [{"traceId":"000000000000abcd","id":"000000000000000a","kind":"SERVER","name":"get /","timestamp":1764158400000000,"duration":90000,"localEndpoint":{"serviceName":"web"}},{"traceId":"000000000000abcd","parentId":"000000000000000a","id":"000000000000000b","kind":"CLIENT","name":"get","timestamp":1764158400010000,"duration":60000,"localEndpoint":{"serviceName":"web"},"remoteEndpoint":{"serviceName":"cart"}},{"traceId":"000000000000abcd","parentId":"000000000000000b","id":"000000000000000c","kind":"SERVER","name":"get","timestamp":1764158400020000,"duration":40000,"localEndpoint":{"serviceName":"cart"},"tags":{"error":"cart is empty","http.method":"GET"}}]
        exit 0
    "#]],
    );

    // What is wrong is told.
    check(
        &folder,
        &["traces", "show", "abcf"],
        &expect![[r#"
        error: abcf not found
        hint: `tombolo traces list` shows the latest
        exit 1
    "#]],
    );
    check(
        &folder,
        &["traces", "show", "XYZ"],
        &expect![[r#"
        error: XYZ should be lower-hex encoded with no prefix
        exit 1
    "#]],
    );
    check(
        &folder,
        &["traces", "list", "--until", "noon"],
        &expect![[r#"
        error: `noon` is no time
        hint: write it like `2026-11-26T12:00:00Z`
        exit 1
    "#]],
    );
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    check(
        &folder,
        &["traces", "list"],
        &expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]],
    );
}

#[test]
fn without_traces_the_commands_say_how_to_get_some() {
    let folder = Folder::with("gateway: {address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}\n");
    let mut running = folder.start(&["up"]);
    running.wait_for("gateway");
    eventually("it runs", || folder.path().join(".tombolo/run.json").is_file().then_some(()));
    let expected = expect![[r#"
        error: there are no traces here
        hint: a manifest with `traces: {}` takes spans and keeps them
        exit 1
    "#]];
    for command in [&["traces", "list"][..], &["traces", "show", "a"], &["traces", "tail"], &["doctor"]] {
        check(&folder, command, &expected);
    }
}

#[test]
fn new_traces_are_printed_as_they_complete() {
    let (folder, _running, zipkin) = up();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let old = span("aaaa", ("", "a"), "old", (now - 2_000_000, 5), "");
    post_spans(&zipkin, &format!("[{old}]"));
    eventually("it is there", || folder.run(&["traces", "list"]).contains("Naaaa").then_some(()));
    let mut tail = folder.start(&["traces", "tail"]);
    let mut json = folder.start(&["traces", "tail", "--json", "--service", "cart"]);
    // Until both have asked once, what comes would be old.
    eventually("a new trace is told", || {
        let id = format!("bb{:06x}", number());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let web = span(&id, ("", "a"), "web", (now, 1_500), r#","name":"new""#);
        let cart = span(&id, ("a", "b"), "cart", (now, 500), r#","tags":{"error":""}"#);
        post_spans(&zipkin, &format!("[{web},{cart}]"));
        (tail.said().contains("web new  1 error") && json.said().contains(r#""serviceName":"cart""#))
            .then_some(())
    });
    assert!(!tail.said().contains("000aaaa"), "{}", tail.said());
    for tail in [&mut tail, &mut json] {
        tail.signal(Signal::SIGTERM);
        tail.wait();
    }
}

/// Another one with each call.
fn number() -> u32 {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
