//! A hash table from an owner and a text to a number. The path tree and the host index ask it several times
//! for each request, so it is one flat array with all texts in one string: a probe costs two cache lines.

/// No number.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Keys {
    /// A power of two many, at most half of them taken.
    slots: Vec<Slot>,
    text: String,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    owner: u32,
    text: Kept,
    value: u32,
}

/// Where a text is among those of the keys.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    start: u32,
    len: u32,
}

const EMPTY: Slot = Slot { hash: 0, owner: 0, text: Kept { start: 0, len: 0 }, value: NONE };

impl Keys {
    /// The number under this owner and text, or [`NONE`].
    pub(super) fn get(&self, owner: u32, text: &str) -> u32 {
        if self.slots.is_empty() {
            return NONE;
        }
        self.slots[self.place(hash(owner, text.as_bytes()), owner, text)].value
    }

    /// Puts a number under an owner and text that have none.
    pub(super) fn insert(&mut self, owner: u32, text: &str, value: u32) {
        let kept = self.keep(text);
        self.insert_kept(owner, kept, value);
    }

    /// The same for a text that is kept already.
    pub(super) fn insert_kept(&mut self, owner: u32, kept: Kept, value: u32) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let text = self.text(kept);
        let hash = hash(owner, text.as_bytes());
        let place = self.place(hash, owner, text);
        self.slots[place] = Slot { hash, owner, text: kept, value };
        self.len += 1;
    }

    /// Keeps a text among those of the keys, so that texts used one after another lie side by side.
    pub(super) fn keep(&mut self, text: &str) -> Kept {
        let start = to_u32(self.text.len());
        self.text.push_str(text);
        Kept { start, len: to_u32(text.len()) }
    }

    /// A kept text.
    pub(super) fn text(&self, kept: Kept) -> &str {
        &self.text[kept.start as usize..(kept.start + kept.len) as usize]
    }

    /// Where the key stands, or the free place where it would.
    fn place(&self, hash: u32, owner: u32, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.value == NONE
                || (slot.hash == hash && slot.owner == owner && self.text(slot.text) == text)
            {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let more = vec![EMPTY; (self.slots.len() * 2).max(16)];
        let mask = more.len() - 1;
        for slot in std::mem::replace(&mut self.slots, more) {
            if slot.value != NONE {
                let mut at = slot.hash as usize & mask;
                while self.slots[at].value != NONE {
                    at = (at + 1) & mask;
                }
                self.slots[at] = slot;
            }
        }
    }
}

/// Numbers in the table count routes, nodes and bytes of their texts, all below 4 Gi.
pub(super) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a route table is smaller than 4 GiB")
}

/// Folds eight bytes at a time with one multiplication each. Keys come from routes, which their author
/// chose; a request can't add any, so the hash need not withstand an attack.
fn hash(owner: u32, text: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(ODD);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken, one after the other")]
        let folded = product as u64 ^ (product >> 64) as u64;
        folded
    };
    let mut state = u64::from(owner) ^ (text.len() as u64) << 32;
    let (words, tail) = text.as_chunks::<8>();
    for word in words {
        state = fold(state, u64::from_le_bytes(*word));
    }
    let last = tail.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    let state = fold(fold(state, last), ODD);
    #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough for a hash")]
    let half = (state ^ (state >> 32)) as u32;
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let mut keys = Keys::default();
        assert_eq!(keys.get(0, ""), NONE);
        let mut expected = HashMap::new();
        for n in 0..5000u32 {
            let (owner, text) = (n % 7, format!("segment-{}", n / 7));
            keys.insert(owner, &text, n);
            expected.insert((owner, text), n);
        }
        for ((owner, text), value) in &expected {
            assert_eq!(keys.get(*owner, text), *value);
            assert_eq!(keys.get(owner + 7, text), NONE);
            assert_eq!(keys.get(*owner, &format!("{text}x")), NONE);
        }
    }

    #[test]
    fn hashes_of_alike_texts_are_unlike() {
        let mut low_bits = [0u32; 256];
        for n in 0..25_600 {
            low_bits[hash(1, format!("shop-{n}.example.org").as_bytes()) as usize & 255] += 1;
        }
        assert!(low_bits.iter().all(|count| (50..170).contains(count)), "{low_bits:?}");
    }
}
