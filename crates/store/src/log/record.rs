//! One record of the log: a message with all that is to be known of it, framed by its length and a checksum.
//! `docs/store-format.md` has the table of its bytes.

use crate::{Json, Message, Uuid};

/// Bytes before the texts.
pub(crate) const HEAD_BYTES: usize = 64;
/// Bytes before what a record's length counts.
const FRAME_BYTES: usize = 16;
/// Records begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// No record is longer: its texts are bounded by [`crate::bounds`].
pub(crate) const BYTES_MAX: usize =
    HEAD_BYTES + 2 * crate::bounds::NAME_BYTES_MAX + 2 * crate::bounds::JSON_BYTES_MAX + ALIGN;

const KIND_MESSAGE: u8 = 1;
const KIND_REMOVED: u8 = 2;
const FLAG_MORE: u8 = 1;
const FLAG_DATA: u8 = 2;
const FLAG_METADATA: u8 = 4;

/// A record as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The message was taken away; only its positions and its time are left.
    pub(crate) removed: bool,
    /// The append that this record belongs to goes on in the next one.
    pub(crate) more: bool,
    /// Where in the segment the group that was made durable with this record begins.
    pub(crate) group: u32,
    pub(crate) global_position: i64,
    pub(crate) position: i64,
    pub(crate) time: i64,
    pub(crate) id: Uuid,
    pub(crate) stream: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) metadata: Option<&'a str>,
    pub(crate) data: Option<&'a str>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Its length or its kind can't be.
    Frame,
    /// It needs so many bytes, and fewer were given.
    Short(usize),
    /// Its checksum is another.
    Checksum,
}

impl<'a> Record<'a> {
    /// Appends the record's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_open(out);
        close(&mut out[start..]);
    }

    /// Appends the record's bytes, but for the checksum.
    pub(crate) fn write_open(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (metadata, data) = (self.metadata.unwrap_or_default(), self.data.unwrap_or_default());
        let texts = self.stream.len() + self.kind.len() + metadata.len() + data.len();
        let flags = u8::from(self.more) * FLAG_MORE
            + u8::from(self.data.is_some()) * FLAG_DATA
            + u8::from(self.metadata.is_some()) * FLAG_METADATA;
        out.reserve(HEAD_BYTES + texts + ALIGN);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&((HEAD_BYTES - FRAME_BYTES + texts) as u32).to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.push(if self.removed { KIND_REMOVED } else { KIND_MESSAGE });
        out.push(flags);
        out.extend_from_slice(&(self.stream.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.global_position.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&(self.kind.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
        for text in [self.stream, self.kind, metadata, data] {
            out.extend_from_slice(text.as_bytes());
        }
        out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
    }

    /// Reads the record at the beginning of `bytes`. Answers how many bytes it takes, too.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(Self, usize), Bad> {
        if bytes.len() < HEAD_BYTES {
            return Err(Bad::Short(HEAD_BYTES));
        }
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let kind = bytes[12];
        let end = FRAME_BYTES + u32_at(bytes, 4) as usize;
        if !(HEAD_BYTES..=BYTES_MAX).contains(&end) || !matches!(kind, KIND_MESSAGE | KIND_REMOVED) {
            return Err(Bad::Frame);
        }
        let padded = end.next_multiple_of(ALIGN);
        if bytes.len() < padded {
            return Err(Bad::Short(padded));
        }
        if crc32c::crc32c(&bytes[4..end]) != u32_at(bytes, 0) {
            return Err(Bad::Checksum);
        }
        let mut rest = &bytes[HEAD_BYTES..end];
        let mut text = |length: usize| {
            let (text, behind) = rest.split_at_checked(length)?;
            rest = behind;
            std::str::from_utf8(text).ok()
        };
        let lengths = (u16_at(14), u16_at(56), u32_at(bytes, 60) as usize);
        let texts = (|| {
            let texts = (text(lengths.0)?, text(lengths.1)?, text(lengths.2)?);
            Some((texts, text(end - HEAD_BYTES - lengths.0 - lengths.1 - lengths.2)?))
        })();
        // The checksum holds, so that only a mistake of ours or a forgery gets here.
        let ((stream, type_name, metadata), data) = texts.ok_or(Bad::Frame)?;
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[40..56]);
        let record = Self {
            removed: kind == KIND_REMOVED,
            more: bytes[13] & FLAG_MORE != 0,
            group: u32_at(bytes, 8),
            global_position: i64_at(bytes, 16),
            position: i64_at(bytes, 24),
            time: i64_at(bytes, 32),
            id: Uuid::from_bytes(id),
            stream,
            kind: type_name,
            metadata: (bytes[13] & FLAG_METADATA != 0).then_some(metadata),
            data: (bytes[13] & FLAG_DATA != 0).then_some(data),
        };
        Ok((record, padded))
    }

    /// What is left of the record when its message is removed: where and when it was.
    pub(crate) fn remains(&self, group: u32) -> Self {
        Self { removed: true, group, id: Uuid::nil(), kind: "", metadata: None, data: None, ..*self }
    }

    /// The message that it keeps.
    pub(crate) fn message(&self) -> Message {
        Message {
            id: self.id,
            stream: self.stream.to_owned(),
            kind: self.kind.to_owned(),
            position: self.position,
            global_position: self.global_position,
            data: self.data.map(Json::trusted),
            metadata: self.metadata.map(Json::trusted),
            time: self.time,
        }
    }
}

