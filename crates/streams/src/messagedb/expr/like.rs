//! `LIKE`.

use crate::messagedb::error::{Sql, SqlError};

/// Bytes of a pattern: what a look takes grows with it and with the text.
const PATTERN_BYTES_MAX: usize = 1_000;

/// `LIKE`: `%` is any text, `_` any character, a backslash takes the next as it is.
pub(super) fn like(text: &str, pattern: &str) -> Sql<bool> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let text = format!("a LIKE pattern has at most {PATTERN_BYTES_MAX} bytes");
        return Err(SqlError::new("54000", text));
    }
    let mut parts: Vec<Option<char>> = Vec::new();
    let mut any: Vec<usize> = Vec::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '%' => {
                if any.last() != Some(&parts.len()) {
                    any.push(parts.len());
                }
            }
            '_' => parts.push(None),
            '\\' => match rest.next() {
                Some(escaped) => parts.push(Some(escaped)),
                None => {
                    return Err(SqlError::new("22025", "LIKE pattern must not end with escape character"));
                }
            },
            other => parts.push(Some(other)),
        }
    }
    let text: Vec<char> = text.chars().collect();
    let fits = |part: &[Option<char>], at: usize| {
        part.len() + at <= text.len()
            && part.iter().zip(&text[at..]).all(|(part, c)| part.is_none_or(|part| part == *c))
    };
    let Some((first, last)) = any.first().zip(any.last()) else {
        return Ok(parts.len() == text.len() && fits(&parts, 0));
    };
    let (head, tail) = (&parts[..*first], &parts[*last..]);
    if head.len() + tail.len() > text.len() || !fits(head, 0) || !fits(tail, text.len() - tail.len()) {
        return Ok(false);
    }
    // Between two `%`, the first place that fits is as good as any.
    let (mut at, end) = (head.len(), text.len() - tail.len());
    for between in any.windows(2) {
        let part = &parts[between[0]..between[1]];
        match (at..=end).find(|at| at + part.len() <= end && fits(part, *at)) {
            Some(found) => at = found + part.len(),
            None => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_takes_any_text_and_any_character() {
        for (text, pattern, expected) in [
            ("account-1", "account%", true),
            ("account-1", "%count%", true),
            ("account-1", "%count", false),
            ("account-1", "account__", true),
            ("account-1", "account_", false),
            ("aXbXc", "a%X%c", true),
            ("ab", "%a%b%", true),
            ("ab", "%b%a%", false),
            ("100%", "100\\%", true),
            ("100x", "100\\%", false),
            ("é", "_", true),
            ("", "%", true),
            ("", "", true),
            ("a", "", false),
            ("aa", "a%a%a", false),
        ] {
            assert_eq!(like(text, pattern).unwrap(), expected, "{text} LIKE {pattern}");
        }
        assert_eq!(like("a", "a\\").unwrap_err().code, "22025");
        assert!(like("a", &"%".repeat(PATTERN_BYTES_MAX)).unwrap());
        assert_eq!(like("a", &"%".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err().code, "54000");
    }
}
