//! Just enough of HTTP/1.1's framing to read what a peer wrote, without sharing a line with what is tested.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// More than any head a test sends.
const HEAD_BYTES_MAX: usize = 4 << 20;

/// Bytes that were read and belong to what comes next.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

/// The start line and header lines of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Bytes(u64),
    Chunked,
    UntilClose,
}

/// What was read of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether its end came.
    pub(crate) complete: bool,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The length its headers tell; `None` if they tell none.
    pub(crate) fn length(&self) -> Option<Length> {
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
        {
            return Some(Length::Chunked);
        }
        self.header("content-length").and_then(|text| text.parse().ok()).map(Length::Bytes)
    }
}

pub(crate) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

impl Length {
    /// How long the body of an answer is (RFC 9112 section 6.3).
    pub(crate) fn of_response(head: &Head, status: u16, method: &str) -> Self {
        if method == "HEAD" || matches!(status, 100..200 | 204 | 304) {
            return Self::Bytes(0);
        }
        head.length().unwrap_or(Self::UntilClose)
    }
}

impl Buffer {
    /// Reads more; false at the end of the stream.
    pub(crate) async fn more(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<bool> {
        let before = self.0.len();
        self.0.resize(before + (64 << 10), 0);
        let read = stream.read(&mut self.0[before..]).await;
        self.0.truncate(before + *read.as_ref().unwrap_or(&0));
        read.map(|count| count > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// The next head; `None` when the stream ends before its first byte.
    pub(crate) async fn head(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Head>> {
        let end = loop {
            if let Some(end) = self.0.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.0.len() > HEAD_BYTES_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "a head without end"));
            }
            if !self.more(stream).await? {
                if self.0.is_empty() {
                    return Ok(None);
                }
                let text = String::from_utf8_lossy(&self.0).into_owned();
                return Err(Error::new(ErrorKind::UnexpectedEof, format!("the head ends early: {text:?}")));
            }
        };
        let text: Vec<u8> = self.0.drain(..end + 4).collect();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let start = lines.next().unwrap_or_default().to_owned();
        Ok(Some(Head { start, headers: lines.map(header).collect() }))
    }

    /// The body that follows a head. One that breaks off is no error: it is not complete.
    pub(crate) async fn body(&mut self, stream: &mut (impl AsyncRead + Unpin), length: Length) -> Content {
        let mut content = Content::default();
        let end = match length {
            Length::Bytes(count) => self.take(stream, count, &mut content.bytes).await,
            Length::Chunked => self.chunks(stream, &mut content).await,
            Length::UntilClose => {
                let end = loop {
                    match self.more(stream).await {
                        Ok(true) => {}
                        Ok(false) => break Ok(true),
                        Err(error) => break Err(error),
                    }
                };
                content.bytes = self.take_all();
                end
            }
        };
        content.complete = end.unwrap_or(false);
        content
    }

    /// So many bytes; false when the stream ends before.
    pub(crate) async fn take(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut count: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool> {
        loop {
            let here = self.0.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            into.extend(self.0.drain(..here));
            count -= here as u64;
            if count == 0 {
                return Ok(true);
            }
            if !self.more(stream).await? {
                return Ok(false);
            }
        }
    }

    async fn line(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.0.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.0.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if !self.more(stream).await? {
                return Ok(None);
            }
        }
    }

    async fn chunks(&mut self, stream: &mut (impl AsyncRead + Unpin), content: &mut Content) -> Result<bool> {
        loop {
            let Some(line) = self.line(stream).await? else { return Ok(false) };
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = u64::from_str_radix(size, 16) else {
                return Err(Error::new(ErrorKind::InvalidData, format!("no chunk: {line:?}")));
            };
            if size == 0 {
                break;
            }
            if !self.take(stream, size, &mut content.bytes).await? || self.line(stream).await?.is_none() {
                return Ok(false);
            }
        }
        while let Some(line) = self.line(stream).await? {
            if line.is_empty() {
                return Ok(true);
            }
            content.trailers.push(header(&line));
        }
        Ok(false)
    }
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}
