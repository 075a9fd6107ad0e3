//! Reads spans from `ExportTraceServiceRequest` in JSON: ids in hex, numbers of 64 bits as text or not.

use super::Decoded;
use super::mapping::{Attributes, Exported, Resource, Scope, Value};
use crate::json_reader::JsonReader;
use base::Fault;
use base64::Engine as _;

/// Names of kinds, which some senders use in the place of their numbers.
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Reads the spans of a message.
pub fn decode_json(bytes: &[u8]) -> Result<Decoded, Fault> {
    let mut decoded = Decoded::default();
    let mut reader = JsonReader::new(bytes)?;
    reader.object(|reader, name| match name {
        "resourceSpans" if !reader.null() => reader.array(|reader| of_resource(reader, &mut decoded)),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(decoded)
}

/// Reads in two goes: the resource may stand behind its spans.
fn of_resource(reader: &mut JsonReader, decoded: &mut Decoded) -> Result<(), Fault> {
    let mut resource = Resource::default();
    let start = reader.mark();
    reader.object(|reader, name| match name {
        "resource" if !reader.null() => reader.object(|reader, name| match name {
            "attributes" if !reader.null() => attributes(reader, &mut resource.attributes),
            _ => reader.skip(),
        }),
        _ => reader.skip(),
    })?;
    reader.back_to(start);
    reader.object(|reader, name| match name {
        "scopeSpans" if !reader.null() => reader.array(|reader| of_scope(reader, &resource, decoded)),
        _ => reader.skip(),
    })
}

fn of_scope(reader: &mut JsonReader, resource: &Resource, decoded: &mut Decoded) -> Result<(), Fault> {
    let mut scope = Scope::default();
    let start = reader.mark();
    reader.object(|reader, name| match name {
        "scope" if !reader.null() => reader.object(|reader, name| {
            match name {
                _ if reader.null() => {}
                "name" => scope.name = reader.text()?,
                "version" => scope.version = reader.text()?,
                "attributes" => attributes(reader, &mut scope.attributes)?,
                _ => reader.skip()?,
            }
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    reader.back_to(start);
    reader.object(|reader, name| match name {
        "spans" if !reader.null() => reader.array(|reader| decoded.take(span(reader)?, resource, &scope)),
        _ => reader.skip(),
    })
}

/// An id in hex of either case; one of another length is none, which is zero.
fn id(reader: &mut JsonReader, digits: usize) -> Result<u128, Fault> {
    let text = reader.string()?;
    let is_id = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(if is_id { u128::from_str_radix(&text, 16).unwrap_or(0) } else { 0 })
}

fn whole(reader: &mut JsonReader) -> Result<u64, Fault> {
    Ok(reader.whole()?.try_into().unwrap_or(0))
}

/// A number, or the name that stands for it.
fn numbered(reader: &mut JsonReader, names: &[&str]) -> Result<u64, Fault> {
    let start = reader.mark();
    if let Ok(text) = reader.string()
        && let Some(number) = names.iter().position(|name| *name == text)
    {
        return Ok(number as u64);
    }
    reader.back_to(start);
    whole(reader)
}

fn span(reader: &mut JsonReader) -> Result<Exported, Fault> {
    let mut span = Exported::default();
    reader.object(|reader, name| {
        match name {
            _ if reader.null() => {}
            "traceId" => span.trace = id(reader, 32)?,
            "spanId" => span.id = id(reader, 16)? as u64,
            "parentSpanId" => span.parent = id(reader, 16)? as u64,
            "traceState" => span.state = reader.text()?,
            "name" => span.name = reader.text()?,
            "kind" => span.kind = numbered(reader, &KINDS)?,
            "startTimeUnixNano" => span.start_ns = whole(reader)?,
            "endTimeUnixNano" => span.end_ns = whole(reader)?,
            "attributes" => attributes(reader, &mut span.attributes)?,
            "droppedAttributesCount" => span.dropped_attributes = whole(reader)?,
            "events" => reader.array(|reader| {
                span.events.push(event(reader)?);
                Ok(())
            })?,
            "droppedEventsCount" => span.dropped_events = whole(reader)?,
            "links" => reader.array(|reader| {
                let mut link = (0, 0);
                reader.object(|reader, name| {
                    match name {
                        "traceId" => link.0 = id(reader, 32)?,
                        "spanId" => link.1 = id(reader, 16)? as u64,
                        _ => reader.skip()?,
                    }
                    Ok(())
                })?;
                span.links.push(link);
                Ok(())
            })?,
            "status" => reader.object(|reader, name| {
                match name {
                    _ if reader.null() => {}
                    "message" => span.message = reader.text()?,
                    "code" => span.status = numbered(reader, &STATUSES)?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(span)
}

fn event(reader: &mut JsonReader) -> Result<(u64, String, Attributes), Fault> {
    let mut event = (0, String::new(), Attributes::new());
    reader.object(|reader, name| {
        match name {
            _ if reader.null() => {}
            "timeUnixNano" => event.0 = whole(reader)?,
            "name" => event.1 = reader.text()?,
            "attributes" => attributes(reader, &mut event.2)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(event)
}

fn attributes(reader: &mut JsonReader, attributes: &mut Attributes) -> Result<(), Fault> {
    reader.array(|reader| {
        let (mut key, mut value) = (String::new(), Value::Empty);
        reader.object(|reader, name| {
            match name {
                _ if reader.null() => {}
                "key" => key = reader.text()?,
                "value" => value = any(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        attributes.push((key, value));
        Ok(())
    })
}

fn any(reader: &mut JsonReader) -> Result<Value, Fault> {
    let mut found = Value::Empty;
    reader.object(|reader, name| {
        found = match name {
            _ if reader.null() => return Ok(()),
            "stringValue" => Value::Text(reader.text()?),
            "boolValue" => Value::Bool(reader.boolean()?),
            "intValue" => Value::Int(reader.whole()?),
            "doubleValue" => Value::Double(double(reader)?),
            "bytesValue" => {
                let text = reader.string()?;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
                Value::Bytes(bytes.map_err(|_| reader.wrong("Expected base64"))?)
            }
            "arrayValue" => {
                let mut values = Vec::new();
                reader.object(|reader, name| match name {
                    "values" => reader.array(|reader| {
                        values.push(any(reader)?);
                        Ok(())
                    }),
                    _ => reader.skip(),
                })?;
                Value::List(values)
            }
            "kvlistValue" => {
                let mut values = Attributes::new();
                reader.object(|reader, name| match name {
                    "values" => attributes(reader, &mut values),
                    _ => reader.skip(),
                })?;
                Value::Map(values)
            }
            _ => return reader.skip(),
        };
        Ok(())
    })?;
    Ok(found)
}

/// A number; those that JSON has no number for come as text.
fn double(reader: &mut JsonReader) -> Result<f64, Fault> {
    let start = reader.mark();
    if let Ok(text) = reader.string() {
        return text.parse().map_err(|_| reader.wrong("Expected a number"));
    }
    reader.back_to(start);
    let text = reader.number()?;
    text.parse().map_err(|_| reader.wrong("Expected a number"))
}
