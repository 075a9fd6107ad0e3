//! Spans as rows: those of one trace and one service that are written together are a row, with what they are found by
//! beside them. A row keeps their places among what came in with them, since of two reports of a span the first counts.

use crate::protobuf::{put_varint, varint};
use crate::spans::Span;
use crate::spans::encoded::{damaged, decode, encode};
use crate::spans::store::terms::{self, Term};
use base::Fault;
use std::collections::HashMap;

/// Bytes of a row's spans from which the next row is begun.
const ROW_BYTES: usize = 256 << 10;
/// Bytes of the largest row: all of the largest message may be one span.
const ROW_BYTES_MAX: usize = 256 << 20;
/// Bytes that are worth to be compressed.
const COMPRESSED_FROM: usize = 1 << 10;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// A row but for the number of its batch.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The last 64 bits of the trace's id.
    pub(super) trace: i64,
    /// The earliest time of its spans; when they came, if they have none.
    pub(super) began: i64,
    /// Microseconds that its spans took, of those that say so: the least and the most. Zero if none says.
    pub(super) shortest: i64,
    pub(super) longest: i64,
    /// Each once.
    pub(super) terms: Vec<i64>,
    pub(super) data: Vec<u8>,
}

impl Row {
    fn put(&mut self, place: usize, span: &Span) {
        if span.timestamp_us != 0 {
            self.began = self.began.min(super::signed(span.timestamp_us));
        }
        if span.duration_us != 0 {
            let duration = super::signed(span.duration_us);
            self.shortest = if self.longest == 0 { duration } else { self.shortest.min(duration) };
            self.longest = self.longest.max(duration);
        }
        let mut put = |term: Term| self.terms.push(term.cast_signed());
        if !span.local.service.is_empty() {
            put(terms::of_service(&span.local.service));
        }
        terms::each(span, put);
        put_varint(&mut self.data, place as u64);
        encode(&mut self.data, span);
    }

    fn finish(mut self, arrived_us: u64) -> Result<Self, Fault> {
        if self.began == i64::MAX {
            self.began = super::signed(arrived_us);
        }
        self.terms.sort_unstable();
        self.terms.dedup();
        let raw = std::mem::take(&mut self.data);
        self.data = if raw.len() < COMPRESSED_FROM {
            [&[PLAIN], &raw[..]].concat()
        } else {
            let length = u32::try_from(raw.len()).map_err(|_| damaged())?.to_le_bytes();
            [&[ZSTD][..], &length, &zstd::bulk::compress(&raw, 1)?].concat()
        };
        Ok(self)
    }
}

/// The rows of spans that came in together.
pub(super) fn build(spans: &[Span], arrived_us: u64) -> Result<Vec<Row>, Fault> {
    let mut open: HashMap<(u64, &str), Row> = HashMap::new();
    let mut rows = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        let key = (span.trace.low, span.local.service.as_str());
        let empty = || Row { trace: span.trace.low.cast_signed(), began: i64::MAX, ..Row::default() };
        let row = open.entry(key).or_insert_with(empty);
        row.put(place, span);
        if row.data.len() >= ROW_BYTES
            && let Some(row) = open.remove(&key)
        {
            rows.push(row.finish(arrived_us)?);
        }
    }
    for row in open.into_values() {
        rows.push(row.finish(arrived_us)?);
    }
    // As they are looked for: in the table, too, those of a time are side by side, and so are mostly those of a trace.
    rows.sort_by_key(|row| (row.began, row.trace));
    Ok(rows)
}

/// Puts the spans of a row behind others, each with its place. Answers how many bytes they took.
pub(super) fn read(data: &[u8], spans: &mut Vec<(u64, Span)>) -> Result<usize, Fault> {
    let whole;
    let mut rest = match data.split_first().ok_or_else(lost)? {
        (&PLAIN, raw) => raw,
        (&ZSTD, rest) => {
            let (length, compressed) = rest.split_first_chunk().ok_or_else(lost)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > ROW_BYTES_MAX {
                return Err(lost());
            }
            whole = zstd::bulk::decompress(compressed, length).map_err(|error| lost().because(error))?;
            // Nothing at all is no mistake to the decoder.
            if whole.len() != length {
                return Err(lost());
            }
            &whole[..]
        }
        _ => return Err(lost()),
    };
    let bytes = rest.len();
    while !rest.is_empty() {
        let place = varint(&mut rest).map_err(|_| lost())?;
        spans.push((place, decode(&mut rest).map_err(|_| lost())?));
    }
    Ok(bytes)
}

/// What the database gave back is not what was written.
fn lost() -> Fault {
    Fault::new(base::Kind::Io, "a row of spans in PostgreSQL is damaged")
        .hint("did somebody else write to the tables of schema `tombolo_traces`?")
}

/// The traces of rows, each once.
pub(super) fn traces_of(rows: &[Row]) -> Vec<i64> {
    let mut traces: Vec<i64> = rows.iter().map(|row| row.trace).collect();
    traces.sort_unstable();
    traces.dedup();
    traces
}

/// Terms that are looked for, as the database has them.
pub(super) fn array(terms: impl IntoIterator<Item = Term>) -> String {
    let numbers: Vec<String> = terms.into_iter().map(|term| term.cast_signed().to_string()).collect();
    format!("'{{{}}}'::bigint[]", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::{Endpoint, TraceKey};

    fn span(trace: u64, service: &str, time: u64, text: usize) -> Span {
        Span {
            trace: TraceKey { high: 0, low: trace },
            id: time + 1,
            timestamp_us: time,
            duration_us: time,
            local: Endpoint { service: service.into(), ..Endpoint::default() },
            tags: vec![("text".into(), "x".repeat(text))],
            ..Span::default()
        }
    }

    #[test]
    fn rows_are_read_as_they_were_built() {
        let spans = [
            span(u64::MAX, "b", 7, 10),
            span(1, "a", 0, 10),
            span(u64::MAX, "b", 5, 4_000),
            span(1, "c", 9, ROW_BYTES),
            span(1, "c", 8, 1),
        ];
        let rows = build(&spans, 100).unwrap();
        let about: Vec<_> = rows.iter().map(|row| (row.trace, row.began)).collect();
        assert_eq!(rows.len(), 4, "{about:?}");
        assert_eq!(traces_of(&rows), [-1, 1]);
        assert_eq!(about[0], (-1, 5), "the earliest of its spans");
        assert_eq!((rows[0].shortest, rows[0].longest), (5, 7));
        assert!(about.contains(&(1, 100)), "what has no time began when it came");
        assert!(rows[0].data.len() < 1_000, "it is compressed");
        let mut read_back = Vec::new();
        for row in &rows {
            read(&row.data, &mut read_back).unwrap();
        }
        read_back.sort_by_key(|(place, _)| *place);
        assert!(read_back.into_iter().map(|(_, span)| span).eq(spans), "each once, in their order");
    }

    #[test]
    fn no_cut_or_changed_row_is_taken_for_spans() {
        for text in [10, 4_000] {
            let row = build(&[span(1, "a", 5, text)], 100).unwrap().remove(0);
            for end in 0..row.data.len() {
                let read = read(&row.data[..end], &mut Vec::new());
                assert!(read.is_err() || end == 1, "{end} of {} bytes", row.data.len());
            }
            let mut huge = row.data.clone();
            huge.splice(..5.min(huge.len()), [ZSTD, 255, 255, 255, 255]);
            assert!(read(&huge, &mut Vec::new()).is_err(), "what it says of its length is bounded");
            assert!(read(&[9, 1, 2], &mut Vec::new()).is_err());
        }
    }
}
