//! What was counted over the last hour, in memory: readings of each route for rates of the last minute, and for each
//! service a series that is plotted. Who reads, and when, is the console's.

use crate::bounds::{CONSUMERS_MAX, LAGS_MAX, SAMPLES_MAX, SERIES_MAX};
use base::Moment;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use telemetry::GATEWAY;
use telemetry::metrics::RouteTotals;

/// Readings that rates are taken from; the oldest is a minute old or a little more.
const READINGS_MAX: usize = 3;
/// How far they lie apart.
const APART: Duration = Duration::from_secs(30);

/// Whose requests a route carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// The services that answer.
    pub(crate) services: Vec<String>,
    /// Whether requests come from outside.
    pub(crate) is_entry: bool,
}

/// One point of a plot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Requests in a second.
    pub(crate) rate: f32,
    /// The share that failed.
    pub(crate) errors: f32,
    /// Milliseconds within which half of them ended; none without requests.
    pub(crate) p50_ms: Option<f32>,
    /// The same for 99 of 100.
    pub(crate) p99_ms: Option<f32>,
}

struct Reading {
    at: Moment,
    counted: Counted,
}

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted<R = HashMap<String, RouteTotals>> {
    /// By route.
    pub(crate) routes: R,
    /// Traces that began here and are not recorded.
    pub(crate) left_out: u64,
}

/// What was counted over the last hour.
pub(crate) struct History {
    /// Older ones, for rates.
    readings: VecDeque<Reading>,
    /// The last one.
    last: Reading,
    series: BTreeMap<String, VecDeque<Point>>,
    /// How far each consumer was behind.
    lags: BTreeMap<String, VecDeque<u64>>,
}

/// What each route did lately.
#[derive(Default)]
pub(crate) struct Rates {
    /// Seconds that are counted.
    pub(crate) seconds: f64,
    /// What was counted in these.
    pub(crate) counted: Counted,
}

impl History {
    /// One that begins when everything else does: all that is counted came later.
    pub(crate) fn new(now: Moment) -> Self {
        let start = || Reading { at: now, counted: Counted::default() };
        Self {
            readings: VecDeque::from([start()]),
            last: start(),
            series: BTreeMap::new(),
            lags: BTreeMap::new(),
        }
    }

    /// Takes a reading.
    pub(crate) fn take(
        &mut self,
        now: Moment,
        counted: Counted<Vec<RouteTotals>>,
        owners: &HashMap<String, Owners>,
    ) {
        let Counted { routes, left_out } = counted;
        let seconds = now.since(self.last.at).as_secs_f64().max(0.001);
        let mut services: BTreeMap<&str, RouteTotals> = BTreeMap::new();
        for totals in &routes {
            let zero = RouteTotals::default();
            let since = totals.since(self.last.counted.routes.get(&totals.id).unwrap_or(&zero));
            let Some(owners) = owners.get(&totals.id) else { continue };
            let entry = owners.is_entry.then_some(GATEWAY);
            for name in owners.services.iter().map(String::as_str).chain(entry) {
                services.entry(name).or_default().add(&since);
            }
        }
        for (name, points) in &mut self.series {
            push(points, services.remove(name.as_str()), seconds);
        }
        for (name, totals) in services {
            if self.series.len() >= SERIES_MAX {
                // Those that have done nothing for an hour make room.
                self.series.retain(|_, points| points.iter().any(|point| point.rate > 0.0));
            }
            if self.series.len() < SERIES_MAX {
                push(self.series.entry(name.to_owned()).or_default(), Some(totals), seconds);
            }
        }
        let routes = routes.into_iter().map(|totals| (totals.id.clone(), totals)).collect();
        let counted = Counted { routes, left_out };
        let before = std::mem::replace(&mut self.last, Reading { at: now, counted });
        if self.readings.back().is_none_or(|newest| before.at.since(newest.at) >= APART) {
            self.readings.push_back(before);
            if self.readings.len() > READINGS_MAX {
                self.readings.pop_front();
            }
        }
    }

    /// What each route did within the last minute or so, given what is counted now.
    pub(crate) fn rates(&self, now: Moment, counted: Counted<Vec<RouteTotals>>) -> Rates {
        let Some(oldest) = self.readings.front() else { return Rates::default() };
        let zero = RouteTotals::default();
        let since = |totals: RouteTotals| {
            let since = totals.since(oldest.counted.routes.get(&totals.id).unwrap_or(&zero));
            (totals.id, since)
        };
        Rates {
            seconds: now.since(oldest.at).as_secs_f64().max(1.0),
            counted: Counted {
                routes: counted.routes.into_iter().map(since).collect(),
                left_out: counted.left_out.saturating_sub(oldest.counted.left_out),
            },
        }
    }

