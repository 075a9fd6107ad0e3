//! A socket with what was read ahead of it and what is still to be written, shared by the connection and the
//! body that is being read from it. They take turns, so its lock is never waited for.

use super::writer::Writer;
use crate::Upgraded;
use crate::prefixed::Prefixed;
use bytes::{Buf as _, BytesMut};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that one read takes.
const READ: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// Where the kernel puts what it has: one for all connections of a core, so that an idle one holds none.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Bytes both ways.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The next thing is a head.
    Head,
    /// A body is being read by whoever has it.
    Body,
    /// Nothing that comes now can be understood: the body was not read to its end, or broke off.
    Lost,
}

pub(super) struct Io {
    pub(super) stream: Box<dyn Socket>,
    /// Read and not used.
    pub(super) ahead: BytesMut,
    pub(super) writer: Writer,
    pub(super) reading: Reading,
    /// Whether a request's body is still being written behind the back of its response.
    pub(super) uploading: bool,
    /// Whether nothing can follow the message that is being read.
    pub(super) last: bool,
    /// Whoever waits for a change of `reading` or `uploading`.
    pub(super) waiting: Option<Waker>,
    /// What is left to write of 100 Continue, which is owed to a client until its body is read.
    owed: &'static [u8],
}

/// Shared by a connection and the body read from it.
pub(super) type Shared = Arc<Mutex<Io>>;

pub(super) fn lock(io: &Shared) -> MutexGuard<'_, Io> {
    io.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Io {
    pub(super) fn new(stream: Box<dyn Socket>) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            writer: Writer::default(),
            reading: Reading::Head,
            uploading: false,
            last: false,
            waiting: None,
            owed: b"",
        }
    }

    /// Reads what is there behind what was read before; 0 is the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut room))?;
            self.ahead.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    /// Writes what is to be written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(&mut *self.stream, cx)
    }

    /// Gives the connection away, what was read ahead of it first.
    pub(super) fn give_away(&mut self) -> Upgraded {
        self.reading = Reading::Lost;
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        Upgraded::new(Prefixed::new(std::mem::take(&mut self.ahead).freeze(), stream))
    }

    /// Where reading stands from now on; whoever waits for it hears so.
    pub(super) fn now(&mut self, reading: Reading) {
        self.reading = reading;
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// The client waits for 100 before it sends its body.
    pub(super) fn owe_continue(&mut self) {
        self.owed = CONTINUE;
    }

    /// Another answer goes first; what must still be written of a 100 that was begun.
    pub(super) fn forgive_continue(&mut self) -> &'static [u8] {
        let left = std::mem::take(&mut self.owed);
        if left.len() == CONTINUE.len() { b"" } else { left }
    }

    /// Lets the client send its body, if it waits for that.
    pub(super) fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, self.owed))?;
            self.owed.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}
