//! What a tap is fed: requests that have ended, messages that were appended or delivered. It is as it was carried, with
//! its secrets and cut to bounds; it is shown by nothing but [`Event::json`], which masks them.

use crate::Record;
use base::UnixTime;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use std::net::IpAddr;
use std::time::Duration;
use wire::Headers;

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 4 << 10;

/// Bytes of the fields of a head that are shown, and of metadata.
const HEADERS_BYTES_MAX: usize = 8 << 10;

/// Bytes of a target, and of a reason.
const TARGET_BYTES_MAX: usize = 2 << 10;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// Something that was carried.
pub enum Event {
    /// A request.
    Request(Box<RequestSeen>),
    /// A message.
    Message(Box<Message>),
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.json())
    }
}

/// A request that has ended.
pub struct RequestSeen {
    pub(super) begun: UnixTime,
    pub(super) took: Duration,
    pub(super) trace: String,
    pub(super) route: String,
    pub(super) caller: Option<String>,
    pub(super) callee: Option<String>,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) uri: String,
    pub(super) remote: Option<IpAddr>,
    pub(super) status: u16,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) backend: Option<String>,
    pub(super) attempts: u32,
    pub(super) reason: Option<(String, Option<String>)>,
    pub(super) cut_short: bool,
    /// Keys of the query whose values are secret as well.
    pub(super) masked_keys: Vec<String>,
    pub(super) request: Half,
    pub(super) response: Half,
}

/// A request, or its answer, as far as it is shown.
#[derive(Default)]
pub struct Half {
    pub(super) headers: Option<Vec<(HeaderName, HeaderValue)>>,
    /// Fields that are left out, as they are too many.
    pub(super) left_out: usize,
    pub(super) kind: Option<HeaderValue>,
    pub(super) encoding: Option<HeaderValue>,
    pub(super) body: Option<Vec<u8>>,
}

impl Half {
    /// Bytes of a body that are shown.
    pub const BODY_BYTES_MAX: usize = BODY_BYTES_MAX;

    /// A head with these fields, of which all are shown, or what tells how the body is to be read.
    pub fn of(fields: &Headers, shows_all: bool) -> Self {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        let one = |name| fields.get(name).filter(|value| value.len() <= NAME_BYTES_MAX).and_then(copy);
        let mut half = Self { kind: one(CONTENT_TYPE), encoding: one(CONTENT_ENCODING), ..Self::default() };
        if shows_all {
            let (mut shown, mut left) = (Vec::new(), HEADERS_BYTES_MAX);
            for (name, value) in fields {
                // Copied: what was read from the socket is not held for it.
                match left.checked_sub(name.as_str().len() + value.len()).zip(copy(value)) {
                    Some((rest, value)) => {
                        left = rest;
                        shown.push((name.clone(), value));
                    }
                    None => half.left_out += 1,
                }
            }
            half.headers = Some(shown);
        }
        half
    }

    /// The same for somebody who is shown its fields, or not.
    pub fn shown(&self, shows_all: bool) -> Self {
        let (kind, encoding) = (self.kind.clone(), self.encoding.clone());
        let headers = self.headers.clone().filter(|_| shows_all);
        let left_out = if shows_all { self.left_out } else { 0 };
        Self { headers, left_out, kind, encoding, body: None }
    }

    /// With the first bytes of its body.
    pub fn with_body(self, mut bytes: Vec<u8>) -> Self {
        bytes.truncate(BODY_BYTES_MAX);
        Self { body: Some(bytes), ..self }
    }
}

/// Whether a request counts as failed.
pub fn is_failure(record: &Record<'_>) -> bool {
    record.status >= 400 || record.cut_short
}

impl RequestSeen {
    /// What is known of a request. `target` is its path and query, and its host.
    pub fn of(
        record: &Record<'_>,
        (uri, host): (&str, &str),
        callee: Option<&str>,
        [request, response]: [Half; 2],
    ) -> Self {
        Self {
            begun: record.start,
            took: record.duration,
            trace: record.trace.trace.to_string(),
            route: cut(record.route, NAME_BYTES_MAX),
            caller: record.caller.map(|caller| cut(caller, NAME_BYTES_MAX)),
            callee: callee.map(|callee| cut(callee, NAME_BYTES_MAX)),
            method: cut(record.method, NAME_BYTES_MAX),
            host: cut(host, NAME_BYTES_MAX),
            uri: cut(uri, TARGET_BYTES_MAX),
            remote: record.remote,
            status: record.status,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            backend: record.backend.map(|backend| cut(backend.address, NAME_BYTES_MAX)),
            attempts: record.attempts,
            reason: record.reason.map(|reason| (reason.cause.to_owned(), reason.filter.map(str::to_owned))),
            cut_short: record.cut_short,
            masked_keys: record.masked_keys.to_vec(),
            request,
            response,
        }
    }
}

/// A message that was appended or delivered.
#[derive(Clone, Default)]
pub struct Message {
    /// Which of them.
    pub way: Way,
    /// When that began.
    pub begun: UnixTime,
    /// How long it took, where that is known.
    pub took: Option<Duration>,
    /// What came of it, in one word.
    pub outcome: &'static str,
    /// Why, if it failed.
    pub reason: Option<Text>,
    /// Its stream.
    pub stream: Text,
    /// Its type.
    pub kind: Text,
    /// Its id.
    pub id: String,
    /// Where it stands in its stream; not known of what was not appended.
    pub position: Option<i64>,
    /// Where it stands in the store, if that is known.
    pub global_position: Option<i64>,
    /// The trace that its metadata names.
    pub trace: Option<Text>,
    /// Its metadata, if that is shown.
    pub metadata: Option<Text>,
    /// What it says, if that is shown.
    pub data: Option<Text>,
}

/// Which way a message went.
#[derive(Clone, Default)]
pub enum Way {
    /// Into the store.
    #[default]
    Append,
    /// To a consumer.
    Delivery {
        /// Its name.
        consumer: String,
        /// The service that handles it, and where; none where messages are asked for.
        handler: Option<String>,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
}

/// The beginning of a text, and how long that is.
#[derive(Clone, Default)]
pub struct Text {
    pub(super) text: String,
    pub(super) bytes: usize,
}

impl Text {
    /// A name.
    pub fn name(text: &str) -> Self {
        Self { text: cut(text, NAME_BYTES_MAX), bytes: text.len() }
    }

    /// A sentence.
    pub fn sentence(text: &str) -> Self {
        Self { text: cut(text, TARGET_BYTES_MAX), bytes: text.len() }
    }

    /// Metadata.
    pub fn metadata(text: &str) -> Self {
        Self { text: cut(text, HEADERS_BYTES_MAX), bytes: text.len() }
    }

    /// What a message says.
    pub fn data(text: &str) -> Self {
        Self { text: cut(text, BODY_BYTES_MAX), bytes: text.len() }
    }
}

/// The beginning of a text.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
