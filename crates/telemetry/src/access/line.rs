//! One line of the access log, in each of its formats.

use super::escape::{Field, push};
use super::uri;
use crate::Record;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::borrow::Cow;
use std::io::Write as _;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Apache's combined format with the five fields that Skipper adds: duration in milliseconds, requested
    /// host, flow id and audit header at the end, and the user in its usual place.
    #[default]
    Combined,
    /// JSON with Skipper's field names, and our own: `route`, `backend`, `backend-duration` (ms),
    /// `duration-us`, `attempts`, `caller`, `trace_id`, `span_id`, `span-name`, `tags`, `reason`, `filter`.
    Json,
    /// Short and aligned, for people.
    Terminal,
}

/// What is logged and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How a line looks. Default: Apache's combined format.
    pub format: Format,
    /// The zone of the times. Default: UTC.
    pub zone: TimeZone,
    /// Whether queries are left out, of the URI and of the referer. Default: no.
    pub strip_query: bool,
    /// Keys of queries whose values are replaced by a hash, beside those that a route names. Default: none.
    pub masked_keys: Vec<String>,
    /// Whether the terminal format has colours. Default: no.
    pub colors: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::default(),
            zone: TimeZone::UTC,
            strip_query: false,
            masked_keys: Vec::new(),
            colors: false,
        }
    }
}

/// The text of the last second's time, for most lines share it.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    text: String,
}

impl Stamp {
    fn at(&mut self, second: u64, options: &Options) -> &str {
        if self.text.is_empty() || self.second != second {
            let format = match options.format {
                Format::Combined | Format::Json => "%d/%b/%Y:%H:%M:%S %z",
                Format::Terminal => "%H:%M:%S",
            };
            let seconds = i64::try_from(second).unwrap_or(i64::MAX);
            let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
            self.text = time.to_zoned_datetime(options.zone.clone()).strftime(format).to_string();
            self.second = second;
        }
        &self.text
    }
}

impl Options {
    /// Appends the line of this request.
    pub(super) fn write(&self, line: &mut Vec<u8>, stamp: &mut Stamp, record: &Record<'_>) {
        let time = stamp.at(record.start.seconds(), self);
        match self.format {
            Format::Combined => self.combined(line, time, record),
            Format::Json => self.json(line, time, record),
            Format::Terminal => self.terminal(line, time, record),
        }
        line.push(b'\n');
    }

    fn combined(&self, line: &mut Vec<u8>, time: &str, record: &Record<'_>) {
        push_client(line, record, Field::Bare);
        line.extend_from_slice(b" - ");
        push_or_dash(line, record.user, Field::Bare);
        print(line, format_args!(" [{time}] \""));
        push(line, record.method, Field::Quoted);
        line.push(b' ');
        push(line, &self.shown(record.uri, record), Field::Quoted);
        print(line, format_args!(" {}\" {} {} \"", record.protocol(), record.status, record.response_bytes));
        push_or_dash(line, record.referer.map(|uri| self.shown(uri, record)).as_deref(), Field::Quoted);
        line.extend_from_slice(b"\" \"");
        push_or_dash(line, record.user_agent, Field::Quoted);
        print(line, format_args!("\" {} ", record.duration.as_millis()));
        push_or_dash(line, Some(record.host), Field::Bare);
        line.push(b' ');
        push_or_dash(line, record.flow_id, Field::Bare);
        line.push(b' ');
        push_or_dash(line, record.audit, Field::Bare);
    }

