//! What is told of each request: one record, and the numbers that follow from it.

use crate::world::{Setup, World, message};
use testkit::{Backend, Reply, eventually};

#[tokio::test]
async fn a_record_says_what_was_asked_who_answered_and_why() {
    let backend = Backend::start(|_| Reply::status(201).body("hello")).await;
    let world = World::new(&format!(
        r#"cart: Path("/cart") -> "{}"; old: Path("/old") -> redirectTo(301, "/cart") -> <shunt>;
           quiet: Path("/quiet") -> disableAccessLog() -> status(204) -> <shunt>;"#,
        backend.url()
    ))
    .await;
    let request = "POST /cart?x=1\nUser-Agent: tester\nReferer: /from\nX-Flow-Id: f1\nX-Forwarded-For: 192.0.2.9\n\nabc";
    world.ask(request).await;
    world.ask("GET /quiet").await;
    world.ask("GET /old").await;
    let records = world.records(2).await;
    let mut cart = records[0].clone();
    let fields = cart.as_object_mut().unwrap();
    for changing in ["timestamp", "duration", "duration-us", "backend-duration", "trace_id", "span_id"] {
        assert!(fields.remove(changing).is_some(), "{changing}");
    }
    assert_eq!(fields.remove("backend").unwrap(), backend.address().to_string());
    expect_test::expect![[r#"{"attempts":1,"audit":"","auth-user":"","flow-id":"f1","host":"192.0.2.9","level":"info","method":"POST","msg":"","proto":"HTTP/1.1","referer":"/from","request-size":3,"requested-host":"shop.example","response-size":5,"route":"cart","status":201,"uri":"/cart?x=1","user-agent":"tester"}"#]]
        .assert_eq(&cart.to_string());
    let old = &records[1];
    assert_eq!(
        (&old["status"], &old["reason"], &old["filter"]),
        (&301.into(), &"filter".into(), &"redirectTo".into())
    );
    assert_eq!((old.get("backend"), &old["attempts"]), (None, &0.into()));
}

#[tokio::test]
async fn requests_are_counted_by_route_status_and_method() {
    let backend = Backend::start(|seen| Reply::ok(seen.body.clone())).await;
    let world = World::new(&format!(
        r#"cart: Path("/cart") -> "{}"; dead: Path("/dead") -> "http://{}";"#,
        backend.url(),
        Backend::refusing().await
    ))
    .await;
    for _ in 0..3 {
        world.ask("POST /cart\n\nabcde").await;
    }
    world.ask("GET /cart").await;
    world.ask("GET /dead").await;
    world.ask("GET /none").await;
    world.settled().await;
    for (line, count) in [
        (r#"skipper_serve_route_count{code="200",method="POST",route="cart"}"#, 3.0),
        (r#"skipper_serve_route_count{code="200",method="GET",route="cart"}"#, 1.0),
        (r#"skipper_serve_route_count{code="502",method="GET",route="dead"}"#, 1.0),
        (r#"skipper_serve_route_count{code="404",method="GET",route="_unknownroute_"}"#, 1.0),
        (r#"tombolo_answers_total{cause="connection_refused",route="dead"}"#, 1.0),
        (r#"tombolo_request_bytes_total{route="cart"}"#, 15.0),
        (r#"tombolo_response_bytes_total{route="cart"}"#, 15.0),
        ("skipper_route_error_total", 1.0),
        ("tombolo_requests_in_flight", 0.0),
    ] {
        assert!((world.count(line) - count).abs() < 0.5, "{line}: {}", world.count(line));
    }
}

#[tokio::test]
async fn a_request_is_told_once_however_it_ends() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/break" => Reply::ok("0123456789").cut(45).then_close(),
        "/empty" => Reply::status(200),
        "/204" => Reply::status(204),
        _ => Reply::ok("x"),
    })
    .await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut asked = 0;
    for method in ["GET", "HEAD", "POST"] {
        for target in ["/", "/break", "/empty", "/204"] {
            // A body in answer to HEAD is the backend's mistake.
            if method != "HEAD" {
                world.ask(&format!("{method} {target}")).await;
                asked += 1;
            }
        }
    }
    world.settled().await;
    let records = world.records(asked).await;
    let cut: Vec<_> =
        records.iter().filter(|r| r["cut-short"] == true).map(|r| r["uri"].as_str().unwrap()).collect();
    assert_eq!(cut, ["/break", "/break"]);
}

#[tokio::test]
async fn tags_and_the_name_of_the_span_are_in_the_record() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/bad" => Reply::status(503).header("X-Node", "n1"),
        _ => Reply::status(200).header("X-Node", "n2"),
    })
    .await;
    let world = World::new(&format!(
        r#"r: * -> tracingSpanName("buy") -> tracingTag("who", "${{request.header.X-Who}}") -> tracingTag("no", "${{x}}")
           -> tracingTag("who2", "a") -> tracingTag("who2", "b") -> tracingBaggageToTag("tier")
           -> tracingTagFromResponse("node", "${{response.header.X-Node}}")
           -> tracingTagFromResponseIfStatus("error", "true", 500, 599) -> stateBagToTag("auth-user", "user")
           -> "{}""#,
        backend.url()
    ))
    .await;
    world.ask("GET /\nX-Who: ann\nBaggage: tier=gold%20card").await;
    world.ask("GET /bad").await;
    let records = world.records(2).await;
    let told: Vec<_> =
        records.iter().map(|record| format!("{} {}", record["span-name"], record["tags"])).collect();
    assert_eq!(
        told,
        [
            r#""buy" {"node":"n2","tier":"gold card","who":"ann","who2":"b"}"#,
            r#""buy" {"error":"true","node":"n1","who2":"b"}"#,
        ]
    );
}

#[tokio::test]
async fn masked_keys_are_masked_however_a_request_ends() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/?token=hold" => Reply::nothing().then_stall(),
        _ => Reply::ok("x"),
    })
    .await;
    let world = World::new(&format!(
        r#"outer: Path("/outer") -> maskAccessLogQuery("token") -> setPath("/inner") -> <loopback>;
           inner: Path("/inner") -> maskAccessLogQuery("email", "token") -> "{0}"; r: * -> maskAccessLogQuery("token") -> "{0}";"#,
        backend.url()
    ))
    .await;
    world.ask("GET /?token=secret&a=b\nReferer: /x?token=secret").await;
    world.ask("GET /outer?token=secret&email=ann").await;
    let mut leaving = world.client().await;
    leaving.send(message("GET /?token=hold")).await;
    eventually("it is at the backend", || backend.requests() == 3).await;
    drop(leaving);
    let records = world.records(3).await;
    let text = format!("{records:?}");
    assert!(!text.contains("secret") && !text.contains("ann") && !text.contains("hold"), "{text}");
    assert_eq!(records[2]["status"], 499);
    assert!(backend.seen()[0].target.contains("token=secret"), "the backend sees it");
}

