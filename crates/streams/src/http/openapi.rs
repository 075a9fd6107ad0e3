//! The API described in `OpenAPI` 3.1, made of the table of operations and the schemas here.

use super::PREFIX;
use super::table::{OPERATIONS, Operation};
use serde_json::{Map, Value, json};

/// The description, as `GET /api/v1/openapi.json` gives it.
pub fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
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
        "components": { "schemas": schemas() },
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

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn list_of(name: &str, item: Value) -> Value {
    object(
        &[name, "more"],
        json!({ name: { "type": "array", "items": item }, "more": { "type": "boolean" } }),
    )
}

fn refer(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
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
        "Forgotten": object(&["subject", "forgotten"], json!({ "subject": text, "forgotten": { "type": "boolean" } })),
        "Problem": object(&["error", "code"], json!({
            "error": { "type": "string", "description": "What is wrong, for people." },
            "code": { "type": "string", "description": "What is wrong, for machines." },
            "hint": { "type": "string", "description": "What to do about it." },
        })),
    })
}
