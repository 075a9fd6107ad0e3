//! What a service answers when it can't do as asked: a status and a JSON object that says why.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::fmt;

/// `{"error": ..., "hint": ...}` with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// What is wrong, for people.
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Promises that nothing was done and that the caller may come again after so many seconds.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), hint: None, retry_after_s: None }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the promise of `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = match &self.hint {
            Some(hint) => json!({ "error": self.error, "hint": hint }),
            None => json!({ "error": self.error }),
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
