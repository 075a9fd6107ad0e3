//! From our spans to `OpenTelemetry`'s: `ExportTraceServiceRequest` in protobuf, the way back of [`super::mapping`].
//! Tags stay texts, as nobody remembers what they were before.

use crate::protobuf::{put_bytes, put_fixed64, put_number};
use crate::spans::{Endpoint, Kind, Span};
use std::collections::BTreeMap;

/// Writes spans as a request to export them, those of a service together.
pub fn encode_proto(spans: &[Span]) -> Vec<u8> {
    let mut services: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        services.entry(&span.local.service).or_default().push(span);
    }
    let mut request = Vec::new();
    for (service, spans) in services {
        let (mut of_service, mut of_scope) = (Vec::new(), Vec::new());
        if !service.is_empty() {
            let mut resource = Vec::new();
            put_attribute(&mut resource, 1, "service.name", service);
            put_bytes(&mut of_service, 1, &resource);
        }
        for span in spans {
            put_bytes(&mut of_scope, 2, &encoded(span));
        }
        put_bytes(&mut of_service, 2, &of_scope);
        put_bytes(&mut request, 1, &of_service);
    }
    request
}

fn encoded(span: &Span) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    let (id, parent) = ids(span);
    let trace = u128::from(span.trace.high) << 64 | u128::from(span.trace.low);
    put_bytes(&mut message, 1, &trace.to_be_bytes());
    put_bytes(&mut message, 2, &id.to_be_bytes());
    if let Some(state) = span.tag("w3c.tracestate") {
        put_bytes(&mut message, 3, state.as_bytes());
    }
    if parent != 0 {
        put_bytes(&mut message, 4, &parent.to_be_bytes());
    }
    put_bytes(&mut message, 5, span.name.as_bytes());
    let kind = match span.kind {
        None => 1,
        Some(Kind::Server) => 2,
        Some(Kind::Client) => 3,
        Some(Kind::Producer) => 4,
        Some(Kind::Consumer) => 5,
    };
    put_number(&mut message, 6, kind);
    put_fixed64(&mut message, 7, span.timestamp_us.saturating_mul(1_000));
    put_fixed64(&mut message, 8, span.timestamp_us.saturating_add(span.duration_us).saturating_mul(1_000));
    let is_attribute = |key: &str| !matches!(key, "w3c.tracestate" | "otel.status_code" | "error");
    for (key, value) in span.tags.iter().filter(|(key, _)| is_attribute(key)) {
        put_attribute(&mut message, 9, key, value);
    }
    put_remote(&mut message, span);
    for annotation in &span.annotations {
        let mut event = Vec::new();
        put_fixed64(&mut event, 1, annotation.timestamp_us.saturating_mul(1_000));
        put_bytes(&mut event, 2, annotation.value.as_bytes());
        put_bytes(&mut message, 11, &event);
    }
    let mut status = Vec::new();
    if let Some(error) = span.tag("error") {
        put_bytes(&mut status, 2, error.as_bytes());
        put_number(&mut status, 3, 2);
    } else if span.tag("otel.status_code") == Some("OK") {
        put_number(&mut status, 3, 1);
    }
    if !status.is_empty() {
        put_bytes(&mut message, 15, &status);
    }
    message
}

/// The ids of a span and of the one above it. Where both sides of a call report one id, as Zipkin has it, the callee's
/// span gets one of its own below the caller's: an id names one span here.
fn ids(span: &Span) -> (u64, u64) {
    if span.shared && span.kind == Some(Kind::Server) {
        let own = span.id.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ span.trace.low;
        return (own.max(1), span.id);
    }
    (span.id, span.parent)
}

/// The other side, under the names that say it, unless tags do.
fn put_remote(message: &mut Vec<u8>, span: &Span) {
    let Endpoint { service, ipv4, ipv6, port } = &span.remote;
    let address = ipv4.map(|ip| ip.to_string()).or_else(|| ipv6.map(|ip| ip.to_string()));
    let is_server = span.kind == Some(Kind::Server);
    let known = [
        ("peer.service", (!service.is_empty()).then(|| service.clone())),
        (if is_server { "client.address" } else { "network.peer.address" }, address),
        (if is_server { "client.port" } else { "network.peer.port" }, (*port != 0).then(|| port.to_string())),
    ];
    for (key, value) in known {
        if let Some(value) = value.filter(|_| span.tag(key).is_none()) {
            put_attribute(message, 9, key, &value);
        }
    }
}

