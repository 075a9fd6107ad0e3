//! What spans are found by. Each thing that can be looked for is a term, a number of 64 bits beside the service of
//! the span; of each term the chunks that have it are listed. Terms that fall together cost time and nothing else,
//! as what is found is looked at again.

use crate::protobuf::{put_varint, varint};
use crate::spans::Span;
use base::Fault;
use std::hash::{BuildHasher, Hasher};
use xxhash_rust::xxh64::xxh64;

/// The number of a term, which stands for what is looked for.
pub(crate) type Term = u64;

/// Terms of durations are small numbers, one behind the other, so that a range of durations is a range of terms.
const DURATION_STEPS: u64 = 4 * 64;
/// All spans of a service.
pub(crate) const ANY: Term = DURATION_STEPS;
/// No other terms are as small.
const HASHED: u64 = 1 << 16;

const NAME: u64 = 1;
const REMOTE: u64 = 2;
const WORD: u64 = 3;
const TAG: u64 = 4;
const SERVICE: u64 = 5;

fn hashed(kind: u64, text: &str) -> Term {
    xxh64(text.as_bytes(), kind).max(HASHED)
}

/// The name of a span.
pub(crate) fn name(name: &str) -> Term {
    hashed(NAME, name)
}

/// The other side of a span.
pub(crate) fn remote(service: &str) -> Term {
    hashed(REMOTE, service)
}

/// A key of a tag, or an annotation.
pub(crate) fn word(word: &str) -> Term {
    hashed(WORD, word)
}

/// A tag with its value.
pub(crate) fn tag(key: &str, value: &str) -> Term {
    xxh64(value.as_bytes(), hashed(TAG, key)).max(HASHED)
}

/// A duration: four steps to each doubling.
pub(crate) fn duration(duration_us: u64) -> Term {
    match duration_us.checked_ilog2() {
        None => 0,
        Some(power) => {
            let quarter = if power >= 2 { (duration_us >> (power - 2)) & 3 } else { 0 };
            u64::from(power) * 4 + quarter
        }
    }
}

/// A service as a number; no service is none.
pub(crate) fn service(name: &str) -> u32 {
    if name.is_empty() { 0 } else { (xxh64(name.as_bytes(), 0) as u32).max(1) }
}

/// A service as a term, where services are terms like others.
pub(crate) fn of_service(name: &str) -> Term {
    hashed(SERVICE, name)
}

/// All terms of a span; some may come twice.
pub(crate) fn of(span: &Span, mut put: impl FnMut(Term)) {
    put(ANY);
    if span.duration_us != 0 {
        put(duration(span.duration_us));
    }
    each(span, put);
}

/// What a span can be found by, beside its service and how long it took.
pub(crate) fn each(span: &Span, mut put: impl FnMut(Term)) {
    if !span.name.is_empty() {
        put(name(&span.name));
    }
    if !span.remote.service.is_empty() {
        put(remote(&span.remote.service));
    }
    for annotation in &span.annotations {
        put(word(&annotation.value));
    }
    for (key, value) in &span.tags {
        put(word(key));
        put(tag(key, value));
    }
}

/// Numbers of chunks that only rise: the first, and the steps behind it.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    first: u32,
    last: u32,
    steps: Vec<u8>,
}

impl Postings {
    pub(crate) fn new(first: u32) -> Self {
        Self { first, last: first, steps: Vec::new() }
    }

    /// Adds a chunk, unless it is the one that was added last.
    pub(crate) fn push(&mut self, chunk: u32) {
        if chunk > self.last {
            put_varint(&mut self.steps, u64::from(chunk - self.last));
            self.last = chunk;
        }
    }

    /// Puts its chunks behind others.
    pub(crate) fn read_to(&self, chunks: &mut Vec<u32>) -> Result<(), Fault> {
        read_steps(self.first, &self.steps, chunks)
    }

