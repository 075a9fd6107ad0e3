//! The filter `cache` over real sockets: one fetch for many, what is given stale and when, and whose answers
//! are never given to others. Time is moved by hand.

use crate::world::{Setup, World, message};
use proxy::Handles;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Answer, Backend, Reply, Seen, eventually};

const SECOND: Duration = Duration::from_secs(1);

/// A world whose time stands still, with one route to this backend.
async fn still(filter: &str, backend: &Backend) -> World {
    let setup = Setup { by_hand: true, ..Setup::default() };
    World::with(setup, &format!(r#"r: * -> {filter} -> "{}""#, backend.url())).await
}

/// A backend that says which request it answers, with these headers.
async fn counting(headers: &'static [(&'static str, &'static str)]) -> Backend {
    Backend::start(move |seen| {
        let reply = Reply::ok(format!("answer {}", seen.number));
        headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    })
    .await
}

/// What the cache says of an answer, and its body.
fn told(answer: &Answer) -> String {
    format!("{} {}", answer.header("x-cache-status").unwrap_or("-"), answer.brief())
}

#[tokio::test]
async fn a_hundred_at_once_are_one_request_to_the_backend() {
    let backend = Backend::start(|seen| {
        let body = seen.number.to_string().repeat(100_000);
        Reply::ok(body).header("Cache-Control", "max-age=60").after(Duration::from_millis(100))
    })
    .await;
    for filter in ["cache()", r#"cache("1m", "0s", "0s")"#] {
        let before = backend.requests();
        let world = World::new(&format!(r#"r: * -> {filter} -> "{}""#, backend.url())).await;
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let mut client = world.client().await;
            asking.spawn(async move { client.ask(message("GET /page")).await });
        }
        let answers = asking.join_all().await;
        assert_eq!(backend.requests() - before, 1, "{filter}");
        assert!(answers.iter().all(|answer| answer.complete && answer.body.len() == 100_000));
        let of = |word| answers.iter().filter(|answer| answer.header("x-cache-status") == Some(word)).count();
        assert_eq!((of("MISS"), of("HIT")), (1, 99));
        assert!((world.count("tombolo_cache_requests_total{outcome=\"hit\"}") - 99.0).abs() < 0.5);
    }
}

#[tokio::test]
async fn those_who_wait_are_not_left_alone_when_whoever_fetches_leaves() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::nothing().then_stall(),
        _ => Reply::ok("late").header("Cache-Control", "max-age=60"),
    })
    .await;
    let world = World::new(&format!(r#"r: * -> cache() -> "{}""#, backend.url())).await;
    let mut first = world.client().await;
    first.send(message("GET /")).await;
    eventually("the fetch", || backend.requests() == 1).await;
    let mut second = world.client().await;
    second.send(message("GET /")).await;
    drop(first);
    assert_eq!(told(&second.answer().await), "MISS 200 late");
    assert_eq!(told(&world.ask("GET /").await), "HIT 200 late");
}

#[tokio::test]
async fn a_client_that_leaves_within_its_answer_leaves_it_to_the_others() {
    let backend = Backend::start(|_| {
        let reply = Reply::status(200).header("Cache-Control", "max-age=60");
        reply.chunks(["one ", "two ", "three"]).slowly(Duration::from_millis(40))
    })
    .await;
    let world = World::new(&format!(r#"r: * -> cache() -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"one \r\n") {
        let more = client.some(4096).await;
        assert!(!more.is_empty(), "the first chunk does not wait for the last");
        seen.extend(more);
    }
    drop(client);
    assert_eq!(told(&world.ask("GET /").await), "HIT 200 one two three");
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn what_is_stale_is_given_while_one_new_answer_is_fetched() {
    let backend = counting(&[("Cache-Control", "max-age=10, stale-while-revalidate=20")]).await;
    for (round, filter) in ["cache()", r#"cache("10s", "0s", "20s")"#].into_iter().enumerate() {
        let first = backend.requests();
        let trail = r#"appendRequestHeader("X-Before", "1")"#;
        let behind = r#"appendRequestHeader("X-Behind", "1")"#;
        let world = still(&format!("{trail} -> {filter} -> {behind}"), &backend).await;
        let ask = async || told(&world.ask("GET /").await);
        assert_eq!(ask().await, format!("MISS 200 answer {first}"), "{round}");
        world.hand.advance(9 * SECOND);
        assert_eq!(ask().await, format!("HIT 200 answer {first}"));
        world.hand.advance(11 * SECOND);
        assert_eq!(ask().await, format!("STALE 200 answer {first}"));
        eventually("the refresh", || backend.seen().len() == first + 2).await;
        world.settled().await;
        let fresh = world.ask("GET /").await;
        assert_eq!(told(&fresh), format!("HIT 200 answer {}", first + 1));
        assert_eq!(fresh.header("age"), Some("0"));
        // It goes on from the cache: the filters before it have run once, those behind it for this fetch.
        let refresh = &backend.seen()[first + 1];
        let all =
            |name: &str| refresh.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count();
        assert_eq!((all("x-before"), all("x-behind")), (1, 1));
        world.hand.advance(31 * SECOND);
        assert_eq!(ask().await, format!("MISS 200 answer {}", first + 2), "too stale");
        assert_eq!(world.records(5).await.len(), 5, "a refresh is nobody's request");
    }
}

#[tokio::test]
async fn what_is_stale_stands_in_for_errors() {
    let failing = Arc::new(AtomicUsize::new(200));
    let status = failing.clone();
    let backend = Backend::start(move |_| {
        let status = status.load(Ordering::SeqCst) as u16;
        Reply::status(status).header("Cache-Control", "max-age=10, stale-if-error=60").body("said")
    })
    .await;
    for filter in ["cache()", r#"cache("10s", "5s", "0s", "60s")"#] {
        failing.store(200, Ordering::SeqCst);
        let world = still(filter, &backend).await;
        let ask = async || told(&world.ask("GET /").await);
        assert_eq!(ask().await, "MISS 200 said");
        failing.store(503, Ordering::SeqCst);
        world.hand.advance(11 * SECOND);
        let before = backend.requests();
        assert_eq!(ask().await, "STALE 200 said", "{filter}");
        assert_eq!(ask().await, "STALE 200 said");
        assert_eq!(backend.requests() - before, 1, "who has just failed is left alone");
        world.hand.advance(60 * SECOND);
        assert_eq!(ask().await, "MISS 503 said", "too stale");
        failing.store(200, Ordering::SeqCst);
        world.hand.advance(6 * SECOND);
        assert_eq!(ask().await, "MISS 200 said");
    }
}

#[tokio::test]
async fn what_is_stale_is_asked_about_and_confirmed() {
    let backend = Backend::start(|seen| {
        let reply = match (seen.header("if-none-match"), seen.header("x-change")) {
            (Some("\"v1\""), None) => Reply::status(304).header("X-New", "1"),
            _ => Reply::ok(format!("answer {}", seen.number)).header("X-Old", "1"),
        };
        reply.header("ETag", "\"v1\"").header("Cache-Control", "max-age=10")
    })
    .await;
    let world = still("cache()", &backend).await;
    let ask = async |headers: &str| world.ask(&format!("GET /{headers}")).await;
    assert_eq!(told(&ask("").await), "MISS 200 answer 0");
    world.hand.advance(15 * SECOND);
    let confirmed = ask("").await;
    assert_eq!(told(&confirmed), "HIT 200 answer 0");
    assert_eq!((confirmed.header("x-old"), confirmed.header("x-new")), (Some("1"), Some("1")));
    assert_eq!(confirmed.header("cache-status"), Some("tombolo; fwd=stale; fwd-status=304"));
    assert_eq!(backend.seen()[1].header("if-none-match"), Some("\"v1\""));
    assert_eq!(told(&ask("").await), "HIT 200 answer 0", "it is fresh again");
    world.hand.advance(15 * SECOND);
    // The client's own condition is judged here, whatever the backend was asked.
    let unchanged = ask("\nIf-None-Match: \"v1\"").await;
    assert_eq!((unchanged.status, unchanged.text().as_str()), (304, ""));
    world.hand.advance(15 * SECOND);
    assert_eq!(told(&ask("\nX-Change: 1").await), "MISS 200 answer 3");
}

#[tokio::test]
async fn ranges_conditions_and_heads_are_answered_from_what_is_kept() {
    let backend = Backend::start(|seen| {
        let reply = Reply::ok("0123456789").header("ETag", "\"v1\"").header("Cache-Control", "max-age=60");
        if seen.header("range").is_some() { Reply::status(206).body("part") } else { reply }
    })
    .await;
    let world = still("cache()", &backend).await;
    let ask = async |request: &str| world.ask(request).await;
    assert_eq!(told(&ask("GET /\nRange: bytes=2-3").await), "MISS 206 part", "nothing is kept of a part");
    assert_eq!(told(&ask("GET /\nIf-None-Match: \"v1\"").await), "MISS 304 ");
    eventually("it is kept", || world.count("tombolo_cache_bytes") > 500.0).await;
    let part = ask("GET /\nRange: bytes=2-3").await;
    assert_eq!((told(&part).as_str(), part.header("content-range")), ("HIT 206 23", Some("bytes 2-3/10")));
    assert_eq!(told(&ask("GET /\nIf-None-Match: \"v1\"").await), "HIT 304 ");
    assert_eq!(told(&ask("GET /\nIf-Match: \"v2\"").await), "HIT 412 ");
    let head = ask("HEAD /").await;
    assert_eq!((told(&head).as_str(), head.header("content-length")), ("HIT 200 ", Some("10")));
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn what_requests_say_counts() {
    let backend = counting(&[("Cache-Control", "max-age=60")]).await;
    let world = still("cache()", &backend).await;
    let ask = async |request: &str| told(&world.ask(request).await);
    assert_eq!(ask("GET /\nCache-Control: only-if-cached").await, "MISS 504 Gateway Timeout");
    assert_eq!(ask("GET /\nCache-Control: no-store").await, "MISS 200 answer 0");
    assert_eq!(ask("GET /").await, "MISS 200 answer 1");
    assert_eq!(ask("GET /\nCache-Control: only-if-cached").await, "HIT 200 answer 1");
    assert_eq!(ask("GET /\nCache-Control: no-cache").await, "MISS 200 answer 2");
    assert_eq!(ask("GET /").await, "HIT 200 answer 2");
    assert_eq!(ask("GET /\nPragma: no-cache").await, "MISS 200 answer 3");
    assert_eq!(ask("GET /\nCache-Control: max-age=0").await, "MISS 200 answer 4");
    world.hand.advance(30 * SECOND);
    assert_eq!(ask("GET /\nCache-Control: min-fresh=20").await, "HIT 200 answer 4");
    assert_eq!(ask("GET /\nCache-Control: min-fresh=40").await, "MISS 200 answer 5");
    assert_eq!(ask("POST /").await, "- 200 answer 6");
    assert_eq!(ask("GET /").await, "MISS 200 answer 7", "it may have changed");
    assert_eq!(ask("GET /?other").await, "MISS 200 answer 8");
    assert_eq!(ask("GET /\nHost: other.example").await, "MISS 200 answer 9");
}

#[tokio::test]
async fn nobody_gets_what_is_anothers() {
    let backend = Backend::start(|seen| {
        let reply = Reply::ok(format!("answer {}", seen.number));
        match seen.target.as_str() {
            "/cookie" => reply.header("Cache-Control", "max-age=60").header("Set-Cookie", "a=b"),
            "/private" => reply.header("Cache-Control", "private, max-age=60"),
            "/none" => reply.header("Cache-Control", "no-store"),
            "/vary" => reply.header("Cache-Control", "max-age=60").header("Vary", "Accept-Language"),
            "/any" => reply.header("Cache-Control", "max-age=60").header("Vary", "*"),
            "/public" => reply.header("Cache-Control", "public, max-age=60"),
            _ => reply.header("Cache-Control", "max-age=60"),
        }
    })
    .await;
    let world = World::with(
        Setup { by_hand: true, ..Setup::default() },
        &format!(
            r#"std: * -> cache() -> "{0}";
               forced: Header("X-Forced", "1") -> cache("1m", "0s", "0s") -> "{0}";
               keyed: Header("X-Forced", "2") -> cache("1m", "0s", "0s", "0s", "Authorization, X-Tenant") -> "{0}";"#,
            backend.url()
        ),
    )
    .await;
    // Whether the second of these gets the first one's answer.
    let shared = async |one: &str, other: &str| {
        let (one, other) = (world.ask(one).await, world.ask(other).await);
        let same = one.text() == other.text();
        assert_eq!(same, other.header("x-cache-status") == Some("HIT"), "{}", told(&other));
        same
    };
    for target in ["/cookie", "/private", "/none", "/any"] {
        let request = format!("GET {target}");
        assert!(!shared(&request, &request).await, "{target}");
    }
    assert!(!shared("GET /cookie\nX-Forced: 1", "GET /cookie\nX-Forced: 1").await);
    assert!(shared("GET /private\nX-Forced: 1", "GET /private\nX-Forced: 1").await, "the route says so");
    let (ann, bob) = ("GET /a\nAuthorization: ann", "GET /a\nAuthorization: bob");
    assert!(!shared(ann, bob).await && !shared(ann, ann).await);
    assert!(
        !shared("GET /a\nX-Forced: 1\nAuthorization: ann", "GET /a\nX-Forced: 1\nAuthorization: ann").await
    );
    assert!(shared("GET /public\nAuthorization: ann", "GET /public\nAuthorization: bob").await);
    let keyed =
        |user: &str, tenant: &str| format!("GET /a\nX-Forced: 2\nAuthorization: {user}\nX-Tenant: {tenant}");
    assert!(shared(&keyed("ann", "1"), &keyed("ann", "1")).await);
    assert!(!shared(&keyed("bob", "1"), &keyed("bob", "2")).await);
    let (it, de) = ("GET /vary\nAccept-Language: it", "GET /vary\nAccept-Language: de");
    assert!(
        !shared(it, de).await
            && shared(it, it).await
            && shared(de, de).await
            && !shared(it, "GET /vary").await
    );
}

#[tokio::test]
async fn memory_has_a_bound_and_a_reload_keeps_what_is_kept() {
    let backend = Backend::start(|seen: &Seen| {
        let size: usize = seen.target.trim_start_matches('/').parse().unwrap();
        let reply = Reply::status(200).header("Cache-Control", "max-age=60");
        if size.is_multiple_of(2) { reply.body("x".repeat(size)) } else { reply.chunks(["x".repeat(size)]) }
    })
    .await;
    let handles = Handles { cache_bytes: 160_000, ..Handles::default() };
    let routes = format!(r#"r: * -> cache() -> "{}""#, backend.url());
    let world = World::with(Setup { by_hand: true, handles, ..Setup::default() }, &routes).await;
    let ask = async |size: usize| {
        let answer = world.ask(&format!("GET /{size}")).await;
        assert_eq!(answer.body.len(), size);
        answer.header("x-cache-status").unwrap().to_owned()
    };
    for large in [10_002, 10_001, 20_001] {
        assert_eq!((ask(large).await, ask(large).await), ("MISS".to_owned(), "MISS".to_owned()), "{large}");
    }
    assert!(world.count("tombolo_cache_left_out_total{why=\"oversized\"}") > 2.5);
    for size in 9000..9040 {
        assert_eq!(ask(size).await, "MISS");
        world.settled().await;
        assert!(world.count("tombolo_cache_bytes") <= 160_000.0);
    }
    assert!(world.count("tombolo_cache_left_out_total{why=\"evicted\"}") > 20.0);
    assert_eq!(ask(9000).await, "MISS", "it had to go");
    world.put(&format!(r#"r: * -> setResponseHeader("X-New", "1") -> cache() -> "{}""#, backend.url()));
    let kept = world.ask("GET /9039").await;
    assert_eq!((kept.header("x-cache-status"), kept.header("x-new")), (Some("HIT"), Some("1")));
}

#[tokio::test]
async fn answers_that_are_not_kept_are_not_waited_for() {
    let backend = Backend::start(|_| {
        Reply::ok("mine").header("Cache-Control", "no-store").after(Duration::from_millis(100))
    })
    .await;
    let world = World::new(&format!(r#"r: * -> cache() -> "{}""#, backend.url())).await;
    let begun = tokio::time::Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        asking.spawn(async move { client.ask(message("GET /")).await });
    }
    assert!(asking.join_all().await.iter().all(|answer| told(answer) == "MISS 200 mine"));
    assert_eq!(backend.requests(), 20);
    // One, and then the others all at once; one after another they would take two seconds.
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}
