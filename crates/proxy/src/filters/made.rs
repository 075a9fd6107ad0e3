//! Filters that answer with made-up content, or make the caller waste its time: for tests of clients and load,
//! and against those who knock at every door.

use super::content::from_hex;
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, plain, sniff};
use crate::answer::{Cause, Reason};
use crate::args::Args;
use crate::body::{body_from, exactly};
use crate::exchange::Exchange;
use crate::filter_log::{FilterLog, flow_id};
use base::{Chance, Clock, Fault};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "randomContent",
        args: "bytes",
        docs: "Answers 200 with so many random letters and digits.",
        example: Example {
            filters: "randomContent(42)",
            request: "GET /",
            saw: "-",
            got: "200\ncontent-type: text/plain; charset=utf-8",
        },
        build: |args, _| Ok(plain(Random(args.whole("bytes", 0)?))),
    },
    FilterSpec {
        name: "repeatContent",
        args: "text, bytes",
        docs: "Answers 200 with a text again and again, until there are so many bytes.",
        example: Example {
            filters: r#"repeatContent("tick tock ", 24)"#,
            request: "GET /",
            saw: "-",
            got: "200\ntick tock tick tock tick",
        },
        build: |args, _| repeat(args, "repeatContent", |text| Ok(text.as_bytes().to_vec())),
    },
    FilterSpec {
        name: "repeatContentHex",
        args: "hex, bytes",
        docs: "Like `repeatContent`, for bytes that are written in hexadecimal digits.",
        example: Example {
            filters: r#"repeatContentHex("2d5f", 5)"#,
            request: "GET /",
            saw: "-",
            got: "200\n-_-_-",
        },
        build: |args, _| repeat(args, "repeatContentHex", from_hex),
    },
    FilterSpec {
        name: "tarpit",
        args: "pause",
        docs: "Answers 200 with a body that never comes to an end: a space after each pause. The request's body is \
               not read. The answer breaks off after an hour, where Skipper's goes on as long as the client does.",
        example: Example {
            filters: r#"disableAccessLog() -> inlineContent("let in") -> tarpit("1s")"#,
            request: "GET /",
            saw: "-",
            got: "200\nlet in",
        },
        build: |args, _| Ok(plain(Tarpit(args.span("pause")?.max(PAUSE_LEAST)))),
    },
    FilterSpec {
        name: "absorb",
        args: "",
        docs: "Reads the request's body to its end and answers 200. The log tells when a request begins and ends, \
               and every second how much has come, with its `X-Flow-Id` or a name of its own.",
        example: Example { filters: "absorb()", request: "GET /", saw: "-", got: "200" },
        build: |_, env| absorb(env, "absorb"),
    },
    FilterSpec {
        name: "absorbSilent",
        args: "",
        docs: "Like `absorb`, but the log tells only of bodies that break off.",
        example: Example { filters: "absorbSilent()", request: "GET /", saw: "-", got: "200" },
        build: |_, env| absorb(env, "absorbSilent"),
    },
];

/// Bytes that are made in one go.
const PIECE: usize = 16 << 10;
/// The shortest pause of a tarpit: without one it would be a fountain.
const PAUSE_LEAST: Duration = Duration::from_millis(10);
/// How long a tarpit holds on to one request.
const TARPIT_MAX: Duration = Duration::from_secs(3600);
/// How often `absorb` tells how much has come.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// An answer of 200 with this body.
fn made(exchange: &mut Exchange, filter: &'static str, body: Body, kind: Option<&'static str>) -> Step {
    exchange.notes.reason = Some(Reason::of(Cause::FILTER).by(filter));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Step::Reply(response)
}

struct Random(u64);

impl Filter for Random {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let body = random(self.0, exchange.chance.fork());
        made(exchange, "randomContent", body, Some("text/plain; charset=utf-8"))
    }
}

fn random(bytes: u64, chance: Chance) -> Body {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut left = bytes;
    body_from(exactly(bytes), move |_| {
        let size = left.min(PIECE as u64);
        left -= size;
        let piece: Bytes = (0..size).map(|_| LETTERS[chance.below(LETTERS.len())]).collect();
        Poll::Ready((size > 0).then(|| Ok(Frame::data(piece))))
    })
}

