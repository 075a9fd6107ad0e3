//! Shows what was carried without the secrets in it: fields of a head, queries, bodies. Names tell what is secret
//! (`wire::is_secret_name`), and so do the shapes of tokens and keys; a text may be cut off anywhere, and what is in
//! doubt is masked.

mod scan;
mod values;

use crate::access::uri::decode;
use http::header::{HeaderName, HeaderValue};
use scan::Scan;
use wire::{is_secret, is_secret_name};

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A target: a path with its query, in which the values of these keys are secret, too.
pub fn uri(uri: &str, keys: &[String]) -> String {
    match uri.split_once('?') {
        None => text(uri),
        Some((path, query)) => format!("{}?{}", text(path), pairs(query, keys)),
    }
}

/// The value of a head's field.
pub fn field(name: &HeaderName, value: &HeaderValue) -> String {
    if is_secret(name) { MASK.to_owned() } else { text(&String::from_utf8_lossy(value.as_bytes())) }
}

/// A body of this type, as far as it is there.
pub fn body(kind: &str, body: &str) -> String {
    let kind = kind.trim_start().to_ascii_lowercase();
    // Many send JSON as a form, since their tools say so by themselves.
    let is_pairs = !body.trim_start().starts_with(['{', '[', '"', '<']);
    if kind.starts_with("multipart/") {
        parts(body)
    } else if kind.starts_with("application/x-www-form-urlencoded") && is_pairs {
        pairs(body, &[])
    } else {
        text(body)
    }
}

/// Any text: JSON however deep it is quoted, XML, queries in addresses, lines of `name: value`.
pub fn text(text: &str) -> String {
    Scan::of(text).masked()
}

/// The pairs of a query or a form.
fn pairs(pairs: &str, keys: &[String]) -> String {
    let masked = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !value.is_empty() && is_key(&decode(key), keys) => format!("{key}={MASK}"),
        _ => text(pair),
    };
    pairs.split('&').map(masked).collect::<Vec<_>>().join("&")
}

fn is_key(key: &str, keys: &[String]) -> bool {
    is_secret_name(key) || keys.iter().any(|known| known == key)
}

