//! Reads and writes spans in Zipkin's protobuf (`zipkin.proto3.ListOfSpans`).

use super::{SPANS_MAX, too_many};
use crate::protobuf::{Value, fields, put_bytes, put_fixed64, put_number};
use crate::spans::{Annotation, Endpoint, Kind, Span, TraceKey};
use base::{Fault, Kind as FaultKind};

/// Reads a list of spans.
pub fn decode_proto(bytes: &[u8]) -> Result<Vec<Span>, Fault> {
    let mut spans = Vec::new();
    fields(bytes, |number, value| {
        if number == 1 {
            if spans.len() >= SPANS_MAX {
                return Err(too_many());
            }
            spans.push(span(value.bytes()?)?);
        }
        Ok(())
    })?;
    Ok(spans)
}

fn span(bytes: &[u8]) -> Result<Span, Fault> {
    let mut span = Span::default();
    fields(bytes, |number, value| {
        match number {
            1 => span.trace = trace(value.bytes()?)?,
            2 => span.parent = id(value.bytes()?)?,
            3 => span.id = id(value.bytes()?)?,
            4 => span.kind = Kind::of_number(value.number()?),
            5 => span.name = value.text()?,
            6 => span.timestamp_us = value.number()?,
            7 => span.duration_us = value.number()?,
            8 => span.local = endpoint(value.bytes()?)?,
            9 => span.remote = endpoint(value.bytes()?)?,
            10 => span.annotations.push(annotation(value.bytes()?)?),
            11 => span.tags.push(tag(value.bytes()?)?),
            12 => span.debug = value.number()? != 0,
            13 => span.shared = value.number()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    if span.trace.is_none() || span.id == 0 {
        return Err(Fault::new(FaultKind::Invalid, "a span has no trace id or no id"));
    }
    span.tidy();
    Ok(span)
}

/// The id of a trace in bytes: 8 or 16 of them, not all zero.
pub(crate) fn trace(bytes: &[u8]) -> Result<TraceKey, Fault> {
    let bits = match bytes.len() {
        8 | 16 => bytes.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte)),
        _ => 0,
    };
    if bits == 0 {
        return Err(Fault::new(FaultKind::Invalid, "a trace id is not 8 or 16 bytes that are not all zero"));
    }
    Ok(TraceKey { high: (bits >> 64) as u64, low: bits as u64 })
}

/// The id of a span in bytes; none is zero.
pub(crate) fn id(bytes: &[u8]) -> Result<u64, Fault> {
    match (bytes.len(), <[u8; 8]>::try_from(bytes)) {
        (0, _) => Ok(0),
        (_, Ok(bytes)) => Ok(u64::from_be_bytes(bytes)),
        (length, Err(_)) => {
            Err(Fault::new(FaultKind::Invalid, format!("the id of a span has {length} bytes, not 8")))
        }
    }
}

fn endpoint(bytes: &[u8]) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::default();
    fields(bytes, |number, value| {
        match number {
            1 => endpoint.service = value.text()?,
            2 => endpoint.ipv4 = <[u8; 4]>::try_from(value.bytes()?).ok().map(Into::into),
            3 => {
                if let Ok(address) = <[u8; 16]>::try_from(value.bytes()?) {
                    endpoint.take_ipv6(address.into());
                }
            }
            4 => {
                let port = value.number()?;
                let wrong = |_| Fault::new(FaultKind::Invalid, format!("invalid port {port}"));
                endpoint.port = port.try_into().map_err(wrong)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(endpoint)
}

fn annotation(bytes: &[u8]) -> Result<Annotation, Fault> {
    let (mut timestamp_us, mut text) = (0, String::new());
    fields(bytes, |number, value| {
        match number {
            1 => timestamp_us = value.number()?,
            2 => text = value.text()?,
            _ => {}
        }
        Ok(())
    })?;
    if timestamp_us == 0 {
        return Err(Fault::new(FaultKind::Invalid, "an annotation has no timestamp"));
    }
    Ok(Annotation { timestamp_us, value: text })
}

fn tag(bytes: &[u8]) -> Result<(String, String), Fault> {
    let mut pair = (String::new(), String::new());
    fields(bytes, |number, value: Value| {
        match number {
            1 => pair.0 = value.text()?,
            2 => pair.1 = value.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(pair)
}

/// Writes a list of spans.
pub fn encode_proto(spans: &[Span]) -> Vec<u8> {
    let mut list = Vec::new();
    for span in spans {
        put_bytes(&mut list, 1, &encode_span(span));
    }
    list
}

fn encode_span(span: &Span) -> Vec<u8> {
    let mut message = Vec::new();
    let TraceKey { high, low } = span.trace;
    let trace = [high.to_be_bytes(), low.to_be_bytes()].concat();
    put_bytes(&mut message, 1, if high == 0 { &trace[8..] } else { &trace });
    if span.parent != 0 {
        put_bytes(&mut message, 2, &span.parent.to_be_bytes());
    }
    put_bytes(&mut message, 3, &span.id.to_be_bytes());
    if let Some(kind) = span.kind {
        put_number(&mut message, 4, kind as u64 + 1);
    }
    if !span.name.is_empty() {
        put_bytes(&mut message, 5, span.name.as_bytes());
    }
    if span.timestamp_us != 0 {
        put_fixed64(&mut message, 6, span.timestamp_us);
    }
    if span.duration_us != 0 {
        put_number(&mut message, 7, span.duration_us);
    }
    for (number, endpoint) in [(8, &span.local), (9, &span.remote)] {
        if !endpoint.is_empty() {
            put_bytes(&mut message, number, &encode_endpoint(endpoint));
        }
    }
    for annotation in &span.annotations {
        let mut inner = Vec::new();
        put_fixed64(&mut inner, 1, annotation.timestamp_us);
        put_bytes(&mut inner, 2, annotation.value.as_bytes());
        put_bytes(&mut message, 10, &inner);
    }
    for (key, value) in &span.tags {
        let mut inner = Vec::new();
        put_bytes(&mut inner, 1, key.as_bytes());
        put_bytes(&mut inner, 2, value.as_bytes());
        put_bytes(&mut message, 11, &inner);
    }
    for (number, flag) in [(12, span.debug), (13, span.shared)] {
        if flag {
            put_number(&mut message, number, 1);
        }
    }
    message
}

fn encode_endpoint(endpoint: &Endpoint) -> Vec<u8> {
    let mut message = Vec::new();
    if !endpoint.service.is_empty() {
        put_bytes(&mut message, 1, endpoint.service.as_bytes());
    }
    if let Some(address) = endpoint.ipv4 {
        put_bytes(&mut message, 2, &address.octets());
    }
    if let Some(address) = endpoint.ipv6 {
        put_bytes(&mut message, 3, &address.octets());
    }
    if endpoint.port != 0 {
        put_number(&mut message, 4, endpoint.port.into());
    }
    message
}
