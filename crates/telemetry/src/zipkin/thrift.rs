//! Reads spans of version 1 from thrift's binary protocol, in which old clients write lists of them.

use super::v1::{V1, Value, convert};
use super::{SPANS_MAX, too_many};
use crate::spans::{Endpoint, Span, TraceKey};
use base::{Fault, Kind};

/// Structures and lists within each other.
const DEPTH_MAX: usize = 16;

const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// Reads a list of spans, or one span alone.
pub fn decode_thrift(bytes: &[u8]) -> Result<Vec<Span>, Fault> {
    let mut reader = Reader { bytes };
    let mut spans = Vec::new();
    if bytes.first() != Some(&STRUCT) {
        return Err(wrong("it is no list of spans"));
    }
    reader.list(|reader| {
        spans.extend(convert(span(reader)?));
        if spans.len() > SPANS_MAX { Err(too_many()) } else { Ok(()) }
    })?;
    Ok(spans)
}

fn wrong(what: &str) -> Fault {
    Fault::new(Kind::Invalid, format!("the thrift is malformed: {what}"))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| wrong("it ends too early"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, Fault> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Fault> {
        self.take().map(i32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.take().map(u64::from_be_bytes)
    }

    /// A time or a duration; less than nothing is nothing.
    fn micros(&mut self) -> Result<u64, Fault> {
        Ok(self.u64()?.cast_signed().try_into().unwrap_or(0))
    }

    fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.i32()?;
        let length = usize::try_from(length).map_err(|_| wrong("a length is less than nothing"))?;
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| wrong("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<String, Fault> {
        let bytes = self.binary()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| wrong("a text is not UTF-8"))
    }

    /// Reads a list from the type of its entries on, which are structures.
    fn list(&mut self, mut entry: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let [kind] = self.take()?;
        let count = self.i32()?;
        // Each takes a byte at least: a count is no reason to go on for ever.
        if count < 0 || count as usize > self.bytes.len() || (kind != STRUCT && count > 0) {
            return Err(wrong("a list is none"));
        }
        (0..count).try_for_each(|_| entry(self))
    }

    /// Hands the fields of a structure to `field`, with their types; those that it does not take are passed over.
    fn structure(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, u8) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        loop {
            let [kind] = self.take()?;
            if kind == STOP {
                return Ok(());
            }
            let number = self.i16()?;
            if !field(self, number, kind)? {
                self.skip(kind, 0)?;
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Fault> {
        if depth >= DEPTH_MAX {
            return Err(wrong("it is too deep"));
        }
        match kind {
            BOOL | BYTE => self.take::<1>().map(|_| ()),
            I16 => self.take::<2>().map(|_| ()),
            I32 => self.take::<4>().map(|_| ()),
            I64 | DOUBLE => self.take::<8>().map(|_| ()),
            STRING => self.binary().map(|_| ()),
            STRUCT => loop {
                let [kind] = self.take()?;
                if kind == STOP {
                    return Ok(());
                }
                self.i16()?;
                self.skip(kind, depth + 1)?;
            },
            LIST | SET => {
                let [kind] = self.take()?;
                let count = self.count()?;
                (0..count).try_for_each(|_| self.skip(kind, depth + 1))
            }
            MAP => {
                let [key, value] = self.take()?;
                let count = self.count()?;
                (0..count).try_for_each(|_| {
                    self.skip(key, depth + 1)?;
                    self.skip(value, depth + 1)
                })
            }
            _ => Err(wrong("a field has no type that there is")),
        }
    }

    fn count(&mut self) -> Result<usize, Fault> {
        let count = self.i32()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.bytes.len());
        count.ok_or_else(|| wrong("a list is none"))
    }
}

fn span(reader: &mut Reader) -> Result<V1, Fault> {
    let mut span = V1::default();
    reader.structure(|reader, number, kind| {
        match (number, kind) {
            (1, I64) => span.trace.low = reader.u64()?,
            (3, STRING) => span.name = reader.text()?,
            (4, I64) => span.id = reader.u64()?,
            (5, I64) => span.parent = reader.u64()?,
            (6, LIST) => reader.list(|reader| {
                span.annotations.push(annotation(reader)?);
                Ok(())
            })?,
            (8, LIST) => reader.list(|reader| {
                span.tags.extend(tag(reader)?);
                Ok(())
            })?,
            (9, BOOL) => span.debug = reader.take()? != [0],
            (10, I64) => span.timestamp_us = reader.micros()?,
            (11, I64) => span.duration_us = reader.micros()?,
            (12, I64) => span.trace.high = reader.u64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if span.trace == TraceKey::default() || span.id == 0 {
        return Err(wrong("a span has no trace id or no id"));
    }
    Ok(span)
}

fn annotation(reader: &mut Reader) -> Result<(u64, String, Endpoint), Fault> {
    let mut annotation = (0, String::new(), Endpoint::default());
    reader.structure(|reader, number, kind| {
        match (number, kind) {
            (1, I64) => annotation.0 = reader.micros()?,
            (2, STRING) => annotation.1 = reader.text()?,
            (3, STRUCT) => annotation.2 = endpoint(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(annotation)
}

/// A tag, if it is of a type that has a text.
fn tag(reader: &mut Reader) -> Result<Option<(String, Value, Endpoint)>, Fault> {
    let (mut key, mut bytes, mut kind_of, mut place) = (String::new(), &[][..], 6, Endpoint::default());
    reader.structure(|reader, number, kind| {
        match (number, kind) {
            (1, STRING) => key = reader.text()?,
            (2, STRING) => bytes = reader.binary()?,
            (3, I32) => kind_of = reader.i32()?,
            (4, STRUCT) => place = endpoint(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let number = bytes.iter().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
    let value = match (kind_of, bytes.len()) {
        (0, 1) => Value::Bool(bytes[0] != 0),
        (2, 2) => Value::Text((number as i16).to_string()),
        (3, 4) => Value::Text((number as i32).to_string()),
        (4, 8) => Value::Text(number.to_string()),
        (5, 8) => Value::Text(f64::from_bits(number.cast_unsigned()).to_string()),
        (6, _) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(wrong("a text is not UTF-8")),
        },
        _ => return Ok(None),
    };
    Ok(Some((key, value, place)))
}

fn endpoint(reader: &mut Reader) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint::default();
    reader.structure(|reader, number, kind| {
        match (number, kind) {
            (1, I32) => {
                let bits = reader.i32()?.cast_unsigned();
                endpoint.ipv4 = Some(bits).filter(|bits| *bits != 0).map(Into::into);
            }
            (2, I16) => endpoint.port = reader.i16()?.cast_unsigned(),
            (3, STRING) => endpoint.service = reader.text()?,
            (4, STRING) => {
                if let Ok(address) = <[u8; 16]>::try_from(reader.binary()?) {
                    endpoint.take_ipv6(address.into());
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(endpoint)
}
