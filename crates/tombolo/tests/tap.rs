//! `tombolo tap` at the door: requests, declared calls and messages are printed as they pass, without their secrets; what
//! is asked wrongly is told, and what is asked too much of is bounded.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use expect_test::{Expect, expect};
use nix::sys::signal::Signal;
use std::process::Command;
use support::{Folder, Running, eventually};
use testkit::{Backend, Reply};

/// A cart that another process runs, with secrets in what it says.
fn cart() -> Backend {
    let (started, backend) = std::sync::mpsc::channel();
    // It ends with the process.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let answer = |seen: &testkit::Seen| match seen.target.as_str() {
                "/orders" if seen.text().contains("Bad") => Reply::status(500).body("no"),
                "/orders" => Reply::status(204),
                "/cart/picture" => Reply::ok([0u8, 1, 2, 255]).header("content-type", "image/png"),
                _ => Reply::ok(r#"{"token":"hunter2","n":[1]}"#)
                    .header("content-type", "application/json")
                    .header("set-cookie", "sid=hunter2"),
            };
            started.send(Backend::start(answer).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    backend.recv().unwrap()
}

/// A shop that is up: its folder, its process, the address of its gateway, and its cart.
fn shop() -> (Folder, Running, String, Backend) {
    let cart = cart();
    let folder = Folder::with(&format!(
        r#"gateway: {{ address: "127.0.0.1:0", api: "127.0.0.1:0", support: off, workers: 2 }}
streams: {{ messagedb: off }}
consumers:
  billing: {{ category: order, handler: cart/orders, attempts: 1 }}
services:
  web: {{ run: exec APP, env: {{ NAME: web }}, calls: [cart] }}
  cart: {{ at: "http://{}" }}
routes: |
  cart: PathSubtree("/cart") -> "service://cart";
  shut: Path("/shut") -> status(503) -> <shunt>;
  web: * -> "service://web";
"#,
        cart.address()
    ));
    let mut running = folder.start(&["up"]);
    let gateway = running.address("gateway at http://");
    running.wait_for("Ctrl-C stops everything");
    (folder, running, format!("http://{gateway}"), cart)
}

fn tap(folder: &Folder, arguments: &[&str]) -> Running {
    let mut tap = folder.start(&[&["tap"], arguments].concat());
    tap.wait_for("watching ");
    tap
}

fn curl(arguments: &[&str]) -> String {
    let ran = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

/// What a tap has said, without times, ports and runs of spaces.
fn plain(said: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_time = |word: &str| word.len() == 12 && word.as_bytes()[2] == b':';
        let is_duration = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_digit())
                && ["µs", "ms", "s"]
                    .iter()
                    .any(|unit| word.strip_suffix(unit).is_some_and(|number| number.parse::<f64>().is_ok()))
        };
        let kept = words.iter().filter(|word| !is_time(word) && !is_duration(word));
        let text = kept.copied().collect::<Vec<_>>().join(" ");
        let is_secret_of_runs = ["host:", "date:", "user-agent:", "traceparent:", "b3:"];
        let (mark, field) = text.split_once(' ').unwrap_or(("", &text));
        match is_secret_of_runs.iter().find(|name| field.starts_with(**name)) {
            Some(name) => format!("{mark} {name} -"),
            None => text,
        }
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What a tap has said of messages, those first that are appended: an append is told once it is answered, and by then a
/// consumer may have the message.
fn appends_first(said: &str) -> String {
    let said = plain(said);
    let (head, messages) = said.split_once('\n').unwrap();
    let mut blocks: Vec<String> = Vec::new();
    for line in messages.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with(['#', '|']) => block.extend(["\n", line]),
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort_by_key(|block| !block.contains(" append "));
    [&[head.to_owned()], &blocks[..]].concat().join("\n")
}

fn check(said: &str, expected: &Expect) {
    expected.assert_eq(&plain(said));
}

/// Waits until a tap has printed so many lines, the first of which says what is watched.
fn lines(tap: &Running, count: usize) -> String {
    eventually(&format!("{count} lines"), || {
        let said = tap.said();
        (said.lines().count() >= count).then_some(said)
    })
}

#[test]
fn requests_and_calls_are_printed_as_they_pass() {
    let (folder, mut running, gateway, _cart) = shop();
    let carts = tap(&folder, &[r#"Path("/cart/*rest") && Method("GET")"#]);
    let calls = tap(&folder, &[r#"Host("^cart$")"#]);
    let mut failed = tap(&folder, &["--errors", "-n", "1"]);
    curl(&["-X", "POST", &format!("{gateway}/cart/1")]);
    curl(&[&format!("{gateway}/cart/2?token=hunter2&next=%2Fx")]);
    curl(&[&format!("{gateway}/call/CART_URL")]);
    curl(&[&format!("{gateway}/shut")]);
    check(
        &lines(&carts, 2),
        &expect![[r#"
            watching requests; Ctrl-C ends
            200 GET cart /cart/2?token=***&next=%2Fx 27 B out"#]],
    );
    check(
        &lines(&calls, 2),
        &expect![[r#"
            watching requests; Ctrl-C ends
            200 GET web -> cart /called 27 B out"#]],
    );
    assert_eq!(failed.wait(), 0);
    check(
        &failed.said(),
        &expect![[r#"
            watching requests and messages; Ctrl-C ends
            503 GET shut /shut 10 B out shunt"#]],
    );
    // All cores are seen.
    for number in 0..20 {
        curl(&[&format!("{gateway}/cart/{number}")]);
    }
    assert_eq!(lines(&carts, 22).lines().count(), 22);

    // Whoever watches may leave, and so may what is watched.
    let mut leaving = calls;
    // Not SIGINT: who runs tests in the background has it ignored, by all that is started below.
    leaving.signal(Signal::SIGTERM);
    assert_eq!(leaving.wait(), -1);
    assert_eq!(leaving.said().lines().count(), 2);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    let mut carts = carts;
    assert_eq!(carts.wait(), 0);
    assert_eq!(carts.said().lines().count(), 22, "it ends quietly");
}

#[test]
fn headers_and_bodies_are_shown_on_request_without_secrets() {
    let (folder, _running, gateway, _cart) = shop();
    let mut whole = tap(&folder, &["--headers", "--bodies", "--count", "2"]);
    let mut json = tap(&folder, &["--bodies", "--count", "1", "--json"]);
    let secrets = [
        ["-H", "Authorization: Bearer hunter2"],
        ["-H", "Content-Type: application/json"],
        ["-d", r#"{"user":"ann","password":"hunter2"}"#],
    ];
    curl(&[&secrets.concat()[..], &[&format!("{gateway}/cart/1")]].concat());
    curl(&[&format!("{gateway}/cart/picture")]);
    assert_eq!((whole.wait(), json.wait()), (0, 0));
    check(
        &whole.said(),
        &expect![[r#"
            watching requests and messages; Ctrl-C ends
            200 POST cart /cart/1 35 B in, 27 B out
            > host: -
            > user-agent: -
            > accept: */*
            > authorization: ***
            > content-type: application/json
            > content-length: 35
            >
            > {
            > "user": "ann",
            > "password": "***"
            > }
            < content-type: application/json
            < set-cookie: ***
            < content-length: 27
            < server: Tombolo
            <
            < {
            < "token": "***",
            < "n": [
            < 1
            < ]
            < }
            200 GET cart /cart/picture 4 B out
            > host: -
            > user-agent: -
            > accept: */*
            < content-type: image/png
            < content-length: 4
            < server: Tombolo
            <
            < (image/png, 4 bytes, not shown: no text)"#]],
    );
    let said = json.said();
    let line: serde_json::Value = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["kind"], "request");
    assert_eq!(line["request"]["body"]["text"], r#"{"user":"ann","password":"***"}"#);
    assert!(line["request"].get("headers").is_none(), "{line}");
    assert!(![whole.said(), said].concat().contains("hunter2"));
}

#[test]
fn messages_are_printed_as_they_are_appended_and_delivered() {
    let (folder, _running, gateway, _cart) = shop();
    let orders = tap(&folder, &[r#"Category("order")"#]);
    let placed = tap(&folder, &[r#"Type("Placed")"#, "--headers", "--bodies"]);
    let write = |stream: &str, kind: &str| {
        let data = r#"{"n": 1, "card": {"cvc": 123}}"#;
        let told = folder.run(&["messages", "write", stream, kind, data, "--metadata", r#"{"userId":"7"}"#]);
        assert!(told.contains("written"), "{told}");
    };
    write("order-1", "Placed");
    lines(&orders, 3);
    write("cart-1", "Filled");
    write("order-2", "Bad");
    curl(&[&format!("{gateway}/cart/1")]);
    check(
        &appends_first(&lines(&orders, 5)),
        &expect![[r#"
            watching messages; Ctrl-C ends
            ok append order-1[0] Placed at 1
            ok append order-2[0] Bad at 3
            ok deliver billing #1 order-1[0] Placed
            err deliver billing #1 order-2[0] Bad failed: the handler answered 500: no"#]],
    );
    check(
        &appends_first(&lines(&placed, 19)),
        &expect![[r#"
            watching messages; Ctrl-C ends
            ok append order-1[0] Placed at 1
            # {
            # "userId": "7"
            # }
            | {
            | "n": 1,
            | "card": {
            | "cvc": "***"
            | }
            | }
            ok deliver billing #1 order-1[0] Placed
            # {
            # "userId": "7"
            # }
            | {
            | "n": 1,
            | "card": {
            | "cvc": "***"
            | }
            | }"#]],
    );
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let folder = Folder::with("gateway: {address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}\n");
    let printed = |arguments: &[&str], expected: &Expect| {
        expected.assert_eq(&folder.printed(&[&["tap"], arguments].concat()));
    };
    printed(
        &[],
        &expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]],
    );
    printed(
        &[r#"Pth("/cart")"#],
        &expect![[r#"
        error: predicate `Pth` is not known
         --> expression:1:1
          |
        1 | Pth("/cart")
          | ^^^
          |
          = hint: did you mean `Path`?

        exit 1
    "#]],
    );
    printed(
        &[r#"Path("/cart") && Type("Placed")"#],
        &expect![[r#"
        error: `Path` is asked of requests and `Type` of messages, and nothing is both
         --> expression:1:18
          |
        1 | Path("/cart") && Type("Placed")
          |                  ^^^^
          |
          = hint: use the ones or the others; two taps show both

        exit 1
    "#]],
    );
    let mut running = folder.start(&["up"]);
    running.wait_for("gateway");
    let run = eventually("it runs", || std::fs::read_to_string(folder.path().join(".tombolo/run.json")).ok());
    printed(
        &[r#"Type("Placed")"#],
        &expect![[r#"
        error: there are no streams here
        hint: a manifest with `streams:` has them
        exit 1
    "#]],
    );

    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    let (api, token) = (run["api"].as_str().unwrap(), run["token"].as_str().unwrap());
    let url = |query: &str| format!("http://{api}/api/v1/tap?{query}");
    let ask = |token: &str, query: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        curl(&["-w", " %{http_code}", "-H", &bearer, &url(query)])
    };
    expect![[r#"{"error":"the token of .tombolo/run.json is needed","hint":"calls for streams and consumers need none: GET /api/v1/openapi.json lists them"} 401"#]].assert_eq(&ask("wrong", "match=*"));
    expect![[r#"{"error":"predicate `Pth` is not known at character 1","hint":"did you mean `Path`?"} 400"#]]
        .assert_eq(&ask(token, "match=Pth(%22/%22)"));
    expect![[r#"{"error":"`macth` is no parameter of a tap: there are `match`, `headers`, `bodies` and `errors`"} 400"#]].assert_eq(&ask(token, "macth=*"));
    expect![[r#"{"error":"`bodies` is `true` or `false`, not `yes`"} 400"#]]
        .assert_eq(&ask(token, "bodies=yes"));

    // There are so many and no more, until one is closed.
    let mut taps: Vec<Running> = (0..telemetry::tap::TAPS_MAX).map(|_| tap(&folder, &[])).collect();
    printed(
        &[],
        &expect![[r#"
        error: there are 8 taps already
        hint: end one of them
        exit 1
    "#]],
    );
    taps.pop();
    eventually("there is room", || {
        let tap = folder.start(&["tap"]);
        eventually("it has begun, or not", || {
            (tap.said().contains("watching requests;") || tap.said().contains("error")).then_some(())
        });
        tap.said().contains("watching").then(|| tap.signal(Signal::SIGTERM))
    });
}
