//! Lists of exact hosts. Generated routes write `^(shop[.]example[.]org[.]?(:[0-9]+)?)$` where they mean a
//! host; such expressions are recognised here and become texts, which a table can find by hash. Everything
//! else stays a regular expression.

/// Exact hosts, each with its rule for the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames(Box<[HostName]>);

/// One exact host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The host as it must be, letter for letter. Holds a port only if `port` is [`Port::AsWritten`].
    pub text: Box<str>,
    /// What may follow.
    pub port: Port,
}

/// What may follow a host's text: `:` and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nothing: the text is the whole of the Host header.
    AsWritten,
    /// A port, or nothing.
    Optional,
    /// A port.
    Required,
}

impl HostName {
    /// Whether the Host header is this host.
    pub fn matches(&self, host: &str) -> bool {
        match host.strip_prefix(&*self.text) {
            Some("") => self.port != Port::Required,
            Some(_) if self.port == Port::AsWritten => false,
            Some(rest) => split_port(rest) == ("", true),
            None => false,
        }
    }
}

impl HostNames {
    /// These hosts, letter for letter.
    pub fn exact<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(hosts.into_iter().map(|text| HostName { text: text.into(), port: Port::AsWritten }).collect())
    }

    /// The hosts that a regular expression stands for, if it stands for a short list of them.
    pub fn of_regexp(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text, depth: 0 };
        let shapes = reader.alternatives()?;
        if !reader.rest.is_empty() {
            return None;
        }
        let mut names: Vec<HostName> = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let name = shape.into_name()?;
            match names.iter_mut().find(|known| known.text == name.text) {
                Some(known) if known.port != name.port => known.port = Port::Optional,
                Some(_) => {}
                None => names.push(name),
            }
        }
        Some(Self(names.into()))
    }

    /// Whether the Host header is one of them.
    pub fn matches(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.matches(host))
    }

    /// One after another.
    pub fn iter(&self) -> std::slice::Iter<'_, HostName> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a HostNames {
    type Item = &'a HostName;
    type IntoIter = std::slice::Iter<'a, HostName>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The host without `:` and digits behind it, and whether they were there.
pub(crate) fn split_port(host: &str) -> (&str, bool) {
    let bytes = host.as_bytes();
    let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let colon = bytes.len() - digits;
    if digits > 0 && colon > 0 && bytes[colon - 1] == b':' {
        (&host[..colon - 1], true)
    } else {
        (host, false)
    }
}

/// More hosts than this stay a regular expression.
const SHAPES_MAX: usize = 64;
/// Longer hosts than this are none.
const TEXT_BYTES_MAX: usize = 512;
const DEPTH_MAX: usize = 16;

/// What a piece of an expression matches: a text, maybe digits behind it, maybe bound to an end.
#[derive(Clone, Default)]
struct Shape {
    text: String,
    digits: bool,
    from_start: bool,
    to_end: bool,
}

impl Shape {
    fn then(&self, next: &Shape) -> Option<Shape> {
        let empty = |shape: &Shape| shape.text.is_empty() && !shape.digits;
        let late = next.from_start && !empty(self);
        let behind = (self.digits || self.to_end) && !empty(next);
        if late || behind || self.text.len() + next.text.len() > TEXT_BYTES_MAX {
            return None;
        }
        Some(Shape {
            text: format!("{}{}", self.text, next.text),
            digits: self.digits || next.digits,
            from_start: self.from_start || next.from_start,
            to_end: self.to_end || next.to_end,
        })
    }

    fn into_name(self) -> Option<HostName> {
        let Shape { text, digits, from_start: true, to_end: true } = self else {
            return None;
        };
        if !digits {
            return Some(HostName { text: text.into(), port: Port::AsWritten });
        }
        let text = text.strip_suffix(':')?;
        // A port behind a port is nothing to find by the host before the first.
        (!split_port(text).1).then(|| HostName { text: text.into(), port: Port::Required })
    }
}

