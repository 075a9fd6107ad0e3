//! Counts of who uses which endpoint, and of requests without the token they should bring.

use crate::world::{Setup, World};
use base::ClockHand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proxy::predicates::Regexp;
use proxy::{Callers, Handles};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use testkit::{Backend, Reply};

/// A token that nobody has signed.
fn token(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

async fn world(filters: &str, realm_keys: &[&str], backend: &Backend) -> World {
    let callers = Callers {
        realm_keys: realm_keys.iter().map(|&key| key.to_owned()).collect(),
        client_keys: vec!["client".into(), "sub".into()],
        realms: Regexp::new("services").unwrap(),
    };
    let handles = Handles { callers: Arc::new(callers), ..Handles::default() };
    let setup = Setup { by_hand: true, handles, ..Setup::default() };
    World::with(setup, &format!(r#"r: * -> {filters} -> "{}""#, backend.url())).await
}

/// All numbers under keys that begin with this, without what all have.
fn counts(world: &World, prefix: &str) -> String {
    let page = world.plane.builder().metrics.expose();
    let mut told = String::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("skipper_custom_total{key=\"") else { continue };
        if let Some((key, number)) = rest.strip_prefix(prefix).and_then(|rest| rest.split_once("\"}")) {
            let _ = writeln!(told, "{key}{number}");
        }
    }
    told
}

fn api(fields: &Value) -> String {
    let mut api = json!({"application_id": "shop", "api_id": "orders", "path_templates": ["orders/:id"]});
    api.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    format!("{:?}", api.to_string())
}

#[tokio::test]
async fn requests_are_counted_by_their_path_template_and_how_they_ended() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/orders/7" => Reply::ok("x"),
        _ => Reply::status(503),
    })
    .await;
    let tagged =
        api(&json!({"tag": "blue", "path_templates": ["/orders/all/", "orders/{order}", "orders/{id}"]}));
    let world = world(&format!("apiUsageMonitoring({tagged})"), &[], &backend).await;
    for request in ["GET /orders/7", "GET /orders//7/", "PATCH /orders/all", "BREW /orders/7", "GET /carts"] {
        world.ask(request).await;
    }
    let expected = "\
        blue.orders.GET.orders/{order}.*.*.http2xx_count 1\n\
        blue.orders.GET.orders/{order}.*.*.http5xx_count 1\n\
        blue.orders.GET.orders/{order}.*.*.http_count 2\n\
        blue.orders.PATCH.orders/all.*.*.http5xx_count 1\n\
        blue.orders.PATCH.orders/all.*.*.http_count 1\n\
        blue.orders.{unknown}.orders/{order}.*.*.http2xx_count 1\n\
        blue.orders.{unknown}.orders/{order}.*.*.http_count 1\n\
        {no-tag}.{unknown}.GET.{no-match}.*.*.http5xx_count 1\n\
        {no-tag}.{unknown}.GET.{no-match}.*.*.http_count 1\n";
    assert_eq!(counts(&world, "apiUsageMonitoring.custom.shop."), expected);
}

#[tokio::test]
async fn durations_are_those_from_the_filter_to_the_answers_head() {
    let hand: Arc<OnceLock<ClockHand>> = Arc::default();
    let moved = hand.clone();
    let backend = Backend::start(move |_| {
        moved.get().unwrap().advance(Duration::from_millis(250));
        Reply::ok("x")
    })
    .await;
    let world = world(&format!("apiUsageMonitoring({})", api(&json!({}))), &["realm"], &backend).await;
    assert!(hand.set(world.hand.clone()).is_ok());
    assert_eq!(world.ask("GET /orders/7").await.status, 200);
    let prefix = "apiUsageMonitoring.custom.shop.{no-tag}.orders.";
    let latency = format!("key=\"{prefix}GET.orders/{{id}}.*.*.latency\"");
    for (line, expected) in [
        (format!("skipper_custom_duration_seconds_sum{{{latency}}}"), 0.25),
        (format!("skipper_custom_duration_seconds_count{{{latency}}}"), 1.0),
        (format!("skipper_custom_total{{key=\"{prefix}*.*.{{unknown}}.{{unknown}}.latency_sum\"}}"), 0.25),
    ] {
        assert!((world.count(&line) - expected).abs() < 1e-9, "{line} {}", world.count(&line));
    }
}

