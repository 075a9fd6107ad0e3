//! Bodies as filters change, watch and make them. One mechanism carries a [`Stage`] through a body frame by
//! frame and another makes a body from a function, so that filters hold no loop and no state of their own
//! about frames, trailers and ends.

use crate::exchange::Exchange;
use base::Fault;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use wire::{Body, Response};

/// Frames that are taken without one being given before others may run.
const TURNS_MAX: usize = 64;

/// What is done to a body as it passes.
pub(crate) trait Stage: Send + 'static {
    /// Takes what came. Called only when there was nothing left to give.
    fn take(&mut self, data: Bytes) -> Result<(), Fault>;

    /// What goes on from here, as long as there is something; never empty.
    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault>;

    /// How much is still to come, when so much comes in. Nobody knows unless the stage says so.
    fn length(&self, incoming: SizeHint) -> SizeHint {
        let _ = incoming;
        SizeHint::new()
    }
}

/// What the source of a stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// More may be there already.
    Flows,
    /// More will come, but not now: what is kept back for no good reason should go.
    Rests,
    /// Nothing more will come.
    Ended,
}

/// The body with this stage in its way. Trailers pass behind everything the stage gives.
pub(crate) fn map_body(body: Body, stage: impl Stage) -> Body {
    let source = if body.is_empty() { Source::Ended } else { Source::Flows };
    Body::stream(Staged { body, stage, source, ahead: None, trailers: None, over: false })
}

/// The body, seen by a function as it passes.
pub(crate) fn watch_body(body: Body, see: impl FnMut(&Bytes) + Send + 'static) -> Body {
    map_body(body, Watched { see, passing: None })
}

/// A body made by a function that is polled until it gives `None` or a fault.
pub(crate) fn body_from(
    length: SizeHint,
    next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> + Send + 'static,
) -> Body {
    Body::stream(Made { next, length, over: false })
}

/// Puts a stage in the way of a request's body.
pub(crate) fn change_request(exchange: &mut Exchange, stage: impl Stage) {
    exchange.headers.remove(CONTENT_LENGTH);
    exchange.body = map_body(std::mem::take(&mut exchange.body), stage);
}

/// Puts a stage in the way of a response's body.
pub(crate) fn change_response(response: &mut Response, stage: impl Stage) {
    response.headers_mut().remove(CONTENT_LENGTH);
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = map_body(body, stage);
}

/// Whether this response to this request may have a body at all (RFC 9110 section 6.4.1).
pub(crate) fn may_have_body(exchange: &Exchange, response: &Response) -> bool {
    exchange.arrival.method != Method::HEAD
        && !response.status().is_informational()
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// So many bytes exactly, and then the end.
pub(crate) fn exactly(bytes: u64) -> SizeHint {
    SizeHint::with_exact(bytes)
}

/// The hint with so many bytes more.
pub(crate) fn longer(hint: &SizeHint, more: u64) -> SizeHint {
    let mut sum = SizeHint::new();
    if let Some(upper) = hint.upper() {
        sum.set_upper(upper.saturating_add(more));
    }
    sum.set_lower(hint.lower().saturating_add(more));
    sum
}

struct Staged<S> {
    body: Body,
    stage: S,
    source: Source,
    /// What comes next, found out when the end is near: whoever knows the length never asks again.
    ahead: Option<Result<Bytes, Fault>>,
    trailers: Option<HeaderMap>,
    over: bool,
}

impl<S> Unpin for Staged<S> {}

impl<S: Stage> Staged<S> {
    fn give(&mut self, source: Source) -> Option<Result<Bytes, Fault>> {
        self.stage.give(source).transpose()
    }

    /// Takes one frame of the source, if it has one.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(cx) else { return Poll::Pending };
        match polled.transpose()?.map(Frame::into_data) {
            Some(Ok(data)) => {
                if !data.is_empty() {
                    self.stage.take(data)?;
                }
                if self.body.is_empty() {
                    self.source = Source::Ended;
                }
            }
            Some(Err(frame)) => {
                self.trailers = frame.into_trailers().ok();
                self.source = Source::Ended;
            }
            None => self.source = Source::Ended,
        }
        Poll::Ready(Ok(()))
    }

    fn pass(&mut self, given: Result<Bytes, Fault>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if given.is_err() {
            self.over = true;
            // Its sender learns at once that nobody wants the rest.
            self.body = Body::empty();
        } else if self.source == Source::Ended {
            self.ahead = self.give(Source::Ended);
            self.over = self.ahead.is_none() && self.trailers.is_none();
        }
        Poll::Ready(Some(given.map(Frame::data)))
    }
}

