//! Numbers as PostgreSQL's `numeric` prints them: without exponent, and with the scale they were given.

use super::JsonErrorKind;

/// Digits before the point: `numeric` counts them in groups of four, at most 32,768 groups.
const WHOLE_DIGITS_MAX: i64 = 131_072;
/// Digits behind the point: 14 bits of `numeric`'s header.
const FRACTION_DIGITS_MAX: i64 = 16_383;
/// PostgreSQL takes no exponent from here on, whatever its sign.
const EXPONENT_END: i64 = (i32::MAX / 2) as i64;

/// Whether a number, which has to follow JSON's grammar, is canonical as it stands. May deny it of one that is.
pub(super) fn is_canonical(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number).as_bytes();
    digits.len() as i64 <= FRACTION_DIGITS_MAX
        && digits.iter().all(|byte| !matches!(byte, b'e' | b'E'))
        // Zero has no sign.
        && (digits.len() == number.len() || digits.iter().any(|byte| matches!(byte, b'1'..=b'9')))
}

/// Writes a number, which has to follow JSON's grammar, in canonical form.
pub(super) fn write(number: &str, out: &mut String) -> Result<(), JsonErrorKind> {
    let (negative, rest) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let scale = (fraction.len() as i64 - exponent).max(0);
    // Where the point comes to stand, counted in digits from the first.
    let point = whole.len() as i64 + exponent;
    let zeros = whole.bytes().chain(fraction.bytes()).take_while(|digit| *digit == b'0').count() as i64;
    let is_zero = zeros == (whole.len() + fraction.len()) as i64;
    if scale > FRACTION_DIGITS_MAX || (!is_zero && point - zeros > WHOLE_DIGITS_MAX) {
        return Err(JsonErrorKind::Number);
    }
    if negative && !is_zero {
        out.push('-');
    }
    if exponent == 0 {
        // The common case, and JSON has no leading zeros.
        out.push_str(mantissa);
        return Ok(());
    }
    let digit = |at: i64| {
        let at = usize::try_from(at).ok();
        let found = at.and_then(|at| {
            whole.as_bytes().get(at).or_else(|| fraction.as_bytes().get(at.checked_sub(whole.len())?))
        });
        char::from(*found.unwrap_or(&b'0'))
    };
    if is_zero || point <= zeros {
        out.push('0');
    } else {
        out.extend((zeros..point).map(digit));
    }
    if scale > 0 {
        out.push('.');
        out.extend((point..point + scale).map(|at| if is_zero { '0' } else { digit(at) }));
    }
    Ok(())
}

fn exponent(text: &str) -> Result<i64, JsonErrorKind> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut size: i64 = 0;
    for digit in digits.bytes() {
        size = size * 10 + i64::from(digit - b'0');
        if size >= EXPONENT_END {
            return Err(JsonErrorKind::Number);
        }
    }
    Ok(if negative { -size } else { size })
}
