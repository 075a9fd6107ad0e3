//! Regular expressions in Go's (RE2's) dialect, on the crate `regex`. The dialects differ in small things:
//! `\Q..\E`, octal escapes, ASCII-only `\d \w \s \b`, literal `[` and `&&` in classes; these are rewritten
//! here, and what has no counterpart is refused.

use regex::{Regex, RegexBuilder, Replacer};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Most bytes of an expression's text.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the states an expression remembers while it runs, per thread.
const STATES_BYTES_MAX: usize = 512 << 10;
/// Deepest nesting of groups.
const NEST_MAX: u32 = 128;

/// A compiled regular expression. Matches anywhere in a text unless it is anchored.
#[derive(Clone, Debug)]
pub struct Regexp(Regex);

impl Regexp {
    /// Compiles an expression of Go's dialect.
    pub fn new(text: &str) -> Result<Self, String> {
        let rewritten = rewritten(text)?;
        let fail = |why: &str| format!("`{text}` is no regular expression: {why}");
        RegexBuilder::new(&rewritten)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(STATES_BYTES_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map(Self)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    fail(&format!("compiled it would take more than {COMPILED_BYTES_MAX} bytes"))
                }
                // The message ends with the reason; the lines before it show the rewritten text.
                other => {
                    fail(other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: "))
                }
            })
    }

    /// Whether the text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Whether the bytes match; what is not UTF-8 counts as U+FFFD, as in Go.
    pub fn matches_bytes(&self, bytes: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(bytes))
    }

    /// The text with all matches replaced; borrowed when there is none.
    pub fn replace_all<'t>(&self, text: &'t str, replacer: impl Replacer) -> Cow<'t, str> {
        self.0.replace_all(text, replacer)
    }
}

/// Compiled expressions by text, as long as somebody uses them. Routes of one host repeat its expression.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    by_text: HashMap<Box<str>, Weak<Regexp>>,
    /// Forgotten ones are swept when so many are held.
    sweep_at: usize,
}

impl Shared {
    pub(super) fn get(&self, text: &str) -> Result<Arc<Regexp>, String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.by_text.get(text).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let made = Arc::new(Regexp::new(text)?);
        if held.by_text.len() >= held.sweep_at {
            held.by_text.retain(|_, known| known.strong_count() > 0);
            held.sweep_at = (held.by_text.len() * 2).max(1024);
        }
        held.by_text.insert(text.into(), Arc::downgrade(&made));
        Ok(made)
    }
}

/// An expression of Go's dialect in that of the crate `regex`, for those who compile it their own way.
pub(crate) fn rewritten(text: &str) -> Result<Cow<'_, str>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the regular expression is longer than {TEXT_BYTES_MAX} bytes"));
    }
    rewrite(text).map_err(|why| format!("`{text}` is no regular expression: {why}"))
}

/// The expression in the dialect of the crate `regex`.
fn rewrite(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains(['\\', '[', '{', '(']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => escape(rest, &mut out)?,
            '[' => class(rest, &mut out)?,
            '(' => group(rest, &mut out)?,
            '{' if repetition(rest).is_none() => {
                out.push_str(r"\{");
                &rest[1..]
            }
            _ => {
                out.push(first);
                &rest[first.len_utf8()..]
            }
        };
    }
    Ok(Cow::Owned(out))
}

/// The length of `{n}`, `{n,}` or `{n,m}`; anything else behind `{` is literal in Go.
fn repetition(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let (least, most) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

/// `(`, and behind `(?` the flags and names that Go knows.
fn group<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    let Some(inside) = text.strip_prefix("(?") else {
        out.push('(');
        return Ok(&text[1..]);
    };
    if ["=", "!", "<=", "<!"].iter().any(|look| inside.starts_with(look)) {
        return Err("look-around such as `(?=` and `(?!` is not supported".to_owned());
    }
    let end = inside.find([':', ')', '<']).ok_or("a `(?` is not finished")?;
    let flags = &inside[..end];
    let named = inside[end..].starts_with('<') && matches!(flags, "" | "P");
    if !named && !flags.chars().all(|flag| "imsU-".contains(flag)) {
        return Err(format!("`(?{flags}` is no flag or group of Go's dialect"));
    }
    out.push_str("(?");
    out.push_str(&inside[..=end]);
    Ok(&inside[end + 1..])
}

