//! What a plain scalar is: nothing, a flag, a number or a text, by YAML 1.2's core schema.

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ScalarKind {
    Null,
    Flag(bool),
    Whole(i64),
    Fraction,
    Text,
}

/// What a plain scalar is (YAML 1.2.2 section 10.3.2). So `on`, `yes` and `1_000` are text, and `0755` is 755.
pub(super) fn kind_of(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" => return ScalarKind::Flag(true),
        "false" | "False" | "FALSE" => return ScalarKind::Flag(false),
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Fraction,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return ScalarKind::Fraction;
    }
    let whole = if let Some(digits) = text.strip_prefix("0o") {
        digits.bytes().all(|b| matches!(b, b'0'..=b'7')).then(|| i64::from_str_radix(digits, 8))
    } else if let Some(digits) = text.strip_prefix("0x") {
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| i64::from_str_radix(digits, 16))
    } else {
        (!unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>())
    };
    match whole {
        Some(Ok(number)) => ScalarKind::Whole(number),
        // More digits than any setting needs, or `0x` alone.
        Some(Err(_)) if unsigned.len() > 2 => ScalarKind::Fraction,
        Some(Err(_)) => ScalarKind::Text,
        None => {
            let begins =
                unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
            let fraction = begins
                && unsigned
                    .bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
                && unsigned.parse::<f64>().is_ok();
            if fraction { ScalarKind::Fraction } else { ScalarKind::Text }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        for (text, kind) in [
            ("on", ScalarKind::Text),
            ("off", ScalarKind::Text),
            ("yes", ScalarKind::Text),
            ("no", ScalarKind::Text),
            ("0755", ScalarKind::Whole(755)),
            ("0o17", ScalarKind::Whole(15)),
            ("0xff", ScalarKind::Whole(255)),
            ("0x", ScalarKind::Text),
            ("-12", ScalarKind::Whole(-12)),
            ("+-5", ScalarKind::Text),
            ("1_000", ScalarKind::Text),
            ("99999999999999999999", ScalarKind::Fraction),
            ("1.5", ScalarKind::Fraction),
            ("1e3", ScalarKind::Fraction),
            ("1.2.3", ScalarKind::Text),
            ("12:30", ScalarKind::Text),
            ("True", ScalarKind::Flag(true)),
            ("~", ScalarKind::Null),
            ("-.inf", ScalarKind::Fraction),
            ("nan", ScalarKind::Text),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
