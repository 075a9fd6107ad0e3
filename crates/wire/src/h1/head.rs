//! Heads of messages: found among the bytes that came, checked and read. What two readers could understand
//! differently is refused: bare line feeds, folded lines, space before a colon, two lengths, a length beside
//! chunks, an encoding that is not exactly `chunked`.

use super::framing::{Framing, Meaning, Transfer};
use super::seen::{self, Line};
use crate::{Headers, RequestHead, ResponseHead};
use bytes::Bytes;
use http::header::{EXPECT, UPGRADE};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use hyper::ext::ReasonPhrase;
use memchr::memmem;
use std::cell::OnceCell;
use std::sync::LazyLock;

/// Fields of a response's head, at most.
pub(super) const FIELDS_MAX: usize = 128;

/// Fields that most heads have room for without growing.
const USUAL_FIELDS: usize = 8;

/// Trailers of a body, at most.
const TRAILERS_MAX: usize = 32;

/// The end of a head: the end of its last line and an empty one.
static END: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

const LINE_END: Refusal = bad("a line does not end with CR LF");
const FIRST_LINE: Refusal = bad("the first line has forbidden letters");

/// Empty lines before a head that are passed over (RFC 9112 section 2.2).
const EMPTY_LINES_MAX: usize = 4;

/// A message that is not taken: what a server answers, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    /// As long as the connection; responses only.
    UntilClose,
}

/// The head of a request, and what it says of the connection.
#[derive(Debug)]
pub(super) struct ReadRequest {
    pub(super) head: Box<RequestHead>,
    pub(super) length: Length,
    /// Whether the client wants to go on with the connection.
    pub(super) keep_alive: bool,
    /// Whether it waits for 100 before it sends its body.
    pub(super) expects_continue: bool,
    /// Whether it wants to see trailers (RFC 9110 section 6.5.1).
    pub(super) wants_trailers: bool,
    /// Whether it asks for another protocol on the connection (RFC 9110 section 7.8).
    pub(super) wants_upgrade: bool,
}

/// The head of a response, and what it says of the connection.
#[derive(Debug)]
pub(super) struct ReadResponse {
    pub(super) head: ResponseHead,
    pub(super) length: Length,
    pub(super) keep_alive: bool,
}

/// How far the search for the end of a head has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// Bytes looked at before.
    scanned: usize,
    /// Empty lines passed over.
    empty_lines: usize,
}

impl Search {
    /// Whether anything came of the head, or of the empty lines before it.
    pub(super) fn has_begun(&self) -> bool {
        *self != Self::default()
    }
}

/// Looks for the next head among the bytes that came: how many have passed, and what `read` makes of the head if it
/// is whole. The search begins anew then.
pub(super) fn take<T>(
    came: &[u8],
    search: &mut Search,
    bytes_max: usize,
    read: impl Fn(&[u8]) -> Result<T, Refusal>,
) -> Result<(usize, Option<T>), Refusal> {
    let mut passed = 0;
    while search.scanned == 0 && came[passed..].starts_with(b"\r\n") {
        if search.empty_lines == EMPTY_LINES_MAX {
            return Err(bad("too many empty lines before the first line"));
        }
        passed += 2;
        search.empty_lines += 1;
    }
    let ahead = &came[passed..];
    // The end may have begun among the bytes that were looked at before.
    let from = search.scanned.saturating_sub(3);
    if let Some(at) = END.find(&ahead[from..]) {
        let end = from + at + 4;
        if end > bytes_max {
            return Err(too_large(ahead));
        }
        *search = Search::default();
        return Ok((passed + end, Some(read(&ahead[..end])?)));
    }
    // A head whose lines end in another way would never end.
    for at in memchr::memchr_iter(b'\n', &ahead[search.scanned..]) {
        let at = search.scanned + at;
        if at == 0 || ahead[at - 1] != b'\r' {
            return Err(LINE_END);
        }
    }
    if ahead.len() > bytes_max {
        return Err(too_large(ahead));
    }
    // Half an empty line may be looked at again.
    search.scanned = if *ahead == *b"\r" { 0 } else { ahead.len() };
    Ok((passed, None))
}

