//! Lengths of time and sizes as people write them: Go's duration syntax (`1m30s`, `1.5h`, `250ms`), which
//! eskip files use, and byte sizes with units.

use std::fmt::Write as _;
use std::time::Duration;

/// Units of Go's `time.ParseDuration`, with their nanoseconds. Longer names first where one begins another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a non-negative duration in Go's syntax (Go `time.ParseDuration`): decimal numbers, each with an
/// optional fraction and a unit (`ns us µs ms s m h`), and plain `0`. A sign is refused: no wait is negative.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let fail = |why: &str| Err(format!("`{text}` is not a duration: {why}"));
    if text.is_empty() {
        return fail("it is empty");
    }
    let mut rest = text;
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else {
            return fail("write numbers with units, such as `1m30s` or `250ms`");
        };
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return if unit.is_empty() {
                fail("a unit is missing, such as `s` or `ms`")
            } else {
                fail(&format!("`{unit}` is no unit, use ns, us, ms, s, m or h"))
            };
        };
        nanos += number * size;
        rest = &rest[end..];
    }
    // Go's durations are signed 64-bit nanoseconds, about 292 years.
    if nanos > i64::MAX as f64 {
        return fail("it is longer than 292 years");
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Prints a duration in Go's syntax, shortest form: `1m30s`, `1.5s`, `250ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |value: u128, unit: u128| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", value / unit, value % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let mut text = String::new();
            if minutes >= 60 {
                let _ = write!(text, "{}h", minutes / 60);
            }
            if minutes > 0 && (!minutes.is_multiple_of(60) || !nanos.is_multiple_of(60_000_000_000)) {
                let _ = write!(text, "{}m", minutes % 60);
            }
            let seconds = nanos % 60_000_000_000;
            if seconds > 0 {
                let _ = write!(text, "{}s", fraction(seconds, 1_000_000_000));
            }
            text
        }
    }
}

/// Reads a size in bytes: `512`, `64KiB`, `10MB`, `1.5GiB`. Units of 1000 (`kB MB GB`) and 1024
/// (`KiB MiB GiB`), of any case.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("`{other}` is no unit of size, use KiB, MiB or GiB")),
    };
    match text[..digits].parse::<f64>() {
        Ok(number) if number * (unit as f64) < 9e18 => Ok((number * unit as f64).round() as u64),
        _ => Err(format!("`{text}` is not a size: write it like `512`, `64KiB` or `1.5MiB`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("1s", 1_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("250ms", 250_000_000),
            ("10\u{b5}s", 10_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for bad in ["", "1", "s", "1x", "-1s", "1.2.3s", "1s ", "9999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_print_in_their_shortest_form() {
        for text in ["0s", "15ns", "1.5ms", "250ms", "1.5s", "1m30s", "1h", "1h1m", "1h0m1s", "2m"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("10 MB"), Ok(10_000_000));
        assert_eq!(parse_bytes("1.5gib"), Ok(1_610_612_736));
        assert!(parse_bytes("12 parsecs").is_err());
        assert!(parse_bytes("MiB").is_err());
    }
}
