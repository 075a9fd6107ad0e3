//! Requests: both engines hand the same ones to the handler and answer alike.

use crate::messages::{Framed, Text, pace, requests};
use crate::{ENGINES, Pace, in_still_time, write_slowly};
use base::{Fault, Kind};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use testkit::{Conversation, Rest};
use tokio::io::AsyncReadExt as _;
use wire::{Body, Drainer, Handler, Http1, Limits, Peer, Request, Response};

/// A request as the handler saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) version: Version,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Its bytes, or what kind of fault ended it.
    pub(crate) body: Result<Vec<u8>, Kind>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
}

/// What the handler answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Made,
}

#[derive(Clone, Debug)]
pub(crate) enum Made {
    Whole(usize),
    /// Pieces of these sizes, and whether a trailer follows.
    Pieces(Vec<usize>, bool),
}

#[derive(Clone)]
struct Teller {
    answers: Arc<Vec<Answer>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The fields in the order of their names; those of one name stay in theirs. A length that is said again alike counts once
/// (RFC 9110 section 8.6): the strict codec passes on one, hyper both.
pub(crate) fn sorted<'a>(
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> =
        headers.into_iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields.dedup_by(|later, first| first.0 == "content-length" && later == first);
    fields
}

/// The whole of a body and its trailers.
pub(crate) async fn read(mut body: Body) -> (Result<Vec<u8>, Kind>, Vec<(String, Vec<u8>)>) {
    let (mut bytes, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => {
                trailers = sorted(&frame.into_trailers().unwrap());
                // hyper hands out fields of framing too, which nobody behind it writes again.
                trailers.retain(|(name, _)| name.starts_with("x-"));
            }
            Err(fault) => return (Err(fault.kind), trailers),
        }
    }
    (Ok(bytes), trailers)
}

impl Handler for Teller {
    async fn handle(&self, request: Request, _: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let (body, trailers) = read(body).await;
        let line = format!("{} {}", head.method, head.uri);
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(Seen { line, version: head.version, headers: sorted(&head.headers), body, trailers });
            seen.len() - 1
        };
        self.answers[number % self.answers.len()].response()
    }
}

impl Answer {
    pub(crate) fn plain() -> Self {
        Self { status: 200, headers: Vec::new(), body: Made::Whole(5) }
    }

    fn response(&self) -> Response {
        let mut response = Response::new(match &self.body {
            Made::Whole(size) => Body::full(vec![b'w'; *size]),
            Made::Pieces(sizes, trailer) => pieces(sizes, *trailer),
        });
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        if matches!(self.body, Made::Pieces(_, true)) {
            response.headers_mut().append("trailer", HeaderValue::from_static("x-t"));
        }
        response
    }
}

/// A body of unknown length in pieces of these sizes, with a trailer or without.
pub(crate) fn pieces(sizes: &[usize], trailer: bool) -> Body {
    let mut frames: VecDeque<_> =
        sizes.iter().map(|size| Frame::data(Bytes::from(vec![b'p'; *size]))).collect();
    if trailer {
        let trailers = [(HeaderName::from_static("x-t"), HeaderValue::from_static("1"))];
        frames.push_back(Frame::trailers(trailers.into_iter().collect()));
    }
    Body::stream(Pieces(frames))
}

struct Pieces(VecDeque<Frame<Bytes>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// What the handler saw of these bytes, and what came back.
pub(crate) async fn serve(
    bytes: &[u8],
    pace: &Pace,
    answers: &[Answer],
    engine: Http1,
) -> (Vec<Seen>, Vec<u8>) {
    let (ours, theirs) = tokio::io::duplex(pace.room);
    let teller = Teller { answers: Arc::new(answers.to_vec()), seen: Arc::default() };
    let seen = teller.seen.clone();
    let (_drainer, drain) = Drainer::new();
    let limits = Limits { http1: engine, ..Limits::default() };
    let serving = tokio::spawn(wire::raw::serve(theirs, limits, teller, drain));
    let (mut reading, mut writing) = tokio::io::split(ours);
    let mut came = Vec::new();
    // The writer keeps its side open: a client that closes it has left, and gets no answer.
    let _ = tokio::join!(write_slowly(&mut writing, bytes, pace), reading.read_to_end(&mut came));
    serving.await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, came)
}

