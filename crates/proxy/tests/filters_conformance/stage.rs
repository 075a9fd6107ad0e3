//! The stage of these tests: time that is moved by hand, a request, and a backend that is made up.

use base::{Chance, Clock, ClockHand, Source, UnixTime};
use http::header::HOST;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use proxy::filters::{Chain, Outcome};
use proxy::lookup::Params;
use proxy::{Arrival, Exchange, FilterEnv, Lasting, Notes, Refusal};
use std::time::Duration;
use wire::Headers;
use wire::{Body, Response};

/// Where the requests of these tests come from.
const REMOTE: &str = "192.0.2.7:5555";

/// Time that passes while nothing can run without it.
pub(crate) struct Stage {
    pub(crate) clock: Clock,
    pub(crate) hand: ClockHand,
    pub(crate) env: FilterEnv,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let env = FilterEnv {
            folder: std::path::PathBuf::new(),
            clock: clock.clone(),
            chance: Chance::seeded(7),
            route: "r".into(),
            place: 0,
            lasting: Lasting::new(clock.clone()),
            metrics: std::sync::Arc::new(telemetry::Metrics::new(1)),
            handles: proxy::Handles::default(),
        };
        Self { clock, hand, env }
    }

    pub(crate) fn chain(&self, filters: &str) -> Result<Chain, Refusal> {
        let calls = eskip::parse_filters(&Source::new("test", filters))
            .unwrap_or_else(|e| panic!("{filters}: {e:?}"));
        Chain::build(&calls, self.env.clone())
    }

    pub(crate) fn exchange(
        &self,
        method: &str,
        target: &str,
        host: &str,
        mut headers: Headers,
        body: Vec<u8>,
    ) -> Exchange {
        let host = (!host.is_empty()).then(|| HeaderValue::from_str(host).unwrap());
        if let Some(host) = &host {
            headers.insert(HOST, host.clone());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri: Uri = target.parse().unwrap_or_else(|e| panic!("{target}: {e}"));
        Exchange {
            arrival: Arrival {
                at: self.clock.now(),
                at_unix: self.clock.unix(),
                method: method.clone(),
                uri: uri.clone(),
                version: Version::HTTP_11,
                host,
                remote: REMOTE.parse().unwrap(),
                local: "192.0.2.1:9090".parse().unwrap(),
                tls: false,
                edge: None,
            },
            method,
            uri,
            headers,
            body: Body::full(body),
            params: Params::default(),
            route: "r".into(),
            notes: Notes::default(),
            trace: telemetry::TraceContext::begin(&self.env.chance),
            clock: self.clock.clone(),
            chance: self.env.chance.clone(),
        }
    }

    /// Carries a request through the filters to the backend and back; the clock is moved for those who wait.
    pub(crate) async fn carry(
        &self,
        chain: &Chain,
        exchange: &mut Exchange,
        backend: impl Fn() -> Response,
    ) -> Carried {
        let going = async {
            let mut saw = None;
            let (mut response, ran) = match chain.request(exchange).await {
                Outcome::Reply { response, ran } => (response, ran),
                // What the backend can't read to its end it does not answer.
                Outcome::Next { ran } => match std::mem::take(&mut exchange.body).collect(1 << 20).await {
                    Ok(body) => {
                        saw = Some(Saw::of(exchange, body.to_vec()));
                        (backend(), ran)
                    }
                    Err(fault) => {
                        assert_eq!(fault.kind, base::Kind::Invalid, "{fault}");
                        (proxy::answer(StatusCode::BAD_REQUEST), ran)
                    }
                },
            };
            let left = chain.response(exchange, &mut response, ran).await;
            let (head, body) = response.into_parts();
            let (body, broken) = read(body).await;
            Carried { saw, status: head.status, headers: head.headers, body, broken, left }
        };
        let moving = async {
            loop {
                tokio::task::yield_now().await;
                self.hand.advance(Duration::from_millis(1));
            }
        };
        tokio::select! { carried = going => carried, () = moving => unreachable!("time does not end") }
    }
}

/// The bytes of a body, and whether it broke off.
async fn read(mut body: Body) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => return (bytes, true),
        }
        assert!(bytes.len() <= 1 << 20, "the body has no end");
    }
    (bytes, false)
}

pub(crate) struct Carried {
    /// `None` if the backend was not asked.
    pub(crate) saw: Option<Saw>,
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Whether the body broke off.
    pub(crate) broken: bool,
    pub(crate) left: usize,
}

/// What the backend gets.
pub(crate) struct Saw {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Saw {
    fn of(exchange: &Exchange, body: Vec<u8>) -> Self {
        let mut headers = exchange.headers.clone();
        if let Some(host) = &exchange.notes.outgoing_host {
            headers.insert(HOST, host.clone());
        }
        Self {
            method: exchange.method.clone(),
            uri: exchange.uri.clone(),
            path: exchange.path().into(),
            headers,
            body,
        }
    }
}

pub(crate) fn texts<'h>(headers: &'h Headers, name: &str) -> Vec<std::borrow::Cow<'h, str>> {
    headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
}

pub(crate) fn lines(headers: &Headers) -> impl Iterator<Item = String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
}
