//! Which services call which, where Tombolo carries the calls: the map is the same whether the services report spans
//! of their own or none, and no call is counted twice.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use expect_test::{Expect, expect};
use std::collections::HashMap;
use telemetry::spans::{Kind, Linker, MESSAGING_TAG, ROUTE_TAG, Span, TraceKey};

/// Reads a span a line: `parent.id kind local>remote`, then `carried` or `broker` if it is ours, `shared`, `error`. Ids
/// are words.
fn spans(text: &str) -> Vec<Span> {
    let mut ids: HashMap<String, u64> = HashMap::new();
    let mut id = |word: &str| {
        let next = ids.len() as u64 + 1;
        if word.is_empty() { 0 } else { *ids.entry(word.to_owned()).or_insert(next) }
    };
    let mut spans = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (parent, own) = words.next().unwrap().split_once('.').unwrap();
        let mut span = Span {
            trace: TraceKey { high: 1, low: 1 },
            parent: id(parent),
            id: id(own),
            kind: Kind::parse(words.next().unwrap()),
            timestamp_us: 1,
            ..Span::default()
        };
        let (local, remote) = words.next().unwrap().split_once('>').unwrap();
        (span.local.service, span.remote.service) = (local.to_owned(), remote.to_owned());
        for word in words {
            match word {
                "carried" => span.tags.push((ROUTE_TAG.to_owned(), "r".to_owned())),
                "broker" => span.tags.push((MESSAGING_TAG.0.to_owned(), MESSAGING_TAG.1.to_owned())),
                "shared" => span.shared = true,
                "error" => span.tags.push(("error".to_owned(), "503".to_owned())),
                other => panic!("{other}"),
            }
        }
        span.tidy();
        spans.push(span);
    }
    spans
}

/// The links of a trace, in whatever order its spans come.
fn check(text: &str, expected: &Expect) {
    let told = |spans: &[Span]| {
        let mut linker = Linker::default();
        linker.put_trace(spans);
        let mut lines: Vec<_> = linker
            .links()
            .iter()
            .map(|link| format!("{} -> {} {} {}\n", link.parent, link.child, link.calls, link.errors))
            .collect();
        lines.sort();
        lines.concat()
    };
    let mut spans = spans(text);
    let forward = told(&spans);
    spans.reverse();
    assert_eq!(forward, told(&spans), "in the reverse order");
    expected.assert_eq(&forward);
}

/// The gateway's front door, a service behind it, and one that this one calls twice.
fn shop() -> Expect {
    expect![[r"
        gateway -> web 1 0
        web -> cart 2 1
    "]]
}

#[test]
fn nobody_reports_but_the_trace_goes_on() {
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.d1 CLIENT web>cart carried
        d1.t1 CLIENT web>cart carried
        a.d2 CLIENT web>cart carried error
        d2.t2 CLIENT web>cart carried error",
        &shop(),
    );
}

#[test]
fn all_report() {
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.w SERVER web>
        w.c1 CLIENT web>127.0.0.1
        c1.d1 CLIENT web>cart carried
        d1.t1 CLIENT web>cart carried
        t1.k1 SERVER cart>
        w.c2 CLIENT web>127.0.0.1 error
        c2.d2 CLIENT web>cart carried error
        d2.t2 CLIENT web>cart carried error
        t2.k2 SERVER cart> error",
        &shop(),
    );
}

#[test]
fn all_report_and_share_the_ids_of_their_clients() {
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        s.a SERVER web> shared
        a.c1 CLIENT web>cart
        c1.d1 CLIENT web>cart carried
        d1.t1 CLIENT web>cart carried
        d1.t1 SERVER cart> shared
        a.c2 CLIENT web>cart error
        c2.d2 CLIENT web>cart carried error
        d2.t2 CLIENT web>cart carried error
        d2.t2 SERVER cart> shared error",
        &shop(),
    );
}

#[test]
fn the_caller_reports_or_the_called_one() {
    let caller = "
        .s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.w SERVER web>
        w.c1 CLIENT web>
        c1.d1 CLIENT web>cart carried
        d1.t1 CLIENT web>cart carried
        w.c2 CLIENT web>
        c2.d2 CLIENT web>cart carried error
        d2.t2 CLIENT web>cart carried error";
    check(caller, &shop());
    let called = "
        .s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.d1 CLIENT web>cart carried
        d1.t1 CLIENT web>cart carried
        t1.k1 SERVER cart>
        a.d2 CLIENT web>cart carried error
        d2.t2 CLIENT web>cart carried error
        t2.k2 SERVER cart> error";
    check(called, &shop());
}

#[test]
fn each_try_is_a_call_and_one_that_was_not_made_a_failed_one() {
    check(
        ".d CLIENT web>cart carried
        d.t1 CLIENT web>cart carried error
        d.t2 CLIENT web>cart carried
        t2.k SERVER cart>
        k.e CLIENT cart>db carried error",
        &expect![[r"
            cart -> db 1 1
            web -> cart 2 1
        "]],
    );
}

#[test]
fn who_comes_by_the_front_door_calls_the_gateway() {
    check(
        ".c CLIENT app>
        c.s SERVER gateway> carried
        s.a CLIENT gateway>cart carried
        a.k SERVER cart>",
        &expect![[r"
            app -> gateway 1 0
            gateway -> cart 1 0
        "]],
    );
    // A service that reports nothing and comes back by the front door.
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.s2 SERVER gateway> carried
        s2.b CLIENT gateway>cart carried",
        &expect![[r"
            gateway -> cart 1 0
            gateway -> web 1 0
            web -> gateway 1 0
        "]],
    );
}

#[test]
fn a_message_goes_through_the_broker() {
    let through = || {
        expect![[r"
        billing -> streams 1 0
        gateway -> web 1 0
        streams -> billing 1 0
        web -> streams 1 0
    "]]
    };
    // Nobody reports: `web` appends with the context that it was given, and `billing` answers with a message.
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.p PRODUCER streams> broker
        p.c CONSUMER streams> broker
        c.d CLIENT streams>billing carried
        d.t CLIENT streams>billing carried
        c.q PRODUCER billing>streams broker",
        &through(),
    );
    // All report, and `billing` appends by itself.
    check(
        ".s SERVER gateway> carried
        s.a CLIENT gateway>web carried
        a.w SERVER web>
        w.x CLIENT web>127.0.0.1
        x.p PRODUCER streams> broker
        p.c CONSUMER streams> broker
        c.d CLIENT streams>billing carried
        d.t CLIENT streams>billing carried
        t.b SERVER billing>
        b.y CLIENT billing>localhost
        y.q PRODUCER streams> broker",
        &through(),
    );
}
