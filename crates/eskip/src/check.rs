//! What the language itself checks of a route once it is read: the six predicates whose shape it knows, and
//! the addresses of balanced backends. All else is for the builder of the route table.

use crate::endpoint;
use crate::errors::{Error, Stage};
use crate::{Algorithm, Arg, Backend, Call, ERRORS_MAX, Endpoint, Route};
use base::{Diagnostic, Source, Span};
use std::borrow::Cow;
use std::collections::HashMap;

/// The algorithms of balanced backends.
pub const ALGORITHMS: [&str; 7] = [
    "roundRobin",
    "random",
    "consistentHash",
    "powerOfRandomNChoices",
    "weightedRoundRobin",
    "leastRequests",
    "peakEwma",
];

/// What is wrong with the ids of a document's routes: an id that stands twice, told with the line of the
/// first. Whether that is an error is for the caller: the original lets the last route win.
pub fn check_ids(source: &Source, routes: &[Route]) -> Vec<Diagnostic> {
    let mut first: HashMap<&str, &Span> = HashMap::with_capacity(routes.len());
    let mut told = Vec::new();
    for route in routes.iter().filter(|route| !route.id.is_empty()) {
        let Some(before) = first.get(route.id.as_str()) else {
            first.insert(&route.id, &route.span);
            continue;
        };
        if told.len() == ERRORS_MAX {
            break;
        }
        let (line, _) = source.position(before.start);
        let message = format!("the id `{}` is taken by the route on line {line}", route.id);
        let diagnostic = Diagnostic::error("duplicate_route_id", message).at(source, route.span.clone());
        told.push(diagnostic.hint("give each route an id of its own"));
    }
    told
}

/// What is wrong with the algorithm of a balanced backend: none of [`ALGORITHMS`]. The text may name any;
/// the builder of the route table refuses it.
pub fn check_algorithm(source: &Source, route: &Route) -> Option<Diagnostic> {
    let Backend::Balanced { algorithm: Algorithm::Named(name), .. } = &route.backend else { return None };
    if ALGORITHMS.contains(&name.as_str()) {
        return None;
    }
    let written = source.text.get(route.backend_span.clone()).and_then(|backend| backend.find(name.as_str()));
    let span = written.map_or(route.backend_span.clone(), |at| {
        let start = route.backend_span.start + at;
        start..start + name.len()
    });
    let diagnostic =
        Diagnostic::error("unknown_algorithm", format!("there is no algorithm `{name}`")).at(source, span);
    Some(match base::did_you_mean(name, ALGORITHMS) {
        Some(known) => diagnostic.hint(format!("did you mean `{known}`?")),
        None => diagnostic.hint(format!("there are `{}`", ALGORITHMS.join("`, `"))),
    })
}

/// The regular expression of a `Host` predicate: `*.example.org` is a shorthand for any one subdomain.
pub fn host_pattern(written: &str) -> Cow<'_, str> {
    match written.strip_prefix("*.") {
        Some(domain) => Cow::Owned(format!("[a-z0-9]+((-[a-z0-9]+)?)*.{domain}")),
        None => Cow::Borrowed(written),
    }
}

/// Checks a route and notes what is wrong, as the original would find it: first the backend, then the
/// predicates. `Host` shorthands are written out.
pub(crate) fn route(source: &Source, route: &mut Route, errors: &mut Vec<Error>) {
    let backend_span = route.backend_span.clone();
    if let Backend::Balanced { endpoints, .. } = &route.backend {
        check_endpoints(source, &backend_span, endpoints, errors);
    }
    let Route { id, predicates, .. } = route;
    let (mut path, mut method) = (None, None);
    let mut headers: Vec<(&str, Span)> = Vec::new();
    for call in predicates.iter_mut() {
        if errors.len() >= ERRORS_MAX {
            return;
        }
        let count = match call.name.as_str() {
            "Path" | "Host" | "PathRegexp" | "Method" => 1,
            "Header" | "HeaderRegexp" => 2,
            _ => continue,
        };
        // The original finds a second path or method before it looks at its arguments.
        let twice = match call.name.as_str() {
            "Path" => path.replace(call.span.clone()),
            "Method" => method.replace(call.span.clone()),
            _ => None,
        };
        if let Some(first) = twice {
            errors.push(duplicate(source, call, &first));
            continue;
        }
        let texts = call.args.iter().filter(|arg| arg.text().is_some()).count();
        if call.args.len() != count || texts != count {
            errors.push(wrong_args(source, id, call, count));
            continue;
        }
        if let ("Host", [Arg::Text(host)]) = (call.name.as_str(), &mut call.args[..])
            && let Cow::Owned(pattern) = host_pattern(host)
        {
            *host = pattern;
        }
    }
    for call in predicates.iter().filter(|call| call.name == "Header" && call.args.len() == 2) {
        let Some(name) = call.args[0].text() else { continue };
        match headers.iter().find(|(known, _)| *known == name) {
            Some(_) if errors.len() >= ERRORS_MAX => return,
            Some((_, first)) => errors.push(duplicate(source, call, first)),
            None if headers.len() < HEADERS_MAX => headers.push((name, call.span.clone())),
            None => {}
        }
    }
}

