//! One connection of a client, from its first byte to its end: a head is read, the handler asked, the response
//! written, one after another in one task.

use super::encode::{self, Keep};
use super::head::{self, Length, ReadRequest, Refusal, Search};
use super::incoming;
use super::io::{Held, NoHead, Reading, Socket};
use super::timer::Timer;
use crate::handler::{Handler, Peer, Refused, WriteWithin};
use crate::linger::{Linger, Rest};
use crate::server::{Drain, FIRST_REQUEST_WAIT, Limits};
use crate::upgrade::Lease;
use crate::{Body, OnUpgrade, Request, Response};
use base::{Fault, Kind};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Bytes of requests that are read before the present one is answered, at most.
const AHEAD_MAX: usize = 64 << 10;

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: Box<dyn Socket>,
    peer: Peer,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    let io = Held::new(stream);
    let timer = Timer::of_one_task(Instant::now() + limits.header_timeout);
    let mut begun = drain.clone();
    let begun = Box::pin(tokio::task::unconstrained(async move { begun.begun().await }));
    let mut connection =
        Connection { io, timer, limits, drain, begun, listens: false, served: 0, answered: None };
    let rest = connection.run(&peer, &handler).await;
    connection.close(rest).await;
}

struct Connection<B> {
    io: Held,
    timer: Timer,
    limits: Limits,
    drain: Drain,
    /// Wakes this task when the drain begins. Polled once: a task stays the same, and so does who wakes it.
    begun: Pin<Box<B>>,
    /// Whether that was done.
    listens: bool,
    /// Requests so far.
    served: u64,
    /// When the last response was made, if nothing of it has had to wait since.
    answered: Option<Instant>,
}

/// What comes next on a connection.
enum Next {
    Request(ReadRequest),
    Refused(Refusal),
    /// The client has closed, or has been silent for too long.
    Over,
}

/// How the writing of a response ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Whole,
    /// Its body broke off: the client must see that it is not whole.
    CutShort,
    /// The client takes no more.
    Gone,
}

/// A response's body on its way out.
struct Outgoing {
    body: Body,
    length: Option<Length>,
    /// Nothing more will come of the body.
    ended: Option<Written>,
    /// Bytes that have come, for a body whose length was told.
    passed: u64,
    /// By when all of it must have been taken.
    until: Option<Instant>,
    /// Whether the kernel did not take all at the last attempt.
    stalled: bool,
    /// Whether the client wants to see trailers.
    with_trailers: bool,
}

/// What of a request matters to its answer.
#[derive(Clone, Copy)]
struct Asked {
    /// By HEAD: the body stays here.
    head_only: bool,
    version: Version,
    keep_alive: bool,
    wants_trailers: bool,
}

impl<B: Future<Output = ()>> Connection<B> {
    /// Answers one request after another. What the client may still be sending when it returns.
    async fn run(&mut self, peer: &Peer, handler: &impl Handler) -> Rest {
        loop {
            let head = match self.next().await {
                Next::Request(head) => head,
                Next::Over => return Rest::None,
                Next::Refused(refusal) => {
                    handler.refused(&Refused { status: refusal.status, why: refusal.why }, peer);
                    encode::refusal(refusal.status, refusal.why, self.io.get().writer.buffer());
                    let mut nothing = Outgoing::new(Body::empty(), None, None);
                    poll_fn(|cx| self.poll_write(cx, &mut nothing)).await;
                    return Rest::Unwanted;
                }
            };
            self.served += 1;
            let mut switching = None;
            let asked = Asked {
                head_only: head.head.method == Method::HEAD,
                version: head.head.version,
                keep_alive: head.keep_alive,
                wants_trailers: head.wants_trailers,
            };
            let wants_upgrade = head.wants_upgrade;
            let mut request = self.request(head);
            if wants_upgrade {
                let (give, taken) = oneshot::channel();
                switching = Some(give);
                request.extensions_mut().insert(OnUpgrade::new(async move {
                    taken.await.map_err(|_| Fault::new(Kind::Unavailable, "the connection ended"))
                }));
            }
            let response = {
                // Made where it is polled: it is large, and would be moved otherwise.
                let mut handling = pin!(handler.handle(request, peer));
                poll_fn(|cx| match handling.as_mut().poll(cx) {
                    Poll::Ready(response) => Poll::Ready(Some(response)),
                    Poll::Pending if client_left(&mut self.io, cx) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                })
                .await
            };
            let Some(response) = response else { return Rest::None };
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let (written, kept) = self.answer(response, asked).await;
            if written != Written::Whole {
                return Rest::None;
            }
            if switches {
                // It keeps its place until it is given back; it ends with this future.
                let (lease, lent) = Lease::new();
                if let Some(switching) = switching {
                    let _ = switching.send(self.io.get().give_away().leased(lease));
                    lent.returned().await;
                }
                return Rest::Wanted;
            }
            if !kept || !self.body_passed().await {
                let over = self.io.get().reading == Reading::Head;
                return if over { Rest::None } else { Rest::Unwanted };
            }
        }
    }

