//! The codec's parts by themselves, given bytes in pieces as a socket would give them. For tests and fuzz
//! targets, by way of `raw`.

use super::chunked::{Chunked, Piece};
use super::head::{self, FIELDS_MAX, Refusal, Search};
use crate::Headers;
use bytes::{Buf as _, BytesMut};
use http::{Method, StatusCode};

/// A head that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadHead {
    /// Method, target and version, or version and status.
    pub start: String,
    /// The fields.
    pub headers: Headers,
    /// How long the body is: `Known(5)`, `Chunked` or `UntilClose`.
    pub length: String,
    /// Whether the connection goes on.
    pub keep_alive: bool,
    /// So many bytes are left behind it.
    pub left: usize,
}

/// A body in chunks that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadBody {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
    /// So many bytes are left behind it.
    pub left: usize,
}

/// What reading came to: `None` when more bytes are needed, the answer of a server and why when it is refused.
type Outcome<T> = Result<Option<T>, (StatusCode, &'static str)>;

/// Reads the head of a request.
pub fn request_head<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> Outcome<ReadHead> {
    let read = |head: &[u8]| head::request(head, FIELDS_MAX);
    let Some((head, left)) = take(pieces, bytes_max, read)? else { return Ok(None) };
    let start = format!("{} {} {:?}", head.head.method, head.head.uri, head.head.version);
    let (headers, length, keep_alive) = (head.head.headers, format!("{:?}", head.length), head.keep_alive);
    Ok(Some(ReadHead { start, headers, length, keep_alive, left }))
}

/// Reads the head of a response to a request of this method.
pub fn response_head<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    bytes_max: usize,
    to: &Method,
) -> Outcome<ReadHead> {
    let read = |head: &[u8]| head::response(head, to);
    let Some((head, left)) = take(pieces, bytes_max, read)? else { return Ok(None) };
    let start = format!("{:?} {}", head.head.version, head.head.status.as_str());
    let (headers, length, keep_alive) = (head.head.headers, format!("{:?}", head.length), head.keep_alive);
    Ok(Some(ReadHead { start, headers, length, keep_alive, left }))
}

/// Reads a body in chunks.
pub fn chunked_body<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome<ReadBody> {
    let (mut chunked, mut ahead) = (Chunked::default(), BytesMut::new());
    let (mut body, mut coming) = (ReadBody::default(), pieces.into_iter());
    loop {
        match chunked.decode(&mut ahead).map_err(|refusal| (refusal.status, refusal.why))? {
            Piece::Data(data) => body.data.extend_from_slice(&data),
            Piece::Trailers(fields) => body.trailers = fields.into(),
            Piece::Over => {
                body.left = ahead.len() + coming.map(<[u8]>::len).sum::<usize>();
                return Ok(Some(body));
            }
            Piece::More => match coming.next() {
                Some(bytes) => ahead.extend_from_slice(bytes),
                None => return Ok(None),
            },
        }
    }
}

/// What `read` makes of the head, and how many bytes are left behind it.
fn take<'a, T>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    bytes_max: usize,
    read: impl Fn(&[u8]) -> Result<T, Refusal>,
) -> Outcome<(T, usize)> {
    let (mut ahead, mut search, mut coming) = (BytesMut::new(), Search::default(), pieces.into_iter());
    loop {
        let taken = head::take(&ahead, &mut search, bytes_max, &read);
        let (passed, head) = taken.map_err(|refusal| (refusal.status, refusal.why))?;
        ahead.advance(passed);
        if let Some(head) = head {
            return Ok(Some((head, ahead.len() + coming.map(<[u8]>::len).sum::<usize>())));
        }
        match coming.next() {
            Some(bytes) => ahead.extend_from_slice(bytes),
            None => return Ok(None),
        }
    }
}
