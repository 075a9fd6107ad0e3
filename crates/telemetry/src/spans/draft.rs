//! A span as whoever carries something tells of it: borrowed, and written at once into the bytes that the store keeps,
//! so that it costs the carrier no memory of its own. What is true of any span that is kept (lower case, tags in
//! order) is made so by whoever reads the bytes.

use super::encoded::{HIGH, PARENT, flag, put_text};
use super::{Kind, MESSAGING_TAG};
use crate::protobuf::put_varint;
use base::{SpanId, TraceId, UnixTime};
use std::net::IpAddr;
use std::time::Duration;

/// Bytes of a tag's value; what is longer is cut.
pub const VALUE_BYTES_MAX: usize = 512;

/// Tags of one span; more are left out. Their number is written in one byte.
const TAGS_MAX: u8 = 127;

/// All of a span but its tags.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span it belongs to.
    pub parent: Option<SpanId>,
    /// What was done.
    pub kind: Kind,
    /// The name, in two words of which either may be empty.
    pub name: (&'a str, &'a str),
    /// When it began.
    pub begun: UnixTime,
    /// How long it took.
    pub took: Duration,
    /// Whose span it is.
    pub local: Side<'a>,
    /// The other side.
    pub remote: Side<'a>,
}

/// One side of a call. All of it may be unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side<'a> {
    /// The service; empty if unknown.
    pub service: &'a str,
    /// The address.
    pub ip: Option<IpAddr>,
    /// Zero if unknown.
    pub port: u16,
}

/// Takes the tags of a span.
pub struct TagWriter<'a> {
    bytes: &'a mut Vec<u8>,
    count: u8,
}

impl Draft<'_> {
    /// Puts the span, with the tags that `tags` gives it, behind the others.
    pub(super) fn write(&self, bytes: &mut Vec<u8>, tags: impl FnOnce(&mut TagWriter<'_>)) {
        let (high, parent) = (self.trace.high(), self.parent);
        bytes.push((self.kind as u8 + 1) | flag(high != 0, HIGH) | flag(parent.is_some(), PARENT));
        bytes.extend_from_slice(&self.trace.low().to_le_bytes());
        if high != 0 {
            bytes.extend_from_slice(&high.to_le_bytes());
        }
        if let Some(parent) = parent {
            bytes.extend_from_slice(&parent.bits().to_le_bytes());
        }
        bytes.extend_from_slice(&self.id.bits().to_le_bytes());
        put_varint(bytes, self.begun.micros());
        // One that took no time that can be told still took some: zero is "unknown".
        put_varint(bytes, u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX).max(1));
        let (first, second) = (cut(self.name.0), cut(self.name.1));
        let between = usize::from(!first.is_empty() && !second.is_empty());
        put_varint(bytes, (first.len() + between + second.len()) as u64);
        bytes.extend_from_slice(first.as_bytes());
        bytes.extend_from_slice(&b" "[..between]);
        bytes.extend_from_slice(second.as_bytes());
        self.local.write(bytes);
        self.remote.write(bytes);
        // No annotations.
        bytes.push(0);
        let place = bytes.len();
        bytes.push(0);
        let mut writer = TagWriter { bytes, count: 0 };
        tags(&mut writer);
        let count = writer.count;
        bytes[place] = count;
    }
}

impl Side<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        put_text(bytes, cut(self.service));
        match self.ip {
            None => bytes.push(0),
            Some(IpAddr::V4(address)) => {
                bytes.push(1);
                bytes.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                bytes.push(2);
                bytes.extend_from_slice(&address.octets());
            }
        }
        put_varint(bytes, self.port.into());
    }
}

impl TagWriter<'_> {
    /// A tag. One of the same key that comes later stands in its place.
    pub fn put(&mut self, key: &str, value: &str) {
        if self.count < TAGS_MAX {
            self.count += 1;
            put_text(self.bytes, cut(key));
            put_text(self.bytes, cut(value));
        }
    }

    /// A tag, if it has a value.
    pub fn put_some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.put(key, value);
        }
    }

    /// A tag whose value is a number.
    pub fn number(&mut self, key: &str, mut value: u64) {
        let mut digits = [0; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(key, std::str::from_utf8(&digits[from..]).expect("digits are ASCII"));
    }

    /// The tag by which spans of messages are known that Tombolo carries.
    pub fn messaging(&mut self) {
        self.put(MESSAGING_TAG.0, MESSAGING_TAG.1);
    }
}

/// A text within its bound, cut between characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(VALUE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::encoded::decode;
    use base::Chance;

    fn draft(name: (&'static str, &'static str)) -> Draft<'static> {
        let (trace, id) = TraceId::begin(&Chance::seeded(1));
        Draft {
            trace,
            id,
            parent: None,
            kind: Kind::Server,
            name,
            begun: UnixTime(Duration::from_micros(1_700_000_000_000_001)),
            took: Duration::from_nanos(900),
            local: Side { service: "Gateway", ..Side::default() },
            remote: Side { service: "", ip: Some([10, 0, 0, 1].into()), port: 80 },
        }
    }

    fn read(draft: &Draft<'_>, tags: impl FnOnce(&mut TagWriter<'_>)) -> crate::spans::Span {
        let mut bytes = Vec::new();
        draft.write(&mut bytes, tags);
        let mut rest = bytes.as_slice();
        let mut span = decode(&mut rest).unwrap();
        assert!(rest.is_empty(), "nothing is left of it");
        span.tidy();
        span
    }

    #[test]
    fn what_is_written_is_the_span_that_the_store_reads() {
        let parent = SpanId::draw(&Chance::seeded(2));
        let draft = Draft { parent: Some(parent), ..draft(("GET", "/a/:id")) };
        let span = read(&draft, |tags| {
            tags.put("b", "1");
            tags.number("a", 503);
            tags.put_some("none", Some(""));
            tags.put("b", "2");
        });
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(span.tags, [tag("a", "503"), tag("b", "2")]);
        assert_eq!((span.name.as_str(), span.local.service.as_str()), ("get /a/:id", "gateway"));
        assert_eq!((span.timestamp_us, span.duration_us), (1_700_000_000_000_001, 1));
        assert_eq!((span.parent, span.kind), (parent.bits(), Some(Kind::Server)));
        assert_eq!(span.trace.to_string(), String::from_utf8_lossy(&draft.trace.to_hex()));
        assert_eq!((span.remote.ipv4, span.remote.port), (Some([10, 0, 0, 1].into()), 80));
    }

    #[test]
    fn names_tags_and_their_number_are_bounded() {
        assert_eq!(read(&draft(("GET", "")), |_| {}).name, "get");
        assert_eq!(read(&draft(("", "named")), |_| {}).name, "named");
        let long = "é".repeat(VALUE_BYTES_MAX);
        let span = read(&draft(("GET", "")), |tags| {
            for number in 0..500 {
                tags.put(&format!("{number:03}"), &long);
            }
            tags.number("zero", 0);
        });
        assert_eq!(span.tags.len(), usize::from(TAGS_MAX));
        assert!(span.tags.iter().all(|(_, value)| value.len() == VALUE_BYTES_MAX));
    }
}
