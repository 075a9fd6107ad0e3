//! The table of services, from the document that the API calls status: `up` shows it when all is settled,
//! `tombolo status` when asked.

use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint, table};
use serde_json::Value;

/// One row for each instance, and one for each service that runs elsewhere.
pub(crate) fn overview(status: &Value) -> String {
    let mut rows = Vec::new();
    for service in list(&status["services"]) {
        let name = text(&service["name"]);
        let waiting: Vec<_> = list(&service["waiting_for"]).iter().map(text).collect();
        let waiting = (!waiting.is_empty()).then(|| format!("for {}", waiting.join(", ")));
        let own = text(&service["state"]);
        let replicas = list(&service["replicas"]);
        if replicas.is_empty() {
            let trouble = service["trouble"]["message"].as_str().map(str::to_owned);
            rows.push(row(name, state(own), None, [None, None], trouble.or(waiting)));
            continue;
        }
        for replica in replicas {
            let shown =
                if replicas.len() > 1 { format!("{name}.{}", replica["instance"]) } else { name.to_owned() };
            // Where no process runs the service's own state says more: it waits, or its build failed.
            let state = state(if replica["pid"].is_null() { own } else { text(&replica["state"]) });
            let trouble = replica["trouble"]["message"].as_str().or(replica["health"].as_str());
            let trouble = trouble.or(service["trouble"]["message"].as_str()).map(str::to_owned);
            let address = replica["port"].as_u64().map(|port| format!("http://127.0.0.1:{port}"));
            let numbers = ["pid", "restarts"].map(|key| replica[key].as_u64());
            rows.push(row(&shown, state, address, numbers, trouble.or_else(|| waiting.clone())));
        }
    }
    for service in list(&status["outside"]) {
        let addresses: Vec<_> = list(&service["at"]).iter().map(text).collect();
        rows.push(row(
            text(&service["name"]),
            paint(DIM, "elsewhere"),
            Some(addresses.join(", ")),
            [None, None],
            None,
        ));
    }
    if rows.is_empty() {
        return paint(DIM, "  no services");
    }
    let table = table(&["SERVICE", "STATE", "ADDRESS", "PID", "RESTARTS", ""], rows);
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn row(
    name: &str,
    state: String,
    address: Option<String>,
    numbers: [Option<u64>; 2],
    detail: Option<String>,
) -> Vec<String> {
    let [pid, restarts] =
        numbers.map(|number| number.filter(|n| *n > 0).map_or_else(String::new, |n| n.to_string()));
    let address = address.map_or_else(String::new, |address| paint(CYAN, address));
    vec![paint(BOLD, name), state, address, pid, restarts, detail.unwrap_or_default()]
}

fn state(name: &str) -> String {
    let style = match name {
        "healthy" | "done" => GREEN,
        "stopped" | "waiting" => DIM,
        "unhealthy" | "build_failed" | "failed" | "crash_looped" => RED,
        _ => YELLOW,
    };
    paint(style, name.replace('_', " "))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