/// The answers in a form that may be compared: fields sorted, without what says when, and without the names of
/// trailers, which hyper drops where none can come.
fn plain(came: &[u8], methods: &[&str]) -> Conversation {
    let mut read = Conversation::answers(came, methods);
    for message in &mut read.messages {
        // What HTTP/1.0 does anyway strict says and hyper does not, and hyper says at times that it keeps what it
        // then closes. Whether it goes on shows by what follows.
        let old = message.start.starts_with("HTTP/1.0");
        message.headers.retain(|(name, _)| !(old && name == "connection"));
        message.headers.retain(|(name, _)| name != "date" && name != "trailer");
        message.headers.sort();
        // hyper has a word for a status without one.
        message.start.truncate("HTTP/1.1 200".len());
    }
    Conversation { bytes: 0, ..read }
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let made = prop_oneof![
        3 => prop_oneof![0..100_usize, Just(100_000)].prop_map(Made::Whole),
        2 => (vec(prop_oneof![1..50_usize, Just(20_000)], 0..4), any::<bool>())
            .prop_map(|(sizes, trailer)| Made::Pieces(sizes, trailer)),
    ];
    let headers =
        vec(select(vec![("x-a", "1"), ("x-b", "2 3"), ("set-cookie", "a=b"), ("date", "never")]), 0..4);
    let answer = (select(vec![200, 204, 304, 404, 503, 299]), headers, made)
        .prop_map(|(status, headers, body)| Answer { status, headers, body });
    vec(answer, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_requests_are_seen_and_answered_alike(requests in requests(), answers in answers(), pace in pace()) {
        let bytes: Vec<u8> = requests.iter().flat_map(Text::bytes).collect();
        let methods: Vec<_> = requests.iter().map(|request| request.method).collect();
        let [strict, hyper] =
            ENGINES.map(|engine| in_still_time(serve(&bytes, &pace, &answers, engine)));
        prop_assert_eq!(&strict.0, &hyper.0);
        let [strict_told, hyper_told] = [&strict.1, &hyper.1].map(|came| plain(came, &methods));
        prop_assert_eq!(&strict_told, &hyper_told);
        // As many as were asked up to the first that ends the connection, each as it was sent.
        let answered = requests.iter().zip(answers.iter().cycle());
        let asked = answered.take_while(|(request, answer)| !ends(request, answer)).count() + 1;
        prop_assert_eq!(strict.0.len(), asked);
        prop_assert_eq!((strict_told.messages.len(), &strict_told.rest), (asked, &Rest::Nothing));
        for (seen, request) in strict.0.iter().zip(&requests) {
            let sent = match &request.body {
                Framed::None | Framed::UntilClose(_) => Vec::new(),
                Framed::Length(body) => body.clone(),
                Framed::Chunks { chunks, .. } => chunks.concat(),
            };
            prop_assert_eq!(seen.body.as_ref(), Ok(&sent));
        }
    }
}

/// Whether nothing may follow a request and its answer.
fn ends(request: &Text, answer: &Answer) -> bool {
    let marks = request.headers.iter().filter(|(name, _)| name == "Connection");
    let says = |token: &str| {
        marks.clone().any(|(_, value)| {
            String::from_utf8_lossy(value).split(',').any(|mark| mark.trim().eq_ignore_ascii_case(token))
        })
    };
    // The end of a body of unknown length is the only thing that tells HTTP/1.0 where it ends.
    let until_close = matches!(answer.body, Made::Pieces(..))
        && request.method != "HEAD"
        && !matches!(answer.status, 204 | 304);
    says("close") || (request.start.ends_with("HTTP/1.0") && (!says("keep-alive") || until_close))
}
