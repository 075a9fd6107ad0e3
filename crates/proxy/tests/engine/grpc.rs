//! gRPC through the gateway: streams both ways, statuses in trailers, errors of ours in its own form.

use crate::world::{Setup, World, brief, why};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proxy::Settings;
use std::time::Duration;
use testkit::{After, Answer, Backend, H2Backend, H2Request, eventually};

const CALL: &str = "POST /pkg.Service/Call\ncontent-type: application/grpc\nte: trailers";

fn route(backend: &H2Backend, filters: &str) -> String {
    format!(r#"r: * -> {filters} "{}""#, backend.url())
}

/// An answer without messages.
fn trailers_only(request: &mut H2Request, status: &str) {
    request.answer(200, &[("content-type", "application/grpc"), ("grpc-status", status)], true);
}

/// A message of gRPC: a flag, its length, itself.
fn framed(text: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend(text.bytes());
    bytes
}

fn told(answer: &Answer) -> String {
    let header = |name| answer.header(name).unwrap_or("-");
    format!(
        "{} {} {} {}",
        answer.status,
        header("content-type"),
        header("grpc-status"),
        header("grpc-message")
    )
}

#[tokio::test]
async fn messages_stream_both_ways_as_they_come_and_the_status_follows() {
    let backend = H2Backend::start(|mut request| async move {
        let mut answer = request.answer(200, &[("content-type", "application/grpc")], false).unwrap();
        while let Some(Ok(piece)) = request.piece().await {
            answer.send_data(piece, false).unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-bin-bin", HeaderValue::from_static("AAE"));
        answer.send_trailers(trailers).unwrap();
        After::Keep
    })
    .await;
    let filters = r#"setResponseHeader("X-Seen", "1") -> setRequestHeader("X-Via", "t") -> retry(1, "503,any-method") ->"#;
    for filters in ["", filters] {
        let world = World::new(&route(&backend, filters)).await;
        let mut client = world.h2().await;
        let mut call = client.begin(CALL, false).await;
        if !filters.is_empty() {
            // Whoever may repeat it must have some of it.
            call.send(vec![0; 70_000], false);
        }
        let head = call.head().await.unwrap();
        assert_eq!(head.headers()["content-type"], "application/grpc");
        if !filters.is_empty() {
            let mut read = 0;
            while read < 70_000 {
                read += call.piece().await.unwrap().unwrap().len();
            }
        }
        for text in ["one", "two", "three"] {
            call.send(framed(text), false);
            assert_eq!(
                call.piece().await.unwrap().unwrap(),
                framed(text),
                "each is answered before the next"
            );
        }
        call.send("", true);
        assert!(call.piece().await.is_none());
        let trailers = call.trailers().await.unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-bin-bin"]),
            (&"0".parse().unwrap(), &"AAE".parse().unwrap())
        );
        assert_eq!(brief(&world.records(1).await[0]), "200");
    }
}

#[tokio::test]
async fn calls_reach_services_whose_address_does_not_say_what_they_speak() {
    let backend = H2Backend::echo().await;
    let setup = Setup { services: vec!["greeter"], ..Setup::default() };
    let world = World::with(setup, r#"r: * -> "service://greeter""#).await;
    world.instances("greeter", &[format!("http://{}", backend.address())]);
    let mut client = world.h2().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&format!("{CALL}\n\nhello")).await.brief(), "200 hello");
    }
    assert_eq!(backend.connections(), 1);
    let plain = client.ask("GET /").await;
    assert_eq!(plain.status, 503, "others are told in HTTP/1.1, which this one does not speak");
    let http1 = Backend::echo().await;
    world.instances("greeter", &[http1.url()]);
    let told = client.ask(CALL).await;
    assert!(told.header("grpc-message").unwrap().contains("not HTTP/2"), "{told:?}");
}

