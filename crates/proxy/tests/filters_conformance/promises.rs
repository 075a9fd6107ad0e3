//! Every example of the reference page, and what a chain and its filters promise.

use crate::stage::{Stage, lines, texts};
use base::Source;
use expect_test::{Expect, expect};
use http::header::HOST;
use http::{HeaderName, HeaderValue, StatusCode};
use proxy::{Exchange, LogChoice, Mirror, filters};
use std::time::Duration;
use testkit::Differences;
use wire::Headers;
use wire::{Body, Response};

#[tokio::test]
async fn every_example_of_the_reference_page_is_true() {
    let mut differences = Differences::default();
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("users.htpasswd");
    std::fs::write(&passwords, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    for spec in filters::specs() {
        differences.ran();
        let example = &spec.example;
        let text = example.filters.replace("users.htpasswd", passwords.to_str().unwrap());
        let stage = Stage::new();
        let chain = match stage.chain(&text) {
            Ok(chain) => chain,
            Err(refusal) => {
                differences.add(format!("{text}: {refusal}"));
                continue;
            }
        };
        let mut request = example.request.lines();
        let (method, target) = request.next().unwrap().split_once(' ').unwrap();
        let mut headers = Headers::new();
        for (name, value) in request.map(|line| line.split_once(": ").unwrap()) {
            headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let host = headers.remove(HOST).map(|host| host.to_str().unwrap().to_owned()).unwrap_or_default();
        let mut exchange = stage.exchange(method, target, &host, headers, Vec::new());
        let carried = stage.carry(&chain, &mut exchange, || Response::new(Body::full("hello"))).await;
        let saw = carried.saw.map_or_else(
            || vec!["-".to_owned()],
            |saw| std::iter::once(format!("{} {}", saw.method, saw.uri)).chain(lines(&saw.headers)).collect(),
        );
        let mut got = vec![carried.status.as_str().to_owned()];
        got.extend(lines(&carried.headers));
        got.push(String::from_utf8(carried.body).unwrap());
        for (what, wanted, found) in [("saw", example.saw, &saw), ("got", example.got, &got)] {
            for line in wanted.lines() {
                let holds = match line.strip_prefix("! ") {
                    Some(absent) => !found.iter().any(|line| line.starts_with(absent)),
                    None => found.iter().any(|found| found == line),
                };
                if !holds {
                    differences.add(format!("{text}\n  {what} `{line}` of\n    {}", found.join("\n    ")));
                }
            }
        }
    }
    differences.finish("examples of filters", 80);
}

fn get(stage: &Stage) -> Exchange {
    stage.exchange("GET", "/a?b=c", "shop.example", Headers::new(), Vec::new())
}

fn hello() -> Response {
    Response::new(Body::full("hello"))
}

#[tokio::test]
async fn the_filters_that_ran_see_the_response_the_last_of_them_first() {
    let stage = Stage::new();
    let trail = |name: &str| format!("appendResponseHeader(\"X-Trail\", \"{name}\")");
    let chain = stage
        .chain(&[trail("a"), trail("b"), "redirectTo(302)".to_owned(), trail("c")].join(" -> "))
        .unwrap();
    let mut exchange = get(&stage);
    let carried = stage.carry(&chain, &mut exchange, hello).await;
    assert!(carried.saw.is_none());
    assert_eq!(texts(&carried.headers, "x-trail"), ["b", "a"]);
    let reason = exchange.notes.reason.unwrap();
    assert_eq!((reason.cause.0, reason.filter), ("filter", "redirectTo"));
}

#[tokio::test]
async fn another_round_ends_the_way_back_where_it_was_asked_for() {
    let stage = Stage::new();
    let chain = stage
        .chain(r#"setResponseHeader("X-A", "1") -> loopbackIfStatus(503, "/sorry") -> status(503)"#)
        .unwrap();
    let mut exchange = get(&stage);
    let carried = stage.carry(&chain, &mut exchange, hello).await;
    assert!(exchange.notes.loop_back);
    assert_eq!((carried.left, exchange.uri.to_string().as_str()), (1, "/sorry?b=c"));
    assert!(!carried.headers.contains_key("x-a"), "it sees the answer of the next round");
}

#[tokio::test]
async fn delays_pass_on_the_clock_of_the_exchange() {
    let stage = Stage::new();
    let chain = stage.chain(r#"backendLatency("2s") -> latency(500)"#).unwrap();
    let before = stage.clock.now();
    stage.carry(&chain, &mut get(&stage), hello).await;
    let took = stage.clock.now().since(before);
    assert!((Duration::from_millis(2500)..Duration::from_millis(2600)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_name_and_its_password_open_a_route() {
    let stage = Stage::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let user = r#"setContextResponseHeader("X-User", "auth-user")"#;
    let filters = format!("{user} -> basicAuth({:?})", file.path().to_str().unwrap());
    let chain = stage.chain(&filters).unwrap();
    let ask = async |authorization: &str| {
        let mut exchange = get(&stage);
        exchange.headers.insert("authorization", authorization.parse().unwrap());
        let carried = stage.carry(&chain, &mut exchange, hello).await;
        let user = carried.headers.get("x-user").map(|user| user.to_str().unwrap().to_owned());
        assert_eq!(user.as_deref(), (carried.status == 200).then_some("ann"));
        (carried.status.as_u16(), exchange.notes.reason.map(|reason| reason.cause.0))
    };
    // ann:secret, twice: once checked, once known; then ann:wrong and bob:secret.
    assert_eq!(ask("Basic YW5uOnNlY3JldA==").await, (200, None));
    assert_eq!(ask("Basic YW5uOnNlY3JldA==").await, (200, None));
    assert_eq!(ask("Basic YW5uOndyb25n").await, (401, Some("http_request_denied")));
    assert_eq!(ask("Basic Ym9iOnNlY3JldA==").await, (401, Some("http_request_denied")));
    assert!(stage.chain("basicAuth(\"/nowhere\")").is_err());
}

#[tokio::test]
async fn limits_count_for_the_route_or_for_each_client() {
    let stage = Stage::new();
    let ask = async |filters: &str, client: &str| {
        let chain = stage.chain(filters).unwrap();
        let mut exchange = get(&stage);
        exchange.headers.insert("x-forwarded-for", client.parse().unwrap());
        exchange.headers.insert("x-key", client.parse().unwrap());
        stage.carry(&chain, &mut exchange, hello).await.status.as_u16()
    };
    // A chain is built for each request, as by a reload: the count goes on.
    let all = r#"ratelimit(1, 3600)"#;
    assert_eq!([ask(all, "10.0.0.1").await, ask(all, "10.0.0.2").await], [200, 429]);
    for each in [
        r#"clientRatelimit(1, "1h")"#,
        r#"clientRatelimit(1, "1h", "X-Key")"#,
        r#"clientRatelimit(1, "1h", "X-Key, X-No")"#,
    ] {
        let asked = [ask(each, "10.0.0.1").await, ask(each, "10.0.0.2").await, ask(each, "10.0.0.1").await];
        assert_eq!(asked, [200, 200, 429], "{each}");
    }
    let unknown = r#"clientRatelimit(0, "1h", "X-No")"#;
    assert_eq!(ask(unknown, "10.0.0.1").await, 200, "who has no such header is not limited");
}

#[tokio::test]
async fn what_is_kept_for_one_plane_is_not_given_by_another() {
    let stage = Stage::new();
    let chain = stage.chain(r#"cache("1m", "0s", "0s")"#).unwrap();
    let ask = async |caller: Option<&str>| {
        let mut exchange = get(&stage);
        let edge = |caller: &str| wire::Edge { caller: caller.to_owned(), callee: "cart".to_owned() };
        exchange.arrival.edge = caller.map(|caller| std::sync::Arc::new(edge(caller)));
        let carried = stage.carry(&chain, &mut exchange, hello).await;
        texts(&carried.headers, "x-cache-status").concat()
    };
    assert_eq!([ask(None).await, ask(None).await], ["MISS", "HIT"]);
    assert_eq!([ask(Some("web")).await, ask(Some("web")).await], ["MISS", "HIT"]);
    assert_eq!(ask(Some("orders")).await, "MISS");
}

#[tokio::test]
async fn what_filters_note_is_what_the_engine_needs() {
    let stage = Stage::new();
    let chain = stage
        .chain(
            r#"tee("https://shadow.example", "^/a", "/b") -> teeLoopback("x") -> disableAccessLog(2, 404)
               -> backendTimeout("2s") -> rateBreaker(3, 10, 500) -> retry(2, "5xx") -> setDynamicBackendUrl("http://u@h:81")"#,
        )
        .unwrap();
    let mut exchange = get(&stage);
    stage.carry(&chain, &mut exchange, hello).await;
    let notes = exchange.notes;
    assert_eq!(notes.mirrors.len(), 2);
    let Mirror::To { origin, target, host } = &notes.mirrors[0] else { panic!("{:?}", notes.mirrors) };
    assert_eq!(
        (origin.to_string().as_str(), target.as_str(), host),
        ("https://shadow.example:443", "/b?b=c", &HeaderValue::from_static("shadow.example"))
    );
    assert_eq!(notes.backend_timeout, Some(Duration::from_secs(2)));
    assert_eq!(notes.breaker.display("").to_string(), "type=rate,window=10,failures=3,timeout=500ms");
    let retry = notes.retry.as_ref().unwrap();
    assert!(retry.retries == 2 && retry.when.has_status(StatusCode::BAD_GATEWAY) && !retry.when.connect);
    assert_eq!(notes.dynamic.url.as_deref(), Some("http://u@h:81"));
    assert_eq!(notes.outgoing_host.as_ref().unwrap(), "h:81");
    let logged = |status: u16| notes.access_log.wants(StatusCode::from_u16(status).unwrap(), false);
    assert_eq!([200, 404, 403, 500].map(logged), [false, false, true, true]);
    assert!(LogChoice::Statuses(true, [50].into()).wants(StatusCode::SERVICE_UNAVAILABLE, false));
}

fn check_refusal(filters: &str, expected: Expect) {
    let stage = Stage::new();
    let refusal = stage.chain(filters).err().unwrap_or_else(|| panic!("{filters} was built"));
    expected.assert_eq(&refusal.diagnostic("r", Some(&Source::new("r.eskip", filters))).render(false));
}

#[test]
fn a_filter_that_cannot_be_built_says_why_and_where() {
    check_refusal(
        "setPath(\"/a\") -> setQurey(\"a\")",
        expect![[r#"
        error: route `r`: filter `setQurey` is not known
         --> r.eskip:1:18
          |
        1 | setPath("/a") -> setQurey("a")
          |                  ^^^^^^^^
          |
          = hint: did you mean `setQuery`?"#]],
    );
    check_refusal(
        "redirectTo(302, \"mailto:a@b\")",
        expect![[r#"
        error: route `r`: filter `redirectTo`: argument 2 (location): `mailto:a@b` is no location; write `https://host/path`, `//host/path` or `/path`
         --> r.eskip:1:17
          |
        1 | redirectTo(302, "mailto:a@b")
          |                 ^^^^^^^^^^^^
          |
          = hint: it is written `redirectTo(code[, location])`"#]],
    );
    check_refusal(
        "setRequestHeader(\"X A\", \"b\")",
        expect![[r#"
        error: route `r`: filter `setRequestHeader`: argument 1 (header): `X A` is no header name
         --> r.eskip:1:18
          |
        1 | setRequestHeader("X A", "b")
          |                  ^^^^^
          |
          = hint: it is written `setRequestHeader(name, value)`"#]],
    );
    check_refusal(
        "modPath(\"(\", \"b\")",
        expect![[r#"
        error: route `r`: filter `modPath`: argument 1 (expression): `(` is no regular expression: unclosed group
         --> r.eskip:1:9
          |
        1 | modPath("(", "b")
          |         ^^^
          |
          = hint: it is written `modPath(expression, replacement)`"#]],
    );
    check_refusal(
        "setQuery()",
        expect![[r#"
        error: route `r`: filter `setQuery`: argument 1 is missing: name
         --> r.eskip:1:1
          |
        1 | setQuery()
          | ^^^^^^^^
          |
          = hint: it is written `setQuery(name[, value])`"#]],
    );
    check_refusal(
        "dropQuery(\"a\", \"b\")",
        expect![[r#"
        error: route `r`: filter `dropQuery`: takes at most 1 argument, got 2
         --> r.eskip:1:1
          |
        1 | dropQuery("a", "b")
          | ^^^^^^^^^
          |
          = hint: it is written `dropQuery(name)`"#]],
    );
    check_refusal(
        "retry(3, \"conect\")",
        expect![[r#"
            error: route `r`: filter `retry`: argument 2 (conditions): `conect` is no condition (did you mean `connect`?); use connect, reset, timeout, any-method, or statuses like 502-504 or 5xx
             --> r.eskip:1:10
              |
            1 | retry(3, "conect")
              |          ^^^^^^^^
              |
              = hint: it is written `retry(times[, conditions[, budget]])`"#]],
    );
    check_refusal(
        "clientRatelimit(-1, \"1m\")",
        expect![[r#"
        error: route `r`: filter `clientRatelimit`: argument 1 (requests) must be a whole number of at least 0, not -1
         --> r.eskip:1:17
          |
        1 | clientRatelimit(-1, "1m")
          |                 ^^
          |
          = hint: it is written `clientRatelimit(max, window[, headers])`"#]],
    );
    check_refusal(
        "consistentHashBalanceFactor(0.5)",
        expect![[r#"
        error: route `r`: filter `consistentHashBalanceFactor`: argument 1 (factor): 0.5 is less than 1
         --> r.eskip:1:29
          |
        1 | consistentHashBalanceFactor(0.5)
          |                             ^^^
          |
          = hint: it is written `consistentHashBalanceFactor(factor)`"#]],
    );
    check_refusal(
        "retry(11)",
        expect![[r#"
        error: route `r`: filter `retry`: argument 1 (times): 11 is more than 10
         --> r.eskip:1:7
          |
        1 | retry(11)
          |       ^^
          |
          = hint: it is written `retry(times[, conditions[, budget]])`"#]],
    );
}

#[test]
fn numbers_and_texts_beyond_their_bounds_are_refused() {
    let stage = Stage::new();
    let mut told = String::new();
    let long = format!("tracingSpanName(\"{}\")", "x".repeat(257));
    for filters in [
        r#"fifo(0, 1, "1s")"#,
        r#"fifo(1, 10000001, "1s")"#,
        r#"fifo(1, 1, "1us")"#,
        r#"fifo(1, 1)"#,
        r#"lifo(1, "1")"#,
        r#"admissionControl("a", "on", "1s", 1, 1, 1, 1, 1)"#,
        r#"admissionControl("a", "active", "1s", 101, 1, 1, 1, 1)"#,
        r#"admissionControl("a", "active", "0s", 1, 1, 1, 1, 1)"#,
        r#"admissionControl("a", "active", "1s", 1, 1, 0, 1, 1)"#,
        r#"admissionControl("a", "active", "1s", 1, 1, 1, 1, 0)"#,
        r#"healthCheck("healthz")"#,
        r#"healthCheck("/", "50ms")"#,
        r#"healthCheck("/", "1s", "2s")"#,
        r#"healthCheck("/", "1s", "1s", 101)"#,
        r#"endpointWeight("http://a", 0)"#,
        r#"endpointCreated("a:80", 1)"#,
        r#"endpointCreated("http://a", "yesterday")"#,
        r#"tracingTagFromResponseIfStatus("a", "b", 500, 499)"#,
        r#"tracingBaggageToTag("")"#,
        long.as_str(),
        r#"jwtValidationKeys("{}")"#,
        r#"jwtValidationKeys("/nowhere/keys.json")"#,
        r#"jwtValidation("login.example")"#,
        r#"maskAccessLogQuery()"#,
    ] {
        let refusal = stage.chain(filters).err().unwrap_or_else(|| panic!("{filters} was built"));
        let said = refusal.to_string().replace(&"x".repeat(257), "xxx");
        told.push_str(said.lines().next().unwrap());
        told.push('\n');
    }
    expect![[r#"
        filter `fifo`: argument 1 (concurrency) must be a whole number of at least 1, not 0
        filter `fifo`: argument 2 (queue size): 10000001 is more than 10000000
        filter `fifo`: argument 3 (timeout): it is less than 1ms
        filter `fifo`: argument 3 is missing: timeout
        filter `lifo`: argument 2 (queue size) must be a number, not a string
        filter `admissionControl`: argument 2 (mode): `on` is no mode, use active, inactive or logInactive
        filter `admissionControl`: argument 4 (slots): 101 is more than 100
        filter `admissionControl`: argument 3 (slot): it must be longer than nothing
        filter `admissionControl`: argument 6 (success threshold): 0 is no share above 0 and up to 1
        filter `admissionControl`: argument 8 (exponent): 0 is not above 0
        filter `healthCheck`: argument 1 (path): `healthz` is no path, write it like /healthz
        filter `healthCheck`: argument 2 (interval): it is not from 100ms to 1h
        filter `healthCheck`: argument 3 (timeout): it is not from 1ms to the interval of 1s
        filter `healthCheck`: argument 4 (unhealthy after): 101 is more than 100
        filter `endpointWeight`: argument 2 (weight): 0 is not from 0.001 to 1000
        filter `endpointCreated`: argument 1 (address): `a:80` is no backend address: it must begin with http://, https:// or h2c://
        filter `endpointCreated`: argument 2 (time): `yesterday` is no time like 2026-01-31T12:00:00Z, nor a number
        filter `tracingTagFromResponseIfStatus`: argument 4 (most status): 499 is less than 500
        filter `tracingBaggageToTag`: argument 1 (item): it is empty
        filter `tracingSpanName`: argument 1 (name): it has 257 bytes, not 1 to 256
        filter `jwtValidationKeys`: argument 1 (jwks): it is no set of keys: `keys` is missing
        filter `jwtValidationKeys`: argument 1 (jwks): keys `/nowhere/keys.json` can't be read: No such file or directory (os error 2)
        filter `jwtValidation`: argument 1 (issuer): `login.example` is no backend address: it must begin with http://, https:// or h2c://
        filter `maskAccessLogQuery`: argument 1 is missing: key
    "#]].assert_eq(&told);
}
