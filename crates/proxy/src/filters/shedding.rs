//! The filter that refuses part of a route's requests while too many of them fail. How many is decided in
//! `rules::admission`; this file rolls the dice and tells.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::exchange::Exchange;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use rules::Admission;
use rules::admission::{SLOTS_MAX, Settings};
use std::sync::Arc;
use telemetry::metrics::{CUSTOM_TOTAL, Counter};
use wire::Response;

/// Marks an answer that was no failure of whoever is behind.
const SIGNAL: HeaderName = HeaderName::from_static("admission-control");

/// From this status on an answer is a failure (Skipper's: a client that left counts as one).
const FAILED: u16 = 499;

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "admissionControl",
    args: "suffix, \"active\" | \"inactive\" | \"logInactive\", slot, slots, minRps, successThreshold, maxReject, exponent",
    docs: "Refuses part of the requests with 503 and `Admission-Control: true` while too many fail: \
           `((total - succeeded / successThreshold) / (total + 1)) ^ exponent` of them, at most `maxReject`, as \
           counted over so many slots (1 to 100) of this length. With fewer than `minRps` requests a second none is \
           refused. A status of 499 and above is a failure; an answer that bears the header is none, so gateways \
           behind one another do not count each other's refusals. `inactive` refuses nothing and counts what it \
           would refuse; `logInactive` also tags the span with the probability, where Skipper writes a line for \
           each request. The counts are `shedder.admission_control.total.SUFFIX` and `….reject.SUFFIX` in \
           `skipper_custom_total`. Of several in one route the last counts.",
    example: Example {
        filters: r#"admissionControl("cart", "active", "1s", 5, 10, 0.95, 0.9, 0.5)"#,
        request: "GET /",
        saw: "GET /",
        got: "200",
    },
    build: admission_control,
}];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Active,
    Inactive,
    LogInactive,
}

struct AdmissionControl {
    mode: Mode,
    admission: Arc<Admission>,
    total: Counter,
    rejected: Counter,
}

fn admission_control(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let suffix = args.text("metric suffix")?;
    let mode = match args.text("mode")? {
        "active" => Mode::Active,
        "inactive" => Mode::Inactive,
        "logInactive" => Mode::LogInactive,
        other => {
            let why = format!("`{other}` is no mode, use active, inactive or logInactive");
            return Err(args.refuse("mode", &why));
        }
    };
    let slot = args.span("slot")?;
    if slot.is_zero() {
        return Err(args.refuse("slot", "it must be longer than nothing"));
    }
    let slots = args.whole("slots", 1)?;
    let slots = usize::try_from(slots)
        .ok()
        .filter(|slots| *slots <= SLOTS_MAX)
        .ok_or_else(|| args.refuse("slots", &format!("{slots} is more than {SLOTS_MAX}")))?;
    let rps_min = args.number("least requests per second")?;
    let success_min = share(args, "success threshold")?;
    let reject_max = share(args, "greatest share of refusals")?;
    let exponent = args.number("exponent")?;
    if exponent <= 0.0 {
        return Err(args.refuse("exponent", &format!("{exponent} is not above 0")));
    }
    let settings = Settings { slot, slots, rps_min, success_min, reject_max, exponent };
    let state = format!("admission {} {settings:?}", env.route);
    let count = |what| {
        let key = format!("shedder.admission_control.{what}.{suffix}");
        env.metrics.counter(CUSTOM_TOTAL, &[&key])
    };
    Ok(plain(AdmissionControl {
        mode,
        admission: env.lasting.get(&state, || Admission::new(settings)),
        total: count("total"),
        rejected: count("reject"),
    }))
}

/// Above 0, at most 1.
fn share(args: &mut Args<'_>, what: &str) -> Result<f64, String> {
    let share = args.number(what)?;
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    Err(args.refuse(what, &format!("{share} is no share above 0 and up to 1")))
}

impl Filter for AdmissionControl {
    fn request(&self, exchange: &mut Exchange) -> Step {
        self.total.increment();
        let probability = self.admission.reject_probability(exchange.clock.now());
        if self.mode == Mode::LogInactive {
            exchange.notes.tags.set("admissionControl.probability", &format!("{probability:.3}"));
        }
        if exchange.chance.unit() >= probability {
            return Step::Next;
        }
        self.rejected.increment();
        exchange.notes.shed = true;
        if self.mode != Mode::Active {
            return Step::Next;
        }
        exchange.notes.reason = Some(Reason::of(Cause::SHED).by("admissionControl"));
        let mut response = answer(StatusCode::SERVICE_UNAVAILABLE);
        response.headers_mut().insert(SIGNAL, HeaderValue::from_static("true"));
        Step::Reply(response)
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        // What it would have refused is not counted either: an inactive one then acts as the active would.
        let refusal = response.headers().get(SIGNAL).is_some_and(|signal| signal == "true");
        if !exchange.notes.shed && !refusal {
            let succeeded = response.status().as_u16() < FAILED;
            self.admission.record(succeeded, exchange.clock.now());
        }
        Step::Next
    }
}
