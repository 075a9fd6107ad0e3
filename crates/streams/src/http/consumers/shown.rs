//! A consumer as JSON, and the schemas of what goes in and out.

use super::super::openapi::{list_of, object, refer};
use super::seconds;
use crate::consumers::{ShareStatus, Source, Status};
use serde_json::{Value, json};

/// A consumer.
pub(super) fn consumer(status: &Status) -> Value {
    json!({
        "name": status.name,
        "settings": status.definition.to_json(),
        "declared": if status.source == Source::Manifest { "manifest" } else { "api" },
        "state": if status.is_paused { "paused" } else { "running" },
        "position": status.position,
        "lag": {
            "messages": status.lag.messages,
            "exact": status.lag.is_exact,
            "age_seconds": status.lag.age.map(seconds),
        },
        "in_flight": status.shares.iter().map(|share| share.counted.in_flight).sum::<usize>(),
        "dead_letters": status.dead_letters,
        "more_dead_letters": status.more_dead_letters,
        "error": status.error,
        "shares": status.shares.iter().map(share).collect::<Vec<_>>(),
    })
}

fn share(share: &ShareStatus) -> Value {
    json!({
        "share": share.number,
        "node": share.node,
        "position": share.position,
        "pending": share.pending,
        "handled": share.counted.handled,
        "failed": share.counted.failed,
        "dead": share.counted.dead,
        "held": share.counted.held,
        "in_flight": share.counted.in_flight,
    })
}

/// The schemas.
pub(in crate::http) fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let whole = |docs: &str| json!({ "type": "integer", "format": "int64", "description": docs });
    let said = |docs: &str| json!({ "type": "string", "description": docs });
    let start = json!({
        "description": "`beginning`, `end`, a global position, or a time.",
        "oneOf": [{ "type": "string" }, { "type": "integer" }],
    });
    json!({
        "ConsumerSettings": {
            "type": "object", "required": ["category"], "additionalProperties": false,
            "properties": {
                "category": said("The category whose messages it takes."),
                "handler": said("Who handles them: `SERVICE/PATH`. Without one, messages are taken by who asks."),
                "types": { "type": "array", "items": text, "description": "Only messages of these types." },
                "correlation": said("Only messages whose `correlationStreamName` is of this category."),
                "start": start,
                "size": whole("Shares of the group, each with some of the streams. Usually 1."),
                "batch": whole("Messages of one push. Usually 1; more are pushed as an array."),
                "concurrency": whole("Deliveries of a share under way together, each of other streams. Usually 16."),
                "timeout": said("How long a delivery may take, such as `30s`."),
                "attempts": whole("Attempts before a message is a dead letter. Usually 10."),
                "backoff": {
                    "type": "object", "additionalProperties": false,
                    "description": "Pauses between attempts: they double from `first` to `max`, each drawn from nothing to that.",
                    "properties": { "first": text, "max": text },
                },
                "refused": { "enum": ["retry", "dead-letter"], "description": "What becomes of what the handler answers with 4xx." },
            },
        },
        "Consumer": object(&["name", "settings", "state", "position", "lag", "dead_letters", "shares"], json!({
            "name": text, "settings": refer("ConsumerSettings"),
            "declared": { "enum": ["manifest", "api"] }, "state": { "enum": ["running", "paused"] },
            "position": whole("Everything at this global position and before it is handled."),
            "lag": object(&["messages", "exact"], json!({
                "messages": whole("Not handled."),
                "exact": { "type": "boolean", "description": "Counted; otherwise the distance of global positions." },
                "age_seconds": { "type": ["number", "null"], "description": "Of the oldest that is not handled." },
            })),
            "in_flight": whole("Deliveries under way at this node."),
            "dead_letters": whole("That wait for somebody, counted up to 1,000."),
            "more_dead_letters": { "type": "boolean" },
            "error": { "type": ["string", "null"], "description": "What went wrong last at this node." },
            "shares": { "type": "array", "items": object(&["share", "node", "position"], json!({
                "share": whole("From 0."), "node": { "type": ["string", "null"] },
                "position": whole("As of the consumer."), "pending": whole("Read and not handled."),
                "handled": whole("At this node."), "failed": whole("Attempts, at this node."),
                "dead": whole("At this node."), "held": whole("In memory."), "in_flight": whole("Deliveries."),
            })) },
        })),
        "Consumers": object(&["consumers"], json!({ "consumers": { "type": "array", "items": refer("Consumer") } })),
        "ConsumerRemoved": object(&["name", "removed"], json!({ "name": text, "removed": { "type": "boolean" } })),
        "Replay": object(&["from"], json!({ "from": start })),
        "Skip": { "type": "object", "additionalProperties": false, "properties": {
            "to": { "description": "`end`, or a global position: everything up to it is left out.", "oneOf": [{ "type": "string" }, { "type": "integer" }] },
            "message": whole("The global position of a message that holds up its stream: only it is left out."),
        } },
        "DeadLetters": list_of("dead_letters", object(&["global_position", "stream_name", "position", "id", "type", "reason"], json!({
            "global_position": whole("Of the message."), "stream_name": text, "position": whole("In its stream."),
            "id": { "type": "string", "format": "uuid" }, "type": text, "reason": text,
            "attempts": whole("How often it was tried."), "before": whole("How often it was a dead letter before."),
            "time": { "type": "string", "format": "date-time" },
        }))),
        "Resolved": object(&["global_position", "done"], json!({
            "global_position": whole("Of the message."), "done": { "enum": ["retried", "discarded"] },
        })),
        "Retried": object(&["retried"], json!({ "retried": whole("Dead letters.") })),
        "Deliveries": object(&["deliveries"], json!({ "deliveries": { "type": "array", "items": object(
            &["token", "attempt", "message"],
            json!({
                "token": said("By which it is acknowledged."),
                "attempt": whole("From 1."),
                "traceparent": said("The span of the delivery, where there are spans: what the handler does belongs below it."),
                "message": refer("Message")
            }),
        ) } })),
        "Acks": object(&["acks"], json!({ "acks": { "type": "array", "items": {
            "type": "object", "required": ["token", "outcome"], "additionalProperties": false,
            "properties": {
                "token": text, "outcome": { "enum": ["done", "retry", "dead"] }, "reason": text,
                "append": { "type": "array", "items": object(&["stream_name", "messages"], json!({
                    "stream_name": text, "expected_version": whole("The version that the stream must have."),
                    "messages": { "type": "array", "items": refer("NewMessage") },
                })), "description": "Messages that follow: appended once, however often the message is handled." },
            },
        } } })),
        "Acked": object(&["acks"], json!({ "acks": { "type": "array", "items": object(&["token", "result"], json!({
            "token": text,
            "result": { "enum": ["acknowledged", "lost", "not_appended"], "description": "`lost`: too late, the message is another's." },
        })) } })),
    })
}