#[tokio::test]
async fn errors_of_ours_are_grpc_statuses_that_say_why() {
    let refusing = Backend::refusing().await;
    let world = World::new(&format!(
        r#"gone: Path("/gone") -> "h2c://{refusing}";
           limited: Path("/limited") -> ratelimit(1, "1h") -> status(200) -> <shunt>;
           secret: Path("/secret") -> basicAuth("/dev/null") -> <shunt>;
           mock: Path("/mock") -> setResponseHeader("grpc-status", "5") -> setResponseHeader("content-type", "application/grpc") -> <shunt>;
           text: Path("/text") -> inlineContent("hello") -> <shunt>;"#
    ))
    .await;
    let mut client = world.h2().await;
    let ask = async |client: &mut testkit::H2Client, path: &str| {
        client.ask(&format!("POST {path}\ncontent-type: application/grpc+proto\nte: trailers")).await
    };
    let missing = ask(&mut client, "/missing").await;
    assert_eq!(told(&missing), "200 application/grpc 12 tombolo: no_route");
    assert_eq!(
        (why(&missing).as_str(), missing.header("content-length"), missing.body.len()),
        ("error=no_route", None, 0)
    );
    let gone = ask(&mut client, "/gone").await;
    assert!(
        told(&gone).starts_with("200 application/grpc 14 tombolo: connection_refused: no connection to"),
        "{}",
        told(&gone)
    );
    assert!(why(&gone).starts_with("error=connection_refused; route=\"gone\""));
    ask(&mut client, "/limited").await;
    let limited = ask(&mut client, "/limited").await;
    assert!(told(&limited).starts_with("200 application/grpc 8 tombolo: rate_limited"), "{}", told(&limited));
    assert!(limited.header("retry-after").is_some());
    assert!(told(&ask(&mut client, "/secret").await).starts_with("200 application/grpc 16 "));
    let mock = ask(&mut client, "/mock").await;
    assert_eq!(mock.header("grpc-status"), Some("5"), "what a route says itself stays");
    assert_eq!(ask(&mut client, "/text").await.brief(), "200 hello");
    assert_eq!(client.ask("POST /missing").await.status, 404, "others get what they always got");
}

