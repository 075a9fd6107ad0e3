//! Path templates as `apiUsageMonitoring` takes them (`orders/:id`, `orders/{id}/lines/{line?}`): what one is called
//! among the metrics, and which paths are its.

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Variable { name: &'t str, may_be_empty: bool },
}

/// The template as metrics name it: without slashes around it or doubled ones, and all variables in braces.
pub(super) fn label(template: &str) -> String {
    let mut label = String::with_capacity(template.len());
    for (number, segment) in segments(template).enumerate() {
        if number > 0 {
            label.push('/');
        }
        // The slash before the first segment is no part of the name, so Skipper sees no `/:` there.
        for piece in pieces(segment, number > 0) {
            match piece {
                Piece::Text(text) => label.push_str(text),
                Piece::Variable { name, .. } => label.extend(["{", name, "}"]),
            }
        }
    }
    label
}

/// A regular expression for the decoded paths that are the template's. Slashes around them and doubled ones make no
/// difference; a variable may hold slashes.
pub(super) fn pattern(template: &str) -> String {
    let mut pattern = String::from("^/*");
    for (number, segment) in segments(template).enumerate() {
        if number > 0 {
            pattern.push_str("/+");
        }
        for piece in pieces(segment, number > 0 || template.starts_with('/')) {
            match piece {
                Piece::Text(text) => escape(text, &mut pattern),
                Piece::Variable { may_be_empty, .. } => {
                    pattern.push_str(if may_be_empty { ".*" } else { ".+" });
                }
            }
        }
    }
    pattern.push_str("/*$");
    pattern
}

fn segments(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter(|segment| !segment.is_empty())
}

/// The pieces of a segment. `:name` is a variable at its beginning, behind a slash; `{name}` is one anywhere, and so is
/// `{name?}`, which may be empty. Braces without a partner are text.
fn pieces(segment: &str, behind_slash: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    if let Some(named) = rest.strip_prefix(':').filter(|_| behind_slash) {
        let end = named.find([':', '{', '}']).unwrap_or(named.len());
        let name = named[..end].trim_end_matches('?');
        pieces.push(Piece::Variable { name, may_be_empty: false });
        rest = &named[end..];
    }
    while let Some(close) = rest.find('}') {
        match rest[..close].rfind('{') {
            Some(open) => {
                let inside = &rest[open + 1..close];
                let name = inside.strip_suffix('?').unwrap_or(inside);
                pieces.push(Piece::Text(&rest[..open]));
                pieces.push(Piece::Variable { name, may_be_empty: name.len() < inside.len() });
            }
            None => pieces.push(Piece::Text(&rest[..=close])),
        }
        rest = &rest[close + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// Adds a text to an expression that matches it and nothing else.
fn escape(text: &str, pattern: &mut String) {
    for char in text.chars() {
        if ".*+?\\{}[]()|^$".contains(char) {
            pattern.push('\\');
        }
        pattern.push(char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicates::Regexp;
    use proptest::prelude::*;

    /// The label, then each path that is asked for with `+` if it is the template's.
    fn check(template: &str, expected: &str) {
        let matcher = Regexp::new(&pattern(template)).unwrap();
        let mut words = expected.split(' ');
        assert_eq!(label(template), words.next().unwrap(), "label of {template}");
        for word in words {
            let (is_its, path) = (word.starts_with('+'), &word[1..]);
            assert_eq!(matcher.matches(path), is_its, "{template} {path} ({})", pattern(template));
        }
    }

    #[test]
    fn templates_have_names_and_paths() {
        check("orders", "orders +/orders +/orders/ +//orders// -/orders/1 -/order -/my/orders");
        check("/orders/:id/", "orders/{id} +/orders/1 +/orders//1/ +/orders/1/2 -/orders -/orders/");
        check("orders/{id}/lines/{line?}", "orders/{id}/lines/{line} +/orders/1/lines/2 +/orders/1/lines/");
        check("a//b/{id}.json", "a/b/{id}.json +/a/b/7.json +/a//b/7.json -/a/b/7xjson -/a/b/.json");
        check("v1.0/{a}-{b}", "v1.0/{a}-{b} +/v1.0/x-y -/v1x0/x-y -/v1.0/-");
        check("/:all", ":all +/x +/x/y +/");
        check(":all", ":all +/:all -/x");
        check("a/:x{y}", "a/{x}{y} +/a/bc -/a/b");
        check("a/{b", "a/{b +/a/{b -/a/b");
        check("a/}{b}", "a/}{b} +/a/}x -/a/x");
        check("a(b)|c", "a(b)|c +/a(b)|c -/ab -/c");
        check("", " +/ +// -/a");
        check("/", " +/ -/a");
    }

    proptest! {
        #[test]
        fn any_template_makes_an_expression_of_its_own_path(template in r"[a-z/:{}?.*+\\()|^$\[\]-]{0,40}") {
            let matcher = Regexp::new(&pattern(&template)).unwrap();
            if !template.contains([':', '{']) {
                prop_assert!(matcher.matches(&template), "{template} {}", pattern(&template));
            }
            label(&template);
        }
    }
}