impl<S: Stage> http_body::Body for Staged<S> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(given) = this.ahead.take() {
            return this.pass(given);
        }
        for _ in 0..TURNS_MAX {
            if let Some(given) = this.give(this.source) {
                return this.pass(given);
            }
            if this.source == Source::Ended {
                this.over = true;
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            match this.pull(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => return this.pass(Err(fault)),
                Poll::Pending => {
                    return match this.give(Source::Rests) {
                        Some(given) => this.pass(given),
                        None => Poll::Pending,
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = match &self.ahead {
            Some(Ok(data)) => data.len() as u64,
            _ => 0,
        };
        if self.over { exactly(0) } else { longer(&self.stage.length(self.body.size_hint()), ahead) }
    }
}

struct Watched<F> {
    see: F,
    passing: Option<Bytes>,
}

impl<F: FnMut(&Bytes) + Send + 'static> Stage for Watched<F> {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        (self.see)(&data);
        self.passing = Some(data);
        Ok(())
    }

    fn give(&mut self, _: Source) -> Result<Option<Bytes>, Fault> {
        Ok(self.passing.take())
    }

    fn length(&self, incoming: SizeHint) -> SizeHint {
        let passing = self.passing.as_ref().map_or(0, Bytes::len);
        longer(&incoming, passing as u64)
    }
}

struct Made<F> {
    next: F,
    length: SizeHint,
    over: bool,
}

impl<F> Unpin for Made<F> {}

impl<F> http_body::Body for Made<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>>,
{
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = (self.next)(cx);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.over = true,
            Poll::Ready(Some(Ok(frame))) => {
                let passed = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.length = shorter(&self.length, passed);
                self.over = self.length.exact() == Some(0) && passed > 0;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.length
    }
}

/// The hint when so many bytes have passed.
fn shorter(hint: &SizeHint, passed: u64) -> SizeHint {
    let mut rest = SizeHint::new();
    if let Some(upper) = hint.upper() {
        rest.set_upper(upper.saturating_sub(passed));
    }
    rest.set_lower(hint.lower().saturating_sub(passed));
    rest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base::Kind;
    use http_body_util::BodyExt as _;
    use std::collections::VecDeque;

    /// A body that comes in these pieces, resting before each when `rests`, with a trailer at its end.
    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Vec<u8>>, rests: bool) -> Body {
        let mut left: VecDeque<Vec<u8>> = pieces.into_iter().collect();
        let (mut rested, mut trailer) = (false, true);
        body_from(SizeHint::new(), move |cx| {
            rested = rests && !rested;
            if rested {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                None if std::mem::take(&mut trailer) => {
                    let headers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
                    Poll::Ready(Some(Ok(Frame::trailers(headers))))
                }
                None => Poll::Ready(None),
            }
        })
    }

    /// All data of a body, and whether trailers came behind it.
    pub(crate) async fn drained(mut body: Body) -> Result<(Vec<Bytes>, bool), Fault> {
        let (mut data, mut trailers) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(bytes) => data.push(bytes),
                Err(_) => trailers = true,
            }
        }
        Ok((data, trailers))
    }

    /// Keeps everything back until the source rests or ends, says when, and fails at `!`.
    #[derive(Default)]
    struct Keeper(Vec<u8>, bool);

    impl Stage for Keeper {
        fn take(&mut self, data: Bytes) -> Result<(), Fault> {
            if data.contains(&b'!') {
                return Err(Fault::new(Kind::Invalid, "no shouting"));
            }
            self.0.extend_from_slice(&data);
            Ok(())
        }

        fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
            match source {
                Source::Flows => return Ok(None),
                Source::Rests if self.0.is_empty() => return Ok(None),
                Source::Rests => self.0.push(b'|'),
                Source::Ended if std::mem::replace(&mut self.1, true) => return Ok(None),
                Source::Ended => self.0.push(b'.'),
            }
            Ok(Some(std::mem::take(&mut self.0).into()))
        }
    }

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[tokio::test]
    async fn a_stage_gives_when_the_source_rests_and_when_it_ends_and_trailers_come_last() {
        let (data, trailers) =
            drained(map_body(pieces(words(&["a", "b"]), true), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec!["a|".into(), "b|".into(), ".".into()], true));
        let (data, trailers) =
            drained(map_body(pieces(words(&["a", "b"]), false), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec!["ab.".into()], true));
        let (data, trailers) = drained(map_body(Body::empty(), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec![".".into()], false));
    }

    #[tokio::test]
    async fn a_body_is_over_with_its_last_frame() {
        let mut body = map_body(Body::full("abc"), Keeper::default());
        assert!(body.frame().await.unwrap().unwrap().into_data().unwrap() == "abc." && body.is_empty());
        let mut made = body_from(exactly(3), |_| Poll::Ready(Some(Ok(Frame::data("abc".into())))));
        assert_eq!(made.exact_len(), Some(3));
        assert!(made.frame().await.unwrap().is_ok() && made.is_empty());
    }

    #[tokio::test]
    async fn a_stage_that_fails_fails_the_body() {
        let body = map_body(pieces(words(&["a", "b!", "c"]), true), Keeper::default());
        assert_eq!(drained(body).await.unwrap_err().kind, Kind::Invalid);
    }

    #[tokio::test]
    async fn a_source_that_always_has_more_lets_others_run() {
        let endless = body_from(SizeHint::new(), |_| Poll::Ready(Some(Ok(Frame::data("x".into())))));
        let mut body = map_body(endless, Keeper::default());
        let turn = tokio::time::timeout(std::time::Duration::from_millis(5), body.frame()).await;
        assert!(turn.is_err(), "it gives nothing, and yet the timer could fire");
    }
}
