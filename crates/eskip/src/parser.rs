//! Tokens to routes, by recursive descent. An error ends its route, never the text: the parser goes on at
//! the next `;` or `id:`, so that one run tells of all mistakes and still returns the good routes.

use crate::errors::{Error, Errors, Stage};
use crate::explain::{self, Expected, Problem};
use crate::lexer::{Bad, Kind, Lexer, Token};
use crate::{Algorithm, Arg, Backend, Call, Endpoint, Route, check};
use base::{Diagnostic, Source, Span};

/// The longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How many errors of one text are told; the parser stops looking after that.
pub const ERRORS_MAX: usize = 100;

/// What a text holds: the routes that are right, and all that is wrong with the others.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The routes without errors, in the order of the text.
    pub routes: Vec<Route>,
    /// What is wrong, in the order of the text; at most [`ERRORS_MAX`].
    pub errors: Vec<Error>,
}

impl Parsed {
    /// All routes, or all errors: one mistake refuses the whole text, as in the original.
    pub fn into_result(self) -> Result<Vec<Route>, Errors> {
        Errors::from_list(self.errors).map(|()| self.routes)
    }
}

/// Reads a document: routes with ids, or one route without.
pub fn parse(source: &Source) -> Parsed {
    if let Some(error) = too_large(source) {
        return Parsed { routes: Vec::new(), errors: vec![error] };
    }
    let mut parser = Parser::new(source);
    let routes = parser.document();
    Parsed { routes, errors: parser.errors }
}

/// Reads a document that has no name: all its routes, or all its errors.
pub fn parse_text(text: &str) -> Result<Vec<Route>, Errors> {
    parse(&Source::new("<text>", text)).into_result()
}

/// Reads predicates joined by `&&`; a text that is empty or has only comments is an empty list. `*` is
/// left out. What predicates mean is not checked.
pub fn parse_predicates(source: &Source) -> Result<Vec<Call>, Errors> {
    parse_list(source, |parser| parser.predicates(Context::Predicates))
}

/// Reads filters joined by `->`; a text that is empty or has only comments is an empty list.
pub fn parse_filters(source: &Source) -> Result<Vec<Call>, Errors> {
    parse_list(source, Parser::filters)
}

fn parse_list<'s>(
    source: &'s Source,
    read: impl FnOnce(&mut Parser<'s>) -> Result<Vec<Call>, Stop>,
) -> Result<Vec<Call>, Errors> {
    if let Some(error) = too_large(source) {
        return Err(error.into());
    }
    let mut parser = Parser::new(source);
    let mut calls = Vec::new();
    if parser.current.kind != Kind::End {
        // A text that begins with no token is one the original takes for empty, and tells so.
        parser.may_end = true;
        if let Ok(read) = read(&mut parser) {
            calls = read;
        }
    }
    Errors::from_list(parser.errors).map(|()| calls)
}

/// The error for a text of more than [`TEXT_BYTES_MAX`].
pub(crate) fn too_large(source: &Source) -> Option<Error> {
    larger_than(source, TEXT_BYTES_MAX)
}

fn larger_than(source: &Source, bytes_max: usize) -> Option<Error> {
    let bytes = source.text.len();
    (bytes > bytes_max).then(|| {
        let message = format!("the text has `{bytes}` bytes, more than `{bytes_max}`");
        let diagnostic = Diagnostic::error("text_too_large", &message).at(source, 0..0);
        Error::new(Stage::Syntax, diagnostic.hint("split it into several files"), message)
    })
}

/// The route can't be read any further; the error has been noted.
struct Stop;

/// What a list of calls stands in: it decides what may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Route,
    Predicates,
}

struct Parser<'a> {
    source: &'a Source,
    text: &'a str,
    lexer: Lexer<'a>,
    /// The last token that was taken.
    previous: Option<Token>,
    /// The token to look at.
    current: Token,
    /// Whether the text might end here. The original then tells of a broken token as such, and otherwise
    /// as of a syntax error.
    may_end: bool,
    /// The id of the route being read, for the original's error text.
    last_id: Option<Span>,
    /// Where the route being read begins.
    begin: Span,
    errors: Vec<Error>,
    rescans: usize,
}