#[tokio::test]
async fn callers_are_counted_by_what_their_tokens_say() {
    let backend = Backend::saying("x").await;
    let some = api(&json!({"client_tracking_pattern": "^(cart|7)$"}));
    let world = world(&format!("apiUsageMonitoring({some})"), &["realm", "authority"], &backend).await;
    for (claims, caller) in [
        (json!({"realm": "services", "client": "cart"}), "services.cart"),
        (json!({"realm": "services", "sub": "cart"}), "services.cart"),
        (json!({"authority": "my-services", "client": 7, "sub": "cart"}), "my-services.7"),
        (json!({"realm": "services", "client": "users"}), "services.{no-match}"),
        (json!({"realm": "services"}), "services.{unknown}"),
        (json!({"realm": "people", "client": "cart"}), "people.{all}"),
        (json!({"client": "cart"}), "{unknown}.{unknown}"),
    ] {
        let key = format!(
            "skipper_custom_total{{key=\"apiUsageMonitoring.custom.shop.{{no-tag}}.orders.*.*.{caller}.http2xx_count\"}}"
        );
        let before = world.count(&key);
        world.ask(&format!("GET /orders/7\nAuthorization: Bearer {}", token(&claims))).await;
        assert!((world.count(&key) - before - 1.0).abs() < 1e-9, "{claims} {caller}");
    }
    for header in
        ["", "\nAuthorization: Basic eA==", "\nAuthorization: Bearer x", "\nAuthorization: Bearer a.?.c"]
    {
        world.ask(&format!("GET /elsewhere{header}")).await;
    }
    let elsewhere = counts(&world, "apiUsageMonitoring.custom.shop.{no-tag}.{unknown}.*.*.");
    assert!(elsewhere.contains("{unknown}.{unknown}.http_count 4\n"), "{elsewhere}");
}

#[tokio::test]
async fn callers_are_not_counted_unless_that_is_wanted() {
    let backend = Backend::saying("x").await;
    let (none, all) = (api(&json!({"client_tracking_pattern": ""})), api(&json!({})));
    for (api, realm_keys) in [(&none, &["realm"][..]), (&all, &[])] {
        let world = world(&format!("apiUsageMonitoring({api})"), realm_keys, &backend).await;
        let token = token(&json!({"realm": "services", "client": "cart"}));
        world.ask(&format!("GET /orders/7\nAuthorization: Bearer {token}")).await;
        let told = counts(&world, "apiUsageMonitoring.custom.shop.{no-tag}.orders.");
        assert!(told.contains("GET.orders/{id}") && !told.contains("services"), "{told}");
    }
}

