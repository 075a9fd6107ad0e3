//! Filters about the endpoints of a balanced backend: how newcomers get their share, how much each can take,
//! how they are probed. They say it once, when their route is built; requests pass them by.

use super::{Built, Example, Filter, FilterSpec, Wishes, plain};
use crate::args::Args;
use crate::backend::HealthCheck;
use base::{UnixTime, format_duration};
use eskip::Arg;
use http::uri::PathAndQuery;
use rules::fade::FadeIn;
use rules::health::Thresholds;
use std::time::Duration;
use wire::Origin;

/// The shortest and the longest time between two probes.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));

/// More probes in a row than this say nothing more.
const THRESHOLD_MAX: u64 = 100;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "fadeIn",
        args: "duration[, exponent]",
        docs: "Gives an endpoint that has just appeared its share of the requests little by little: the part \
               `min(age / duration, 1) ^ exponent` of it (exponent 1 by default; more begins more slowly). A \
               duration may be a number of milliseconds. How old an endpoint is is remembered over reloads, and \
               forgotten a minute after the last route that names it. When all are new, all are alike.",
        example: Example { filters: r#"fadeIn("3m", 1.5)"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| {
            let duration = args.duration("duration")?;
            let exponent = args.optional(|args| args.number("exponent"))?.unwrap_or(1.0);
            Ok(plain(Wish::FadeIn(FadeIn { duration, exponent })))
        },
    },
    FilterSpec {
        name: "endpointCreated",
        args: "address, time",
        docs: "Tells `fadeIn` when an endpoint was made (RFC 3339, or seconds since 1970): one that was made after \
               this gateway first saw its address is new again. A time that is still to come is ignored.",
        example: Example {
            filters: r#"fadeIn("3m") -> endpointCreated("http://10.0.0.1:8080", "2026-01-31T12:00:00Z")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let origin = origin(args)?;
            Ok(plain(Wish::Made(origin, time(args)?)))
        },
    },
    FilterSpec {
        name: "endpointWeight",
        args: "address, weight",
        docs: "Says how much an endpoint can take, relative to the others, which weigh 1: for the algorithms \
               `weightedRoundRobin` and `leastRequests`. While it fails much of what it is asked \
               (`-passive-health-check`), its weight shrinks. Skipper has no such filter.",
        example: Example {
            filters: r#"endpointWeight("http://10.0.0.1:8080", 3)"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let origin = origin(args)?;
            let weight = args.number("weight")?;
            if !(0.001..=1000.0).contains(&weight) {
                return Err(args.refuse("weight", &format!("{weight} is not from 0.001 to 1000")));
            }
            Ok(plain(Wish::Weight(origin, weight)))
        },
    },
    FilterSpec {
        name: "healthCheck",
        args: "path[, interval[, timeout[, unhealthyAfter[, healthyAfter]]]]",
        docs: "Asks each endpoint of the backend for this path with GET, again after the interval (`\"10s\"` by \
               default), and passes over one that has failed so many times in a row (3) until it has answered so \
               many times (2). A status from 200 to 399 within the timeout (`\"2s\"`) is an answer. Each endpoint is \
               asked once for all cores and all routes that want the same. When none is healthy, all are asked as \
               if all were. Durations may be numbers of milliseconds. Skipper has no such filter.",
        example: Example {
            filters: r#"healthCheck("/healthz", "5s", "500ms", 2, 1)"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: health_check,
    },
];

/// What a filter says of the endpoints.
enum Wish {
    FadeIn(FadeIn),
    Made(Origin, UnixTime),
    Weight(Origin, f64),
    Check(HealthCheck),
}

impl Filter for Wish {
    fn wish(&self, wishes: &mut Wishes) {
        let wishes = &mut wishes.endpoints;
        match self {
            Wish::FadeIn(fade_in) => wishes.fade_in = Some(*fade_in),
            Wish::Made(origin, time) => wishes.made.push((origin.clone(), *time)),
            Wish::Weight(origin, weight) => wishes.weights.push((origin.clone(), *weight)),
            Wish::Check(check) => wishes.check = Some(check.clone()),
        }
    }
}

fn origin(args: &mut Args<'_>) -> Result<Origin, String> {
    let address = args.text("address")?;
    Origin::parse(address).map_err(|fault| args.refuse("address", &fault.to_string()))
}

/// RFC 3339 or seconds since 1970.
fn time(args: &mut Args<'_>) -> Result<UnixTime, String> {
    let seconds = match args.peek() {
        Some(Arg::Number(seconds)) => {
            let seconds = *seconds;
            args.number("time")?;
            seconds
        }
        _ => {
            let text = args.text("time")?;
            let time = text.parse::<jiff::Timestamp>().map_err(|_| {
                args.refuse("time", &format!("`{text}` is no time like 2026-01-31T12:00:00Z, nor a number"))
            })?;
            time.as_duration().as_secs_f64()
        }
    };
    let since = Duration::try_from_secs_f64(seconds);
    since.map(UnixTime).map_err(|_| args.refuse("time", &format!("{seconds} seconds is no time since 1970")))
}

fn health_check(args: &mut Args<'_>, _: &super::FilterEnv) -> Result<Built, String> {
    let text = args.text("path")?;
    let path = text.parse::<PathAndQuery>().ok().filter(|_| text.starts_with('/'));
    let path =
        path.ok_or_else(|| args.refuse("path", &format!("`{text}` is no path, write it like /healthz")))?;
    let interval = args.optional(|args| args.duration("interval"))?.unwrap_or(Duration::from_secs(10));
    if interval < INTERVALS.0 || interval > INTERVALS.1 {
        let [least, most] = [INTERVALS.0, INTERVALS.1].map(format_duration);
        return Err(args.refuse("interval", &format!("it is not from {least} to {most}")));
    }
    let timeout = args.optional(|args| args.duration("timeout"))?;
    let timeout = timeout.unwrap_or(Duration::from_secs(2).min(interval));
    if timeout < Duration::from_millis(1) || timeout > interval {
        let most = format_duration(interval);
        return Err(args.refuse("timeout", &format!("it is not from 1ms to the interval of {most}")));
    }
    let unhealthy_after = args.optional(|args| threshold(args, "unhealthy after"))?.unwrap_or(3);
    let healthy_after = args.optional(|args| threshold(args, "healthy after"))?.unwrap_or(2);
    let thresholds = Thresholds { unhealthy_after, healthy_after };
    Ok(plain(Wish::Check(HealthCheck { path, interval, timeout, thresholds })))
}

fn threshold(args: &mut Args<'_>, what: &str) -> Result<u32, String> {
    let number = args.whole(what, 1)?;
    if number > THRESHOLD_MAX {
        return Err(args.refuse(what, &format!("{number} is more than {THRESHOLD_MAX}")));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
