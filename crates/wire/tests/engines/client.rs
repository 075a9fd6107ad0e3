//! Responses: both engines write the same requests, and give the same responses to whoever asked.

use crate::messages::{Framed, Text, pace, response};
use crate::server::{pieces, read, sorted};
use crate::{ENGINES, Pace, in_still_time, write_slowly};
use base::{Blame, Kind};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;
use testkit::Conversation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;
use wire::{Body, Connection, Http1, Request};

/// What is asked, and what comes back for it.
#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    target: String,
    body: Sent,
    interim: Vec<Text>,
    response: Text,
}

#[derive(Clone, Debug)]
enum Sent {
    Nothing,
    Whole(usize),
    Pieces(Vec<usize>, bool),
}

/// A response as whoever asked saw it, or why there was none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    Response {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Result<Vec<u8>, Kind>,
        trailers: Vec<(String, Vec<u8>)>,
        /// Whether another request may follow.
        reusable: bool,
    },
    Nothing(Kind, Blame),
}

impl Exchange {
    fn request(&self) -> Request {
        let body = match &self.body {
            Sent::Nothing => Body::empty(),
            Sent::Whole(size) => Body::full(vec![b'w'; *size]),
            Sent::Pieces(sizes, trailer) => pieces(sizes, *trailer),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.parse::<Method>().unwrap();
        *request.uri_mut() = self.target.parse().unwrap();
        let length = request.body().exact_len();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("h"));
        // As the request plane announces bodies: hyper goes by what is written.
        match length {
            Some(0) => {}
            Some(length) => {
                headers.insert(CONTENT_LENGTH, length.into());
            }
            None => {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                headers.insert("trailer", HeaderValue::from_static("x-t"));
            }
        }
        request
    }

    /// Whether nothing can follow this response.
    fn ends(&self) -> bool {
        let says = |token: &str| {
            self.response.headers.iter().any(|(name, value)| {
                let value = String::from_utf8_lossy(value).to_ascii_lowercase();
                name == "Connection" && value.split(',').any(|mark| mark.trim() == token)
            })
        };
        matches!(self.response.body, Framed::UntilClose(_))
            || says("close")
            || (self.response.start.starts_with("HTTP/1.0") && !says("keep-alive"))
    }
}

/// Asks for one thing after another as long as the connection lasts.
async fn ask(mut connection: Connection, exchanges: &[Exchange]) -> Vec<Got> {
    let mut all = Vec::new();
    for exchange in exchanges {
        let got = one(&mut connection, exchange.request()).await;
        let go_on = matches!(got, Got::Response { reusable: true, .. });
        all.push(got);
        if !go_on {
            break;
        }
    }
    all
}

pub(crate) async fn one(connection: &mut Connection, request: Request) -> Got {
    match connection.send(request, Instant::now() + Duration::from_secs(60)).await {
        Err(error) => Got::Nothing(error.fault.kind, error.fault.blame),
        Ok(response) => {
            let (head, body) = response.into_parts();
            let (body, trailers) = read(body).await;
            let ready = tokio::time::timeout(Duration::from_secs(5), connection.ready()).await;
            // What came behind the response, or its end, is known by now.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let reusable = ready == Ok(true) && !connection.is_closed();
            Got::Response {
                status: head.status.as_u16(),
                headers: sorted(&head.headers),
                body,
                trailers,
                reusable,
            }
        }
    }
}

/// The other end: for each whole request the next response. What it was sent.
async fn answer(mut stream: DuplexStream, exchanges: &[Exchange], pace: &Pace) -> Conversation {
    let (mut heard, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    for (number, exchange) in exchanges.iter().enumerate() {
        while Conversation::requests(&heard).messages.len() <= number {
            match stream.read(&mut piece).await {
                Ok(count @ 1..) => heard.extend_from_slice(&piece[..count]),
                _ => return Conversation::requests(&heard),
            }
        }
        let interim = exchange.interim.iter().flat_map(Text::bytes);
        let bytes: Vec<u8> = interim.chain(exchange.response.bytes()).collect();
        write_slowly(&mut stream, &bytes, pace).await;
        if exchange.ends() {
            let _ = stream.shutdown().await;
            break;
        }
    }
    // Until the asking end is done with what it has.
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        heard.extend_from_slice(&piece[..count]);
    }
    Conversation::requests(&heard)
}

