//! Spans of Zipkin's version 1, in which one span tells of both sides of a call by annotations such as `cs` and `sr`,
//! each with the place that wrote it: taken apart into spans of today.

use crate::spans::{Annotation, Endpoint, Kind, Span, TraceKey};

/// A span of version 1.
#[derive(Debug, Default)]
pub(super) struct V1 {
    pub(super) trace: TraceKey,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) name: String,
    pub(super) timestamp_us: u64,
    pub(super) duration_us: u64,
    pub(super) debug: bool,
    pub(super) annotations: Vec<(u64, String, Endpoint)>,
    pub(super) tags: Vec<(String, Value, Endpoint)>,
}

/// The value of a binary annotation.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// With certain keys the place is the other side's address.
    Bool(bool),
}

/// The spans that one of version 1 tells of.
struct Parts {
    whole: V1,
    spans: Vec<Span>,
}

/// What happened at which end: begin, end, kind, the key of the other side's address.
const ENDS: [(&str, &str, Kind, &str); 4] = [
    ("cs", "cr", Kind::Client, "sa"),
    ("sr", "ss", Kind::Server, "ca"),
    ("ms", "ws", Kind::Producer, "ma"),
    ("mr", "wr", Kind::Consumer, "ma"),
];

/// Takes a span apart.
pub(super) fn convert(mut whole: V1) -> Vec<Span> {
    for (_, _, place) in &mut whole.annotations {
        place.service = place.service.to_lowercase();
    }
    for (_, _, place) in &mut whole.tags {
        place.service = place.service.to_lowercase();
    }
    let annotations = std::mem::take(&mut whole.annotations);
    let tags = std::mem::take(&mut whole.tags);
    let mut parts = Parts { whole, spans: Vec::new() };
    parts.put_ends(&annotations);
    let is_end = |value: &str| ENDS.iter().any(|(begin, end, ..)| [*begin, *end].contains(&value));
    for (timestamp_us, value, place) in annotations {
        if !is_end(&value) && timestamp_us != 0 {
            let span = parts.at(&place);
            span.annotations.push(Annotation { timestamp_us, value });
        }
    }
    parts.put_tags(tags);
    let Parts { mut spans, .. } = parts;
    spans.iter_mut().for_each(Span::tidy);
    spans
}

impl Parts {
    /// A span with the ids of the whole.
    fn new_span(&self, place: &Endpoint) -> Span {
        let V1 { trace, id, parent, ref name, debug, .. } = self.whole;
        Span { trace, id, parent, name: name.clone(), debug, local: place.clone(), ..Span::default() }
    }

    /// The span of a place: that of its service, or one that has no place yet.
    fn at(&mut self, place: &Endpoint) -> &mut Span {
        let fits =
            |span: &Span| place.is_empty() || span.local.is_empty() || span.local.service == place.service;
        let found = match self.spans.iter().position(fits) {
            Some(found) => found,
            None => {
                let mut span = self.new_span(place);
                // The first one has what is said of the whole.
                if self.spans.is_empty() {
                    (span.timestamp_us, span.duration_us) = (self.whole.timestamp_us, self.whole.duration_us);
                }
                self.spans.push(span);
                self.spans.len() - 1
            }
        };
        let span = &mut self.spans[found];
        if span.local.is_empty() {
            span.local = place.clone();
        }
        span
    }

    /// Makes a span of each end of a call.
    fn put_ends(&mut self, annotations: &[(u64, String, Endpoint)]) {
        let find = |wanted: &str| annotations.iter().find(|(_, value, _)| value == wanted);
        let mut other_side = None;
        for (begin, end, kind, _) in ENDS {
            let (began, ended) = (find(begin), find(end));
            let Some((first_us, _, place)) = began.or(ended) else { continue };
            let mut span = self.new_span(place);
            span.kind = Some(kind);
            span.timestamp_us = if began.is_some() { *first_us } else { 0 };
            if let (Some((began, ..)), Some((ended, ..))) = (began, ended) {
                span.duration_us = ended.saturating_sub(*began);
            }
            let starts = matches!(kind, Kind::Client | Kind::Producer);
            if starts || other_side.is_none() {
                // Whoever begins the span knows its time best, if it is told.
                if self.whole.timestamp_us != 0 {
                    span.timestamp_us = self.whole.timestamp_us;
                }
                if self.whole.duration_us != 0 {
                    span.duration_us = self.whole.duration_us;
                }
            }
            if starts {
                other_side = Some(kind);
            } else {
                // The server of a span that somebody else began says neither its time nor how long it lasted.
                let lacks_time =
                    self.whole.timestamp_us == 0 || (ended.is_some() && self.whole.duration_us == 0);
                span.shared = other_side.is_some() || (kind == Kind::Server && began.is_some() && lacks_time);
            }
            self.spans.push(span);
        }
    }

    fn put_tags(&mut self, tags: Vec<(String, Value, Endpoint)>) {
        for (key, value, place) in tags {
            match value {
                Value::Bool(true) if ["ca", "sa", "ma"].contains(&key.as_str()) => {
                    self.put_address(&key, place);
                }
                Value::Bool(value) => {
                    let span = self.at(&place);
                    span.tags.push((key, value.to_string()));
                }
                // The name of a local component: its place is what is meant.
                Value::Text(text) => {
                    let span = self.at(&place);
                    if key != "lc" || !text.is_empty() {
                        span.tags.push((key, text));
                    }
                }
            }
        }
        if self.spans.is_empty() {
            self.at(&Endpoint::default());
        }
    }

    /// The address of the other side.
    fn put_address(&mut self, key: &str, place: Endpoint) {
        let faces = |span: &Span| ENDS.iter().any(|(_, _, kind, of)| *of == key && span.kind == Some(*kind));
        // An address alone tells which side reports.
        let kind = if key == "sa" { Some(Kind::Client) } else { None };
        match self.spans.iter().position(faces) {
            Some(found) => self.spans[found].remote = place,
            None => {
                let span = self.at(&Endpoint::default());
                span.kind = span.kind.or(kind);
                span.remote = place;
            }
        }
    }
}