/// Sets the checksum of a record.
fn close(record: &mut [u8]) {
    let end = FRAME_BYTES + u32_at(record, 4) as usize;
    let checksum = crc32c::crc32c(&record[4..end]);
    record[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Where a record stands, which is known last.
pub(crate) struct Place {
    pub(crate) group: u32,
    pub(crate) global_position: i64,
    pub(crate) position: i64,
    pub(crate) time: i64,
}

/// A record that was written by this process and is looked at before it is in the log.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a>(&'a [u8]);

impl<'a> Written<'a> {
    /// The record at the beginning of these bytes, which begin with one, and what is behind it.
    pub(crate) fn first(bytes: &'a [u8]) -> (Self, &'a [u8]) {
        let (record, rest) =
            bytes.split_at((FRAME_BYTES + u32_at(bytes, 4) as usize).next_multiple_of(ALIGN));
        (Self(record), rest)
    }

    pub(crate) fn id(self) -> Uuid {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[40..56]);
        Uuid::from_bytes(id)
    }

    pub(crate) fn position(self) -> i64 {
        i64_at(self.0, 24)
    }

    pub(crate) fn stream(self) -> &'a str {
        let bytes = usize::from(u16::from_le_bytes([self.0[14], self.0[15]]));
        std::str::from_utf8(&self.0[HEAD_BYTES..HEAD_BYTES + bytes]).unwrap_or_default()
    }

    /// Appends it as it is at this place.
    pub(crate) fn write_at(self, place: &Place, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.0);
        let record = &mut out[start..];
        record[8..12].copy_from_slice(&place.group.to_le_bytes());
        record[16..24].copy_from_slice(&place.global_position.to_le_bytes());
        record[24..32].copy_from_slice(&place.position.to_le_bytes());
        record[32..40].copy_from_slice(&place.time.to_le_bytes());
        close(record);
    }
}

/// The length that the record at the beginning of these bytes claims, padding included, if it can be one.
pub(crate) fn claimed_bytes(head: &[u8]) -> Option<usize> {
    let end = FRAME_BYTES + u32_at(head, 4) as usize;
    let can_be = (HEAD_BYTES..=BYTES_MAX).contains(&end) && matches!(head[12], KIND_MESSAGE | KIND_REMOVED);
    can_be.then(|| end.next_multiple_of(ALIGN))
}

/// A number of four bytes, little endian.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// A number of eight bytes, little endian.
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            removed: false,
            more: true,
            group: 64,
            global_position: 7,
            position: 3,
            time: 1_700_000_000_000_000,
            id: Uuid::from_u128(0x0123_4567_89ab_cdef),
            stream: "order-1",
            kind: "OrderPlaced",
            metadata: None,
            data: Some(r#"{"é": 1}"#),
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let absent = Record { data: None, metadata: Some("null"), more: false, kind: "", ..record() };
        for record in [record(), absent] {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(bytes.len() % ALIGN, 0);
            assert_eq!(claimed_bytes(&bytes), Some(bytes.len()));
            bytes.extend_from_slice(b"what follows");
            assert_eq!(Record::read(&bytes), Ok((record, bytes.len() - 12)));
        }
    }

    #[test]
    fn no_bit_of_a_record_can_change_unseen() {
        let mut bytes = Vec::new();
        record().write(&mut bytes);
        // Padding belongs to no record.
        let end = HEAD_BYTES + "order-1OrderPlaced{\"é\": 1}".len();
        for bit in 0..end * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::read(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for short in 0..end {
            assert!(matches!(Record::read(&bytes[..short]), Err(Bad::Short(_))), "{short}");
        }
        assert_eq!(Record::read(&[0; 4096]), Err(Bad::Frame));
    }
}
