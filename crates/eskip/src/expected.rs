//! What was expected and what was found, for syntax errors that are none of the usual slips.

use crate::check::ALGORITHMS;
use crate::explain::{Expected, Problem, Told};
use crate::lexer::{Kind, Token};
use base::{Span, did_you_mean};

/// The answer to what the parser expected.
pub(crate) fn told(problem: &Problem<'_>) -> Told {
    let view = View::new(problem);
    match problem.expected {
        Expected::Definition => definition(&view),
        Expected::Predicate => predicate(&view),
        Expected::AfterPredicateName | Expected::AfterFilterName => after_name(&view),
        Expected::AfterPredicate | Expected::AfterFilter | Expected::PredicatesEnd | Expected::FiltersEnd => {
            after_call(&view)
        }
        Expected::FilterOrBackend | Expected::Filter => filter_or_backend(&view),
        Expected::Args | Expected::Arg | Expected::AfterArg | Expected::SmallerNumber => argument(&view),
        Expected::AfterAlgorithm | Expected::Endpoint | Expected::AfterEndpoint => balanced(&view),
        Expected::Semicolon | Expected::LoneEnd | Expected::Id => route_end(&view),
    }
}

const BACKENDS: [&str; 4] = ["shunt", "loopback", "dynamic", "forward"];
const BACKEND_HINT: &str = "end the route with a backend: `-> \"https://example.org\"` or `-> <shunt>`";
const ROUTE_HINT: &str = "a route has an id, predicates and a backend: `cart: Path(\"/cart\") -> <shunt>;`";
const ID_HINT: &str = "where there are several routes, each has an id: `cart: Path(\"/cart\") -> <shunt>;`";
const COLON_HINT: &str = "a route begins with its id: `cart: Path(\"/cart\") -> <shunt>;`";
const AND_HINT: &str = "predicates are joined by `&&`";
const BALANCED_HINT: &str = "a balanced backend is written `<roundRobin, \"http://a\", \"http://b\">`";

/// A problem with what several answers look at.
struct View<'a> {
    expected: Expected,
    current: Token,
    previous: Token,
    /// The texts of both.
    raw: &'a str,
    raw_before: &'a str,
    /// The current token, as a sentence names it.
    found: String,
    /// The route, as a sentence names it.
    route: String,
    in_named_route: bool,
    here: Span,
    /// The last character of the token before: what is missing is missing behind it, which may be some lines
    /// further up than the current token.
    behind: Span,
    /// Where the route begins.
    begin: Span,
    /// The current token is the id of the next route.
    begins_route: bool,
    /// The route ends here.
    ends: bool,
}

impl<'a> View<'a> {
    fn new(problem: &Problem<'a>) -> Self {
        let text = &*problem.source.text;
        let current = problem.current;
        let previous = problem.previous.unwrap_or(current);
        let begins_route =
            current.kind == Kind::Symbol && text[current.end..].trim_ascii_start().starts_with(':');
        Self {
            expected: problem.expected,
            current,
            previous,
            raw: current.raw(text),
            raw_before: previous.raw(text),
            found: match current.kind {
                Kind::End => "the end of the text".to_owned(),
                Kind::Text(_) => "a string".to_owned(),
                Kind::Regexp => "a regular expression".to_owned(),
                _ => format!("`{}`", current.raw(text)),
            },
            route: if problem.route.is_empty() {
                "the route".to_owned()
            } else {
                format!("route `{}`", problem.route)
            },
            in_named_route: !problem.route.is_empty(),
            here: current.span(),
            behind: previous.end.saturating_sub(1)..previous.end,
            begin: problem.begin.clone(),
            begins_route,
            ends: matches!(current.kind, Kind::End | Kind::Semicolon) || begins_route,
        }
    }

    fn found_instead(&self, expected: &str) -> String {
        format!("expected {expected}, found {}", self.found)
    }
}

fn tell(code: &'static str, message: impl Into<String>, hint: &str, span: &Span) -> Told {
    (code, message.into(), hint.to_owned(), span.clone())
}

