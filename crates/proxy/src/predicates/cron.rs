//! The predicate `Cron`: a mask over the wall clock, five fields that must all match. It is simpler than
//! the syntax of cron daemons (no steps, no names, day of month AND day of week), so it is read here.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Unfit, check};
use crate::args::Args;
use crate::question::Question;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) static CRON: PredicateSpec = PredicateSpec {
    name: "Cron",
    args: "mask",
    docs: "Matches while the machine's local time fits the mask: minute (0-59), hour (0-23), day of month \
           (1-31), month (1-12) and day of week (0-6, Sunday is 0). Each is `*`, or numbers and ranges with \
           commas between them. All five must fit, unlike in cron daemons also both kinds of days.",
    example: r#"Cron("* 7-18 * * 1-5")"#,
    matches: &["GET /\n@time 2026-11-23T18:59:59Z"],
    refuses: &["GET /\n@time 2026-11-23T19:00:00Z", "GET /\n@time 2026-11-22T12:00:00Z"],
    weight_extra: 0,
    build: cron,
};

/// Name, least and greatest value of each field.
const FIELDS: [(&str, u8, u8); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];

struct Cron {
    /// A bit for each value that fits.
    fields: [u64; 5],
    zone: TimeZone,
}

fn cron(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let text = args.text("mask")?;
    args.end()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() != FIELDS.len() {
        return Err(format!("`{text}` has {} fields, not 5", words.len()).into());
    }
    let mut fields = [0; 5];
    for (at, word) in words.into_iter().enumerate() {
        let (name, least, most) = FIELDS[at];
        fields[at] = field(word, least, most).map_err(|why| format!("the {name} `{word}` {why}"))?;
    }
    Ok(check(Cron { fields, zone: env.zone.clone().unwrap_or_else(TimeZone::system) }))
}

fn field(word: &str, least: u8, most: u8) -> Result<u64, String> {
    if word == "*" {
        return Ok(u64::MAX);
    }
    let number = |text: &str| match text.parse::<u8>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("has {text:?}, not a number from {least} to {most}")),
    };
    let mut bits = 0;
    for item in word.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("has the backward range `{item}`"));
        }
        bits |= (first..=last).fold(0, |bits, value| bits | 1 << value);
    }
    Ok(bits)
}

impl Predicate for Cron {
    fn matches(&self, question: &Question<'_>) -> bool {
        let seconds = i64::try_from(question.now.seconds()).unwrap_or(i64::MAX);
        let Ok(now) = Timestamp::from_second(seconds) else {
            return false;
        };
        let local = self.zone.to_datetime(now);
        let values = [
            local.minute(),
            local.hour(),
            local.day(),
            local.month(),
            local.weekday().to_sunday_zero_offset(),
        ];
        self.fields.iter().zip(values).all(|(bits, value)| bits >> value & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_list_of_numbers_and_ranges() {
        assert_eq!(field("1,3-5", 0, 59), Ok(0b11_1010));
        assert_eq!(field("*", 1, 12), Ok(u64::MAX));
        for bad in ["", "1,,3", "a", "2-a", "2-3-5", "24", "12-30", "*/5", "5-2", "-1", "1,"] {
            assert!(field(bad, 0, 23).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_wall_clock_is_the_zone_s() {
        let berlin = Cron {
            fields: [u64::MAX, 1 << 1, u64::MAX, u64::MAX, 1 << 2],
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        };
        let (headers, chance) = (wire::Headers::new(), base::Chance::seeded(1));
        let at = |text: &str| {
            let mut question = Question::new(&http::Method::GET, "/", "", &headers, &chance);
            let seconds = text.parse::<Timestamp>().unwrap().as_second();
            question.now = base::UnixTime(std::time::Duration::from_secs(u64::try_from(seconds).unwrap()));
            berlin.matches(&question)
        };
        assert!(at("2026-11-24T00:30:00Z"), "Tuesday 01:30 in Berlin");
        assert!(at("2026-06-29T23:30:00Z"), "Tuesday 01:30 in Berlin's summer");
        assert!(!at("2026-11-23T00:30:00Z"));
    }
}
