//! A body in chunks (RFC 9112 section 7.1), read from the bytes as they come. Sizes are hexadecimal digits and
//! nothing else, lines end with CR LF, extensions are passed over within a bound.

use super::head::{self, Refusal, Search, bad};
use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http::StatusCode;
use http::header;

/// Longest line of a size, its extensions included.
const LINE_MAX: usize = 4 << 10;

/// Bytes of extensions of one body, at most: they are nothing to us, and a body could consist of them.
const EXTENSIONS_MAX: usize = 16 << 10;

/// Bytes of all trailers.
const TRAILERS_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    /// The search for the end of the trailers.
    search: Search,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The end of the line behind a chunk.
    DataEnd,
    Trailers,
    Over,
}

/// What the bytes so far give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    Over,
    /// Nothing until more bytes have come.
    More,
}

impl Chunked {
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes the next piece off the bytes that came.
    pub(super) fn decode(&mut self, ahead: &mut BytesMut) -> Result<Piece, Refusal> {
        loop {
            match self.state {
                State::Size => match self.size(ahead)? {
                    None => return Ok(Piece::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => {
                    if ahead.is_empty() {
                        return Ok(Piece::More);
                    }
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(ahead.len());
                    let left = left - most as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Piece::Data(ahead.split_to(most).freeze()));
                }
                State::DataEnd => {
                    if ahead.len() < 2 {
                        return Ok(Piece::More);
                    }
                    if !ahead.starts_with(b"\r\n") {
                        return Err(bad("a chunk is longer than its size"));
                    }
                    ahead.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => return self.trailers(ahead),
                State::Over => return Ok(Piece::Over),
            }
        }
    }

    /// The size of the next chunk.
    fn size(&mut self, ahead: &mut BytesMut) -> Result<Option<u64>, Refusal> {
        let seen = &ahead[..ahead.len().min(LINE_MAX)];
        let Some(end) = memchr::memchr(b'\n', seen) else {
            if ahead.len() >= LINE_MAX {
                return Err(bad("the line of a chunk's size is too long"));
            }
            return Ok(None);
        };
        let Some(line) = ahead[..end].strip_suffix(b"\r") else {
            return Err(bad("the line of a chunk's size does not end with CR LF"));
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || digits > 16 {
            return Err(bad("the size of a chunk is no number"));
        }
        let rest = &line[digits..];
        // Space behind the size is what old servers fill it up with.
        let extension = rest.trim_ascii_start();
        if !(extension.is_empty() || extension.starts_with(b";"))
            || rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            return Err(bad("the size of a chunk is no number"));
        }
        self.extensions += rest.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(bad("the chunks have too many extensions"));
        }
        let digits = std::str::from_utf8(&line[..digits]).unwrap_or_default();
        let size = u64::from_str_radix(digits, 16).map_err(|_| bad("the size of a chunk is no number"))?;
        ahead.advance(end + 1);
        Ok(Some(size))
    }

    /// The fields behind the last chunk; those about framing and routing are left out
    /// (RFC 9110 section 6.5.1).
    fn trailers(&mut self, ahead: &mut BytesMut) -> Result<Piece, Refusal> {
        if !self.search.has_begun() {
            if ahead.len() < 2 {
                return Ok(Piece::More);
            }
            if ahead.starts_with(b"\r\n") {
                ahead.advance(2);
                self.state = State::Over;
                return Ok(Piece::Over);
            }
        }
        let (passed, fields) = match head::take(ahead, &mut self.search, TRAILERS_MAX, head::trailers) {
            Ok(taken) => taken,
            Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => return Err(refusal),
            Err(_) => return Err(bad("the trailers are larger than allowed")),
        };
        ahead.advance(passed);
        let Some(mut fields) = fields else { return Ok(Piece::More) };
        for forbidden in [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::HOST,
            header::CONNECTION,
            header::TRAILER,
            header::TE,
            header::AUTHORIZATION,
            header::COOKIE,
            header::SET_COOKIE,
            header::CONTENT_ENCODING,
            header::CONTENT_TYPE,
            header::CONTENT_RANGE,
        ] {
            fields.remove(forbidden);
        }
        self.state = State::Over;
        Ok(if fields.is_empty() { Piece::Over } else { Piece::Trailers(fields) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body gives when it comes in pieces of this size.
    fn read(text: &[u8], step: usize) -> Result<(Vec<u8>, Vec<String>, usize), &'static str> {
        let (mut chunked, mut ahead) = (Chunked::default(), BytesMut::new());
        let (mut data, mut fields, mut coming) = (Vec::new(), Vec::new(), text.chunks(step));
        loop {
            match chunked.decode(&mut ahead).map_err(|refusal| refusal.why)? {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Trailers(map) => {
                    fields = map
                        .iter()
                        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                        .collect();
                }
                Piece::Over => {
                    assert!(chunked.is_over());
                    return Ok((data, fields, ahead.len() + coming.map(<[u8]>::len).sum::<usize>()));
                }
                Piece::More => match coming.next() {
                    Some(bytes) => ahead.extend_from_slice(bytes),
                    None => return Err("more"),
                },
            }
        }
    }

    fn check(text: &str, expected: Result<(&str, &[&str], usize), &'static str>) {
        for step in [1, 2, 3, 1000] {
            let found = read(text.as_bytes(), step);
            let expected = expected.map(|(data, fields, rest)| {
                (data.as_bytes().to_vec(), fields.iter().map(|field| (*field).to_owned()).collect(), rest)
            });
            assert_eq!(found, expected, "{text:?} in pieces of {step}");
        }
    }

    #[test]
    fn chunks_are_read_and_what_follows_is_left() {
        check("0\r\n\r\n", Ok(("", &[], 0)));
        check("3\r\nabc\r\n0A\r\n0123456789\r\n000\r\n\r\nGET ", Ok(("abc0123456789", &[], 4)));
        check("3;a=\"b;c\"\r\nabc\r\n0;z\r\n\r\n", Ok(("abc", &[], 0)));
        check("3  \r\nabc\r\n0\r\n\r\n", Ok(("abc", &[], 0)));
        check(
            "1\r\na\r\n0\r\nGrpc-Status: 0\r\nHost: evil\r\nContent-Length: 9\r\n\r\nx",
            Ok(("a", &["grpc-status: 0"], 1)),
        );
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        check("3\r\nabc", Err("more"));
        check("\r\n", Err("the size of a chunk is no number"));
        check("-1\r\na\r\n", Err("the size of a chunk is no number"));
        check("0x3\r\nabc\r\n", Err("the size of a chunk is no number"));
        check("3 x\r\nabc\r\n", Err("the size of a chunk is no number"));
        check("3\nabc\r\n", Err("the line of a chunk's size does not end with CR LF"));
        check("3;a\rb\r\nabc\r\n", Err("the size of a chunk is no number"));
        check("00000000000000001\r\na\r\n", Err("the size of a chunk is no number"));
        check("3\r\nabcd\r\n0\r\n\r\n", Err("a chunk is longer than its size"));
        check("0\r\nA: b\n\r\n", Err("a line does not end with CR LF"));
        check("0\r\n a: b\r\n\r\n", Err("a trailer is malformed"));
        check(&format!("3;{}\r\n", "a".repeat(LINE_MAX)), Err("the line of a chunk's size is too long"));
        let extended = format!("1;{}\r\na\r\n", "a".repeat(LINE_MAX / 2));
        check(&extended.repeat(9), Err("the chunks have too many extensions"));
        let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(33));
        check(&many, Err("the body has too many trailers"));
        let large = format!("0\r\nA: {}\r\n\r\n", "b".repeat(TRAILERS_MAX));
        check(&large, Err("the trailers are larger than allowed"));
    }
}
