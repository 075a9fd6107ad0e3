//! Texts that callers choose and filters write elsewhere: into headers, paths, queries and redirects. None of
//! them ends a line or begins another message.

use super::{ENGINES, converse, setup};
use crate::world::World;
use base64::Engine as _;
use testkit::{Conversation, Message, Recorder, Rest};

/// Filters that write what the caller chose, and what of a harmless text shows that they do.
const FILTERS: &[(&str, &str)] = &[
    (r#"setRequestHeader("X-Set", "a ${request.query.a} b")"#, "x-set: a fine b"),
    (r#"setRequestHeader("X-Set", "${p}")"#, "x-set: /fine"),
    (r#"setRequestHeader("X-Set", "${request.path}")"#, "x-set: /0/fine"),
    (r#"setRequestHeader("X-Set", "${request.cookie.c}")"#, "x-set: fine"),
    (r#"appendRequestHeader("X-Set", "${request.query.a}")"#, "x-set: fine"),
    (r#"setRequestHeader("Host", "${request.query.a}")"#, "host: fine"),
    (r#"queryToHeader("a", "X-Set", "<%s>")"#, "x-set: <fine>"),
    (r#"decodeBase64RequestHeader("X-Encoded")"#, "x-encoded: fine"),
    (r#"modRequestHeader("X-Old", "^.*$", "$0 $0")"#, "x-old: old old"),
    (r#"modPath("^/0/(.*)$", "/new/$1")"#, "get /new/fine"),
    (r#"setPath("/new${request.query.a}")"#, "get /newfine"),
    (r#"setPath("${request.query.a}")"#, "get /fine"),
    (r#"setQuery("q", "${request.query.a}")"#, "q=fine"),
    (r#"setQuery("${request.query.a}", "v")"#, "fine=v"),
    (r#"headerToQuery("X-Encoded", "q")"#, "q=zmluzq"),
    (r#"setResponseHeader("X-Set", "${request.query.a}")"#, "x-set: fine"),
    (r#"setResponseHeader("X-Set", "${p}")"#, "x-set: /fine"),
    (r#"appendResponseHeader("Set-Cookie", "a=${request.query.a}")"#, "set-cookie: a=fine"),
    (
        r#"decodeBase64ResponseHeader("X-Set") -> setResponseHeader("X-Set", "${request.header.X-Encoded}")"#,
        "x-set: fine",
    ),
    (r#"redirectTo(302, "https://shop.example")"#, "location: https://shop.example/0/fine?a=fine"),
    (r#"redirectToLower(302)"#, "/0/fine?a=fine"),
];

/// What a caller may try: to end a line, in every way some reader takes for one.
const ATTACKS: &[&str] = &[
    "x\r\nEvil: 1",
    "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    "x HTTP/1.1\r\nHost: h\r\n\r\nGET /smuggled",
    "x\nEvil: 1",
    "x\rEvil: 1",
    "\r\n",
    "x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nEvil: 1\r\n\r\n",
    "x\r\n Evil: 1",
    "x\0y",
    "x\x0by\x0cz",
    "x\u{7f}y",
    "x\u{85}Evil: 1",
    "x\u{2028}Evil: 1",
    // CR and LF to whoever cuts characters down to bytes.
    "x\u{560d}\u{560a}Evil: 1",
    "x%0d%0aEvil: 1",
    "x y",
    "x#y?z",
];

#[tokio::test]
async fn no_text_of_a_caller_ends_a_line_or_begins_a_message() {
    let mut wrong = Vec::new();
    for engine in ENGINES {
        for (filters, shows) in FILTERS {
            let harmless = pass(engine, filters, "fine").await;
            let written = harmless.map(|written| written.to_ascii_lowercase());
            if !written.as_ref().is_ok_and(|written| written.contains(shows)) {
                wrong.push(format!("{filters}: {shows:?} is not in {written:?}"));
            }
            for attack in ATTACKS {
                if let Err(why) = pass(engine, filters, attack).await {
                    wrong.push(format!("{filters} with {attack:?} ({engine:?}): {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends a text through a filter; all that was written on both sides, or what is wrong with that.
async fn pass(engine: wire::Http1, filters: &str, text: &str) -> Result<String, String> {
    let recorder = Recorder::start().await;
    let routes =
        format!(r#"r: Path("/0/*p") -> {filters} -> "{0}"; other: Path("/next") -> "{0}";"#, recorder.url());
    let world = World::with(setup(engine), &routes).await;
    let encoded: String = text.bytes().map(escaped).collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(text);
    let request = format!(
        "GET /0/{encoded}?a={encoded} HTTP/1.1\r\nHost: h\r\nX-Encoded: {base64}\r\nX-Old: old\r\n\
         Cookie: c={encoded}\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    );
    let answers = Conversation::answers(&converse(world.address, request.as_bytes()).await, &[]);
    let heard: Vec<Conversation> = recorder.heard();
    let mut messages: Vec<&Message> = Vec::new();
    for side in heard.iter().chain([&answers]) {
        if side.rest != Rest::Nothing {
            return Err(format!("{side:?}"));
        }
        messages.extend(&side.messages);
    }
    if answers.messages.len() != 2 || messages.len() > 4 {
        return Err(format!("{} answers and {} messages in all", answers.messages.len(), messages.len()));
    }
    if answers.messages[1].text() != "GET /next" {
        return Err(format!("the next request was answered by {:?}", answers.messages[1]));
    }
    let mut written = String::new();
    for message in messages {
        if message.header("evil").is_some() || message.start.starts_with("GET /smuggled") {
            return Err(format!("{message:?}"));
        }
        written += &format!("{}\n", message.start);
        written.extend(message.headers.iter().map(|(name, value)| format!("{name}: {value}\n")));
    }
    Ok(written)
}

/// A byte as it may stand in a path, a query and a cookie.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") }
}
