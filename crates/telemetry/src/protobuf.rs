//! Reads and writes the wire form of protobuf: a message is numbered fields, each a number or a run of bytes. What
//! the numbers mean is left to those who ask.

use base::{Fault, Kind};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A run of bytes; a number is refused.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(wrong("a field of bytes is a number")),
        }
    }

    /// Text.
    pub(crate) fn text(self) -> Result<String, Fault> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(wrong("a text is not UTF-8").because(error)),
        }
    }

    /// A number of any width; bytes are refused.
    pub(crate) fn number(self) -> Result<u64, Fault> {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => Ok(number),
            Self::Fixed32(number) => Ok(number.into()),
            Self::Bytes(_) => Err(wrong("a field of a number is bytes")),
        }
    }
}

/// Hands the fields of a message to `field`, with their numbers. Fails where it is none.
pub(crate) fn fields<'a>(
    mut message: &'a [u8],
    mut field: impl FnMut(u64, Value<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Fixed64(u64::from_le_bytes(array(&mut message)?)),
            2 => {
                let length = varint(&mut message)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (bytes, rest) = message.split_at_checked(length).ok_or_else(truncated)?;
                message = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(array(&mut message)?)),
            other => return Err(wrong(&format!("`{other}` is no type of a field"))),
        };
        if key >> 3 == 0 {
            return Err(wrong("a field has the number 0"));
        }
        field(key >> 3, value)?;
    }
    Ok(())
}

fn array<const N: usize>(message: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (bytes, rest) = message.split_first_chunk().ok_or_else(truncated)?;
    *message = rest;
    Ok(*bytes)
}

/// Takes a number of seven bits a byte from the front.
pub(crate) fn varint(message: &mut &[u8]) -> Result<u64, Fault> {
    let mut number = 0;
    for place in 0..10 {
        let (&byte, rest) = message.split_first().ok_or_else(truncated)?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(wrong("a number has more than 64 bits"))
}

/// Puts a number of seven bits a byte behind the others.
pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Puts a field of bytes behind the others.
pub(crate) fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(message, field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Puts a field of a number behind the others.
pub(crate) fn put_number(message: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(message, field << 3);
    put_varint(message, number);
}

/// Puts a field of eight bytes behind the others.
pub(crate) fn put_fixed64(message: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(message, field << 3 | 1);
    message.extend_from_slice(&number.to_le_bytes());
}

fn wrong(what: &str) -> Fault {
    Fault::new(Kind::Invalid, format!("the protobuf is malformed: {what}"))
}

fn truncated() -> Fault {
    wrong("it ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        put_number(&mut message, 1, u64::MAX);
        put_fixed64(&mut message, 2, 7);
        put_bytes(&mut message, 300, b"abc");
        let mut seen = Vec::new();
        fields(&message, |number, value| {
            seen.push((number, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(1, Value::Varint(u64::MAX)), (2, Value::Fixed64(7)), (300, Value::Bytes(b"abc"))]);
        for end in 1..message.len() {
            // Cut between two fields it is a shorter message; anywhere else it is none.
            let cut = fields(&message[..end], |_, _| Ok(()));
            assert_eq!(cut.is_ok(), [11, 20].contains(&end), "{end}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&[0x00, 1][..], &[0x0b], &[0x88; 12], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            assert!(fields(bytes, |_, _| Ok(())).is_err(), "{bytes:?}");
        }
        assert!(varint(&mut &[0x80; 11][..]).is_err());
    }
}
