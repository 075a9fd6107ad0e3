//! One HTTP/2 connection of a client, by hyper (RFC 9113). How long it lives is told in `life`; here is what
//! belongs to one of its requests: a client that does not take its response loses that alone.

use super::life::{self, Activity};
use super::{Drain, Limits};
use crate::handler::{Handler, Peer, WriteWithin};
use crate::linger;
use crate::watch::{Patience, WriteWatch};
use crate::{Body, Headers, Request, Response};
use base::Fault;
use bytes::Bytes;
use http::StatusCode;
use http::header::{COOKIE, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};

/// What a client may send of one request's body before the backend has taken it.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same of all requests of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What we hold of one response that the client does not take yet.
const SEND_BUFFER: usize = 64 << 10;

/// Requests that a client may take back before we have looked at them (the rapid reset of CVE-2023-44487).
const RESETS_PENDING: usize = 20;

/// Requests that a client may take back before their answer, if they are more than half of all.
const TAKEN_BACK_MAX: u32 = 500;

/// Streams that we may have to end for a client's mistakes before the connection is given up.
const RESETS_OURS: usize = 200;

/// Between two questions whether a client is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    let activity = Arc::new(Activity::default());
    let stream = WriteWatch::new(stream, Arc::new(Patience::new(limits.write_timeout)));
    let (peer, asked) = (Arc::new(peer), activity.clone());
    let fickle = Arc::new(Fickle::default());
    let watched = fickle.clone();
    let (headers, read_timeout) = (limits.headers, limits.read_timeout);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (handler, peer, busy) = (handler.clone(), peer.clone(), asked.begin());
        let asked = watched.begin();
        async move {
            let (head, incoming) = request.into_parts();
            let (body, unwanted) = Given::body(incoming);
            let mut request = Request::from_parts(head.into(), body);
            if request.headers().len() > headers {
                asked.answered();
                let mut refusal = Response::new(Body::empty());
                *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok::<_, Infallible>(http::Response::from(refusal).map(Taken));
            }
            join_cookies(request.headers_mut());
            // A call of gRPC may be open for days; that its client is there the pings tell.
            let grpc = crate::is_grpc(request.headers());
            if !grpc {
                request = request.map(|body| body.with_deadline(read_timeout));
            }
            let mut response = handler.handle(request, &peer).await;
            asked.answered();
            if let Some(WriteWithin(wait)) = response.extensions_mut().remove() {
                PACE.with(|pace| pace.patience.until(wait));
            }
            // Who calls by gRPC knows that an answer ends the call, and may wait for it to end its own side.
            if let Some(mut unwanted) = unwanted
                && !grpc
                && let Ok(rest) = unwanted.try_recv()
            {
                read_on(rest).await;
            }
            Ok(http::Response::from(life::watched(response, busy)).map(Taken))
        }
    });
    let engine = hyper::server::conn::http2::Builder::new(Streams { write_timeout: limits.write_timeout })
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(RESETS_OURS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let wind_down = |engine: Pin<&mut _>| hyper::server::conn::http2::Connection::graceful_shutdown(engine);
    tokio::select! {
        biased;
        () = fickle.given_up.notified() => {}
        () = life::live(engine, wind_down, &activity, &limits, drain) => {}
    }
}

/// Counts requests that are taken back before their answer. Each costs its client nothing and us a route and
/// perhaps a backend, so who does little else is not served any more.
#[derive(Default)]
struct Fickle {
    all: AtomicU32,
    taken_back: AtomicU32,
    given_up: Notify,
}

/// A request, until it is answered.
struct Asked {
    fickle: Arc<Fickle>,
    answered: bool,
}

impl Fickle {
    fn begin(self: &Arc<Self>) -> Asked {
        self.all.fetch_add(1, Ordering::Relaxed);
        Asked { fickle: self.clone(), answered: false }
    }
}

