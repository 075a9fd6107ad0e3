//! A socket that is closed with care: whoever is still sending when our answer has been written must not be
//! reset before it has read that answer (RFC 9112 section 9.6), so what comes is read and thrown away for a
//! while.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long it is read on.
pub(crate) const WAIT: Duration = Duration::from_secs(2);

/// How much of it.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// How much at once.
const PIECE: usize = 16 << 10;

/// What is left to read on our side of a connection that we close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing that we know of.
    None,
    /// The client may still be sending what nobody wants.
    Unwanted,
    /// It belongs to somebody else: only our writing ends.
    Wanted,
}

pub(crate) struct Linger<S, F> {
    stream: S,
    rest: F,
    closing: Option<Box<Closing>>,
}

/// Our side is closed, theirs not yet.
struct Closing {
    wait: Pin<Box<tokio::time::Sleep>>,
    left: usize,
    piece: [u8; PIECE],
}

impl<S, F> Linger<S, F> {
    pub(crate) fn new(stream: S, rest: F) -> Self {
        Self { stream, rest, closing: None }
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> Linger<S, F> {
    /// Ready when the client has closed, or has had its time.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(closing) = &mut self.closing else { return Poll::Ready(()) };
        while closing.left > 0 && closing.wait.as_mut().poll(cx).is_pending() {
            let mut piece = ReadBuf::new(&mut closing.piece);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                break;
            }
            closing.left = closing.left.saturating_sub(piece.filled().len());
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Linger<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: Fn() -> Rest + Unpin> AsyncWrite for Linger<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let rest = (self.rest)();
            if rest == Rest::Wanted {
                return Poll::Ready(Ok(()));
            }
            // A look at what is there: of a head that was refused nobody told us.
            let mut byte = [0];
            let mut piece = ReadBuf::new(&mut byte);
            let more = match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) => !piece.filled().is_empty(),
                Poll::Ready(Err(_)) => false,
                Poll::Pending => rest == Rest::Unwanted,
            };
            if !more {
                return Poll::Ready(Ok(()));
            }
            let wait = Box::pin(tokio::time::sleep(WAIT));
            self.closing = Some(Box::new(Closing { wait, left: BYTES_MAX, piece: [0; PIECE] }));
        }
        self.read_on(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn what_a_client_still_sends_is_read_until_it_closes_or_its_time_is_up() {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = Linger::new(ours, || Rest::Unwanted);
        let client = tokio::spawn(async move {
            theirs.write_all(&vec![0; 100_000]).await.unwrap();
            assert_eq!(theirs.read(&mut [0; 10]).await.unwrap(), 0, "our side is closed");
            theirs
        });
        let begun = tokio::time::Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 2, "a client that does not close is not waited for longer");
        drop(client.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_sent_all_is_not_waited_for() {
        let (ours, theirs) = duplex(1024);
        let begun = tokio::time::Instant::now();
        Linger::new(ours, || Rest::None).shutdown().await.unwrap();
        assert!(begun.elapsed().is_zero());
        drop(theirs);
    }

    #[tokio::test]
    async fn what_belongs_to_somebody_else_is_not_read() {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = Linger::new(ours, || Rest::Wanted);
        theirs.write_all(b"more").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut read = [0; 4];
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"more");
    }
}