fn missing_colon(view: &View<'_>) -> Told {
    let message = format!("`:` is missing behind the id `{}`", view.raw_before);
    tell("missing_colon", message, COLON_HINT, &view.previous.span())
}

fn definition(view: &View<'_>) -> Told {
    match (view.previous.kind, view.current.kind) {
        (_, Kind::Any) => tell("missing_id", "this route has no id", ID_HINT, &view.here),
        (Kind::Symbol, Kind::Open) => {
            tell("missing_id", "this route has no id", ID_HINT, &view.previous.span())
        }
        (Kind::Symbol, Kind::Symbol | Kind::Arrow) => missing_colon(view),
        _ => tell("unexpected_token", view.found_instead("a route"), ROUTE_HINT, &view.here),
    }
}

fn predicate(view: &View<'_>) -> Told {
    let message = view.found_instead("a predicate");
    if view.current.kind == Kind::Arrow || view.ends {
        tell("missing_predicate", message, "write `*` to match every request", &view.here)
    } else {
        tell(
            "unexpected_token",
            message,
            "a predicate is a name with arguments: `Path(\"/cart\")`",
            &view.here,
        )
    }
}

fn after_name(view: &View<'_>) -> Told {
    let is_filter = view.expected == Expected::AfterFilterName;
    if !is_filter && !view.in_named_route && view.current.kind == Kind::Symbol {
        return missing_colon(view);
    }
    let name = view.raw_before;
    let hint = match did_you_mean(name, BACKENDS) {
        Some(backend) if is_filter => {
            format!("call the filter `{name}()`, or write the backend `<{backend}>`")
        }
        _ => format!("write `{name}()` if it has no arguments"),
    };
    ("missing_parenthesis", format!("`(` is missing behind the name `{name}`"), hint, view.previous.span())
}

fn after_call(view: &View<'_>) -> Told {
    let in_route = matches!(view.expected, Expected::AfterPredicate | Expected::AfterFilter);
    let after_predicate = view.expected == Expected::AfterPredicate;
    if in_route && view.ends {
        return tell("missing_backend", format!("{} has no backend", view.route), BACKEND_HINT, &view.behind);
    }
    if view.expected == Expected::PredicatesEnd {
        let message = view.found_instead("`&&` or the end of the predicates");
        return tell("unexpected_token", message, AND_HINT, &view.here);
    }
    match view.current.kind {
        Kind::Comma if after_predicate => tell("unexpected_token", "unexpected `,`", AND_HINT, &view.here),
        // By convention, names of predicates begin with a capital and names of filters do not.
        Kind::Symbol if after_predicate && view.raw.starts_with(|c: char| c.is_ascii_uppercase()) => {
            let message = format!("`&&` is missing before the predicate `{}`", view.raw);
            tell("missing_and", message, AND_HINT, &view.here)
        }
        Kind::And => tell(
            "missing_arrow",
            view.found_instead("`->`"),
            "predicates come first, joined by `&&`; filters and the backend follow, each behind `->`",
            &view.here,
        ),
        _ => tell(
            "missing_arrow",
            view.found_instead("`->`"),
            "filters and the backend stand behind `->`",
            &view.here,
        ),
    }
}

fn filter_or_backend(view: &View<'_>) -> Told {
    if view.expected == Expected::Filter {
        let message = view.found_instead("a filter");
        let hint = "a filter is a name with arguments: `setPath(\"/\")`";
        return tell("unexpected_token", message, hint, &view.here);
    }
    if view.ends {
        let message = format!("{} has no backend behind `->`", view.route);
        return tell("missing_backend", message, BACKEND_HINT, &view.behind);
    }
    tell(
        "unexpected_token",
        view.found_instead("a filter or a backend"),
        "a filter is a name with arguments; a backend is an address in quotes, `<shunt>`, `<loopback>`, \
         `<dynamic>`, `<forward>` or `<roundRobin, \"http://a\", \"http://b\">`",
        &view.here,
    )
}