impl Asked {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let taken_back = self.fickle.taken_back.fetch_add(1, Ordering::Relaxed) + 1;
        if taken_back >= TAKEN_BACK_MAX && taken_back > self.fickle.all.load(Ordering::Relaxed) / 2 {
            self.fickle.given_up.notify_one();
        }
    }
}

/// A client may send its cookies apart, so that they compress better (RFC 9113 section 8.2.3); everybody
/// behind us expects one line.
fn join_cookies(headers: &mut Headers) {
    if headers.get_all(COOKIE).nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Reads for a while what nobody wants before the answer is given. Some clients that are still sending then
/// miss an answer whose stream is reset behind it, or wait for ever, though they must not (RFC 9113 section 8.1;
/// curl before 8.0).
async fn read_on(mut rest: Incoming) {
    let _ = tokio::time::timeout(linger::WAIT, async {
        let mut left = linger::BYTES_MAX;
        while left > 0
            && let Some(Ok(frame)) = rest.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    })
    .await;
}

/// A request's body that is given back when it is dropped before its end.
struct Given {
    incoming: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl Given {
    fn body(incoming: Incoming) -> (Body, Option<oneshot::Receiver<Incoming>>) {
        if incoming.is_end_stream() {
            return (Body::empty(), None);
        }
        let (back, unwanted) = oneshot::channel();
        (Body::stream(Self { incoming: Some(incoming), back: Some(back) }), Some(unwanted))
    }
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        Pin::new(incoming).poll_frame(cx).map_err(crate::body::incoming_fault)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        if let (Some(rest), Some(back)) = (rest, self.back.take()) {
            let _ = back.send(rest);
        }
    }
}

tokio::task_local! {
    /// The pace of the stream whose task this is.
    static PACE: Arc<Pace>;
}

/// How a client takes the response on one stream.
struct Pace {
    patience: Patience,
    /// Odd while the client has something to take; it grows with every change.
    turn: AtomicU64,
}

impl Pace {
    fn turn(&self) -> Option<u64> {
        Some(self.turn.load(Ordering::Relaxed)).filter(|turn| turn % 2 == 1)
    }

    /// Something is given to the client, or nothing is left to take.
    fn set(&self, theirs: bool) {
        let turn = self.turn.load(Ordering::Relaxed);
        if (turn % 2 == 1) != theirs {
            self.turn.store(turn + 1, Ordering::Relaxed);
        }
    }
}

/// Runs the streams of a connection, each as a task of its own. They end with the connection, which resets
/// them.
#[derive(Clone)]
struct Streams {
    write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let pace = Arc::new(Pace { patience: Patience::new(self.write_timeout), turn: AtomicU64::new(0) });
        tokio::spawn(paced(PACE.scope(pace.clone(), stream), pace));
    }
}

/// Gives a stream up when its client does not take what it is given: flow control holds it back then, and
/// neither the body nor the socket would notice.
async fn paced(stream: impl Future, pace: Arc<Pace>) {
    let mut stream = pin!(stream);
    let mut timer: Option<(u64, Pin<Box<tokio::time::Sleep>>)> = None;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(turn) = pace.turn() else {
                timer = None;
                return Poll::Pending;
            };
            match &mut timer {
                // The same piece as when the timer began.
                Some((since, sleep)) if *since == turn => {
                    ready!(sleep.as_mut().poll(cx));
                    return Poll::Ready(());
                }
                _ => timer = Some((turn, Box::pin(tokio::time::sleep(pace.patience.left())))),
            }
        }
    })
    .await;
}

/// A response's body that notes whose turn it is: ours until there is a piece, then the client's until it
/// has taken that.
struct Taken(Body);

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let set = |theirs: bool| {
            let _ = PACE.try_with(|pace| pace.set(theirs));
        };
        set(false);
        let polled = ready!(Pin::new(&mut self.0).poll_frame(cx));
        set(matches!(polled, Some(Ok(_))));
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
