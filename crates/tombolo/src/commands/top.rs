//! `tombolo top`: services and routes of a running `tombolo up`, with how many requests they have, how many fail and how
//! long they take; live, as a table that is written over itself, or once.

use super::asking::{Ask, Client, block_on};
use super::messages::{Where, target};
use crate::term::{BOLD, CYAN, DIM, RED, harmless, out, out_if_read, paint, table};
use base::{Fault, parse_duration};
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

/// Pages of routes that are asked for, and routes of one page.
const PAGES_MAX: usize = 20;
/// Shortest time between two looks: what is shown is counted every five seconds.
const EVERY_MIN: Duration = Duration::from_millis(200);
/// Goes to the upper left corner and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Arguments of `tombolo top`.
#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    place: Where,

    /// Only routes in whose text this stands
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Most routes to show
    #[arg(long, short = 'n', default_value = "20", value_name = "NUMBER")]
    limit: usize,

    /// Between two looks
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = parse_duration)]
    every: Duration,

    /// Look once and end
    #[arg(long)]
    once: bool,

    /// One JSON object for each look
    #[arg(long)]
    json: bool,
}

impl Top {
    /// Shows the table until somebody stops it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            let client = self.place.client()?;
            let is_terminal = std::io::stdout().is_terminal();
            loop {
                let seen = match self.look(&client).await {
                    Ok(seen) => seen,
                    // What was watched has ended, which is no error.
                    Err(_) if !self.once && client.has_gone() => return Ok(ExitCode::SUCCESS),
                    Err(fault) => return Err(fault),
                };
                let text = if self.json { seen.to_string() } else { shown(&seen) };
                if self.once {
                    out(text);
                    return Ok(ExitCode::SUCCESS);
                }
                let clear = if is_terminal && !self.json { CLEAR } else { "" };
                let end = if is_terminal || self.json { "" } else { "\n" };
                if !out_if_read(format_args!("{clear}{text}{end}")) {
                    return Ok(ExitCode::SUCCESS);
                }
                tokio::time::sleep(self.every.max(EVERY_MIN)).await;
            }
        })
    }

    /// What is counted now.
    async fn look(&self, client: &Client) -> Result<Value, Fault> {
        let mut metrics = client.json(Ask::get("/charts.json")).await?;
        let Value::Array(series) = metrics["series"].take() else { return Ok(json!({})) };
        let services: Vec<Value> = series.iter().filter_map(service).collect();
        let (mut routes, mut seconds) = (Vec::new(), Value::Null);
        for page in 0..PAGES_MAX {
            let offset = (page > 0).then(|| routes.len().to_string());
            let target = target("/routes.json", &[("filter", self.filter.clone()), ("offset", offset)]);
            let mut answer = client.json(Ask::get(&target)).await?;
            let Value::Array(more) = answer["routes"].take() else { break };
            seconds = answer["seconds"].take();
            let is_last = more.is_empty();
            routes.extend(more);
            if is_last || answer["fitting"].as_u64().is_none_or(|all| routes.len() as u64 >= all) {
                break;
            }
        }
        Ok(json!({ "services": services, "routes": self.busiest(&routes), "routes_seconds": seconds }))
    }

    /// The routes that had requests, the busiest first.
    fn busiest(&self, routes: &[Value]) -> Vec<Value> {
        let rate = |route: &Value| route["flow"]["rate_per_s"].as_f64();
        let mut busy: Vec<&Value> = routes.iter().filter(|route| rate(route).is_some()).collect();
        busy.sort_by(|one, other| rate(other).unwrap_or(0.0).total_cmp(&rate(one).unwrap_or(0.0)));
        let row = |route: &&Value| {
            let flow = &route["flow"];
            json!({
                "route": route["id"],
                "backend": route["backend"],
                "rate_per_s": flow["rate_per_s"],
                "error_share": flow["error_share"],
                "p50_ms": flow["p50_ms"],
                "p99_ms": flow["p99_ms"],
            })
        };
        busy.iter().take(self.limit).map(row).collect()
    }
}

/// The last point of a series.
fn service(series: &Value) -> Option<Value> {
    let last = series["points"].as_array()?.last()?;
    Some(json!({
        "service": series["name"],
        "rate_per_s": last["rate"],
        "error_share": last["errors"],
        "p50_ms": last["p50_ms"],
        "p99_ms": last["p99_ms"],
    }))
}

/// Both tables, or how to have something in them.
fn shown(seen: &Value) -> String {
    let empty = Vec::new();
    let of = |name: &str| seen[name].as_array().unwrap_or(&empty);
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    if of("services").is_empty() {
        return paint(DIM, "no requests so far: send one through the gateway");
    }
    let services =
        of("services").iter().map(|row| [vec![paint(BOLD, text(&row["service"]))], numbers(row)].concat());
    let services = table(&["SERVICE", "RATE", "ERRORS", "P50", "P99"], services.collect());
    if of("routes").is_empty() {
        return services;
    }
    let routes = of("routes").iter().map(|row| {
        let name = vec![paint(CYAN, text(&row["route"]))];
        [name, numbers(row), vec![paint(DIM, text(&row["backend"]))]].concat()
    });
    let routes = table(&["ROUTE", "RATE", "ERRORS", "P50", "P99", "BACKEND"], routes.collect());
    format!("{services}\n\n{routes}")
}

fn numbers(row: &Value) -> Vec<String> {
    let rate = row["rate_per_s"].as_f64().unwrap_or(0.0);
    let errors = row["error_share"].as_f64().unwrap_or(0.0);
    let share = format!("{:.1}%", errors * 100.0);
    // The bounds of buckets: the first of them says only that it was less.
    let ms = |value: &Value| match value.as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms >= 1_000.0 => format!("{:.1}s", ms / 1e3),
        Some(ms) => format!("{ms:.0}ms"),
    };
    vec![
        if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") },
        if errors > 0.0 { paint(RED, share) } else { share },
        ms(&row["p50_ms"]),
        ms(&row["p99_ms"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn services_and_routes_are_two_tables() {
        let row = |name: &str, of: &str, rate: f64| json!({ name: of, "rate_per_s": rate, "error_share": 0.25, "p50_ms": 4.6, "p99_ms": 2500.0, "backend": "\"service://web\"" });
        let quiet = json!({ "service": "cart\u{1b}[2J", "rate_per_s": 0.0, "error_share": 0.0, "p50_ms": null, "p99_ms": null });
        let seen = json!({ "services": [row("service", "web", 12.34), quiet], "routes": [row("route", "shop", 0.5)] });
        let plain = anstream::adapter::strip_str(&shown(&seen)).to_string();
        let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
        expect![[r#"
            SERVICE        RATE   ERRORS  P50  P99
            web            12/s   25.0%   5ms  2.5s
            cart\u{1b}[2J  0.0/s  0.0%    -    -

            ROUTE  RATE   ERRORS  P50  P99   BACKEND
            shop   0.5/s  25.0%   5ms  2.5s  "service://web"
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
        assert!(shown(&json!({})).contains("no requests so far"));
    }

    #[test]
    fn a_point_of_a_series_is_its_last() {
        let series = json!({ "name": "web", "points": [{ "rate": 1.0 }, { "rate": 2.0, "errors": 0.5, "p50_ms": 1.0, "p99_ms": 2.0 }] });
        let last = service(&series).expect("there is one");
        assert_eq!((&last["rate_per_s"], &last["service"]), (&json!(2.0), &json!("web")));
        assert_eq!(service(&json!({ "name": "new", "points": [] })), None);
    }
}
