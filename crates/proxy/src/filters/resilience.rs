//! Filters about a backend that fails or is slow: how long to wait for it, when to leave it alone, whether
//! to try again. They only say so in the notes; the engine acts.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{Exchange, Notes, RetryPolicy, RetryWhen};
use rules::RetryBudget;
use rules::breaker::{Settings, Trip};
use rules::budget::Budget;
use std::sync::Arc;
use std::time::Duration;

/// More tries than this help nobody.
const RETRIES_MAX: u64 = 10;

/// Most bytes of a request's body that are kept for another try.
const BODY_BYTES_KEPT: usize = 64 << 10;

/// What is tried again if the route does not say.
const CONDITIONS: &str = "connect,reset,502-504";

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "backendTimeout",
        args: "duration",
        docs: "Answers 504 if the backend's whole response, tries included, takes longer. A response that has \
               begun by then breaks off.",
        example: Example { filters: r#"backendTimeout("2s")"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| timeout(args, |notes, wait| notes.backend_timeout = Some(wait)),
    },
    FilterSpec {
        name: "readTimeout",
        args: "duration",
        docs: "Gives up a request whose body takes longer to come.",
        example: Example { filters: r#"readTimeout("30s")"#, request: "POST /", saw: "POST /", got: "200" },
        build: |args, _| timeout(args, |notes, wait| notes.read_timeout = Some(wait)),
    },
    FilterSpec {
        name: "writeTimeout",
        args: "duration",
        docs: "Breaks off a response that the client takes longer to receive.",
        example: Example { filters: r#"writeTimeout("1m")"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| timeout(args, |notes, wait| notes.write_timeout = Some(wait)),
    },
    FilterSpec {
        name: "consecutiveBreaker",
        args: "failures[, timeout[, halfOpenRequests[, idleTtl]]]",
        docs: "Leaves a backend alone after so many failures in a row: answers 503 with `X-Circuit-Open: true` \
               for the time of the timeout, then lets a few requests through, and closes again when they succeed. \
               What is left out or 0 is the gateway's own setting. Durations may be numbers of milliseconds.",
        example: Example {
            filters: r#"consecutiveBreaker(15, "30s", 3)"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let failures = count(args, "failures")?;
            breaker(args, Trip::Consecutive { failures })
        },
    },
    FilterSpec {
        name: "rateBreaker",
        args: "failures, window[, timeout[, halfOpenRequests[, idleTtl]]]",
        docs: "Like `consecutiveBreaker`, after so many failures among the last `window` requests.",
        example: Example {
            filters: r#"rateBreaker(30, 300, "30s")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let failures = count(args, "failures")?;
            let window = count(args, "window")?;
            breaker(args, Trip::Rate { failures, window })
        },
    },
    FilterSpec {
        name: "disableBreaker",
        args: "",
        docs: "Takes the breaker from the backend for requests of this route.",
        example: Example { filters: "disableBreaker()", request: "GET /", saw: "GET /", got: "200" },
        build: |_, _| Ok(plain(Breaker(Settings { trip: Some(Trip::Disabled), ..Settings::default() }))),
    },
    FilterSpec {
        name: "retry",
        args: "times[, conditions[, budget]]",
        docs: "Tries up to so many times again (10 at most), elsewhere where there is another instance, when one \
               of the conditions holds: `connect` (no connection), `reset` (it broke before an answer), `timeout`, \
               statuses such as `503`, `502-504` and `5xx`; `connect,reset,502-504` by default. What may have been \
               carried out is repeated for idempotent methods only, or for all with `any-method`. Retries of the \
               route are at most `budget` (0.2 by default) of its requests of the last 10 seconds, and 10 a \
               second. A body of more than 64 KiB is sent once. A gRPC error without messages counts as the HTTP status \
               that says the same. Skipper has no such filter.",
        example: Example {
            filters: r#"retry(2, "connect,reset,5xx", 0.1)"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: retry,
    },
];

struct Timeout {
    wait: Duration,
    note: fn(&mut Notes, Duration),
}

fn timeout(args: &mut Args<'_>, note: fn(&mut Notes, Duration)) -> Result<Built, String> {
    Ok(plain(Timeout { wait: args.span("timeout")?, note }))
}

impl Filter for Timeout {
    fn request(&self, exchange: &mut Exchange) -> Step {
        (self.note)(&mut exchange.notes, self.wait);
        Step::Next
    }
}

struct Breaker(Settings);

fn count(args: &mut Args<'_>, what: &str) -> Result<u32, String> {
    let number = args.whole(what, 1)?;
    u32::try_from(number).map_err(|_| args.refuse(what, &format!("{number} is more than {}", u32::MAX)))
}

fn breaker(args: &mut Args<'_>, trip: Trip) -> Result<Built, String> {
    let some = |wait: &Duration| !wait.is_zero();
    let timeout = args.optional(|args| args.duration("timeout"))?.filter(some);
    let half_open = args.optional(|args| args.whole("half-open requests", 0))?.filter(|number| *number > 0);
    let half_open = half_open.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let idle_ttl = args.optional(|args| args.duration("idle time"))?.filter(some);
    Ok(plain(Breaker(Settings { trip: Some(trip), timeout, half_open, idle_ttl })))
}

impl Filter for Breaker {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.breaker = self.0;
        Step::Next
    }
}

struct Retry(Arc<RetryPolicy>);

impl Filter for Retry {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.retry = Some(self.0.clone());
        Step::Next
    }
}