fn argument(view: &View<'_>) -> Told {
    match (view.expected, view.current.kind) {
        (Expected::SmallerNumber, _) => {
            tell("number_too_large", "the number is too large for 64-bit floating point", "", &view.here)
        }
        (Expected::AfterArg, Kind::Text(_) | Kind::Number | Kind::Regexp) => tell(
            "missing_comma",
            view.found_instead("`,` or `)`"),
            "arguments are parted by commas",
            &view.here,
        ),
        (Expected::AfterArg, _) => {
            let message = view.found_instead("`,` or `)`");
            tell("missing_parenthesis", message, "close the arguments with `)`", &view.behind)
        }
        (Expected::Arg, Kind::Close) => {
            let message = "a comma stands behind the last argument";
            tell("trailing_comma", message, "leave the comma out", &view.behind)
        }
        (_, Kind::Symbol) if !view.ends => {
            let hint = format!("arguments are numbers, regular expressions and strings: `\"{}\"`", view.raw);
            (
                "unquoted_argument",
                format!("the argument `{}` has no quotes", view.raw),
                hint,
                view.here.clone(),
            )
        }
        (_, kind) if view.ends || matches!(kind, Kind::Arrow | Kind::And) => {
            let message = view.found_instead("an argument or `)`");
            tell("missing_parenthesis", message, "close the arguments with `)`", &view.behind)
        }
        _ => tell(
            "unexpected_token",
            view.found_instead("an argument"),
            "arguments are numbers, strings and regular expressions between slashes",
            &view.here,
        ),
    }
}

fn balanced(view: &View<'_>) -> Told {
    match (view.expected, view.current.kind) {
        (Expected::AfterAlgorithm, Kind::Greater) => unknown_backend(view.raw_before, view.previous.span()),
        (Expected::AfterAlgorithm, _) if BACKENDS.contains(&view.raw_before) => {
            let message = format!("`>` is missing behind `<{}`", view.raw_before);
            tell("unknown_backend", message, "", &view.previous.span())
        }
        (Expected::AfterAlgorithm, _) => {
            tell("missing_comma", view.found_instead("`,` behind the algorithm"), BALANCED_HINT, &view.here)
        }
        (Expected::Endpoint, _) => {
            tell("missing_endpoint", view.found_instead("an address in quotes"), BALANCED_HINT, &view.here)
        }
        _ => {
            let message = view.found_instead("`,` or `>` behind the address");
            tell("unexpected_token", message, BALANCED_HINT, &view.here)
        }
    }
}

/// `<word>` that is none of the four.
fn unknown_backend(word: &str, span: Span) -> Told {
    let hint = if BACKENDS.contains(&word) {
        format!("write `<{word}>` without spaces")
    } else if let Some(backend) = did_you_mean(word, BACKENDS) {
        format!("did you mean `<{backend}>`?")
    } else if did_you_mean(word, ALGORITHMS).is_some() {
        format!("name the addresses: `<{word}, \"http://a\", \"http://b\">`")
    } else {
        "there are `<shunt>`, `<loopback>`, `<dynamic>` and `<forward>`".to_owned()
    };
    ("unknown_backend", format!("there is no backend `<{word}>`"), hint, span)
}

fn route_end(view: &View<'_>) -> Told {
    match (view.expected, view.current.kind) {
        (Expected::Id, _) => tell("missing_id", "this route has no id", ID_HINT, &view.begin),
        (Expected::Semicolon, _) if view.begins_route => {
            let message = format!("`;` is missing between {} and route `{}`", view.route, view.raw);
            tell("missing_semicolon", message, "each route ends with `;`", &view.behind)
        }
        (_, Kind::Arrow) => {
            let hint = "the backend ends the route: filters stand before it";
            tell("unexpected_token", "unexpected `->` behind the backend", hint, &view.here)
        }
        (_, Kind::Semicolon) => tell(
            "unexpected_token",
            "unexpected `;` behind a route without an id",
            "leave the `;` out, or give the route an id: `all: ...;`",
            &view.here,
        ),
        _ => {
            let message = view.found_instead(&format!("the end of {}", view.route));
            tell("unexpected_token", message, "a route ends with `;`", &view.here)
        }
    }
}
