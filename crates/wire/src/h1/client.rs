//! A connection to an upstream, for one request after another. Whoever asks writes the request and reads the
//! response himself; only a body that is still being written when its response has begun goes on in a task
//! of its own, so that neither waits for the other.

use super::encode;
use super::head::{self, Length, ReadResponse, Search};
use super::incoming;
use super::io::{Held, NoHead, Reading, Socket};
use super::timer::Timer;
use crate::{Body, OnUpgrade, Outgoing, Response};
use base::{Blame, Fault, Kind, Retry};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::time::Instant;

/// Interim responses before one response, at most.
const INTERIM_MAX: usize = 16;

/// Our end of the connection.
pub(crate) struct Sender {
    io: Held,
    timer: Timer,
    header_bytes: usize,
}

/// A request's body on its way out.
struct Upload {
    body: Body,
    length: Length,
    passed: u64,
    /// Nothing more will come of the body.
    ended: bool,
    /// The body again, should nothing of it be sent.
    kept: Option<Bytes>,
}

/// Why there is no response.
enum Failure {
    /// The upstream closed the connection.
    Closed(Option<std::io::Error>),
    /// What it says is not HTTP.
    Malformed(&'static str),
    /// The request's own body broke off.
    Body(Fault),
    Late,
}

impl Sender {
    pub(crate) fn new(stream: Box<dyn Socket>, header_bytes: usize) -> Self {
        Self { io: Held::new(stream), timer: Timer::new(Instant::now()), header_bytes }
    }

    /// Whether the upstream has closed, as far as the runtime has heard.
    pub(crate) fn is_closed(&mut self) -> bool {
        let io = &mut *self.io.get();
        match io.reading {
            Reading::Lost => true,
            Reading::Body => false,
            // Nothing may come while nothing is asked: neither an end nor bytes.
            Reading::Head => {
                io.last
                    || !io.ahead.is_empty()
                    || io.poll_fill(&mut Context::from_waker(Waker::noop())).is_ready()
            }
        }
    }

    /// Whether a request can be sent at once.
    pub(crate) fn is_ready(&mut self) -> bool {
        let io = self.io.get();
        !io.last && io.reading == Reading::Head && !io.uploading
    }

    /// Waits until the last request and its response have passed; false when the connection is dead.
    pub(crate) async fn ready(&mut self) -> bool {
        poll_fn(|cx| {
            let io = &mut *self.io.get();
            if io.reading == Reading::Lost || io.last {
                return Poll::Ready(false);
            }
            if io.reading == Reading::Head && !io.uploading {
                return Poll::Ready(true);
            }
            io.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The response, or why there is none by `by`, and the body when nothing of the request was sent.
    pub(crate) async fn send(
        &mut self,
        head: &Outgoing<'_>,
        body: Body,
        by: Instant,
    ) -> Result<Response, (Fault, Option<Body>)> {
        let mut upload = Upload::new(body);
        {
            let io = &mut *self.io.get();
            io.writer.begin();
            encode::request(head, upload.length, io.writer.buffer());
        }
        self.timer.set(by);
        let (mut search, mut interim) = (Search::default(), 0);
        let answered =
            poll_fn(|cx| self.poll_answer(cx, &mut upload, head.method, &mut search, &mut interim)).await;
        let (answer, uploading) = match answered {
            Ok(answer) => answer,
            Err(failure) => return Err(self.failed(failure, upload)),
        };
        if uploading {
            tokio::spawn(upload.go_on(Held::of(self.io.share())));
        }
        let mut head = answer.head;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = self.io.get().give_away();
            head.extensions.insert(OnUpgrade::new(async move { Ok(upgraded) }));
            return Ok(Response::from_parts(head, Body::empty()));
        }
        let body = incoming::body(&mut self.io, answer.length);
        Ok(Response::from_parts(head, body))
    }

    /// The head of the response, and whether the request is still being written.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
        method: &Method,
        search: &mut Search,
        interim: &mut usize,
    ) -> Poll<Result<(ReadResponse, bool), Failure>> {
        // An upstream that reads no more may have said why, so a write that fails is no answer yet.
        let unwritten = match upload.poll(cx, &mut self.io) {
            Poll::Ready(Ok(())) | Poll::Pending => None,
            Poll::Ready(Err(Failure::Closed(error))) => Some(error),
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
        };
        let io = &mut *self.io.get();
        loop {
            match io.poll_head(cx, search, self.header_bytes, |head| head::response(head, method)) {
                // We asked for none of them: 100 comes unasked at times, 103 we have no use for.
                Poll::Ready(Ok(answer))
                    if answer.head.status.is_informational()
                        && answer.head.status != StatusCode::SWITCHING_PROTOCOLS =>
                {
                    *interim += 1;
                    if *interim > INTERIM_MAX {
                        return Poll::Ready(Err(Failure::Malformed("interim responses without end")));
                    }
                }
                Poll::Ready(Ok(answer)) => {
                    io.last = !answer.keep_alive;
                    io.uploading = !upload.ended || !io.writer.is_empty();
                    return Poll::Ready(Ok((answer, io.uploading)));
                }
                Poll::Ready(Err(NoHead::Refused(refusal))) => {
                    return Poll::Ready(Err(Failure::Malformed(refusal.why)));
                }
                Poll::Ready(Err(NoHead::Closed(error))) => {
                    return Poll::Ready(Err(Failure::Closed(error.or(unwritten.flatten()))));
                }
                Poll::Pending => break,
            }
        }
        if let Some(error) = unwritten {
            return Poll::Ready(Err(Failure::Closed(error)));
        }
        ready!(self.timer.poll(cx));
        Poll::Ready(Err(Failure::Late))
    }

    /// What to say of a failure; the connection is of no use any more.
    #[cold]
    fn failed(&mut self, failure: Failure, upload: Upload) -> (Fault, Option<Body>) {
        let unsent = {
            let io = &mut *self.io.get();
            io.reading = Reading::Lost;
            io.writer.written() == 0 && (upload.passed == 0 || upload.kept.is_some())
        };
        let retry = if unsent { Retry::Safe } else { Retry::IfIdempotent };
        let body = unsent.then(|| upload.kept.map_or(upload.body, Body::full));
        let fault = match failure {
            Failure::Closed(error) => {
                let fault =
                    Fault::new(Kind::Unavailable, "the upstream closed the connection without an answer");
                let fault = fault.blame(Blame::Neighbour);
                match error {
                    Some(error) => fault.because(error),
                    None => fault,
                }
            }
            Failure::Malformed(why) => {
                Fault::new(Kind::Invalid, format!("the upstream's answer is not HTTP: {why}"))
                    .blame(Blame::Neighbour)
            }
            Failure::Body(fault) => {
                Fault::new(fault.kind, "the request's body broke off").blame(Blame::Caller).because(fault)
            }
            Failure::Late => {
                Fault::new(Kind::Timeout, "the upstream did not answer in time").blame(Blame::Neighbour)
            }
        };
        (fault.retry(retry), body)
    }
}

impl Upload {
    fn new(body: Body) -> Self {
        let length = body.exact_len().map_or(Length::Chunked, Length::Known);
        Self { ended: body.is_end_stream(), kept: body.as_full().cloned(), body, length, passed: 0 }
    }