/// Reads the few constructs that lists of hosts are made of; `None` at the first other one.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn alternatives(&mut self) -> Option<Vec<Shape>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut all = self.sequence()?;
        while self.eat("|") {
            all.extend(self.sequence()?);
            if all.len() > SHAPES_MAX {
                return None;
            }
        }
        self.depth -= 1;
        Some(all)
    }

    fn sequence(&mut self) -> Option<Vec<Shape>> {
        let mut all = vec![Shape::default()];
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            if let Some(run) = self.run() {
                for shape in &mut all {
                    *shape = shape.then(&run)?;
                }
                continue;
            }
            let next = self.item()?;
            if all.len() * next.len() > SHAPES_MAX {
                return None;
            }
            all = all.iter().flat_map(|one| next.iter().map(|two| one.then(two))).collect::<Option<_>>()?;
        }
        Some(all)
    }

    /// Characters one after another that stand for themselves and are not repeated: the bulk of every host,
    /// taken in one go.
    fn run(&mut self) -> Option<Shape> {
        let mut text = String::new();
        loop {
            let before = self.rest;
            let literal = self.literal();
            if literal.is_none() || self.rest.starts_with(['*', '+', '?', '{']) {
                self.rest = before;
                return (!text.is_empty()).then(|| Shape { text, ..Shape::default() });
            }
            text.extend(literal);
        }
    }

    fn item(&mut self) -> Option<Vec<Shape>> {
        if self.eat("^") {
            return Some(vec![Shape { from_start: true, ..Shape::default() }]);
        }
        if self.eat("$") {
            return Some(vec![Shape { to_end: true, ..Shape::default() }]);
        }
        if self.eat("[0-9]+") || self.eat(r"\d+") {
            return self.unrepeated(vec![Shape { digits: true, ..Shape::default() }]);
        }
        let mut shapes = if self.eat("(?:") || (!self.rest.starts_with("(?") && self.eat("(")) {
            let inside = self.alternatives()?;
            self.eat(")").then_some(inside)?
        } else {
            vec![Shape { text: self.literal()?.into(), ..Shape::default() }]
        };
        if self.eat("?") {
            shapes.push(Shape::default());
        }
        self.unrepeated(shapes)
    }

    fn unrepeated(&self, shapes: Vec<Shape>) -> Option<Vec<Shape>> {
        (!self.rest.starts_with(['*', '+', '?', '{'])).then_some(shapes)
    }

    /// A character that stands for itself, escaped or alone in a class.
    fn literal(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let (literal, len) = match chars.next()? {
            '\\' => {
                let escaped = chars.next().filter(char::is_ascii_punctuation)?;
                (escaped, 2)
            }
            '[' => {
                let alone = chars.next().filter(|c| c.is_ascii_alphanumeric() || ".-_:".contains(*c))?;
                (chars.next() == Some(']')).then_some((alone, 3))?
            }
            plain if ".*+?()|]{}^$".contains(plain) => return None,
            plain => (plain, plain.len_utf8()),
        };
        self.rest = &self.rest[len..];
        Some(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicates::Regexp;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(text: &str, expected: &Expect) {
        let shown = HostNames::of_regexp(text).map_or("a regular expression".to_owned(), |names| {
            let one = |name: &HostName| {
                let port = match name.port {
                    Port::AsWritten => "",
                    Port::Optional => "[:port]",
                    Port::Required => ":port",
                };
                format!("{}{port}", name.text)
            };
            names.iter().map(one).collect::<Vec<_>>().join(" ")
        });
        expected.assert_eq(&shown);
    }

    #[test]
    fn expressions_that_stand_for_hosts_are_recognised() {
        check(
            "^(shop-17[.]example[.]org[.]?(:[0-9]+)?)$",
            &expect!["shop-17.example.org.[:port] shop-17.example.org[:port]"],
        );
        check(r"^my\.example\.org$", &expect!["my.example.org"]);
        check(r"^www\.example\.org(:\d+)?$", &expect!["www.example.org[:port]"]);
        check("^(a|b)[.]example$", &expect!["a.example b.example"]);
        check("^a$|^b:[0-9]+$", &expect!["a b:port"]);
        check("^(?:a:80|c)$", &expect!["a:80 c"]);
        check("^localhost:8080$", &expect!["localhost:8080"]);
    }

    #[test]
    fn everything_else_stays_an_expression() {
        for other in [
            "example[.]org",
            "^a.b$",
            "^a",
            "a$",
            "^(.*[.]example[.]org)$",
            "^a+$",
            "^a??$",
            "^(a|b$",
            "^[ab]$",
            "^a[0-9]+$",
            "^a:[0-9]*$",
            "(?i)^a$",
            "^a(?i:b)$",
            "^a^b$",
            "^a:80(:[0-9]+)?$",
            "^[0-9]+:[0-9]+$",
            r"^a\b$",
        ] {
            check(other, &expect!["a regular expression"]);
        }
        check(&format!("^{}$", "(a|b)".repeat(7)), &expect!["a regular expression"]);
        check(&"(".repeat(1000), &expect!["a regular expression"]);
    }

    proptest! {
        /// The list must match what the expression matches, and nothing else.
        #[test]
        fn a_list_of_hosts_matches_as_its_expression_does(
            text in r"(\^|)(a|b|:|\[[.]\]|\(a\|b\)|\(:\[0-9\]\+\)\?|:\[0-9\]\+|\?|\.){0,7}(\$|)",
            hosts in prop::collection::vec("[ab.:1]{0,6}", 1..8),
        ) {
            if let (Some(names), Ok(regexp)) = (HostNames::of_regexp(&text), Regexp::new(&text)) {
                let own = names.iter().map(|name| name.text.to_string()).collect::<Vec<_>>();
                let ported = own.iter().map(|name| format!("{name}:11"));
                for host in hosts.iter().cloned().chain(own.iter().cloned()).chain(ported) {
                    prop_assert_eq!(names.matches(&host), regexp.matches(&host), "{} on {}", &text, &host);
                }
            }
        }
    }
}
