//! Blocks of spans: what one row of a file holds. Spans of one trace that were written together are one chunk, and
//! chunks fill a block, which is compressed.

use crate::protobuf::{put_varint, varint};
use crate::spans::Span;
use crate::spans::encoded::{damaged, decode, encode};
use crate::spans::store::terms::Hashed;
use base::Fault;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a block, before it is compressed, from which the next one is begun.
const BLOCK_BYTES: usize = 32 << 10;
/// Bytes of the largest block: all of the largest message may be one trace.
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// Bytes of blocks that are kept as they were last read.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) block: u32,
    pub(crate) start: u32,
}

/// Where a chunk starts in its block, and its spans.
type Chunk = (u32, Vec<Span>);

/// A block to be written, and its chunks: where each starts, and its spans among those that came in.
pub(crate) struct Block<'a> {
    pub(crate) data: Vec<u8>,
    pub(crate) chunks: Vec<(u32, &'a [Span])>,
}

/// Puts spans that came in together into blocks, those of a trace side by side.
pub(crate) fn build(spans: &mut [Span], arrived_us: u64) -> Result<Vec<Block<'_>>, Fault> {
    let mut places: HashMap<u64, usize, Hashed> = HashMap::default();
    for span in &*spans {
        let next = places.len();
        places.entry(span.trace.low).or_insert(next);
    }
    // Stable, and mostly they are so already.
    spans.sort_by_key(|span| places[&span.trace.low]);
    let mut blocks = Vec::new();
    let (mut raw, mut held) = (header(arrived_us), Vec::new());
    for chunk in spans.chunk_by(|one, other| one.trace.low == other.trace.low) {
        let start = u32::try_from(raw.len()).map_err(|_| damaged())?;
        put_varint(&mut raw, chunk.len() as u64);
        for span in chunk {
            encode(&mut raw, span);
        }
        held.push((start, chunk));
        if raw.len() >= BLOCK_BYTES {
            blocks.push(Block { data: compress(&raw)?, chunks: std::mem::take(&mut held) });
            raw = header(arrived_us);
        }
    }
    if !held.is_empty() {
        blocks.push(Block { data: compress(&raw)?, chunks: held });
    }
    Ok(blocks)
}

fn header(arrived_us: u64) -> Vec<u8> {
    arrived_us.to_le_bytes().to_vec()
}

/// When the spans of a block came in, and its chunks.
pub(crate) fn parse(raw: &[u8]) -> Result<(u64, Vec<Chunk>), Fault> {
    let (arrived, mut rest) = raw.split_first_chunk().ok_or_else(damaged)?;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let start = u32::try_from(raw.len() - rest.len()).map_err(|_| damaged())?;
        chunks.push((start, take_chunk(&mut rest)?));
    }
    Ok((u64::from_le_bytes(*arrived), chunks))
}

/// The chunk that starts there.
pub(crate) fn chunk(raw: &[u8], start: u32) -> Result<Vec<Span>, Fault> {
    take_chunk(&mut raw.get(start as usize..).ok_or_else(damaged)?)
}

fn take_chunk(rest: &mut &[u8]) -> Result<Vec<Span>, Fault> {
    let count = varint(rest)?;
    (0..count).map(|_| decode(rest)).collect()
}

fn compress(raw: &[u8]) -> Result<Vec<u8>, Fault> {
    let compressed = zstd::bulk::compress(raw, 1)?;
    let length = u32::try_from(raw.len()).map_err(|_| damaged())?;
    Ok([&length.to_le_bytes()[..], &compressed].concat())
}

/// What a block holds.
pub(crate) fn decompress(data: &[u8]) -> Result<Vec<u8>, Fault> {
    let (length, compressed) = data.split_first_chunk().ok_or_else(damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > BLOCK_BYTES_MAX {
        return Err(damaged());
    }
    let raw = zstd::bulk::decompress(compressed, length).map_err(|error| damaged().because(error))?;
    if raw.len() == length { Ok(raw) } else { Err(damaged()) }
}

/// Blocks that were read, by file and number; those that were read first go first.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    blocks: HashMap<(u64, u32), Arc<[u8]>>,
    order: VecDeque<(u64, u32)>,
    bytes: usize,
}

impl Cache {
    /// The block of this key, read by `read` if it is not here.
    pub(crate) fn get(
        &self,
        key: (u64, u32),
        read: impl FnOnce() -> Result<Vec<u8>, Fault>,
    ) -> Result<Arc<[u8]>, Fault> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = lock().blocks.get(&key) {
            return Ok(block.clone());
        }
        let block: Arc<[u8]> = read()?.into();
        let mut cached = lock();
        if cached.blocks.insert(key, block.clone()).is_none() {
            cached.order.push_back(key);
            cached.bytes += block.len();
        }
        while cached.bytes > CACHE_BYTES_MAX
            && let Some(oldest) = cached.order.pop_front()
        {
            let gone = cached.blocks.remove(&oldest);
            cached.bytes -= gone.map_or(0, |gone| gone.len());
        }
        Ok(block)
    }
}