/// How often the parser goes back to the line on which a string began that seems to lack its end. Each time
/// costs at most one more walk over the text.
const RESCANS_MAX: usize = 16;

impl<'a> Parser<'a> {
    fn new(source: &'a Source) -> Self {
        let mut lexer = Lexer::new(&source.text);
        let current = lexer.next();
        Self {
            source,
            text: &source.text,
            lexer,
            previous: None,
            current,
            may_end: true,
            last_id: None,
            begin: 0..0,
            errors: Vec::new(),
            rescans: 0,
        }
    }

    fn document(&mut self) -> Vec<Route> {
        let mut routes = Vec::new();
        let mut first = true;
        while self.errors.len() < ERRORS_MAX {
            match self.current.kind {
                Kind::End => break,
                Kind::Semicolon => {
                    self.advance();
                    self.may_end = true;
                }
                _ => match self.definition(first) {
                    Ok(Some(route)) => routes.push(route),
                    Ok(None) => {}
                    Err(Stop) => self.recover(),
                },
            }
            first = false;
        }
        routes
    }

    /// One route with or without an id, and what must follow it. `None` if it could be read but is wrong.
    fn definition(&mut self, first: bool) -> Result<Option<Route>, Stop> {
        let start = self.current;
        self.begin = start.span();
        let named = start.kind == Kind::Symbol && self.symbol_follows(start, b':');
        let mut lone = false;
        let mut route = if named {
            self.advance();
            let id = start.raw(self.text).to_owned();
            self.last_id = Some(start.span());
            self.advance();
            Route { id, span: start.span(), ..Route::default() }
        } else if first && matches!(start.kind, Kind::Symbol | Kind::Any) {
            lone = true;
            Route { span: start.span(), ..Route::default() }
        } else {
            // The original finds out at the token behind a name.
            if start.kind == Kind::Symbol {
                self.advance();
            }
            return self.stop(Expected::Definition);
        };
        let good_before = self.errors.len();
        route.predicates = self.predicates(Context::Route)?;
        self.expect(Kind::Arrow, Expected::AfterPredicate)?;
        (route.filters, route.backend, route.backend_span) = self.filters_and_backend()?;
        self.may_end = true;
        if !matches!(self.current.kind, Kind::End | Kind::Semicolon)
            || (lone && self.current.kind != Kind::End)
        {
            self.after_backend(lone)?;
            if lone {
                return Ok(None);
            }
        }
        check::route(self.source, &mut route, &mut self.errors);
        Ok((self.errors.len() == good_before || self.only_missing_semicolon(good_before)).then_some(route))
    }

    /// Whether all that is wrong since then is that a `;` is missing behind the route: it is still good.
    fn only_missing_semicolon(&self, since: usize) -> bool {
        self.errors[since..].iter().all(|error| error.diagnostic.code == "missing_semicolon")
    }

    /// Something stands behind a backend. The next route may begin there; anything else is skipped.
    fn after_backend(&mut self, lone: bool) -> Result<(), Stop> {
        let begins = self.current.kind == Kind::Symbol && self.symbol_follows(self.current, b':');
        let mut ahead = self.lexer;
        let expected = match (lone, self.current.kind) {
            (false, _) => Expected::Semicolon,
            (true, Kind::Semicolon) if ahead.next().kind != Kind::End => Expected::Id,
            (true, _) if begins => Expected::Id,
            (true, _) => Expected::LoneEnd,
        };
        let _ = self.stop::<()>(expected);
        if begins || self.current.kind == Kind::Semicolon { Ok(()) } else { Err(Stop) }
    }

    fn predicates(&mut self, context: Context) -> Result<Vec<Call>, Stop> {
        // Most routes have one, and a table has many routes.
        let mut predicates = Vec::with_capacity(1);
        loop {
            match self.current.kind {
                Kind::Any => self.advance(),
                Kind::Symbol => {
                    let call = self.call(Expected::AfterPredicateName)?;
                    // `*` and `Any()` say nothing: every request has them.
                    if context == Context::Predicates || call.name != "Any" {
                        predicates.push(call);
                    }
                }
                _ => return self.stop(Expected::Predicate),
            }
            self.may_end = context == Context::Predicates;
            match self.current.kind {
                Kind::And => self.advance(),
                Kind::End if context == Context::Predicates => return Ok(predicates),
                _ if context == Context::Predicates => return self.stop(Expected::PredicatesEnd),
                _ => return Ok(predicates),
            }
        }
    }

