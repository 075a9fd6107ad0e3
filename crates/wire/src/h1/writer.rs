//! What is to be written: small pieces gathered in one buffer, a large one beside it, both given to the kernel
//! in one call.

use super::encode;
use super::io::Socket;
use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A piece of at least so many bytes is not copied.
const LARGE: usize = 8 << 10;

/// So much is gathered before it is written.
const ENOUGH: usize = 64 << 10;

/// An idle connection keeps a buffer of at most this capacity.
const KEPT: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Writer {
    buffer: Vec<u8>,
    /// So much of the buffer is written.
    at: usize,
    /// Behind the buffer.
    large: Bytes,
    /// Behind the large piece.
    tail: &'static [u8],
    /// Bytes taken by the kernel since the last [`Writer::begin`].
    written: u64,
}

impl Writer {
    /// A message begins: bytes are counted from here.
    pub(super) fn begin(&mut self) {
        self.written = 0;
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.buffer.len() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Whether more may be gathered before it is written.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.tail.is_empty() && self.buffer.len() < ENOUGH
    }

    /// Where small pieces are appended, if there [is room](Writer::has_room).
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.large.is_empty() && self.tail.is_empty(), "it would overtake a large piece");
        &mut self.buffer
    }

    /// Appends a piece of a body, if there [is room](Writer::has_room).
    pub(super) fn data(&mut self, data: Bytes, in_chunks: bool) {
        if data.is_empty() {
            return;
        }
        if in_chunks {
            encode::number(data.len() as u64, 16, self.buffer());
            self.buffer().extend_from_slice(b"\r\n");
        }
        let end: &'static [u8] = if in_chunks { b"\r\n" } else { b"" };
        if data.len() < LARGE {
            let buffer = self.buffer();
            buffer.extend_from_slice(&data);
            buffer.extend_from_slice(end);
        } else {
            self.large = data;
            self.tail = end;
        }
    }

    /// Appends the end of a body in chunks. Trailers come only where there [is room](Writer::has_room).
    pub(super) fn last_chunk(&mut self, trailers: Option<&HeaderMap>) {
        if self.has_room() {
            encode::last_chunk(trailers, &mut self.buffer);
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Forgets what is not written yet.
    pub(super) fn clear(&mut self) {
        *self = Self { written: self.written, ..Self::default() };
    }

    /// Gives everything to the kernel.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut dyn Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let buffer = &self.buffer[self.at..];
            let written = if self.large.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, buffer))?
            } else {
                let slices = [IoSlice::new(buffer), IoSlice::new(&self.large), IoSlice::new(self.tail)];
                let slices = if buffer.is_empty() { &slices[1..] } else { &slices[..] };
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.at = 0;
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let of_buffer = written.min(self.buffer.len() - self.at);
        self.at += of_buffer;
        let written = written - of_buffer;
        let of_large = written.min(self.large.len());
        self.large.advance(of_large);
        self.tail = &self.tail[written - of_large..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, duplex};

    #[tokio::test]
    async fn everything_is_written_in_turn_however_little_is_taken_at_once() {
        let (mut ours, mut theirs) = duplex(7);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            read
        });
        let mut writer = Writer::default();
        writer.begin();
        let large = Bytes::from(vec![b'l'; LARGE]);
        for piece in [Bytes::from_static(b"small"), large.clone()] {
            assert!(writer.has_room());
            writer.data(piece, true);
        }
        assert!(!writer.has_room());
        writer.last_chunk(None);
        poll_fn(|cx| writer.poll_flush(&mut ours, cx)).await.unwrap();
        drop(ours);
        let read = reading.await.unwrap();
        let expected = [&b"5\r\nsmall\r\n2000\r\n"[..], &large, b"\r\n0\r\n\r\n"].concat();
        assert_eq!((read.len() as u64, read), (writer.written(), expected));
    }
}
