//! A socket that gives up on a peer which stops taking what we write. The timer is made only when a write
//! has to wait, so a fast peer never pays for it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a write of one connection may wait.
pub(crate) struct Patience {
    /// Each write, at most.
    each: Duration,
    opened: Instant,
    /// By when all of the present response must have been taken, in microseconds since the connection was
    /// opened; 0 if nobody said.
    by_us: AtomicU64,
}

impl Patience {
    pub(crate) fn new(each: Duration) -> Self {
        Self { each, opened: Instant::now(), by_us: AtomicU64::new(0) }
    }

    /// The present response must have been taken `wait` from now.
    pub(crate) fn until(&self, wait: Duration) {
        let by = (self.opened.elapsed().saturating_add(wait)).as_micros();
        self.by_us.store(u64::try_from(by).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// The next response begins.
    pub(crate) fn forget(&self) {
        self.by_us.store(0, Ordering::Relaxed);
    }

    /// How long a write that begins now may wait.
    pub(crate) fn left(&self) -> Duration {
        match self.by_us.load(Ordering::Relaxed) {
            0 => self.each,
            by => self.each.min(Duration::from_micros(by).saturating_sub(self.opened.elapsed())),
        }
    }
}

pub(crate) struct WriteWatch<S> {
    stream: S,
    patience: Arc<Patience>,
    stalled: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<S> WriteWatch<S> {
    pub(crate) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream, patience, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let patience = &self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience.left())));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer stopped taking data")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteWatch<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteWatch<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shutdown)
    }
}