/// A text of which parts are kept: all of it is copied with the first.
pub(super) struct Text<'a> {
    text: &'a [u8],
    copy: OnceCell<Bytes>,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, copy: OnceCell::new() }
    }

    /// A part of it, to be kept.
    pub(super) fn keep(&self, part: &[u8]) -> Bytes {
        let at = part.as_ptr().addr() - self.text.as_ptr().addr();
        self.copy.get_or_init(|| Bytes::copy_from_slice(self.text)).slice(at..at + part.len())
    }
}

/// Reads the head of a request of at most so many fields.
pub(super) fn request(head: &[u8], fields_max: usize) -> Result<ReadRequest, Refusal> {
    let (line, lines) = first_line(head)?;
    let (method, rest) = word(line).ok_or(FIRST_LINE)?;
    // Up to the first letter that no target may have, which must be the space behind it.
    let end = rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f).ok_or(FIRST_LINE)?;
    let (target, version) = (&rest[..end], rest[end..].strip_prefix(b" ").ok_or(FIRST_LINE)?);
    let method = Method::from_bytes(method).map_err(|_| FIRST_LINE)?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            let why = "the protocol is neither HTTP/1.1 nor HTTP/1.0";
            return Err(Refusal { status: StatusCode::HTTP_VERSION_NOT_SUPPORTED, why });
        }
        _ => return Err(FIRST_LINE),
    };
    let uri = Uri::from_maybe_shared(Bytes::copy_from_slice(target))
        .map_err(|_| bad("the target is no path and no address"))?;
    // Only CONNECT names a host and nothing else (RFC 9112 section 3.2.3).
    if uri.authority().is_some() && uri.scheme().is_none() && method != Method::CONNECT {
        return Err(bad("the target does not begin with /"));
    }
    let (headers, framing) = read_fields(head, lines, fields_max)?;
    let length = match (framing.transfer, framing.length) {
        (None, length) => Length::Known(length.unwrap_or(0)),
        (Some(_), Some(_)) => return Err(bad("the body has a length and is in chunks as well")),
        (Some(_), None) if version == Version::HTTP_10 => return Err(bad("HTTP/1.0 knows no chunks")),
        (Some(Transfer::Chunked), None) => Length::Chunked,
        // Where the body ends can't be known (RFC 9112 section 6.3).
        (Some(Transfer::Endless), None) => return Err(bad("the last transfer coding is not chunked")),
        (Some(Transfer::Unknown), None) => {
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(Refusal { status, why: "the body has a transfer coding other than chunked" });
        }
    };
    let expects_continue = version == Version::HTTP_11
        && length != Length::Known(0)
        && headers
            .get(EXPECT)
            .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let keep_alive = framing.keeps_alive(version);
    let wants_trailers = framing.wants_trailers;
    let wants_upgrade = framing.upgrade && version == Version::HTTP_11 && headers.contains_key(UPGRADE);
    let head = Box::new(RequestHead { method, uri, version, headers, extensions: Extensions::new() });
    Ok(ReadRequest { head, length, keep_alive, expects_continue, wants_trailers, wants_upgrade })
}

