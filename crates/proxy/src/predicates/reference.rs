//! The reference page of all predicates, and the requests in it that run as tests.

use super::{PredicateEnv, TABLE};
use crate::question::Question;
use base::{Chance, UnixTime};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use wire::Headers;

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Predicates\n\n\
         Predicates choose the route of a request. All predicates of a route must hold, and of the routes \
         that hold the most special one serves:\n\n\
         1. Routes with a `Path` or `PathSubtree` come before all others. Segment by segment, a fixed segment \
         comes before `:name`, and that before `*name`. If no route of the most special place holds, the next \
         less special one is tried.\n\
         2. In one place, the heaviest route comes first; see `Weight`.\n\
         3. Routes of one weight come in the order in which they are written.\n\n\
         `tombolo routes explain` shows for a request which route serves and what kept the others from it, and \
         [`tombolo tap`](../guides/tap.md) shows requests for which predicates hold as they pass. \
         Names and meaning are those of Skipper's predicates. Regular expressions are of Go's dialect (RE2), \
         written `/.../` or as strings; they match anywhere unless they are anchored.\n\n\
         Where Skipper leaves something open or does it to nobody's use, Tombolo differs: routes of equal \
         precedence come in source order and not in a random one; a wildcard `:` without a name is no \
         parameter, and of two of one name the first counts; `SourceFromLast` reads the last of several \
         `X-Forwarded-For` lines; an IPv4 address written as IPv6 is the IPv4 address; a `Cron` range that \
         ends before it begins is refused; `OTelBaggage` may ask for a value; `Header` sees `Host`.\n\n\
         This page is made from the table of predicates; its examples run as tests.\n\n\
         | Predicate | Meaning |\n|---|---|\n",
    );
    for spec in TABLE {
        let first = spec.docs.split_inclusive(". ").next().unwrap_or(spec.docs).trim_end();
        let _ = writeln!(page, "| [{0}](#{1}) | {first} |", spec.name, spec.name.to_lowercase());
    }
    for spec in TABLE {
        let _ = write!(page, "\n## {0}\n\n`{0}({1})`\n\n{2}\n", spec.name, spec.args, spec.docs);
        let _ = write!(page, "\n```\n{} -> <shunt>\n```\n", spec.example);
        page.push('\n');
        for (title, requests) in [("matches", spec.matches), ("does not match", spec.refuses)] {
            for request in requests {
                let lines: Vec<String> = request.lines().map(shown).collect();
                let _ = writeln!(page, "- {title}: {}", lines.join(", "));
            }
        }
    }
    page
}

/// A line of a request, as the page shows it.
fn shown(line: &str) -> String {
    match line.strip_prefix('@').map(|fact| fact.split_once(' ').unwrap_or((fact, ""))) {
        Some(("remote", address)) => format!("sent by `{address}`"),
        Some(("random", number)) => format!("with the random number {number}"),
        Some(("time", time)) => format!("at `{time}`"),
        Some((fact, _)) => format!("during {fact}"),
        None => format!("`{line}`"),
    }
}

/// Asks `answer` about a request written as text: a line `METHOD target`, then header lines, and lines of
/// facts: `@remote ADDRESS`, `@time RFC3339`, `@random NUMBER`, `@shutdown` (told through `env`).
///
/// # Errors
/// What in the text is not a request.
pub fn staged<T>(
    request: &str,
    env: &PredicateEnv,
    answer: impl FnOnce(&Question<'_>) -> T,
) -> Result<T, String> {
    let mut lines = request.lines();
    let (method, target) =
        lines.next().and_then(|line| line.split_once(' ')).ok_or("the first line is `METHOD target`")?;
    let wrong = |line: &str| format!("`{line}` can't be in a request");
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong(method))?;
    let uri: Uri = target.parse().map_err(|_| wrong(target))?;
    let mut headers = Headers::new();
    let (mut remote, mut now, mut random, mut shutdown) = (None, UnixTime::default(), None, false);
    for line in lines {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("@remote", address) => {
                remote = Some(crate::net::parse_address(address).ok_or_else(|| wrong(line))?);
            }
            ("@random", number) => random = Some(number.parse().map_err(|_| wrong(line))?),
            ("@time", time) => {
                let time: jiff::Timestamp = time.parse().map_err(|_| wrong(line))?;
                now = UnixTime(time.as_duration().try_into().map_err(|_| wrong(line))?);
            }
            ("@shutdown", _) => shutdown = true,
            _ => {
                let (name, value) = line.split_once(':').ok_or_else(|| wrong(line))?;
                let name: HeaderName = name.parse().map_err(|_| wrong(line))?;
                headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong(line))?);
            }
        }
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let chance = Chance::seeded(0);
    let mut question = Question::new(&method, uri.path(), host, &headers, &chance);
    question.query = uri.query();
    question.remote = remote;
    question.now = now;
    question.content_length = text("content-length").and_then(|length| length.parse().ok());
    if let Some(random) = random {
        question = question.with_random(random);
    }
    env.shutdown.store(shutdown, Ordering::Relaxed);
    Ok(answer(&question))
}
