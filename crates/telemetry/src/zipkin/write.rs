//! Writes spans, traces, names and links as Zipkin's JSON of version 2.

use crate::spans::{Endpoint, Link, Span};
use std::fmt::Write as _;

/// Writes a span.
pub fn write_span(text: &mut String, span: &Span) {
    _ = write!(text, "{{\"traceId\":\"{}\"", span.trace);
    if span.parent != 0 {
        _ = write!(text, ",\"parentId\":\"{:016x}\"", span.parent);
    }
    _ = write!(text, ",\"id\":\"{:016x}\"", span.id);
    if let Some(kind) = span.kind {
        _ = write!(text, ",\"kind\":\"{}\"", kind.name());
    }
    if !span.name.is_empty() {
        text.push_str(",\"name\":");
        write_text(text, &span.name);
    }
    for (name, number) in [("timestamp", span.timestamp_us), ("duration", span.duration_us)] {
        if number != 0 {
            _ = write!(text, ",\"{name}\":{number}");
        }
    }
    for (name, endpoint) in [("localEndpoint", &span.local), ("remoteEndpoint", &span.remote)] {
        if !endpoint.is_empty() {
            _ = write!(text, ",\"{name}\":");
            write_endpoint(text, endpoint);
        }
    }
    if !span.annotations.is_empty() {
        text.push_str(",\"annotations\":");
        write_list(text, &span.annotations, |text, annotation| {
            _ = write!(text, "{{\"timestamp\":{},\"value\":", annotation.timestamp_us);
            write_text(text, &annotation.value);
            text.push('}');
        });
    }
    if !span.tags.is_empty() {
        let mut before = ",\"tags\":{";
        for (key, value) in &span.tags {
            text.push_str(before);
            before = ",";
            write_text(text, key);
            text.push(':');
            write_text(text, value);
        }
        text.push('}');
    }
    for (name, flag) in [("debug", span.debug), ("shared", span.shared)] {
        if flag {
            _ = write!(text, ",\"{name}\":true");
        }
    }
    text.push('}');
}

fn write_endpoint(text: &mut String, endpoint: &Endpoint) {
    let mut before = '{';
    let mut field = |text: &mut String, name: &str| {
        text.push(before);
        before = ',';
        _ = write!(text, "\"{name}\":");
    };
    if !endpoint.service.is_empty() {
        field(text, "serviceName");
        write_text(text, &endpoint.service);
    }
    if let Some(address) = endpoint.ipv4 {
        field(text, "ipv4");
        _ = write!(text, "\"{address}\"");
    }
    if let Some(address) = endpoint.ipv6 {
        field(text, "ipv6");
        _ = write!(text, "\"{address}\"");
    }
    if endpoint.port != 0 {
        field(text, "port");
        _ = write!(text, "{}", endpoint.port);
    }
    text.push('}');
}

/// Writes a list of spans.
pub fn write_spans(text: &mut String, spans: &[Span]) {
    write_list(text, spans, write_span);
}

/// Writes a list of traces.
pub fn write_traces(text: &mut String, traces: &[Vec<Span>]) {
    write_list(text, traces, |text, trace| write_spans(text, trace));
}

/// Writes a list of names.
pub fn write_names<'a>(text: &mut String, names: impl IntoIterator<Item = &'a str>) {
    write_list(text, names, write_text);
}

/// Writes links between services.
pub fn write_links(text: &mut String, links: &[Link]) {
    write_list(text, links, |text, link| {
        text.push_str("{\"parent\":");
        write_text(text, &link.parent);
        text.push_str(",\"child\":");
        write_text(text, &link.child);
        _ = write!(text, ",\"callCount\":{}", link.calls);
        if link.errors != 0 {
            _ = write!(text, ",\"errorCount\":{}", link.errors);
        }
        text.push('}');
    });
}

fn write_list<T>(
    text: &mut String,
    entries: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    text.push('[');
    for (place, entry) in entries.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        write(text, entry);
    }
    text.push(']');
}

/// Writes a text in quotation marks. Line separators are escaped, as pages read this as a script.
pub(crate) fn write_text(text: &mut String, value: &str) {
    text.push('"');
    let mut plain = 0;
    for (at, character) in value.char_indices() {
        let escaped = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            '\0'..' ' => "",
            _ => continue,
        };
        text.push_str(&value[plain..at]);
        plain = at + character.len_utf8();
        match escaped {
            "" => _ = write!(text, "\\u{:04x}", u32::from(character)),
            escaped => text.push_str(escaped),
        }
    }
    text.push_str(&value[plain..]);
    text.push('"');
}
