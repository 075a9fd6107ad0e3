//! Passive health: endpoints that failed many of the requests they got in the last period are asked less
//! often in this one (Skipper's `-passive-health-check`, rule for rule). When too many are failing, all are
//! asked as if nothing were known: then it is hardly the endpoints.

use base::{Moment, did_you_mean, parse_duration};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When an endpoint is asked less often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Requests are counted over this long.
    pub period: Duration,
    /// An endpoint that got no more requests than this in a period is taken as healthy.
    pub requests_min: u64,
    /// So is one with no greater share of failures than this.
    pub drop_min: f64,
    /// An endpoint is left out of at most this share of all choices.
    pub drop_max: f64,
    /// When more than this share of a route's endpoints would be left out, none is.
    pub unhealthy_ratio_max: f64,
}

const KEYS: [&str; 5] = [
    "period",
    "min-requests",
    "min-drop-probability",
    "max-drop-probability",
    "max-unhealthy-endpoints-ratio",
];

impl Settings {
    /// Reads Skipper's form: `period=1s,min-requests=10,max-drop-probability=0.9`, and optionally
    /// `min-drop-probability` (0 if not given) and `max-unhealthy-endpoints-ratio` (1).
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut period, mut requests_min, mut drop_max) = (None, None, None);
        let (mut drop_min, mut unhealthy_ratio_max) = (0.0, 1.0);
        for pair in text.split(',').map(str::trim) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not `key=value`"))?;
            match key.trim() {
                "period" => period = Some(parse_duration(value.trim())?),
                "min-requests" => {
                    let number = value.trim().parse();
                    requests_min = Some(number.map_err(|_| format!("`{value}` is no number of requests"))?);
                }
                "min-drop-probability" => drop_min = share(value)?,
                "max-drop-probability" => drop_max = Some(share(value)?),
                "max-unhealthy-endpoints-ratio" => unhealthy_ratio_max = share(value)?,
                other => {
                    let meant = did_you_mean(other, KEYS);
                    let meant = meant.map_or_else(
                        || format!("; use {}", KEYS.join(", ")),
                        |known| format!(", did you mean `{known}`?"),
                    );
                    return Err(format!("`{other}` is nothing passive health checks know{meant}"));
                }
            }
        }
        let missing = |key: &str| format!("`{key}` is missing: it has no default");
        let settings = Self {
            period: period.ok_or_else(|| missing("period"))?,
            requests_min: requests_min.ok_or_else(|| missing("min-requests"))?,
            drop_min,
            drop_max: drop_max.ok_or_else(|| missing("max-drop-probability"))?,
            unhealthy_ratio_max,
        };
        if settings.period.is_zero() {
            return Err("`period` must be longer than nothing".to_owned());
        }
        if settings.drop_min >= settings.drop_max {
            return Err("`min-drop-probability` must be less than `max-drop-probability`".to_owned());
        }
        Ok(settings)
    }

    fn number_of(&self, now: Moment) -> u64 {
        now.0 / u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is no share, use 0 to 1"))
}

/// How the requests of one endpoint ended, shared by all cores.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Which period is being counted.
    period: u64,
    requests: u64,
    failed: u64,
    /// What follows from the period before.
    drop: f64,
}

impl Outcomes {
    /// A request ended; it failed if the endpoint gave no answer.
    pub fn record(&self, failed: bool, settings: &Settings, now: Moment) {
        let mut counts = self.at(settings, now);
        counts.requests += 1;
        counts.failed += u64::from(failed);
    }

    /// How likely the endpoint is left out of a choice: 0 if it is healthy.
    pub fn drop_probability(&self, settings: &Settings, now: Moment) -> f64 {
        self.at(settings, now).drop
    }

    fn at(&self, settings: &Settings, now: Moment) -> MutexGuard<'_, Counts> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let period = settings.number_of(now);
        // Cores read the clock before they take the lock, so an older moment may come second.
        if period > counts.period {
            let just_over = period == counts.period + 1;
            let drop = if just_over { counts.drop_of(settings) } else { 0.0 };
            *counts = Counts { period, requests: 0, failed: 0, drop };
        }
        counts
    }
}

impl Counts {
    fn drop_of(&self, settings: &Settings) -> f64 {
        let ratio = self.failed as f64 / self.requests.max(1) as f64;
        if self.requests > settings.requests_min && ratio > settings.drop_min {
            ratio.min(settings.drop_max)
        } else {
            0.0
        }
    }
}

