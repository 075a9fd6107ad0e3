//! What there is to be called of consumers, one entry each.

use super::super::table::{LIMIT, Operation, Parameter, parameter};
use super::{ack, dead_letters, list, put, remove, replay, resolve, retry_all, set_paused, show, skip, take};
use crate::consumers::Wish;
use http::Method;

const AFTER: Parameter = parameter("after", "integer", "Only dead letters behind this global position.");
const WAIT: Parameter =
    parameter("wait", "number", "Seconds, at most 60, to wait for a message if there is none.");

/// All of them.
pub(in crate::http) static OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::GET,
        path: "/consumers",
        id: "listConsumers",
        docs: "All consumers, each with how far it is.",
        parameters: &[],
        takes: None,
        gives: (200, "Consumers"),
        run: |api, _, _| Box::pin(list(api)),
    },
    Operation {
        method: Method::PUT,
        path: "/consumers/{name}",
        id: "putConsumer",
        docs: "Declares a consumer, or changes one, which goes on from where it is. Where a new one begins is `start`.",
        parameters: &[],
        takes: Some("ConsumerSettings"),
        gives: (200, "Consumer"),
        run: |api, call, body| Box::pin(put(api, call, body)),
    },
    Operation {
        method: Method::GET,
        path: "/consumers/{name}",
        id: "getConsumer",
        docs: "How a consumer does.",
        parameters: &[],
        takes: None,
        gives: (200, "Consumer"),
        run: |api, call, _| Box::pin(show(api, call)),
    },
    Operation {
        method: Method::DELETE,
        path: "/consumers/{name}",
        id: "deleteConsumer",
        docs: "Forgets a consumer, its position and its list of dead letters. One of the manifest is taken out there.",
        parameters: &[],
        takes: None,
        gives: (200, "ConsumerRemoved"),
        run: |api, call, _| Box::pin(remove(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/pause",
        id: "pauseConsumer",
        docs: "Stops deliveries. Those under way end.",
        parameters: &[],
        takes: None,
        gives: (200, "Consumer"),
        run: |api, call, _| Box::pin(set_paused(api, call, true)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/resume",
        id: "resumeConsumer",
        docs: "Lets deliveries go on.",
        parameters: &[],
        takes: None,
        gives: (200, "Consumer"),
        run: |api, call, _| Box::pin(set_paused(api, call, false)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/replay",
        id: "replayConsumer",
        docs: "Sets a consumer back: it handles again what stands from there on. Deliveries under way are broken off and \
               do not count.",
        parameters: &[],
        takes: Some("Replay"),
        gives: (200, "Consumer"),
        run: |api, call, body| Box::pin(replay(api, call, body)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/skip",
        id: "skipMessages",
        docs: "Lets a consumer leave out everything up to a place, or one message that holds up its stream.",
        parameters: &[],
        takes: Some("Skip"),
        gives: (200, "Consumer"),
        run: |api, call, body| Box::pin(skip(api, call, body)),
    },
    Operation {
        method: Method::GET,
        path: "/consumers/{name}/dead-letters",
        id: "listDeadLetters",
        docs: "Messages that were tried often enough and wait for somebody. The stream `deadLetters-NAME` tells of each \
               for ever.",
        parameters: &[&[AFTER, LIMIT]],
        takes: None,
        gives: (200, "DeadLetters"),
        run: |api, call, _| Box::pin(dead_letters(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/dead-letters/retry",
        id: "retryDeadLetters",
        docs: "Has all dead letters tried again.",
        parameters: &[],
        takes: None,
        gives: (200, "Retried"),
        run: |api, call, _| Box::pin(retry_all(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/dead-letters/{global_position}/retry",
        id: "retryDeadLetter",
        docs: "Has a dead letter tried again, as the message that it was.",
        parameters: &[],
        takes: None,
        gives: (200, "Resolved"),
        run: |api, call, _| Box::pin(resolve(api, call, Wish::Retry)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/dead-letters/{global_position}/discard",
        id: "discardDeadLetter",
        docs: "Takes a dead letter off the list.",
        parameters: &[],
        takes: None,
        gives: (200, "Resolved"),
        run: |api, call, _| Box::pin(resolve(api, call, Wish::Discard)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/take",
        id: "takeMessages",
        docs: "Takes messages of a consumer without a handler, of each stream one at a time. Each is acknowledged at \
               the same node within the consumer's `timeout`, or is given again.",
        parameters: &[&[LIMIT, WAIT]],
        takes: None,
        gives: (200, "Deliveries"),
        run: |api, call, _| Box::pin(take(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/consumers/{name}/ack",
        id: "acknowledge",
        docs: "Says what became of messages that were taken.",
        parameters: &[],
        takes: Some("Acks"),
        gives: (200, "Acked"),
        run: |api, call, body| Box::pin(ack(api, call, body)),
    },
];
