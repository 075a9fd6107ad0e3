//! Stories of canonical JSON, and properties that hold for any.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn check(given: &str, expected: Expect) {
    let text = match Json::parse(given) {
        Ok(json) => json.to_string(),
        Err(error) => format!("{}: {error}", error.kind.sqlstate()),
    };
    expected.assert_eq(&text);
}

#[test]
fn keys_stand_by_length_then_bytes_and_the_last_of_two_holds() {
    check(r#"{"b":1,"aa":2,"a":3}"#, expect![[r#"{"a": 3, "b": 1, "aa": 2}"#]]);
    check(r#"{"a":1,"b":{"y":1,"x":2},"a":[]}"#, expect![[r#"{"a": [], "b": {"x": 2, "y": 1}}"#]]);
    check(r#"{"\u0061":1,"a":2}"#, expect![[r#"{"a": 2}"#]]);
    check(r#" [ 1 , { } , [ ] ] "#, expect!["[1, {}, []]"]);
}

#[test]
fn numbers_keep_their_scale_and_lose_their_exponent() {
    check(
        "[1.0, -0, -0.0, 0.10, 1e2, 1.5e1, 1.25e1, 1E-3, -1.20e-2, 0e5, 0e-3, 0.001e2, 120e-1, 0.0e0]",
        expect!["[1.0, 0, 0.0, 0.10, 100, 15, 12.5, 0.001, -0.0120, 0, 0.000, 0.1, 12.0, 0.0]"],
    );
    check("123456789012345678901234567890.12", expect!["123456789012345678901234567890.12"]);
    assert_eq!(Json::parse("1e131071").unwrap().as_str().len(), 131_072);
    check("1e131072", expect!["22003: a number has too many digits at byte `0`"]);
    check("0e131072", expect!["0"]);
    check("1e-16384", expect!["22003: a number has too many digits at byte `0`"]);
    check("1e99999999999999999999", expect!["22003: a number has too many digits at byte `0`"]);
}

#[test]
fn strings_have_the_needed_escapes_only() {
    check(
        r#""\u0041\u00e9\ud83d\ude00\/\"\\\b\f\n\r\t\u0001\u001F""#,
        expect![[r#""Aé😀/\"\\\b\f\n\r\t\u0001\u001f""#]],
    );
    check(
        "\"a\nb\"",
        expect!["22P02: this is not JSON at byte `2`: Character with value 0x0a must be escaped"],
    );
    check(r#""\x""#, expect![[r#"22P02: this is not JSON at byte `3`: Escape sequence "\x" is invalid"#]]);
    check(
        r#""a\u0000""#,
        expect![[r#"22P05: a string holds `\u0000` at byte `8`: \u0000 cannot be converted to text"#]],
    );
    check(
        r#""\u00g0""#,
        expect![[r#"22P02: this is not JSON at byte `5`: "\u" must be followed by four hexadecimal digits"#]],
    );
    check(
        r#""\ud800""#,
        expect!["22P02: this is not JSON at byte `7`: Unicode low surrogate must follow a high surrogate"],
    );
    check(
        r#""\udc00x""#,
        expect!["22P02: this is not JSON at byte `7`: Unicode low surrogate must follow a high surrogate"],
    );
    check(
        r#""\ud800\ud800""#,
        expect![
            "22P02: this is not JSON at byte `13`: Unicode high surrogate must not follow a high surrogate"
        ],
    );
}

#[test]
fn what_is_not_json_is_told_in_postgresqls_words() {
    for (given, detail) in [
        ("", "The input string ended unexpectedly."),
        ("{", "The input string ended unexpectedly."),
        ("[1,", "The input string ended unexpectedly."),
        ("\"abc", "Token \"\"abc\" is invalid."),
        ("'a'", "Token \"'\" is invalid."),
        ("é", "Token \"é\" is invalid."),
        ("-", "Token \"-\" is invalid."),
        ("01", "Token \"01\" is invalid."),
        ("1.e5", "Token \"1.e5\" is invalid."),
        ("1e+", "Token \"1e+\" is invalid."),
        ("truly", "Token \"truly\" is invalid."),
        ("1 2", "Expected end of input, but found \"2\"."),
        ("}", "Expected JSON value, but found \"}\"."),
        ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
        ("[1,]", "Expected JSON value, but found \"]\"."),
        ("{1:2}", "Expected string or \"}\", but found \"1\"."),
        ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
        ("{\"a\":1 \"b\"}", "Expected \",\" or \"}\", but found \"\"b\"\"."),
        ("{\"a\":1,}", "Expected string, but found \"}\"."),
    ] {
        let error = Json::parse(given).unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (JsonErrorKind::Syntax, detail), "{given}");
    }
}

#[test]
fn depth_and_size_are_bounded_before_and_after() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    Json::parse(&nested(DEPTH_MAX)).unwrap();
    assert_eq!(Json::parse(&nested(DEPTH_MAX + 1)).unwrap_err().kind, JsonErrorKind::Depth);
    let string = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    Json::parse(&string(JSON_BYTES_MAX)).unwrap();
    assert_eq!(Json::parse(&string(JSON_BYTES_MAX + 1)).unwrap_err().kind, JsonErrorKind::Size);
    let swelling = format!("[{}1]", "1e131071,".repeat(1000));
    assert_eq!(Json::parse(&swelling).unwrap_err().kind, JsonErrorKind::Size);
}

#[test]
fn a_field_comes_out_as_text() {
    let json = Json::parse(
        r#"{"s":"a\n\"b\u0001","n":1.50,"o":{"s":[1,"}"]},"nothing":null,"k\"":true,"last":"x"}"#,
    )
    .unwrap();
    let field = |key| json.field(key).map(Cow::into_owned);
    assert_eq!(field("s").as_deref(), Some("a\n\"b\u{1}"));
    assert_eq!(field("n").as_deref(), Some("1.50"));
    assert_eq!(field("o").as_deref(), Some(r#"{"s": [1, "}"]}"#));
    assert_eq!(field("k\"").as_deref(), Some("true"));
    assert_eq!(field("last").as_deref(), Some("x"));
    assert_eq!((field("nothing"), field("none")), (None, None));
    assert_eq!(Json::parse("[1]").unwrap().field("s"), None);
    assert_eq!(Json::parse("{}").unwrap().field("s"), None);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[^\\x00]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[^\\x00]{0,3}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_means_the_same_and_is_its_own_canonical_text(value in any_json()) {
        let json = Json::parse(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
        prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(json.as_str()).unwrap(), &value);
        prop_assert_eq!(Json::parse(json.as_str()).unwrap(), json.clone());
        if let serde_json::Value::Object(map) = &value {
            for (key, value) in map {
                let expected = match value {
                    serde_json::Value::Null => None,
                    serde_json::Value::String(content) => Some(content.clone()),
                    other => Some(Json::parse(&other.to_string()).unwrap().to_string()),
                };
                prop_assert_eq!(json.field(key).map(Cow::into_owned), expected);
            }
        }
    }

    #[test]
    fn any_text_at_all_is_read_or_refused_as_serde_json_does(text in "[\\[\\]{}:,\"\\\\a-f0-9.eE+\\- tru\u{e9}]{0,24}") {
        let ours = Json::parse(&text).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        // Both refuse by grammar; serde_json refuses numbers beyond a float besides.
        prop_assert!(ours == theirs || text.contains(['e', 'E']), "ours {ours}, theirs {theirs}");
    }
}

/// Long enough that a word of eight bytes holds any part of it.
#[test]
fn strings_end_and_are_refused_wherever_in_them_it_happens() {
    for before in 0..20 {
        let plain: String = "é~x \u{7f}\u{80}".chars().cycle().take(before).collect();
        check_same(&format!("[\"{plain}\", \"{plain}\"]"));
        check_same(&format!("[\"{plain}\\\"\", \"{plain}\\\\\"]"));
        assert_eq!(Json::parse(&format!("\"{plain}\\u00e9\"")).unwrap().as_str(), format!("\"{plain}é\""));
        let error = Json::parse(&format!("\"{plain}\u{1f}long enough\"")).unwrap_err();
        assert_eq!(error.offset, 1 + plain.len());
        assert_eq!(error.detail, "Character with value 0x1f must be escaped.");
    }
}

fn check_same(canonical: &str) {
    assert_eq!(Json::parse(canonical).unwrap().as_str(), canonical);
}