async fn converse(exchanges: &[Exchange], pace: &Pace, engine: Http1) -> (Vec<Got>, Conversation) {
    let (ours, theirs) = tokio::io::duplex(pace.room);
    let connection = wire::raw::connect(ours, engine).await.unwrap();
    tokio::join!(ask(connection, exchanges), answer(theirs, exchanges, pace))
}

/// The requests in a form that may be compared: fields sorted, without the names of trailers.
fn plain(heard: Conversation) -> Conversation {
    let mut heard = heard;
    for message in &mut heard.messages {
        message.headers.retain(|(name, _)| name != "trailer");
        message.headers.sort();
    }
    Conversation { bytes: 0, ..heard }
}

fn exchanges() -> impl Strategy<Value = Vec<Exchange>> {
    let sent = prop_oneof![
        3 => Just(Sent::Nothing),
        1 => prop_oneof![1..100_usize, Just(100_000)].prop_map(Sent::Whole),
        1 => (vec(prop_oneof![1..50_usize, Just(20_000)], 0..4), any::<bool>())
            .prop_map(|(sizes, trailer)| Sent::Pieces(sizes, trailer)),
    ];
    let exchange = select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FROB"])
        .prop_flat_map(move |method| (Just(method), "/[a-z?=%]{0,10}", sent.clone(), response(method)))
        .prop_map(|(method, target, body, (interim, response))| Exchange {
            method,
            target,
            body,
            interim,
            response,
        });
    vec(exchange, 1..5).prop_map(|mut exchanges: Vec<Exchange>| {
        // hyper goes on in HTTP/1.0 with whoever answered so once.
        let last = exchanges.len() - 1;
        for exchange in exchanges[..last].iter_mut().filter(|exchange| !exchange.ends()) {
            exchange.response.start = exchange.response.start.replace("HTTP/1.0", "HTTP/1.1");
        }
        exchanges
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_requests_are_written_and_the_same_responses_read(exchanges in exchanges(), pace in pace()) {
        let [strict, hyper] = ENGINES.map(|engine| {
            let (got, heard) = in_still_time(converse(&exchanges, &pace, engine));
            (got, plain(heard))
        });
        prop_assert_eq!(&strict, &hyper);
        let asked = exchanges.iter().take_while(|exchange| !exchange.ends()).count() + 1;
        prop_assert_eq!(strict.0.len(), asked.min(exchanges.len()));
        for (got, exchange) in strict.0.iter().zip(&exchanges) {
            let Got::Response { status, body, reusable, .. } = got else {
                return Err(TestCaseError::fail(format!("{got:?} for {exchange:?}")));
            };
            let sent = match &exchange.response.body {
                Framed::None => Vec::new(),
                Framed::Length(body) | Framed::UntilClose(body) => body.clone(),
                Framed::Chunks { chunks, .. } => chunks.concat(),
            };
            prop_assert_eq!(body.as_ref(), Ok(&sent));
            prop_assert_eq!(*reusable, !exchange.ends());
            prop_assert!(exchange.response.start.contains(&status.to_string()));
        }
        for (message, exchange) in strict.1.messages.iter().zip(&exchanges) {
            let size = match &exchange.body {
                Sent::Nothing => 0,
                Sent::Whole(size) => *size,
                Sent::Pieces(sizes, _) => sizes.iter().sum(),
            };
            prop_assert_eq!(message.body.len(), size, "{:?}", message);
            let line = format!("{} {} HTTP/1.1", exchange.method, exchange.target);
            prop_assert_eq!(&message.start, &line);
        }
    }
}
