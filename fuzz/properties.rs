//! What holds for every text, whoever wrote it. The fuzz targets and the ordinary tests of the route language
//! share these.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use base::Source;
use eskip::{Arg, Call, Errors, Printer, Route, Template, equal};

/// A text is read or refused, never a reason to panic; what is read can be printed, formatted and sent as
/// JSON, and is the same when read again.
pub(crate) fn any_text(text: &str) {
    let source = Source::new("fuzz", text);
    let parsed = eskip::parse(&source);
    for error in &parsed.errors {
        let place = error.diagnostic.place.as_ref().expect("each error has a place");
        assert!(place.span.start <= place.span.end && place.span.end <= text.len(), "{place:?}");
        assert!(!error.to_string().is_empty() && !error.compat().is_empty());
    }
    assert!(parsed.errors.len() <= 2 * eskip::ERRORS_MAX);
    match parsed.into_result() {
        Ok(routes) => any_routes(&routes),
        Err(errors) => assert!(!errors.compat().is_empty()),
    }
    if let Ok(formatted) = eskip::format(&source) {
        let again = eskip::format(&Source::new("formatted", formatted.as_str()));
        assert_eq!(again.as_deref(), Ok(&*formatted), "formatting twice changes nothing more");
        assert!(same(&read(text), &read(&formatted)), "formatting keeps what the text says");
    }
    calls(text, eskip::parse_predicates, " && ");
    calls(text, eskip::parse_filters, " -> ");
    let template = Template::parse(text);
    assert_eq!(template.expand_with(|_| None).complete, template.is_plain());
}

/// Routes come back the same from text, pretty or not, and from JSON.
pub(crate) fn any_routes(routes: &[Route]) {
    for printer in [Printer::default(), Printer::pretty()] {
        let printed = printer.print(routes);
        assert!(same(&read(&printed), &as_printed(routes)), "{printed}");
    }
    let json = eskip::to_json(routes);
    let again =
        eskip::from_json(&Source::new("json", json.as_str())).unwrap_or_else(|e| panic!("{e}\n{json}"));
    assert!(same(&again, routes), "{json}");
}

/// JSON is read or refused; what is read is the same when written and read again.
pub(crate) fn any_json(text: &str) {
    if let Ok(routes) = eskip::from_json(&Source::new("fuzz", text)) {
        let json = eskip::to_json(&routes);
        let again =
            eskip::from_json(&Source::new("json", json.as_str())).unwrap_or_else(|e| panic!("{e}\n{json}"));
        assert!(same(&again, &routes), "{json}");
    }
}

fn calls(text: &str, parse: fn(&Source) -> Result<Vec<Call>, Errors>, separator: &str) {
    let Ok(calls) = parse(&Source::new("fuzz", text)) else { return };
    let printed: Vec<String> = calls.iter().map(Call::to_string).collect();
    assert_eq!(parse(&Source::new("printed", printed.join(separator))), Ok(calls));
}

fn read(text: &str) -> Vec<Route> {
    eskip::parse_text(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn same(left: &[Route], right: &[Route]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
}

/// What a text can't hold: between slashes, control characters are printed as the escapes that mean the same
/// in a pattern.
fn as_printed(routes: &[Route]) -> Vec<Route> {
    let mut routes = routes.to_vec();
    for call in routes.iter_mut().flat_map(|route| &mut route.predicates) {
        let regexp =
            matches!((call.name.as_str(), call.args.len()), ("Host" | "PathRegexp", 1) | ("HeaderRegexp", 2));
        if let Some(Arg::Text(pattern)) = call.args.last_mut().filter(|_| regexp)
            && Call::new("PathRegexp", [Arg::Text(pattern.clone())]).printed_between_slashes()
        {
            for (character, escape) in [
                ('\x07', "\\a"),
                ('\x0c', "\\f"),
                ('\n', "\\n"),
                ('\r', "\\r"),
                ('\t', "\\t"),
                ('\x0b', "\\v"),
            ] {
                *pattern = pattern.replace(character, escape);
            }
        }
    }
    routes
}

trait PrintedBetweenSlashes {
    fn printed_between_slashes(self) -> bool;
}

impl PrintedBetweenSlashes for Call {
    fn printed_between_slashes(self) -> bool {
        let route = Route { predicates: vec![self], ..Route::default() };
        route.to_string().starts_with("PathRegexp(/")
    }
}