    fn filters(&mut self) -> Result<Vec<Call>, Stop> {
        let mut filters = Vec::new();
        loop {
            if self.current.kind != Kind::Symbol {
                return self.stop(Expected::Filter);
            }
            filters.push(self.call(Expected::AfterFilterName)?);
            self.may_end = true;
            match self.current.kind {
                Kind::Arrow => self.advance(),
                Kind::End => return Ok(filters),
                _ => return self.stop(Expected::FiltersEnd),
            }
        }
    }

    fn filters_and_backend(&mut self) -> Result<(Vec<Call>, Backend, Span), Stop> {
        let mut filters: Vec<Call> = Vec::new();
        loop {
            let start = self.current;
            let backend = match start.kind {
                Kind::Symbol => {
                    filters.push(self.call(Expected::AfterFilterName)?);
                    self.expect(Kind::Arrow, Expected::AfterFilter)?;
                    continue;
                }
                Kind::Text(_) => Backend::Network(start.value(self.text).into_owned()),
                Kind::Shunt => Backend::Shunt,
                Kind::Loopback => Backend::Loopback,
                Kind::Dynamic => Backend::Dynamic,
                Kind::Forward => Backend::Forward,
                Kind::Less => {
                    let backend = self.balanced()?;
                    let end = self.previous.map_or(start.end, |token| token.end);
                    filters.shrink_to_fit();
                    return Ok((filters, backend, start.start..end));
                }
                _ => return self.stop(Expected::FilterOrBackend),
            };
            self.advance();
            filters.shrink_to_fit();
            return Ok((filters, backend, start.span()));
        }
    }

    /// `<`, perhaps an algorithm and a comma, addresses, `>`.
    fn balanced(&mut self) -> Result<Backend, Stop> {
        self.advance();
        let mut algorithm = Algorithm::Unset;
        if self.current.kind == Kind::Symbol {
            algorithm = Algorithm::Named(self.current.raw(self.text).to_owned());
            self.advance();
            self.expect(Kind::Comma, Expected::AfterAlgorithm)?;
        }
        let mut endpoints = Vec::new();
        loop {
            if !matches!(self.current.kind, Kind::Text(_)) {
                return self.stop(Expected::Endpoint);
            }
            endpoints.push(Endpoint::parse(&self.current.value(self.text)));
            self.advance();
            match self.current.kind {
                Kind::Comma => self.advance(),
                Kind::Greater => break,
                _ => return self.stop(Expected::AfterEndpoint),
            }
        }
        self.advance();
        Ok(Backend::Balanced { algorithm, endpoints })
    }

    /// A name and its arguments.
    fn call(&mut self, after_name: Expected) -> Result<Call, Stop> {
        let name = self.current;
        let mut call = Call { name: name.raw(self.text).to_owned(), span: name.span(), ..Call::default() };
        self.advance();
        self.expect(Kind::Open, after_name)?;
        if self.current.kind == Kind::Close {
            self.advance();
            return Ok(call);
        }
        // As predicates of a route: most have one.
        (call.args, call.arg_spans) = (Vec::with_capacity(1), Vec::with_capacity(1));
        loop {
            let arg = match self.current.kind {
                Kind::Number => match self.current.raw(self.text).parse::<f64>() {
                    Ok(number) if number.is_finite() => Arg::Number(number),
                    _ => return self.stop(Expected::SmallerNumber),
                },
                Kind::Text(_) | Kind::Regexp => Arg::Text(self.current.value(self.text).into_owned()),
                _ => return self.stop(if call.args.is_empty() { Expected::Args } else { Expected::Arg }),
            };
            call.args.push(arg);
            call.arg_spans.push(self.current.span());
            self.advance();
            match self.current.kind {
                Kind::Comma => self.advance(),
                Kind::Close => break,
                _ => return self.stop(Expected::AfterArg),
            }
        }
        self.advance();
        Ok(call)
    }

    fn advance(&mut self) {
        self.previous = Some(self.current);
        self.current = self.lexer.next();
        self.may_end = false;
    }

