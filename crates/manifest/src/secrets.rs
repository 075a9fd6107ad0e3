//! What must not be shown: the values of variables, and passwords in URLs wherever they stand. Diagnostics print the
//! line they are about, so they are given a copy of the text with these made unreadable, its bytes and columns unchanged.

use base::{Source, Span};

/// A copy with these bytes hidden, and with them the passwords in URLs.
pub(crate) fn hide(source: &Source, spans: &[Span]) -> Source {
    let mut spans = spans.to_vec();
    spans.extend(passwords(&source.text));
    if spans.is_empty() {
        return source.clone();
    }
    Source::new(source.name.clone(), veiled(&source.text, spans))
}

/// A text whose URLs show no password.
pub(crate) fn without_passwords(text: &str) -> String {
    veiled(text, passwords(text).collect())
}

/// Where passwords stand in the URLs of a text, be they wrong ones or under a wrong key. Rather too much than too
/// little: some passwords hold a `/`.
fn passwords(text: &str) -> impl Iterator<Item = Span> + '_ {
    text.match_indices("://").filter_map(|(at, sign)| {
        let begin = at + sign.len();
        let url = text[begin..].split(|end: char| end.is_whitespace() || matches!(end, '"' | '\'')).next()?;
        let (user, _) = url.rsplit_once('@')?;
        let colon = user.find(':')?;
        Some(begin + colon + 1..begin + user.len())
    })
}

fn veiled(text: &str, mut spans: Vec<Span>) -> String {
    spans.sort_by_key(|span| span.start);
    let mut spans = spans.into_iter().peekable();
    let mut veiled = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        while spans.next_if(|span| span.end <= at).is_some() {}
        let hidden = spans.peek().is_some_and(|span| span.start <= at);
        veiled.push(if hidden { veil(character) } else { character });
    }
    veiled
}

/// A copy with everything hidden that looks like a variable's value, for a text that is no YAML: what follows
/// `env:` on its line, and after the first `:` or `=` in the lines indented deeper below it.
pub(crate) fn hide_guessed(source: &Source) -> Source {
    let mut spans = Vec::new();
    // How far the line with `env:` was indented, and how many of its braces are open.
    let mut block: Option<(usize, usize)> = None;
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start().len();
        let end = start + line.len();
        if block.is_some_and(|(outside, open)| {
            !line.trim().is_empty() && indentation <= outside && (open == 0 || indentation == 0)
        }) {
            block = None;
        }
        let from = match block {
            // Without either sign it is the rest of a value that goes over several lines.
            Some(_) => Some(line.find([':', '=']).map_or(0, |sign| sign + 1)),
            None => after_env(line),
        };
        if let Some(from) = from {
            spans.push(start + from..end);
            let (outside, open) = block.unwrap_or((indentation, 0));
            let signs = |sign: char| line[from..].matches(sign).count();
            block = Some((outside, (open + signs('{')).saturating_sub(signs('}'))));
        }
        start = end;
    }
    hide(source, &spans)
}

/// A copy that shows these bytes as `guessed` does: what is in no tree, nobody knows to be a variable.
pub(crate) fn take_over(source: &Source, guessed: &Source, spans: &[Span]) -> Source {
    let hidden: Vec<Span> = spans
        .iter()
        .filter_map(|span| {
            let (open, shut) = (source.text.get(span.clone())?, guessed.text.get(span.clone())?);
            let first = open.bytes().zip(shut.bytes()).position(|(open, shut)| open != shut)?;
            Some(span.start + first..span.end)
        })
        .collect();
    hide(source, &hidden)
}

/// Where the value of a key `env` or `environment` begins in a line.
fn after_env(line: &str) -> Option<usize> {
    ["env:", "env\":", "env':", "environment:"]
        .into_iter()
        .filter_map(|key| line.find(key).map(|at| at + key.len()))
        .min()
}

/// As many bytes and one column; line ends and blanks stay, so that the line keeps its form.
fn veil(character: char) -> char {
    match character {
        '\n' | '\r' | ' ' | '\t' => character,
        _ => match character.len_utf8() {
            1 => '*',
            2 => '\u{b7}',
            3 => '\u{2022}',
            _ => '\u{1f512}',
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_keeps_its_bytes_and_columns() {
        let source = Source::new("x", "A: s\u{e4}\u{20ac}\u{1f600} t\nB: open");
        let from = 3;
        let value = from..source.text.find('\n').unwrap();
        let hidden = hide(&source, std::slice::from_ref(&value));
        assert_eq!(&*hidden.text, "A: *\u{b7}\u{2022}\u{1f512} *\nB: open");
        assert_eq!(hidden.text.len(), source.text.len());
    }

    #[test]
    fn urls_show_no_password_and_everything_else() {
        let check = |text: &str, shown: &str| assert_eq!(without_passwords(text), shown);
        check("postgres://ada:s3/c@r@db:5432/x?a=b c:d@e", "postgres://ada:******@db:5432/x?a=b c:d@e");
        check("['http://a:b@c', \"x://:d@e\"]", "['http://a:*@c', \"x://:*@e\"]");
        for open in ["http://10.0.0.5:8080/a", "postgres://ada@db:5432/x", "a:b@c", "://", "://@", ""] {
            check(open, open);
        }
    }

    #[test]
    fn a_text_that_is_no_yaml_shows_no_variables() {
        let source = Source::new(
            "x",
            "web:\n  env:\n    KEY: top\n      secret\n\n    B=b\n  run: npm\n  x: {env: {A: b}}\n",
        );
        expect_test::expect![[r#"
            web:
              env:
                KEY: ***
                  ******

                B=*
              run: npm
              x: {env: *** ***
        "#]]
        .assert_eq(&hide_guessed(&source).text);
    }
}
