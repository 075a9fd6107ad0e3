//! What a fake application answers: bytes and pauses in turn, and what becomes of the connection after them.

use std::time::Duration;

/// An answer, byte for byte, and how the connection ends or goes on.
#[derive(Clone, Debug)]
pub struct Reply {
    status: String,
    headers: Vec<(String, String)>,
    body: Form,
    pub(crate) before: Option<Duration>,
    pub(crate) after: After,
    cut: Option<usize>,
    /// Bytes that follow the answer after a pause.
    later: Option<(Duration, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Form {
    None,
    Whole(Vec<u8>),
    Chunked {
        chunks: Vec<Vec<u8>>,
        pause: Duration,
        trailers: Vec<(String, String)>,
    },
    /// These bytes are all there is: no head is made.
    Raw(Vec<u8>),
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    Reset,
    Stall,
    HalfClose,
    CloseOnNext,
}

pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
}

impl Reply {
    /// 200 and this body, with its length.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    /// This status, without a body: `Content-Length: 0` where a body would be possible.
    pub fn status(code: u16) -> Self {
        let body = if matches!(code, 100..200 | 204 | 304) { Form::None } else { Form::Whole(Vec::new()) };
        Self {
            status: format!("{code} Status"),
            headers: Vec::new(),
            body,
            before: None,
            after: After::Keep,
            cut: None,
            later: None,
        }
    }

    /// These bytes, whatever they are.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: Form::Raw(bytes.into()), ..Self::status(200) }
    }

    /// No byte.
    pub fn nothing() -> Self {
        Self::raw(Vec::new())
    }

    /// With this body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Form::Whole(body.into());
        self
    }

    /// Without a body and without a word about its length, as for a HEAD request.
    pub fn headless(mut self) -> Self {
        self.body = Form::None;
        self
    }

    /// With this body in chunks.
    pub fn chunks<C: AsRef<[u8]>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        let chunks = chunks.into_iter().map(|chunk| chunk.as_ref().to_vec()).collect();
        self.body = Form::Chunked { chunks, pause: Duration::ZERO, trailers: Vec::new() };
        self
    }

    /// A pause before each chunk.
    ///
    /// # Panics
    /// If the body is not in chunks.
    pub fn slowly(mut self, each: Duration) -> Self {
        let Form::Chunked { pause, .. } = &mut self.body else { panic!("only chunks can be slow") };
        *pause = each;
        self
    }

    /// A field after the last chunk.
    ///
    /// # Panics
    /// If the body is not in chunks.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        let Form::Chunked { trailers, .. } = &mut self.body else { panic!("only chunks have trailers") };
        trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a pause.
    pub fn after(mut self, pause: Duration) -> Self {
        self.before = Some(pause);
        self
    }

    /// Only the first so many bytes of it.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// And these bytes after a pause, as if they belonged to it.
    pub fn later(mut self, pause: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.later = Some((pause, bytes.into()));
        self
    }

    /// Then the connection is closed, without having been announced.
    pub fn then_close(mut self) -> Self {
        self.after = After::Close;
        self
    }

    /// Then the connection is closed, as a header says.
    pub fn and_close(self) -> Self {
        self.header("Connection", "close").then_close()
    }

    /// Then the connection is reset.
    pub fn then_reset(mut self) -> Self {
        self.after = After::Reset;
        self
    }

    /// Then nothing happens until the other end closes. Nothing is read either.
    pub fn then_stall(mut self) -> Self {
        self.after = After::Stall;
        self
    }

    /// Then no more is written, but what comes is still taken.
    pub fn then_half_close(mut self) -> Self {
        self.after = After::HalfClose;
        self
    }

    /// Then the connection is closed at the very moment the next request arrives, unread.
    pub fn then_close_on_next(mut self) -> Self {
        self.after = After::CloseOnNext;
        self
    }

    /// Its pieces in turn.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if let Some(pause) = self.before {
            pieces.push(Piece::Pause(pause));
        }
        let mut left = self.cut.unwrap_or(usize::MAX);
        let mut push = |pieces: &mut Vec<Piece>, mut bytes: Vec<u8>| {
            bytes.truncate(left);
            left -= bytes.len();
            if !bytes.is_empty() {
                pieces.push(Piece::Bytes(bytes));
            }
        };
        match &self.body {
            Form::Raw(bytes) => push(&mut pieces, bytes.clone()),
            Form::None => push(&mut pieces, self.head("")),
            Form::Whole(body) => {
                let mut bytes = self.head(&format!("Content-Length: {}\r\n", body.len()));
                bytes.extend_from_slice(body);
                push(&mut pieces, bytes);
            }
            Form::Chunked { chunks, pause, trailers } => {
                push(&mut pieces, self.head("Transfer-Encoding: chunked\r\n"));
                for chunk in chunks {
                    if !pause.is_zero() {
                        pieces.push(Piece::Pause(*pause));
                    }
                    let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                    push(&mut pieces, bytes);
                }
                push(&mut pieces, format!("0\r\n{}\r\n", lines(trailers)).into_bytes());
            }
        }
        if let Some((pause, bytes)) = &self.later {
            pieces.extend([Piece::Pause(*pause), Piece::Bytes(bytes.clone())]);
        }
        pieces
    }

    fn head(&self, framing: &str) -> Vec<u8> {
        format!("HTTP/1.1 {}\r\n{}{framing}\r\n", self.status, lines(&self.headers)).into_bytes()
    }
}

fn lines(headers: &[(String, String)]) -> String {
    headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect()
}
