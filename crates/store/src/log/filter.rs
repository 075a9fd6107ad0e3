//! Tells quickly that a run does not have an id or a stream: a Bloom filter in blocks of one cache line (Putze,
//! Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters", 2007).

use std::io;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 64;
/// With six bits a key set, about 1 key in 150 that is not there seems to be.
const BITS_PER_KEY: usize = 12;
const BITS_SET: u32 = 6;

/// A filter that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    blocks: Vec<[u8; BLOCK_BYTES]>,
}

impl Filter {
    /// A filter without keys, for about so many.
    pub(crate) fn for_keys(keys: usize) -> Self {
        Self { blocks: vec![[0; BLOCK_BYTES]; (keys * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8).max(1)] }
    }

    /// The filter of these bytes: whole blocks, at least one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { blocks: bytes.as_chunks().0.to_vec() }
    }

    /// Takes a key in.
    pub(crate) fn add(&mut self, hash: u64) {
        let block = block_of(hash, self.blocks.len() as u64) as usize;
        for bit in bits_of(hash) {
            self.blocks[block][bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether the key may be in it; `false` is certain.
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        has_all(&self.blocks[block_of(hash, self.blocks.len() as u64) as usize], hash)
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.blocks.as_flattened()
    }
}

/// Whether a key may be in a filter of so many blocks, of which `read` reads one.
pub(crate) fn may_have(
    hash: u64,
    blocks: u64,
    read: impl FnOnce(u64, &mut [u8; BLOCK_BYTES]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut block = [0; BLOCK_BYTES];
    read(block_of(hash, blocks), &mut block)?;
    Ok(has_all(&block, hash))
}

fn has_all(block: &[u8; BLOCK_BYTES], hash: u64) -> bool {
    bits_of(hash).all(|bit| block[bit / 8] & (1 << (bit % 8)) != 0)
}

fn block_of(hash: u64, blocks: u64) -> u64 {
    ((u128::from(hash) * u128::from(blocks)) >> 64) as u64
}

/// The bits of a key in its block; of other bits of the hash than the block is.
fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..BITS_SET).map(move |nth| (mixed >> (10 + 9 * nth)) as usize % (BLOCK_BYTES * 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chance;

    #[test]
    fn what_was_added_is_never_denied_and_little_else_seems_there() {
        let chance = Chance::seeded(5);
        let mut filter = Filter::for_keys(10_000);
        let keys: Vec<u64> = (0..10_000).map(|_| chance.bits()).collect();
        for key in &keys {
            filter.add(*key);
        }
        assert!(keys.iter().all(|key| filter.may_have(*key)));
        let seeming = (0..10_000).filter(|_| filter.may_have(chance.bits())).count();
        assert!(seeming < 150, "{seeming} of 10,000");
        let read = Filter::from_bytes(filter.bytes());
        assert!(keys.iter().all(|key| read.may_have(*key)));
        assert!(!Filter::for_keys(0).may_have(1));
    }
}