    fn json(&self, line: &mut Vec<u8>, time: &str, record: &Record<'_>) {
        let text = |line: &mut Vec<u8>, name: &str, value: &str| {
            print(line, format_args!("\"{name}\":\""));
            push(line, value, Field::Json);
            line.extend_from_slice(b"\",");
        };
        print(line, format_args!("{{\"timestamp\":\"{time}\",\"level\":\"info\",\"msg\":\"\",\"host\":\""));
        push_client(line, record, Field::Json);
        line.extend_from_slice(b"\",");
        text(line, "auth-user", record.user.unwrap_or_default());
        text(line, "method", record.method);
        text(line, "uri", &self.shown(record.uri, record));
        text(line, "proto", record.protocol());
        print(
            line,
            format_args!("\"status\":{},\"response-size\":{},", record.status, record.response_bytes),
        );
        text(line, "requested-host", record.host);
        text(line, "referer", &record.referer.map(|uri| self.shown(uri, record)).unwrap_or_default());
        text(line, "user-agent", record.user_agent.unwrap_or_default());
        print(line, format_args!("\"duration\":{},", record.duration.as_millis()));
        text(line, "flow-id", record.flow_id.unwrap_or_default());
        text(line, "audit", record.audit.unwrap_or_default());
        print(line, format_args!("\"duration-us\":{},", record.duration.as_micros()));
        text(line, "route", record.route);
        if let Some(backend) = record.backend {
            text(line, "backend", backend.address);
            print(line, format_args!("\"backend-duration\":{},", backend.duration.as_millis()));
        }
        if record.request_bytes > 0 {
            print(line, format_args!("\"request-size\":{},", record.request_bytes));
        }
        print(line, format_args!("\"attempts\":{},", record.attempts));
        if let Some(caller) = record.caller {
            text(line, "caller", caller);
        }
        if let Some(reason) = record.reason {
            text(line, "reason", reason.cause);
            reason.filter.into_iter().for_each(|filter| text(line, "filter", filter));
        }
        if record.cut_short {
            line.extend_from_slice(b"\"cut-short\":true,");
        }
        if let Some(name) = record.span_name {
            text(line, "span-name", name);
        }
        if !record.tags.is_empty() {
            line.extend_from_slice(b"\"tags\":{");
            for (name, value) in record.tags.iter() {
                line.push(b'"');
                push(line, name, Field::Json);
                line.extend_from_slice(b"\":\"");
                push(line, value, Field::Json);
                line.extend_from_slice(b"\",");
            }
            // The last comma.
            line.pop();
            line.extend_from_slice(b"},");
        }
        let trace = record.trace;
        print(line, format_args!("\"trace_id\":\"{}\",\"span_id\":\"{}\"}}", trace.trace, trace.span));
    }

