//! Requests and responses pass as they are, but for what is about one connection alone.

use crate::world::{Setup, World, why};
use expect_test::expect;
use proxy::{Settings, net};
use testkit::{Backend, Reply};

async fn one_backend(backend: &Backend) -> World {
    World::new(&format!(r#"r: * -> "{}""#, backend.url())).await
}

#[tokio::test]
async fn method_path_query_headers_and_bodies_pass_both_ways() {
    let backend = Backend::start(|seen| {
        Reply::status(201).header("X-One", "1").header("X-One", "2").body(seen.body.to_ascii_uppercase())
    })
    .await;
    let world = one_backend(&backend).await;
    let answer = world.ask("PUT /a%20b/c?q=%41&q=2\nX-A: 1\nX-A: 2\nCookie: k=v\n\nhello").await;
    assert_eq!(answer.brief(), "201 HELLO");
    let ones: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-one")).collect();
    assert_eq!(ones.len(), 2);
    assert_eq!(answer.header("server"), Some("Tombolo"));
    let seen = backend.first().await;
    assert_eq!(seen.line(), "PUT /a%20b/c?q=%41&q=2");
    assert_eq!(seen.text(), "hello");
    assert_eq!(seen.header("host"), Some(backend.address().to_string().as_str()));
    assert_eq!(seen.headers.iter().filter(|(name, _)| name == "x-a").count(), 2);
    assert_eq!(seen.header("cookie"), Some("k=v"));
}

#[tokio::test]
async fn the_host_is_the_backends_unless_preserved() {
    let backend = Backend::echo().await;
    let url = backend.url();
    let world = World::new(&format!(
        r#"own: Path("/own") -> "{url}"; kept: Path("/kept") -> preserveHost("true") -> "{url}";"#
    ))
    .await;
    world.ask("GET /own\nHost: shop.example").await;
    world.ask("GET /kept\nHost: shop.example:81").await;
    let hosts: Vec<_> = backend.seen().iter().map(|seen| seen.header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, [backend.address().to_string(), "shop.example:81".to_owned()]);
}

#[tokio::test]
async fn headers_about_one_connection_end_there_both_ways() {
    let backend = Backend::start(|_| {
        Reply::ok("x")
            .header("Connection", "X-Theirs, keep-alive")
            .header("X-Theirs", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Upgrade", "h2c")
            .header("X-Stays", "1")
    })
    .await;
    let world = one_backend(&backend).await;
    let answer = world
        .ask("GET /\nConnection: X-Mine\nX-Mine: 1\nKeep-Alive: 5\nProxy-Connection: a\nTE: trailers\nUpgrade: h2c\nX-Stays: 1")
        .await;
    for gone in ["x-theirs", "keep-alive", "upgrade", "connection"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-stays"), Some("1"));
    let seen = backend.first().await;
    for gone in ["x-mine", "keep-alive", "proxy-connection", "upgrade", "connection"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!((seen.header("te"), seen.header("x-stays")), (Some("trailers"), Some("1")));
}

#[tokio::test]
async fn a_client_can_not_take_off_what_is_added_on_the_way() {
    let backend = Backend::echo().await;
    let forwarded = net::ForwardedHeaders {
        forwarded_for: net::ForwardedFor::Append,
        ..net::ForwardedHeaders::default()
    };
    let settings = Settings { forwarded: Some(forwarded), ..Settings::default() };
    let routes = format!(r#"r: * -> setRequestHeader("X-User", "known") -> "{}""#, backend.url());
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    world
        .ask("GET /\nConnection: X-User, X-Forwarded-For, traceparent, X-Mine, TE\nX-Mine: 1\nX-User: me\nTE: trailers")
        .await;
    let seen = backend.first().await;
    assert_eq!((seen.header("x-user"), seen.header("x-mine")), (Some("known"), None));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    // RFC 9110 10.1.4: whoever sends TE must name it so.
    assert_eq!(seen.header("te"), Some("trailers"));
    assert!(seen.header("traceparent").is_some() && seen.header("connection").is_none());
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let backend = Backend::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("HEAD", _) => Reply::status(200).headless().header("Content-Length", "5000"),
        (_, "/204") => Reply::status(204),
        (_, "/304") => Reply::status(304).header("ETag", "\"a\"").header("Content-Length", "77"),
        _ => Reply::ok("body"),
    })
    .await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    let mut told = Vec::new();
    for (method, target) in [("HEAD", "/"), ("GET", "/204"), ("GET", "/304"), ("GET", "/"), ("HEAD", "/")] {
        let answer = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let length = answer.header("content-length").unwrap_or("-").to_owned();
        told.push(format!("{method} {target}: {} length {length}", answer.brief()));
    }
    expect![[r#"
        HEAD /: 200  length 5000
        GET /204: 204  length -
        GET /304: 304  length -
        GET /: 200 body length 4
        HEAD /: 200  length 5000"#]]
    .assert_eq(&told.join("\n"));
    assert_eq!(backend.connections(), 1, "every one of them left the connection to the backend usable too");
    let cut = world.records(5).await.iter().filter(|record| record["cut-short"] == true).count();
    assert_eq!(cut, 0);
}

#[tokio::test]
async fn our_own_answers_to_head_have_a_length_and_are_no_broken_ones() {
    let world = World::new(r#"r: Path("/") -> inlineContent("hello") -> <shunt>; n: Path("/n") -> status(204) -> inlineContent("x") -> <shunt>;"#).await;
    let mut client = world.client().await;
    let head = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    let empty = client.ask("GET /n HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    let missing = client.ask("HEAD /missing HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((missing.status, missing.header("content-length")), (404, Some("10")));
    let got = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(got.brief(), "200 hello");
    for record in world.records(4).await {
        assert_ne!(record["cut-short"], true, "{record}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_when_its_body_is_wanted() {
    let backend = Backend::echo().await;
    let world =
        World::new(&format!(r#"r: * -> "{}"; no: Path("/no") -> status(403) -> <shunt>;"#, backend.url()))
            .await;
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let mut client = world.client().await;
    client.send(head("/")).await;
    let interim = client.some(100).await;
    assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    assert_eq!(client.answer().await.brief(), "200 hello");
    assert_eq!(backend.first().await.header("expect"), None);
    let mut client = world.client().await;
    client.send(head("/no")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.interim), (403, vec![]), "no body is asked for in vain");
}

#[tokio::test]
async fn a_body_is_asked_for_by_whoever_wants_it_first() {
    let backend = Backend::echo().await;
    let settings = Settings { body_bytes: Some(10), ..Settings::default() };
    let routes = format!(
        r#"r: * -> "{0}"; kept: Path("/kept") -> retry(1) -> "{0}"; shunt: Path("/shunt") -> inlineContent("x") -> <shunt>"#,
        backend.url()
    );
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    let head = |path: &str, length: usize, expect: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: {expect}\r\nContent-Length: {length}\r\n\r\n")
    };
    for path in ["/kept", "/any"] {
        let mut client = world.client().await;
        client.send(head(path, 5, "100-Continue")).await;
        assert_eq!(client.exactly(25).await, b"HTTP/1.1 100 Continue\r\n\r\n", "{path}");
        client.send("hello").await;
        assert_eq!(client.answer().await.brief(), "200 hello");
    }
    for (path, length, expect, status) in
        [("/any", 11, "100-continue", 413), ("/any", 5, "200-ok", 417), ("/shunt", 5, "100-continue", 200)]
    {
        let mut client = world.client().await;
        client.send(head(path, length, expect)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.interim), (status, vec![]), "{path} {length} {expect}");
    }
    assert!(backend.seen().iter().all(|seen| seen.header("expect").is_none()));
}

#[tokio::test]
async fn odd_targets_are_served_or_refused_but_never_misread() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"shop: Host(/^shop[.]example$/) -> "{0}"; other: * -> setPath("/other") -> "{0}";"#,
        backend.url()
    ))
    .await;
    let ask = async |text: &str| world.client().await.ask(text).await.status;
    // The authority of the target wins over Host (RFC 9112 3.2.2).
    assert_eq!(ask("GET http://shop.example/abs?x=1 HTTP/1.1\r\nHost: else\r\n\r\n").await, 200);
    assert_eq!(ask("GET http://shop.example HTTP/1.1\r\nHost: else\r\n\r\n").await, 200);
    assert_eq!(ask("OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n").await, 200);
    let lines: Vec<_> = backend.seen().iter().map(testkit::Seen::line).collect();
    assert_eq!(lines, ["GET /abs?x=1", "GET /", "OPTIONS *"]);
    let refused =
        world.client().await.ask("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    assert_eq!(
        (refused.status, why(&refused).as_str()),
        (405, "error=http_request_denied; details=\"CONNECT is not served\"")
    );
    // RFC 9112 3.2: an HTTP/1.1 request has one Host.
    assert_eq!(ask("GET / HTTP/1.1\r\n\r\n").await, 400);
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: shop.example\r\nHost: else\r\n\r\n").await, 400);
    assert_eq!(ask("GET http://shop.example/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await, 400);
    // And this is a host.
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: shop.example, else\r\n\r\n").await, 400);
    assert_eq!(ask("GET http://me:secret@shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n").await, 400);
    assert_eq!(ask("GET * HTTP/1.1\r\nHost: shop.example\r\n\r\n").await, 400);
    assert_eq!(ask("GE T / HTTP/1.1\r\nHost: h\r\n\r\n").await, 400);
    assert_eq!(backend.requests(), 3, "nothing that was refused went on");
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_understand() {
    let backend = Backend::start(|_| Reply::status(200).chunks(["a", "b"])).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.version.as_str(), answer.brief().as_str()), ("HTTP/1.0", "200 ab"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(world.records(1).await[0]["proto"], "HTTP/1.0");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let backend = Backend::start(|seen| Reply::ok(seen.target.clone())).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    let all: String = (0..50).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(all + "POST /last HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /behind HTTP/1.1\r\nHost: h\r\n\r\n").await;
    for i in 0..50 {
        assert_eq!(client.answer().await.brief(), format!("200 /{i}"));
    }
    assert_eq!(client.answer().await.brief(), "200 /last");
    assert_eq!(client.answer().await.brief(), "200 /behind");
}

#[tokio::test]
async fn trailers_pass_to_clients_that_want_them() {
    let backend = Backend::start(|_| {
        Reply::status(200).header("Trailer", "X-Sum").chunks(["body"]).trailer("X-Sum", "7")
    })
    .await;
    let world = one_backend(&backend).await;
    let answer = world.ask("GET /\nTE: trailers").await;
    assert_eq!((answer.brief().as_str(), answer.complete), ("200 body", true));
    assert_eq!(answer.trailers.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["7"]);
    let answer = world.ask("GET /").await;
    assert_eq!((answer.brief().as_str(), answer.complete, answer.trailers.len()), ("200 body", true, 0));
}

#[tokio::test]
async fn the_trace_goes_on_or_begins() {
    let backend = Backend::echo().await;
    let world = one_backend(&backend).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    world.ask(&format!("GET /\ntraceparent: 00-{trace}-00f067aa0ba902b7-01")).await;
    world.ask("GET /").await;
    let told: Vec<_> =
        backend.seen().iter().map(|seen| seen.header("traceparent").unwrap().to_owned()).collect();
    let records = world.records(2).await;
    assert!(
        told[0].starts_with(&format!("00-{trace}-")) && !told[0].contains("00f067aa0ba902b7"),
        "{}",
        told[0]
    );
    for (told, record) in told.iter().zip(&records) {
        let ours =
            format!("00-{}-{}-", record["trace_id"].as_str().unwrap(), record["span_id"].as_str().unwrap());
        assert!(told.starts_with(&ours), "the backend continues our span: {told} {ours}");
    }
    assert_ne!(records[0]["trace_id"], records[1]["trace_id"]);
}

#[tokio::test]
async fn forwarded_headers_are_set_where_configured() {
    let backend = Backend::echo().await;
    let forwarded = net::ForwardedHeaders {
        forwarded_for: net::ForwardedFor::Append,
        host: true,
        method: true,
        uri: true,
        port: Some(net::Told::Auto),
        proto: Some(net::Told::Auto),
        forwarded: true,
        ..net::ForwardedHeaders::default()
    };
    let settings = Settings { forwarded: Some(forwarded), ..Settings::default() };
    let routes = format!(r#"r: * -> setPath("/changed") -> "{}""#, backend.url());
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    world.ask("GET /a?b\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\nHost: shop.example").await;
    let seen = backend.first().await;
    let told = |name: &str| seen.header(name).unwrap_or("-").to_owned();
    assert_eq!(told("x-forwarded-for"), "192.0.2.1, 127.0.0.1");
    assert_eq!(told("x-forwarded-host"), "shop.example");
    assert_eq!((told("x-forwarded-method"), told("x-forwarded-uri")), ("GET".to_owned(), "/a?b".to_owned()));
    assert_eq!(told("x-forwarded-proto"), "http");
    assert_eq!(told("forwarded"), "for=127.0.0.1;host=shop.example;proto=http");
    assert_eq!(told("x-forwarded-port"), world.address.port().to_string());
}
