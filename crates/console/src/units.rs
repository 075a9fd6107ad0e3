//! Numbers as people read them: durations, rates, shares, times.

use maud::{Markup, html};
use telemetry::metrics::BUCKETS;

/// A duration given in microseconds: `450 µs`, `12.3 ms`, `2.05 s`, `3 min 20 s`.
pub(crate) fn duration(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us if us < 60e6 => format!("{:.2} s", us / 1e6),
        us => format!("{:.0} min {:.0} s", (us / 60e6).floor(), (us % 60e6) / 1e6),
    }
}

/// A duration given in milliseconds; a dash where there is none.
pub(crate) fn ms(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| duration(ms * 1e3))
}

/// The same where it was counted in buckets: below the first bound and above the last no more is known.
pub(crate) fn bucketed(ms: Option<f64>) -> String {
    let bound = |at: usize| BUCKETS[at] * 1e3;
    match ms {
        Some(ms) if ms <= bound(0) => format!("≤ {}", duration(bound(0) * 1e3)),
        Some(ms) if ms >= bound(BUCKETS.len() - 1) => {
            format!("> {}", duration(bound(BUCKETS.len() - 1) * 1e3))
        }
        other => self::ms(other),
    }
}

/// A rate: `12.3/s`, or where that would be nothing `3/min`.
pub(crate) fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0/s".to_owned(),
        rate if rate < 0.1 => format!("{:.1}/min", rate * 60.0),
        rate if rate < 100.0 => format!("{rate:.1}/s"),
        rate => format!("{rate:.0}/s"),
    }
}

/// A share in percent.
pub(crate) fn share(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        percent if percent < 0.1 => "<0.1%".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// A number of things: `1 span`, `2 spans`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A time given in microseconds since 1970, in UTC to the millisecond.
pub(crate) fn time(us: u64) -> Markup {
    let stamp = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    html! {
        @match stamp {
            Some(stamp) => time datetime=(stamp.to_string()) { (stamp.strftime("%Y-%m-%d %H:%M:%S%.3f")) " UTC" },
            None => "at an unknown time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let durations = [450.0, 1_234.0, 45_678.0, 456_789.0, 2_050_000.0, 200_000_000.0].map(duration);
        assert_eq!(durations, ["450 µs", "1.23 ms", "45.7 ms", "457 ms", "2.05 s", "3 min 20 s"]);
        assert_eq!([0.0, 0.05, 12.34, 1234.5].map(rate), ["0/s", "3.0/min", "12.3/s", "1234/s"]);
        assert_eq!([0.0, 0.0001, 0.054, 1.0].map(share), ["0%", "<0.1%", "5.4%", "100%"]);
        assert_eq!(
            [Some(3.0), Some(20.0), Some(10_000.0), None].map(bucketed),
            ["≤ 5.00 ms", "20.0 ms", "> 10.00 s", "–"]
        );
        assert_eq!((count(1, "span"), count(0, "span")), ("1 span".to_owned(), "0 spans".to_owned()));
    }

    #[test]
    fn a_time_is_for_people_and_machines() {
        assert_eq!(
            time(1_764_158_400_123_456).into_string(),
            r#"<time datetime="2025-11-26T12:00:00.123456Z">2025-11-26 12:00:00.123 UTC</time>"#
        );
    }
}
