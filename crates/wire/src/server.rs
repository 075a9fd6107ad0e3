//! Accepts connections and runs a handler for each request, on the runtime it is called in: the data path
//! calls it once per core, our own APIs once. HTTP/1.1 by hyper, known only to `connection`.

use crate::handler::{Edge, Handler, Peer, WriteWithin};
use crate::linger::Linger;
use crate::tls::ServerTls;
use crate::watch::{Patience, WriteWatch};
use crate::{Body, Ending, Response};
use base::Fault;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    /// Most open connections; the next ones wait in the kernel's backlog.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            connections: 10_000,
        }
    }
}

/// How long a drain waits for the first request of a connection that has sent none: it may be on its way.
const FIRST_REQUEST_WAIT: Duration = Duration::from_millis(250);

/// Tells servers to take no new connections and to end the ones they have.
#[derive(Clone, Debug)]
pub struct Drainer(Arc<watch::Sender<bool>>);

/// Where a server learns that it shall drain.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

impl Drainer {
    /// A pair of teller and listener.
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        (Self(Arc::new(sender)), Drain(receiver))
    }

    /// Begins the drain: idle connections close, busy ones after their response.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the drain begins; a dropped [`Drainer`] begins it too.
    pub async fn begun(&mut self) {
        let _ = self.0.wait_for(|begun| *begun).await;
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
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = tokio::task::JoinSet::new();
    let begin = {
        let drain = drain.clone();
        move |stream: TcpStream, remote, place| {
            let peer = Peer { remote, local, tls: tls.is_some(), edge: edge.clone() };
            let (tls, limits, handler, drain) = (tls.clone(), limits.clone(), handler.clone(), drain.clone());
            async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                open(stream, tls, peer, limits, handler, drain).await;
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

async fn open(
    stream: TcpStream,
    tls: Option<ServerTls>,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    match tls {
        None => connection(stream, peer, limits, handler, drain).await,
        Some(tls) => {
            // A handshake that fails is the client's affair; it learns so by a TLS alert.
            if let Ok(Ok(stream)) = tokio::time::timeout(limits.header_timeout, tls.0.accept(stream)).await {
                connection(stream, peer, limits, handler, drain).await;
            }
        }
    }
}

/// What is under way on one connection, for its idle timer.
#[derive(Default)]
struct Activity {
    /// Requests whose response has not passed whole.
    busy: AtomicUsize,
    /// Requests so far.
    total: AtomicU64,
    /// Whether a request's body was left unread: the client may still be sending it.
    unread: AtomicBool,
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    mut drain: Drain,
) {
    let activity = Arc::new(Activity::default());
    let patience = Arc::new(Patience::new(limits.write_timeout));
    let flags = activity.clone();
    let stream =
        Linger::new(WriteWatch::new(stream, patience.clone()), move || flags.unread.load(Ordering::Relaxed));
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let request = request.map(|body| {
            let body = Body::incoming(body);
            if body.is_empty() {
                return body;
            }
            let activity = activity.clone();
            body.with_deadline(limits.read_timeout).with_tail(move |ending, _| {
                if ending != Ending::Complete {
                    activity.unread.store(true, Ordering::Relaxed);
                }
            })
        });
        patience.forget();
        activity.busy.fetch_add(1, Ordering::Relaxed);
        activity.total.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(activity.clone());
        let (handler, peer, patience) = (&handler, &peer, &patience);
        async move {
            let mut response = handler.handle(request, peer).await;
            if let Some(WriteWithin(wait)) = response.extensions_mut().remove() {
                patience.until(wait);
            }
            Ok::<Response, Infallible>(watched(response, busy))
        }
    });
    let engine = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's bound is on its read buffer, which also carries bodies: 8 KiB is its least.
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .half_close(false)
        // Not pipeline_flush: with it hyper never flushes its own 400 and 431 while bytes it refused are left.
        .serve_connection(TokioIo::new(stream), service);
    let mut engine = pin!(engine);
    let mut seen = 0;
    let mut idle = pin!(tokio::time::sleep(limits.idle_timeout));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // Errors are the connection's end: whatever request they belong to was told by its body.
            _ = engine.as_mut() => return,
            () = drain.begun(), if !draining => {
                draining = true;
                if activity.total.load(Ordering::Relaxed) == 0 {
                    // hyper would close at once, though a first request may be on its way.
                    idle.as_mut().reset(tokio::time::Instant::now() + FIRST_REQUEST_WAIT);
                } else {
                    engine.as_mut().graceful_shutdown();
                }
            }
            () = idle.as_mut() => {
                let total = activity.total.load(Ordering::Relaxed);
                if draining || (total == seen && activity.busy.load(Ordering::Relaxed) == 0) {
                    engine.as_mut().graceful_shutdown();
                    // hyper waits for a first request head even then.
                    if total == 0 {
                        return;
                    }
                }
                seen = total;
                idle.as_mut().reset(tokio::time::Instant::now() + limits.idle_timeout);
            }
        }
    }
}

/// Marks a request as under way until dropped.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps `busy` until the body has passed; a response whose body is there already need not be watched.
fn watched(response: Response, busy: Busy) -> Response {
    if response.body().exact_len().is_some_and(|len| len < 16 << 10) {
        return response;
    }
    response.map(|body| body.with_tail(move |_, _| drop(busy)))
}