    /// Waits for the next head.
    async fn next(&mut self) -> Next {
        let (mut search, mut draining, mut awaited) = (Search::default(), false, None);
        poll_fn(|cx| {
            let io = &mut *self.io.get();
            let fields_max = self.limits.headers;
            match io
                .poll_head(cx, &mut search, self.limits.header_bytes, |head| head::request(head, fields_max))
            {
                Poll::Ready(Ok(head)) => return Poll::Ready(Next::Request(head)),
                Poll::Ready(Err(NoHead::Refused(refusal))) => return Poll::Ready(Next::Refused(refusal)),
                Poll::Ready(Err(NoHead::Closed(_))) => return Poll::Ready(Next::Over),
                Poll::Pending => {}
            }
            // First for anything, then for the rest of a head.
            let begun = !io.ahead.is_empty() || search.has_begun();
            if awaited != Some(begun) {
                awaited = Some(begun);
                let wait = if begun { self.limits.header_timeout } else { self.limits.idle_timeout };
                // An answer that was written without a wait was written just now.
                let now = self.answered.take().filter(|_| !begun).unwrap_or_else(Instant::now);
                self.timer.set(now + wait);
            }
            if !std::mem::replace(&mut self.listens, true) {
                let _ = self.begun.as_mut().poll(cx);
            }
            if !draining && self.drain.has_begun() {
                draining = true;
                // A first request may be on its way.
                if self.served == 0 {
                    self.timer.set(Instant::now() + FIRST_REQUEST_WAIT);
                }
            }
            if draining && self.served > 0 && io.ahead.is_empty() {
                return Poll::Ready(Next::Over);
            }
            ready!(self.timer.poll(cx));
            if io.ahead.is_empty() || draining {
                return Poll::Ready(Next::Over);
            }
            let why = "the head of the request did not come in time";
            Poll::Ready(Next::Refused(Refusal { status: StatusCode::REQUEST_TIMEOUT, why }))
        })
        .await
    }

    fn request(&mut self, read: ReadRequest) -> Request {
        let mut body = incoming::body(&mut self.io, read.length);
        if body.is_empty() {
            return Request::of(read.head, body);
        }
        let mut io = self.io.get();
        if io.reading == Reading::Body {
            body = body.with_deadline(self.limits.read_timeout);
            if read.expects_continue && io.ahead.is_empty() {
                io.owe_continue();
            }
        }
        Request::of(read.head, body)
    }

    /// Writes a response. How that ended, and whether the connection can go on.
    async fn answer(&mut self, mut response: Response, asked: Asked) -> (Written, bool) {
        let now = Instant::now();
        self.answered = Some(now);
        let until = response.extensions_mut().remove().map(|WriteWithin(wait)| now + wait);
        let (mut head, body) = response.into_parts();
        let told_close =
            head.headers.get(CONNECTION).is_some_and(|told| told.as_bytes().eq_ignore_ascii_case(b"close"));
        let empty = head.status.is_informational()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if empty {
            // Not allowed for 204, and of no use for 304 (RFC 9110 section 8.6).
            head.headers.remove(CONTENT_LENGTH);
        }
        let bodyless = asked.head_only || empty;
        let length = match body.exact_len() {
            // As long as the body that GET would have, if anybody knows that.
            Some(length) if asked.head_only && !empty && length > 0 => Some(Length::Known(length)),
            _ if bodyless => None,
            Some(length) => Some(Length::Known(length)),
            None if asked.version == Version::HTTP_11 => Some(Length::Chunked),
            None => Some(Length::UntilClose),
        };
        let told = length;
        let (mut body, length) = if bodyless { (Body::empty(), None) } else { (body, length) };
        // One that is there whole goes with its head.
        let whole = match length {
            Some(Length::Known(_)) => body.take_full(),
            _ => None,
        };
        let kept = {
            let mut io = self.io.get();
            let kept = asked.keep_alive
                && !told_close
                && length != Some(Length::UntilClose)
                && io.reading != Reading::Lost
                && !self.drain.has_begun();
            let keep = match kept {
                _ if head.status == StatusCode::SWITCHING_PROTOCOLS => Keep::Switch,
                false => Keep::Close,
                true if asked.version == Version::HTTP_10 => Keep::Alive,
                true => Keep::Silent,
            };
            let begun = io.forgive_continue();
            let buffer = io.writer.buffer();
            buffer.extend_from_slice(begun);
            encode::response(&head, asked.version, told, keep, now, buffer);
            if let Some(whole) = whole {
                io.writer.data(whole, false);
            }
            kept
        };
        let mut outgoing = Outgoing::new(body, length, until);
        outgoing.with_trailers = asked.wants_trailers;
        let written = poll_fn(|cx| self.poll_write(cx, &mut outgoing)).await;
        (written, kept)
    }

