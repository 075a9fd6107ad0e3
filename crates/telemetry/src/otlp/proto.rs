//! Reads spans from `ExportTraceServiceRequest` in protobuf.

use super::Decoded;
use super::mapping::{Attributes, Exported, Resource, Scope, Value};
use crate::protobuf::{Value as Field, fields};
use base::{Fault, Kind};

/// Lists and maps within each other.
const DEPTH_MAX: usize = 16;

/// Reads the spans of a message.
pub fn decode_proto(bytes: &[u8]) -> Result<Decoded, Fault> {
    let mut decoded = Decoded::default();
    fields(bytes, |number, value| match number {
        1 => of_resource(value.bytes()?, &mut decoded),
        _ => Ok(()),
    })?;
    Ok(decoded)
}

fn of_resource(bytes: &[u8], decoded: &mut Decoded) -> Result<(), Fault> {
    // What comes first on the wire is not said: the resource is looked for before its spans are read.
    let mut resource = Resource::default();
    fields(bytes, |number, value| match number {
        1 => fields(value.bytes()?, |number, value| match number {
            1 => put_attribute(&mut resource.attributes, value, 0),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    fields(bytes, |number, value| match number {
        2 => of_scope(value.bytes()?, &resource, decoded),
        _ => Ok(()),
    })
}

fn of_scope(bytes: &[u8], resource: &Resource, decoded: &mut Decoded) -> Result<(), Fault> {
    let mut scope = Scope::default();
    fields(bytes, |number, value| match number {
        1 => fields(value.bytes()?, |number, value| {
            match number {
                1 => scope.name = value.text()?,
                2 => scope.version = value.text()?,
                3 => put_attribute(&mut scope.attributes, value, 0)?,
                _ => {}
            }
            Ok(())
        }),
        _ => Ok(()),
    })?;
    fields(bytes, |number, value| match number {
        2 => decoded.take(span(value.bytes()?)?, resource, &scope),
        _ => Ok(()),
    })
}

/// An id as a number; one of another length is none, which is zero.
fn id<const N: usize>(value: Field) -> Result<u128, Fault> {
    let bytes = value.bytes()?;
    let length = if bytes.len() == N { N } else { 0 };
    Ok(bytes[..length].iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

fn span(bytes: &[u8]) -> Result<Exported, Fault> {
    let mut span = Exported::default();
    fields(bytes, |number, value| {
        match number {
            1 => span.trace = id::<16>(value)?,
            2 => span.id = id::<8>(value)? as u64,
            3 => span.state = value.text()?,
            4 => span.parent = id::<8>(value)? as u64,
            5 => span.name = value.text()?,
            6 => span.kind = value.number()?,
            7 => span.start_ns = value.number()?,
            8 => span.end_ns = value.number()?,
            9 => put_attribute(&mut span.attributes, value, 0)?,
            10 => span.dropped_attributes = value.number()?,
            11 => span.events.push(event(value.bytes()?)?),
            12 => span.dropped_events = value.number()?,
            13 => {
                let mut link = (0, 0);
                fields(value.bytes()?, |number, value| {
                    match number {
                        1 => link.0 = id::<16>(value)?,
                        2 => link.1 = id::<8>(value)? as u64,
                        _ => {}
                    }
                    Ok(())
                })?;
                span.links.push(link);
            }
            15 => fields(value.bytes()?, |number, value| {
                match number {
                    2 => span.message = value.text()?,
                    3 => span.status = value.number()?,
                    _ => {}
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

fn event(bytes: &[u8]) -> Result<(u64, String, Attributes), Fault> {
    let mut event = (0, String::new(), Attributes::new());
    fields(bytes, |number, value| {
        match number {
            1 => event.0 = value.number()?,
            2 => event.1 = value.text()?,
            3 => put_attribute(&mut event.2, value, 0)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

fn put_attribute(attributes: &mut Attributes, value: Field, depth: usize) -> Result<(), Fault> {
    let (mut name, mut found) = (String::new(), Value::Empty);
    fields(value.bytes()?, |number, value| {
        match number {
            1 => name = value.text()?,
            2 => found = any(value.bytes()?, depth)?,
            _ => {}
        }
        Ok(())
    })?;
    attributes.push((name, found));
    Ok(())
}

fn any(bytes: &[u8], depth: usize) -> Result<Value, Fault> {
    if depth >= DEPTH_MAX {
        return Err(Fault::new(Kind::Invalid, "the value of an attribute is too deep"));
    }
    let mut found = Value::Empty;
    fields(bytes, |number, value| {
        found = match number {
            1 => Value::Text(value.text()?),
            2 => Value::Bool(value.number()? != 0),
            3 => Value::Int(value.number()?.cast_signed()),
            4 => Value::Double(f64::from_bits(value.number()?)),
            5 => {
                let mut values = Vec::new();
                fields(value.bytes()?, |_, value| {
                    values.push(any(value.bytes()?, depth + 1)?);
                    Ok(())
                })?;
                Value::List(values)
            }
            6 => {
                let mut values = Attributes::new();
                fields(value.bytes()?, |_, value| put_attribute(&mut values, value, depth + 1))?;
                Value::Map(values)
            }
            7 => Value::Bytes(value.bytes()?.to_vec()),
            _ => return Ok(()),
        };
        Ok(())
    })?;
    Ok(found)
}
