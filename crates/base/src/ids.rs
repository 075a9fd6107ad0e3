//! Ids that travel: trace and span ids (W3C Trace Context section 3.2.2) and the id of this process.

use crate::Chance;
use std::fmt;

/// A trace id: 128 bits, never all zero, 32 lower-case hex digits in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// A span id: 64 bits, never all zero, 16 lower-case hex digits in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

/// Tells this process from any other, the same machine's earlier ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance(u64);

impl TraceId {
    /// A new one.
    pub fn draw(chance: &Chance) -> Self {
        Self::of(chance.draw())
    }

    /// A new one with its first span.
    pub fn begin(chance: &Chance) -> (Self, SpanId) {
        let [high, low, span] = chance.draw();
        (Self::of([high, low]), SpanId(span.max(1)))
    }

    fn of([high, low]: [u64; 2]) -> Self {
        Self(((u128::from(high) << 64) | u128::from(low)).max(1))
    }

    /// Reads 32 hex digits of either case; `None` for anything else and for all zeros.
    pub fn parse(text: &str) -> Option<Self> {
        hex(text, 32).map(Self)
    }

    /// Its last 64 bits.
    pub fn low(self) -> u64 {
        self.0 as u64
    }

    /// Its first 64 bits.
    pub fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// Its 32 digits.
    pub fn to_hex(self) -> [u8; 32] {
        let mut text = [0; 32];
        text[..16].copy_from_slice(&digits((self.0 >> 64) as u64));
        text[16..].copy_from_slice(&digits(self.0 as u64));
        text
    }
}

impl SpanId {
    /// A new one.
    pub fn draw(chance: &Chance) -> Self {
        Self(chance.bits().max(1))
    }

    /// Reads 16 hex digits of either case; `None` for anything else and for all zeros.
    pub fn parse(text: &str) -> Option<Self> {
        hex(text, 16).and_then(|bits| u64::try_from(bits).ok()).map(Self)
    }

    /// It as a number.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Its 16 digits.
    pub fn to_hex(self) -> [u8; 16] {
        digits(self.0)
    }
}

/// The digits of a number; ids are written for every request, which is too often for `write!`.
fn digits(bits: u64) -> [u8; 16] {
    // All digits at once: four bits go to each byte, and those above 9 are moved on to the letters.
    let mut spread = u128::from(bits);
    spread = (spread | (spread << 32)) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    spread = (spread | (spread << 16)) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    spread = (spread | (spread << 4)) & 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    let letters = ((spread + 0x0606_0606_0606_0606_0606_0606_0606_0606) >> 4) & EACH;
    (spread + EACH * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The lowest bit of each byte.
const EACH: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;

impl Instance {
    /// A new one.
    pub fn draw(chance: &Chance) -> Self {
        Self(chance.bits())
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
        .filter(|bits| *bits != 0)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).expect("digits are ASCII"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).expect("digits are ASCII"))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print_and_refuse_the_rest() {
        let chance = Chance::seeded(3);
        let (trace, span) = (TraceId::draw(&chance), SpanId::draw(&chance));
        assert_eq!(TraceId::parse(&trace.to_string()), Some(trace));
        assert_eq!(SpanId::parse(&span.to_string()), Some(span));
        assert_eq!(TraceId(0xabc).to_string(), format!("{:032x}", 0xabc));
        assert_eq!(SpanId(u64::MAX - 1).to_string(), format!("{:016x}", u64::MAX - 1));
        for _ in 0..1000 {
            let bits = chance.bits();
            assert_eq!(SpanId(bits).to_string(), format!("{bits:016x}"));
        }
        for bad in ["", "0", "00000000000000000000000000000000", "+123456789abcdef0123456789abcdef"] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
    }
}
