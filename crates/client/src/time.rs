//! Points in time as JSON has them: RFC 3339, to the microsecond.

use base::UnixTime;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};
use std::time::Duration;

/// Reads one.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is no time such as `2026-11-26T12:00:00Z`")))
}

/// Reads one; `None` for what is no time of this kind or before 1970.
fn parse(text: &str) -> Option<UnixTime> {
    let time: Timestamp = text.parse().ok()?;
    let micros = u64::try_from(time.as_microsecond()).ok()?;
    Some(UnixTime(Duration::from_micros(micros)))
}

/// Writes one.
pub(crate) fn format(time: UnixTime) -> String {
    let micros = i64::try_from(time.micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_to_the_microsecond() {
        let time = parse("2026-11-26T12:00:00.123456Z").unwrap();
        assert_eq!(time.micros(), 1_795_694_400_123_456);
        assert_eq!(format(time), "2026-11-26T12:00:00.123456Z");
        assert_eq!(parse("2026-11-26T13:00:00.123456+01:00"), Some(time));
        assert_eq!((parse("yesterday"), parse("1969-12-31T23:59:59Z")), (None, None));
    }
}
