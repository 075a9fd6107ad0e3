//! Points in time and spans as PostgreSQL writes and reads them, in UTC, the one time zone here. The calendar
//! is jiff's.

use jiff::civil::DateTime;
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp, ToSpan, Unit};
use std::fmt::Write;

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;
/// 2000-01-01, from which PostgreSQL's binary forms count, in microseconds since 1970.
pub(crate) const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A span of time, whose months and days are as long as they happen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

impl Interval {
    /// Its length where a month has 30 days, by which PostgreSQL compares spans.
    pub(crate) fn length(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    /// The other way round.
    pub(crate) fn negated(self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    /// Reads a span as people write it: `1 minute`, `2 days 03:00:00`, `1 month -2 days`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, ago) = text.strip_suffix(" ago").map_or((text, false), |text| (text, true));
        // The hours and minutes at the end, if there are any, then what is before them in words.
        let (words, last) = text.rsplit_once(' ').unwrap_or(("", text));
        let (text, clock) = clock(last).map_or((text, 0), |micros| (words, micros));
        if text.is_empty() && last.contains(':') {
            return Some(Self { micros: if ago { -clock } else { clock }, ..Self::default() });
        }
        let span = SpanParser::new().parse_span(text.to_ascii_lowercase()).ok()?;
        let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
        let months = i32::from(span.get_years()) * 12 + span.get_months();
        let rest = span.years(0).months(0).weeks(0).days(0);
        let micros = rest.total((Unit::Microsecond, SpanRelativeTo::days_are_24_hours())).ok()?;
        let interval = Self {
            months,
            days: i32::try_from(days).ok()?,
            micros: (micros.round() as i64).checked_add(clock)?,
        };
        if ago { interval.negated() } else { Some(interval) }
    }

    /// As PostgreSQL writes it (`IntervalStyle` postgres).
    pub(crate) fn text(self) -> String {
        let mut out = String::new();
        let mut part = |count: i32, unit: &str| {
            if count != 0 {
                let space = if out.is_empty() { "" } else { " " };
                let many = if count == 1 { "" } else { "s" };
                let _ = write!(out, "{space}{count} {unit}{many}");
            }
        };
        part(self.months / 12, "year");
        part(self.months % 12, "mon");
        part(self.days, "day");
        if self.micros != 0 || out.is_empty() {
            let space = if out.is_empty() { "" } else { " " };
            let sign = if self.micros < 0 { "-" } else { "" };
            let micros = self.micros.unsigned_abs();
            let seconds = micros / 1_000_000;
            let _ = write!(
                out,
                "{space}{sign}{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
            fraction(micros % 1_000_000, &mut out);
        }
        out
    }
}

/// `HH:MM[:SS[.ffffff]]` in microseconds.
fn clock(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let mut parts = text.split(':');
    let (hours, minutes) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
    let seconds = match parts.next() {
        Some(text) => text.parse::<f64>().ok().filter(|seconds| (0.0..60.0).contains(seconds))?,
        None => 0.0,
    };
    if parts.next().is_some() || minutes > 59 {
        return None;
    }
    let micros =
        (i64::from(hours) * 3600 + i64::from(minutes) * 60) * 1_000_000 + (seconds * 1e6).round() as i64;
    Some(if negative { -micros } else { micros })
}

fn fraction(micros: u64, out: &mut String) {
    if micros > 0 {
        let _ = write!(out, ".{micros:06}");
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// The calendar's day and clock at this time, in microseconds since 1970; `None` beyond the years 1 to 9999.
pub(crate) fn civil(micros: i64) -> Option<DateTime> {
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(TimeZone::UTC.to_datetime(time)).filter(|time| (1..=9999).contains(&time.year()))
}

fn micros(time: DateTime) -> Option<i64> {
    TimeZone::UTC.to_timestamp(time).ok().map(Timestamp::as_microsecond)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`.
pub(crate) fn timestamp_text(micros: i64, out: &mut String) {
    match civil(micros) {
        Some(time) => {
            let _ = write!(
                out,
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                time.year(),
                time.month(),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            );
            fraction(u64::try_from(time.subsec_nanosecond() / 1000).unwrap_or(0), out);
        }
        None => out.push_str(if micros < 0 { "-infinity" } else { "infinity" }),
    }
}

/// `YYYY-MM-DD` of a number of days since 1970.
pub(crate) fn date_text(days: i32) -> String {
    let mut out = String::new();
    timestamp_text(i64::from(days) * DAY, &mut out);
    out.truncate(out.find(' ').unwrap_or(out.len()));
    out
}

/// Reads `YYYY-MM-DD[( |T)HH:MM[:SS[.f]]][zone]`, in microseconds since 1970. An offset counts only where the
/// type has a time zone; otherwise it is passed over, as PostgreSQL does.
pub(crate) fn parse_timestamp(text: &str, with_zone: bool) -> Option<i64> {
    let text = text.trim();
    let clock_at = text.find([' ', 'T', 't']).map_or(text.len(), |at| at + 1);
    let zone = text[clock_at..].find(['+', '-', 'Z', 'z']).map_or(text.len(), |at| clock_at + at);
    let local: DateTime = text[..zone].trim_end().parse().ok()?;
    let offset = match &text[zone..] {
        "" | "Z" | "z" => 0,
        offset => {
            let digits = &offset[1..];
            let digits = if digits.len() == 2 { format!("{digits}:00") } else { digits.to_owned() };
            let digits =
                if digits.len() == 4 { format!("{}:{}", &digits[..2], &digits[2..]) } else { digits };
            let micros = clock(&digits)?;
            if offset.starts_with('-') { -micros } else { micros }
        }
    };
    micros(local)?.checked_sub(if with_zone { offset } else { 0 })
}

/// The day of a time, since 1970.
pub(crate) fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// A time and a span later; `None` beyond the calendar.
pub(crate) fn add(time: i64, interval: Interval) -> Option<i64> {
    let moved = match (interval.months, interval.days) {
        (0, 0) => time,
        (months, days) => {
            let within = time.rem_euclid(1000);
            let span = months.checked_abs().map(|_| i64::from(months))?;
            let span = span.try_months_days(i64::from(days))?;
            micros(civil(time - within)?.checked_add(span).ok()?)? + within
        }
    };
    moved.checked_add(interval.micros)
}

trait MonthsDays {
    fn try_months_days(self, days: i64) -> Option<jiff::Span>;
}

impl MonthsDays for i64 {
    /// A span of so many months and days, which may point different ways only one after the other.
    fn try_months_days(self, days: i64) -> Option<jiff::Span> {
        if self.signum() * days.signum() < 0 {
            return None;
        }
        0.seconds().try_months(self).ok()?.try_days(days).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn time(text: &str) -> i64 {
        parse_timestamp(text, true).unwrap()
    }

    fn text(micros: i64) -> String {
        let mut out = String::new();
        timestamp_text(micros, &mut out);
        out
    }

    fn check(interval: &str, expected: Expect) {
        expected.assert_eq(&Interval::parse(interval).map_or("none".to_owned(), Interval::text));
    }

    #[test]
    fn a_time_is_written_without_trailing_zeros() {
        assert_eq!(text(0), "1970-01-01 00:00:00");
        assert_eq!(text(1_700_000_000_120_000), "2023-11-14 22:13:20.12");
        assert_eq!(text(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(date_text(19_675), "2023-11-14");
        assert_eq!(text(i64::MAX), "infinity");
    }

    #[test]
    fn a_time_is_read_in_the_forms_that_clients_send() {
        for text in [
            "2023-11-14 22:13:20.5",
            "2023-11-14T22:13:20.5Z",
            "2023-11-14 23:13:20.5+01",
            "2023-11-14 23:43:20.500+01:30",
            "2023-11-14 20:13:20.5-0200",
        ] {
            assert_eq!(time(text), 1_700_000_000_500_000, "{text}");
        }
        assert_eq!(time("2023-11-14"), 19_675 * DAY);
        assert_eq!(parse_timestamp("2023-11-14 22:13:20.5+09", false), Some(1_700_000_000_500_000));
        for text in ["", "yesterday", "2023-13-01", "2023-11-14 25:00:00", "2023-11-14 22:13:20+x", "é"] {
            assert_eq!(parse_timestamp(text, true), None, "{text}");
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        check("1 minute", expect!["00:01:00"]);
        check("2 days", expect!["2 days"]);
        check("1 day 02:00:03.5", expect!["1 day 02:00:03.5"]);
        check("1 year 2 months", expect!["1 year 2 mons"]);
        check("3 weeks", expect!["21 days"]);
        check("-90 seconds", expect!["-00:01:30"]);
        check("5 minutes ago", expect!["-00:05:00"]);
        check("01:30", expect!["01:30:00"]);
        check("soon", expect!["none"]);
    }

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_one() {
        let later = |from: &str, span: &str| {
            add(time(from), Interval::parse(span).unwrap()).map_or("none".to_owned(), text)
        };
        assert_eq!(later("2024-01-31 10:00:00.000001", "1 month"), "2024-02-29 10:00:00.000001");
        assert_eq!(later("2024-03-01", "-1 day"), "2024-02-29 00:00:00");
        assert_eq!(later("2024-03-01", "-1 minute"), "2024-02-29 23:59:00");
        assert_eq!(later("9999-12-15", "1 month"), "none");
    }
}