fn repeat(
    args: &mut Args<'_>,
    name: &'static str,
    read: fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Built, String> {
    let text = read(args.text("content")?).map_err(|why| args.refuse("content", &why))?;
    if text.is_empty() {
        return Err(args.refuse("content", "it is empty"));
    }
    let bytes = args.whole("bytes", 0)?;
    // A whole number of times, so that each piece begins where the one before ended.
    let block = Bytes::from(text.repeat((PIECE / text.len()).max(1)));
    Ok(plain(Repeat { name, kind: sniff::content_type(&block), block, bytes }))
}

struct Repeat {
    name: &'static str,
    block: Bytes,
    bytes: u64,
    kind: &'static str,
}

impl Filter for Repeat {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let (block, mut left) = (self.block.clone(), self.bytes);
        let body = body_from(exactly(left), move |_| {
            let size = left.min(block.len() as u64);
            left -= size;
            Poll::Ready((size > 0).then(|| Ok(Frame::data(block.slice(..size as usize)))))
        });
        made(exchange, self.name, body, Some(self.kind))
    }
}

struct Tarpit(Duration);

impl Filter for Tarpit {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let body = drops(self.0, exchange.clock.clone());
        made(exchange, "tarpit", body, None)
    }
}

/// A space after each pause.
fn drops(pause: Duration, clock: Clock) -> Body {
    let until = clock.now() + TARPIT_MAX;
    let mut waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    body_from(SizeHint::new(), move |cx| {
        let asleep = waiting.get_or_insert_with(|| {
            let clock = clock.clone();
            Box::pin(async move { clock.sleep(pause).await })
        });
        ready!(asleep.as_mut().poll(cx));
        waiting = None;
        let over = clock.now() >= until;
        let late = || Fault::new(base::Kind::Timeout, "the tarpit has held on long enough");
        Poll::Ready(Some(if over { Err(late()) } else { Ok(Frame::data(Bytes::from_static(b" "))) }))
    })
}

fn absorb(env: &FilterEnv, name: &'static str) -> Result<Built, String> {
    Ok(plain(Absorb { name, log: FilterLog::of(&env.handles) }))
}

struct Absorb {
    name: &'static str,
    log: FilterLog,
}

impl Filter for Absorb {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let id = flow_id(&exchange.headers)
            .map_or_else(|| format!("{:016x}", exchange.chance.bits()), str::to_owned);
        let absorbing = Absorbing {
            name: self.name,
            log: self.log.clone(),
            clock: exchange.clock.clone(),
            route: exchange.route.clone(),
            id,
        };
        let (name, body) = (self.name, std::mem::take(&mut exchange.body));
        let later: Later = Box::pin(async move {
            absorbing.read(body).await;
            let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> =
                Box::new(move |exchange| made(exchange, name, Body::empty(), None));
            decide
        });
        Step::Wait(later)
    }
}

/// A body on its way to nowhere.
struct Absorbing {
    name: &'static str,
    log: FilterLog,
    clock: Clock,
    route: Arc<str>,
    id: String,
}

impl Absorbing {
    async fn read(&self, mut body: Body) {
        self.tell("begins");
        let mut tell_at = self.clock.now() + TELL_EVERY;
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Err(fault) => {
                    let text = format!("request {} broke off after {bytes} bytes: {fault}", self.id);
                    return self.log.write(&self.clock, &self.route, self.name, &text);
                }
            }
            if self.clock.now() >= tell_at {
                self.tell(&format!("has brought {bytes} bytes so far"));
                tell_at = self.clock.now() + TELL_EVERY;
            }
        }
        self.tell(&format!("ends with {bytes} bytes"));
    }

    fn tell(&self, what: &str) {
        if self.name == "absorb" {
            let text = format!("request {} {what}", self.id);
            self.log.write(&self.clock, &self.route, self.name, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;

    #[tokio::test]
    async fn made_up_bodies_are_as_long_as_asked_for() {
        for bytes in [0, 1, 16 << 10, 100_000] {
            let body = random(bytes, Chance::seeded(1));
            assert_eq!(body.exact_len(), Some(bytes));
            let text = body.collect(1 << 20).await.unwrap();
            assert_eq!(text.len() as u64, bytes);
            assert!(text.iter().all(u8::is_ascii_alphanumeric));
        }
    }

    #[tokio::test]
    async fn a_tarpit_holds_on_for_an_hour_and_no_longer() {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let mut body = drops(Duration::from_secs(60), clock);
        let mut spaces = 0;
        let fault = loop {
            let moving = async {
                tokio::task::yield_now().await;
                hand.advance(Duration::from_secs(60));
            };
            match tokio::join!(body.frame(), moving).0.unwrap() {
                Ok(frame) => spaces += frame.into_data().unwrap().len(),
                Err(fault) => break fault,
            }
        };
        assert_eq!((spaces, fault.kind), (59, base::Kind::Timeout));
    }
}
