//! Routes to text, in the one order and form the original prints: path, hosts, path expressions, method,
//! headers, header expressions, all other predicates, then filters and the backend.

use crate::lexer::{decode_regexp, regexp_end};
use crate::{Arg, Backend, Call, Route};
use std::fmt;

/// How routes are printed. The default is one line a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printer {
    /// Each `->` begins a line, and an empty line parts the routes.
    pub pretty: bool,
    /// What stands before each `->` of the pretty form.
    pub indent: String,
}

impl Printer {
    /// One `->` a line, indented by two spaces.
    pub fn pretty() -> Self {
        Self { pretty: true, indent: "  ".to_owned() }
    }

    /// A document: a lone route without an id as its expression, else each route with its id and `;`.
    /// There is no newline at the end.
    pub fn print(&self, routes: &[Route]) -> String {
        let mut out = String::new();
        if let [lone] = routes
            && lone.id.is_empty()
        {
            self.expression_to(&mut out, lone);
            return out;
        }
        for (index, route) in routes.iter().enumerate() {
            out.push_str(match (index, self.pretty) {
                (0, _) => "",
                (_, false) => "\n",
                (_, true) => "\n\n",
            });
            out.push_str(&route.id);
            out.push_str(": ");
            self.expression_to(&mut out, route);
            out.push(';');
        }
        out
    }

    /// A route without its id.
    pub fn expression(&self, route: &Route) -> String {
        let mut out = String::new();
        self.expression_to(&mut out, route);
        out
    }

    fn expression_to(&self, out: &mut String, route: &Route) {
        predicates(out, &route.predicates);
        let arrow = if self.pretty { format!("\n{}-> ", self.indent) } else { " -> ".to_owned() };
        for filter in &route.filters {
            out.push_str(&arrow);
            call(out, filter);
        }
        out.push_str(&arrow);
        backend(out, &route.backend);
    }
}

/// On one line, without its id.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Printer::default().expression(self))
    }
}

/// The name and the arguments, every text as a string.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        call(&mut out, self);
        f.write_str(&out)
    }
}

/// As an argument of a call.
impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        arg(&mut out, self);
        f.write_str(&out)
    }
}

/// As the end of a route.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        backend(&mut out, self);
        f.write_str(&out)
    }
}

fn predicates(out: &mut String, calls: &[Call]) {
    let start = out.len();
    let part = |out: &mut String| {
        if out.len() > start {
            out.push_str(" && ");
        }
    };
    for name in ["Path", "Host", "PathRegexp", "Method", "Header", "HeaderRegexp"] {
        let mut printed: Vec<String> = calls
            .iter()
            .filter(|call| call.name == name && is_known(call))
            .map(|call| {
                let mut one = String::new();
                known_predicate(&mut one, call);
                one
            })
            .collect();
        if name.starts_with("Header") {
            printed.sort_unstable();
        }
        for one in printed {
            part(out);
            out.push_str(&one);
        }
    }
    for other in calls.iter().filter(|call| call.name != "Any" && !is_known(call)) {
        part(out);
        call(out, other);
    }
    if out.len() == start {
        out.push('*');
    }
}

/// Whether a predicate is one of the six the language knows, with the arguments they have.
fn is_known(call: &Call) -> bool {
    match call.name.as_str() {
        "Path" | "Host" | "PathRegexp" | "Method" => matches!(call.args[..], [Arg::Text(_)]),
        "Header" | "HeaderRegexp" => matches!(call.args[..], [Arg::Text(_), Arg::Text(_)]),
        _ => false,
    }
}

/// One of the six; the last argument of three of them is printed between slashes.
fn known_predicate(out: &mut String, predicate: &Call) {
    let as_regexp = matches!(predicate.name.as_str(), "Host" | "PathRegexp" | "HeaderRegexp");
    match &predicate.args[..] {
        [before @ .., Arg::Text(pattern)] if as_regexp => {
            out.push_str(&predicate.name);
            out.push('(');
            for first in before {
                arg(out, first);
                out.push_str(", ");
            }
            regexp(out, pattern);
            out.push(')');
        }
        _ => call(out, predicate),
    }
}

fn call(out: &mut String, call: &Call) {
    out.push_str(&call.name);
    out.push('(');
    for (index, value) in call.args.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        arg(out, value);
    }
    out.push(')');
}

fn arg(out: &mut String, arg: &Arg) {
    match arg {
        Arg::Text(text) => quoted(out, text),
        Arg::Number(number) => self::number(out, *number),
    }
}

fn backend(out: &mut String, backend: &Backend) {
    match backend {
        Backend::Network(address) => quoted(out, address),
        Backend::Shunt => out.push_str("<shunt>"),
        Backend::Loopback => out.push_str("<loopback>"),
        Backend::Dynamic => out.push_str("<dynamic>"),
        Backend::Forward => out.push_str("<forward>"),
        Backend::Balanced { algorithm, endpoints } => {
            out.push('<');
            let mut separator = "";
            if let Some(name) = algorithm.name() {
                out.push_str(name);
                separator = ", ";
            }
            for endpoint in endpoints {
                out.push_str(separator);
                separator = ", ";
                quoted(out, &endpoint.to_string());
            }
            out.push('>');
        }
    }
}

/// A number as Go prints it with `%g`, whole ones without a point. Where Go would write an exponent, which
/// the language can't read, all digits are written.
fn number(out: &mut String, number: f64) {
    use fmt::Write as _;
    let written = if number.is_nan() {
        out.write_str("NaN")
    } else if number.is_infinite() {
        out.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else if number.fract() == 0.0 {
        write!(out, "{number:.0}")
    } else {
        write!(out, "{number}")
    };
    written.expect("a string takes any text");
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text, '"');
    out.push('"');
}

/// Between slashes, if that reads back as the same pattern; else as a string, which always does. What would
/// not: the empty pattern (a comment), a bracket that is escaped or open (its slash would not end it), a
/// backspace (`\b` is a word boundary in a pattern).
fn regexp(out: &mut String, pattern: &str) {
    let start = out.len();
    out.push('/');
    escape(out, pattern, '/');
    out.push('/');
    let inner = &out[start + 1..];
    let closes = regexp_end(inner.as_bytes(), 0) == Some(inner.len() - 1);
    if pattern.is_empty() || pattern.contains('\x08') || !closes {
        out.truncate(start);
        quoted(out, pattern);
    } else {
        debug_assert!(
            pattern.contains(char::is_control) || decode_regexp(&inner[..inner.len() - 1]) == pattern
        );
    }
}

fn escape(out: &mut String, text: &str, delimiter: char) {
    for character in text.chars() {
        let escaped = match character {
            '\\' => '\\',
            '\x07' => 'a',
            '\x08' => 'b',
            '\x0c' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\x0b' => 'v',
            other if other == delimiter => other,
            other => {
                out.push(other);
                continue;
            }
        };
        out.extend(['\\', escaped]);
    }
}