#[tokio::test]
async fn callers_that_make_up_names_fill_no_memory() {
    let backend = Backend::saying("x").await;
    let world = world(&format!("apiUsageMonitoring({})", api(&json!({}))), &["realm"], &backend).await;
    let mut client = world.client().await;
    for number in 0..1100 {
        let name = if number == 0 { "x".repeat(600) } else { number.to_string() };
        let token = token(&json!({"realm": "services", "client": name}));
        let request = format!("GET /orders/7 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(client.ask(&request).await.status, 200);
    }
    let told = counts(&world, "apiUsageMonitoring.custom.shop.{no-tag}.orders.*.*.");
    let callers = told.lines().filter(|line| line.contains(".http_count ")).count();
    assert_eq!(callers, 1000);
    assert!(told.contains("{other}.{other}.http_count 101\n"), "one was too long, a thousand have places");
}

#[tokio::test]
async fn routes_share_what_they_count_and_applications_may_be_several() {
    let backend = Backend::saying("x").await;
    let apis = [
        api(&json!({"application_id": "shop:blue:x"})),
        api(&json!({"application_id": "pay", "api_id": "pay", "path_templates": ["pay"]})),
    ]
    .join(", ");
    let routes = format!(
        r#"a: Path("/a") -> setPath("/orders/7") -> apiUsageMonitoring({apis}) -> "{0}";
           b: Path("/b") -> apiUsageMonitoring({apis}) -> setPath("/pay") -> "{0}";
           c: Path("/c") -> apiUsageMonitoring({apis}) -> "{0}""#,
        backend.url()
    );
    let world = World::new(&routes).await;
    for path in ["/a", "/a", "/b", "/c"] {
        assert_eq!(world.ask(&format!("GET {path}")).await.status, 200);
    }
    let told = counts(&world, "apiUsageMonitoring.custom.");
    for line in [
        "shop.blue.orders.GET.orders/{id}.*.*.http_count 2",
        "pay.{no-tag}.pay.GET.pay.*.*.http_count 1",
        "{unknown}.{no-tag}.{unknown}.GET.{no-match}.*.*.http_count 1",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in\n{told}");
    }
}

/// What is counted of a request with these filters, header lines and this status of the answer.
async fn tokens(filters: &str, headers: &str, status: u16) -> String {
    let backend = Backend::start(move |_| Reply::status(status)).await;
    let world = world(filters, &[], &backend).await;
    world.ask(&format!("GET /\nHost: foo.test:90{headers}")).await;
    counts(&world, "jwtMetrics.custom.").trim_end().to_owned()
}

#[tokio::test]
async fn requests_without_the_token_they_should_bring_are_counted() {
    let issuers = r#"jwtMetrics("{issuers: [foo, bar]}")"#;
    let claims = r#"jwtMetrics("{claims: [{iss: foo, level: 2}, {iss: bar}]}")"#;
    let both = r#"jwtMetrics("{issuers: [foo], claims: [{level: 2}]}")"#;
    let bearing = |claims: Value| format!("\nAuthorization: Bearer {}", token(&claims));
    for (filters, headers, status, expected) in [
        (issuers, String::new(), 401, ""),
        (issuers, String::new(), 200, "200.missing-token 1"),
        ("jwtMetrics()", String::new(), 503, "503.missing-token 1"),
        ("jwtMetrics()", "\nAuthorization: Basic eA==".into(), 200, "200.invalid-token-type 1"),
        ("jwtMetrics()", "\nAuthorization: Bearer x".into(), 200, ""),
        (issuers, "\nAuthorization: Bearer x".into(), 200, "200.invalid-token 1"),
        (claims, "\nAuthorization: Bearer x".into(), 200, "200.invalid-token 1"),
        (issuers, bearing(json!({"sub": "baz"})), 200, "200.missing-issuer 1"),
        (issuers, bearing(json!({"iss": "baz"})), 200, "200.invalid-issuer 1"),
        (issuers, bearing(json!({"iss": "bar"})), 200, ""),
        (claims, bearing(json!({"iss": "foo", "level": 2.0})), 200, ""),
        (claims, bearing(json!({"iss": "bar", "more": []})), 200, ""),
        (claims, bearing(json!({"iss": "foo", "level": 3})), 200, "200.invalid-claims 1"),
        (both, bearing(json!({"level": 1})), 200, "200.invalid-claims 1\n200.missing-issuer 1"),
    ] {
        let told = tokens(filters, &headers, status).await;
        let expected: Vec<_> = expected.lines().map(|line| format!("GET.foo_test_90.{line}")).collect();
        assert_eq!(told, expected.join("\n"), "{filters} {headers} {status}");
    }
}

#[tokio::test]
async fn some_requests_need_no_token() {
    let free = |config: &str| format!("jwtMetrics(\"{{issuers: [foo], {config}}}\")");
    for (filters, is_counted) in [
        (free("optOutAnnotations: [public, open]"), true),
        (format!(r#"annotate("open", "all may") -> {}"#, free("optOutAnnotations: [public, open]")), false),
        (format!(r#"{} -> annotate("open", "all may")"#, free("optOutAnnotations: [open]")), false),
        (format!(r#"annotate("closed", "") -> {}"#, free("optOutAnnotations: [open]")), true),
        (
            format!(
                r#"setContextRequestHeader("x", "auth-user") -> {}"#,
                free("optOutStateBag: [auth-user]")
            ),
            true,
        ),
        (free("optOutHosts: ['^.+[.]test:90$', 'x']"), false),
        (free("optOutHosts: ['^exact[.]test$']"), true),
    ] {
        let told = tokens(&filters, "", 200).await;
        assert_eq!(!told.is_empty(), is_counted, "{filters}: {told}");
    }
}

#[tokio::test]
async fn hosts_that_are_made_up_fill_no_memory() {
    let backend = Backend::saying("x").await;
    let world = world("jwtMetrics()", &[], &backend).await;
    let mut client = world.client().await;
    for number in 0..1100 {
        let host = if number == 0 { "x".repeat(600) } else { format!("h{number}") };
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status, 200);
    }
    let told = counts(&world, "jwtMetrics.custom.");
    assert_eq!(told.lines().count(), 1000);
    assert!(told.contains("{other}.{other}.200.missing-token 101\n"));
}

#[tokio::test]
async fn the_span_says_what_was_wrong_with_the_token() {
    let backend = Backend::saying("x").await;
    let world = world("jwtMetrics()", &[], &backend).await;
    world.ask("GET /").await;
    assert_eq!(world.records(1).await[0]["tags"], json!({"jwt": "missing-token"}));
}

#[tokio::test]
async fn a_mistake_in_the_settings_of_a_count_is_said() {
    let world = World::new("").await;
    for (filters, expected) in [
        ("apiUsageMonitoring()", "argument 1 is missing: API"),
        (r#"apiUsageMonitoring("[")"#, "argument 1 (API): EOF while parsing"),
        (r#"apiUsageMonitoring("{}")"#, "argument 1 (API): missing field `application_id`"),
        (
            &format!("apiUsageMonitoring({})", api(&json!({"apiid": ""}))),
            "argument 1 (API): unknown field `apiid`",
        ),
        (
            &format!("apiUsageMonitoring({0}, {1})", api(&json!({})), api(&json!({"api_id": ""}))),
            "argument 2 (API): `api_id` is empty",
        ),
        (
            &format!("apiUsageMonitoring({})", api(&json!({"path_templates": ["a", ""]}))),
            "a path template is empty",
        ),
        (
            &format!("apiUsageMonitoring({})", api(&json!({"client_tracking_pattern": "["}))),
            "`client_tracking_pattern`: `[` is no regular expression",
        ),
        (
            &format!("apiUsageMonitoring({})", api(&json!({"path_templates": vec!["a"; 2001]}))),
            "there are 2001 path templates, at most 2000 are taken",
        ),
        (r#"jwtMetrics("iss")"#, "argument 1 (config): invalid type: string \"iss\", expected a map"),
        (
            r#"jwtMetrics("{issuer: [a]}")"#,
            "argument 1 (config): unknown field `issuer`, expected one of `issuers`",
        ),
        (r#"jwtMetrics("{issuers: [a")"#, "argument 1 (config): "),
        (r#"jwtMetrics("{optOutHosts: ['[']}")"#, "argument 1 (config): `[` is no regular expression"),
        ("jwtMetrics(1)", "argument 1 (config) must be a string"),
        (r#"jwtMetrics("", "")"#, "takes at most 1 argument, got 2"),
    ] {
        let told = world.table(&format!("r: * -> {filters} -> <shunt>")).invalid;
        let told = told.first().map(|invalid| invalid.diagnostic.message.clone()).unwrap_or_default();
        assert!(told.contains(expected), "{filters}: {told}");
    }
}
