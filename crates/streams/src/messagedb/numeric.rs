//! Decimal numbers that keep their scale, as PostgreSQL's `numeric` does, of up to 38 digits: enough for
//! percentages, parts of a time and what a condition compares.

use super::error::{Sql, SqlError};
use std::cmp::Ordering;
use std::fmt;

/// Digits of a quotient that mean something (`NUMERIC_MIN_SIG_DIGITS`).
const QUOTIENT_DIGITS: i32 = 16;
/// Digits behind the point of a number from outside.
const SCALE_MAX: u32 = 30;

/// `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numeric {
    unscaled: i128,
    scale: u32,
}

fn overflow() -> Box<SqlError> {
    SqlError::new("22003", "value overflows numeric format")
        .hint("numbers here have at most 38 digits, 30 of them behind the point")
}

fn power(exponent: u32) -> Sql<i128> {
    10_i128.checked_pow(exponent).ok_or_else(overflow)
}

impl Numeric {
    /// A number of so many digits behind the point.
    pub(crate) fn new(unscaled: i128, scale: u32) -> Self {
        Self { unscaled, scale }
    }

    /// Reads `[+-]digits[.digits][e[+-]digits]`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Sql<Self>> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + part.len() == 0 || !digits(whole) || !digits(part) {
            return None;
        }
        let mut unscaled: i128 = 0;
        for byte in whole.bytes().chain(part.bytes()) {
            let digit = i128::from(byte - b'0');
            match unscaled.checked_mul(10).and_then(|ten| ten.checked_add(digit)) {
                Some(more) => unscaled = more,
                None => return Some(Err(overflow())),
            }
        }
        let sign = if negative { -1 } else { 1 };
        let scale = i64::try_from(part.len()).ok()? - i64::from(exponent);
        Some(Self::shifted(sign * unscaled, scale))
    }

    fn shifted(unscaled: i128, scale: i64) -> Sql<Self> {
        match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_MAX => Ok(Self { unscaled, scale }),
            Ok(_) => Err(overflow()),
            Err(_) => {
                let up = u32::try_from(-scale).map_err(|_| overflow())?;
                let unscaled = if unscaled == 0 { Some(0) } else { unscaled.checked_mul(power(up)?) };
                Ok(Self { unscaled: unscaled.ok_or_else(overflow)?, scale: 0 })
            }
        }
    }

    /// The same number with so many digits behind the point, rounded half away from zero.
    pub(crate) fn round(self, scale: u32) -> Sql<Self> {
        if scale >= self.scale {
            let up = power(scale - self.scale)?;
            let unscaled = self.unscaled.checked_mul(up).ok_or_else(overflow)?;
            return Ok(Self { unscaled, scale });
        }
        let down = power(self.scale - scale)?;
        let (whole, rest) = (self.unscaled / down, self.unscaled % down);
        let away = if rest.abs() * 2 >= down { rest.signum() } else { 0 };
        Ok(Self { unscaled: whole + away, scale })
    }

    /// The nearest whole number.
    pub(crate) fn to_int(self) -> Sql<i128> {
        Ok(self.round(0)?.unscaled)
    }

    fn aligned(self, other: Self) -> Sql<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Ok((self.round(scale)?.unscaled, other.round(scale)?.unscaled, scale))
    }

    /// An operation of `+ - * / %`.
    pub(crate) fn calculate(self, operator: char, other: Self) -> Sql<Self> {
        let (left, right, scale) = self.aligned(other)?;
        if right == 0 && matches!(operator, '/' | '%') {
            return Err(SqlError::new("22012", "division by zero"));
        }
        let (unscaled, scale) = match operator {
            '+' => (left.checked_add(right), scale),
            '-' => (left.checked_sub(right), scale),
            '*' => (self.unscaled.checked_mul(other.unscaled), self.scale + other.scale),
            '%' => (left.checked_rem(right), scale),
            _ => {
                let scale = self.quotient_scale(other);
                let up = left.checked_mul(power(scale)?).ok_or_else(overflow)?;
                let (whole, rest) = (up / right, up % right);
                let sign = left.signum() * right.signum();
                let away = if rest.unsigned_abs() >= right.unsigned_abs().div_ceil(2) { sign } else { 0 };
                (Some(whole + away), scale)
            }
        };
        Ok(Self { unscaled: unscaled.ok_or_else(overflow)?, scale })
    }

    /// Digits behind the point of a quotient: so many that 16 digits mean something (`select_div_scale`).
    fn quotient_scale(self, by: Self) -> u32 {
        let ((weight, first), (weight_by, first_by)) = (self.leading(), by.leading());
        let weight = weight - weight_by - i32::from(first <= first_by);
        let digits = u32::try_from(QUOTIENT_DIGITS - 4 * weight).unwrap_or(0);
        digits.max(self.scale).max(by.scale)
    }

    /// The power of 10,000 that the number begins with, and how many of it there are.
    fn leading(self) -> (i32, u128) {
        let (mut left, pad) = (self.unscaled.unsigned_abs(), (4 - self.scale % 4) % 4);
        let mut weight = -((self.scale + pad) as i32 / 4);
        if left == 0 {
            return (0, 0);
        }
        // The last group may lack digits on its right.
        let cut = 10_u128.pow(4 - pad);
        if pad > 0 && left < cut {
            return (weight, left * 10_u128.pow(pad));
        }
        if pad > 0 {
            left /= cut;
            weight += 1;
        }
        while left >= 10_000 {
            left /= 10_000;
            weight += 1;
        }
        (weight, left)
    }

    /// Its size without its sign.
    pub(crate) fn abs(self) -> Self {
        Self { unscaled: self.unscaled.abs(), ..self }
    }

    /// PostgreSQL's binary form: groups of four decimal digits, the weight of the first, the sign and the scale
    /// (`numeric_send`).
    pub(crate) fn to_binary(self) -> Vec<u8> {
        let pad = (4 - self.scale % 4) % 4;
        let mut left = self.unscaled.unsigned_abs();
        let mut groups: Vec<u16> = Vec::new();
        let after = (self.scale + pad) / 4;
        // The last group may lack digits on its right.
        if pad > 0 {
            let cut = 10_u128.pow(4 - pad);
            groups.push((left % cut * 10_u128.pow(pad)) as u16);
            left /= cut;
        }
        while left > 0 || groups.len() < after as usize {
            groups.push((left % 10_000) as u16);
            left /= 10_000;
        }
        let mut weight = groups.len() as i16 - after as i16 - 1;
        groups.reverse();
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        weight = if groups.is_empty() { 0 } else { weight - leading as i16 };
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let sign: u16 = if self.unscaled < 0 { 0x4000 } else { 0 };
        let mut out = Vec::with_capacity(8 + 2 * groups.len());
        out.extend((groups.len() as u16).to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend((self.scale as u16).to_be_bytes());
        for group in groups {
            out.extend(group.to_be_bytes());
        }
        out
    }

    /// Reads PostgreSQL's binary form; `None` where it is none or no number.
    pub(crate) fn of_binary(bytes: &[u8]) -> Option<Sql<Self>> {
        let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let (count, weight, sign, scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
        if bytes.len() != 8 + 2 * usize::from(count) || !matches!(sign, 0 | 0x4000) {
            return None;
        }
        let mut unscaled: i128 = 0;
        for group in words {
            if group >= 10_000 {
                return None;
            }
            match unscaled.checked_mul(10_000).and_then(|more| more.checked_add(i128::from(group))) {
                Some(more) => unscaled = more,
                None => return Some(Err(overflow())),
            }
        }
        let behind = 4 * (i64::from(count) - 1 - i64::from(weight as i16));
        let sign = if sign == 0 { 1 } else { -1 };
        let number = Self::shifted(sign * unscaled, behind.min(i64::from(SCALE_MAX) + 6));
        Some(number.and_then(|number| number.round(u32::from(scale))))
    }
}

impl From<i64> for Numeric {
    fn from(whole: i64) -> Self {
        Self { unscaled: i128::from(whole), scale: 0 }
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Ok((left, right, _)) => left.cmp(&right),
            // One of them is too large for the other's scale: whole parts differ then.
            Err(_) => {
                let whole = |of: &Self| of.unscaled / power(of.scale).unwrap_or(i128::MAX);
                whole(self).cmp(&whole(other))
            }
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs().to_string();
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, part) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn number(text: &str) -> Numeric {
        Numeric::parse(text).unwrap().unwrap()
    }

    fn check(left: &str, operator: char, right: &str, expected: Expect) {
        let text =
            number(left).calculate(operator, number(right)).map_or_else(|e| e.message, |n| n.to_string());
        expected.assert_eq(&text);
    }

    #[test]
    fn numbers_keep_their_scale() {
        for text in ["0", "2.50", "-0.010", "12345678901234567890.5"] {
            assert_eq!(number(text).to_string(), text);
        }
        assert_eq!(number("1e2").to_string(), "100");
        assert_eq!(number("1.5e-2").to_string(), "0.015");
        assert!(
            Numeric::parse("x").is_none() && Numeric::parse("").is_none() && Numeric::parse("-").is_none()
        );
        assert!(Numeric::parse(&"9".repeat(40)).unwrap().is_err());
        assert!(Numeric::parse("1e-31").unwrap().is_err());
    }

    #[test]
    fn arithmetic_is_exact() {
        check("0.1", '+', "0.20", expect!["0.30"]);
        check("1", '-', "2.5", expect!["-1.5"]);
        check("1.5", '*', "1.5", expect!["2.25"]);
        check("1", '/', "3", expect!["0.33333333333333333333"]);
        check("10", '/', "3.0", expect!["3.3333333333333333"]);
        check("100.0", '/', "7", expect!["14.2857142857142857"]);
        check("7.0", '/', "2", expect!["3.5000000000000000"]);
        check("-2", '/', "0.0003", expect!["-6666.6666666666666667"]);
        check("7.5", '%', "2", expect!["1.5"]);
        check("1", '/', "0", expect!["division by zero"]);
        assert_eq!(number("2.5").round(0).unwrap().to_string(), "3");
        assert_eq!(number("-2.5").round(0).unwrap().to_string(), "-3");
        assert!(number("1.0") == number("1") && number("1.01") > number("1"));
    }

    #[test]
    fn binary_is_what_postgresql_sends() {
        let check = |text: &str, hex: &str| {
            let bytes = number(text).to_binary();
            let got: String = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            assert_eq!(got, hex, "{text}");
            assert_eq!(Numeric::of_binary(&bytes).unwrap().unwrap().to_string(), text);
        };
        // numeric_send of PostgreSQL 15 for the same texts.
        check("0", "0000000000000000");
        check("42.86", "0002000000000002002a2198");
        check("100.00", "00010000000000020064");
        check("-0.001", "0001ffff40000003000a");
        check("12345678.9", "0003000100000001 04d2162e2328".replace(' ', "").as_str());
        assert!(Numeric::of_binary(b"\0\x01").is_none());
    }
}
