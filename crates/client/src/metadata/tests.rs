//! Metadata comes back as it was stored, whatever stands in it, and a message follows another as Eventide's do.

use super::*;
use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

fn written() -> Metadata {
    Metadata {
        stream_name: Some("order-17".into()),
        position: Some(3),
        global_position: Some(42),
        time: Some(UnixTime(Duration::from_secs(1_700_000_000))),
        correlation_stream_name: Some("cart-5".into()),
        reply_stream_name: Some("reply-1".into()),
        properties: [("tenant".to_owned(), json!("a"))].into_iter().collect(),
        local_properties: [("attempt".to_owned(), json!(1))].into_iter().collect(),
        schema_version: Some("2".into()),
        ..Metadata::default()
    }
}

#[test]
fn following_takes_over_what_belongs_to_the_flow_and_nothing_else() {
    let mut next = Metadata {
        properties: [("tenant".to_owned(), json!("b")), ("own".to_owned(), json!(true))]
            .into_iter()
            .collect(),
        schema_version: Some("1".into()),
        correlation_stream_name: Some("other-1".into()),
        ..Metadata::default()
    };
    next.follow(&written());
    expect![[r#"
        {
          "causationMessageStreamName": "order-17",
          "causationMessagePosition": 3,
          "causationMessageGlobalPosition": 42,
          "correlationStreamName": "cart-5",
          "replyStreamName": "reply-1",
          "properties": {
            "own": true,
            "tenant": "a"
          },
          "schemaVersion": "1"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&next).unwrap());
    assert_eq!(next.causation_identifier().as_deref(), Some("order-17/3"));
    assert!(next.follows(&written()));
}

#[test]
fn a_message_follows_only_what_was_written_and_keeps_its_flow() {
    let mut next = Metadata::default();
    next.follow(&written());
    for change in [
        |metadata: &mut Metadata| metadata.causation_message_stream_name = Some("order-18".into()),
        |metadata: &mut Metadata| metadata.causation_message_position = Some(4),
        |metadata: &mut Metadata| metadata.causation_message_global_position = None,
        |metadata: &mut Metadata| metadata.correlation_stream_name = None,
        |metadata: &mut Metadata| metadata.reply_stream_name = Some("reply-2".into()),
    ] {
        let mut changed = next.clone();
        change(&mut changed);
        assert!(!changed.follows(&written()), "{changed:?}");
    }
    assert!(!Metadata::default().follows(&Metadata::default()), "neither was written");
    // A correlation of its own is no contradiction where the other had none.
    let before = Metadata { correlation_stream_name: None, reply_stream_name: None, ..written() };
    let mut own = Metadata::default();
    own.follow(&before);
    own.correlation_stream_name = Some("order-17".into());
    assert!(own.follows(&before));
}

#[test]
fn a_correlation_is_a_stream_s_or_its_category_s() {
    let metadata = written();
    assert!(metadata.is_correlated("cart-5") && metadata.is_correlated("cart"));
    assert!(!metadata.is_correlated("cart-6") && !metadata.is_correlated("car"));
    assert!(!Metadata::default().is_correlated(""));
}

#[test]
fn what_eventide_stores_is_read_and_what_it_does_not_store_is_not_written() {
    let stored = r#"{"causationMessageStreamName":"a-1","causationMessagePosition":0,"causationMessageGlobalPosition":1,
        "correlationStreamName":"c-1","replyStreamName":null,"properties":null,"schemaVersion":"1","traceparent":"00-1"}"#;
    let metadata: Metadata = serde_json::from_str(stored).unwrap();
    assert_eq!(metadata.reply_stream_name, None);
    assert_eq!(metadata.others["traceparent"], "00-1");
    let text = serde_json::to_string(&Metadata { stream_name: Some("s".into()), ..metadata }).unwrap();
    assert!(!text.contains("streamName\":\"s\"") && text.contains("traceparent"), "{text}");
    assert!(Metadata { position: Some(1), ..Metadata::default() }.is_empty());
    assert!(!written().is_empty());
}

fn any_map() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::collection::vec(any::<u32>(), 0..3).prop_map(Value::from),
    ];
    proptest::collection::vec((any::<String>(), value), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #[test]
    fn metadata_comes_back_as_it_was_stored(
        cause in proptest::option::of((any::<String>(), any::<i64>(), any::<i64>())),
        texts in proptest::array::uniform3(proptest::option::of(any::<String>())),
        properties in any_map(),
        local_properties in any_map(),
        others in any_map(),
    ) {
        let [correlation_stream_name, reply_stream_name, schema_version] = texts;
        let metadata = Metadata {
            causation_message_stream_name: cause.as_ref().map(|cause| cause.0.clone()),
            causation_message_position: cause.as_ref().map(|cause| cause.1),
            causation_message_global_position: cause.as_ref().map(|cause| cause.2),
            correlation_stream_name,
            reply_stream_name,
            properties,
            local_properties,
            schema_version,
            // Others have names of their own.
            others: others.into_iter().map(|(name, value)| (format!("x{name}"), value)).collect(),
            ..Metadata::default()
        };
        let text = serde_json::to_string(&metadata).unwrap();
        prop_assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), metadata);
    }
}