#[tokio::test]
async fn a_call_ends_when_its_callers_time_is_up() {
    let backend = H2Backend::start(|mut request| async move {
        if request.head.uri.path() == "/begun" {
            let mut answer = request.answer(200, &[("content-type", "application/grpc")], false).unwrap();
            let _ = answer.send_data(Bytes::from_static(b"x"), false);
            let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
            return After::Keep;
        }
        let _ = std::future::poll_fn(|cx| request.respond.poll_reset(cx)).await;
        After::Keep
    })
    .await;
    let world = World::new(&route(&backend, r#"backendTimeout("1h") ->"#)).await;
    let mut client = world.h2().await;
    let answer = client.ask(&format!("{CALL}\ngrpc-timeout: 50m")).await;
    assert!(
        told(&answer).starts_with("200 application/grpc 4 tombolo: http_response_timeout"),
        "{}",
        told(&answer)
    );
    let mut begun =
        client.begin("POST /begun\ncontent-type: application/grpc\ngrpc-timeout: 50m", true).await;
    assert_eq!(begun.head().await.unwrap().status(), 200);
    assert_eq!(begun.piece().await.unwrap().unwrap(), "x");
    assert!(begun.piece().await.unwrap().is_err());
    // The route's time may be the shorter one, and who does not speak gRPC means nothing by the header.
    let world = World::new(&route(&backend, r#"backendTimeout("30ms") ->"#)).await;
    let mut client = world.h2().await;
    assert_eq!(client.ask(&format!("{CALL}\ngrpc-timeout: 1H")).await.header("grpc-status"), Some("4"));
    assert_eq!(client.ask("POST /\ngrpc-timeout: 1n").await.status, 504);
}

#[tokio::test]
async fn a_call_may_be_silent_for_longer_than_anybody_waits_for_an_answer() {
    let backend = H2Backend::start(|mut request| async move {
        let (body, _) = request.all().await;
        request.answer_whole(200, body);
        After::Keep
    })
    .await;
    let settings = Settings { response_timeout: Duration::from_millis(50), ..Settings::default() };
    let limits = wire::Limits { read_timeout: Duration::from_millis(50), ..wire::Limits::default() };
    let world = World::with(Setup { settings, limits, ..Setup::default() }, &route(&backend, "")).await;
    let mut client = world.h2().await;
    let mut call = client.begin(CALL, false).await;
    for _ in 0..4 {
        call.send("x", false);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    call.send("x", true);
    assert_eq!(call.answer().await.brief(), "200 xxxxx");
    // Others have so long for all of it.
    let mut other = client.begin("POST /", false).await;
    other.send("x", false);
    assert_eq!(other.answer().await.status, 408);
}

#[tokio::test]
async fn a_backend_that_takes_nothing_is_given_up_and_a_slow_upload_is_not() {
    let deaf = Backend::early(|_| testkit::Reply::nothing().then_stall()).await;
    let echo = Backend::echo().await;
    let settings = Settings { response_timeout: Duration::from_millis(100), ..Settings::default() };
    let routes = format!(r#"r: * -> "{}"; e: Path("/echo") -> "{}""#, deaf.url(), echo.url());
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n").await;
    let sending = async {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            client.send(&piece).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), sending).await;
    assert_eq!(client.answer().await.status, 504);
    let mut client = world.client().await;
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n").await;
    for byte in ["h", "e", "l", "l", "o"] {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.send(byte).await;
    }
    assert_eq!(client.answer().await.brief(), "200 hello");
}

#[tokio::test]
async fn retries_and_breakers_understand_answers_without_messages() {
    let backend = H2Backend::start(|mut request| async move {
        match (request.number, request.head.uri.path()) {
            (0, _) => trailers_only(&mut request, "14"),
            (_, "/bad") => trailers_only(&mut request, "3"),
            (_, "/dead") => trailers_only(&mut request, "13"),
            _ => {
                let (body, _) = request.all().await;
                request.answer_whole(200, body);
            }
        }
        After::Keep
    })
    .await;
    let world =
        World::new(&route(&backend, r#"retry(1, "503,any-method") -> consecutiveBreaker(2, "1h") ->"#)).await;
    let mut client = world.h2().await;
    assert_eq!(client.ask(&format!("{CALL}\n\nkept")).await.brief(), "200 kept");
    assert_eq!(backend.requests(), 2);
    let grpc = |path: &str| CALL.replace("/pkg.Service/Call", path);
    for _ in 0..3 {
        assert_eq!(client.ask(&grpc("/bad")).await.header("grpc-status"), Some("3"), "a caller's mistake");
    }
    assert_eq!(backend.requests(), 5);
    for _ in 0..2 {
        assert_eq!(client.ask(&grpc("/dead")).await.header("grpc-status"), Some("13"));
    }
    let open = client.ask(&grpc("/dead")).await;
    assert!(told(&open).starts_with("200 application/grpc 14 tombolo: breaker_open"), "{}", told(&open));
    assert_eq!((backend.requests(), open.header("x-circuit-open")), (7, Some("true")));
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_call_at_the_backend() {
    let backend = H2Backend::start(|mut request| async move {
        let mut answer = request.answer(200, &[("content-type", "application/grpc")], false).unwrap();
        let _ = answer.send_data(Bytes::from_static(b"x"), false);
        let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
        After::Keep
    })
    .await;
    let world = World::new(&route(&backend, "")).await;
    let mut client = world.h2().await;
    let mut call = client.begin(CALL, false).await;
    call.head().await.unwrap();
    drop(call);
    world.settled().await;
    assert_eq!(brief(&world.records(1).await[0]), "200 cut short");
    let mut other = client.begin(CALL, false).await;
    other.head().await.unwrap();
    drop((other, client));
    world.settled().await;
    eventually("one connection stays", || backend.open() == 1 && backend.connections() == 1).await;
}
