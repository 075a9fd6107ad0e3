//! What the server says of itself: whether it is well, what it is, what it counted, what a page has to know.

use super::collect::Collected;
use super::{Answered, Api, json, typed};
use crate::zipkin::write::write_text;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn health(api: &Api) -> Answered {
    let (status, word, more) = match api.0.store.trouble() {
        None => (StatusCode::OK, "UP", String::new()),
        Some(trouble) => {
            let mut more = String::from(",\"details\":{\"error\":");
            write_text(&mut more, &trouble);
            (StatusCode::SERVICE_UNAVAILABLE, "DOWN", more + "}")
        }
    };
    let text = format!(
        "{{\"status\":\"{word}\",\"zipkin\":{{\"status\":\"{word}\",\"details\":{{\"SpanStore\":{{\"status\":\"{word}\"{more}}}}}}}}}"
    );
    Ok(typed(status, "application/json", text))
}

pub(super) fn info() -> Answered {
    let version = env!("CARGO_PKG_VERSION");
    Ok(json(format!("{{\"zipkin\":{{\"version\":\"{version}\",\"commit\":\"tombolo\"}}}}")))
}

type Count = fn(&Collected) -> &AtomicU64;

/// What is counted of messages; the last two are of the last message.
const COUNTS: [(&str, Count); 7] = [
    ("messages", |counts| &counts.messages),
    ("messages_dropped", |counts| &counts.messages_dropped),
    ("bytes", |counts| &counts.bytes),
    ("spans", |counts| &counts.spans),
    ("spans_dropped", |counts| &counts.spans_dropped),
    ("message_bytes", |counts| &counts.message_bytes),
    ("message_spans", |counts| &counts.message_spans),
];
const GAUGES_FROM: usize = 5;

fn ways(api: &Api) -> [(&'static str, &Collected); 2] {
    [("http", &api.0.over_http), ("grpc", &api.0.over_grpc)]
}

pub(super) fn metrics(api: &Api) -> Answered {
    let mut text = String::from("{");
    for (place, (name, count)) in COUNTS.iter().enumerate() {
        let kind = if place < GAUGES_FROM { "counter" } else { "gauge" };
        for (way, counts) in ways(api) {
            let number = count(counts).load(Ordering::Relaxed);
            _ = write!(text, "\"{kind}.zipkin_collector.{name}.{way}\":{number},");
        }
    }
    let counts = api.0.store.counts();
    _ = write!(
        text,
        "\"counter.tombolo_spans.kept\":{},\"counter.tombolo_spans.dropped\":{},\"counter.tombolo_spans.removed\":{}}}",
        counts.kept, counts.dropped, counts.removed
    );
    Ok(json(text))
}

pub(super) fn prometheus(api: &Api) -> Answered {
    let mut text = String::new();
    for (place, (name, count)) in COUNTS.iter().enumerate() {
        let (kind, total) = if place < GAUGES_FROM { ("counter", "_total") } else { ("gauge", "") };
        _ = writeln!(text, "# TYPE zipkin_collector_{name}{total} {kind}");
        for (way, counts) in ways(api) {
            let number = count(counts).load(Ordering::Relaxed);
            _ = writeln!(text, "zipkin_collector_{name}{total}{{transport=\"{way}\"}} {number}");
        }
    }
    let counts = api.0.store.counts();
    for (name, number) in [("kept", counts.kept), ("dropped", counts.dropped), ("removed", counts.removed)] {
        _ = writeln!(text, "# TYPE tombolo_spans_{name}_total counter\ntombolo_spans_{name}_total {number}");
    }
    _ = writeln!(
        text,
        "# TYPE tombolo_spans_waiting_bytes gauge\ntombolo_spans_waiting_bytes {}",
        counts.waiting_bytes
    );
    Ok(typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

pub(super) fn config(api: &Api) -> Answered {
    let options = &api.0.options;
    let mut response = json(format!(
        "{{\"environment\":\"\",\"queryLimit\":{},\"defaultLookback\":{},\"searchEnabled\":{},\"logsUrl\":null,\
         \"supportUrl\":null,\"archivePostUrl\":null,\"archiveUrl\":null,\"dependency\":{{\"enabled\":true,\
         \"lowErrorRate\":0.5,\"highErrorRate\":0.75}}}}",
        options.query_limit, options.lookback_ms, options.search
    ));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
    Ok(response)
}
