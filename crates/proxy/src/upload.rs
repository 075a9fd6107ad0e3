//! How long a backend may take to begin its answer. While the request's body is on its way, only the time
//! counts in which the backend has all that the client has sent so far: an upload may take as long as it
//! likes, and a call that streams may be silent, but a backend that takes nothing is not waited for.

use base::{Fault, Kind};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use wire::{Body, Connection, Outgoing, Response, SendError};

/// Longer than anything lasts: whose turn it is sets the bound then.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The wait for an answer to one try.
pub(crate) struct AnswerWait<'a> {
    /// It ends here in any case.
    pub(crate) by: Option<Instant>,
    /// Longest wait while it is the backend's turn.
    pub(crate) longest: Duration,
    /// Whose turn it is, if the body is on its way.
    pub(crate) turn: Option<&'a Turn>,
}

impl AnswerWait<'_> {
    /// By when there must be a connection, and an answer to a request that has no more to come.
    pub(crate) fn soonest(&self, now: Instant) -> Instant {
        let longest = now + self.longest;
        self.by.map_or(longest, |by| by.min(longest))
    }

    /// The answer of a connection, unless the backend takes too long: longer than `soonest`, if no more of the
    /// request has to come.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        head: &Outgoing<'_>,
        body: Body,
        soonest: Instant,
    ) -> Result<Response, SendError> {
        let Some(turn) = self.turn else { return connection.send_head(head, body, soonest).await };
        let sending = connection.send_head(head, body, self.by.unwrap_or_else(|| Instant::now() + FOREVER));
        Box::pin(self.within(turn, sending)).await.unwrap_or_else(|_| {
            let fault = Fault::new(Kind::Timeout, "the upstream did not answer in time");
            Err(SendError { fault, body: None, reused: false, refused: false })
        })
    }

    async fn within<T>(&self, turn: &Turn, sending: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut sending = pin!(sending);
        turn.backends();
        loop {
            let soft = turn.backends_since().unwrap_or_else(Instant::now) + self.longest;
            let by = self.by.map_or(soft, |by| by.min(soft));
            match tokio::time::timeout_at(by, sending.as_mut()).await {
                Ok(sent) => return Ok(sent),
                Err(late) => {
                    let now = Instant::now();
                    let over = turn.backends_since().is_some_and(|since| now >= since + self.longest);
                    if over || self.by.is_some_and(|by| now >= by) {
                        return Err(late);
                    }
                }
            }
        }
    }
}

/// Whose turn it is while a body is on its way.
pub(crate) struct Turn {
    begun: Instant,
    /// Since when it is the backend's, in microseconds; [`CLIENTS`] while it is the client's.
    since_us: AtomicU64,
}

const CLIENTS: u64 = u64::MAX;

impl Turn {
    fn backends(&self) {
        let us = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(CLIENTS - 1);
        self.since_us.store(us, Ordering::Relaxed);
    }

    fn backends_since(&self) -> Option<Instant> {
        match self.since_us.load(Ordering::Relaxed) {
            CLIENTS => None,
            us => Some(self.begun + Duration::from_micros(us)),
        }
    }
}

/// The body, which tells from now on whose turn it is.
pub(crate) fn watched(body: Body) -> (Body, Arc<Turn>) {
    let turn = Arc::new(Turn { begun: Instant::now(), since_us: AtomicU64::new(0) });
    (Body::stream(Upload { body, turn: turn.clone() }), turn)
}

struct Upload {
    body: Body,
    turn: Arc<Turn>,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.turn.since_us.store(CLIENTS, Ordering::Relaxed);
        } else {
            self.turn.backends();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    const LONGEST: Duration = Duration::from_secs(60);

    /// A body whose pieces come after these pauses, in seconds.
    fn pieces(pauses: &'static [u64]) -> Body {
        struct Pieces(tokio::sync::mpsc::Receiver<()>);
        impl http_body::Body for Pieces {
            type Data = Bytes;
            type Error = Fault;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
                self.0
                    .poll_recv(cx)
                    .map(|piece| Some(Ok(Frame::data(Bytes::from_static(b"x")))).filter(|_| piece.is_some()))
            }
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for pause in pauses {
                tokio::time::sleep(Duration::from_secs(*pause)).await;
                let _ = sender.send(()).await;
            }
        });
        Body::stream(Pieces(receiver))
    }

    /// After how many seconds a backend that takes so many pieces, and never answers, is given up.
    async fn given_up(pauses: &'static [u64], takes: usize, by: Option<u64>) -> u64 {
        let begun = Instant::now();
        let (mut body, turn) = watched(pieces(pauses));
        let by = by.map(|seconds| begun + Duration::from_secs(seconds));
        let wait = AnswerWait { by, longest: LONGEST, turn: Some(&turn) };
        let never = async {
            for _ in 0..takes {
                let _ = body.frame().await;
            }
            std::future::pending::<()>().await;
        };
        wait.within(&turn, never).await.unwrap_err();
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_backends_time_counts() {
        assert_eq!(given_up(&[], 0, None).await, 60, "it takes nothing");
        assert_eq!(given_up(&[100, 200, 300], 4, None).await, 660, "from the end of the body");
        assert_eq!(given_up(&[100, 200, 300], 2, None).await, 360, "it takes no more");
        assert_eq!(given_up(&[100, 200, 300], 4, Some(250)).await, 250, "a deadline is one");
    }
}
