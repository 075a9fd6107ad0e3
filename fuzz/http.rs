//! What holds for all bytes that come over a connection of HTTP/1.1, whoever sent them. The fuzz targets and the
//! ordinary tests of `wire` share these.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use http::Method;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Conversation, Rest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use wire::raw::{self, ProxyHeader, ReadHead, chunked_body, request_head, response_head};
use wire::{Body, Drainer, Handler, Headers, Http1, Limits, Peer, Request, Response};

/// More than the heads that are tried.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Sizes of the pieces that bytes come in.
const PIECES: [usize; 4] = [usize::MAX, 1, 3, 64];

/// A body may be this long.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A header of the PROXY protocol is found, refused or awaited; it is not longer than what there is, more bytes
/// behind it change nothing, and fewer of them are never another one.
pub(crate) fn any_proxy_header(bytes: &[u8]) {
    let found = raw::proxy_header(bytes);
    if let ProxyHeader::Complete { length, .. } = found {
        assert!(length <= bytes.len());
        assert_eq!(raw::proxy_header(&[bytes, b"GET / HTTP/1.1"].concat()), found);
        for shorter in 1..length {
            let partial = raw::proxy_header(&bytes[..shorter]);
            assert_eq!(partial, ProxyHeader::Partial, "of {length} only {shorter}");
        }
    }
}

/// A request's head is read, refused or awaited, in whatever pieces it comes; what is read says the same when it
/// is written and read again.
pub(crate) fn any_request_head(bytes: &[u8]) {
    let read = |bytes: &[u8], step| request_head(bytes.chunks(step), HEAD_BYTES_MAX);
    let whole = read(bytes, usize::MAX);
    for step in PIECES {
        assert_eq!(read(bytes, step).ok(), whole.clone().ok(), "in pieces of {step}");
    }
    if let Ok(Some(head)) = whole {
        let again = read(&written(&head), usize::MAX);
        assert_eq!(again, Ok(Some(ReadHead { left: 0, ..head })));
    }
}

/// The same of a response's head.
pub(crate) fn any_response_head(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let read = |bytes: &[u8], step| response_head(bytes.chunks(step), HEAD_BYTES_MAX, &method);
        let whole = read(bytes, usize::MAX);
        for step in PIECES {
            assert_eq!(read(bytes, step).ok(), whole.clone().ok(), "in pieces of {step}");
        }
        if let Ok(Some(head)) = whole {
            let again = read(&written(&head), usize::MAX);
            assert_eq!(again, Ok(Some(ReadHead { left: 0, ..head })));
        }
    }
}

/// A body in chunks is read, refused or awaited, in whatever pieces it comes, and has no more bytes than came.
pub(crate) fn any_chunks(bytes: &[u8]) {
    let whole = chunked_body([bytes]);
    for step in PIECES {
        assert_eq!(chunked_body(bytes.chunks(step)).ok(), whole.clone().ok(), "in pieces of {step}");
    }
    if let Ok(Some(body)) = whole {
        assert!(body.data.len() + body.left < bytes.len());
        check(&body.trailers);
    }
}

/// A connection of a client ends whatever came on it, its requests are the same in whatever pieces it came, and
/// each is answered, so that the most suspicious client can read it.
pub(crate) fn any_connection(bytes: &[u8]) {
    let whole = in_still_time(served(bytes, usize::MAX));
    for step in PIECES {
        assert_eq!(in_still_time(served(bytes, step)), whole, "in pieces of {step}");
    }
}

/// A connection to an upstream ends whatever came on it, and the answer is the same in whatever pieces it came.
pub(crate) fn any_answer(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let whole = in_still_time(answered(bytes, &method, usize::MAX));
        for step in PIECES {
            let told = in_still_time(answered(bytes, &method, step));
            assert_eq!(told, whole, "to {method} in pieces of {step}");
        }
    }
}

/// A head as it stands on the wire.
fn written(head: &ReadHead) -> Vec<u8> {
    check(&head.headers);
    let mut bytes = format!("{}\r\n", head.start).into_bytes();
    if head.start.starts_with("HTTP/") {
        bytes.truncate(bytes.len() - 2);
        bytes.extend(b" OK\r\n");
    }
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// Nothing in a field ends its line.
fn check(headers: &Headers) {
    for (name, value) in headers {
        assert!(
            !value.as_bytes().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'),
            "{name}: {value:?}"
        );
    }
}

fn in_still_time<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let within = async { tokio::time::timeout(Duration::from_secs(10_000), conversation).await };
    runtime.expect("a runtime without sockets").block_on(within).expect("the connection ends")
}

async fn write(to: &mut DuplexStream, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        if to.write_all(piece).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Answers with what it was asked.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Handler for Echo {
    async fn handle(&self, request: Request, _: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let body = body.collect(BODY_BYTES_MAX).await;
        let text = format!("{} {} {body:?}", head.method, head.uri);
        if body.is_ok() {
            self.0.lock().expect("no handler panics").push(text.clone());
        }
        Response::new(Body::full(text))
    }
}

/// The whole requests that the handler saw.
async fn served(bytes: &[u8], step: usize) -> Vec<String> {
    let (mut ours, theirs) = duplex(16 << 20);
    let (echo, limits) = (Echo::default(), Limits { http1: Http1::Strict, ..Limits::default() });
    let (_drainer, drain) = Drainer::new();
    let serving = raw::serve(theirs, limits, echo.clone(), drain);
    let talking = async {
        write(&mut ours, bytes, step).await;
        // Whoever closes early has left and gets no answer.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = ours.shutdown().await;
        let mut told = Vec::new();
        let _ = ours.read_to_end(&mut told).await;
        told
    };
    let (told, ()) = tokio::join!(talking, serving);
    let seen = std::mem::take(&mut *echo.0.lock().expect("no handler panics"));
    let methods: Vec<_> = seen.iter().map(|seen| seen.split(' ').next().unwrap_or_default()).collect();
    let answers = Conversation::answers(&told, &methods);
    assert_eq!(answers.rest, Rest::Nothing, "{answers:?}");
    assert!(answers.messages.len() >= seen.len(), "{answers:?} for {seen:?}");
    for (answer, seen) in answers.messages.iter().zip(&seen) {
        assert!(answer.text() == *seen || seen.starts_with("HEAD "), "{seen:?} was answered by {answer:?}");
    }
    seen
}

/// Status, fields and body of the answer, or that there was none.
async fn answered(bytes: &[u8], method: &Method, step: usize) -> Option<(u16, Headers, Option<Vec<u8>>)> {
    let (ours, mut theirs) = duplex(16 << 20);
    let mut connection = raw::connect(ours, Http1::Strict).await.expect("nothing is sent yet");
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.clone();
    let asking = async move {
        let by = tokio::time::Instant::now() + Duration::from_secs(60);
        let (head, body) = connection.send(request, by).await.ok()?.into_parts();
        let body = body.collect(BODY_BYTES_MAX).await.ok().map(|bytes| bytes.to_vec());
        check(&head.headers);
        Some((head.status.as_u16(), head.headers, body))
    };
    let talking = async move {
        let mut request = [0; 1000];
        let _ = theirs.read(&mut request).await;
        write(&mut theirs, bytes, step).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::join!(asking, talking).0
}