    /// Puts it behind others as bytes: their number, the first chunk, the steps.
    pub(crate) fn write_to(&self, bytes: &mut Vec<u8>) {
        let mut inner = Vec::with_capacity(self.steps.len() + 5);
        put_varint(&mut inner, self.first.into());
        inner.extend_from_slice(&self.steps);
        put_varint(bytes, inner.len() as u64);
        bytes.extend_from_slice(&inner);
    }
}

/// Reads the inside of what [`Postings::write_to`] wrote.
pub(crate) fn read_postings(mut inner: &[u8], chunks: &mut Vec<u32>) -> Result<(), Fault> {
    let first = varint(&mut inner)? as u32;
    read_steps(first, inner, chunks)
}

fn read_steps(first: u32, mut steps: &[u8], chunks: &mut Vec<u32>) -> Result<(), Fault> {
    let mut chunk = first;
    chunks.push(chunk);
    while !steps.is_empty() {
        chunk = chunk.wrapping_add(varint(&mut steps)? as u32);
        chunks.push(chunk);
    }
    Ok(())
}

/// Hashes what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh64(bytes, self.0);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // Ids that callers choose may all end alike.
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl BuildHasher for Hashed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

/// Which traces a part of the store may have: never a wrong no, now and then a wrong yes.
#[derive(Debug, Default)]
pub(crate) struct Filter(Vec<u64>);

impl Filter {
    /// A filter of these ids.
    pub(crate) fn of(ids: impl ExactSizeIterator<Item = u64>) -> Self {
        // Twelve bits an id, in words of 64.
        let mut filter = Self(vec![0; (ids.len() * 12).div_ceil(64).max(1)]);
        for id in ids {
            let (word, bits) = filter.bits(id);
            filter.0[word] |= bits;
        }
        filter
    }

    pub(crate) fn may_have(&self, id: u64) -> bool {
        let (word, bits) = self.bits(id);
        self.0.get(word).is_none_or(|word| word & bits == bits)
    }

    fn bits(&self, id: u64) -> (usize, u64) {
        let hash = xxh64(&id.to_le_bytes(), 0);
        let word = (u128::from(hash) * self.0.len() as u128) >> 64;
        let bits = [0, 6, 12, 18].into_iter().fold(0, |bits, shift| bits | 1 << ((hash >> shift) & 63));
        (word as usize, bits)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(
            bytes
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_rise_with_their_terms() {
        let mut last = 0;
        for power in 0..64 {
            for part in 0..8u64 {
                let time = (1u64 << power).saturating_add((1u64 << power) / 8 * part);
                let term = duration(time);
                assert!(term >= last && term < DURATION_STEPS, "{time}: {term} after {last}");
                last = term;
            }
        }
        assert_eq!((duration(0), duration(1), duration(u64::MAX)), (0, 0, 255));
        assert!(duration(190_000) > duration(150_000));
    }

    #[test]
    fn a_filter_knows_its_own_and_few_others() {
        let ids = || (0..10_000u64).map(|id| id * 7);
        let filter = Filter::of(ids().collect::<Vec<_>>().into_iter());
        assert!(ids().all(|id| filter.may_have(id)));
        let filter = Filter::from_bytes(&filter.to_bytes());
        assert!(ids().all(|id| filter.may_have(id)));
        let wrong = (0..10_000u64).filter(|id| filter.may_have(id * 7 + 3)).count();
        assert!(wrong < 600, "{wrong}");
    }

    #[test]
    fn postings_are_read_as_they_were_put() {
        let mut postings = Postings::new(3);
        for chunk in [3, 4, 4, 300, 70_000] {
            postings.push(chunk);
        }
        let (mut one, mut other, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        postings.read_to(&mut one).unwrap();
        postings.write_to(&mut bytes);
        let mut inner = &bytes[..];
        let length = varint(&mut inner).unwrap();
        assert_eq!(length as usize, inner.len());
        read_postings(inner, &mut other).unwrap();
        assert_eq!((one, other), (vec![3, 4, 300, 70_000], vec![3, 4, 300, 70_000]));
    }
}