    fn terminal(&self, line: &mut Vec<u8>, time: &str, record: &Record<'_>) {
        let (color, plain) = match (self.colors, record.status) {
            (false, _) => ("", ""),
            (true, 0..=399) => ("\x1b[32m", "\x1b[0m"),
            (true, 400..=499) => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[31m", "\x1b[0m"),
        };
        let us = record.duration.as_micros();
        let took = match us {
            0..10_000 => format!("{}.{}ms", us / 1000, us / 100 % 10),
            10_000..10_000_000 => format!("{}ms", us / 1000),
            _ => format!("{}s", us / 1_000_000),
        };
        print(line, format_args!("{time} {color}{:3}{plain} {took:>7} ", record.status));
        let start = line.len();
        push(line, record.method, Field::Bare);
        pad(line, start, 6);
        line.push(b' ');
        let start = line.len();
        if let Some(caller) = record.caller {
            push(line, caller, Field::Bare);
            line.extend_from_slice(" → ".as_bytes());
        }
        push(line, record.host, Field::Bare);
        push(line, &self.shown(record.uri, record), Field::Bare);
        pad(line, start, 40);
        line.extend_from_slice(b"  ");
        push(line, record.route, Field::Bare);
        if let Some(backend) = record.backend {
            line.extend_from_slice(" → ".as_bytes());
            push(line, backend.address, Field::Bare);
        }
        if record.attempts > 1 {
            print(line, format_args!(" ({} attempts)", record.attempts));
        }
        if let Some(reason) = record.reason {
            print(line, format_args!(" {color}"));
            push(line, reason.cause, Field::Bare);
            if let Some(filter) = reason.filter {
                line.extend_from_slice(b" by ");
                push(line, filter, Field::Bare);
            }
            line.extend_from_slice(plain.as_bytes());
        }
        if record.cut_short {
            line.extend_from_slice(b" (broke off)");
        }
    }

    /// What of a URI may be shown.
    fn shown<'a>(&self, uri: &'a str, record: &Record<'_>) -> Cow<'a, str> {
        if self.strip_query {
            return uri::strip(uri).into();
        }
        if self.masked_keys.is_empty() && record.masked_keys.is_empty() {
            return uri.into();
        }
        uri::mask(uri, |key| self.masked_keys.iter().chain(record.masked_keys).any(|masked| masked == key))
    }
}

/// Writing into memory can't fail.
fn print(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = line.write_fmt(text);
}

/// The client as Skipper names it: `X-Forwarded-For` as it came, else the peer.
fn push_client(line: &mut Vec<u8>, record: &Record<'_>, field: Field) {
    match (record.forwarded_for, record.remote) {
        (Some(forwarded), _) if field == Field::Bare && forwarded.contains(' ') => {
            // Skipper leaves the spaces, and whoever splits the line at spaces then finds nothing in its place.
            push(line, &forwarded.split(',').map(str::trim).collect::<Vec<_>>().join(","), field);
        }
        (Some(forwarded), _) if !forwarded.is_empty() => push(line, forwarded, field),
        (_, Some(remote)) => print(line, format_args!("{remote}")),
        (_, None) => push_or_dash(line, None, field),
    }
}

fn push_or_dash(line: &mut Vec<u8>, text: Option<&str>, field: Field) {
    match text {
        None | Some("") => line.push(b'-'),
        Some(text) => push(line, text, field),
    }
}

/// Fills up what was written since `start` to so many columns.
fn pad(line: &mut Vec<u8>, start: usize, columns: usize) {
    let written = String::from_utf8_lossy(&line[start..]).chars().count();
    line.resize(line.len() + columns.saturating_sub(written), b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;
    use crate::{Backend, Reason, Tags};
    use base::UnixTime;
    use expect_test::{Expect, expect};
    use std::time::Duration;

    fn line(options: &Options, record: &Record<'_>) -> String {
        let mut line = Vec::new();
        options.write(&mut line, &mut Stamp::default(), record);
        String::from_utf8(line).unwrap()
    }

    fn check(format: Format, record: &Record<'_>, expected: &Expect) {
        expected.assert_eq(&line(&Options { format, ..Options::default() }, record));
    }

    fn limited() -> Record<'static> {
        Record {
            status: 429,
            backend: None,
            attempts: 0,
            duration: Duration::from_micros(87),
            response_bytes: 18,
            forwarded_for: Some("203.0.113.7, 10.0.0.1"),
            caller: Some("checkout"),
            user: Some("ann"),
            referer: Some("https://shop.example.org/?a=b"),
            flow_id: Some("flow-1"),
            audit: Some("x y"),
            reason: Some(Reason { cause: "rate_limit", filter: Some("clientRatelimit") }),
            ..record()
        }
    }

    #[test]
    fn apaches_combined_format_with_what_skipper_adds() {
        check(
            Format::Combined,
            &record(),
            &expect![[r#"
            10.0.0.9 - - [14/Nov/2023:22:13:20 +0000] "GET /cart/7?item=12 HTTP/1.1" 200 2326 "-" "curl/8.5.0" 12 shop.example.org - -
        "#]],
        );
        check(
            Format::Combined,
            &limited(),
            &expect![[r#"
                203.0.113.7,10.0.0.1 - ann [14/Nov/2023:22:13:20 +0000] "GET /cart/7?item=12 HTTP/1.1" 429 18 "https://shop.example.org/?a=b" "curl/8.5.0" 0 shop.example.org flow-1 x\x20y
            "#]],
        );
    }

    #[test]
    fn json_has_skippers_names_and_ours() {
        check(
            Format::Json,
            &record(),
            &expect![[r#"
            {"timestamp":"14/Nov/2023:22:13:20 +0000","level":"info","msg":"","host":"10.0.0.9","auth-user":"","method":"GET","uri":"/cart/7?item=12","proto":"HTTP/1.1","status":200,"response-size":2326,"requested-host":"shop.example.org","referer":"","user-agent":"curl/8.5.0","duration":12,"flow-id":"","audit":"","duration-us":12345,"route":"cart","backend":"10.1.0.1:8080","backend-duration":12,"attempts":1,"trace_id":"910a2dec89025cc1beeb8da1658eec67","span_id":"f893a2eefb32555e"}
        "#]],
        );
        check(
            Format::Json,
            &limited(),
            &expect![[r#"
            {"timestamp":"14/Nov/2023:22:13:20 +0000","level":"info","msg":"","host":"203.0.113.7, 10.0.0.1","auth-user":"ann","method":"GET","uri":"/cart/7?item=12","proto":"HTTP/1.1","status":429,"response-size":18,"requested-host":"shop.example.org","referer":"https://shop.example.org/?a=b","user-agent":"curl/8.5.0","duration":0,"flow-id":"flow-1","audit":"x y","duration-us":87,"route":"cart","attempts":0,"caller":"checkout","reason":"rate_limit","filter":"clientRatelimit","trace_id":"910a2dec89025cc1beeb8da1658eec67","span_id":"f893a2eefb32555e"}
        "#]],
        );
        let text = line(&Options { format: Format::Json, ..Options::default() }, &limited());
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn the_terminal_format_is_short_and_aligned() {
        check(
            Format::Terminal,
            &record(),
            &expect![[r"
            22:13:20 200    12ms GET    shop.example.org/cart/7?item=12           cart → 10.1.0.1:8080
        "]],
        );
        check(
            Format::Terminal,
            &limited(),
            &expect![[r"
            22:13:20 429   0.0ms GET    checkout → shop.example.org/cart/7?item=12  cart rate_limit by clientRatelimit
        "]],
        );
        let retried = Record {
            method: "POST",
            status: 502,
            attempts: 3,
            duration: Duration::from_secs(31),
            cut_short: true,
            reason: Some(Reason { cause: "connect_failed", filter: None }),
            backend: Some(Backend { address: "10.1.0.2:8080", duration: Duration::from_secs(30) }),
            ..record()
        };
        check(
            Format::Terminal,
            &retried,
            &expect![[r"
            22:13:20 502     31s POST   shop.example.org/cart/7?item=12           cart → 10.1.0.2:8080 (3 attempts) connect_failed (broke off)
        "]],
        );
        let colors = Options { format: Format::Terminal, colors: true, ..Options::default() };
        assert!(line(&colors, &retried).contains("\x1b[31m502\x1b[0m"));
        assert!(line(&colors, &record()).contains("\x1b[32m200\x1b[0m"));
    }

    #[test]
    fn queries_can_be_left_out_or_masked_also_in_the_referer() {
        let secret = Record {
            uri: "/cart?token=abc&item=1",
            referer: Some("https://other.example.org/?token=abc"),
            ..record()
        };
        let stripped = line(&Options { strip_query: true, ..Options::default() }, &secret);
        assert!(!stripped.contains("abc") && !stripped.contains("item"), "{stripped}");
        let masked = line(&Options { masked_keys: vec!["token".to_owned()], ..Options::default() }, &secret);
        assert!(!masked.contains("abc") && masked.contains("&item=1"), "{masked}");
        let by_route = ["token".to_owned()];
        let masked_by_route = line(&Options::default(), &Record { masked_keys: &by_route, ..secret });
        assert_eq!(masked_by_route, masked);
    }

    #[test]
    fn nobody_writes_a_line_of_their_own() {
        let evil = "x\" 200\n10.0.0.1 - - [now] \"GET / \u{1b}[2J \u{2028}";
        let mut tags = Tags::default();
        assert!(tags.set(evil, evil) && tags.set("b", ""));
        let attack = Record {
            uri: evil,
            method: evil,
            host: evil,
            user_agent: Some(evil),
            referer: Some(evil),
            forwarded_for: Some(evil),
            flow_id: Some(evil),
            audit: Some(evil),
            user: Some(evil),
            caller: Some(evil),
            span_name: Some(evil),
            tags: &tags,
            backend: Some(Backend { address: evil, duration: Duration::ZERO }),
            ..record()
        };
        for format in [Format::Combined, Format::Json, Format::Terminal] {
            let line = line(&Options { format, ..Options::default() }, &attack);
            assert_eq!(line.chars().filter(|c| c.is_control() || *c == '\u{2028}').collect::<String>(), "\n");
            assert!(line.ends_with('\n'));
            if format == Format::Json {
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!((&read["tags"]["b"], &read["span-name"]), (&"".into(), &read["tags"][evil]));
            }
        }
    }

    #[test]
    fn times_are_told_in_the_zone_of_your_choice() {
        let options = Options { zone: TimeZone::fixed(jiff::tz::offset(2)), ..Options::default() };
        let mut stamp = Stamp::default();
        let mut tell = |s| stamp.at(s, &options).to_owned();
        assert_eq!(tell(1_700_000_000), "15/Nov/2023:00:13:20 +0200");
        assert_eq!(tell(1_700_000_000), "15/Nov/2023:00:13:20 +0200");
        assert_eq!(tell(1_700_000_001), "15/Nov/2023:00:13:21 +0200");
        assert_eq!(UnixTime::default().seconds(), 0);
        assert_eq!(tell(0), "01/Jan/1970:02:00:00 +0200");
        assert!(!tell(u64::MAX).is_empty());
    }
}