    /// Writes what there is, and more as it comes.
    fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<Written> {
        loop {
            // Gathered first: a head and a short body are one write. The body may need the socket itself.
            while outgoing.ended.is_none() && self.io.get().writer.has_room() {
                if outgoing.poll_more(cx, &mut self.io).is_pending() {
                    break;
                }
            }
            let mut io = self.io.get();
            let waits = io.writer.is_empty();
            if waits && outgoing.ended.is_none() {
                drop(io);
                self.answered = None;
                return if client_left(&mut self.io, cx) {
                    Poll::Ready(Written::Gone)
                } else {
                    Poll::Pending
                };
            }
            let flushed = if waits { Poll::Ready(Ok(())) } else { io.poll_flush(cx) };
            drop(io);
            match flushed {
                Poll::Ready(Ok(())) => {
                    outgoing.stalled = false;
                    if let Some(written) = outgoing.ended {
                        return Poll::Ready(written);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Written::Gone),
                Poll::Pending => {
                    self.answered = None;
                    if !std::mem::replace(&mut outgoing.stalled, true) {
                        let by = Instant::now() + self.limits.write_timeout;
                        self.timer.set(outgoing.until.map_or(by, |until| until.min(by)));
                    }
                    ready!(self.timer.poll(cx));
                    return Poll::Ready(Written::Gone);
                }
            }
        }
    }

    /// Waits until the body of the request has passed, which may take longer than its response; whether
    /// another request can follow.
    async fn body_passed(&mut self) -> bool {
        let reading = self.io.get().reading;
        if reading != Reading::Body {
            return reading == Reading::Head;
        }
        self.answered = None;
        self.timer.set(Instant::now() + self.limits.read_timeout);
        poll_fn(|cx| {
            let mut io = self.io.get();
            if io.reading != Reading::Body {
                return Poll::Ready(());
            }
            io.waiting = Some(cx.waker().clone());
            self.timer.poll(cx)
        })
        .await;
        self.io.get().reading == Reading::Head
    }

    /// Closes with care for whoever may still be sending.
    async fn close(self, rest: Rest) {
        // A connection that was given away is nobody's but its new owner's.
        if rest == Rest::Wanted {
            return;
        }
        let Some(io) = self.io.into_alone() else { return };
        let mut stream = Linger::new(io.stream, move || rest);
        let _ = tokio::time::timeout(self.limits.write_timeout, stream.shutdown()).await;
    }
}

/// Whether the client has closed its side. What it sends meanwhile is kept within a bound.
fn client_left(io: &mut Held, cx: &mut Context<'_>) -> bool {
    let io = &mut *io.get();
    // As long as a body is being read, its reader finds out.
    while io.reading == Reading::Head && io.ahead.len() < AHEAD_MAX {
        match io.poll_fill(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0) | Err(_)) => return true,
            Poll::Ready(Ok(_)) => {}
        }
    }
    false
}

impl Outgoing {
    fn new(body: Body, length: Option<Length>, until: Option<Instant>) -> Self {
        let ended = body.is_end_stream().then_some(Written::Whole);
        Self { body, length, ended, passed: 0, until, stalled: false, with_trailers: false }
    }

    /// Takes the next piece of the body.
    fn poll_more(&mut self, cx: &mut Context<'_>, io: &mut Held) -> Poll<()> {
        let in_chunks = self.length == Some(Length::Chunked);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let mut trailers = None;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.passed += data.len() as u64;
                    if matches!(self.length, Some(Length::Known(told)) if self.passed > told) {
                        self.ended = Some(Written::CutShort);
                        return Poll::Ready(());
                    }
                    io.get().writer.data(data, in_chunks);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Some(Err(_)) => {
                self.ended = Some(Written::CutShort);
                return Poll::Ready(());
            }
            None => {}
        }
        let over = trailers.is_some() || self.body.is_end_stream();
        if over {
            self.ended = Some(match self.length {
                Some(Length::Known(told)) if told != self.passed => Written::CutShort,
                _ => Written::Whole,
            });
            if in_chunks {
                io.get().writer.last_chunk(trailers.filter(|_| self.with_trailers).as_ref());
            }
        }
        Poll::Ready(())
    }
}
