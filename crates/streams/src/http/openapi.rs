//! The API described, made of the table of operations and the schemas here: in `OpenAPI` 3.1 for machines, as a page
//! for people.

use super::table::{Operation, operations};
use super::{PREFIX, bounds};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The description, as `GET /api/v1/openapi.json` gives it.
pub fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let path = paths.entry(format!("{PREFIX}{}", operation.path)).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tombolo: streams",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Streams of messages: append-only logs under a name, read from a position.",
        },
        "paths": paths,
        "components": { "schemas": all_schemas() },
    })
}

fn described(operation: &Operation) -> Value {
    let names = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = operation.parameters().map(|parameter| {
        let mut schema = json!({ "type": parameter.kind.0 });
        if !parameter.kind.1.is_empty() {
            schema["format"] = parameter.kind.1.into();
        }
        json!({ "name": parameter.name, "in": "query", "description": parameter.docs, "schema": schema })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let (status, gives) = operation.gives;
    let mut about = json!({
        "operationId": operation.id,
        "summary": operation.docs.split(['.', ':']).next().unwrap_or_default(),
        "description": operation.docs,
        "parameters": parameters,
        "responses": {
            status.to_string(): { "description": "Done.", "content": content(gives) },
            "default": { "description": "Not done.", "content": content("Problem") },
        },
    });
    if let Some(takes) = operation.takes {
        about["requestBody"] = json!({ "required": true, "content": content(takes) });
    }
    about
}

fn content(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

pub(super) fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

pub(super) fn list_of(name: &str, item: Value) -> Value {
    object(
        &[name, "more"],
        json!({ name: { "type": "array", "items": item }, "more": { "type": "boolean" } }),
    )
}

pub(super) fn refer(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn all_schemas() -> Value {
    let mut all = schemas();
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), super::consumers::schemas()) {
        all.extend(more);
    }
    all
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let id = json!({ "type": "string", "format": "uuid" });
    let time = json!({ "type": "string", "format": "date-time" });
    let whole = |docs: &str| json!({ "type": "integer", "format": "int64", "description": docs });
    json!({
        "Any": {},
        "Message": object(
            &["id", "stream_name", "type", "position", "global_position", "data", "metadata", "time"],
            json!({
                "id": id, "stream_name": text, "type": text,
                "position": whole("In its stream, from 0."),
                "global_position": whole("In the store, from 1."),
                "data": { "description": "What it says; any JSON." },
                "metadata": { "description": "What is to be known about it; any JSON." },
                "time": time,
            }),
        ),
        "NewMessage": {
            "type": "object", "required": ["type"], "additionalProperties": false,
            "properties": {
                "id": { "type": "string", "format": "uuid", "description": "Unique in the whole store; chosen if not given." },
                "type": text,
                "data": { "description": "What it says; any JSON." },
                "metadata": { "description": "What is to be known about it; any JSON." },
            },
        },
        "NewMessages": { "oneOf": [refer("NewMessage"), { "type": "array", "items": refer("NewMessage") }] },
        "Appends": object(&["appends"], json!({ "appends": { "type": "array", "items": object(
            &["stream_name", "messages"],
            json!({
                "stream_name": text,
                "expected_version": whole("The position of the stream's last message, -1 for none."),
                "messages": { "type": "array", "items": refer("NewMessage") },
            }),
        ) } })),
        "Appended": object(
            &["stream_name", "first_position", "last_position", "first_global_position", "last_global_position", "time", "ids"],
            json!({
                "stream_name": text,
                "first_position": whole("Of the first message in its stream."),
                "last_position": whole("Of the last message: the stream's version now."),
                "first_global_position": whole("Of the first message in the store."),
                "last_global_position": whole("Of the last message in the store."),
                "time": time,
                "ids": { "type": "array", "items": id },
            }),
        ),
        "AppendedMany": object(&["appended"], json!({ "appended": { "type": "array", "items": refer("Appended") } })),
        "Page": object(&["messages", "next", "more"], json!({
            "messages": { "type": "array", "items": refer("Message") },
            "next": whole("Where the next page begins: give it as `from`."),
            "more": { "type": "boolean", "description": "Whether the page ended at a limit, so that there may be more now." },
        })),
        "Stream": object(&["stream_name", "category", "id", "cardinal_id", "version"], json!({
            "stream_name": text, "category": text,
            "id": { "type": ["string", "null"] }, "cardinal_id": { "type": ["string", "null"] },
            "version": whole("The position of the last message, -1 for none."),
        })),
        "Streams": list_of("streams", object(&["stream_name", "version"], json!({ "stream_name": text, "version": whole("The position of the last message.") }))),
        "Categories": list_of("categories", object(&["category", "messages"], json!({ "category": text, "messages": whole("Appended to its streams.") }))),
        "Removed": object(&["stream_name", "removed"], json!({ "stream_name": text, "removed": whole("Messages that are gone.") })),
        "ScheduledList": list_of("scheduled", object(&["scheduled", "deliver_at", "stream_name", "messages"], json!({
            "scheduled": text, "deliver_at": time, "stream_name": text, "messages": whole("How many."),
        }))),
        "Cancelled": object(&["scheduled", "cancelled"], json!({ "scheduled": text, "cancelled": { "type": "boolean" } })),
        "ReplyStream": object(&["stream_name", "until"], json!({ "stream_name": text, "until": time })),
        "GivenBack": object(&["stream_name", "given_back"], json!({ "stream_name": text, "given_back": { "type": "boolean" } })),
        "Forgotten": object(&["subject", "forgotten"], json!({ "subject": text, "forgotten": { "type": "boolean" } })),
        "Problem": object(&["error", "code"], json!({
            "error": { "type": "string", "description": "What is wrong, for people." },
            "code": { "type": "string", "description": "What is wrong, for machines." },
            "hint": { "type": "string", "description": "What to do about it." },
        })),
    })
}

/// The reference page, made of the same table.
pub fn reference() -> String {
    let mut page = String::from(
        "# Streams over HTTP\n\nGenerated from the table in the code. All paths begin with `/api/v1` on the API's \
         address (`gateway.api` of the manifest, 127.0.0.1:4600 as a rule); a running server describes itself in \
         OpenAPI 3.1 at `/api/v1/openapi.json`. Programs of this machine may call; pages that a browser shows from \
         elsewhere may not. Names in paths are percent-encoded. What is wrong is told with a status, and in JSON with \
         `error`, `code` and often `hint`.\n\n| call | what it does |\n|---|---|\n",
    );
    for operation in operations() {
        let anchor = operation.id.to_ascii_lowercase();
        let first =
            operation.docs.split_once(". ").map_or(operation.docs.trim_end_matches('.'), |(first, _)| first);
        let _ = writeln!(page, "| [`{} {}`](#{anchor}) | {first}. |", operation.method, operation.path);
    }
    for operation in operations() {
        let (status, gives) = operation.gives;
        let _ = write!(
            page,
            "\n## {}\n\n`{} {}`\n\n{}\n",
            operation.id, operation.method, operation.path, operation.docs
        );
        let body = operation.takes.map_or_else(String::new, |takes| format!("Takes `{takes}`, answers"));
        let answers = if body.is_empty() { "Answers" } else { &body };
        let _ = write!(page, "\n{answers} {status} with `{gives}`.\n");
        if operation.parameters().next().is_some() {
            page.push_str("\n| parameter | type | |\n|---|---|---|\n");
            for parameter in operation.parameters() {
                let _ =
                    writeln!(page, "| `{}` | {} | {} |", parameter.name, parameter.kind.0, parameter.docs);
            }
        }
    }
    page.push_str("\n## Limits\n\n| what | at most |\n|---|---|\n");
    let mebibytes = |bytes: usize| format!("{} MiB", bytes >> 20);
    for (what, most) in [
        ("data or metadata of a message", mebibytes(store::bounds::JSON_BYTES_MAX)),
        ("messages of one append", store::bounds::APPEND_MESSAGES_MAX.to_string()),
        ("bytes of one append", mebibytes(store::bounds::APPEND_BYTES_MAX)),
        ("body of a call", mebibytes(bounds::BODY_BYTES_MAX)),
        ("line of bulk, of which there may be any number", mebibytes(bounds::LINE_BYTES_MAX)),
        ("messages of a page", store::bounds::PAGE_MESSAGES_MAX.to_string()),
        ("entries of a list", bounds::LIST_MAX.to_string()),
        ("wait of a long poll", format!("{} s", bounds::WAIT_MAX.as_secs())),
        ("followers and long polls at a time", bounds::FOLLOWERS_MAX.to_string()),
        ("consumers", crate::consumers::bounds::CONSUMERS_MAX.to_string()),
        ("dead letters of a consumer that wait", crate::consumers::bounds::DEAD_LETTERS_KEPT_MAX.to_string()),
        ("messages of one take", crate::consumers::TAKE_MAX.to_string()),
        ("acknowledgements of one call", crate::consumers::ACKS_MAX.to_string()),
        ("`Idempotency-Key`", format!("{} bytes", bounds::KEY_BYTES_MAX)),
    ] {
        let _ = writeln!(page, "| {what} | {most} |");
    }
    page
}