/// Reads the head of a response to a request of this method.
pub(super) fn response(head: &[u8], to: &Method) -> Result<ReadResponse, Refusal> {
    let (line, lines) = first_line(head)?;
    let (version, rest) = word(line).unwrap_or((line, b""));
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(FIRST_LINE),
    };
    // The words behind a status may be left out, and the space before them as well.
    let (code, reason) = word(rest).unwrap_or((rest, b""));
    let status = StatusCode::from_bytes(code).map_err(|_| bad("the status is no number of three digits"))?;
    let (headers, framing) = read_fields(head, lines, FIELDS_MAX)?;
    let bodyless = *to == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = match (framing.transfer, framing.length) {
        (Some(_), Some(_)) => return Err(bad("the body has a length and is in chunks as well")),
        (Some(Transfer::Endless | Transfer::Unknown), None) => {
            return Err(bad("the body has a transfer coding other than chunked"));
        }
        (Some(_), None) if version == Version::HTTP_10 => return Err(bad("HTTP/1.0 knows no chunks")),
        _ if bodyless => Length::Known(0),
        (Some(Transfer::Chunked), None) => Length::Chunked,
        (None, Some(length)) => Length::Known(length),
        (None, None) => Length::UntilClose,
    };
    let keep_alive = framing.keeps_alive(version) && length != Length::UntilClose;
    let mut extensions = Extensions::new();
    // The words behind a status mean nothing, but whoever chose others than usual shall be heard.
    if status.canonical_reason().is_none_or(|usual| usual.as_bytes() != reason) && !reason.is_empty() {
        extensions.insert(ReasonPhrase::try_from(reason).map_err(|_| FIRST_LINE)?);
    }
    Ok(ReadResponse { head: ResponseHead { status, version, headers, extensions }, length, keep_alive })
}

/// Reads the fields behind the last chunk, as they came up to the empty line.
pub(super) fn trailers(lines: &[u8]) -> Result<HeaderMap, Refusal> {
    // The empty line is the last one.
    let rest = lines.strip_suffix(b"\r\n").ok_or(LINE_END)?;
    let (headers, _) = read_fields(lines, rest, TRAILERS_MAX).map_err(|refusal| match refusal.status {
        StatusCode::BAD_REQUEST => bad("a trailer is malformed"),
        _ => bad("the body has too many trailers"),
    })?;
    Ok(headers.into())
}

/// Reads lines of fields, each with its end, out of `all`.
fn read_fields(all: &[u8], mut lines: &[u8], fields_max: usize) -> Result<(Headers, Framing), Refusal> {
    let all = Text::new(all);
    let mut headers = Headers::with_room_for(USUAL_FIELDS);
    let mut framing = Framing::default();
    let mut count = 0;
    seen::with(|seen| {
        while !lines.is_empty() {
            let line;
            (line, lines) = Line::first(lines).ok_or(LINE_END)?;
            count += 1;
            if count > fields_max {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Err(Refusal { status, why: "the head has too many fields" });
            }
            if let Some(known) = seen.find(&line) {
                if framing.note(known.meaning, &known.value)? {
                    headers.append(&known.name, known.value.clone());
                }
                continue;
            }
            let (name, value) = seen::read(line.text(), &all)?;
            let meaning = Meaning::of(&name, &value)?;
            seen.remember(&line, &name, &value, meaning);
            if framing.note(meaning, &value)? {
                headers.append(name, value);
            }
        }
        Ok(())
    })?;
    Ok((headers, framing))
}

/// A line without its end, and what follows it.
fn split_line(lines: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = memchr::memchr(b'\n', lines).ok_or(LINE_END)?;
    let line = lines[..end].strip_suffix(b"\r").ok_or(LINE_END)?;
    Ok((line, &lines[end + 1..]))
}

/// The first line of a head without its end, and the lines of its fields.
fn first_line(head: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    split_line(head.strip_suffix(b"\r\n").ok_or(LINE_END)?)
}

/// What stands before the first space and what behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..at], &text[at + 1..]))
}

pub(super) const fn bad(why: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, why }
}

