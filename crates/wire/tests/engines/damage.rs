//! Valid messages that something happened to: whatever the strict codec still takes hyper takes with the same
//! meaning. What the strict one refuses is its own affair.

use crate::client::{Got, one};
use crate::messages::{Text, pace, requests, response};
use crate::server::{Answer, serve};
use crate::{ENGINES, Pace, in_still_time, write_slowly};
use http::HeaderValue;
use http::header::HOST;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::AsyncReadExt as _;
use wire::{Body, Http1, Request};

/// What happens at one place.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Damage {
    fn happen(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match *self {
            Damage::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Damage::Insert(at, text) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            Damage::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Damage::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let part = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

/// Mostly in the first part of the bytes, where the heads are, and of what matters there.
fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let texts = vec![
        "\r",
        "\n",
        "\r\n",
        "\r\n\r\n",
        " ",
        "\t",
        "\0",
        "\x0b",
        "\x7f",
        ":",
        ",",
        ";",
        "0",
        "5",
        "-",
        "+",
        "\"",
        "0\r\n\r\n",
        "chunked",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\nHost: x",
        "HTTP/1.1",
    ];
    let one = prop_oneof![
        2 => (any::<Index>(), 0..0x80_u8).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        2 => (any::<Index>(), select(b"\r\n \t:;,0\0".to_vec())).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (any::<Index>(), select(texts)).prop_map(|(at, text)| Damage::Insert(at, text)),
        2 => (any::<Index>(), 1..4_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (any::<Index>(), 1..30_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ];
    vec(one, 1..4)
}

/// A response to these bytes, and to another request if one may follow.
async fn got(bytes: Vec<u8>, method: &'static str, pace: &Pace, engine: Http1) -> Vec<Got> {
    let (ours, mut theirs) = tokio::io::duplex(pace.room);
    let mut connection = wire::raw::connect(ours, engine).await.unwrap();
    let request = |method: &str| {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert(HOST, HeaderValue::from_static("h"));
        request
    };
    let other = async move {
        let mut piece = vec![0; 1000];
        let _ = theirs.read(&mut piece).await;
        write_slowly(&mut theirs, &bytes, pace).await;
        // Long enough for whoever waits for more, and then the end.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    };
    let asking = async move { vec![one(&mut connection, request(method)).await] };
    tokio::join!(asking, other).0
}

/// The one that matters of what was got: what the strict codec took as a whole.
fn whole(got: &[Got]) -> Option<&Got> {
    got.first().filter(|got| matches!(got, Got::Response { body: Ok(_), .. }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_requests_that_strict_takes_mean_the_same_to_hyper(
        requests in requests(), damages in damages(), pace in pace()
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(Text::bytes).collect();
        bytes.truncate(2000);
        for damage in &damages {
            damage.happen(&mut bytes);
        }
        let [strict, hyper] = ENGINES.map(|engine| in_still_time(serve(&bytes, &pace, &[Answer::plain()], engine)).0);
        let taken = strict.iter().take_while(|seen| seen.body.is_ok()).count();
        prop_assert!(
            hyper.get(..taken) == Some(&strict[..taken]),
            "\"{}\"\nstrict {:?}\nhyper {:?}", bytes.escape_ascii(), strict, hyper
        );
    }

    #[test]
    fn damaged_responses_that_strict_takes_mean_the_same_to_hyper(
        (method, (interim, response)) in select(vec!["GET", "HEAD", "POST"]).prop_flat_map(|method| (Just(method), response(method))),
        damages in damages(), pace in pace()
    ) {
        let mut bytes: Vec<u8> = interim.iter().flat_map(Text::bytes).chain(response.bytes()).collect();
        bytes.truncate(2000);
        for damage in &damages {
            damage.happen(&mut bytes);
        }
        let [strict, hyper] = ENGINES.map(|engine| in_still_time(got(bytes.clone(), method, &pace, engine)));
        if let Some(taken) = whole(&strict) {
            prop_assert!(
                hyper.first() == Some(taken),
                "\"{}\"\nstrict {:?}\nhyper {:?}", bytes.escape_ascii(), strict, hyper
            );
        }
    }
}

#[test]
fn a_length_that_is_said_twice_alike_means_the_same_to_both() {
    let pace = Pace { pieces: vec![1, 50_000], room: 64 };
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n".to_vec();
    let [strict, hyper] = ENGINES.map(|engine| in_still_time(got(response.clone(), "GET", &pace, engine)));
    assert!(whole(&strict).is_some());
    assert_eq!(strict, hyper);
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na";
    let [strict, hyper] =
        ENGINES.map(|engine| in_still_time(serve(request, &pace, &[Answer::plain()], engine)).0);
    assert_eq!((strict.len(), &strict), (1, &hyper));
}
