//! The properties of the fuzz target on its seeds, on spans of chance and on bytes of chance.

#[path = "../../../fuzz/spans.rs"]
mod spans_properties;

use proptest::prelude::*;
use spans_properties::{any_spans, any_trace};
use telemetry::spans::{Annotation, Endpoint, Kind, Span, TraceKey};
use telemetry::zipkin::{decode_json, decode_proto, encode_proto, write_spans};

#[test]
fn what_was_found_once_stays_mended() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/spans");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the seeds are there") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a seed");
        any_spans(&bytes);
        read += usize::from([decode_json, decode_proto].iter().any(|decode| decode(&bytes).is_ok()));
    }
    assert!(read >= 2);
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let service = prop_oneof![Just(""), Just("web"), Just("app"), Just("db")].prop_map(str::to_owned);
    let ipv4 = proptest::option::of((0u32..3).prop_map(Into::into));
    // Those of version 4 in other clothes would come back as such.
    let ipv6 = proptest::option::of((1u128 << 112..(1 << 112) + 2).prop_map(Into::into));
    (service, ipv4, ipv6, 0u16..2).prop_map(|(service, ipv4, ipv6, port)| Endpoint {
        service,
        ipv4,
        ipv6,
        port,
    })
}

/// Spans of few ids, so that they belong together in all ways.
fn span() -> impl Strategy<Value = Span> {
    let kind = proptest::option::of(prop_oneof![
        Just(Kind::Client),
        Just(Kind::Server),
        Just(Kind::Producer),
        Just(Kind::Consumer)
    ]);
    let ids = (prop_oneof![Just(0u64), Just(7)], 0u64..4, 1u64..4);
    let annotation = (1u64..3, ".{0,3}").prop_map(|(timestamp_us, value)| Annotation { timestamp_us, value });
    let annotations = proptest::collection::vec(annotation, 0..3);
    let tags = proptest::collection::vec((prop_oneof![Just("error".to_owned()), ".{0,2}"], ".{0,3}"), 0..3);
    let flags = (any::<bool>(), any::<bool>());
    ((ids, kind, ".{0,3}"), (0u64..3, 0u64..3), endpoint(), endpoint(), annotations, tags, flags).prop_map(
        |(((high, parent, id), kind, name), times, local, remote, annotations, tags, flags)| {
            let mut span = Span {
                trace: TraceKey { high, low: 9 },
                parent,
                id,
                kind,
                name,
                timestamp_us: times.0,
                duration_us: times.1,
                local,
                remote,
                annotations,
                tags,
                debug: flags.0,
                shared: flags.1,
            };
            span.tidy();
            span
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_trace_is_written_read_linked_and_merged(spans in proptest::collection::vec(span(), 0..7)) {
        any_trace(spans);
    }

    #[test]
    fn whatever_is_broken_of_a_message_is_no_trouble(
        spans in proptest::collection::vec(span(), 1..3),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut text = String::new();
        write_spans(&mut text, &spans);
        for mut bytes in [text.into_bytes(), encode_proto(&spans)] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            any_spans(&bytes);
            if cut {
                bytes.truncate(at);
                any_spans(&bytes);
            }
        }
    }
}
