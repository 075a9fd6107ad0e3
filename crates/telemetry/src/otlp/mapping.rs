//! From `OpenTelemetry`'s spans to ours, as its specification maps them to Zipkin's: attributes become tags, events
//! annotations, the resource names the service, a status of `ERROR` the tag `error`.

use crate::spans::{Annotation, Endpoint, Kind, Span, TraceKey};
use crate::zipkin::write_text;
use base64::Engine as _;
use std::fmt::Write as _;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text.
    Text(String),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values.
    List(Vec<Value>),
    /// Values by names.
    Map(Attributes),
    /// None.
    Empty,
}

/// Values by names.
pub(super) type Attributes = Vec<(String, Value)>;

/// Who reports.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    /// What is known of it.
    pub(super) attributes: Attributes,
}

/// The part of a program that reports.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// What else is known of it.
    pub(super) attributes: Attributes,
}

/// A span as it was exported.
#[derive(Clone, Debug, Default)]
pub(super) struct Exported {
    /// 16 bytes, as a number.
    pub(super) trace: u128,
    /// 8 bytes, as a number.
    pub(super) id: u64,
    /// The span it belongs to, or zero.
    pub(super) parent: u64,
    /// What passed on to others beside the ids.
    pub(super) state: String,
    /// Its name.
    pub(super) name: String,
    /// Internal is 1, then server, client, producer and consumer.
    pub(super) kind: u64,
    /// Nanoseconds since 1970.
    pub(super) start_ns: u64,
    /// Nanoseconds since 1970.
    pub(super) end_ns: u64,
    /// What is known of it.
    pub(super) attributes: Attributes,
    /// How many attributes were left out.
    pub(super) dropped_attributes: u64,
    /// What happened: when, what, and what is known of it.
    pub(super) events: Vec<(u64, String, Attributes)>,
    /// How many events were left out.
    pub(super) dropped_events: u64,
    /// Other spans that caused it.
    pub(super) links: Vec<(u128, u64)>,
    /// OK is 1, an error 2.
    pub(super) status: u64,
    /// What the status says.
    pub(super) message: String,
}

/// Where the other side's name stands, the best place first.
const REMOTE_NAMES: [&str; 10] = [
    "peer.service",
    "server.address",
    "net.peer.name",
    "network.peer.address",
    "net.peer.ip",
    "net.sock.peer.addr",
    "db.namespace",
    "db.name",
    "db.system.name",
    "db.system",
];
const REMOTE_PORTS: [&str; 4] = ["server.port", "network.peer.port", "net.peer.port", "net.sock.peer.port"];
const CLIENT_ADDRESSES: [&str; 4] =
    ["client.address", "network.peer.address", "net.peer.ip", "net.sock.peer.addr"];