/// How many `Header` predicates of one route are compared with each other.
const HEADERS_MAX: usize = 256;

fn duplicate(source: &Source, call: &Call, first: &Span) -> Error {
    let line = source.position(first.start).0;
    let (code, message, compat, hint) = match call.name.as_str() {
        "Path" => (
            "duplicate_path",
            format!("the route has a second `Path`; the first is on line {line}"),
            "duplicate path tree predicate".to_owned(),
            "write one route for each path, or one `PathRegexp`",
        ),
        "Method" => (
            "duplicate_method",
            format!("the route has a second `Method`; the first is on line {line}"),
            "duplicate method predicate".to_owned(),
            "a request has one method: `Methods(\"GET\", \"HEAD\")` matches either",
        ),
        _ => {
            let name = call.args.first().and_then(Arg::text).unwrap_or_default();
            (
                "duplicate_header",
                format!("the route has a second `Header` for `{name}`; the first is on line {line}"),
                format!("duplicate header predicate: {name}"),
                "use `HeaderRegexp` to match one of several values",
            )
        }
    };
    let diagnostic = Diagnostic::error(code, message).at(source, call.span.clone()).hint(hint);
    Error::new(Stage::Meaning, diagnostic, compat)
}

fn wrong_args(source: &Source, id: &str, call: &Call, count: usize) -> Error {
    let name = &call.name;
    let expects = format!("expects {count} string argument{}", if count == 1 { "" } else { "s" });
    let number = call.args.iter().position(|arg| arg.number().is_some());
    let (found, span) = match number {
        Some(index) => ("a number".to_owned(), call.arg_span(index)),
        None => (call.args.len().to_string(), call.span.clone()),
    };
    let hint = match name.as_str() {
        "Method" => "write `Methods(\"GET\", \"HEAD\")` for several methods".to_owned(),
        "Header" => "write `Header(\"X-Name\", \"value\")`".to_owned(),
        "HeaderRegexp" => "write `HeaderRegexp(\"X-Name\", /value/)`".to_owned(),
        "PathRegexp" => "write `PathRegexp(/^[/]api/)`".to_owned(),
        "Host" => "write `Host(/^www[.]example[.]org$/)`".to_owned(),
        _ => "write `Path(\"/cart\")`".to_owned(),
    };
    let diagnostic = Diagnostic::error("predicate_arguments", format!("`{name}` {expects}, found {found}"))
        .at(source, span)
        .hint(hint);
    // Ids are plain names, so that Go's way of quoting them adds nothing but the quotes.
    Error::new(Stage::Meaning, diagnostic, format!("invalid route \"{id}\": {name} predicate {expects}"))
}

fn check_endpoints(source: &Source, backend: &Span, endpoints: &[Endpoint], errors: &mut Vec<Error>) {
    let mut common: Option<Cow<'_, str>> = None;
    for endpoint in endpoints {
        let address = endpoint.address.as_str();
        let span = || {
            let at = source.text.get(backend.clone()).and_then(|text| text.find(address));
            at.map_or(backend.clone(), |at| backend.start + at..backend.start + at + address.len())
        };
        match (endpoint::scheme(address), &common) {
            (Err(reason), _) => {
                let message = format!("`{address}` is no address: {reason}");
                let diagnostic = Diagnostic::error("invalid_endpoint", message)
                    .at(source, span())
                    .hint("an address has a scheme and a host: `http://10.0.0.1:8080`");
                errors.push(Error::new(
                    Stage::Meaning,
                    diagnostic,
                    format!("parse {:?}: {reason}", endpoint.to_string()),
                ));
                return;
            }
            (Ok(scheme), Some(first)) if !first.is_empty() && *first != scheme => {
                let message = format!("the addresses mix the schemes `{first}` and `{scheme}`");
                let diagnostic = Diagnostic::error("mixed_protocols", message)
                    .at(source, span())
                    .hint("all addresses of a balanced backend have one scheme");
                let compat = "loadbalancer endpoints cannot have mixed protocols";
                errors.push(Error::new(Stage::Meaning, diagnostic, compat));
                return;
            }
            (Ok(scheme), _) => common = Some(scheme),
        }
    }
}
