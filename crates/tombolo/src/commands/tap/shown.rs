//! What passed, as a line for people, and below it what was asked for beside.

use super::body;
use crate::commands::traces::duration;
use crate::term::{CYAN, DIM, GREEN, RED, YELLOW, harmless, paint};
use anstyle::Style;
use serde::Deserialize;
use std::fmt::Write as _;

/// Columns of who is asked, and of what.
const WHO_COLUMNS: usize = 20;
const WHAT_COLUMNS: usize = 36;

/// What the API said, ready to be printed: something that passed, or a note on the tap itself.
#[derive(Debug)]
pub(super) enum Told {
    Carried(String),
    Note(String),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Said {
    Request(Box<Carried>),
    Append(Box<Message>),
    Delivery(Box<Message>),
    Missed { count: u64 },
    Over { reason: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Carried {
    time: String,
    duration_us: u64,
    route: String,
    caller: Option<String>,
    callee: Option<String>,
    method: String,
    uri: String,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
    attempts: u32,
    reason: Option<String>,
    filter: Option<String>,
    cut_short: bool,
    request: Half,
    response: Half,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Half {
    headers: Option<Vec<(String, String)>>,
    headers_left_out: usize,
    body: Option<Body>,
}

/// What is shown of a body.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    pub(super) bytes: u64,
    pub(super) text: Option<String>,
    pub(super) cut: bool,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) encoding: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    time: String,
    duration_us: Option<u64>,
    consumer: String,
    attempt: u32,
    outcome: String,
    reason: Option<String>,
    stream: String,
    position: Option<i64>,
    global_position: Option<i64>,
    #[serde(rename = "type")]
    sort: String,
    metadata: Option<Body>,
    data: Option<Body>,
}

impl Told {
    /// Reads a line of the API. What can't be read is shown as it is.
    pub(super) fn read(json: &str) -> Self {
        match serde_json::from_str(json) {
            Ok(Said::Request(request)) => Told::Carried(request.text()),
            Ok(Said::Append(message)) => Told::Carried(message.text("append", "")),
            Ok(Said::Delivery(message)) => {
                let to = format!("{} #{}", message.consumer, message.attempt);
                Told::Carried(message.text("deliver", &to))
            }
            Ok(Said::Missed { count }) => Told::Note(format!("{count} not shown: they came too fast")),
            Ok(Said::Over { reason }) => Told::Note(format!("the tap ended: {}", harmless(&reason))),
            Err(_) => Told::Carried(harmless(json)),
        }
    }
}

impl Carried {
    fn text(&self) -> String {
        let style = match self.status {
            _ if self.cut_short => RED,
            0..=399 => GREEN,
            400..=499 => YELLOW,
            _ => RED,
        };
        let who = match (&self.caller, &self.callee) {
            (Some(caller), Some(callee)) => format!("{caller} -> {callee}"),
            _ => self.route.clone(),
        };
        let mut text = line(
            &self.time,
            (style, &self.status.to_string()),
            Some(self.duration_us),
            (&self.method, &who, &self.uri),
        );
        let came = match self.request_bytes {
            0 => String::new(),
            bytes => format!("{} in, ", size(bytes)),
        };
        let _ = write!(text, "  {}", paint(DIM, format_args!("{came}{} out", size(self.response_bytes))));
        if self.attempts > 1 {
            let _ = write!(text, "  {} tries", self.attempts);
        }
        if let Some(reason) = &self.reason {
            let by = self.filter.as_ref().map_or_else(String::new, |filter| format!(" by {filter}"));
            let _ = write!(text, "  {}", paint(YELLOW, harmless(&format!("{reason}{by}"))));
        }
        if self.cut_short {
            let _ = write!(text, "  {}", paint(RED, "cut short"));
        }
        self.request.write(&mut text, '>');
        self.response.write(&mut text, '<');
        text
    }
}

impl Half {
    fn write(&self, text: &mut String, mark: char) {
        for (name, value) in self.headers.iter().flatten() {
            let _ = write!(text, "\n  {mark} {}: {}", paint(CYAN, harmless(name)), harmless(value));
        }
        if self.headers_left_out > 0 {
            let left = format!("({} more headers)", self.headers_left_out);
            let _ = write!(text, "\n  {mark} {}", paint(DIM, left));
        }
        if let Some(body) = &self.body {
            if self.headers.is_some() {
                let _ = write!(text, "\n  {mark}");
            }
            body::write(text, mark, body);
        }
    }
}

impl Message {
    fn text(&self, verb: &str, to: &str) -> String {
        let (style, word) = match &*self.outcome {
            "done" => (GREEN, "ok"),
            "later" => (YELLOW, "..."),
            _ => (RED, "err"),
        };
        let place = self.position.map_or_else(String::new, |position| format!("[{position}]"));
        let message = format!("{}{place} {}", self.stream, self.sort);
        let mut text = line(&self.time, (style, word), self.duration_us, (verb, to, &message));
        if let (Some(global), "append") = (self.global_position, verb) {
            let _ = write!(text, "  {}", paint(DIM, format_args!("at {global}")));
        }
        if self.outcome != "done" {
            let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let _ = write!(text, "  {}", paint(style, harmless(&format!("{}{reason}", self.outcome))));
        }
        for (mark, body) in [('#', &self.metadata), ('|', &self.data)] {
            if let Some(body) = body {
                body::write(&mut text, mark, body);
            }
        }
        text
    }
}

/// The columns that all have.
fn line(
    time: &str,
    (style, status): (Style, &str),
    took_us: Option<u64>,
    (verb, who, what): (&str, &str, &str),
) -> String {
    let took = took_us.map_or_else(String::new, duration);
    format!(
        "{}  {}  {took:>6}  {:<7}  {}  {:<WHAT_COLUMNS$}",
        paint(DIM, clock(time)),
        paint(style, format_args!("{status:>3}")),
        harmless(verb),
        paint(CYAN, format_args!("{:<WHO_COLUMNS$}", harmless(who))),
        harmless(what),
    )
}

/// The time of day to the millisecond: more is for machines.
fn clock(time: &str) -> String {
    harmless(time.get(11..23).unwrap_or(time))
}

/// `12 B`, `3.4 kB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(json: &str, expected: &Expect) {
        let (Told::Carried(text) | Told::Note(text)) = Told::read(json);
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_request_is_a_line_and_gives_a_terminal_no_orders() {
        check(
            r#"{"kind":"request","time":"2026-11-27T08:13:00.123456Z","duration_us":1234,"trace":"a","route":"cart","method":"GET","host":"h","uri":"/cart/7?\u001b[2J","status":200,"request_bytes":0,"response_bytes":2326,"attempts":1}"#,
            &expect![[
                r#"08:13:00.123  200  1.23ms  GET      cart                  /cart/7?\u{1b}[2J                     2.3 kB out"#
            ]],
        );
        check(
            r#"{"kind":"request","time":"2026-11-27T08:13:00.123456Z","duration_us":1200000,"route":"to_cart","caller":"web","callee":"cart","method":"POST","uri":"/","status":503,"request_bytes":12,"response_bytes":0,"attempts":3,"reason":"breaker_open","filter":"x","cut_short":true,"request":{"headers":[["host","cart"],["authorization","***"]],"headers_left_out":2,"body":{"bytes":9000,"text":"{\"a\":1,\"b\":[","cut":true,"type":"application/json"}},"response":{"body":{"bytes":812,"type":"image/png"}}}"#,
            &expect![[r#"
                08:13:00.123  503   1.20s  POST     web -> cart           /                                     12 B in, 0 B out  3 tries  breaker_open by x  cut short
                  > host: cart
                  > authorization: ***
                  > (2 more headers)
                  >
                  > {
                  >   "a": 1,
                  >   "b": [
                  > (the beginning of 9000 bytes)
                  < (image/png, 812 bytes, not shown: no text)"#]],
        );
    }

    #[test]
    fn a_message_is_a_line() {
        check(
            r#"{"kind":"append","time":"2026-11-27T08:13:00.123456Z","duration_us":320,"outcome":"done","stream":"order-7","position":3,"global_position":12,"type":"Placed","id":"1","metadata":{"bytes":9,"text":"{\"a\":1}"},"data":{"bytes":2,"text":"{}"}}"#,
            &expect![[r#"
                08:13:00.123   ok   320µs  append                         order-7[3] Placed                     at 12
                  # {
                  #   "a": 1
                  # }
                  | {}"#]],
        );
        check(
            r#"{"kind":"delivery","time":"2026-11-27T08:13:00.123456Z","consumer":"billing","attempt":2,"outcome":"failed","reason":"the handler answered 500","stream":"order-7","position":3,"global_position":12,"type":"Placed","id":"1"}"#,
            &expect![
                "08:13:00.123  err          deliver  billing #2            order-7[3] Placed                     failed: the handler answered 500"
            ],
        );
        check(r#"{"kind":"missed","count":12}"#, &expect!["12 not shown: they came too fast"]);
        check(r#"{"kind":"over","reason":"x"}"#, &expect!["the tap ended: x"]);
        check(r#"{"kind":"news"}"#, &expect![[r#"{"kind":"news"}"#]]);
    }
}