    fn expect(&mut self, kind: Kind, expected: Expected) -> Result<(), Stop> {
        if self.current.kind != kind {
            return self.stop(expected);
        }
        self.advance();
        Ok(())
    }

    /// Whether this byte stands behind a symbol, but not as the beginning of `://`.
    fn symbol_follows(&self, symbol: Token, byte: u8) -> bool {
        let mut ahead = self.lexer;
        ahead.jump(symbol.end);
        let next = ahead.next();
        let rest = &self.text.as_bytes()[next.start..];
        rest.first() == Some(&byte) && !(next.start == symbol.end && rest.starts_with(b"://"))
    }

    /// Notes that something else was expected than the current token.
    fn stop<T>(&mut self, expected: Expected) -> Result<T, Stop> {
        let last = if matches!(self.current.kind, Kind::Bad(_) | Kind::End) {
            self.previous
        } else {
            Some(self.current)
        };
        let reason = match self.current.kind {
            Kind::Bad(bad) if self.may_end => bad.compat(),
            _ => "syntax error",
        };
        let id = self.last_id.clone().map(|id| &self.text[id]);
        let compat = format!(
            "parse failed after token {}{}, position {}: {reason}",
            last.map(|token| token.value(self.text)).unwrap_or_default(),
            id.map(|id| format!(", last route id: {id}")).unwrap_or_default(),
            self.current.compat_position(),
        );
        let problem = Problem {
            source: self.source,
            previous: self.previous,
            current: self.current,
            expected,
            route: id.unwrap_or_default(),
            begin: self.begin.clone(),
        };
        self.errors.push(Error::new(Stage::Syntax, explain::explain(&problem), compat));
        if let Some(line_end) = explain::broken_string(&problem).filter(|_| self.rescans < RESCANS_MAX) {
            self.rescans += 1;
            self.lexer.jump(line_end);
            self.advance();
        } else if let Some(url_end) = explain::bare_url(&problem) {
            // What looks like an id and a comment is an address without quotes: all of it is skipped.
            self.lexer.jump(url_end);
            self.advance();
        }
        Err(Stop)
    }

    /// Goes on at the next `;` or `id:`.
    fn recover(&mut self) {
        loop {
            match self.current.kind {
                Kind::End | Kind::Semicolon => return,
                Kind::Symbol if self.symbol_follows(self.current, b':') => return,
                // A string without an end may have swallowed good routes: they begin on the next line.
                Kind::Bad(Bad::Text(_) | Bad::Regexp) if self.rescans < RESCANS_MAX => {
                    self.rescans += 1;
                    let rest = &self.text[self.current.start..];
                    self.lexer.jump(self.current.start + rest.find('\n').unwrap_or(rest.len()));
                    self.advance();
                }
                _ => self.advance(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_over_the_limit_is_refused_unread() {
        let source = Source::new("big.eskip", "* -> <shunt>");
        assert_eq!(larger_than(&source, 12), None);
        let error = larger_than(&source, 11).unwrap();
        assert_eq!(error.compat(), "the text has `12` bytes, more than `11`");
    }

    #[test]
    fn the_parser_tells_of_a_hundred_errors_and_stops() {
        let text = "a: * -> ;\n".repeat(ERRORS_MAX + 50) + "good: * -> <shunt>;";
        let parsed = parse(&Source::new("t", text));
        assert_eq!((parsed.errors.len(), parsed.routes.len()), (ERRORS_MAX, 0));
    }

    #[test]
    fn good_routes_between_bad_ones_are_returned() {
        let text = "a: * -> <shunt>; b: Path(/x; c: * -> <loopback>\nd: * -> <dynamic>;\ne: Path() -> <shunt>; f: * -> \"g\"";
        let parsed = parse(&Source::new("t", text));
        let ids: Vec<&str> = parsed.routes.iter().map(|route| route.id.as_str()).collect();
        assert_eq!(ids, ["a", "d", "f"]);
    }

    #[test]
    fn going_back_to_broken_strings_is_bounded() {
        // Each line opens a string that the next one ends, so that each is a reason to go back.
        let text = "a: P(\"x) -> <shunt>;\n".repeat(4 * RESCANS_MAX);
        let source = Source::new("t", text);
        let mut parser = Parser::new(&source);
        parser.document();
        assert_eq!(parser.rescans, RESCANS_MAX);
    }
}
