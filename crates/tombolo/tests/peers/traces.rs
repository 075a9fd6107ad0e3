//! Real clients report spans: py-zipkin in JSON and protobuf, the exporters of `OpenTelemetry` in Python for OTLP over
//! HTTP and gRPC, zipkin-js and `OpenTelemetry` in Node. What they reported is asked for over Zipkin's API.

use super::{Running, root};
use std::process::Command;
use std::time::{Duration, Instant};

const PYTHON: &str = r#"
import sys, requests
zipkin, otlp, grpc = sys.argv[1:4]

from py_zipkin.zipkin import zipkin_span
from py_zipkin.encoding import Encoding
from py_zipkin.transport import BaseTransportHandler
from py_zipkin import Kind

class Transport(BaseTransportHandler):
    def __init__(self, kind):
        self.kind = kind
    def get_max_payload_bytes(self):
        return None
    def send(self, payload):
        headers = {"Content-Type": self.kind}
        requests.post(zipkin + "/api/v2/spans", data=payload, headers=headers).raise_for_status()

for name, encoding, kind in [
    ("py-json", Encoding.V2_JSON, "application/json"),
    ("py-proto", Encoding.V2_PROTO3, "application/x-protobuf"),
]:
    with zipkin_span(service_name=name, span_name="Outer", transport_handler=Transport(kind), sample_rate=100.0,
                     encoding=encoding, port=8080, kind=Kind.SERVER, use_128bit_trace_id=True) as outer:
        outer.update_binary_annotations({"path": "/" + name})
        with zipkin_span(service_name=name, span_name="inner"):
            pass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.trace import SpanKind, Status, StatusCode
from grpc import Compression as GrpcCompression

for name, exporter in [
    ("py-otlp-http", OverHttp(endpoint=otlp + "/v1/traces", compression=Compression.Gzip)),
    ("py-otlp-grpc", OverGrpc(endpoint=grpc, insecure=True)),
    ("py-otlp-gzip", OverGrpc(endpoint=grpc, insecure=True, compression=GrpcCompression.Gzip)),
]:
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("outer", kind=SpanKind.SERVER) as outer:
        outer.set_attribute("path", "/" + name)
        outer.add_event("happened", {"times": 2})
        outer.set_status(Status(StatusCode.ERROR, "broken"))
    provider.shutdown()
"#;

const NODE: &str = r#"
const [zipkin, otlp, grpc] = process.argv.slice(2);
const { Tracer, ExplicitContext, BatchRecorder, jsonEncoder } = require("zipkin");
const { HttpLogger } = require("zipkin-transport-http");
for (const [name, path, encoder] of [
    ["js-v2", "/api/v2/spans", jsonEncoder.JSON_V2], ["js-v1", "/api/v1/spans", jsonEncoder.JSON_V1],
]) {
    const logger = new HttpLogger({ endpoint: zipkin + path, jsonEncoder: encoder, httpInterval: 10 });
    const tracer = new Tracer({
        ctxImpl: new ExplicitContext(), recorder: new BatchRecorder({ logger }), localServiceName: name,
    });
    tracer.local("outer", () => tracer.recordBinary("path", "/" + name));
}
const { BasicTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const exporters = {
    "js-otlp-json": new (require("@opentelemetry/exporter-trace-otlp-http").OTLPTraceExporter)({ url: otlp + "/v1/traces" }),
    "js-otlp-proto": new (require("@opentelemetry/exporter-trace-otlp-proto").OTLPTraceExporter)({ url: otlp + "/v1/traces" }),
    "js-otlp-grpc": new (require("@opentelemetry/exporter-trace-otlp-grpc").OTLPTraceExporter)({ url: grpc }),
    "js-zipkin": new (require("@opentelemetry/exporter-zipkin").ZipkinExporter)({ url: zipkin + "/api/v2/spans" }),
};
(async () => {
    for (const [name, exporter] of Object.entries(exporters)) {
        const resource = resourceFromAttributes({ "service.name": name });
        const provider = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(exporter)] });
        const span = provider.getTracer("test").startSpan("outer");
        span.setAttribute("path", "/" + name);
        span.end();
        await provider.forceFlush();
        await provider.shutdown();
    }
})();
"#;

fn run(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{said}");
    said
}

#[test]
#[ignore = "needs the clients that ./check installs"]
fn real_clients_report_spans() {
    let ports: Vec<u16> = (0..3).map(|_| super::port()).collect();
    let folder = tempfile::tempdir().unwrap();
    let at = |place: usize| format!("127.0.0.1:{}", ports[place]);
    let manifest = format!(
        "traces: {{zipkin: '{}', otlp_http: '{}', otlp_grpc: '{}'}}\n\
         gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n",
        at(0),
        at(1),
        at(2)
    );
    std::fs::write(folder.path().join("tombolo.yaml"), manifest).unwrap();
    let mut running = Running::start(folder.path(), &["up"]);
    running.wait_for("  zipkin   http://");
    let urls: Vec<String> = (0..3).map(|place| format!("http://{}", at(place))).collect();
    let clients = root().join("target/clients");
    run(Command::new("timeout")
        .arg("120")
        .arg(clients.join("python/bin/python"))
        .args(["-c", PYTHON])
        .args(&urls));
    let script = clients.join("node/traces.js");
    std::fs::write(&script, NODE).unwrap();
    run(Command::new("timeout").args(["120", "node"]).arg(&script).args(&urls));

    let ask = |path: &str| run(Command::new("curl").args(["-sS", "-m", "20", &format!("{}{path}", urls[0])]));
    let expected = "js-otlp-grpc js-otlp-json js-otlp-proto js-v1 js-v2 js-zipkin py-json py-otlp-grpc py-otlp-gzip \
                    py-otlp-http py-proto";
    let names: Vec<&str> = expected.split_whitespace().collect();
    let wanted = format!("[\"{}\"]", names.join("\",\""));
    let begun = Instant::now();
    while ask("/api/v2/services") != wanted {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", ask("/api/v2/services"));
        std::thread::sleep(Duration::from_millis(50));
    }
    for name in names {
        let found =
            ask(&format!("/api/v2/traces?serviceName={name}&annotationQuery=path%3D/{name}&spanName=outer"));
        let traces: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(traces.as_array().map(Vec::len), Some(1), "{name}: {found}");
    }
    let broken = ask(
        "/api/v2/traces?serviceName=py-otlp-gzip&annotationQuery=error%3Dbroken%20and%20otel.scope.name%3Dtest",
    );
    assert!(broken.contains(r#""value":"\"happened\": {\"times\":2}""#), "{broken}");
    let inner = ask("/api/v2/traces?serviceName=py-proto&spanName=inner");
    assert!(inner.contains("\"parentId\"") && inner.contains("\"port\":8080"), "{inner}");
}
