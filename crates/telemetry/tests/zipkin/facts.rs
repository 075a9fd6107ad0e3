//! The files of facts, and the times in them: `{us+N}` and `{ms+N}` stand for times from midnight of today.

use serde_json::Value;
use testkit::{Differences, conformance};

/// Midnight of today, in microseconds.
pub(crate) fn midnight_us() -> u64 {
    let now = base::Clock::system().unix().seconds();
    (now - now % 86_400) * 1_000_000
}

/// Puts the times in their places.
fn put_times(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(number) = whole(text) {
                *value = number.into();
            } else {
                *text = in_text(text);
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(put_times),
        Value::Object(fields) => fields.values_mut().for_each(put_times),
        _ => {}
    }
}

/// A text that is one time and nothing else.
fn whole(text: &str) -> Option<i64> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    time(inner)
}

fn time(inner: &str) -> Option<i64> {
    let (unit, offset) = inner.split_at_checked(2)?;
    let offset: i64 = offset.parse().ok()?;
    let midnight = i64::try_from(midnight_us()).unwrap();
    match unit {
        "us" => Some(midnight + offset),
        "ms" => Some(midnight / 1_000 + offset),
        _ => None,
    }
}

fn in_text(text: &str) -> String {
    let mut parts = text.split('{');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(inner, rest)| Some((time(inner)?, rest))) {
            Some((time, rest)) => whole.extend([time.to_string().as_str(), rest]),
            None => whole.extend(["{", part]),
        }
    }
    whole
}

/// Runs all cases of a file, at least so many, and prints those that differ.
pub(crate) fn check(file: &str, least: usize, mut case: impl FnMut(&Value) -> Result<(), String>) {
    let Some(mut data) = conformance(&format!("zipkin/{file}.json")) else { return };
    let Value::Array(mut cases) = data["cases"].take() else { panic!("{file} has no cases") };
    let mut differences = Differences::default();
    for one in &mut cases {
        put_times(one);
        differences.ran();
        if let Err(difference) = case(one) {
            differences.add(format!("{}: {difference}", one["name"].as_str().unwrap_or_default()));
        }
    }
    differences.finish(&format!("zipkin/{file}"), least);
}

/// What differs, if something does.
pub(crate) fn same(seen: &Value, expected: &Value) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("\n   seen {seen}\n   not  {expected}"))
}
