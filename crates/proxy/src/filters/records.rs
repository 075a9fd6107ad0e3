//! Filters about what is told of a request: its line in the access log, and notes for readers of routes.

use super::answers::nothing;
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{Exchange, LogChoice};
use std::sync::Arc;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "disableAccessLog",
        args: "[status, ...]",
        docs: "Leaves no line in the access log; with statuses, only for answers that have one of them. `4` \
               stands for 400 to 499, `40` for 400 to 409. Of several such filters the last one counts.",
        example: Example { filters: "disableAccessLog(2, 304)", request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| access_log(args, false),
    },
    FilterSpec {
        name: "enableAccessLog",
        args: "[status, ...]",
        docs: "Leaves a line in the access log; with statuses, only for answers that have one of them.",
        example: Example { filters: "enableAccessLog(5)", request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| access_log(args, true),
    },
    FilterSpec {
        name: "comment",
        args: "[text, ...]",
        docs: "Does nothing: a note for readers of the route.",
        example: Example {
            filters: r#"comment("ask team cart")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            args.skip_rest();
            Ok(nothing())
        },
    },
    FilterSpec {
        name: "annotate",
        args: "key, value",
        docs: "A note of a key and a value. Of the filters here `jwtMetrics` goes by its key.",
        example: Example {
            filters: r#"annotate("team", "cart")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let key = args.text("key")?.into();
            args.text("value")?;
            Ok(plain(Annotate(key)))
        },
    },
    FilterSpec {
        name: "originMarker",
        args: "origin, id, created",
        docs: "Does nothing: tells where a route came from, and when that was made (RFC 3339).",
        example: Example {
            filters: r#"originMarker("ingress", "cart", "2026-01-31T12:00:00Z")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            args.text("origin")?;
            args.text("id")?;
            let created = args.text("created")?;
            match created.parse::<jiff::Timestamp>() {
                Ok(_) => Ok(nothing()),
                Err(_) => {
                    Err(args.refuse("created", &format!("`{created}` is no time like 2026-01-31T12:00:00Z")))
                }
            }
        },
    },
];

fn access_log(args: &mut Args<'_>, on: bool) -> Result<Built, String> {
    let mut prefixes = Vec::new();
    while args.left() > 0 {
        let prefix = args.whole("status", 1)?;
        match u16::try_from(prefix).ok().filter(|prefix| *prefix < 1000) {
            Some(prefix) => prefixes.push(prefix),
            None => return Err(args.refuse("status", &format!("{prefix} begins no status"))),
        }
    }
    let choice =
        if prefixes.is_empty() { LogChoice::Set(on) } else { LogChoice::Statuses(on, prefixes.into()) };
    Ok(plain(AccessLog(choice)))
}

struct Annotate(Arc<str>);

impl Filter for Annotate {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.annotations.push(self.0.clone());
        Step::Next
    }
}

struct AccessLog(LogChoice);

impl Filter for AccessLog {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.access_log = self.0.clone();
        Step::Next
    }
}
