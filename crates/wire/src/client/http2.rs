//! HTTP/2 to an upstream, by hyper: many requests at a time on one connection (RFC 9113).

use crate::{Body, Origin, Response};
use base::{Blame, Fault, Kind, Retry};
use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts, Scheme, Uri};
use http_body::{Frame, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

/// Streams on one connection at most, whatever the upstream allows.
const STREAMS_MAX: usize = 256;

/// What an upstream may send of one response before we have taken it.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same of all responses of a connection: more than a few slow clients can use up.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What we hold of one request's body that the upstream does not take yet.
const SEND_BUFFER: usize = 64 << 10;

/// Our end of the connection; hyper's driver has the socket.
#[derive(Clone)]
pub(super) struct Sender {
    sender: http2::SendRequest<Body>,
    shared: Arc<Shared>,
}

struct Shared {
    scheme: Scheme,
    /// For requests without a Host.
    authority: Authority,
    /// Streams that the upstream allows at a time, as far as we know.
    allowed: AtomicUsize,
    /// Handles that are given out for a request each.
    taken: AtomicUsize,
    /// Whether a response has come: the upstream's settings were before it.
    answered: AtomicBool,
    settled: Notify,
}

/// A place among the streams of a connection, until dropped.
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sender {
    pub(super) async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: &Origin,
        header_bytes: usize,
    ) -> Result<Self, Fault> {
        // No pings: servers of gRPC count them as misconduct. That a peer is gone TCP's own keep-alive tells.
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::new(Kind::Unavailable, "no HTTP/2 connection").because(error))?;
        let authority = Authority::try_from(origin.host_header())
            .map_err(|_| Fault::new(Kind::Invalid, format!("`{}` is no host", origin.host)))?;
        let shared = Arc::new(Shared {
            scheme: if origin.scheme.is_tls() { Scheme::HTTPS } else { Scheme::HTTP },
            authority,
            allowed: AtomicUsize::new(driver.current_max_send_streams()),
            taken: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            settled: Notify::new(),
        });
        let told = shared.clone();
        tokio::spawn(async move {
            let (mut driver, mut settled) = (pin!(driver), pin!(told.settled.notified()));
            // Asked anew at each request and once after the first response.
            std::future::poll_fn(|cx| {
                let polled = driver.as_mut().poll(cx);
                if settled.as_mut().poll(cx).is_ready() {
                    settled.set(told.settled.notified());
                }
                told.allowed.store(driver.current_max_send_streams(), Ordering::Relaxed);
                polled
            })
            .await
        });
        Ok(Self { sender, shared })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A place for one more stream.
    pub(super) fn place(&self) -> Place {
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        Place(self.shared.clone())
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Whether there is a place at once.
    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.shared.allowed.load(Ordering::Relaxed).min(STREAMS_MAX)
    }

    /// The response, or why there is none, with the request if nothing of it was sent.
    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Result<Response, NotSent> {
        let host = request.headers_mut().remove(HOST);
        let target = std::mem::take(request.uri_mut());
        *request.uri_mut() = match self.shared.absolute(&target, host.as_ref()) {
            Ok(uri) => uri,
            Err(fault) => return Err(NotSent { fault, request: None, refused: false, broken: false }),
        };
        let encoding = request.headers_mut().remove(TRANSFER_ENCODING);
        for name in [CONNECTION, UPGRADE] {
            request.headers_mut().remove(name);
        }
        *request.version_mut() = http::Version::HTTP_2;
        let broken: Arc<Mutex<Option<Kind>>> = Arc::default();
        if !request.body().is_empty() {
            let broken = broken.clone();
            request = request.map(|body| Body::stream(Told { body, broken }));
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                if !self.shared.answered.swap(true, Ordering::Relaxed) {
                    self.shared.settled.notify_one();
                }
                Ok(response.map(Body::incoming).into())
            }
            Err(mut error) => {
                let request = error.take_message().map(|mut request| {
                    *request.uri_mut() = target;
                    for (name, value) in [(HOST, host), (TRANSFER_ENCODING, encoding)] {
                        if let Some(value) = value {
                            request.headers_mut().insert(name, value);
                        }
                    }
                    Box::new(request)
                });
                let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(not_sent(error.into_error(), request, broken))
            }
        }
    }
}

/// A request without a response.
pub(super) struct NotSent {
    pub(super) fault: Fault,
    pub(super) request: Option<Box<Request<Body>>>,
    /// Whether the upstream says that it has not begun with it (RFC 9113 section 8.7).
    pub(super) refused: bool,
    /// Whether the connection as a whole is broken.
    pub(super) broken: bool,
}

fn not_sent(error: hyper::Error, request: Option<Box<Request<Body>>>, broken: Option<Kind>) -> NotSent {
    let of_http2 = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    let theirs = of_http2.filter(|error| error.is_remote());
    // Streams above the last one that a GOAWAY names end with it; the others go on.
    let refused =
        theirs.is_some_and(|error| error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
    let ours = of_http2.is_some_and(|error| error.is_library() && !error.is_io());
    let (kind, blame, message) = if let Some(kind) = broken {
        (kind, Blame::Caller, "the request's body broke off")
    } else if refused {
        (Kind::Unavailable, Blame::Neighbour, "the upstream takes no more requests on this connection")
    } else if ours {
        (Kind::Invalid, Blame::Neighbour, "the upstream's answer is not HTTP/2")
    } else if error.is_timeout() {
        (Kind::Timeout, Blame::Neighbour, "the upstream did not answer in time")
    } else if theirs.is_some() {
        (Kind::Unavailable, Blame::Neighbour, "the upstream ended the request without an answer")
    } else {
        (Kind::Unavailable, Blame::Neighbour, "the upstream closed the connection without an answer")
    };
    let broken = broken.is_none() && of_http2.is_none_or(h2::Error::is_io);
    let retry = if refused || request.is_some() { Retry::Safe } else { Retry::IfIdempotent };
    let fault = Fault::new(kind, message).blame(blame).retry(retry).because(error);
    NotSent { fault, request, refused, broken }
}

impl Shared {
    /// The target with scheme and authority, which HTTP/2 has in place of Host (RFC 9113 section 8.3.1).
    fn absolute(&self, target: &Uri, host: Option<&HeaderValue>) -> Result<Uri, Fault> {
        let authority = match host {
            None => self.authority.clone(),
            Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| {
                Fault::new(Kind::Invalid, format!("{host:?} is no host that HTTP/2 could carry"))
            })?,
        };
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(authority);
        parts.path_and_query = target.path_and_query().cloned();
        Uri::from_parts(parts)
            .map_err(|error| Fault::new(Kind::Invalid, "the target is no URI").because(error))
    }
}

/// A request's body that tells how it broke off: hyper only resets the stream then.
struct Told {
    body: Body,
    broken: Arc<Mutex<Option<Kind>>>,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Err(fault)) = &polled {
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.kind);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