/// Whether endpoints with these drop probabilities are left out, all by one roll in `[0, 1)`; `None` when
/// that would be more than the settings allow, or all of them, so that none is.
pub fn left_out(drops: &[f64], settings: &Settings, roll: f64) -> Option<Vec<bool>> {
    let out: Vec<bool> = drops.iter().map(|drop| roll < *drop).collect();
    let count = out.iter().filter(|out| **out).count();
    let too_many = count as f64 > drops.len() as f64 * settings.unhealthy_ratio_max;
    (!too_many && count < drops.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: Settings = Settings {
        period: Duration::from_secs(1),
        requests_min: 10,
        drop_min: 0.05,
        drop_max: 0.9,
        unhealthy_ratio_max: 0.5,
    };

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    fn drop_after(requests: u64, failed: u64) -> f64 {
        let outcomes = Outcomes::default();
        for number in 0..requests {
            outcomes.record(number < failed, &SETTINGS, at(500));
        }
        assert!(outcomes.drop_probability(&SETTINGS, at(999)) < 1e-9, "the period is not over");
        let drop = outcomes.drop_probability(&SETTINGS, at(1000));
        assert!((outcomes.drop_probability(&SETTINGS, at(1999)) - drop).abs() < 1e-9);
        assert!(outcomes.drop_probability(&SETTINGS, at(2000)) < 1e-9, "a quiet period makes it healthy");
        drop
    }

    #[test]
    fn the_share_of_failures_of_a_period_counts_in_the_next() {
        let drops = [(100, 50), (100, 5), (100, 6), (100, 100), (10, 10), (11, 11)]
            .map(|(requests, failed)| format!("{:.2}", drop_after(requests, failed)));
        assert_eq!(drops, ["0.50", "0.00", "0.06", "0.90", "0.00", "0.90"]);
    }

    #[test]
    fn a_period_without_anybody_looking_is_a_quiet_one() {
        let outcomes = Outcomes::default();
        (0..100).for_each(|_| outcomes.record(true, &SETTINGS, at(0)));
        assert!(outcomes.drop_probability(&SETTINGS, at(5000)) < 1e-9);
    }

    #[test]
    fn too_many_failing_endpoints_are_all_asked() {
        let out = |drops: &[f64], roll| left_out(drops, &SETTINGS, roll);
        assert_eq!(out(&[0.9, 0.0, 0.0], 0.5), Some(vec![true, false, false]));
        assert_eq!(out(&[0.9, 0.0, 0.0], 0.95), Some(vec![false, false, false]));
        assert_eq!(out(&[0.9, 0.9, 0.0], 0.5), None, "two of three are more than half");
        assert_eq!(out(&[0.9, 0.3, 0.0], 0.5), Some(vec![true, false, false]));
        let all = Settings { unhealthy_ratio_max: 1.0, ..SETTINGS };
        assert_eq!(left_out(&[0.9, 0.9], &all, 0.1), None, "nobody would be left");
    }

    proptest! {
        #[test]
        fn never_more_than_the_ratio_are_left_out(
            drops in prop::collection::vec(0.0f64..=1.0, 1..12),
            ratio in 0.0f64..=1.0,
            roll in 0.0f64..1.0,
        ) {
            let settings = Settings { unhealthy_ratio_max: ratio, ..SETTINGS };
            if let Some(out) = left_out(&drops, &settings, roll) {
                let count = out.iter().filter(|out| **out).count();
                prop_assert!(count as f64 <= drops.len() as f64 * ratio && count < drops.len());
            }
        }
    }

    fn check(text: &str, expected: Result<Settings, &str>) {
        assert_eq!(Settings::parse(text), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn settings_are_written_as_for_skipper() {
        check(
            "period=1s,min-requests=10,min-drop-probability=0.05,max-drop-probability=0.9,max-unhealthy-endpoints-ratio=0.5",
            Ok(SETTINGS),
        );
        let brief = Settings { drop_min: 0.0, unhealthy_ratio_max: 1.0, ..SETTINGS };
        check("max-drop-probability=0.9, period=1000ms, min-requests=10", Ok(brief));
        check("period=1s,min-requests=10", Err("`max-drop-probability` is missing: it has no default"));
        check("", Err("`` is not `key=value`"));
        check(
            "period=1s,min-request=10",
            Err("`min-request` is nothing passive health checks know, did you mean `min-requests`?"),
        );
        check("period=0s,min-requests=1,max-drop-probability=1", Err("`period` must be longer than nothing"));
        check("max-drop-probability=1.5", Err("`1.5` is no share, use 0 to 1"));
        check("min-requests=-1", Err("`-1` is no number of requests"));
        check(
            "period=1s,min-requests=1,max-drop-probability=0.5,min-drop-probability=0.5",
            Err("`min-drop-probability` must be less than `max-drop-probability`"),
        );
        assert!(Settings::parse("period=-1m").is_err() && Settings::parse("period=soon").is_err());
    }
}
