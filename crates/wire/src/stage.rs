//! What is done to a body as it passes: a [`Stage`] is carried through it frame by frame, so that a stage holds no loop
//! and no state of its own about frames, trailers and ends.

use crate::Body;
use base::Fault;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Frames that are taken without one being given before others may run.
const TURNS_MAX: usize = 64;

/// What is done to a body as it passes.
pub trait Stage: Send + 'static {
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
pub enum Source {
    /// More may be there already.
    Flows,
    /// More will come, but not now: what is kept back for no good reason should go.
    Rests,
    /// Nothing more will come.
    Ended,
}

/// The body with this stage in its way. Trailers pass behind everything the stage gives.
pub fn map_body(body: Body, stage: impl Stage) -> Body {
    let source = if body.is_empty() { Source::Ended } else { Source::Flows };
    Body::stream(Staged { body, stage, source, ahead: None, trailers: None, over: false })
}

/// So many bytes exactly, and then the end.
pub fn exactly(bytes: u64) -> SizeHint {
    SizeHint::with_exact(bytes)
}

/// The hint with so many bytes more.
pub fn longer(hint: &SizeHint, more: u64) -> SizeHint {
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
