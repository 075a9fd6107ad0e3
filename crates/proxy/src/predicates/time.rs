//! Predicates of the time. `jiff` reads dates and knows the zones; its API stays in this file and in
//! `cron.rs`.

use super::{Predicate, PredicateSpec, Unfit, check};
use crate::args::Args;
use crate::question::Question;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(super) static AFTER: PredicateSpec = PredicateSpec {
    name: "After",
    args: "time[, zone]",
    docs: "Matches from this time on. A time is written as RFC 3339 (`2026-01-01T12:00:00+02:00`), as local \
           time with the name of a zone behind it (`2026-01-01T12:00:00`, `Europe/Berlin`), or as seconds \
           since 1970.",
    example: r#"After("2026-01-01T12:00:00", "Europe/Berlin")"#,
    matches: &["GET /\n@time 2026-01-01T11:00:00Z"],
    refuses: &["GET /\n@time 2026-01-01T10:59:59Z"],
    weight_extra: 0,
    build: |args, _| {
        let [from] = times(args)?;
        Ok(check(Interval { from, to: i128::MAX }))
    },
};

pub(super) static BEFORE: PredicateSpec = PredicateSpec {
    name: "Before",
    args: "time[, zone]",
    docs: "Matches until just before this time. Times are written as for `After`.",
    example: r#"Before("2026-01-01T12:00:00+02:00")"#,
    matches: &["GET /\n@time 2026-01-01T09:59:59Z"],
    refuses: &["GET /\n@time 2026-01-01T10:00:00Z"],
    weight_extra: 0,
    build: |args, _| {
        let [to] = times(args)?;
        Ok(check(Interval { from: i128::MIN, to }))
    },
};

pub(super) static BETWEEN: PredicateSpec = PredicateSpec {
    name: "Between",
    args: "from, to[, zone]",
    docs: "Matches from the first time on and until just before the second, which must be later. Times are \
           written as for `After`, both in the same way.",
    example: "Between(1767225600, 1767312000)",
    matches: &["GET /\n@time 2026-01-01T00:00:00Z", "GET /\n@time 2026-01-01T23:59:59Z"],
    refuses: &["GET /\n@time 2025-12-31T23:59:59Z", "GET /\n@time 2026-01-02T00:00:00Z"],
    weight_extra: 0,
    build: |args, _| {
        let [from, to] = times(args)?;
        if from >= to {
            return Err("the second time is not later than the first".into());
        }
        Ok(check(Interval { from, to }))
    },
};

/// Nanoseconds since 1970; the end is not part of it.
struct Interval {
    from: i128,
    to: i128,
}

impl Predicate for Interval {
    fn matches(&self, question: &Question<'_>) -> bool {
        let now = i128::try_from(question.now.0.as_nanos()).unwrap_or(i128::MAX);
        (self.from..self.to).contains(&now)
    }
}

/// So many times, and maybe the zone they are in.
fn times<const N: usize>(args: &mut Args<'_>) -> Result<[i128; N], Unfit> {
    let all = args.all();
    let mut times = [0; N];
    if all.len() == N + 1 {
        let zone = all[N].text().ok_or("the last argument must be the name of a zone")?;
        let zone =
            TimeZone::get(zone).map_err(|_| format!("`{zone}` is no time zone such as `Europe/Berlin`"))?;
        for time in &mut times {
            *time = local(args.text("local time")?, &zone)?;
        }
        args.text("zone")?;
    } else if !all.is_empty() && all.iter().all(|arg| arg.number().is_some()) {
        for time in &mut times {
            // Whole seconds, as in the original.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a fraction is cut off; what is too large saturates"
            )]
            let seconds = args.number("seconds since 1970")? as i64;
            *time = i128::from(seconds) * 1_000_000_000;
        }
    } else {
        for time in &mut times {
            *time = instant(args.text("time")?)?;
        }
    }
    args.end()?;
    Ok(times)
}

/// A point in time by RFC 3339, in nanoseconds since 1970. `jiff` would also take a space for the `T`.
fn instant(text: &str) -> Result<i128, String> {
    let time = text.parse::<Timestamp>().ok().filter(|_| text.as_bytes().get(10) == Some(&b'T'));
    time.map(Timestamp::as_nanosecond)
        .ok_or_else(|| format!("`{text}` is not a time such as `2026-01-01T12:00:00+02:00`"))
}

/// A local time without offset, in nanoseconds since 1970. One that a change of clocks skips or repeats is
/// taken as the earlier clock reads it.
fn local(text: &str, zone: &TimeZone) -> Result<i128, String> {
    let wrong = || format!("`{text}` is not a local time such as `2026-01-01T12:00:00`");
    // The length decides: an offset or a zone behind it contradicts the zone of its own argument.
    if text.len() != "2026-01-01T12:00:00".len() || text.as_bytes()[10] != b'T' {
        return Err(wrong());
    }
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    zone.to_timestamp(civil).map(Timestamp::as_nanosecond).map_err(|_| wrong())
}
