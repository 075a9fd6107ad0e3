//! Spans in the formats of others, and what they become: OTLP in JSON and protobuf, Zipkin's version 1 in JSON and
//! thrift; and what OTLP's API answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Clock, UnixTime};
use expect_test::{Expect, expect};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use telemetry::Guard;
use telemetry::otlp;
use telemetry::spans::{Settings, Span, SpanStore};
use telemetry::zipkin::{decode_json_v1, decode_thrift, write_span};
use wire::{Body, Request};

fn check(spans: &[Span], expected: Expect) {
    let mut text = String::new();
    for span in spans {
        write_span(&mut text, span);
        text.push('\n');
    }
    expected.assert_eq(&text);
}

const OTLP: &str = r#"{"resourceSpans": [{
    "scopeSpans": [{
        "spans": [{
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
            "parentSpanId": "EEE19B7EC3C1B173", "name": "GET /cart", "kind": 3,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000500,
            "attributes": [
                {"key": "server.address", "value": {"stringValue": "Stock.internal"}},
                {"key": "server.port", "value": {"intValue": "8080"}},
                {"key": "retries", "value": {"intValue": 3}}, {"key": "ratio", "value": {"doubleValue": 0.5}},
                {"key": "error", "value": {"boolValue": false}},
                {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": true}]}}},
                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"bytesValue": "AQI="}}]}}}
            ],
            "events": [
                {"timeUnixNano": "1544712660500000000", "name": "queued"},
                {"timeUnixNano": "1544712660600000000", "name": "tried",
                 "attributes": [{"key": "attempt", "value": {"intValue": "2"}}]}
            ],
            "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b170"}],
            "status": {"code": "STATUS_CODE_ERROR", "message": "no \"stock\""}
        }, {"traceId": "00", "spanId": "00", "name": "no ids"}],
        "scope": {"name": "shop", "version": "2"}
    }],
    "resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "Cart"}},
        {"key": "host.name", "value": {"stringValue": "h1"}}
    ]}
}]}"#;

