//! The bytes of a connection after both ends have agreed to speak something else on it (RFC 9110 section
//! 7.8), and the one loop that carries them both ways. What is spoken there nobody here knows.

use base::{Fault, Kind};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Bytes that one direction of a tunnel holds at most.
const BUFFER: usize = 16 << 10;

/// An extension of a request that asks for another protocol, and of a response that grants one: gives the
/// connection's bytes once the answer 101 has passed.
#[derive(Clone)]
pub struct OnUpgrade(Arc<Mutex<Option<Switching>>>);

type Switching = Pin<Box<dyn Future<Output = Result<Upgraded, Fault>> + Send>>;

impl OnUpgrade {
    /// For whoever frames the bytes before the change.
    pub fn new(switching: impl Future<Output = Result<Upgraded, Fault>> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(switching)))))
    }

    /// Waits for the change. Fails with `Unavailable` when the connection ended instead, with `Conflict`
    /// when somebody else has waited already.
    pub async fn upgraded(self) -> Result<Upgraded, Fault> {
        let switching = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match switching {
            Some(switching) => switching.await,
            None => Err(Fault::new(Kind::Conflict, "the connection was given to somebody else")),
        }
    }
}

/// A connection that carries bytes and no messages.
pub struct Upgraded {
    stream: Box<dyn Stream>,
    lease: Option<Lease>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Upgraded {
    /// These bytes.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), lease: None }
    }

    /// Lent by a server, which waits until they are given back and may take them away.
    pub(crate) fn leased(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Whether the server has taken the connection away.
    fn taken(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        if lease.taken.is_terminated() || Pin::new(&mut lease.taken).poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has ended"));
        }
        Ok(())
    }
}

/// The borrower's half of a connection that was lent.
pub(crate) struct Lease {
    /// Resolves when the lender is gone.
    taken: oneshot::Receiver<()>,
    _back: oneshot::Sender<()>,
}

/// The lender's half. Dropping it takes the connection away.
pub(crate) struct Lent {
    _take: oneshot::Sender<()>,
    back: oneshot::Receiver<()>,
}

impl Lease {
    pub(crate) fn new() -> (Self, Lent) {
        let (take, taken) = oneshot::channel();
        let (give, back) = oneshot::channel();
        (Self { taken, _back: give }, Lent { _take: take, back })
    }
}

impl Lent {
    /// Waits until the connection is given back, or nobody can want it any more.
    pub(crate) async fn returned(self) {
        let Self { _take, back } = self;
        let _ = back.await;
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.taken(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.taken(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgraded")
    }
}

/// What has passed through a tunnel so far. Shared, so that whoever keeps account of it need not outlive it.
#[derive(Clone, Debug, Default)]
pub struct Passed(Arc<[AtomicU64; 2]>);

impl Passed {
    /// Bytes that the first end sent to the second.
    pub fn forth(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Bytes that the second end sent to the first.
    pub fn back(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both ends have said all they had to say.
    Closed,
    /// Nothing has passed for too long.
    Idle,
    /// One end broke off, or was taken away.
    Broken,
}

/// Carries bytes both ways until both ends have closed. An end that says no more (half-close) may go on
/// listening; one that does not listen stops the other from sending. Ends after `idle` without a byte.
pub async fn tunnel(first: Upgraded, second: Upgraded, idle: Duration, passed: &Passed) -> TunnelEnd {
    let mut first = Counted { stream: first, passed: passed.clone(), way: 1 };
    let mut second = Counted { stream: second, passed: passed.clone(), way: 0 };
    let carry = tokio::io::copy_bidirectional_with_sizes(&mut first, &mut second, BUFFER, BUFFER);
    let mut carry = std::pin::pin!(carry);
    let mut seen = 0;
    // One timer for both directions, set anew only when it fires: a byte costs no timer.
    let mut quiet = std::pin::pin!(tokio::time::sleep(idle));
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::select! {
            biased;
            ended = carry.as_mut() => {
                return if ended.is_ok() { TunnelEnd::Closed } else { TunnelEnd::Broken };
            }
            () = quiet.as_mut() => {
                let total = passed.forth() + passed.back();
                if total == seen {
                    return TunnelEnd::Idle;
                }
                seen = total;
                last += idle;
                quiet.as_mut().reset(last + idle);
            }
        }
    }
}

/// Counts what is written to a stream.
struct Counted {
    stream: Upgraded,
    passed: Passed,
    way: usize,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            self.passed.0[self.way].fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// A tunnel between two pipes: their outer ends, and what becomes of it.
    fn tunnelled(idle: Duration) -> (DuplexStream, DuplexStream, Passed, tokio::task::JoinHandle<TunnelEnd>) {
        let ((client, first), (second, backend)) = (duplex(1024), duplex(1024));
        let passed = Passed::default();
        let counts = passed.clone();
        let ended =
            tokio::spawn(
                async move { tunnel(Upgraded::new(first), Upgraded::new(second), idle, &counts).await },
            );
        (client, backend, passed, ended)
    }

    #[tokio::test]
    async fn an_end_that_has_said_all_still_hears_the_other() {
        let (mut client, mut backend, passed, ended) = tunnelled(Duration::from_secs(60));
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        backend.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        backend.write_all(b"a long answer").await.unwrap();
        drop(backend);
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "questiona long answer");
        assert_eq!(ended.await.unwrap(), TunnelEnd::Closed);
        assert_eq!((passed.forth(), passed.back()), (8, 13));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_does_not_listen_stops_the_other() {
        let (mut client, backend, passed, _ended) = tunnelled(Duration::from_secs(60));
        let sent = tokio::time::timeout(Duration::from_secs(1), client.write_all(&vec![0; 1 << 20])).await;
        assert!(sent.is_err(), "a mebibyte fits nowhere");
        assert!(passed.forth() <= 1024, "{} bytes passed", passed.forth());
        drop(backend);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_nothing_passes_for_too_long() {
        let (mut client, _backend, _, ended) = tunnelled(Duration::from_secs(10));
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            client.write_all(b"ping").await.unwrap();
        }
        assert_eq!(ended.await.unwrap(), TunnelEnd::Idle);
        let idle = begun.elapsed().as_secs() - 27;
        assert!((10..20).contains(&idle), "after {idle} idle seconds");
    }

    #[tokio::test]
    async fn a_lender_waits_for_what_it_lent_or_takes_it_away() {
        let (pipe, _other) = duplex(10);
        let (lease, lent) = Lease::new();
        let mut upgraded = Upgraded::new(pipe).leased(lease);
        let reading = tokio::spawn(async move { upgraded.read(&mut [0; 1]).await });
        drop(lent);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let (lease, lent) = Lease::new();
        drop(lease);
        lent.returned().await;
    }

    #[tokio::test]
    async fn a_connection_is_given_once() {
        let on = OnUpgrade::new(async { Ok(Upgraded::new(duplex(1).0)) });
        assert!(on.clone().upgraded().await.is_ok());
        assert_eq!(on.upgraded().await.unwrap_err().kind, Kind::Conflict);
    }
}
