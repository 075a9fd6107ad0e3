//! A body in either direction: bytes we have, bytes that still come, or a stream of our own; with an
//! optional tail that learns how much passed and how it ended.

use base::{Fault, Kind};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A body. Dropping it before its end aborts the message it belongs to.
#[derive(Default)]
pub struct Body {
    inner: Inner,
    /// Bytes that passed so far.
    passed: u64,
    /// Where others read how many have passed.
    counter: Option<Arc<AtomicU64>>,
    /// Told first.
    tail: Option<Box<dyn Tail>>,
    /// Told last.
    last: Option<Box<dyn Tail>>,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Stream(UnsyncBoxBody<Bytes, Fault>),
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of it passed.
    Complete,
    /// Its source broke off.
    Failed,
    /// Nobody wanted the rest.
    Dropped,
}

/// Told once when a body has ended, and how many bytes passed.
pub trait Tail: Send {
    /// The body ended.
    fn ended(self: Box<Self>, ending: Ending, bytes: u64);
}

impl<F: FnOnce(Ending, u64) + Send> Tail for F {
    fn ended(self: Box<Self>, ending: Ending, bytes: u64) {
        self(ending, bytes);
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self::of(Inner::Full(bytes)) }
    }

    /// A stream of our own.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = Fault> + Send + 'static) -> Self {
        Self::of(Inner::Stream(body.boxed_unsync()))
    }

    pub(crate) fn incoming(body: hyper::body::Incoming) -> Self {
        if http_body::Body::is_end_stream(&body) { Self::empty() } else { Self::of(Inner::Incoming(body)) }
    }

    fn of(inner: Inner) -> Self {
        Self { inner, passed: 0, counter: None, tail: None, last: None, deadline: None }
    }

    /// Tells `tail` when the body ends. Those that are there already are told as well, first.
    pub fn with_tail(mut self, tail: Box<impl Tail + 'static>) -> Self {
        if self.tail.is_none() {
            self.tail = Some(tail);
        } else if let Some(before) = self.last.take() {
            self.last = Some(Box::new(move |ending, bytes| {
                before.ended(ending, bytes);
                tail.ended(ending, bytes);
            }));
        } else {
            self.last = Some(tail);
        }
        self
    }

    /// Writes to `counter` how many bytes have passed, as they do.
    pub fn with_counter(mut self, counter: Arc<AtomicU64>) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Fails the body if it has not ended `wait` from now.
    pub fn with_deadline(mut self, wait: Duration) -> Self {
        if !self.is_empty() {
            self.deadline = Some(Box::pin(tokio::time::sleep(wait)));
        }
        self
    }

    /// Fails the body with `TooMuch` when more than `limit` bytes have come.
    pub fn with_limit(self, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::stream(http_body_util::Limited::new(self, limit).map_err(move |error| {
            match error.downcast::<Fault>() {
                Ok(fault) => *fault,
                Err(_) => Fault::new(Kind::TooMuch, format!("the body has more than {limit} bytes")),
            }
        }))
    }

    /// The bytes, if they are there already.
    pub fn as_full(&self) -> Option<&Bytes> {
        match &self.inner {
            Inner::Full(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// All of it at once, if it is there already; the body has ended then.
    pub(crate) fn take_full(&mut self) -> Option<Bytes> {
        let Inner::Full(bytes) = &mut self.inner else { return None };
        let bytes = std::mem::take(bytes);
        self.finish(Ending::Complete, bytes.len() as u64);
        Some(bytes)
    }

    /// Puts these fields behind it.
    pub fn with_trailers(self, trailers: HeaderMap) -> Self {
        Self::stream(self.with_trailers_after(trailers))
    }

    fn with_trailers_after(
        self,
        trailers: HeaderMap,
    ) -> impl http_body::Body<Data = Bytes, Error = Fault> + Send + 'static {
        http_body_util::BodyExt::with_trailers(self, std::future::ready(Some(Ok(trailers))))
    }

    /// Whether no byte is left.
    pub fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(self)
    }

    /// How many bytes are left, if known.
    pub fn exact_len(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }

    /// All bytes, if there are at most `limit` of them. Trailers are left out.
    ///
    /// Fails with `TooMuch` past the limit and with the source's fault when that breaks off.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, Fault> {
        let too_much = || Err(Fault::new(Kind::TooMuch, format!("the body has more than {limit} bytes")));
        if self.exact_len().is_some_and(|len| len > limit as u64) {
            return too_much();
        }
        if let Some(bytes) = self.take_full() {
            return Ok(bytes);
        }
        let mut read = Vec::new();
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            read.extend_from_slice(&data);
            if read.len() > limit {
                return too_much();
            }
        }
        Ok(Bytes::from(read))
    }

    /// All bytes, if there are at most `limit` of them; otherwise the same body as it was: what was read,
    /// followed by what still comes. A body with trailers is of the second kind, since bytes can't keep them.
    pub async fn collect_up_to(mut self, limit: usize) -> Result<Result<Bytes, Body>, Fault> {
        if self.exact_len().is_some_and(|len| len > limit as u64) {
            return Ok(Err(self));
        }
        if let Some(bytes) = self.take_full() {
            return Ok(Ok(bytes));
        }
        let mut read = Vec::new();
        while let Some(frame) = self.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(other) => {
                    let Ok(trailers) = other.into_trailers() else { continue };
                    return Ok(Err(Body::full(read).with_trailers(trailers)));
                }
            };
            read.extend_from_slice(&data);
            if read.len() > limit {
                return Ok(Err(Body::stream(Prefixed { first: Some(Bytes::from(read)), rest: self })));
            }
        }
        Ok(Ok(Bytes::from(read)))
    }

    fn late(&mut self) -> Fault {
        self.finish(Ending::Failed, 0);
        Fault::new(Kind::Timeout, "the body did not end in time")
    }

    fn pass(&mut self, bytes: u64) {
        self.passed += bytes;
        if let Some(counter) = &self.counter {
            counter.store(self.passed, Ordering::Relaxed);
        }
    }

    fn finish(&mut self, ending: Ending, more: u64) {
        self.pass(more);
        self.inner = Inner::Empty;
        self.deadline = None;
        for tail in [self.tail.take(), self.last.take()].into_iter().flatten() {
            tail.ended(ending, self.passed);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        // A source that always has more would never let the timer below be asked.
        if this.deadline.as_ref().is_some_and(|deadline| tokio::time::Instant::now() >= deadline.deadline()) {
            return Poll::Ready(Some(Err(this.late())));
        }
        let polled = match &mut this.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(incoming_fault),
            Inner::Stream(stream) => Pin::new(stream).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.pass(frame.data_ref().map_or(0, |data| data.remaining() as u64));
                let over = match &this.inner {
                    Inner::Empty | Inner::Full(_) => true,
                    Inner::Incoming(incoming) => incoming.is_end_stream(),
                    Inner::Stream(stream) => stream.is_end_stream(),
                };
                if over {
                    this.finish(Ending::Complete, 0);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(fault))) => {
                this.finish(Ending::Failed, 0);
                Poll::Ready(Some(Err(fault)))
            }
            Poll::Ready(None) => {
                this.finish(Ending::Complete, 0);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(deadline) = &mut this.deadline
                    && deadline.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Some(Err(this.late())));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(incoming) => incoming.is_end_stream(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(incoming) => incoming.size_hint(),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.tail.is_some() {
            // hyper drops a body of known length without asking for its end once all bytes passed.
            let ending = if self.is_empty() { Ending::Complete } else { Ending::Dropped };
            self.finish(ending, 0);
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.inner {
            Inner::Empty => "empty",
            Inner::Full(_) => "full",
            Inner::Incoming(_) => "incoming",
            Inner::Stream(_) => "stream",
        };
        write!(f, "Body({kind}, {} passed)", self.passed)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::full(text)
    }
}

pub(crate) fn incoming_fault(error: hyper::Error) -> Fault {
    // hyper says that chunks are malformed by the kind of an I/O error.
    let malformed = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|io| matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData));
    let kind = if error.is_timeout() {
        Kind::Timeout
    } else if error.is_parse() || malformed {
        Kind::Invalid
    } else {
        Kind::Unavailable
    };
    Fault::new(kind, "the body broke off").because(error)
}