/// A form in parts (RFC 7578): the names of parts stand in their heads.
fn parts(body: &str) -> String {
    let boundary = body.lines().next().unwrap_or_default().trim_end();
    if !boundary.starts_with("--") || boundary.len() < 3 {
        // The first part is cut off at its start, or it is none of this.
        return text(body);
    }
    let part = |part: &str| {
        let ends = ["\r\n\r\n", "\n\n"].map(|end| part.find(end).map(|at| at + end.len()));
        let (head, content) = part.split_at(ends.into_iter().flatten().min().unwrap_or(part.len()));
        let name = head.split_once("name=\"").and_then(|(_, rest)| rest.split('"').next());
        let is_secret = !content.is_empty() && name.is_some_and(is_secret_name);
        // The head names a secret, and holds none.
        if is_secret { format!("{head}{MASK}\r\n") } else { format!("{head}{}", text(content)) }
    };
    body.split(boundary).map(part).collect::<Vec<_>>().join(boundary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(kind: &str, given: &str, expected: &Expect) {
        expected.assert_eq(&body(kind, given).replace('\r', ""));
    }

    #[test]
    fn members_of_json_are_masked_by_their_names() {
        check(
            "application/json",
            r#"{"user":"ann","password":"a\"b","pin": 1234,"n":1.10,"token":null,"keys":[{"apiKey":{"a":["]x"]}},2]}"#,
            &expect![[
                r#"{"user":"ann","password":"***","pin": "***","n":1.10,"token":null,"keys":[{"apiKey":"***"},2]}"#
            ]],
        );
        // Cut off, escaped, quoted within another, spread over lines, and named by a value.
        check("", r#"{"a":1,"password":"hun"#, &expect![[r#"{"a":1,"password":"***"#]]);
        check("", r#"{"secrets":{"a":"#, &expect![[r#"{"secrets":"***""#]]);
        check(
            "",
            r#"{"pass\u0077ord":"x","api key":"y"}"#,
            &expect![[r#"{"pass\u0077ord":"***","api key":"***"}"#]],
        );
        check(
            "",
            r#"{"body":"{\"password\":\"a\\\"b\",\"n\":1}","k":2}"#,
            &expect![[r#"{"body":"{\"password\":\"***\",\"n\":1}","k":2}"#]],
        );
        check(
            "",
            "{\n  \"token\" :\n    \"x\",\n  \"a\": 1\n}",
            &expect![[r#"
            {
              "token" :
                "***",
              "a": 1
            }"#]],
        );
        check(
            "",
            r#"[{"name":"password","value":"x"},{"name":"city","value":"y"}]"#,
            &expect![[r#"[{"name":"password","value":"***"},{"name":"city","value":"y"}]"#]],
        );
    }

    #[test]
    fn queries_and_forms_are_masked_by_their_keys() {
        let own = ["email".to_owned()];
        let masked = |given: &str| uri(given, &own);
        for (given, expected) in [
            ("/a", "/a"),
            ("/a?x=1&%74oken=ab%20c&y", "/a?x=1&%74oken=***&y"),
            ("/a?email=a@b&access_token=&q=token", "/a?email=***&access_token=&q=token"),
            ("/a?next=%2Fb%3Ftoken%3Dabc%26x%3D1", "/a?next=%2Fb%3Ftoken%3D***%26x%3D1"),
            ("/to?url=https://ann:pw@shop.example/x", "/to?url=https://***@shop.example/x"),
            (
                "/to?url=https%3A%2F%2Fann%3Apw%40shop.example%2Fx",
                "/to?url=https%3A%2F%2F***%40shop.example%2Fx",
            ),
            ("/reset/eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", "/reset/***"),
        ] {
            assert_eq!(masked(given), expected);
        }
        let form = "application/x-www-form-urlencoded";
        check(form, "user=ann&user[password]=a b;\"c&x=1", &expect!["user=ann&user[password]=***&x=1"]);
        check(form, r#"{"password":"a&b"}"#, &expect![[r#"{"password":"***"}"#]]);
    }

    #[test]
    fn other_texts_are_masked_as_well() {
        check(
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n12\r\n--34\r\n--x\r\n\
             Content-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--",
            &expect![[r#"
                --x
                Content-Disposition: form-data; name="pin"

                ***
                --x
                Content-Disposition: form-data; name="a"

                b
                --x--"#]],
        );
        check(
            "text/xml",
            "<a><Password kind=\"x\">p&lt;</Password><token/><b>c</b><d pwd='1 2' e='3'/></a>",
            &expect![[r#"<a><Password kind="x">***</Password><token/><b>c</b><d pwd='***' e='3'/></a>"#]],
        );
        check(
            "text/html",
            r#"<input name="csrf_token" value="ab"><input name="q" value="c">"#,
            &expect![[r#"<input name="csrf_token" value="***"><input name="q" value="c">"#]],
        );
        check(
            "text/plain",
            "password: a \"b, c\nAuthorization: Bearer abc\nuser = ann\nsecret = x y\nsee Bearer abcdef.x and go",
            &expect![[r#"
                password: ***
                Authorization: ***
                user = ann
                secret = ***
                see Bearer *** and go"#]],
        );
        check(
            "",
            "key: |\n  a\npassword: |\n  b\n  c",
            &expect![[r#"
            key: |
              a
            password: ***"#]],
        );
        check(
            "",
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n",
            &expect![[r#"
                -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----
            "#]],
        );
        check("", "ümlaut: ä, no tokens here", &expect!["ümlaut: ä, no tokens here"]);
        // Spaces of more than a byte, and what no escape is followed by.
        check("", "<\u{a0}^: b, <a\u{2003}pwd='c'>", &expect!["<\u{a0}^: b, <a\u{2003}pwd='***'>"]);
        check("", "{\"\\épassword\": \"x\"}", &expect![[r#"{"\épassword": "***"}"#]]);
    }

    #[test]
    fn fields_are_masked_by_their_names_and_by_what_they_hold() {
        let masked = |name: &'static str, value: &'static str| {
            field(&HeaderName::from_static(name), &HeaderValue::from_static(value))
        };
        assert_eq!(masked("authorization", "Basic YW5uOnB3"), "***");
        assert_eq!(masked("x-request-id", "7"), "7");
        assert_eq!(masked("referer", "https://a:b@c.example/?token=x"), "https://***@c.example/?token=***");
        assert_eq!(masked("www-authenticate", "Bearer realm=\"shop\""), "Bearer realm=\"shop\"");
    }
}