#[test]
fn a_span_of_opentelemetry_becomes_one_of_ours() {
    let decoded = otlp::decode_json(OTLP.as_bytes()).unwrap();
    assert_eq!(decoded.rejected, 1);
    check(
        &decoded.spans,
        expect![[r#"
        {"traceId":"5b8efff798038103d269b633813fc60c","parentId":"eee19b7ec3c1b173","id":"eee19b7ec3c1b174","kind":"CLIENT","name":"get /cart","timestamp":1544712660000000,"duration":1000000,"localEndpoint":{"serviceName":"cart"},"remoteEndpoint":{"serviceName":"stock.internal","port":8080},"annotations":[{"timestamp":1544712660500000,"value":"queued"},{"timestamp":1544712660600000,"value":"\"tried\": {\"attempt\":2}"}],"tags":{"error":"no \"stock\"","host.name":"h1","list":"[\"a\",true]","map":"{\"k\":\"AQI=\"}","otel.links":"5b8efff798038103d269b633813fc60c-eee19b7ec3c1b170","otel.scope.name":"shop","otel.scope.version":"2","otel.status_code":"ERROR","ratio":"0.5","retries":"3","server.address":"Stock.internal","server.port":"8080"}}
    "#]],
    );
}

/// A field of protobuf with bytes.
fn bytes(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn attribute(name: &str, text: &str) -> Vec<u8> {
    [bytes(1, name), bytes(2, bytes(1, text))].concat()
}

/// A message of OTLP with one span, whose resource stands behind it.
fn protobuf() -> Vec<u8> {
    let time = |number: u8, time: u64| [&[number << 3 | 1][..], &time.to_le_bytes()].concat();
    let span = [
        bytes(1, [7; 16]),
        bytes(2, [1; 8]),
        bytes(5, "query"),
        vec![6 << 3, 3],
        time(7, 1_544_712_660_000_000_000),
        time(8, 1_544_712_660_000_000_900),
        bytes(9, attribute("db.system", "mysql")),
        bytes(15, [&[3 << 3, 2][..], &bytes(2, "gone")].concat()),
    ];
    let scope = [bytes(2, span.concat()), bytes(1, bytes(1, "db"))].concat();
    bytes(1, [bytes(2, scope), bytes(1, bytes(1, attribute("service.name", "Cart")))].concat())
}

#[test]
fn a_span_in_protobuf_is_read_wherever_its_resource_stands() {
    let decoded = otlp::decode_proto(&protobuf()).unwrap();
    check(
        &decoded.spans,
        expect![[r#"
        {"traceId":"07070707070707070707070707070707","id":"0101010101010101","kind":"CLIENT","name":"query","timestamp":1544712660000000,"duration":1,"localEndpoint":{"serviceName":"cart"},"remoteEndpoint":{"serviceName":"mysql"},"tags":{"db.system":"mysql","error":"gone","otel.scope.name":"db","otel.status_code":"ERROR"}}
    "#]],
    );
}

const V1: &str = r#"[{
    "traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "2", "parentId": "1", "name": "GET",
    "timestamp": 1472470996199000, "duration": 207000,
    "annotations": [
        {"timestamp": 1472470996199000, "value": "cs", "endpoint": {"serviceName": "Web", "ipv4": "127.0.0.1"}},
        {"timestamp": 1472470996238000, "value": "sr", "endpoint": {"serviceName": "app", "port": 8080}},
        {"timestamp": 1472470996250000, "value": "cache miss", "endpoint": {"serviceName": "app"}},
        {"timestamp": 1472470996403000, "value": "ss", "endpoint": {"serviceName": "app", "port": 8080}},
        {"timestamp": 1472470996406000, "value": "cr", "endpoint": {"serviceName": "Web"}}
    ],
    "binaryAnnotations": [
        {"key": "http.path", "value": "/api", "endpoint": {"serviceName": "Web"}},
        {"key": "sa", "value": true, "endpoint": {"serviceName": "app", "ipv4": "192.168.99.101"}},
        {"key": "tries", "value": 3, "endpoint": {"serviceName": "app"}}
    ]
}, {
    "traceId": "1", "id": "3", "name": "local",
    "timestamp": 5, "duration": 7, "binaryAnnotations": [{"key": "lc", "value": "", "endpoint": {"serviceName": "job"}}]
}, {
    "traceId": "1", "id": "4", "name": "server alone",
    "annotations": [{"timestamp": 9, "value": "sr", "endpoint": {"serviceName": "app"}}]
}]"#;

#[test]
fn a_span_of_version_1_is_taken_apart() {
    check(
        &decode_json_v1(V1.as_bytes()).unwrap(),
        expect![[r#"
        {"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"0000000000000001","id":"0000000000000002","kind":"CLIENT","name":"get","timestamp":1472470996199000,"duration":207000,"localEndpoint":{"serviceName":"web","ipv4":"127.0.0.1"},"remoteEndpoint":{"serviceName":"app","ipv4":"192.168.99.101"},"tags":{"http.path":"/api"}}
        {"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"0000000000000001","id":"0000000000000002","kind":"SERVER","name":"get","timestamp":1472470996238000,"duration":165000,"localEndpoint":{"serviceName":"app","port":8080},"annotations":[{"timestamp":1472470996250000,"value":"cache miss"}],"tags":{"tries":"3"},"shared":true}
        {"traceId":"0000000000000001","id":"0000000000000003","name":"local","timestamp":5,"duration":7,"localEndpoint":{"serviceName":"job"}}
        {"traceId":"0000000000000001","id":"0000000000000004","kind":"SERVER","name":"server alone","timestamp":9,"localEndpoint":{"serviceName":"app"},"shared":true}
    "#]],
    );
}

#[test]
fn a_span_in_thrift_is_read() {
    let field = |kind: u8, number: u16, value: &[u8]| [&[kind][..], &number.to_be_bytes(), value].concat();
    let long = |number: u16, value: u64| field(10, number, &value.to_be_bytes());
    let text = |number: u16, value: &str| {
        field(11, number, &[&(value.len() as u32).to_be_bytes()[..], value.as_bytes()].concat())
    };
    let list = |number: u16, entries: &[Vec<u8>]| {
        field(15, number, &[&[12][..], &(entries.len() as u32).to_be_bytes(), &entries.concat()].concat())
    };
    let place =
        [field(8, 1, &[127, 0, 0, 1]), field(6, 2, &8080u16.to_be_bytes()), text(3, "Web"), vec![0]].concat();
    let annotation = [long(1, 5), text(2, "cs"), field(12, 3, &place), vec![0]].concat();
    let number =
        [text(1, "tries"), text(2, "\0\0\0\u{7}"), field(8, 3, &3u32.to_be_bytes()), vec![0]].concat();
    let unknown = field(13, 99, &[11, 3, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 9]);
    let span = [
        long(1, 0x4848_5a39_53bb_6124),
        text(3, "GET"),
        unknown,
        long(4, 2),
        list(6, &[annotation]),
        list(8, &[number]),
        field(2, 9, &[1]),
        long(12, 0x463a_c35c_9f64_13ad),
        vec![0],
    ];
    let message = [&[12, 0, 0, 0, 1][..], &span.concat()].concat();
    check(
        &decode_thrift(&message).unwrap(),
        expect![[r#"
        {"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"0000000000000002","kind":"CLIENT","name":"get","timestamp":5,"localEndpoint":{"serviceName":"web","ipv4":"127.0.0.1","port":8080},"tags":{"tries":"7"},"debug":true}
    "#]],
    );
    for end in 0..message.len() {
        assert!(decode_thrift(&message[..end]).is_err(), "{end}");
    }
}

/// What the API answers: status, type, body; of gRPC its status.
async fn answered(path: &str, kind: &'static str, body: Vec<u8>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::by_hand(UnixTime::default());
    let (store, _) = SpanStore::open(dir.path(), Settings::default(), clock).unwrap();
    let api = otlp::Api::new(store.clone(), Guard::default());
    let mut request = Request::new(Body::full(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost:4318"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let (head, body) = api.answer(request).await.into_parts();
    let whole = http_body_util::BodyExt::collect(body).await.unwrap();
    let field = |fields: &http::HeaderMap, name: &str| {
        fields.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let headers: http::HeaderMap = head.headers.into();
    let grpc = whole.trailers().and_then(|trailers| field(trailers, "grpc-status"));
    let grpc = grpc
        .or_else(|| field(&headers, "grpc-status"))
        .map_or(String::new(), |status| format!(" grpc {status}"));
    store.flush().await;
    let kept = store.counts().kept;
    let body = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
    format!(
        "{}{grpc} {} {body:?}, {kept} kept",
        head.status.as_u16(),
        field(&headers, "content-type").unwrap_or_default()
    )
}

#[tokio::test]
async fn otlp_answers_in_the_form_of_the_call() {
    let check = async |path: &str, kind: &'static str, body: Vec<u8>, expected: Expect| {
        expected.assert_eq(&answered(path, kind, body).await);
    };
    check("/v1/traces", "application/json", OTLP.into(), expect![[r#"200 application/json "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"spans without the id of a trace or of their own\"}}", 1 kept"#]]).await;
    check(
        "/v1/traces",
        "application/x-protobuf",
        protobuf(),
        expect![[r#"200 application/x-protobuf "", 1 kept"#]],
    )
    .await;
    check("/v1/traces", "application/x-protobuf", vec![0x0a, 0xff], expect![[r#"400 application/x-protobuf "\u{8}\u{3}\u{12},the protobuf is malformed: it ends too early", 0 kept"#]]).await;
    check("/v1/traces", "application/json", b"{\"resourceSpans\": 1}".to_vec(), expect![[r#"400 application/json "{\"code\":3,\"message\":\"Expected an array but was NUMBER at $.resourceSpans\"}", 0 kept"#]]).await;
    check("/v1/traces", "text/plain", OTLP.into(), expect![[r#"415 application/json "{\"code\":3,\"message\":\"the body has to be `application/x-protobuf` or `application/json`\"}", 0 kept"#]]).await;
    check(
        "/v1/metrics",
        "application/json",
        OTLP.into(),
        expect![[
            r#"404 application/json "{\"code\":12,\"message\":\"only traces are taken here\"}", 0 kept"#
        ]],
    )
    .await;
    let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let message = protobuf();
    let framed = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()][..], &message].concat();
    check(
        export,
        "application/grpc",
        framed.clone(),
        expect![[r#"200 grpc 0 application/grpc "\0\0\0\0\0", 1 kept"#]],
    )
    .await;
    check(
        export,
        "application/grpc",
        framed[..9].to_vec(),
        expect![[r#"200 grpc 3 application/grpc "", 0 kept"#]],
    )
    .await;
    check("/a/B", "application/grpc", framed, expect![[r#"200 grpc 12 application/grpc "", 0 kept"#]]).await;
}