/// The service of who does not say its name.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A span of ours. `None` if its ids are none.
pub(super) fn span(exported: Exported, resource: &Resource, scope: &Scope) -> Option<Span> {
    if exported.trace == 0 || exported.id == 0 {
        return None;
    }
    let kind = match exported.kind {
        2 => Some(Kind::Server),
        3 => Some(Kind::Client),
        4 => Some(Kind::Producer),
        5 => Some(Kind::Consumer),
        _ => None,
    };
    let duration_us = exported.end_ns.saturating_sub(exported.start_ns) / 1_000;
    let ended = exported.end_ns >= exported.start_ns && exported.end_ns != 0;
    let mut span = Span {
        trace: TraceKey { high: (exported.trace >> 64) as u64, low: exported.trace as u64 },
        id: exported.id,
        parent: exported.parent,
        kind,
        timestamp_us: exported.start_ns / 1_000,
        // Zero would say that it has not ended.
        duration_us: if ended { duration_us.max(1) } else { 0 },
        local: local(resource),
        remote: remote(kind, &exported.attributes),
        ..Span::default()
    };
    for (name, value) in
        resource.attributes.iter().filter(|(name, _)| name != "service.name").chain(&scope.attributes)
    {
        span.tags.push((name.clone(), text(value)));
    }
    for (name, value) in [("otel.scope.name", &scope.name), ("otel.scope.version", &scope.version)] {
        if !value.is_empty() {
            span.tags.push((name.into(), value.clone()));
        }
    }
    for (name, value) in exported.attributes {
        // The tag alone says that there was an error.
        if name != "error" || value != Value::Bool(false) {
            span.tags.push((name, text(&value)));
        }
    }
    let counts = [
        ("otel.dropped_attributes_count", exported.dropped_attributes),
        ("otel.dropped_events_count", exported.dropped_events),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        span.tags.push((name.into(), count.to_string()));
    }
    if !exported.state.is_empty() {
        span.tags.push(("w3c.tracestate".into(), exported.state));
    }
    if !exported.links.is_empty() {
        let link = |(trace, id): &(u128, u64)| format!("{trace:032x}-{id:016x}");
        span.tags.push(("otel.links".into(), exported.links.iter().map(link).collect::<Vec<_>>().join(",")));
    }
    match exported.status {
        1 => span.tags.push(("otel.status_code".into(), "OK".into())),
        2 => {
            span.tags.push(("otel.status_code".into(), "ERROR".into()));
            span.tags.push(("error".into(), exported.message));
        }
        _ => {}
    }
    for (time_ns, name, attributes) in exported.events {
        let mut value = name;
        if !attributes.is_empty() {
            let mut json = String::new();
            write_text(&mut json, &value);
            json.push_str(": ");
            write_json(&mut json, &Value::Map(attributes));
            value = json;
        }
        span.annotations.push(Annotation { timestamp_us: time_ns / 1_000, value });
    }
    span.name = exported.name;
    span.tidy();
    Some(span)
}

fn find<'a>(attributes: &'a Attributes, names: &[&str]) -> Option<&'a Value> {
    let named = |name: &&str| attributes.iter().find(|(known, _)| known == *name).map(|(_, value)| value);
    names.iter().find_map(|name| named(name).filter(|value| !matches!(value, Value::Empty)))
}

fn local(resource: &Resource) -> Endpoint {
    let service = find(&resource.attributes, &["service.name"]).map(text).filter(|name| !name.is_empty());
    Endpoint { service: service.unwrap_or_else(|| UNKNOWN_SERVICE.into()), ..Endpoint::default() }
}

/// The other side, as far as attributes tell.
fn remote(kind: Option<Kind>, attributes: &Attributes) -> Endpoint {
    let mut endpoint = Endpoint::default();
    match kind {
        None => {}
        Some(Kind::Server) => {
            if let Some(address) = find(attributes, &CLIENT_ADDRESSES) {
                endpoint.take_ip(&text(address));
            }
        }
        Some(kind) => {
            let is_message = kind != Kind::Client;
            let broker =
                if is_message { find(attributes, &["peer.service", "messaging.system"]) } else { None };
            if let Some(name) = broker.or_else(|| find(attributes, &REMOTE_NAMES)).map(text) {
                endpoint.take_ip(&name);
                if endpoint.is_empty() {
                    endpoint.service = name;
                }
            }
            if !endpoint.is_empty()
                && let Some(Value::Int(port)) = find(attributes, &REMOTE_PORTS)
            {
                endpoint.port = (*port).try_into().unwrap_or(0);
            }
        }
    }
    endpoint
}

/// A value as the text of a tag.
fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes),
        Value::Empty => String::new(),
        other => {
            let mut json = String::new();
            write_json(&mut json, other);
            json
        }
    }
}

fn write_json(json: &mut String, value: &Value) {
    match value {
        Value::Text(text) => write_text(json, text),
        Value::Bytes(_) => write_text(json, &text(value)),
        Value::Bool(is) => _ = write!(json, "{is}"),
        Value::Int(number) => _ = write!(json, "{number}"),
        Value::Double(number) if number.is_finite() => _ = write!(json, "{number}"),
        Value::Double(number) => write_text(json, &number.to_string()),
        Value::Empty => json.push_str("null"),
        Value::List(values) => {
            json.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    json.push(',');
                }
                write_json(json, value);
            }
            json.push(']');
        }
        Value::Map(values) => {
            json.push('{');
            for (place, (name, value)) in values.iter().enumerate() {
                if place > 0 {
                    json.push(',');
                }
                write_text(json, name);
                json.push(':');
                write_json(json, value);
            }
            json.push('}');
        }
    }
}
