//! Filters that let bodies pass in small pieces or at a bounded rate, to see what depends on a quick network.

use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::body::body_from;
use crate::exchange::Exchange;
use base::{Clock, Fault, Moment};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "chunks",
        args: "bytes, pause",
        docs: "Sends the response's body in pieces of this size at most, with a pause before each `bytes` of it.",
        example: Example {
            filters: r#"chunks(2, "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhello",
        },
        build: |args, _| chunks(args, On::Response),
    },
    FilterSpec {
        name: "backendChunks",
        args: "bytes, pause",
        docs: "Like `chunks`, for the request's body.",
        example: Example {
            filters: r#"backendChunks(1024, "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| chunks(args, On::Request),
    },
    FilterSpec {
        name: "bandwidth",
        args: "kilobytesPerSecond",
        docs: "Bounds the rate of the response's body, in units of 1024 bytes a second. Skipper's granularity is 512 \
               bytes and whole milliseconds; here it is the 20 ms worth of bytes, if these are more, and the rate is \
               kept.",
        example: Example { filters: "bandwidth(30)", request: "GET /", saw: "GET /", got: "200\nhello" },
        build: |args, _| bandwidth(args, On::Response),
    },
    FilterSpec {
        name: "backendBandwidth",
        args: "kilobytesPerSecond",
        docs: "Like `bandwidth`, for the request's body.",
        example: Example { filters: "backendBandwidth(30)", request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| bandwidth(args, On::Request),
    },
];

/// The smallest piece that a rate is kept by.
const PIECE_LEAST: usize = 512;
/// The longest pause between two pieces, whatever a route says.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

fn chunks(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let size = args.whole("bytes", 1)? as usize;
    let pause = args.duration("pause")?.min(PAUSE_MAX);
    Ok(plain(Throttle { on, pace: Pace { size, rule: Rule::Each(pause) } }))
}

fn bandwidth(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let rate = args.number("rate")? * 1024.0;
    if rate <= 0.0 {
        return Err(args.refuse("rate", "it must be more than 0"));
    }
    let size = ((rate / 50.0) as usize).max(PIECE_LEAST);
    Ok(plain(Throttle { on, pace: Pace { size, rule: Rule::BytesPerSecond(rate) } }))
}

struct Throttle {
    on: On,
    pace: Pace,
}

#[derive(Clone, Copy)]
struct Pace {
    /// Bytes that pass in one go at most.
    size: usize,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    /// A pause before each piece.
    Each(Duration),
    BytesPerSecond(f64),
}

impl Throttle {
    fn slow(&self, body: &mut Body, clock: &Clock) {
        if !body.is_empty() {
            *body = paced(std::mem::take(body), clock.clone(), self.pace);
        }
    }
}

impl Filter for Throttle {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request {
            let clock = exchange.clock.clone();
            self.slow(&mut exchange.body, &clock);
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response {
            self.slow(response.body_mut(), &exchange.clock);
        }
        Step::Next
    }
}

/// The body at this pace.
fn paced(body: Body, clock: Clock, pace: Pace) -> Body {
    let length = body.size_hint();
    let mut line = Line { body, clock, pace, waiting: Bytes::new(), of_piece: 0, free_at: None, pause: None };
    body_from(length, move |cx| line.poll(cx))
}

/// A slow line: what waits at its beginning, and when it is free for more.
struct Line {
    body: Body,
    clock: Clock,
    pace: Pace,
    waiting: Bytes,
    /// How much of the piece that is on its way has passed.
    of_piece: usize,
    /// When all that passed so far is through.
    free_at: Option<Moment>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Line {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                return Poll::Ready(Some(Ok(self.pass())));
            }
            while self.waiting.is_empty() {
                match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose() {
                    Ok(Some(frame)) => match frame.into_data() {
                        Ok(data) => self.waiting = data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    Ok(None) => return Poll::Ready(None),
                    Err(fault) => return Poll::Ready(Some(Err(fault))),
                }
            }
            let wait = self.wait();
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(self.pass())));
            }
            let clock = self.clock.clone();
            self.pause = Some(Box::pin(async move { clock.sleep(wait).await }));
        }
    }

    /// How long what comes next has to wait.
    fn wait(&mut self) -> Duration {
        match self.pace.rule {
            Rule::Each(pause) if self.of_piece == 0 => pause,
            Rule::Each(_) => Duration::ZERO,
            Rule::BytesPerSecond(rate) => {
                let now = self.clock.now();
                let takes = Duration::try_from_secs_f64(self.next() as f64 / rate).unwrap_or(PAUSE_MAX);
                let free_at = self.free_at.map_or(now, |free_at| free_at.max(now)) + takes.min(PAUSE_MAX);
                self.free_at = Some(free_at);
                free_at.since(now)
            }
        }
    }

    /// How many bytes pass next.
    fn next(&self) -> usize {
        self.waiting.len().min(self.pace.size - self.of_piece)
    }

    fn pass(&mut self) -> Frame<Bytes> {
        let data = self.waiting.split_to(self.next());
        self.of_piece = (self.of_piece + data.len()) % self.pace.size;
        Frame::data(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::{drained, pieces};
    use base::UnixTime;

    /// How the body comes out, and how long it took.
    async fn passed(rule: Rule, size: usize, words: &[&str]) -> (Vec<Bytes>, Duration) {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let words = words.iter().map(|word| word.as_bytes().to_vec());
        let body = paced(pieces(words, false), clock.clone(), Pace { size, rule });
        let moving = async {
            loop {
                tokio::task::yield_now().await;
                hand.advance(Duration::from_millis(1));
            }
        };
        let (data, trailers) = tokio::select! { biased; out = drained(body) => out.unwrap(), () = moving => unreachable!("time has no end") };
        assert!(trailers);
        (data, clock.now().since(Moment::default()))
    }

    #[tokio::test]
    async fn pieces_come_at_their_pace() {
        let (data, took) = passed(Rule::Each(Duration::from_millis(10)), 3, &["abcd", "e", "fgh"]).await;
        assert_eq!(data, ["abc", "d", "e", "f", "gh"]);
        // Three pieces, the last one short.
        assert!((Duration::from_millis(30)..Duration::from_millis(34)).contains(&took), "{took:?}");
        let (data, took) = passed(Rule::Each(Duration::ZERO), 2, &["abcd"]).await;
        assert_eq!((data, took), (vec!["ab".into(), "cd".into()], Duration::ZERO));
    }

    #[tokio::test]
    async fn a_rate_is_kept() {
        let text = "x".repeat(5000);
        let (data, took) = passed(Rule::BytesPerSecond(10_000.0), 512, &[&text, &text]).await;
        assert_eq!(data.iter().map(Bytes::len).sum::<usize>(), 10_000);
        assert!((Duration::from_millis(1000)..Duration::from_millis(1030)).contains(&took), "{took:?}");
    }
}
