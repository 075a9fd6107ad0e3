//! Counters and gauges that other crates keep: a handle for each set of labels, or a function that is
//! asked when somebody looks.

use super::histogram::{Counts, Histogram};
use super::owner::Writer;
use super::route::OTHER;
use super::table::{Kind, Metric};
use super::text::Page;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Sets of labels of one metric; what comes later shares one set of `_other`.
pub const LABEL_SETS_MAX: usize = 10_000;

/// Likewise, of a histogram: each set is a row for each of its bounds.
pub const TIMERS_MAX: usize = 2000;

/// A number that only grows. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sum that only grows, by fractions too. Clones are the same sum.
#[derive(Clone, Debug, Default)]
pub struct Sum(Gauge);

impl Sum {
    /// So much more.
    pub fn add(&self, more: f64) {
        self.0.add(more);
    }
}

/// A number that goes up and down. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// It is so much more now, or less.
    pub fn add(&self, more: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + more).to_bits());
        // The closure always gives a value, so the update can't fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The number now.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Durations, counted by how long they were. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Timer(Arc<Histogram>);

impl Timer {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took, Writer::OneOfMany);
    }
}

/// Takes the numbers of a metric that is asked for when somebody looks.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<Vec<String>, f64>);

impl Samples {
    /// The number for these values of the labels, in the order of the table. What comes after the first
    /// [`LABEL_SETS_MAX`] is left out.
    pub fn add(&mut self, labels: &[&str], value: f64) {
        if self.0.len() < LABEL_SETS_MAX {
            self.0.insert(labels.iter().map(|&label| label.to_owned()).collect(), value);
        }
    }
}

type Ask = Box<dyn Fn(&mut Samples) + Send + Sync>;

#[derive(Default)]
pub(super) struct Families(Mutex<BTreeMap<&'static str, Family>>);

struct Family {
    metric: Metric,
    numbers: BTreeMap<Vec<String>, Number>,
    asks: Vec<Ask>,
}

enum Number {
    Counter(Counter),
    Sum(Sum),
    Gauge(Gauge),
    Timer(Timer),
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

impl Families {
    pub(super) fn counter(&self, metric: Metric, labels: &[&str]) -> Counter {
        let mut families = self.lock();
        match number(&mut families, metric, labels, || Number::Counter(Counter::default())) {
            Number::Counter(counter) => counter.clone(),
            // Told apart by the table: a name has one kind.
            _ => Counter::default(),
        }
    }

    pub(super) fn sum(&self, metric: Metric, labels: &[&str]) -> Sum {
        let mut families = self.lock();
        // Sums and counts can't be added up: one that is too many is shown nowhere.
        if place(family(&mut families, metric), labels).is_none() {
            return Sum::default();
        }
        match number(&mut families, metric, labels, || Number::Sum(Sum::default())) {
            Number::Sum(sum) => sum.clone(),
            _ => Sum::default(),
        }
    }

    pub(super) fn gauge(&self, metric: Metric, labels: &[&str]) -> Gauge {
        let mut families = self.lock();
        match number(&mut families, metric, labels, || Number::Gauge(Gauge::default())) {
            Number::Gauge(gauge) => gauge.clone(),
            _ => Gauge::default(),
        }
    }

    pub(super) fn timer(&self, metric: Metric, labels: &[&str]) -> Timer {
        let mut families = self.lock();
        match number(&mut families, metric, labels, || Number::Timer(Timer::default())) {
            Number::Timer(timer) => timer.clone(),
            _ => Timer::default(),
        }
    }

    /// Gives a gauge these numbers and no others, in one step.
    pub(super) fn replace(&self, metric: Metric, samples: Samples) {
        let gauge = |value: f64| {
            let gauge = Gauge::default();
            gauge.set(value);
            Number::Gauge(gauge)
        };
        let numbers = samples.0.into_iter().map(|(labels, value)| (labels, gauge(value))).collect();
        family(&mut self.lock(), metric).numbers = numbers;
    }

    pub(super) fn ask(&self, metric: Metric, ask: Ask) {
        family(&mut self.lock(), metric).asks.push(ask);
    }

    pub(super) fn write(&self, page: &mut Page) {
        for family in self.lock().values() {
            page.head(family.metric);
            for (labels, number) in &family.numbers {
                match number {
                    Number::Counter(counter) => page.count(family.metric, labels, counter.value()),
                    Number::Sum(sum) => page.sample(family.metric, labels, sum.0.value()),
                    Number::Gauge(gauge) => page.sample(family.metric, labels, gauge.value()),
                    Number::Timer(timer) => {
                        let mut counts = Counts::default();
                        counts.add(&timer.0);
                        page.histogram(family.metric, labels, &counts);
                    }
                }
            }
            let mut samples = Samples::default();
            family.asks.iter().for_each(|ask| ask(&mut samples));
            for (labels, value) in &samples.0 {
                page.sample(family.metric, labels, *value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn family<'a>(families: &'a mut BTreeMap<&'static str, Family>, metric: Metric) -> &'a mut Family {
    let new = || Family { metric, numbers: BTreeMap::new(), asks: Vec::new() };
    families.entry(metric.name).or_insert_with(new)
}

fn number<'a>(
    families: &'a mut BTreeMap<&'static str, Family>,
    metric: Metric,
    labels: &[&str],
    new: impl FnOnce() -> Number,
) -> &'a mut Number {
    assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
    let family = family(families, metric);
    let key = place(family, labels).unwrap_or_else(|| vec![OTHER.to_owned(); labels.len()]);
    family.numbers.entry(key).or_insert_with(new)
}

/// Where the number with these values of its labels stands; `None` if there is no room for one more.
fn place(family: &Family, labels: &[&str]) -> Option<Vec<String>> {
    let key: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
    let most = if family.metric.kind == Kind::Histogram { TIMERS_MAX } else { LABEL_SETS_MAX };
    (family.numbers.len() < most || family.numbers.contains_key(&key)).then_some(key)
}
