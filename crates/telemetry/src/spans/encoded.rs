//! A span as bytes in the store's blocks: flags, ids, and texts with their lengths before them.

use super::{Annotation, Endpoint, Kind, Span, TraceKey};
use crate::protobuf::{put_varint, varint};
use base::{Fault, Kind as FaultKind};

pub(super) const HIGH: u8 = 8;
pub(super) const PARENT: u8 = 16;
const DEBUG: u8 = 32;
const SHARED: u8 = 64;

/// Puts a span behind the others.
pub(crate) fn encode(bytes: &mut Vec<u8>, span: &Span) {
    bytes.push(
        span.kind.map_or(0, |kind| kind as u8 + 1)
            | flag(span.trace.high != 0, HIGH)
            | flag(span.parent != 0, PARENT)
            | flag(span.debug, DEBUG)
            | flag(span.shared, SHARED),
    );
    bytes.extend_from_slice(&span.trace.low.to_le_bytes());
    for id in [span.trace.high, span.parent] {
        if id != 0 {
            bytes.extend_from_slice(&id.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&span.id.to_le_bytes());
    put_varint(bytes, span.timestamp_us);
    put_varint(bytes, span.duration_us);
    put_text(bytes, &span.name);
    for endpoint in [&span.local, &span.remote] {
        put_text(bytes, &endpoint.service);
        bytes.push(flag(endpoint.ipv4.is_some(), 1) | flag(endpoint.ipv6.is_some(), 2));
        if let Some(address) = endpoint.ipv4 {
            bytes.extend_from_slice(&address.octets());
        }
        if let Some(address) = endpoint.ipv6 {
            bytes.extend_from_slice(&address.octets());
        }
        put_varint(bytes, endpoint.port.into());
    }
    put_varint(bytes, span.annotations.len() as u64);
    for annotation in &span.annotations {
        put_varint(bytes, annotation.timestamp_us);
        put_text(bytes, &annotation.value);
    }
    put_varint(bytes, span.tags.len() as u64);
    for (key, value) in &span.tags {
        put_text(bytes, key);
        put_text(bytes, value);
    }
}

pub(super) fn flag(is: bool, flag: u8) -> u8 {
    if is { flag } else { 0 }
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Takes a span from the front. Fails where there is none.
pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Span, Fault> {
    let [flags] = take(bytes)?;
    let low = u64::from_le_bytes(take(bytes)?);
    let mut id_if = |flag: u8| match flags & flag {
        0 => Ok(0),
        _ => take(bytes).map(u64::from_le_bytes),
    };
    let (high, parent) = (id_if(HIGH)?, id_if(PARENT)?);
    let mut span = Span {
        trace: TraceKey { high, low },
        parent,
        id: u64::from_le_bytes(take(bytes)?),
        kind: Kind::of_number(u64::from(flags & 7)),
        timestamp_us: varint(bytes)?,
        duration_us: varint(bytes)?,
        name: text(bytes)?,
        local: endpoint(bytes)?,
        remote: endpoint(bytes)?,
        debug: flags & DEBUG != 0,
        shared: flags & SHARED != 0,
        ..Span::default()
    };
    for _ in 0..varint(bytes)? {
        span.annotations.push(Annotation { timestamp_us: varint(bytes)?, value: text(bytes)? });
    }
    for _ in 0..varint(bytes)? {
        span.tags.push((text(bytes)?, text(bytes)?));
    }
    Ok(span)
}

fn endpoint(bytes: &mut &[u8]) -> Result<Endpoint, Fault> {
    let service = text(bytes)?;
    let [flags] = take(bytes)?;
    let ipv4 = if flags & 1 == 0 { None } else { Some(take::<4>(bytes)?.into()) };
    let ipv6 = if flags & 2 == 0 { None } else { Some(take::<16>(bytes)?.into()) };
    let port = varint(bytes)?.try_into().map_err(|_| damaged())?;
    Ok(Endpoint { service, ipv4, ipv6, port })
}

fn text(bytes: &mut &[u8]) -> Result<String, Fault> {
    let length = usize::try_from(varint(bytes)?).unwrap_or(usize::MAX);
    let (text, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| damaged())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    *bytes = rest;
    Ok(*taken)
}

/// What the disk gave back is not what was written.
pub(crate) fn damaged() -> Fault {
    Fault::new(FaultKind::Io, "a block of spans is damaged")
        .hint("remove its file, whose spans are lost then")
}
