//! Brings records from the segments: those that lie together with one read.

use super::disk::read_full;
use super::index::{Part, REMOVED};
use super::record::{Bad, Record};
use super::segment::{damaged, file_name};
use super::shared::{Map, Shared};
use base::{Fault, Kind};
use std::io;
use std::ops::ControlFlow;

/// Records with no more than this between them are read at once: that costs about what another read would.
const GAP_BYTES: u32 = 16 << 10;
/// Bytes of one read, but for a single record that is longer.
const READ_BYTES_MAX: u32 = 1 << 20;
/// How long the last record of a read is taken to be, before its length is known.
const RECORD_BYTES: u32 = 2 << 10;
/// Messages with no more than this between them have their places looked up at once.
const PLACES_GAP: i64 = 256;

/// A record to be fetched.
#[derive(Clone, Copy)]
struct Wanted {
    global_position: i64,
    segment: i64,
    place: u32,
}

impl Shared {
    /// Visits the records of these global positions, which lie in one part and go up or down, in their order.
    pub(crate) fn fetch(
        &self,
        map: &Map,
        part: &Part,
        positions: &[i64],
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let backward = positions.first() > positions.last();
        let mut ascending = positions.to_vec();
        if backward {
            ascending.reverse();
        }
        let wanted = locate(map, part, &ascending).map_err(io_fault)?;
        let mut clusters: Vec<&[Wanted]> = wanted
            .chunk_by(|one, next| one.segment == next.segment && next.place - one.place <= GAP_BYTES)
            .flat_map(split)
            .collect();
        if backward {
            clusters.reverse();
        }
        let mut buffer = Vec::new();
        for cluster in clusters {
            if self.cluster(map, cluster, backward, &mut buffer, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits the one record of a global position.
    pub(crate) fn fetch_one<T>(
        &self,
        map: &Map,
        global_position: i64,
        take: impl Fn(&Record<'_>) -> T,
    ) -> Result<Option<T>, Fault> {
        let Some(part) = map.part_of(global_position).filter(|part| global_position < part.end()) else {
            return Ok(None);
        };
        let mut taken = None;
        self.fetch(map, part, &[global_position], &mut |record| {
            taken = Some(take(record));
            ControlFlow::Break(())
        })?;
        Ok(taken)
    }

    /// Visits records that lie together, with one read but for those that are longer than expected.
    fn cluster(
        &self,
        map: &Map,
        cluster: &[Wanted],
        backward: bool,
        buffer: &mut Vec<u8>,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Fault> {
        let (Some(first), Some(last)) = (cluster.first(), cluster.last()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let file = self.file(map, first.segment).map_err(io_fault)?;
        buffer.resize((last.place - first.place + RECORD_BYTES) as usize, 0);
        let read = read_full(&*file, buffer, u64::from(first.place)).map_err(io_fault)?;
        buffer.truncate(read);
        let mut one = |wanted: &Wanted| {
            let inside = (wanted.place - first.place) as usize;
            let mut read = Record::read(buffer.get(inside..).unwrap_or_default());
            let mut longer = Vec::new();
            // Twice where not even its length had been read.
            for _ in 0..2 {
                let Err(Bad::Short(bytes)) = read else { break };
                longer.resize(bytes, 0);
                let bytes = read_full(&*file, &mut longer, u64::from(wanted.place)).map_err(io_fault)?;
                read = Record::read(&longer[..bytes]);
            }
            checked(wanted, read).map(|record| visit(&record))
        };
        let mut forward = cluster.iter();
        while let Some(wanted) = if backward { forward.next_back() } else { forward.next() } {
            if one(wanted)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Cuts a cluster where it is too long for one read.
fn split(cluster: &[Wanted]) -> Vec<&[Wanted]> {
    let (mut pieces, mut rest) = (Vec::with_capacity(1), cluster);
    while let Some(first) = rest.first() {
        let fit = rest.iter().take_while(|wanted| wanted.place - first.place <= READ_BYTES_MAX).count();
        let (piece, behind) = rest.split_at(fit);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Where records lie, by ascending global positions.
fn locate(map: &Map, part: &Part, ascending: &[i64]) -> io::Result<Vec<Wanted>> {
    let mut wanted = Vec::with_capacity(ascending.len());
    let mut places = Vec::new();
    for near in ascending.chunk_by(|one, next| next - one <= PLACES_GAP) {
        let [first, ..] = near else { continue };
        let count = (near[near.len() - 1] - first + 1) as usize;
        places.clear();
        part.places(*first, count, &mut places)?;
        for position in near {
            let place = places.get((position - first) as usize).copied();
            let segment = map.segment_of(*position);
            let (Some(place), Some(segment)) = (place, segment) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an index knows a message that is not there",
                ));
            };
            wanted.push(Wanted { global_position: *position, segment, place: place & !REMOVED });
        }
    }
    Ok(wanted)
}

fn checked<'a>(wanted: &Wanted, read: Result<(Record<'a>, usize), Bad>) -> Result<Record<'a>, Fault> {
    match read {
        Ok((record, _)) if record.global_position == wanted.global_position => Ok(record),
        _ => {
            let what = format!("message `{}` is not what was written", wanted.global_position);
            Err(damaged(&file_name(wanted.segment), u64::from(wanted.place), &what))
        }
    }
}

/// The fault of a failed read.
pub(crate) fn io_fault(error: io::Error) -> Fault {
    Fault::new(Kind::Io, "cannot read the store").because(error)
}
