//! Reads spans from Zipkin's JSON of version 2. Fields that are `null` or unknown are passed over; ids must be right.

use super::{SPANS_MAX, too_many};
use crate::json_reader::JsonReader;
use crate::spans::{Annotation, Endpoint, Kind, Span, TraceKey, parse_id};
use base::Fault;

/// Reads a list of spans.
pub fn decode_json(bytes: &[u8]) -> Result<Vec<Span>, Fault> {
    let mut reader = JsonReader::new(bytes)?;
    let mut spans = Vec::new();
    reader.array(|reader| {
        if spans.len() >= SPANS_MAX {
            return Err(too_many());
        }
        spans.push(span(reader)?);
        Ok(())
    })?;
    reader.end()?;
    Ok(spans)
}

/// Reads one span.
pub fn decode_json_span(bytes: &[u8]) -> Result<Span, Fault> {
    let mut reader = JsonReader::new(bytes)?;
    let span = span(&mut reader)?;
    reader.end()?;
    Ok(span)
}

fn span(reader: &mut JsonReader) -> Result<Span, Fault> {
    let mut span = Span::default();
    reader.object(|reader, name| {
        match name {
            // These two may not be `null`.
            "traceId" => {
                span.trace = TraceKey::parse(&reader.string()?).map_err(|fault| told(reader, &fault))?;
            }
            "id" => span.id = id(reader, "id")?,
            _ if reader.null() => {}
            "parentId" => span.parent = id(reader, "parentId")?,
            "kind" => {
                let kind = reader.string()?;
                let unknown = || reader.wrong(&format!("`{kind}` is no kind of a span"));
                span.kind = Some(Kind::parse(&kind).ok_or_else(unknown)?);
            }
            "name" => span.name = reader.text()?,
            "timestamp" => span.timestamp_us = whole(reader)?,
            "duration" => span.duration_us = whole(reader)?,
            "localEndpoint" => span.local = endpoint(reader)?,
            "remoteEndpoint" => span.remote = endpoint(reader)?,
            "annotations" => reader.array(|reader| {
                span.annotations.push(annotation(reader)?);
                Ok(())
            })?,
            "tags" => reader.object(|reader, key| {
                span.tags.push((key.to_owned(), reader.text()?));
                Ok(())
            })?,
            "debug" => span.debug = reader.boolean()?,
            "shared" => span.shared = reader.boolean()?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    for (missing, name) in [(span.trace.is_none(), "traceId"), (span.id == 0, "id")] {
        if missing {
            return Err(reader.wrong(&format!("No {name}")));
        }
    }
    span.tidy();
    Ok(span)
}

/// A fault of a value, with the path to it.
pub(super) fn told(reader: &JsonReader, fault: &Fault) -> Fault {
    reader.wrong(&fault.message)
}

fn id(reader: &mut JsonReader, name: &str) -> Result<u64, Fault> {
    let text = reader.string()?;
    parse_id(name, &text).map_err(|fault| told(reader, &fault))
}

/// A time or a duration; before 1970 nothing was traced.
pub(super) fn whole(reader: &mut JsonReader) -> Result<u64, Fault> {
    Ok(reader.whole()?.try_into().unwrap_or(0))
}

fn annotation(reader: &mut JsonReader) -> Result<Annotation, Fault> {
    let (mut timestamp_us, mut value) = (0, None);
    reader.object(|reader, name| {
        match name {
            "timestamp" => timestamp_us = whole(reader)?,
            "value" => value = Some(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    match value {
        Some(value) if timestamp_us != 0 => Ok(Annotation { timestamp_us, value }),
        _ => Err(reader.wrong("Incomplete annotation")),
    }
}

pub(super) fn endpoint(reader: &mut JsonReader) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::default();
    reader.object(|reader, name| {
        match name {
            _ if reader.null() => {}
            "serviceName" => endpoint.service = reader.text()?,
            "ipv4" | "ipv6" => endpoint.take_ip(&reader.string()?),
            "port" => {
                let port = reader.whole()?;
                endpoint.port = port.try_into().map_err(|_| reader.wrong(&format!("invalid port {port}")))?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(endpoint)
}