/// An escape outside of a class.
fn escape<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    let letter = text[1..].chars().next().ok_or("it ends with a `\\`")?;
    match letter {
        'Q' => {
            let quoted = &text[2..];
            let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            return Ok(rest);
        }
        'C' => return Err("`\\C` (a single byte) is not supported".to_owned()),
        'A' | 'z' => out.push_str(&text[..2]),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        'd' | 's' | 'w' => out.extend(["[", ascii_class(letter), "]"]),
        'D' | 'S' | 'W' => out.extend(["[^", ascii_class(letter.to_ascii_lowercase()), "]"]),
        'p' | 'P' => return unicode_class(text, out),
        _ => {
            let (literal, rest) = escaped_char(text)?;
            out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
            return Ok(rest);
        }
    }
    Ok(&text[2..])
}

/// What `\d`, `\s` and `\w` stand for: ASCII only in Go.
fn ascii_class(letter: char) -> &'static str {
    match letter {
        'd' => "0-9",
        's' => r"\t\n\f\r ",
        _ => "0-9A-Za-z_",
    }
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}` and their negations.
fn unicode_class<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    let Some(named) = text[2..].strip_prefix('{') else {
        let letter = text[2..].chars().next().ok_or("`\\p` names no class")?;
        let end = 2 + letter.len_utf8();
        out.push_str(&text[..end]);
        return Ok(&text[end..]);
    };
    let (name, rest) = named.split_once('}').ok_or("`\\p{` is not finished")?;
    let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let upper = text.as_bytes()[1] == b'P';
    out.extend([if upper == negated { r"\p{" } else { r"\P{" }, name, "}"]);
    Ok(rest)
}

/// The character that an escape stands for, in a class or outside, and what follows the escape.
fn escaped_char(text: &str) -> Result<(char, &str), String> {
    let letter = text[1..].chars().next().ok_or("it ends with a `\\`")?;
    let rest = &text[1 + letter.len_utf8()..];
    let unknown = || format!("`\\{letter}` is no escape");
    let simple = match letter {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => {
            let (digits, rest) = match rest.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("`\\x{` is not finished")?,
                None => rest.split_at_checked(2).ok_or("`\\x` needs two hex digits")?,
            };
            let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            return code.map(|code| (code, rest)).ok_or_else(|| format!("`\\x{digits}` is no character"));
        }
        '0'..='7' => {
            let octal = |text: &str| text.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
            let more = octal(rest);
            // One digit alone is a back-reference, which Go does not have either.
            if letter != '0' && more == 0 {
                return Err(format!("back-references such as `\\{letter}` are not supported"));
            }
            let code = u32::from_str_radix(&text[1..2 + more], 8).ok().and_then(char::from_u32);
            return code.map(|code| (code, &rest[more..])).ok_or_else(unknown);
        }
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
        _ => return Err(unknown()),
    };
    Ok((simple, rest))
}

/// A class `[…]`: its literals are written so that nothing in them is an operator of the other dialect.
fn class<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    const UNFINISHED: &str = "a `[` has no `]`";
    out.push('[');
    let mut rest = &text[1..];
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut first = true;
    loop {
        match rest.chars().next().ok_or(UNFINISHED)? {
            ']' if !first => {
                out.push(']');
                return Ok(&rest[1..]);
            }
            '[' if rest.starts_with("[:") => {
                let end = rest.find(":]").ok_or(UNFINISHED)? + 2;
                let name = rest[2..end - 2].trim_start_matches('^');
                if !POSIX.contains(&name) {
                    return Err(format!("`[:{name}:]` is no character class"));
                }
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            '\\' => match rest[1..].chars().next() {
                Some(letter @ ('d' | 's' | 'w')) => {
                    out.push_str(ascii_class(letter));
                    rest = &rest[2..];
                }
                Some(letter @ ('D' | 'S' | 'W')) => {
                    out.extend(["[^", ascii_class(letter.to_ascii_lowercase()), "]"]);
                    rest = &rest[2..];
                }
                Some('p' | 'P') => rest = unicode_class(rest, out)?,
                _ => rest = range(rest, out)?,
            },
            _ => rest = range(rest, out)?,
        }
        first = false;
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// One character of a class, or a range of them.
fn range<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    let single = |text: &'a str| match text.chars().next() {
        Some('\\') => escaped_char(text),
        Some(plain) => Ok((plain, &text[plain.len_utf8()..])),
        None => Err("a `[` has no `]`".to_owned()),
    };
    let (low, rest) = single(text)?;
    push_literal(low, out);
    match rest.strip_prefix('-') {
        Some(behind) if !behind.is_empty() && !behind.starts_with(']') => {
            let (high, rest) = single(behind)?;
            if high < low {
                return Err(format!("the range `{low}-{high}` is backwards"));
            }
            out.push('-');
            push_literal(high, out);
            Ok(rest)
        }
        _ => Ok(rest),
    }
}

fn push_literal(literal: char, out: &mut String) {
    if literal.is_ascii_alphanumeric() || !literal.is_ascii() {
        out.push(literal);
    } else {
        let _ = write!(out, r"\x{{{:X}}}", u32::from(literal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, yes: &[&str], no: &[&str]) {
        let regexp = Regexp::new(text).unwrap();
        for subject in yes {
            assert!(regexp.matches(subject), "`{text}` should match {subject:?}");
        }
        for subject in no {
            assert!(!regexp.matches(subject), "`{text}` should not match {subject:?}");
        }
    }

    #[test]
    fn what_only_go_knows_is_rewritten() {
        check(r"^\Qa.b[\E+$", &["a.b[", "a.b[["], &["axb["]);
        check(r"^\Qa.b", &["a.bc"], &["aab"]);
        check(r"^\101\x42\x{43}\07$", &["ABC\x07"], &[]);
        check(r"^\d$", &["7"], &["\u{663}"]);
        check(r"^\w+$", &["a_1"], &["\u{e4}"]);
        check(r"^[\w\D]$", &["x", "!", "7"], &[""]);
        check(r"^\S$", &["\u{e4}", "\u{b}"], &[" ", "\t"]);
        check(r"\bb", &["a b", "\u{e4}b"], &["ab"]);
        check(r"a\Bb", &["ab"], &["a b"]);
        check(r"^\<\_\ \>$", &["<_ >"], &[]);
        check(r"^a{,3}$", &["a{,3}"], &["aaa"]);
        check(r"^a{2,3}$", &["aa", "aaa"], &["a"]);
        check(r"^{$", &["{"], &[]);
        check(r"^\p{Greek}\pL\p{^Greek}\P{^Greek}$", &["\u{3b1}xx\u{3b1}"], &["axx\u{3b1}"]);
        check(r"^(?i)shop\z", &["SHOP"], &["shop\n"]);
        check(r"(?P<a>x)(?<b>y)(?s:.)", &["xy\n"], &[]);
    }

    #[test]
    fn classes_hold_what_go_puts_into_them() {
        check(r"^[[a]+$", &["[a"], &["b"]);
        check(r"^[a&&b]+$", &["a&b"], &["c"]);
        check(r"^[a~~b]+$", &["a~b"], &["c"]);
        check(r"^[]a]+$", &["]a"], &["b"]);
        check(r"^[^]a]$", &["b"], &["]", "a"]);
        check(r"^[-a]+[a-]+$", &["--a-"], &["b"]);
        check(r"^[+--]+$", &["+,-"], &["."]);
        check(r"^[[:alpha:]\-.]+$", &["a-."], &["1"]);
        check(r"^[^[:^digit:]]$", &["1"], &["a"]);
        check(r"^[\]\\^]+$", &["]\\^"], &["a"]);
        check(r"^[a-c\d]+$", &["abc7"], &["d"]);
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        for (text, why) in [
            (r"^(?!4)", "look-around"),
            (r"\C", "single byte"),
            (r"a\1", "back-references"),
            (r"(?x)a", "no flag"),
            (r"\y", "no escape"),
            ("a\\", "ends with"),
            ("[a", "no `]`"),
            ("[[:foo:]]", "[:foo:]"),
            ("[b-a]", "backwards"),
            ("(a", "unclosed"),
            ("*", "repetition"),
            ("((a{900}){900}){900}", "more than"),
        ] {
            let error = Regexp::new(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Regexp::new(&"(".repeat(10_000)).is_err());
        assert!(Regexp::new(&"a".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn routes_share_an_expression_and_forgotten_ones_go() {
        let shared = Shared::default();
        let kept = shared.get("^a$").unwrap();
        assert!(Arc::ptr_eq(&kept, &shared.get("^a$").unwrap()));
        for n in 0..3000 {
            shared.get(&format!("^{n}$")).unwrap();
        }
        let held = shared.0.lock().unwrap().by_text.len();
        assert!(held <= 1025, "{held}");
        assert!(Arc::ptr_eq(&kept, &shared.get("^a$").unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_rewriting_panic(text in ".{0,24}") {
            let _ = Regexp::new(&text);
        }

        #[test]
        fn no_likely_text_makes_the_rewriting_panic(text in r"[\\\[\](){}^$a0-9?+*|:.QEdxp\-]{0,16}") {
            let _ = Regexp::new(&text);
        }
    }
}
