//! Heads as they are written. What says how long a body is follows from the body alone.

use super::head::Length;
use crate::{Headers, Outgoing, ResponseHead};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What a response's head says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// As its version says.
    Silent,
    /// HTTP/1.0 must be told that it may go on.
    Alive,
    Close,
    /// What the head says itself: it changes the protocol.
    Switch,
}

/// Writes the head of a request.
pub(super) fn request(head: &Outgoing<'_>, length: Length, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(head.method.as_str().as_bytes());
    buffer.push(b' ');
    match head.target.path_and_query() {
        Some(target) => buffer.extend_from_slice(target.as_str().as_bytes()),
        None => buffer.push(b'/'),
    }
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    let mut told_length = false;
    for (name, value) in head.fields() {
        if *name == CONTENT_LENGTH {
            told_length = true;
        } else if *name != TRANSFER_ENCODING {
            field(name.as_str(), value, buffer);
        }
    }
    match length {
        // Where a body has a meaning, that there is none is said if it was said before
        // (RFC 9110 section 8.6).
        Length::Known(0) if !told_length => {}
        Length::Known(length) => content_length(length, buffer),
        Length::Chunked | Length::UntilClose => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    buffer.extend_from_slice(b"\r\n");
}

/// Writes the head of a response. `length` is that of its body, if it has one; without, what the head says of
/// a length stays, as for HEAD.
pub(super) fn response(
    head: &ResponseHead,
    to: Version,
    length: Option<Length>,
    keep: Keep,
    now: Instant,
    buffer: &mut Vec<u8>,
) {
    status_line(head.status, to, head.extensions.get(), buffer);
    fields(&head.headers, keep != Keep::Switch, buffer);
    match length {
        None => {
            if let Some(told) = head.headers.get(CONTENT_LENGTH) {
                field(CONTENT_LENGTH.as_str(), told.as_bytes(), buffer);
            }
        }
        Some(Length::Known(length)) => content_length(length, buffer),
        Some(Length::Chunked) => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(Length::UntilClose) => {}
    }
    match keep {
        Keep::Silent | Keep::Switch => {}
        Keep::Alive => buffer.extend_from_slice(b"connection: keep-alive\r\n"),
        Keep::Close => buffer.extend_from_slice(b"connection: close\r\n"),
    }
    if !head.headers.contains_key(DATE) {
        date(now, buffer);
    }
    buffer.extend_from_slice(b"\r\n");
}

/// An answer to what is no request, and the last one of its connection.
#[cold]
pub(super) fn refusal(status: StatusCode, why: &str, buffer: &mut Vec<u8>) {
    let text = status.canonical_reason().unwrap_or("Unknown");
    status_line(status, Version::HTTP_11, None, buffer);
    let _ = write!(
        buffer,
        "content-type: text/plain; charset=utf-8\r\nproxy-status: tombolo; error=http_request_error; \
         details=\"{why}\"\r\ncontent-length: {}\r\nconnection: close\r\n",
        text.len() + 1
    );
    date(Instant::now(), buffer);
    let _ = write!(buffer, "\r\n{text}\n");
}

/// The end of a body in chunks.
pub(super) fn last_chunk(trailers: Option<&HeaderMap>, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if ![CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name) {
            field(name.as_str(), value.as_bytes(), buffer);
        }
    }
    buffer.extend_from_slice(b"\r\n");
}

fn status_line(status: StatusCode, to: Version, reason: Option<&ReasonPhrase>, buffer: &mut Vec<u8>) {
    // A client of HTTP/1.0 is answered as such, as Go does.
    buffer.extend_from_slice(if to == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    buffer.extend_from_slice(status.as_str().as_bytes());
    buffer.push(b' ');
    let usual = status.canonical_reason().unwrap_or("").as_bytes();
    buffer.extend_from_slice(reason.map_or(usual, ReasonPhrase::as_bytes));
    buffer.extend_from_slice(b"\r\n");
}

/// All fields but those about framing; those about the connection only if they are the head's to say.
fn fields(headers: &Headers, without_connection: bool, buffer: &mut Vec<u8>) {
    for (name, value) in headers {
        if *name == CONTENT_LENGTH
            || *name == TRANSFER_ENCODING
            || (without_connection && *name == CONNECTION)
        {
            continue;
        }
        field(name.as_str(), value.as_bytes(), buffer);
    }
}

fn field(name: &str, value: &[u8], buffer: &mut Vec<u8>) {
    buffer.reserve(name.len() + value.len() + 4);
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

fn content_length(length: u64, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"content-length: ");
    number(length, 10, buffer);
    buffer.extend_from_slice(b"\r\n");
}

/// A number in base 10 or 16; the machinery of `write!` would cost more than the head around it.
pub(super) fn number(mut number: u64, base: u64, buffer: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[at..]);
}

/// When the answer was made, to the second (RFC 9110 section 6.6.1); its text is made once a second.
fn date(now: Instant, buffer: &mut Vec<u8>) {
    thread_local! {
        /// The text, and when the second ends that it names.
        static LAST: RefCell<(Option<Instant>, String)> = const { RefCell::new((None, String::new())) };
    }
    LAST.with_borrow_mut(|(until, text)| {
        if until.is_none_or(|until| now >= until) {
            let wall = SystemTime::now();
            let past = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            *until = Some(now + Duration::from_nanos(u64::from(1_000_000_000 - past)));
            *text = format!("date: {}\r\n", httpdate::fmt_http_date(wall));
        }
        buffer.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everybody_writes_them() {
        for value in [0, 1, 9, 10, 15, 16, 255, 4096, 65_535, 1_000_000_007, u64::MAX] {
            let written = |base| {
                let mut buffer = Vec::new();
                number(value, base, &mut buffer);
                String::from_utf8(buffer).unwrap()
            };
            assert_eq!((written(10), written(16)), (format!("{value}"), format!("{value:x}")));
        }
    }
}
