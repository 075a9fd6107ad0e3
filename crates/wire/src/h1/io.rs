//! A socket with what was read ahead of it and what is still to be written. Its connection holds it alone, and
//! shares it only with a body that outlasts its head; they take turns, so the lock between them is never waited for.

use super::head::{self, Refusal, Search};
use super::writer::Writer;
use crate::Upgraded;
use crate::prefixed::Prefixed;
use bytes::{Buf as _, BytesMut};
use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
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
pub(super) type Shared = Arc<Mutex<Box<Io>>>;

pub(super) fn lock(io: &Shared) -> MutexGuard<'_, Box<Io>> {
    io.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's hold on its socket. Most messages are there whole with their heads, so nobody else needs it and no
/// lock is taken.
pub(super) struct Held {
    /// There unless it is shared.
    own: Option<Box<Io>>,
    shared: Option<Shared>,
}

/// The socket, for one step.
pub(super) enum Access<'a> {
    Own(&'a mut Io),
    Shared(MutexGuard<'a, Box<Io>>),
}

/// Why there is no head.
pub(super) enum NoHead {
    /// What came is not taken.
    Refused(Refusal),
    /// The other side has closed, or the connection broke.
    Closed(Option<io::Error>),
}

impl Held {
    pub(super) fn new(stream: Box<dyn Socket>) -> Self {
        Self { own: Some(Box::new(Io::new(stream))), shared: None }
    }

    /// A share of somebody else's.
    pub(super) fn of(shared: Shared) -> Self {
        Self { own: None, shared: Some(shared) }
    }

    /// The socket, which is not shared any more if nobody else is left.
    pub(super) fn get(&mut self) -> Access<'_> {
        if self.own.is_none() {
            self.take_back();
        }
        match (&mut self.own, &self.shared) {
            (Some(io), _) => Access::Own(io),
            (None, Some(shared)) => Access::Shared(lock(shared)),
            (None, None) => unreachable!("a socket is somebody's own or shared"),
        }
    }

    /// A share of it, for a body.
    pub(super) fn share(&mut self) -> Shared {
        if let Some(own) = self.own.take() {
            self.shared = Some(Arc::new(Mutex::new(own)));
        }
        self.shared.clone().expect("what is not our own is shared")
    }

    /// Whether nobody else has a share.
    pub(super) fn is_alone(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| Arc::strong_count(shared) == 1)
    }

    /// The socket itself, if nobody else has a share.
    pub(super) fn into_alone(mut self) -> Option<Box<Io>> {
        self.take_back();
        self.own
    }

    #[cold]
    fn take_back(&mut self) {
        if self.is_alone()
            && let Some(io) = self.shared.take().and_then(Arc::into_inner)
        {
            self.own = Some(io.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Deref for Access<'_> {
    type Target = Io;

    fn deref(&self) -> &Io {
        match self {
            Access::Own(io) => io,
            Access::Shared(io) => io,
        }
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut Io {
        match self {
            Access::Own(io) => io,
            Access::Shared(io) => io,
        }
    }
}

impl Io {
    fn new(stream: Box<dyn Socket>) -> Self {
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

    /// Reads until there is a whole head, and what `read` makes of it. A head that comes in one piece is read where
    /// the kernel put it.
    pub(super) fn poll_head<T>(
        &mut self,
        cx: &mut Context<'_>,
        search: &mut Search,
        bytes_max: usize,
        read: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Poll<Result<T, NoHead>> {
        loop {
            if !self.ahead.is_empty() {
                let (passed, head) =
                    head::take(&self.ahead, search, bytes_max, &read).map_err(NoHead::Refused)?;
                self.ahead.advance(passed);
                if self.ahead.is_empty() {
                    // An idle connection shall hold no memory.
                    self.ahead = BytesMut::new();
                }
                if let Some(head) = head {
                    return Poll::Ready(Ok(head));
                }
            }
            let (ahead, stream) = (&mut self.ahead, &mut self.stream);
            let head = ROOM.with_borrow_mut(|room| {
                let mut room = ReadBuf::new(room);
                ready!(Pin::new(&mut **stream).poll_read(cx, &mut room))
                    .map_err(|error| NoHead::Closed(Some(error)))?;
                let mut came = room.filled();
                if came.is_empty() {
                    return Poll::Ready(Err(NoHead::Closed(None)));
                }
                let mut head = None;
                if ahead.is_empty() {
                    let passed;
                    (passed, head) = head::take(came, search, bytes_max, &read).map_err(NoHead::Refused)?;
                    came = &came[passed..];
                }
                if !came.is_empty() {
                    ahead.extend_from_slice(came);
                }
                Poll::Ready(Ok(head))
            });
            if let Some(head) = ready!(head)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Writes what is to be written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(&mut *self.stream, cx)
    }

    /// Gives the connection away, what was read ahead of it first.
    #[cold]
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
