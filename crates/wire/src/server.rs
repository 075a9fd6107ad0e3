//! Accepts connections and runs a handler for each request, on the runtime it is called in: the data path
//! calls it once per core, our own APIs once. What happens on one connection is in `connection`.

mod connection;
mod first;
mod http2;
mod life;

pub(crate) use life::FIRST_REQUEST_WAIT;

use crate::h1;
use crate::handler::{Edge, Handler, Peer};
use crate::proxy_protocol::ProxyProtocol;
use crate::tls::ServerTls;
use base::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Bounds on what a client may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of a request's head; past it the answer is 431.
    pub header_bytes: usize,
    /// Longest wait for a request's head once a connection is open.
    pub header_timeout: Duration,
    /// Longest wait for a request's body.
    pub read_timeout: Duration,
    /// Longest wait for the client to take what we write.
    pub write_timeout: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// Who frames HTTP/1.1.
    pub http1: Http1,
    /// Most open connections; the next ones wait in the kernel's backlog.
    pub connections: usize,
    /// Most header lines of a request; past it the answer is 431.
    pub headers: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Longest wait for a TLS handshake, and for the header of the PROXY protocol.
    pub handshake_timeout: Duration,
    /// Most TLS handshakes at a time; the next ones wait.
    pub handshakes: usize,
    /// Whether HTTP/2 without TLS is served to clients that begin with its preface (Skipper's
    /// `-enable-h2c-server`).
    pub h2c: bool,
    /// Who may say in front of a connection whose it is, if anybody may.
    pub proxy_protocol: Option<Arc<ProxyProtocol>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            http1: Http1::default(),
            connections: 10_000,
            headers: 100,
            streams: 200,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 256,
            h2c: true,
            proxy_protocol: None,
        }
    }
}

/// Who frames HTTP/1.1. Both speak the same; the first refuses more of what could be read in two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http1 {
    /// Our own strict codec.
    #[default]
    Strict,
    /// hyper.
    Hyper,
}

/// Tells servers to take no new connections and to end the ones they have.
#[derive(Clone, Debug)]
pub struct Drainer {
    sender: Arc<watch::Sender<bool>>,
    begun: Arc<AtomicBool>,
}

/// Where a server learns that it shall drain.
#[derive(Clone, Debug)]
pub struct Drain {
    receiver: watch::Receiver<bool>,
    /// The same, for those who ask with every request.
    begun: Arc<AtomicBool>,
}

impl Drainer {
    /// A pair of teller and listener.
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        let begun = Arc::new(AtomicBool::new(false));
        (Self { sender: Arc::new(sender), begun: begun.clone() }, Drain { receiver, begun })
    }

    /// Begins the drain: idle connections close, busy ones after their response.
    pub fn drain(&self) {
        // Before those who wait are woken: they may ask at once.
        self.begun.store(true, Ordering::Release);
        self.sender.send_replace(true);
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Waits until the drain begins; a dropped [`Drainer`] begins it too.
    pub async fn begun(&mut self) {
        let _ = self.receiver.wait_for(|begun| *begun).await;
    }
}

/// Serves until the drain begins, then until the last connection has ended. Whoever waits for it sets the
/// deadline: dropping the future ends the connections at once.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    edge: Option<Arc<Edge>>,
    limits: Limits,
    handler: impl Handler,
    mut drain: Drain,
) -> Result<(), Fault> {
    let local = listener.local_addr()?;
    // Connections look at these all the time, and servers on other cores at theirs.
    let (drainer, told) = Drainer::new();
    let edge = edge.map(|edge| Arc::new(Edge::clone(&edge)));
    let room = Arc::new(Semaphore::new(limits.connections));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let mut connections = tokio::task::JoinSet::new();
    let begin = {
        let drain = told;
        move |mut stream: TcpStream, remote, place| {
            let mut peer = Peer { remote, local, tls: tls.is_some(), edge: edge.clone() };
            let (tls, limits, handler, drain) = (tls.clone(), limits.clone(), handler.clone(), drain.clone());
            let handshakes = handshakes.clone();
            async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                if let Some(protocol) = &limits.proxy_protocol {
                    let ends = protocol.ends(&mut stream, remote, local);
                    let Ok(Some(ends)) = tokio::time::timeout(limits.handshake_timeout, ends).await else {
                        return;
                    };
                    (peer.remote, peer.local) = ends;
                }
                match tls {
                    None => open(stream, peer, limits, handler, drain).await,
                    Some(tls) => {
                        // A handshake that fails is the client's affair; it learns so by a TLS alert.
                        if let Some(stream) = tls.accept(stream, &limits, &handshakes).await {
                            open_tls(stream, peer, limits, handler, drain).await;
                        }
                    }
                }
            }
        }
    };
    loop {
        // A place first, a connection then: what has no place waits in the kernel and not in our memory.
        let place = tokio::select! {
            biased;
            () = drain.begun() => break,
            place = room.clone().acquire_owned() => place,
            // Ended connections leave the set as we go.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that left before we came: accepting again at once
                // would spin, so give the connections under way a moment to end.
                if !is_the_clients_loss(&error) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                continue;
            }
        };
        connections.spawn(begin(stream, remote, place));
    }
    drainer.drain();
    // Whoever the kernel has let in already would be reset with the listener. Asked directly: the runtime
    // may not have heard of them yet.
    let listener = listener.into_std()?;
    while let Ok(place) = room.clone().try_acquire_owned()
        && let Ok((stream, remote)) = listener.accept()
    {
        stream.set_nonblocking(true)?;
        connections.spawn(begin(TcpStream::from_std(stream)?, remote, Ok(place)));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

fn is_the_clients_loss(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A connection without TLS: what it speaks its first bytes tell.
async fn open(stream: TcpStream, peer: Peer, limits: Limits, handler: impl Handler, drain: Drain) {
    if !limits.h2c {
        return http1(stream, peer, limits, handler, drain).await;
    }
    match first::protocol(stream, &limits, drain.clone()).await {
        Some((stream, first::Protocol::Http1)) => http1(stream, peer, limits, handler, drain).await,
        Some((stream, first::Protocol::Http2)) => http2::serve(stream, peer, limits, handler, drain).await,
        None => {}
    }
}

/// A connection with TLS: what it speaks was agreed on in the handshake.
async fn open_tls(
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2::serve(stream, peer, limits, handler, drain).await;
    } else {
        http1(stream, peer, limits, handler, drain).await;
    }
}

pub(crate) async fn http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    match limits.http1 {
        Http1::Strict => h1::serve(Box::new(stream), peer, limits, handler, drain).await,
        Http1::Hyper => connection::serve(stream, peer, limits, handler, drain).await,
    }
}
