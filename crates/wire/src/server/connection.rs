//! One connection of a client, from its first byte to its end, with the time-outs that belong to it. HTTP/1.1
//! by hyper.

use super::{Drain, Limits};
use crate::handler::{Handler, Peer, WriteWithin};
use crate::linger::{Linger, Rest};
use crate::upgrade::{Lease, Lent};
use crate::watch::{Patience, WriteWatch};
use crate::{Body, Ending, OnUpgrade, Request, Response, Upgraded};
use base::{Fault, Kind};
use http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a drain waits for the first request of a connection that has sent none: it may be on its way.
pub(crate) const FIRST_REQUEST_WAIT: Duration = Duration::from_millis(250);

/// What is under way on one connection, for its idle timer.
#[derive(Default)]
struct Activity {
    /// Requests whose response has not passed whole.
    busy: AtomicUsize,
    /// Requests so far.
    total: AtomicU64,
    /// Whether a request's body was left unread: the client may still be sending it.
    unread: AtomicBool,
    /// Whether the connection was handed over to who asked for another protocol.
    switched: AtomicBool,
    /// What was lent to the last request that asked for another protocol.
    lent: Mutex<Option<Lent>>,
}

impl Activity {
    fn rest(&self) -> Rest {
        if self.switched.load(Ordering::Relaxed) {
            Rest::Wanted
        } else if self.unread.load(Ordering::Relaxed) {
            Rest::Unwanted
        } else {
            Rest::None
        }
    }

    /// Lets a request that asks for another protocol have the connection after its answer.
    fn lend(&self, request: &mut Request) {
        let Some(switching) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>() else { return };
        let (lease, lent) = Lease::new();
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(lent);
        request.extensions_mut().insert(OnUpgrade::new(async move {
            match switching.await {
                Ok(stream) => Ok(Upgraded::new(TokioIo::new(stream)).leased(lease)),
                Err(error) => Err(Fault::new(Kind::Unavailable, "the connection ended").because(error)),
            }
        }));
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    mut drain: Drain,
) {
    let activity = Arc::new(Activity::default());
    let patience = Arc::new(Patience::new(limits.write_timeout));
    let flags = activity.clone();
    let stream = Linger::new(WriteWatch::new(stream, patience.clone()), move || flags.rest());
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(|body| {
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
        activity.lend(&mut request);
        patience.forget();
        activity.busy.fetch_add(1, Ordering::Relaxed);
        activity.total.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(activity.clone());
        let (handler, peer, patience, activity) = (&handler, &peer, &patience, &activity);
        async move {
            let mut response = handler.handle(request, peer).await;
            if let Some(WriteWithin(wait)) = response.extensions_mut().remove() {
                patience.until(wait);
            }
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                activity.switched.store(true, Ordering::Relaxed);
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
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut engine = pin!(engine);
    let mut seen = 0;
    let mut idle = pin!(tokio::time::sleep(limits.idle_timeout));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // Errors are the connection's end: whatever request they belong to was told by its body.
            _ = engine.as_mut() => break,
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
    // A connection that was handed over keeps its place until it is given back; it ends with this future.
    let lent = activity.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(lent) = lent {
        lent.returned().await;
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