#[tokio::test]
async fn audits_tell_who_sent_what() {
    let backend = Backend::echo().await;
    let setup = Setup {
        handles: proxy::Handles { audit_body_bytes: 10, ..proxy::Handles::default() },
        ..Setup::default()
    };
    let world =
        World::with(setup, &format!(r#"r: * -> auditLog() -> unverifiedAuditLog() -> "{}""#, backend.url()))
            .await;
    world.ask("GET /a%20b").await;
    let long = "x".repeat(100_000);
    assert_eq!(world.ask(&format!("POST /b\n\n{long}")).await.text(), long);
    // {"sub":"ann"}
    world
        .ask("PUT /c\nAuthorization: Bearer e30.eyJzdWIiOiJhbm4ifQ.c2ln\nX-Unverified-Audit: bob\n\n0123")
        .await;
    let audits: Vec<_> = world.audits(3).await.iter().map(ToString::to_string).collect();
    assert_eq!(
        audits,
        [
            r#"{"method":"GET","path":"/a b","status":200}"#,
            r#"{"method":"POST","path":"/b","requestBody":"xxxxxxxxxx","status":200}"#,
            r#"{"method":"PUT","path":"/c","requestBody":"0123","status":200}"#,
        ]
    );
    let records = world.records(3).await;
    assert_eq!((&records[1]["audit"], &records[2]["audit"]), (&"".into(), &"ann".into()));
}

#[tokio::test]
async fn what_is_no_request_leaves_a_record_and_is_counted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let setup = Setup { engine: wire::Http1::Strict, ..Setup::default() };
    let world = World::with(setup, "r: * -> status(204) -> <shunt>;").await;
    let mut client = tokio::net::TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let record = world.records(1).await.remove(0);
    assert_eq!(
        (&record["status"], &record["method"], &record["uri"], &record["reason"], &record["host"]),
        (&400.into(), &"-".into(), &"-".into(), &"http_request_error".into(), &"127.0.0.1".into())
    );
    world.settled().await;
    let line = r#"skipper_serve_route_count{code="400",method="_unknownmethod_",route="_unknownroute_"}"#;
    assert!((world.count(line) - 1.0).abs() < 0.5, "{line}");
}
