//! One HTTP/1.1 connection of a client, by hyper. How long it lives is told in `life`.

use super::life::{self, Activity};
use super::{Drain, Limits};
use crate::gaps;
use crate::handler::{Handler, Peer, WriteWithin};
use crate::linger::{Linger, Rest};
use crate::upgrade::{Lease, Lent};
use crate::watch::{Patience, WriteWatch};
use crate::{Body, Ending, OnUpgrade, Request, Upgraded};
use base::{Fault, Kind};
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};

/// So many header lines hyper reads without allocating; any other bound costs an allocation a request.
const HEADERS_FREE: usize = 100;

/// What becomes of a connection after its last message.
#[derive(Default)]
struct Afterwards {
    /// Whether a request's body was left unread: the client may still be sending it.
    unread: AtomicBool,
    /// Whether the connection was handed over to who asked for another protocol.
    switched: AtomicBool,
    /// What was lent to the last request that asked for another protocol.
    lent: Mutex<Option<Lent>>,
}

impl Afterwards {
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
    drain: Drain,
) {
    let activity = Arc::new(Activity::default());
    let patience = Arc::new(Patience::new(limits.write_timeout));
    let afterwards = Arc::new(Afterwards::default());
    let rest = afterwards.clone();
    let stream = Linger::new(WriteWatch::new(stream, patience.clone()), move || rest.rest());
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let mut request = Request::from(request.map(|body| {
            let body = Body::incoming(body);
            if body.is_empty() {
                return body;
            }
            let afterwards = afterwards.clone();
            body.with_deadline(limits.read_timeout).with_tail(Box::new(move |ending, _| {
                if ending != Ending::Complete {
                    afterwards.unread.store(true, Ordering::Relaxed);
                }
            }))
        }));
        afterwards.lend(&mut request);
        patience.forget();
        let busy = activity.begin();
        let (handler, peer, patience, afterwards) = (&handler, &peer, &patience, &afterwards);
        async move {
            if let Some(refusal) = gaps::refusal(&request) {
                return Ok(refusal.into());
            }
            let mut response = handler.handle(request, peer).await;
            if let Some(WriteWithin(wait)) = response.extensions_mut().remove() {
                patience.until(wait);
            }
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                afterwards.switched.store(true, Ordering::Relaxed);
            }
            Ok::<http::Response<Body>, Infallible>(life::watched(response, busy).into())
        }
    });
    let mut builder = http1::Builder::new();
    if limits.headers != HEADERS_FREE {
        builder.max_headers(limits.headers);
    }
    let engine = builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's bound is on its read buffer, which also carries bodies: 8 KiB is its least.
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .half_close(false)
        // Not pipeline_flush: with it hyper never flushes its own 400 and 431 while bytes it refused are left.
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let wind_down = |engine: Pin<&mut _>| http1::UpgradeableConnection::graceful_shutdown(engine);
    life::live(engine, wind_down, &activity, &limits, drain).await;
    // A connection that was handed over keeps its place until it is given back; it ends with this future.
    let lent = afterwards.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(lent) = lent {
        lent.returned().await;
    }
}