fn retry(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let times = args.whole("times", 1)?;
    let retries = u32::try_from(times.min(RETRIES_MAX + 1)).unwrap_or_default();
    if times > RETRIES_MAX {
        return Err(args.refuse("times", &format!("{times} is more than {RETRIES_MAX}")));
    }
    let conditions = args.optional(|args| args.text("conditions"))?.unwrap_or(CONDITIONS);
    let when = conditions_of(conditions).map_err(|why| args.refuse("conditions", &why))?;
    let default = Budget::default();
    let ratio = args.optional(|args| args.number("budget"))?.unwrap_or(default.ratio);
    if !(0.0..=1.0).contains(&ratio) {
        return Err(args.refuse("budget", &format!("{ratio} is no share of the requests, use 0 to 1")));
    }
    let state = format!("retry {} {} {ratio}", env.route, env.place);
    let budget = env.lasting.get(&state, || RetryBudget::new(Budget { ratio, ..default }));
    Ok(plain(Retry(Arc::new(RetryPolicy { retries, when, body_bytes: BODY_BYTES_KEPT, budget }))))
}

fn conditions_of(text: &str) -> Result<RetryWhen, String> {
    let mut when =
        RetryWhen { connect: false, reset: false, timeout: false, statuses: Vec::new(), any_method: false };
    for word in text.split(',').map(str::trim) {
        match word {
            "connect" => when.connect = true,
            "reset" => when.reset = true,
            "timeout" => when.timeout = true,
            "any-method" => when.any_method = true,
            other => when.statuses.push(statuses(other).ok_or_else(|| unknown(other))?),
        }
    }
    if !(when.connect || when.reset || when.timeout) && when.statuses.is_empty() {
        return Err(format!("`{text}` names nothing to try again for"));
    }
    Ok(when)
}

/// `503`, `502-504` or `5xx`.
fn statuses(text: &str) -> Option<(u16, u16)> {
    let code =
        |text: &str| text.parse::<u16>().ok().filter(|code| (100..600).contains(code) && text.len() == 3);
    if let Some(hundred) = text.strip_suffix("xx") {
        let hundred = hundred.parse::<u16>().ok().filter(|digit| (1..=5).contains(digit))?;
        return Some((hundred * 100, hundred * 100 + 99));
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (code(low)?, code(high)?);
    (low <= high).then_some((low, high))
}

fn unknown(word: &str) -> String {
    let known = ["connect", "reset", "timeout", "any-method"];
    let meant = base::did_you_mean(word, known)
        .map(|known| format!(" (did you mean `{known}`?)"))
        .unwrap_or_default();
    format!(
        "`{word}` is no condition{meant}; use connect, reset, timeout, any-method, or statuses like 502-504 or 5xx"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_words_and_statuses() {
        let when = conditions_of("connect, timeout,429,5xx,502-504").unwrap();
        assert!(when.connect && when.timeout && !when.reset && !when.any_method);
        assert_eq!(when.statuses, [(429, 429), (500, 599), (502, 504)]);
        assert!(conditions_of(CONDITIONS).unwrap().reset);
        assert!(
            conditions_of("conect")
                .unwrap_err()
                .starts_with("`conect` is no condition (did you mean `connect`?)")
        );
        for bad in ["", "any-method", "6xx", "504-502", "99", "0503", "+503"] {
            assert!(conditions_of(bad).is_err(), "{bad}");
        }
    }
}
