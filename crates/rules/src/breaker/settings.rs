//! The rules of a breaker as they are written: each may be left open, and is then taken from the host's
//! rules or from everybody's.

use base::{did_you_mean, format_duration, parse_duration};
use std::fmt;
use std::time::Duration;

/// The time an open breaker waits if nobody says.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);
/// The probes of a half-open breaker if nobody says.
pub(super) const HALF_OPEN: u32 = 1;
/// How long a breaker that nobody asks is kept if nobody says.
pub(super) const IDLE_TTL: Duration = Duration::from_hours(1);

/// When a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trip {
    /// After this many failures without a success in between.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// When so many of the last requests failed (a window of requests, not of time).
    Rate {
        /// How many failures.
        failures: u32,
        /// Of how many requests.
        window: u32,
    },
    /// Never: there is no breaker.
    Disabled,
}

/// What `-breaker` may set.
const KEYS: [&str; 7] = ["type", "host", "window", "failures", "timeout", "half-open-requests", "idle-ttl"];

/// What is known of the rules; `None` is what was not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// When it opens.
    pub trip: Option<Trip>,
    /// How long it stays open. Default: 1 m.
    pub timeout: Option<Duration>,
    /// How many requests are let through to see whether the backend is back; all must succeed. Default: 1.
    pub half_open: Option<u32>,
    /// How long it is kept when nobody asks. Default: 1 h.
    pub idle_ttl: Option<Duration>,
}

impl Settings {
    /// Rules as Skipper's `-breaker` takes them, and the host they are for, empty for all:
    /// `type=rate,host=h,window=300,failures=30,timeout=1m,half-open-requests=15,idle-ttl=1h`.
    pub fn parse(text: &str) -> Result<(String, Self), String> {
        let (mut settings, mut host) = (Self::default(), String::new());
        let (mut kind, mut failures, mut window) = (None, None, None);
        for pair in text.split(',').map(str::trim) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not `key=value`"))?;
            let value = value.trim();
            let number = || match value.parse::<u32>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("`{value}` is no number above 0")),
            };
            match key.trim() {
                "type" => kind = Some(value),
                "host" => value.clone_into(&mut host),
                "window" => window = Some(number()?),
                "failures" => failures = Some(number()?),
                "timeout" => settings.timeout = Some(parse_duration(value)?),
                "half-open-requests" => settings.half_open = Some(number()?),
                "idle-ttl" => settings.idle_ttl = Some(parse_duration(value)?),
                other => {
                    let meant = did_you_mean(other, KEYS).map_or_else(
                        || format!("; there are {}", KEYS.join(", ")),
                        |key| format!(", did you mean `{key}`?"),
                    );
                    return Err(format!("`{other}` is no setting of a breaker{meant}"));
                }
            }
        }
        let missing = |key: &str| format!("`{key}` is missing: it has no default");
        settings.trip = Some(match kind {
            Some("consecutive") => {
                Trip::Consecutive { failures: failures.ok_or_else(|| missing("failures"))? }
            }
            Some("rate") => Trip::Rate {
                failures: failures.ok_or_else(|| missing("failures"))?,
                window: window.ok_or_else(|| missing("window"))?,
            },
            Some("disabled") => Trip::Disabled,
            Some(other) => {
                return Err(format!(
                    "`{other}` is no type of breaker; there are consecutive, rate, disabled"
                ));
            }
            None => return Err(missing("type")),
        });
        Ok((host, settings))
    }

    /// These rules, with what they leave open taken from `others`.
    pub fn or(self, others: Settings) -> Settings {
        Settings {
            trip: self.trip.or(others.trip),
            timeout: self.timeout.or(others.timeout),
            half_open: self.half_open.or(others.half_open),
            idle_ttl: self.idle_ttl.or(others.idle_ttl),
        }
    }

    /// The rules as Skipper prints them:
    /// `type=rate,host=h,window=300,failures=30,timeout=1m0s,half-open-requests=15,idle-ttl=1h0m0s`.
    pub fn display(self, host: &str) -> impl fmt::Display {
        let mut parts = Vec::new();
        match self.trip {
            None => return "none".to_owned(),
            Some(Trip::Disabled) => return "disabled".to_owned(),
            Some(Trip::Consecutive { .. }) => parts.push("type=consecutive".to_owned()),
            Some(Trip::Rate { .. }) => parts.push("type=rate".to_owned()),
        }
        if !host.is_empty() {
            parts.push(format!("host={host}"));
        }
        match self.trip {
            Some(Trip::Rate { failures, window }) => {
                parts.push(format!("window={window},failures={failures}"));
            }
            Some(Trip::Consecutive { failures }) => parts.push(format!("failures={failures}")),
            None | Some(Trip::Disabled) => {}
        }
        parts.extend(self.timeout.map(|timeout| format!("timeout={}", go_duration(timeout))));
        parts.extend(self.half_open.map(|requests| format!("half-open-requests={requests}")));
        parts.extend(self.idle_ttl.map(|ttl| format!("idle-ttl={}", go_duration(ttl))));
        parts.join(",")
    }
}

/// Go's own form, which names the smaller units even when they are 0 (`1h0m0s`).
fn go_duration(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    let rest = duration.saturating_sub(Duration::from_mins(minutes));
    // Below a second Go changes units; after whole minutes it never does.
    let seconds = if rest < Duration::from_secs(1) && minutes > 0 {
        format!("{}s", rest.as_secs_f64())
    } else {
        format_duration(rest)
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_print_and_a_mistake_is_told() {
        for text in [
            "type=rate,host=h,window=300,failures=30,timeout=1m0s,half-open-requests=15,idle-ttl=1h0m0s",
            "type=consecutive,failures=5",
        ] {
            let (host, settings) = Settings::parse(text).unwrap();
            assert_eq!(settings.display(&host).to_string(), text);
        }
        assert_eq!(Settings::parse("type=disabled").unwrap().1.trip, Some(Trip::Disabled));
        for (text, expected) in [
            ("failures=5", "`type` is missing: it has no default"),
            ("type=rate,failures=5", "`window` is missing: it has no default"),
            ("type=often,failures=5", "`often` is no type of breaker; there are consecutive, rate, disabled"),
            ("type=consecutive,failures=0", "`0` is no number above 0"),
            ("type=consecutive,falures=5", "`falures` is no setting of a breaker, did you mean `failures`?"),
            ("consecutive", "`consecutive` is not `key=value`"),
        ] {
            assert_eq!(Settings::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (15, "15ms"),
            (1500, "1.5s"),
            (60_000, "1m0s"),
            (60_500, "1m0.5s"),
            (3_660_000, "1h1m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn what_is_left_open_is_taken_from_others_and_the_rule_goes_as_a_whole() {
        let defaults = Settings {
            trip: Some(Trip::Rate { failures: 3, window: 10 }),
            timeout: Some(TIMEOUT),
            ..Settings::default()
        };
        let route = Settings { trip: Some(Trip::Consecutive { failures: 5 }), ..Settings::default() };
        assert_eq!(
            route.or(defaults).display("").to_string(),
            "type=consecutive,failures=5,timeout=1m0s",
            "no window from another kind of rule"
        );
        assert_eq!(
            Settings::default().or(defaults).display("h").to_string(),
            "type=rate,host=h,window=10,failures=3,timeout=1m0s"
        );
    }
}