/// Bytes that were read already, then the rest of the body they came from.
struct Prefixed {
    first: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Prefixed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.first.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let first = self.first.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint.set_lower(rest.lower() + first);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Seen = Arc<Mutex<Vec<(Ending, u64)>>>;

    fn watched(body: Body) -> (Body, Seen) {
        let seen: Seen = Arc::default();
        let sink = seen.clone();
        (body.with_tail(Box::new(move |ending, bytes| sink.lock().unwrap().push((ending, bytes)))), seen)
    }

    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Fault;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }
    }

    #[tokio::test]
    async fn trailers_are_no_part_of_what_is_collected() {
        let body = || Body::full("hello").with_trailers(http::HeaderMap::new());
        assert_eq!(body().collect(5).await.unwrap(), "hello");
        assert_eq!(body().collect(4).await.unwrap_err().kind, Kind::TooMuch);
    }

    #[tokio::test]
    async fn a_tail_learns_how_much_passed_and_how_it_ended() {
        let (body, seen) = watched(Body::full("hello"));
        assert_eq!(body.collect(5).await.unwrap(), "hello");
        let (body, dropped) = watched(Body::stream(Endless));
        drop(body);
        assert_eq!(*seen.lock().unwrap(), [(Ending::Complete, 5)]);
        assert_eq!(*dropped.lock().unwrap(), [(Ending::Dropped, 0)]);
    }

    #[tokio::test]
    async fn bytes_are_counted_as_they_pass() {
        let counter = Arc::new(AtomicU64::new(0));
        let mut body = Body::stream(Endless).with_counter(counter.clone());
        for seen in [10, 20] {
            body.frame().await.unwrap().unwrap();
            assert_eq!(counter.load(Ordering::Relaxed), seen);
        }
        Body::full("hello").with_counter(counter.clone()).collect(5).await.unwrap();
        assert_eq!(counter.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn an_endless_body_is_read_up_to_its_bound_and_passed_on_whole() {
        assert_eq!(Body::stream(Endless).collect(25).await.unwrap_err().kind, Kind::TooMuch);
        let mut rest = Body::stream(Endless).collect_up_to(25).await.unwrap().unwrap_err();
        let first = rest.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), 30, "what was read comes first");
        assert_eq!(rest.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
    }

    #[tokio::test]
    async fn a_body_that_has_always_more_fails_at_its_deadline_all_the_same() {
        let body = Body::stream(Endless).with_deadline(Duration::ZERO);
        assert_eq!(body.collect(1000).await.unwrap_err().kind, Kind::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_fails_at_its_deadline() {
        struct Stalled;
        impl http_body::Body for Stalled {
            type Data = Bytes;
            type Error = Fault;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
                Poll::Pending
            }
        }
        let (body, seen) = watched(Body::stream(Stalled).with_deadline(Duration::from_secs(3)));
        assert_eq!(body.collect(10).await.unwrap_err().kind, Kind::Timeout);
        assert_eq!(*seen.lock().unwrap(), [(Ending::Failed, 0)]);
    }
}
