//! Connections to the API that are kept for the next call. A call that finds one takes it, or dials; after the
//! answer it goes back.

use base::{Clock, Fault, Kind, Retry};
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wire::{Body, Connection, Dialer, Origin, Request};

/// Connections kept without a call.
const IDLE_MAX: usize = 16;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer, beside what the call itself asks to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer's head.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer: a page of messages of 16 MiB, the last message beyond it, and what JSON adds.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often a call is made in all if nobody answers.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also if the server asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A call as it may be made again.
pub(crate) struct Call {
    pub(crate) head: wire::RequestHead,
    pub(crate) body: Bytes,
    /// How long the server is asked to wait before it answers.
    pub(crate) wait: Duration,
}

pub(crate) struct Pool {
    origin: Origin,
    dialer: Dialer,
    idle: Mutex<Vec<Connection>>,
    clock: Clock,
}

/// Why one attempt got no answer.
struct Failed {
    fault: Fault,
    /// The server's wish for the pause.
    after: Option<Duration>,
}

impl Pool {
    pub(crate) fn new(origin: Origin, clock: Clock) -> Self {
        let dialer = Dialer {
            connect_timeout: CONNECT_TIMEOUT,
            header_bytes: HEADER_BYTES_MAX,
            http2: false,
            ..Dialer::default()
        };
        Self { origin, dialer, idle: Mutex::default(), clock }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Makes a call that does no harm when it is made twice, again if nobody answered or the server says that it
    /// can't just now.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answered, Fault> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(call).await {
                Ok(answered) => return Ok(answered),
                Err(failed) if failed.fault.retry == Retry::No => return Err(failed.fault),
                Err(failed) => self.clock.sleep(failed.after.unwrap_or(pause).min(PAUSE_MAX)).await,
            }
            pause *= 2;
        }
        self.attempt(call).await.map_err(|failed| failed.fault)
    }

    async fn attempt(&self, call: &Call) -> Result<Answered, Failed> {
        let failed = |fault| Failed { fault, after: None };
        // A kept connection may die while a call is on its way: that says nothing about the server.
        while let Some(connection) = self.kept() {
            match self.ask(connection, call).await {
                Err(Asked::Stale) => {}
                Err(Asked::Failed(fault)) => return Err(failed(fault)),
                Ok(answered) => return answered,
            }
        }
        let connection =
            self.dialer.dial(&self.origin).await.map_err(|fault| failed(self.explained(fault)))?;
        match self.ask(connection, call).await {
            Err(Asked::Stale) => {
                Err(failed(Fault::new(Kind::Unavailable, format!("`{}` closed the connection", self.origin))))
            }
            Err(Asked::Failed(fault)) => Err(failed(fault)),
            Ok(answered) => answered,
        }
    }

    fn explained(&self, fault: Fault) -> Fault {
        fault.hint(format!(
            "is `tombolo up` running, with `streams:` in its manifest, and its API at `{}`?",
            self.origin
        ))
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut connection) = idle.pop() {
            if connection.is_ready() && !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    async fn ask(&self, mut connection: Connection, call: &Call) -> Result<Result<Answered, Failed>, Asked> {
        let by = Instant::now() + call.wait + ANSWER_TIMEOUT;
        let request = Request::from_parts(call.head.clone(), Body::full(call.body.clone()));
        let response = match connection.send(request, by).await {
            Ok(response) => response,
            Err(error) if error.reused => return Err(Asked::Stale),
            Err(error) => return Err(Asked::Failed(error.fault)),
        };
        let (head, body) = response.into_parts();
        let body =
            body.with_deadline(ANSWER_TIMEOUT).collect(ANSWER_BYTES_MAX).await.map_err(Asked::Failed)?;
        if connection.is_ready() {
            self.keep(connection);
        }
        if head.status == StatusCode::SERVICE_UNAVAILABLE {
            let after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            if let Some(seconds) = after.and_then(|text| text.trim().parse().ok()) {
                let fault = super::http::refusal(head.status, &body);
                return Ok(Err(Failed {
                    fault: fault.into_fault().retry(Retry::IfIdempotent),
                    after: Some(Duration::from_secs(seconds)),
                }));
            }
        }
        Ok(Ok(Answered { status: head.status, body }))
    }
}

/// Why a connection gave no answer.
enum Asked {
    /// It was kept from an earlier call and had died.
    Stale,
    Failed(Fault),
}
