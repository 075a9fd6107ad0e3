//! Whether a `tracestate` may be passed on (W3C Trace Context level 1, section 3.3.1): what other tracing
//! systems wrote is not ours to read, but what is malformed is not to be spread.

use http::HeaderValue;

/// Members of the list at most.
const MEMBERS_MAX: usize = 32;

/// Whether these headers together are one well-formed list, without a key twice.
pub(super) fn is_valid<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
    let mut keys = [""; MEMBERS_MAX];
    let mut count = 0;
    for header in headers {
        let Ok(text) = header.to_str() else {
            return false;
        };
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let Some((key, value)) = member.split_once('=') else {
                return false;
            };
            if count == MEMBERS_MAX || !is_key(key) || !is_value(value) || keys[..count].contains(&key) {
                return false;
            }
            keys[count] = key;
            count += 1;
        }
    }
    true
}

/// `simple` or `tenant@system`.
fn is_key(key: &str) -> bool {
    let is_name = |name: &str, digit_first: bool, length_max: usize| {
        let first = |b: u8| b.is_ascii_lowercase() || (digit_first && b.is_ascii_digit());
        let other = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(&b);
        name.len() <= length_max && name.bytes().next().is_some_and(first) && name.bytes().all(other)
    };
    match key.split_once('@') {
        None => is_name(key, false, 256),
        Some((tenant, system)) => is_name(tenant, true, 241) && is_name(system, false, 14),
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(headers: &[&str]) -> bool {
        let headers: Vec<_> = headers.iter().map(|text| HeaderValue::from_str(text).unwrap()).collect();
        is_valid(&headers)
    }

    #[test]
    fn lists_are_read_across_headers() {
        let many =
            |from: usize, to: usize| (from..=to).map(|i| format!("k{i}={i}")).collect::<Vec<_>>().join(",");
        for good in [
            &["foo=1 \t , \t bar=2, \t baz=3"] as &[&str],
            &["foo=1", "", "bar=2"],
            &["", " , "],
            &[&many(1, 20), &many(21, 32)],
            &["a/b*c-d_e0@sys= !#$%&'()*+-./:;<>?@[]^_`{|}~"],
            &[&format!("{}=1", "z".repeat(256))],
            &[&format!("0{}@{}=1", "t".repeat(240), "v".repeat(14))],
        ] {
            assert!(valid(good), "{good:?}");
        }
        for bad in [
            &["foo=1,foo=1"] as &[&str],
            &["foo=1", "foo=2"],
            &["foo =1"],
            &["FOO=1"],
            &["foo.bar=1"],
            &["0foo=1"],
            &["foo@=1"],
            &["@foo=1"],
            &["foo@@bar=1"],
            &["foo@bar@baz=1"],
            &["foo=bar=baz"],
            &["foo=,bar=3"],
            &["foo"],
            &[&many(1, 20), &many(21, 33)],
            &[&format!("{}=1", "z".repeat(257))],
            &[&format!("{}@v=1", "t".repeat(242))],
            &[&format!("t@{}=1", "v".repeat(15))],
            &[&format!("t={}", "v".repeat(257))],
        ] {
            assert!(!valid(bad), "{bad:?}");
        }
    }
}