fn put_attribute(message: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    let (mut any, mut attribute) = (Vec::with_capacity(value.len() + 8), Vec::new());
    put_bytes(&mut any, 1, value.as_bytes());
    put_bytes(&mut attribute, 1, key.as_bytes());
    put_bytes(&mut attribute, 2, &any);
    put_bytes(message, field, &attribute);
}

#[cfg(test)]
mod tests {
    use super::super::decode_proto;
    use super::*;
    use crate::spans::{Annotation, TraceKey};
    use proptest::prelude::*;

    fn again(span: &Span) -> Span {
        let mut decoded = decode_proto(&encode_proto(std::slice::from_ref(span))).unwrap();
        assert_eq!((decoded.spans.len(), decoded.rejected), (1, 0));
        decoded.spans.remove(0)
    }

    prop_compose! {
        fn spans()(
            high: u64, low in 1u64.., id in 1u64.., parent: u64, name in "[a-z /]{0,20}",
            kind in prop::option::of(1u64..5), timestamp_us in 1u64..4_000_000_000_000_000, duration_us in 1u64..1_000_000_000,
            service in "[a-z]{1,9}", tags in prop::collection::btree_map("[a-z]{6,9}", "\\PC{0,9}", 0..5),
            annotations in prop::collection::vec((1u64..4_000_000_000_000_000, "[a-z]{1,9}"), 0..4),
            error in prop::option::of("\\PC{0,9}"),
        ) -> Span {
            let mut span = Span {
                trace: TraceKey { high, low }, id, parent, name, timestamp_us, duration_us,
                kind: kind.and_then(Kind::of_number),
                local: Endpoint { service, ..Endpoint::default() },
                tags: tags.into_iter().collect(),
                annotations: annotations.into_iter().map(|(timestamp_us, value)| Annotation { timestamp_us, value }).collect(),
                ..Span::default()
            };
            if let Some(error) = error {
                span.tags.push(("error".into(), error));
                span.tags.push(("otel.status_code".into(), "ERROR".into()));
            }
            span.tidy();
            span
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_on_is_what_came(span in spans()) {
            prop_assert_eq!(again(&span), span);
        }
    }

    #[test]
    fn the_other_side_is_named_as_the_conventions_name_it() {
        let remote =
            Endpoint { service: "db".into(), ipv4: Some([10, 0, 0, 7].into()), ipv6: None, port: 5432 };
        let client = Span { kind: Some(Kind::Client), remote: remote.clone(), ..base() };
        let sent = again(&client);
        assert_eq!(
            (sent.remote.service.as_str(), sent.tag("network.peer.address")),
            ("db", Some("10.0.0.7"))
        );
        let server = again(&Span { kind: Some(Kind::Server), remote, ..base() });
        assert_eq!(
            (server.remote.ipv4, server.tag("client.port")),
            (Some([10, 0, 0, 7].into()), Some("5432"))
        );
    }

    #[test]
    fn an_id_that_both_sides_share_becomes_two() {
        let client = Span { kind: Some(Kind::Client), parent: 4, ..base() };
        let server = Span { kind: Some(Kind::Server), parent: 4, shared: true, ..base() };
        let (client, server) = (again(&client), again(&server));
        assert_eq!((client.id, client.parent), (7, 4));
        assert_eq!(server.parent, 7);
        assert!(server.id != 7 && server.id != 0);
    }

    fn base() -> Span {
        Span {
            trace: TraceKey { high: 0, low: 9 },
            id: 7,
            timestamp_us: 1_000,
            duration_us: 5,
            local: Endpoint { service: "shop".into(), ..Endpoint::default() },
            ..Span::default()
        }
    }
}
