//! What needs no store: spans as they are read and kept, reports merged, searches matched, links found.

use crate::facts::{check, same};
use serde_json::{Value, json};
use telemetry::spans::{
    Endpoint, Kind, Link, Linker, Query, Span, TraceKey, merged, parse_annotations, parse_id,
};
use telemetry::zipkin::{decode_json_span, decode_proto, encode_proto, write_span};

/// A span as JSON; in pieces it may lack its ids.
fn json_of(span: &Span) -> Value {
    let mut text = String::new();
    write_span(&mut text, span);
    let mut value: Value = serde_json::from_str(&text).unwrap();
    for (field, zero) in [("traceId", "0000000000000000"), ("id", "0000000000000000")] {
        if value[field] == zero {
            value.as_object_mut().unwrap().remove(field);
        }
    }
    value
}

/// A piece of a span, whose ids may be missing.
fn piece(value: &Value) -> Span {
    let mut whole = value.clone();
    for (field, given) in [("traceId", value.get("traceId")), ("id", value.get("id"))] {
        if given.is_none() {
            whole[field] = "1".into();
        }
    }
    let mut span = decode_json_span(whole.to_string().as_bytes()).unwrap();
    if value.get("traceId").is_none() {
        span.trace = TraceKey::default();
    }
    if value.get("id").is_none() {
        span.id = 0;
    }
    span
}

pub(crate) fn spans(value: &Value) -> Vec<Span> {
    value.as_array().unwrap().iter().map(piece).collect()
}

#[test]
fn spans_are_read_and_kept() {
    check("normalise", 25, |case| {
        let text = case["input_text"].as_str().map_or_else(|| case["input"].to_string(), str::to_owned);
        match (decode_json_span(text.as_bytes()), &case["error"]) {
            (Ok(span), Value::Null) => {
                same(&json_of(&span), &case["output"])?;
                let again = decode_proto(&encode_proto(std::slice::from_ref(&span))).unwrap();
                same(&json_of(&again[0]), &case["output"])
            }
            (Err(_), Value::Bool(true)) => Ok(()),
            (Err(fault), Value::String(words)) if fault.message.contains(words) => Ok(()),
            (seen, expected) => Err(format!("{seen:?}, not {expected}")),
        }
    });
}

#[test]
fn reports_of_a_span_are_merged() {
    check("merge", 11, |case| {
        if case.get("parts").is_some() {
            let whole = spans(&case["parts"]).into_iter().reduce(|mut one, other| {
                one.merge(other);
                one
            });
            return same(&json_of(&whole.unwrap()), &case["output"]);
        }
        let merged = merged(spans(&case["spans"]));
        if let Value::Array(ids) = &case["merged_trace_ids"] {
            let seen: Vec<Value> = merged.iter().map(|span| span.trace.to_string().into()).collect();
            return same(&seen.into(), &ids.clone().into());
        }
        let mut seen: Vec<Value> = merged.iter().map(json_of).collect();
        let mut expected = case["merged"].as_array().unwrap().clone();
        if case["ordered"] != true {
            seen.sort_by_key(Value::to_string);
            expected.sort_by_key(Value::to_string);
        }
        same(&seen.into(), &expected.into())
    });
}

fn query(params: &Value) -> Query {
    let text = |name: &str| params[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| params[name].as_u64();
    Query {
        service: text("serviceName"),
        remote: text("remoteServiceName"),
        name: text("spanName"),
        annotations: parse_annotations(&text("annotationQuery")),
        duration_us_min: number("minDuration"),
        duration_us_max: number("maxDuration"),
        end_ms: number("endTs").unwrap_or(1),
        lookback_ms: number("lookback").unwrap_or(1),
        limit: number("limit").unwrap_or(10).try_into().unwrap(),
    }
}

#[test]
fn annotation_queries_are_read() {
    check("annotation_query", 11, |case| {
        if let Some(text) = case["query"].as_str() {
            let seen = json!(parse_annotations(text));
            if let Value::Array(keys) = &case["expect_keys"] {
                let all = keys.iter().all(|key| seen.get(key.as_str().unwrap()).is_some());
                return if all { Ok(()) } else { Err(seen.to_string()) };
            }
            return same(&seen, &case["expect"]);
        }
        let checked = query(&case["params"]).check();
        if let Some(words) = case["error"].as_str() {
            return same(&checked.unwrap_err().message.into(), &words.into());
        }
        let checked = checked.unwrap();
        let none = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let seen = json!({ "serviceName": none(&checked.service), "spanName": none(&checked.name) });
        let asked = case["effective"].as_object().unwrap();
        asked.iter().try_for_each(|(name, expected)| same(&seen[name], expected))
    });
}

#[test]
fn traces_match_what_is_looked_for() {
    check("match", 16, |case| {
        let matches = query(&case["query"]).check().unwrap().matches(&spans(&case["trace"]));
        same(&matches.into(), &case["match"])
    });
}

pub(crate) fn json_of_link(link: Link) -> Value {
    let mut value = json!({ "parent": link.parent, "child": link.child, "callCount": link.calls });
    if link.errors > 0 {
        value["errorCount"] = link.errors.into();
    }
    value
}

fn links(linker: &Linker) -> Vec<Value> {
    linker.links().into_iter().map(json_of_link).collect()
}

#[test]
fn links_are_found() {
    check("linker", 20, |case| {
        let mut linker = Linker::default();
        for trace in case["traces"].as_array().into_iter().flatten() {
            linker.put_trace(&spans(trace));
        }
        for link in case["merge"].as_array().into_iter().flatten() {
            let name = |field: &str| link[field].as_str().unwrap().to_owned();
            let count = |field: &str| link[field].as_u64().unwrap_or(0);
            linker.put_link(&Link {
                parent: name("parent"),
                child: name("child"),
                calls: count("callCount"),
                errors: count("errorCount"),
            });
        }
        let (mut seen, mut expected) = (links(&linker), case["links"].as_array().unwrap().clone());
        if case["ordered"] != true {
            seen.sort_by_key(Value::to_string);
            expected.sort_by_key(Value::to_string);
        }
        same(&seen.into(), &expected.into())
    });
}

#[test]
fn parents_that_go_round_in_a_circle_are_no_trouble() {
    let span = |id, parent| Span {
        trace: TraceKey { high: 0, low: 1 },
        id,
        parent,
        kind: Some(Kind::Server),
        local: Endpoint { service: format!("s{id}"), ..Endpoint::default() },
        ..Span::default()
    };
    let mut linker = Linker::default();
    linker.put_trace(&[span(1, 2), span(2, 3), span(3, 1), span(4, 4), span(5, 1)]);
    assert_eq!(links(&linker), Vec::<Value>::new());
    assert_eq!(parse_id("id", "0").unwrap(), 0);
}

#[test]
fn any_trace_is_linked_in_bearable_time() {
    let span = |id, parent, service: u64| Span {
        trace: TraceKey { high: 0, low: 1 },
        id,
        parent,
        local: Endpoint { service: format!("s{service}"), ..Endpoint::default() },
        remote: Endpoint { service: "db".into(), ..Endpoint::default() },
        ..Span::default()
    };
    let begun = std::time::Instant::now();
    let mut linker = Linker::default();
    // All of one id and below the first of them; each the parent of the next.
    linker
        .put_trace(&(1..=30_000).map(|service| span(1, u64::from(service > 1), service)).collect::<Vec<_>>());
    linker.put_trace(&(1..=30_000).map(|id| span(id, id - 1, 1)).collect::<Vec<_>>());
    assert_eq!(linker.links().len(), 30_000);
    // Each by each, it took a minute and more.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
