//! Answers of applications: what a client is told of each, and that the answers to others are their own.

use super::cases::{Case, cases};
use super::{converse, judge, setup};
use crate::world::World;
use expect_test::expect_file;
use std::time::Duration;
use testkit::{Backend, Conversation, Reply, Rest};
use wire::Http1;

/// Long enough for the gateway to keep the connection.
const WHILE: Duration = Duration::from_millis(40);

#[tokio::test]
async fn no_answer_is_understood_in_two_ways() {
    let cases = cases(include_str!("answers.txt"), &["to HEAD", "closes"]);
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let table = judge(cases, judgement).await;
    expect_file!["answers.table"].assert_eq(&table);
}

async fn judgement(case: Case, engine: Http1) -> Result<String, String> {
    let (bytes, later, closes) = (case.bytes.clone(), case.later.clone(), case.is("closes"));
    let waits = !later.is_empty();
    let backend = Backend::start(move |seen| {
        if seen.target != "/case" {
            return Reply::ok(seen.line());
        }
        let mut reply = Reply::raw(bytes.clone());
        if waits {
            reply = reply.later(WHILE, later.clone());
        }
        if closes { reply.then_close() } else { reply }
    })
    .await;
    let world = World::with(setup(engine), &format!(r#"r: * -> "{}""#, backend.url())).await;
    let method = if case.is("to HEAD") { "HEAD" } else { "GET" };
    let case_line = format!("{method} /case HTTP/1.1\r\nHost: h\r\n");
    let last = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

    // What comes later must find the connection at rest.
    let asked = if waits {
        format!("{case_line}Connection: close\r\n\r\n")
    } else {
        format!("{case_line}\r\n{}", last("/next"))
    };
    let raw = converse(world.address, asked.as_bytes()).await;
    let answers = Conversation::answers(&raw, &[method]);
    let refused = answers
        .messages
        .first()
        .filter(|answer| answer.header("proxy-status").is_some_and(|status| status.contains("error=")));
    let told = match (answers.messages.first(), &answers.rest) {
        (_, Rest::Malformed(why)) => return Err(format!("the client read {why}")),
        (None, Rest::Begun) => "cut".to_owned(),
        // hyper writes a head together with its body, and breaks off both.
        (None, Rest::Nothing) if engine == Http1::Hyper => "cut".to_owned(),
        (None, Rest::Nothing) => return Err("the client read nothing".to_owned()),
        (Some(answer), _) if refused.is_some() && answer.status() >= 500 => "refused".to_owned(),
        (Some(answer), _) => format!("{} {}", answer.status(), answer.text()).trim_end().to_owned(),
    };
    let lenient = if engine == Http1::Hyper { &case.lenient[..] } else { &[] };
    if !case.readings.iter().chain(lenient).any(|may| *may == told) {
        return Err(format!("the client was told {told:?}, {answers:?}"));
    }
    if !waits && told != "cut" {
        let next = answers.messages.get(1).map(testkit::Message::text);
        if next.as_deref() != Some("GET /next") || answers.messages.len() != 2 {
            return Err(format!("the next request was answered by {answers:?}"));
        }
    }
    if waits {
        tokio::time::sleep(2 * WHILE).await;
    }
    for _ in 0..3 {
        let after = Conversation::answers(&converse(world.address, last("/after").as_bytes()).await, &[]);
        if after.messages.len() != 1 || after.messages[0].text() != "GET /after" {
            return Err(format!("another client read {after:?}"));
        }
    }
    Ok(told)
}