    /// The series of each service that had requests, with the gateway's first.
    pub(crate) fn series(&self) -> Vec<(String, Vec<Point>)> {
        let mut all: Vec<_> = self
            .series
            .iter()
            .map(|(name, points)| (name.clone(), points.iter().copied().collect()))
            .collect();
        all.sort_by_key(|(name, _): &(String, Vec<Point>)| (name != GATEWAY, name.clone()));
        all
    }

    /// Takes how far each consumer is behind.
    pub(crate) fn take_lags(&mut self, lags: &[(String, u64)]) {
        self.lags.retain(|name, _| lags.iter().any(|(known, _)| known == name));
        for (name, lag) in lags.iter().take(CONSUMERS_MAX) {
            let kept = self.lags.entry(name.clone()).or_default();
            if kept.len() >= LAGS_MAX {
                kept.pop_front();
            }
            kept.push_back(*lag);
        }
    }

    /// How far a consumer was behind, from old to new.
    pub(crate) fn lags(&self, name: &str) -> Vec<Option<f64>> {
        self.lags.get(name).into_iter().flatten().map(|lag| Some(*lag as f64)).collect()
    }
}

fn push(points: &mut VecDeque<Point>, totals: Option<RouteTotals>, seconds: f64) {
    if points.len() >= SAMPLES_MAX {
        points.pop_front();
    }
    let totals = totals.unwrap_or_default();
    let ms = |share| totals.durations.quantile(share).map(|seconds| (seconds * 1e3) as f32);
    points.push_back(Point {
        rate: (totals.requests as f64 / seconds) as f32,
        errors: if totals.requests == 0 { 0.0 } else { totals.errors as f32 / totals.requests as f32 },
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    fn counted(id: &str, requests: u64, errors: u64) -> RouteTotals {
        let mut totals = RouteTotals { id: id.to_owned(), requests, errors, ..RouteTotals::default() };
        totals.durations.buckets[2] = requests;
        totals
    }

    fn all(routes: Vec<RouteTotals>) -> Counted<Vec<RouteTotals>> {
        Counted { routes, left_out: 0 }
    }

    fn owner(service: &str, is_entry: bool) -> Owners {
        Owners { services: vec![service.to_owned()], is_entry }
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut history = History::new(at(0));
        let owners = HashMap::from([("a".to_owned(), owner("cart", true))]);
        for second in (5..=300).step_by(5) {
            history.take(at(second), all(vec![counted("a", second * 10, 0)]), &owners);
        }
        let rates = history.rates(at(302), all(vec![counted("a", 3_020, 30)]));
        let of_a = &rates.counted.routes["a"];
        assert!((60.0..=100.0).contains(&rates.seconds), "{}", rates.seconds);
        assert_eq!((of_a.requests as f64 / rates.seconds, of_a.errors), (10.0, 30));
    }

    #[test]
    fn an_hour_of_so_many_services_is_kept_and_no_more() {
        let mut history = History::new(at(0));
        let names: Vec<String> = (0..SERIES_MAX + 5).map(|nth| format!("s{nth:03}")).collect();
        let owners: HashMap<_, _> =
            names.iter().map(|name| (name.clone(), owner(name, name == "s000"))).collect();
        for turn in 1..=SAMPLES_MAX as u64 + 3 {
            let routes = names.iter().map(|name| counted(name, turn * 10, turn)).collect();
            history.take(at(turn * 5), all(routes), &owners);
        }
        let series = history.series();
        assert_eq!((series.len(), series[0].0.as_str()), (SERIES_MAX, GATEWAY));
        assert!(series.iter().all(|(_, points)| points.len() == SAMPLES_MAX));
        let last = series[0].1.last().unwrap();
        assert_eq!((last.rate, last.errors), (2.0, 0.1));
        assert!((10.0..=25.0).contains(&last.p50_ms.unwrap()));
        // A service that comes later finds room once another has been silent for an hour.
        let silent: Vec<_> = names[1..].iter().map(|name| counted(name, 10_000, 0)).collect();
        for turn in 0..=SAMPLES_MAX as u64 {
            history.take(at(10_000 + turn * 5), all(silent.clone()), &owners);
        }
        let mut more = silent;
        more.push(counted("s000", 10, 0));
        history.take(at(90_000), all(more), &owners);
        assert_eq!(history.series()[0].1.len(), 1, "the gateway had gone and is there again");
    }

    #[test]
    fn an_hour_of_lags_is_kept_for_so_many_consumers_while_they_are_there() {
        let mut history = History::new(at(0));
        let many: Vec<_> = (0..CONSUMERS_MAX as u64 + 3).map(|nth| (format!("c{nth:03}"), nth)).collect();
        for _ in 0..LAGS_MAX + 5 {
            history.take_lags(&many);
        }
        assert_eq!((history.lags.len(), history.lags("c007").len()), (CONSUMERS_MAX, LAGS_MAX));
        assert_eq!(history.lags("c007").last(), Some(&Some(7.0)));
        history.take_lags(&many[..1]);
        assert_eq!((history.lags.len(), history.lags("c007").len()), (1, 0));
    }
}
