//! A call as an operation sees it: the names in its path, its parameters checked by the operation's table, its
//! body with a bound.

use super::answer::Problem;
use super::table::{Operation, Parameter};
use super::{Api, bounds, browser};
use base::Kind;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use std::time::Duration;
use wire::{Body, RequestHead};

/// A call that is to be done.
pub(crate) struct Call {
    pub(crate) head: RequestHead,
    /// What stands in the path for each `{name}`, decoded.
    names: Vec<String>,
    parameters: Vec<(&'static Parameter, String)>,
}

impl Call {
    /// Reads path and query of a request for an operation.
    pub(crate) fn new(operation: &'static Operation, head: RequestHead) -> Result<Self, Problem> {
        let path = head.uri.path().strip_prefix(super::PREFIX).unwrap_or_default();
        let mut names = Vec::new();
        for (pattern, segment) in operation.path.split('/').zip(path.split('/')) {
            if pattern.starts_with('{') {
                names.push(decoded(segment)?);
            }
        }
        let mut parameters: Vec<(&'static Parameter, String)> = Vec::new();
        let query = head.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let (name, value) = (decoded(name)?, decoded(&value.replace('+', "%20"))?);
            let Some(parameter) = operation.parameters().find(|parameter| parameter.name == name) else {
                return Err(unknown(&name, operation));
            };
            if parameters.iter().any(|(given, _)| given.name == name) {
                return Err(Problem::invalid(format!("the parameter `{name}` is given twice")));
            }
            parameters.push((parameter, value));
        }
        Ok(Self { head, names, parameters })
    }

    /// What stands in the path for the nth `{name}`.
    pub(crate) fn name(&self, nth: usize) -> &str {
        self.names.get(nth).map_or("", String::as_str)
    }

    /// A field's first value.
    pub(crate) fn field(&self, name: impl wire::FieldName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter as it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(parameter, _)| parameter.name == name).map(|(_, value)| value.as_str())
    }

    /// A whole number of at least `least`.
    pub(crate) fn number(&self, name: &str, least: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(wrong(name, text, &format!("a whole number from {least}"))),
        }
    }

    /// How many at most, between 1 and a bound.
    pub(crate) fn limit(&self, usual: usize, most: usize) -> Result<usize, Problem> {
        let limit = self.number("limit", 1)?.map_or(usual, |limit| limit as usize);
        if limit > most {
            return Err(wrong("limit", &limit.to_string(), &format!("a whole number from 1 to {most}")));
        }
        Ok(limit)
    }

    /// `true` or `false`; a parameter without a value is true.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(wrong(name, other, "`true` or `false`")),
        }
    }

    /// A point in time (RFC 3339), in microseconds since the epoch.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Some(time.as_microsecond())),
            Err(_) => Err(wrong(name, text, "a time such as `2026-11-26T12:00:00Z`")),
        }
    }

    /// Seconds, which may have a fraction, up to a bound.
    pub(crate) fn seconds(&self, name: &str, most: Duration) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match seconds {
            Some(seconds) if seconds <= most => Ok(Some(seconds)),
            _ => Err(wrong(name, text, &format!("seconds from 0 to {}", most.as_secs()))),
        }
    }

    /// Whether the caller would rather have this type than JSON.
    pub(crate) fn accepts(&self, kind: &str) -> bool {
        self.field(ACCEPT).is_some_and(|accept| {
            accept.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == kind))
        })
    }

    /// Whether the body is one object a line.
    pub(crate) fn is_lines(&self) -> bool {
        self.field(CONTENT_TYPE).is_some_and(browser::is_lines)
    }

    /// The whole of its body.
    pub(crate) async fn bytes(&self, api: &Api, body: Body) -> Result<Bytes, Problem> {
        let large = body.exact_len().is_none_or(|length| length > bounds::LARGE_BODY_BYTES);
        // Nobody closes it; without a permit the call would only be less bounded.
        let _permit = if large { api.0.large.acquire().await.ok() } else { None };
        body.collect(bounds::BODY_BYTES_MAX).await.map_err(Problem::from)
    }

    /// A header of this call as a problem would be, where it is not text.
    pub(crate) fn strict_field(&self, name: HeaderName) -> Result<Option<&str>, Problem> {
        let Some(value) = self.head.headers.get(&name) else { return Ok(None) };
        match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Problem::invalid(format!("the field `{name}` holds more than visible ASCII"))),
        }
    }
}

fn decoded(text: &str) -> Result<String, Problem> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::invalid(format!("`{text}` is not UTF-8 when its `%` are undone"))),
    }
}

/// A parameter whose value makes no sense.
pub(crate) fn wrong(name: &str, value: &str, wanted: &str) -> Problem {
    Problem::invalid(format!("`{value}` is no value of the parameter `{name}`, which is {wanted}"))
        .with("parameter", name)
}

fn unknown(name: &str, operation: &'static Operation) -> Problem {
    let known: Vec<&str> = operation.parameters().map(|parameter| parameter.name).collect();
    let problem = Problem::new(Kind::Invalid, format!("there is no parameter `{name}` here"));
    match base::did_you_mean(name, known.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem.hint("it takes none"),
        None => problem.hint(format!("it takes {}", known.join(", "))),
    }
}
