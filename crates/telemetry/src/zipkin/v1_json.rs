//! Reads spans from Zipkin's JSON of version 1.

use super::json::{endpoint, told, whole};
use super::v1::{V1, Value, convert};
use super::{SPANS_MAX, too_many};
use crate::json_reader::JsonReader;
use crate::spans::{Endpoint, Span, TraceKey, parse_id};
use base::Fault;

/// Reads a list of spans.
pub fn decode_json_v1(bytes: &[u8]) -> Result<Vec<Span>, Fault> {
    let mut reader = JsonReader::new(bytes)?;
    let mut spans = Vec::new();
    reader.array(|reader| {
        spans.extend(convert(span(reader)?));
        if spans.len() > SPANS_MAX { Err(too_many()) } else { Ok(()) }
    })?;
    reader.end()?;
    Ok(spans)
}

fn span(reader: &mut JsonReader) -> Result<V1, Fault> {
    let mut span = V1::default();
    reader.object(|reader, name| {
        match name {
            "traceId" => {
                span.trace = TraceKey::parse(&reader.string()?).map_err(|fault| told(reader, &fault))?;
            }
            "id" => span.id = parse_id("id", &reader.string()?).map_err(|fault| told(reader, &fault))?,
            _ if reader.null() => {}
            "parentId" => {
                span.parent =
                    parse_id("parentId", &reader.string()?).map_err(|fault| told(reader, &fault))?;
            }
            "name" => span.name = reader.text()?,
            "timestamp" => span.timestamp_us = whole(reader)?,
            "duration" => span.duration_us = whole(reader)?,
            "debug" => span.debug = reader.boolean()?,
            "annotations" => reader.array(|reader| {
                span.annotations.push(annotation(reader)?);
                Ok(())
            })?,
            "binaryAnnotations" => reader.array(|reader| {
                span.tags.push(tag(reader)?);
                Ok(())
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if span.trace.is_none() || span.id == 0 {
        return Err(reader.wrong("No traceId or no id"));
    }
    Ok(span)
}

fn annotation(reader: &mut JsonReader) -> Result<(u64, String, Endpoint), Fault> {
    let mut annotation = (0, String::new(), Endpoint::default());
    reader.object(|reader, name| {
        match name {
            _ if reader.null() => {}
            "timestamp" => annotation.0 = whole(reader)?,
            "value" => annotation.1 = reader.text()?,
            "endpoint" => annotation.2 = endpoint(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(annotation)
}

fn tag(reader: &mut JsonReader) -> Result<(String, Value, Endpoint), Fault> {
    let (mut key, mut value, mut place) = (String::new(), Value::Text(String::new()), Endpoint::default());
    reader.object(|reader, name| {
        match name {
            _ if reader.null() => {}
            "key" => key = reader.text()?,
            "value" => {
                let start = reader.mark();
                value = if let Ok(text) = reader.text() {
                    Value::Text(text)
                } else {
                    reader.back_to(start);
                    match reader.boolean() {
                        Ok(is) => Value::Bool(is),
                        Err(_) => Value::Text(reader.number()?.to_owned()),
                    }
                };
            }
            "endpoint" => place = endpoint(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok((key, value, place))
}
