//! Which calls a trace shows, whatever its instrumentation leaves out.

use super::*;
use crate::doctor::Policy;
use crate::doctor::world::{self, call, chain};
use crate::zipkin::decode_json;
use std::collections::BTreeSet;
use std::fmt::Write as _;

fn told(spans: Vec<Span>, facts: &Facts) -> String {
    let tree = Tree::of(spans);
    let mut text = String::new();
    for call in calls(&tree, facts) {
        let above = call.above.map_or_else(String::new, |above| format!(" in {above}"));
        let marks =
            [(call.failed, " failed"), (call.is_superseded, " superseded"), (!call.is_served, " unserved")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let attempt = if call.attempt > 0 { format!(" try {}", call.attempt) } else { String::new() };
        let caller = call.caller.unwrap_or("-");
        _ = writeln!(text, "{caller}>{} {}{above}{marks}{attempt}", call.callee, call.name);
    }
    text
}

fn carried() -> Facts {
    Facts { carriers: BTreeSet::from(["gateway".to_owned()]), ..Facts::default() }
}

/// Spans of one trace: `id parent KIND local remote name begin end tags`, a `-` for what is not there.
fn spans(lines: &str) -> Vec<Span> {
    let span = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, parent, kind, local, remote, name, begin, end, tags @ ..] = words.as_slice() else {
            panic!("{line}")
        };
        let text = |name: &str, value: &str| {
            if value == "-" { String::new() } else { format!(r#","{name}":"{value}""#) }
        };
        let endpoint = |name: &str, value: &str| {
            if value == "-" { String::new() } else { format!(r#","{name}":{{"serviceName":"{value}"}}"#) }
        };
        let (begin, end): (u64, u64) = (begin.parse().unwrap(), end.parse().unwrap());
        let tags: Vec<String> = tags
            .iter()
            .filter_map(|tag| tag.split_once('='))
            .map(|(key, value)| format!(r#""{key}":"{value}""#))
            .collect();
        format!(
            r#"{{"traceId":"1","id":"{id}"{}{}{}{}{},"timestamp":{},"duration":{},"tags":{{{}}}}}"#,
            text("parentId", parent),
            text("kind", kind),
            text("name", name),
            endpoint("localEndpoint", local),
            endpoint("remoteEndpoint", remote),
            begin + 1_000,
            end - begin,
            tags.join(",")
        )
    };
    let list: Vec<String> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(span).collect();
    decode_json(format!("[{}]", list.join(",")).as_bytes()).expect("spans")
}

#[test]
fn client_and_server_are_one_call() {
    let entry = call("web", [chain("cart db"), call("mail", []).failing()]);
    let expected = "->web get\nweb>cart get in 0\ncart>db get in 1\nweb>mail get in 0 failed\n";
    assert_eq!(told(world::trace(1, &entry), &Facts::default()), expected);
}

#[test]
fn whoever_carries_a_call_is_none_of_its_sides() {
    // The gateway's door, a call by the gateway within a trace, and services that report nothing by themselves.
    let at_the_door = "1 - SERVER gateway - /cart 0 90
        2 1 CLIENT gateway web get 5 80
        3 2 SERVER web - get 10 70";
    assert_eq!(told(spans(at_the_door), &carried()), "->web /cart\n");
    let within = "1 - SERVER web - get 0 90
        2 1 CLIENT web gateway get 5 80
        3 2 SERVER gateway - /x 6 79
        4 3 CLIENT gateway cart get 10 70
        5 4 SERVER cart - get 12 60";
    assert_eq!(told(spans(within), &carried()), "->web get\nweb>cart get in 0\n");
    let silent = "1 - SERVER gateway - /cart 0 90
        2 1 CLIENT gateway web get 5 80
        3 2 CLIENT web cart get 10 70
        4 3 CLIENT web cart get 11 69";
    assert_eq!(told(spans(silent), &carried()), "->web /cart\nweb>cart get in 0 unserved\n");
    let known = world::facts(&[("web>cart", Policy::default())]);
    assert_eq!(told(spans(silent), &known), "->web /cart\nweb>cart get in 0\n");
}

#[test]
fn nobody_waits_for_what_is_done_with_a_message() {
    let lines = "1 - SERVER web - post 0 90
        2 1 PRODUCER web broker send 5 6
        3 2 CONSUMER mail broker take 100 900
        4 3 CLIENT mail smtp send 110 800";
    assert_eq!(told(spans(lines), &Facts::default()), "->web post\nmail>smtp send unserved\n");
}

#[test]
fn nobody_waits_for_a_copy_that_goes_elsewhere() {
    let lines = "1 - SERVER gateway - /a 0 90
        2 1 CLIENT gateway web get 5 80
        3 2 SERVER web - get 10 70
        4 1 CLIENT gateway shadow get 5 500 tombolo.copy=true
        5 4 SERVER shadow - get 10 400
        6 5 CLIENT shadow db get 20 300";
    assert_eq!(told(spans(lines), &carried()), "->web /a\n->shadow get\nshadow>db get in 1 unserved\n");
}

#[test]
fn what_is_called_may_be_told_by_its_caller_alone() {
    let lines = "1 - - web - work 0 90
        2 1 - web db query 5 6
        3 1 - web web local 5 6
        4 1 CLIENT web - get 7 8
        5 - SERVER cart web get 20 30";
    assert_eq!(told(spans(lines), &Facts::default()), "web>db query unserved\nweb>cart get\n");
}

#[test]
fn a_second_try_is_known_by_what_stands_above_it_by_its_target_or_by_its_tag() {
    let tries = |above: &str, first: &str, second: &str| {
        let lines = format!(
            "1 - SERVER web - get 0 90
             {above}
             3 {parent} CLIENT web cart get 10 20 {first}
             4 {parent} CLIENT web cart get 30 40 {second}",
            parent = if above.is_empty() { 1 } else { 2 },
        );
        told(spans(&lines), &Facts::default()).lines().skip(1).collect::<Vec<_>>().join(", ")
    };
    let once = "web>cart get in 0 failed unserved, web>cart get in 0 unserved";
    let twice = "web>cart get in 0 failed superseded unserved, web>cart get in 0 unserved try 1";
    let above = "2 1 CLIENT web cart get 5 50";
    assert_eq!(tries("", "error=x", ""), once, "two calls of a kind");
    assert_eq!(tries(above, "error=x", ""), twice);
    assert_eq!(tries("", "error=x http.path=/1", "http.path=/1"), twice);
    assert_eq!(tries("", "error=x http.path=/1", "http.path=/2"), once);
    assert_eq!(tries("", "error=x", "http.request.resend_count=1"), twice);
    let fine = "web>cart get in 0 unserved, web>cart get in 0 unserved";
    assert_eq!(tries(above, "", ""), fine, "a first one that went well");
    // Who asked for the wrong thing is no reason to try again.
    assert_eq!(tries(above, "error=x http.status_code=404", ""), fine);
    assert_eq!(tries(above, "error=x http.status_code=503", ""), twice);
}

#[test]
fn what_a_gateway_sends_again_is_one_call() {
    let lines = "1 - SERVER gateway - /cart 0 90
        2 1 CLIENT gateway web get 5 20 error=503
        3 1 CLIENT gateway web get 30 80
        4 3 SERVER web - get 35 70";
    let expected = "->web /cart failed superseded unserved\n->web /cart try 1\n";
    assert_eq!(told(spans(lines), &carried()), expected);
}
