//! Filters that make requests and responses wait, to see what depends on them being quick.

use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use base::Chance;
use std::time::Duration;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "latency",
        args: "duration",
        docs: "Holds the response back for so long (a duration, or a number of milliseconds).",
        example: Example { filters: r#"latency("5ms")"#, request: "GET /", saw: "GET /", got: "200\nhello" },
        build: |args, _| fixed(args, On::Response),
    },
    FilterSpec {
        name: "backendLatency",
        args: "duration",
        docs: "Holds the request back for so long before the filters behind it and the backend see it.",
        example: Example { filters: "backendLatency(5)", request: "GET /", saw: "GET /", got: "200\nhello" },
        build: |args, _| fixed(args, On::Request),
    },
    FilterSpec {
        name: "uniformRequestLatency",
        args: "mean, delta",
        docs: "Holds each request back for a time between `mean - delta` and `mean + delta`, all alike probable.",
        example: Example {
            filters: r#"uniformRequestLatency("5ms", "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| jitter(args, On::Request, uniform),
    },
    FilterSpec {
        name: "uniformResponseLatency",
        args: "mean, delta",
        docs: "Like `uniformRequestLatency`, for responses.",
        example: Example {
            filters: r#"uniformResponseLatency("5ms", "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| jitter(args, On::Response, uniform),
    },
    FilterSpec {
        name: "normalRequestLatency",
        args: "mean, deviation",
        docs: "Holds each request back for a normally distributed time; one below 0 is none.",
        example: Example {
            filters: r#"normalRequestLatency("5ms", "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| jitter(args, On::Request, normal),
    },
    FilterSpec {
        name: "normalResponseLatency",
        args: "mean, deviation",
        docs: "Like `normalRequestLatency`, for responses.",
        example: Example {
            filters: r#"normalResponseLatency("5ms", "2ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| jitter(args, On::Response, normal),
    },
    FilterSpec {
        name: "histogramRequestLatency",
        args: "duration, weight, duration[, weight, duration, ...]",
        docs: "Holds each request back for a time drawn from a histogram: durations bound its buckets, and the \
               number between two of them says how often a time falls in between.",
        example: Example {
            filters: r#"histogramRequestLatency("0ms", 90, "5ms", 10, "20ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| histogram(args, On::Request),
    },
    FilterSpec {
        name: "histogramResponseLatency",
        args: "duration, weight, duration[, weight, duration, ...]",
        docs: "Like `histogramRequestLatency`, for responses.",
        example: Example {
            filters: r#"histogramResponseLatency("0ms", 90, "5ms", 10, "20ms")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| histogram(args, On::Response),
    },
];

/// Waits as long as `how` says.
struct Delay {
    on: On,
    how: How,
}

enum How {
    Fixed(Duration),
    /// The mean, and what the drawn number is multiplied with.
    Jitter(Duration, Duration, fn(&Chance) -> f64),
    Histogram(Vec<Bucket>),
}

struct Bucket {
    /// The share of this bucket and of those before it.
    share: f64,
    from: Duration,
    to: Duration,
}

fn fixed(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    Ok(plain(Delay { on, how: How::Fixed(args.duration("latency")?) }))
}

fn jitter(args: &mut Args<'_>, on: On, draw: fn(&Chance) -> f64) -> Result<Built, String> {
    let mean = args.duration("mean")?;
    Ok(plain(Delay { on, how: How::Jitter(mean, args.duration("spread")?, draw) }))
}

fn histogram(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let mut from = args.span("boundary")?;
    let (mut buckets, mut sum) = (Vec::new(), 0.0);
    while args.left() > 0 || buckets.is_empty() {
        let weight = args.number("weight")?;
        if weight < 0.0 {
            return Err(args.refuse("weight", &format!("{weight} is less than 0")));
        }
        sum += weight;
        let to = args.span("boundary")?;
        if to <= from {
            return Err(args.refuse("boundary", "it is not after the one before"));
        }
        buckets.push(Bucket { share: sum, from, to });
        from = to;
    }
    if sum <= 0.0 {
        return Err("at least one weight must be greater than 0".to_owned());
    }
    for bucket in &mut buckets {
        bucket.share /= sum;
    }
    Ok(plain(Delay { on, how: How::Histogram(buckets) }))
}

/// A number in `[-1, 1)`.
fn uniform(chance: &Chance) -> f64 {
    chance.unit() * 2.0 - 1.0
}

/// A normally distributed number (Box and Muller, 1958).
fn normal(chance: &Chance) -> f64 {
    // 1 - unit() is never 0, whose logarithm there is not.
    let radius = (-2.0 * (1.0 - chance.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * chance.unit()).cos()
}

impl How {
    fn pause(&self, chance: &Chance) -> Duration {
        match self {
            How::Fixed(pause) => *pause,
            How::Jitter(mean, spread, draw) => {
                let seconds = mean.as_secs_f64() + draw(chance) * spread.as_secs_f64();
                Duration::try_from_secs_f64(seconds).unwrap_or_default()
            }
            How::Histogram(buckets) => {
                let drawn = chance.unit();
                let bucket = buckets.iter().find(|bucket| drawn < bucket.share).or(buckets.last());
                bucket.map_or(Duration::ZERO, |bucket| {
                    bucket.from + bucket.to.saturating_sub(bucket.from).mul_f64(chance.unit())
                })
            }
        }
    }
}

impl Delay {
    fn step(&self, on: On, exchange: &Exchange) -> Step {
        if self.on != on {
            return Step::Next;
        }
        let pause = self.how.pause(&exchange.chance);
        if pause.is_zero() { Step::Next } else { Step::Pause(pause) }
    }
}

impl Filter for Delay {
    fn request(&self, exchange: &mut Exchange) -> Step {
        self.step(On::Request, exchange)
    }

    fn response(&self, exchange: &mut Exchange, _: &mut Response) -> Step {
        self.step(On::Response, exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_spread_as_the_filter_says() {
        let chance = Chance::seeded(3);
        let (mean, spread) = (Duration::from_millis(100), Duration::from_millis(10));
        let draw = |how: &How| (0..2000).map(|_| how.pause(&chance).as_secs_f64() * 1e3).collect::<Vec<_>>();
        let average = |drawn: &[f64]| drawn.iter().sum::<f64>() / drawn.len() as f64;

        let even = draw(&How::Jitter(mean, spread, uniform));
        assert!(even.iter().all(|ms| (90.0..=110.0).contains(ms)));
        assert!((average(&even) - 100.0).abs() < 1.0);

        let bell = draw(&How::Jitter(mean, spread, normal));
        let within = bell.iter().filter(|ms| (90.0..=110.0).contains(*ms)).count();
        assert!((1250..1500).contains(&within), "about 68 % are within one deviation, got {within}");
        assert!((average(&bell) - 100.0).abs() < 1.0);

        let long = Duration::from_secs(10);
        assert!(draw(&How::Jitter(mean, long, normal)).contains(&0.0), "none waits for less than nothing");
    }
}
