//! Somebody who leaves Skipper: routes as its Kubernetes client writes them, some hundred, and the command line of
//! a usual deployment, word for word. What is there serves as before; what is not is told by name.

mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use support::{Folder, Running, get, taken, test_app, try_get_of};

const SERVICES: [&str; 12] = [
    "cart", "checkout", "search", "orders", "stock", "prices", "reviews", "login", "pages", "mails",
    "images", "feed",
];

/// What a usual deployment starts, its addresses apart.
const COMMAND_LINE: [&str; 40] = [
    "-enable-prometheus-metrics",
    "-metrics-flavour=prometheus",
    "-histogram-metric-buckets=.005,.01,.1,1,10",
    "-serve-host-metrics=false",
    "-serve-route-metrics",
    "-serve-status-code-metric=true",
    "-enable-connection-metrics",
    "-enable-api-usage-monitoring",
    "-api-usage-monitoring-realm-keys=realm",
    "-api-usage-monitoring-client-keys=https://login.shop.example/client, sub",
    "-api-usage-monitoring-realms-tracking-pattern=^services$",
    "-enable-ratelimits",
    "-enable-breakers",
    "-breaker",
    "type=rate,window=300,failures=150,timeout=10s,half-open-requests=30",
    "-breaker",
    "type=disabled,host=127.0.0.1:1",
    "-ratelimits",
    "type=client,max-hits=10000,time-window=1s",
    "-application-log-level=INFO",
    "-access-log-json-enabled",
    "-access-log-strip-query=true",
    "-suppress-route-update-logs=false",
    "-wait-first-route-load",
    "-proxy-preserve-host",
    "-idle-conns-num=64",
    "-close-idle-conns-period=20s",
    "-keepalive-backend=30s",
    "-max-idle-connection-backend",
    "0",
    "-idle-timeout-server=62s",
    "-read-timeout-server=5m",
    "-timeout-backend=10s",
    "-response-header-timeout-backend=1m",
    "-forwarded-headers=X-Forwarded-For,X-Forwarded-Port=443",
    "-default-filters-prepend",
    "enableAccessLog(4, 5) -> lifo(2000, 20000, \"3s\")",
    "-default-filters-append",
    "setResponseHeader(\"X-Moved\", \"yes\") -> jwtMetrics(\"{issuers: ['https://login.shop.example']}\")",
    "-rfc-patch-path",
];

/// Twenty routes for each service: ingresses with their redirect, groups with filters of all kinds.
fn routes(backend: SocketAddr) -> String {
    let mut text = String::from("// Written by the Kubernetes client\n");
    for (at, service) in SERVICES.into_iter().enumerate() {
        let host = format!("Host(/^({service}[.]shop[.]example[.]?(:[0-9]+)?)$/)");
        let both = format!("<roundRobin, \"http://{backend}\", \"http://{backend}\">");
        let one = format!("\"http://{backend}\"");
        let mut add = |id: &str, predicates: &str, filters: &str, target: &str| {
            let _ = write!(text, "kube_{id}__{service}:\n  {host}{predicates}{filters}\n  -> {target};\n\n");
        };
        add("ing_all", " && PathSubtree(\"/\")", "\n  -> flowId(\"reuse\")", &both);
        add(
            "ing_redirect",
            " && PathSubtree(\"/\") && Header(\"X-Forwarded-Proto\", \"http\")",
            "\n  -> redirectTo(308, \"https:\")",
            "<shunt>",
        );
        let filters = [
            "setRequestHeader(\"X-Team\", \"{S}\") -> backendTimeout(\"3s\")",
            "clientRatelimit(5000, \"1m\") -> consecutiveBreaker(15)",
            "ratelimit(10000, \"1s\") -> dropRequestHeader(\"X-Debug\")
  -> apiUsageMonitoring(`{\"application_id\":\"{S}\",\"api_id\":\"api\",\"path_templates\":[\"/api/v2/things/:id\"]}`)",
            "compress(\"application/json\") -> appendResponseHeader(\"Vary\", \"Accept\")",
            "corsOrigin(\"https://shop.example\") -> responseCookie(\"seen\", \"1\", 3600)",
            "modPath(\"^/api/\", \"/\") -> setQuery(\"from\", \"{S}\") -> tracingTag(\"team\", \"{S}\")",
            "fadeIn(\"1m\") -> consistentHashKey(\"${request.header.X-User}\")",
            "admissionControl(\"shop-{S}\", \"active\", \"1s\", 5, 10, 0.1, 0.95, 0.5) -> latency(\"1ms\")",
            "stripQuery() -> maskAccessLogQuery(\"token\") -> preserveHost(\"false\")",
        ];
        for (group, filters) in filters.iter().enumerate() {
            let filters = format!("\n  -> {}", filters.replace("{S}", service));
            let id = |kind: &str| format!("rg_{kind}_{group}");
            let path = format!(" && Path(\"/api/v{group}/things/:id\") && Method(\"GET\")");
            add(
                &id("get"),
                &path,
                &format!("{filters} -> setResponseHeader(\"X-Route\", \"{service}-{group}\")"),
                &both,
            );
            let special = match (at + group) % 4 {
                0 => "Cookie(\"beta\", /^(on|1)$/)",
                1 => "QueryParam(\"debug\")",
                2 => "TrafficSegment(0.0, 0.5)",
                _ => "Weight(3)",
            };
            let path = format!(" && PathRegexp(\"^/api/v{group}/files/[0-9]+\") && {special}");
            add(&id("put"), &path, &filters, &one);
        }
    }
    text
}