/// A head past its bound, or a first line that is past it alone.
fn too_large(ahead: &[u8]) -> Refusal {
    if memchr::memchr(b'\n', ahead).is_some() {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Refusal { status, why: "the head is larger than allowed" }
    } else {
        Refusal { status: StatusCode::URI_TOO_LONG, why: "the first line is longer than allowed" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Buf as _, BytesMut};
    use http::header::CONTENT_LENGTH;

    /// Takes a head off the bytes that came.
    fn take_off(ahead: &mut BytesMut, search: &mut Search) -> Result<Option<Vec<u8>>, Refusal> {
        let (passed, head) = take(ahead, search, 100, |head| Ok(head.to_vec()))?;
        ahead.advance(passed);
        Ok(head)
    }

    fn taken(text: &str) -> Result<Option<ReadRequest>, Refusal> {
        let head = take(text.as_bytes(), &mut Search::default(), 100, |head| request(head, 100))?;
        Ok(head.1)
    }

    fn read(text: &str) -> String {
        match taken(text) {
            Ok(Some(read)) => format!(
                "{} {} {:?} {:?}{}{}",
                read.head.method,
                read.head.uri,
                read.head.version,
                read.length,
                if read.keep_alive { "" } else { " close" },
                if read.expects_continue { " continue" } else { "" },
            ),
            Ok(None) => "more".into(),
            Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.why),
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let (line, post) = ("GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n");
        for (text, expected) in [
            (format!("{line}\r\n"), "GET / HTTP/1.1 Known(0)"),
            (format!("\r\n{line}\r\n"), "GET / HTTP/1.1 Known(0)"),
            ("GET / HTTP/1.1\r\n".into(), "more"),
            ("GET / HTTP/1.1\n\n".into(), "400 a line does not end with CR LF"),
            (format!("{line}A: b\n\r\n"), "400 a line does not end with CR LF"),
            (format!("{line}A: b\r\n c\r\n\r\n"), "400 the name of a field has forbidden letters"),
            (format!("{line}A : b\r\n\r\n"), "400 the name of a field has forbidden letters"),
            (format!("{line}A: b\0\r\n\r\n"), "400 the value of a field has forbidden letters"),
            (format!("{line}A: b\rc\r\n\r\n"), "400 the value of a field has forbidden letters"),
            ("GET  / HTTP/1.1\r\n\r\n".into(), "400 the first line has forbidden letters"),
            ("GET / HTTP/2.0\r\n\r\n".into(), "505 the protocol is neither HTTP/1.1 nor HTTP/1.0"),
            ("GE T / HTTP/1.1\r\n\r\n".into(), "400 the first line has forbidden letters"),
            ("GET shop HTTP/1.1\r\n\r\n".into(), "400 the target does not begin with /"),
            ("OPTIONS * HTTP/1.1\r\n\r\n".into(), "OPTIONS * HTTP/1.1 Known(0)"),
            ("GET / HTTP/1.0\r\n\r\n".into(), "GET / HTTP/1.0 Known(0) close"),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".into(), "GET / HTTP/1.0 Known(0)"),
            (format!("{line}Connection: x, Close\r\n\r\n"), "GET / HTTP/1.1 Known(0) close"),
            (format!("{post}Content-Length: 3\r\n\r\n"), "POST / HTTP/1.1 Known(3)"),
            (
                format!("{post}Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n"),
                "POST / HTTP/1.1 Known(3) continue",
            ),
            (format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), "POST / HTTP/1.1 Known(3)"),
            (format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), "400 the body has two lengths"),
            (format!("{post}Content-Length: 3, 3\r\n\r\n"), "400 the length of the body is no number"),
            (format!("{post}Content-Length: +3\r\n\r\n"), "400 the length of the body is no number"),
            (format!("{post}Content-Length: 0x3\r\n\r\n"), "400 the length of the body is no number"),
            (format!("{post}Content-Length: \r\n\r\n"), "400 the length of the body is no number"),
            (
                format!("{post}Content-Length: 99999999999999999999\r\n\r\n"),
                "400 the length of the body is no number",
            ),
            (format!("{post}Transfer-Encoding: Chunked\r\n\r\n"), "POST / HTTP/1.1 Chunked"),
            (
                format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
                "400 the body has a length and is in chunks as well",
            ),
            (
                format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"),
                "501 the body has a transfer coding other than chunked",
            ),
            (
                format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
                "400 the last transfer coding is not chunked",
            ),
            (
                format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n"),
                "400 the last transfer coding is not chunked",
            ),
            (
                format!("{post}Transfer-Encoding: identity\r\n\r\n"),
                "400 the last transfer coding is not chunked",
            ),
            (
                format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n"),
                "400 the value of a field has forbidden letters",
            ),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), "400 HTTP/1.0 knows no chunks"),
            (format!("GET /{}", "a".repeat(100)), "414 the first line is longer than allowed"),
            (format!("{line}A: {}\r\n\r\n", "a".repeat(100)), "431 the head is larger than allowed"),
        ] {
            assert_eq!(read(&text), expected, "{text:?}");
        }
        let many = format!("{line}{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        let refused = request(many.as_bytes(), FIELDS_MAX).unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(request(many.as_bytes(), FIELDS_MAX + 1).unwrap().head.headers.len(), FIELDS_MAX + 1);
    }

    #[test]
    fn empty_lines_are_counted_in_whatever_pieces_they_come() {
        for (lines, expected) in [(4, "found"), (5, "too many empty lines before the first line")] {
            let text = "\r\n".repeat(lines) + "GET / HTTP/1.1\r\n\r\n";
            for step in [1, 2, 3, 100] {
                let (mut ahead, mut search) = (BytesMut::new(), Search::default());
                let found = text.as_bytes().chunks(step).find_map(|piece| {
                    ahead.extend_from_slice(piece);
                    take_off(&mut ahead, &mut search).transpose()
                });
                let told = match found.unwrap() {
                    Ok(_) => "found",
                    Err(refusal) => refusal.why,
                };
                assert_eq!(told, expected, "{lines} in pieces of {step}");
            }
        }
    }

    #[test]
    fn the_same_length_twice_is_one() {
        let text = "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n";
        let head = taken(text).unwrap().unwrap();
        assert_eq!(head.head.headers.get_all(CONTENT_LENGTH).count(), 1);
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_found_and_the_rest_is_left() {
        let text = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b";
        let (mut ahead, mut search) = (BytesMut::new(), Search::default());
        for byte in text.bytes().take(text.len() - 6) {
            assert_eq!(take_off(&mut ahead, &mut search).unwrap(), None);
            ahead.extend_from_slice(&[byte]);
        }
        ahead.extend_from_slice(b"GET /b");
        assert_eq!(take_off(&mut ahead, &mut search).unwrap().unwrap().len(), text.len() - 6);
        assert!(&ahead[..] == b"GET /b" && !search.has_begun());
    }

    #[test]
    fn a_response_says_how_long_it_is() {
        let length = |head: &str, method: Method| {
            response(head.as_bytes(), &method)
                .map(|read| (read.length, read.keep_alive))
                .map_err(|refusal| refusal.why)
        };
        let ok = "HTTP/1.1 200 OK\r\n";
        for (head, method, expected) in [
            (format!("{ok}\r\n"), Method::GET, Ok((Length::UntilClose, false))),
            (format!("{ok}Content-Length: 5\r\n\r\n"), Method::GET, Ok((Length::Known(5), true))),
            (format!("{ok}Content-Length: 5\r\n\r\n"), Method::HEAD, Ok((Length::Known(0), true))),
            (format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), Method::GET, Ok((Length::Chunked, true))),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".into(),
                Method::GET,
                Ok((Length::Known(0), true)),
            ),
            ("HTTP/1.0 200\r\nContent-Length: 5\r\n\r\n".into(), Method::GET, Ok((Length::Known(5), false))),
            (
                format!("{ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Method::GET,
                Err("the body has a length and is in chunks as well"),
            ),
            ("HTP 200 OK\r\n\r\n".into(), Method::GET, Err("the first line has forbidden letters")),
            ("HTTP/1.1 20x OK\r\n\r\n".into(), Method::GET, Err("the status is no number of three digits")),
        ] {
            assert_eq!(length(&head, method), expected, "{head:?}");
        }
    }
}
