//! Texts with placeholders, `/v2/${id}?from=${request.header.X-From}`: read once when a route is built,
//! filled for each request. Where the values come from is the caller's [`Context`].

use std::fmt;

/// A text with placeholders. Cheap to fill: filling allocates the result and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A placeholder, and the text since the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// Where the text before it begins, and where the placeholder does.
    before: std::ops::Range<usize>,
    /// What stands between `${` and `}`.
    name: std::ops::Range<usize>,
    kind: Kind,
}

/// What a placeholder asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// `${request.method}`
    Method,
    /// `${request.host}`: as the request has it, perhaps with a port.
    Host,
    /// `${request.path}`: decoded.
    Path,
    /// `${request.rawQuery}`: as sent, without the `?`.
    RawQuery,
    /// `${request.source}`: the first address of `X-Forwarded-For`, else the peer's.
    Source,
    /// `${request.sourceFromLast}`: the last address of `X-Forwarded-For`, else the peer's.
    SourceFromLast,
    /// `${request.clientIP}`: the peer's address.
    ClientIp,
    /// `${request.header.X-Name}`: the first value; letter case has no meaning.
    RequestHeader(&'a str),
    /// `${request.query.name}`: the first value, decoded.
    Query(&'a str),
    /// `${request.cookie.name}`: the first cookie of that name.
    Cookie(&'a str),
    /// `${response.header.X-Name}`: the first value, if there is a response yet.
    ResponseHeader(&'a str),
    /// Any other name: a parameter of the route's path.
    PathParam(&'a str),
}

/// Where the values of placeholders come from.
pub trait Context {
    /// Appends the value, if there is one.
    fn append(&self, placeholder: Placeholder<'_>, out: &mut String);
}

/// A template that was filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The text; what had no value is left out.
    pub text: String,
    /// Whether every placeholder had a value that is not empty.
    pub complete: bool,
}

impl Template {
    /// Reads a text. Every text is a template; `${` without a name and `}` stays as it is.
    pub fn parse(text: impl Into<String>) -> Self {
        let text = text.into();
        let (mut parts, mut before, mut from) = (Vec::new(), 0, 0);
        while let Some(at) = text[from..].find("${").map(|at| from + at) {
            let inside = &text[at + 2..];
            let length = inside.find(['{', '}']).unwrap_or(inside.len());
            if length == 0 || !inside[length..].starts_with('}') {
                from = at + 2;
                continue;
            }
            let name = at + 2..at + 2 + length;
            parts.push(Part { before: before..at, kind: Kind::of(&text[name.clone()]), name });
            before = at + 2 + length + 1;
            from = before;
        }
        Self { text, parts }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is nothing to fill in, so that [`Template::text`] is the result.
    pub fn is_plain(&self) -> bool {
        self.parts.is_empty()
    }

    /// What the placeholders ask for, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder<'_>> {
        self.parts.iter().map(|part| part.kind.placeholder(&self.text[part.name.clone()]))
    }

    /// Fills it in. Values are not looked at again: a value that looks like a placeholder is a value.
    pub fn expand(&self, context: &(impl Context + ?Sized)) -> Filled {
        self.fill(|part, out| context.append(part.kind.placeholder(&self.text[part.name.clone()]), out))
    }

    /// Fills it in with what a function knows of a placeholder by its name, as written between `${` and `}`.
    pub fn expand_with<'v>(&self, mut value: impl FnMut(&str) -> Option<&'v str>) -> Filled {
        self.fill(|part, out| out.push_str(value(&self.text[part.name.clone()]).unwrap_or_default()))
    }

    fn fill(&self, mut append: impl FnMut(&Part, &mut String)) -> Filled {
        let mut filled = Filled { text: String::with_capacity(self.text.len()), complete: true };
        let mut rest = 0;
        for part in &self.parts {
            filled.text.push_str(&self.text[part.before.clone()]);
            let length = filled.text.len();
            append(part, &mut filled.text);
            filled.complete &= filled.text.len() > length;
            rest = part.name.end + 1;
        }
        filled.text.push_str(&self.text[rest..]);
        filled
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

/// A [`Placeholder`] whose name stands in the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Method,
    Host,
    Path,
    RawQuery,
    Source,
    SourceFromLast,
    ClientIp,
    RequestHeader,
    Query,
    Cookie,
    ResponseHeader,
    PathParam,
}

/// The placeholders whose name goes on behind a prefix.
const PREFIXES: [(&str, Kind); 4] = [
    ("request.header.", Kind::RequestHeader),
    ("request.query.", Kind::Query),
    ("request.cookie.", Kind::Cookie),
    ("response.header.", Kind::ResponseHeader),
];

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "request.method" => Kind::Method,
            "request.host" => Kind::Host,
            "request.path" => Kind::Path,
            "request.rawQuery" => Kind::RawQuery,
            "request.source" => Kind::Source,
            "request.sourceFromLast" => Kind::SourceFromLast,
            "request.clientIP" => Kind::ClientIp,
            _ => PREFIXES
                .iter()
                .find(|(prefix, _)| name.starts_with(prefix))
                .map_or(Kind::PathParam, |(_, kind)| *kind),
        }
    }

    fn placeholder(self, name: &str) -> Placeholder<'_> {
        let prefix = PREFIXES.iter().find(|(_, kind)| *kind == self).map_or(0, |(prefix, _)| prefix.len());
        let rest = &name[prefix..];
        match self {
            Kind::Method => Placeholder::Method,
            Kind::Host => Placeholder::Host,
            Kind::Path => Placeholder::Path,
            Kind::RawQuery => Placeholder::RawQuery,
            Kind::Source => Placeholder::Source,
            Kind::SourceFromLast => Placeholder::SourceFromLast,
            Kind::ClientIp => Placeholder::ClientIp,
            Kind::RequestHeader => Placeholder::RequestHeader(rest),
            Kind::Query => Placeholder::Query(rest),
            Kind::Cookie => Placeholder::Cookie(rest),
            Kind::ResponseHeader => Placeholder::ResponseHeader(rest),
            Kind::PathParam => Placeholder::PathParam(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Knows every placeholder but parameters whose name begins with `no`.
    struct Told;

    impl Context for Told {
        fn append(&self, placeholder: Placeholder<'_>, out: &mut String) {
            if !matches!(placeholder, Placeholder::PathParam(name) if name.starts_with("no")) {
                use std::fmt::Write;
                write!(out, "{placeholder:?}").unwrap();
            }
        }
    }

    fn check(template: &str, expected: &Expect) {
        let filled = Template::parse(template).expand(&Told);
        expected.assert_eq(&format!("{}{}", filled.text, if filled.complete { "" } else { " (incomplete)" }));
    }

    #[test]
    fn each_name_asks_for_its_own_value() {
        check(
            "${request.method} ${request.header.X-A} ${request.cookie.c} ${request.query.q}",
            &expect![[r#"Method RequestHeader("X-A") Cookie("c") Query("q")"#]],
        );
        check("${request.other} ${id}", &expect![[r#"PathParam("request.other") PathParam("id")"#]]);
        check("${response.header.ETag}", &expect![[r#"ResponseHeader("ETag")"#]]);
    }

    #[test]
    fn what_is_missing_is_left_out_and_told() {
        check("/a/${nothing}/${id}", &expect![[r#"/a//PathParam("id") (incomplete)"#]]);
    }

    #[test]
    fn what_is_no_placeholder_stays() {
        check("${} ${a{b} $a {a} ${", &expect!["${} ${a{b} $a {a} ${"]);
        check("$${a}${b", &expect![[r#"$PathParam("a")${b"#]]);
        check("${a${b}}", &expect![[r#"${aPathParam("b")}"#]]);
    }

    #[test]
    fn a_value_is_not_looked_at_again() {
        let filled = Template::parse("${a} ${b}").expand_with(|name| (name == "a").then_some("${b}"));
        assert_eq!(filled, Filled { text: "${b} ".to_owned(), complete: false });
    }
}