#[test]
fn routes_and_flags_of_a_running_skipper_serve_as_they_are() {
    let (held, port) = taken();
    drop(held);
    let mut command = Command::new(test_app());
    command.env("PORT", port.to_string()).env("NAME", "app");
    let mut app = Running::of(command);
    app.wait_for("listens");
    let backend = SocketAddr::from(([127, 0, 0, 1], port));
    let folder = Folder::new();
    folder.write("routes.eskip", &routes(backend));
    let checked = folder.run(&["routes", "check", "routes.eskip"]);
    assert!(checked.ends_with("exit 0\n"), "{checked}");
    let start = |more: &[&str]| {
        let first =
            ["gateway", "-address=127.0.0.1:0", "-support-listener=127.0.0.1:0", "-routes-file=routes.eskip"];
        folder.start(&[&first[..], &COMMAND_LINE[..], more].concat())
    };
    let mut gateway = start(&[]);
    gateway.wait_for("note: -enable-prometheus-metrics, -metrics-flavour");
    let address = gateway.address("gateway http://");
    gateway.wait_for("240 routes serve");
    for (at, service) in SERVICES.into_iter().enumerate() {
        let group = at % 9;
        let ask = |path: &str, headers: &str| {
            try_get_of(address, &format!("{service}.shop.example"), path, headers).expect("an answer")
        };
        let answer = ask(&format!("/api/v{group}/things/7?a=b"), "");
        assert_eq!(answer.status, 200, "{service}: {}", answer.head);
        let said = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        assert_eq!((said("x-route"), said("x-moved")), (format!("{service}-{group}"), "yes".into()));
        let seen = answer.body.to_ascii_lowercase();
        assert!(seen.contains("x-forwarded-port: 443"), "{seen}");
        // The flag keeps the Host, and one route says otherwise.
        let host =
            if group == 8 { format!("host: {backend}") } else { format!("host: {service}.shop.example") };
        assert!(seen.contains(&host), "no `{host}` in:\n{seen}");
        let answer = ask("/x", "X-Forwarded-Proto: http\r\n");
        assert_eq!((answer.status, answer.header("location").is_some()), (308, true), "{service}");
    }
    assert_eq!(get(address, "/nobody").status, 404);
    // Whoever calls is counted by his token: {"realm": "services", "sub": "cart"}.
    let token = "Authorization: Bearer e30.eyJyZWFsbSI6InNlcnZpY2VzIiwic3ViIjoiY2FydCJ9.c2ln\r\n";
    let answer = try_get_of(address, "search.shop.example", "/api/v2/things/7", token);
    assert_eq!(answer.expect("an answer").status, 200);
    let counted = get(gateway.address("support http://"), "/metrics").body;
    for line in [
        "apiUsageMonitoring.custom.search.{no-tag}.api.GET.api/v2/things/{id}.*.*.http2xx_count\"} 2",
        "apiUsageMonitoring.custom.search.{no-tag}.api.*.*.{unknown}.{unknown}.http_count\"} 1",
        "apiUsageMonitoring.custom.search.{no-tag}.api.*.*.services.cart.http_count\"} 1",
        "jwtMetrics.custom.GET.search_shop_example.200.missing-token\"} 1",
        "jwtMetrics.custom.GET.search_shop_example.200.missing-issuer\"} 1",
    ] {
        assert!(counted.contains(line), "{line} in\n{counted}");
    }
    // What Skipper does and we do not is refused before anything serves.
    let mut refused = start(&["-oidc-secrets-file=/tmp/x"]);
    refused.wait_for("Skipper's flag `-oidc-secrets-file` is not here");
    assert_eq!(refused.wait(), 2);
}
