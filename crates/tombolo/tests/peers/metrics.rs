//! Metrics as a scraper reads them: Prometheus' own client for Python takes both formats and finds the same in them.

use super::{Running, port, root};
use std::process::Command;

const READER: &str = r#"
import sys, requests
from prometheus_client.parser import text_string_to_metric_families as text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

gateway, metrics = sys.argv[1:3]
for path in ["/hello", "/none", "/gone"]:
    requests.get(gateway + path)
def read(accept, parse):
    answer = requests.get(metrics, headers={"Accept": accept})
    answer.raise_for_status()
    families = list(parse(answer.text))
    # A bound is written otherwise in either, and a counter of Skipper's has `_total` in one of them alone.
    bound = lambda key, value: float(value) if key == "le" else value
    labels = lambda sample: tuple(sorted((key, bound(key, value)) for key, value in sample.labels.items()))
    name = lambda sample: sample.name.removesuffix("_total")
    samples = {(name(sample), labels(sample)) for family in families for sample in family.samples}
    assert all(family.documentation for family in families)
    return answer.headers["Content-Type"].split(";")[0], samples
plain = read("text/plain", text)
opened = read("application/openmetrics-text;version=1.0.0", openmetrics)
assert (plain[0], opened[0]) == ("text/plain", "application/openmetrics-text"), (plain[0], opened[0])
assert plain[1] == opened[1], plain[1] ^ opened[1]
served = [("code", "200"), ("method", "GET"), ("route", "hello")]
assert ("skipper_serve_route_count", tuple(served)) in plain[1], plain[1]
called = [("http_response_status_code", "502"), ("server_address", "cart"), ("service_name", "gateway")]
assert ("http_client_request_duration_seconds_count", tuple(called)) in plain[1], plain[1]
print(len(plain[1]))
"#;

#[test]
#[ignore = "run by ./check, which installs Prometheus' client"]
fn prometheus_own_client_reads_the_metrics_in_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, support) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
    let manifest = format!(
        "gateway: {{address: '{gateway}', api: '127.0.0.1:0', support: '{support}'}}\n\
         traces: {{zipkin: off, otlp_http: off, otlp_grpc: off}}\n\
         streams: {{messagedb: off}}\n\
         routes: |\n  hello: Path(\"/hello\") -> status(200) -> <shunt>;\n  gone: Path(\"/gone\") -> \"service://cart\";\n\
         services: {{cart: {{at: 'http://127.0.0.1:1'}}}}\n"
    );
    std::fs::write(folder.path().join("tombolo.yaml"), manifest).unwrap();
    let mut running = Running::start(folder.path(), &["up"]);
    running.wait_for("Ctrl-C stops everything");
    let output = Command::new("timeout")
        .arg("120")
        .arg(root().join("target/clients/python/bin/python"))
        .args(["-c", READER, &format!("http://{gateway}"), &format!("http://{support}/metrics")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim().parse::<usize>().unwrap() > 100, "{said}");
    running.stop();
}
