//! What there is to be called, one entry each: the router, the checks of parameters and the `OpenAPI` description
//! follow from it.

use super::answer::Answered;
use super::call::Call;
use super::{Api, append, bulk, forget, lists, openapi, reading, replies, scheduled};
use http::Method;
use std::pin::Pin;
use wire::Body;

/// The answer to come.
pub(crate) type Running = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One thing to be called.
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// Behind the prefix; `{name}` is any one segment.
    pub(crate) path: &'static str,
    /// Its name for generated clients.
    pub(crate) id: &'static str,
    /// What it does, in a sentence; more may follow it.
    pub(crate) docs: &'static str,
    pub(crate) parameters: &'static [&'static [Parameter]],
    /// The schema of the body, if it takes one.
    pub(crate) takes: Option<&'static str>,
    /// Status and schema of the answer.
    pub(crate) gives: (u16, &'static str),
    pub(crate) run: fn(Api, Call, Body) -> Running,
}

impl Operation {
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied().flatten()
    }
}

/// One parameter of the query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// Its type in JSON Schema, and its format if it has one.
    pub(crate) kind: (&'static str, &'static str),
    pub(crate) docs: &'static str,
}

pub(crate) const fn parameter(name: &'static str, kind: &'static str, docs: &'static str) -> Parameter {
    Parameter { name, kind: (kind, ""), docs }
}

pub(crate) const LIMIT: Parameter = parameter("limit", "integer", "At most so many.");
const AFTER: Parameter =
    parameter("after", "string", "Only what comes behind this name, in the order of its bytes.");

/// How long a stream for answers is lent for.
const HOLD: &[Parameter] = &[parameter("hold", "number", "Seconds from now, at most 3600; 60 if not given.")];

/// Which messages are read.
const READ: &[Parameter] = &[
    parameter(
        "from",
        "integer",
        "The first position that is looked at, itself included: of the stream from 0, of a category and of all \
         messages the global one from 1.",
    ),
    LIMIT,
    parameter(
        "backward",
        "boolean",
        "From new to old, from the last message on unless `from` says otherwise.",
    ),
    parameter("type", "string", "Only messages of this type."),
    Parameter {
        name: "as_at",
        kind: ("string", "date-time"),
        docs: "Only messages that were there at this time.",
    },
    parameter("until", "integer", "Only messages up to this global position."),
    parameter("wait", "number", "Seconds, at most 60, to wait for a message if there is none (long poll)."),
    parameter("new", "boolean", "Of events: only those of messages that come from now on."),
];

/// What a consumer of a category says of itself.
const CONSUMER: &[Parameter] = &[
    parameter(
        "correlation",
        "string",
        "Only messages whose `correlationStreamName` in the metadata is of this category.",
    ),
    parameter(
        "member",
        "integer",
        "Only messages of streams that belong to this member of a consumer group, from 0.",
    ),
    parameter("size", "integer", "How many members the consumer group has."),
];

/// All of them.
pub(crate) fn operations() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(super::consumers::OPERATIONS)
}

static OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::POST,
        path: "/streams/{stream}/messages",
        id: "append",
        docs: "Appends messages to a stream, all or none, and answers when they are durable. The body is one message, \
               an array, or one a line (`application/x-ndjson`). With the field `Idempotency-Key` a call that is made \
               again appends nothing and gets the first answer.",
        parameters: &[&[
            parameter(
                "expected_version",
                "string",
                "The position of the stream's last message as the caller knows it, `none` (or -1) where there is no \
                 stream yet; if it is another, nothing is appended (409).",
            ),
            Parameter {
                name: "deliver_at",
                kind: ("string", "date-time"),
                docs: "The messages are kept and appended at this time; the answer is 202 with what they are scheduled \
                       as.",
            },
            parameter("delay", "number", "The same, so many seconds from now."),
        ]],
        takes: Some("NewMessages"),
        gives: (201, "Appended"),
        run: |api, call, body| Box::pin(append::to_stream(api, call, body)),
    },
    Operation {
        method: Method::GET,
        path: "/streams/{stream}/messages",
        id: "readStream",
        docs: "Reads a stream. `Accept: application/x-ndjson` gives all messages from there, one a line; \
               `text/event-stream` gives them as Server-Sent Events and goes on for ever.",
        parameters: &[READ],
        takes: None,
        gives: (200, "Page"),
        run: |api, call, _| Box::pin(reading::stream(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/categories/{category}/messages",
        id: "readCategory",
        docs: "Reads the messages of all streams of a category, in the order in which they were appended; in the same \
               forms as a stream.",
        parameters: &[READ, CONSUMER],
        takes: None,
        gives: (200, "Page"),
        run: |api, call, _| Box::pin(reading::category(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/messages",
        id: "readAll",
        docs: "Reads all messages, in the order in which they were appended; in the same forms as a stream.",
        parameters: &[READ],
        takes: None,
        gives: (200, "Page"),
        run: |api, call, _| Box::pin(reading::all(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/messages",
        id: "appendMany",
        docs: "Appends to several streams, all or nothing. With `application/x-ndjson` it is bulk: a message with its \
               `stream_name` a line, any number of them, in batches; what stands before a line that is refused is in.",
        parameters: &[&[parameter(
            "skip_existing",
            "boolean",
            "Of bulk: messages that are there already, as they are given, are passed over.",
        )]],
        takes: Some("Appends"),
        gives: (201, "AppendedMany"),
        run: |api, call, body| Box::pin(bulk::messages(api, call, body)),
    },
    Operation {
        method: Method::GET,
        path: "/messages/{id}",
        id: "getMessage",
        docs: "The message of an id.",
        parameters: &[],
        takes: None,
        gives: (200, "Message"),
        run: |api, call, _| Box::pin(lists::by_id(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/streams",
        id: "listStreams",
        docs: "Streams and their versions, in the order of their names' bytes.",
        parameters: &[&[
            parameter("category", "string", "Only streams of this category."),
            parameter("prefix", "string", "Only names that begin so."),
            AFTER,
            LIMIT,
        ]],
        takes: None,
        gives: (200, "Streams"),
        run: |api, call, _| Box::pin(lists::streams(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/streams/{stream}",
        id: "getStream",
        docs: "What a stream's name says, and its version; -1 where there is no message.",
        parameters: &[],
        takes: None,
        gives: (200, "Stream"),
        run: |api, call, _| Box::pin(lists::stream(api, call)),
    },
    Operation {
        method: Method::DELETE,
        path: "/streams/{stream}",
        id: "deleteStream",
        docs: "Deletes a stream's messages for good and leaves one of type `$deleted` that keeps its version.",
        parameters: &[],
        takes: None,
        gives: (200, "Removed"),
        run: |api, call, _| Box::pin(forget::stream(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/streams/{stream}/last",
        id: "lastMessage",
        docs: "A stream's last message.",
        parameters: &[&[parameter("type", "string", "The last one of this type.")]],
        takes: None,
        gives: (200, "Message"),
        run: |api, call, _| Box::pin(lists::last(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/categories",
        id: "listCategories",
        docs: "Categories, and how many messages were appended to their streams.",
        parameters: &[&[AFTER, LIMIT]],
        takes: None,
        gives: (200, "Categories"),
        run: |api, call, _| Box::pin(lists::categories(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/scheduled",
        id: "listScheduled",
        docs: "Messages that are to be appended later, the next first.",
        parameters: &[&[
            parameter("after", "string", "Only what comes behind this one, by what it is scheduled as."),
            LIMIT,
        ]],
        takes: None,
        gives: (200, "ScheduledList"),
        run: |api, call, _| Box::pin(scheduled::list(api, call)),
    },
    Operation {
        method: Method::DELETE,
        path: "/scheduled/{scheduled}",
        id: "cancelScheduled",
        docs: "Takes messages back that are still to come.",
        parameters: &[],
        takes: None,
        gives: (200, "Cancelled"),
        run: |api, call, _| Box::pin(scheduled::cancel(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/reply-streams",
        id: "lendReplyStream",
        docs: "Lends a stream for answers: give its name to who is asked, and read it with `wait`. It goes with what is \
               in it when it is given back, or not renewed in time; what comes later is recorded in the stream \
               `reply:orphans`.",
        parameters: &[HOLD],
        takes: None,
        gives: (201, "ReplyStream"),
        run: |api, call, _| Box::pin(replies::lend(api, call)),
    },
    Operation {
        method: Method::POST,
        path: "/reply-streams/{stream}/renew",
        id: "renewReplyStream",
        docs: "Lends a stream for answers for longer.",
        parameters: &[HOLD],
        takes: None,
        gives: (200, "ReplyStream"),
        run: |api, call, _| Box::pin(replies::renew(api, call)),
    },
    Operation {
        method: Method::DELETE,
        path: "/reply-streams/{stream}",
        id: "giveBackReplyStream",
        docs: "Gives a stream for answers back.",
        parameters: &[],
        takes: None,
        gives: (200, "GivenBack"),
        run: |api, call, _| Box::pin(replies::give_back(api, call)),
    },
    Operation {
        method: Method::DELETE,
        path: "/subjects/{subject}",
        id: "forgetSubject",
        docs: "Forgets the key of a person: the data of all messages whose metadata name it in `subject` are erased, \
               wherever copies of them lie.",
        parameters: &[],
        takes: None,
        gives: (200, "Forgotten"),
        run: |api, call, _| Box::pin(forget::subject(api, call)),
    },
    Operation {
        method: Method::GET,
        path: "/openapi.json",
        id: "describe",
        docs: "This description.",
        parameters: &[],
        takes: None,
        gives: (200, "Any"),
        run: |_, _, _| Box::pin(async { Ok(super::answer::value(&openapi::openapi())) }),
    },
];