    /// Writes what there is, and more as it comes.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Held) -> Poll<Result<(), Failure>> {
        loop {
            // A body that is there is written with its head. Of one that comes nothing is taken before the
            // head has been: should the connection be dead, it is not lost.
            while !self.ended && {
                let io = io.get();
                io.writer.has_room() && (io.writer.written() > 0 || self.kept.is_some())
            } {
                if self.poll_more(cx, io)?.is_pending() {
                    break;
                }
            }
            let io = &mut *io.get();
            if io.writer.is_empty() {
                return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if let Err(error) = ready!(io.poll_flush(cx)) {
                io.writer.clear();
                return Poll::Ready(Err(Failure::Closed(Some(error))));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes the next piece of the body.
    fn poll_more(&mut self, cx: &mut Context<'_>, io: &mut Held) -> Result<Poll<()>, Failure> {
        let in_chunks = self.length == Length::Chunked;
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(Poll::Pending) };
        let mut trailers = None;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.passed += data.len() as u64;
                    if matches!(self.length, Length::Known(told) if self.passed > told) {
                        return Err(Failure::Body(Fault::new(Kind::Bug, "the body is longer than it said")));
                    }
                    io.get().writer.data(data, in_chunks);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Some(Err(fault)) => return Err(Failure::Body(fault)),
            None => {}
        }
        if trailers.is_some() || self.body.is_end_stream() {
            if matches!(self.length, Length::Known(told) if told != self.passed) {
                return Err(Failure::Body(Fault::new(Kind::Bug, "the body is shorter than it said")));
            }
            self.ended = true;
            if in_chunks {
                io.get().writer.last_chunk(trailers.as_ref());
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Writes the rest, whatever becomes of the response.
    async fn go_on(mut self, mut io: Held) {
        let ended = poll_fn(|cx| {
            // Nobody is left who could use the connection.
            if io.is_alone() || io.get().reading == Reading::Lost {
                return Poll::Ready(Err(Failure::Closed(None)));
            }
            self.poll(cx, &mut io)
        })
        .await;
        let io = &mut *io.get();
        io.uploading = false;
        // The response may still be read to its end, but nothing can follow it.
        io.last |= ended.is_err();
        io.wake();
    }
}
