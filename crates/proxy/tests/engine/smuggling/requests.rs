//! Requests: what the application sees of each, and that the connection goes on where it should and nowhere
//! else.

use super::cases::{Case, cases};
use super::{converse, judge, setup};
use crate::world::World;
use expect_test::expect_file;
use testkit::{Conversation, Message, Recorder, Rest};
use wire::Http1;

/// Follows each case on its connection.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn no_request_is_understood_in_two_ways() {
    let cases = cases(include_str!("requests.txt"), &["close", "goes on"]);
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let table = judge(cases, judgement).await;
    expect_file!["requests.table"].assert_eq(&table);
}

async fn judgement(case: Case, engine: Http1) -> Result<String, String> {
    let recorder = Recorder::start().await;
    let routes = format!(r#"r: * -> preserveHost("true") -> "{}""#, recorder.url());
    let world = World::with(setup(engine), &routes).await;
    let answers = converse(world.address, &[&case.bytes, NEXT.as_bytes()].concat()).await;
    let heard = recorder.heard();
    let seen: Vec<_> = heard.iter().flat_map(|connection| &connection.messages).collect();
    let seen: Vec<_> = seen.into_iter().map(described).collect();
    for connection in &heard {
        if let Rest::Malformed(why) = &connection.rest {
            return Err(format!("the application heard {why}"));
        }
    }

    // What is seen begins the list of what may be seen.
    let forgives = engine == Http1::Hyper && !case.lenient.is_empty() && !seen.is_empty();
    let mut may = if forgives { case.lenient.clone() } else { case.readings.clone() };
    if case.is("goes on") || !(may.is_empty() || case.is("close")) {
        may.push("GET /next");
    }
    if seen.len() > may.len() || seen.iter().zip(&may).any(|(seen, may)| seen != may) {
        return Err(format!("seen were {seen:?}, which may be {may:?}"));
    }

    // Each answer of the application's answers the request at its place.
    let methods: Vec<_> = seen.iter().map(|seen| seen.split(' ').next().unwrap_or_default()).collect();
    let answers = Conversation::answers(&answers, &methods);
    if answers.rest != Rest::Nothing {
        return Err(format!("the client read {answers:?}"));
    }
    let (passed, refused): (Vec<_>, Vec<_>) =
        answers.messages.iter().partition(|answer| answer.status() == 200);
    if passed.len() != seen.len() || refused.len() > 1 {
        return Err(format!("seen were {seen:?}, answered {answers:?}"));
    }
    for (answer, seen) in passed.iter().zip(&seen) {
        let own = seen.starts_with("HEAD ") || seen.starts_with(&answer.text().escape_default().to_string());
        if !own {
            return Err(format!("{seen:?} was answered by {:?}", answer.text()));
        }
    }
    // hyper closes in silence at times.
    let silent = engine == Http1::Hyper && seen.is_empty();
    if (seen.len() < may.len() || may.len() == usize::from(case.is("goes on")))
        && refused.is_empty()
        && !silent
    {
        return Err(format!("seen were {seen:?} of {may:?}, and nothing says why"));
    }

    // And nothing is left in the gateway for others.
    let after = converse(world.address, NEXT.replace("next", "after").as_bytes()).await;
    let after = Conversation::answers(&after, &[]);
    if after.messages.len() != 1 || after.messages[0].text() != "GET /after" {
        return Err(format!("afterwards another client read {after:?}"));
    }
    let mut told = seen.clone();
    told.extend(refused.iter().map(|answer| answer.status().to_string()));
    Ok(if told.is_empty() { "closed".to_owned() } else { told.join(", ") })
}

/// A request as the file of cases writes it.
fn described(request: &Message) -> String {
    let (line, body) = (request.start.trim_end_matches(" HTTP/1.1"), request.text());
    let host = request.header("host").unwrap_or_default();
    let mut text = line.to_owned();
    if host != "h" {
        text += " for ";
        text += host;
    }
    if !body.is_empty() {
        text += " ";
        text += &body.escape_default().to_string();
    }
    text.trim_end().to_owned()
}
