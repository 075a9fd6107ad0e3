//! Answers: JSON with a status, and problems with a text, a hint and a code for machines. One place turns faults
//! into replies.

use base::{Fault, Kind, Retry};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};
use store::AppendError;
use wire::{Body, Response};

/// What a call answers.
pub(crate) type Answered = Result<Response, Problem>;

/// Why a call was not done.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    text: String,
    hint: Option<String>,
    /// Fields beside those that every problem has.
    more: Vec<(&'static str, Value)>,
    retry_after: bool,
}

impl Problem {
    /// A problem of this kind; status and code follow from it.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        let (status, code) = match kind {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Kind::Conflict => (StatusCode::CONFLICT, "conflict"),
            Kind::Refused => (StatusCode::FORBIDDEN, "refused"),
            Kind::TooMuch => (StatusCode::PAYLOAD_TOO_LARGE, "too_much"),
            Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            Kind::Unavailable | Kind::Io => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Kind::Bug => (StatusCode::INTERNAL_SERVER_ERROR, "bug"),
        };
        Self { status, code, text: text.into(), hint: None, more: Vec::new(), retry_after: false }
    }

    /// What was given makes no sense.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, text)
    }

    /// Another status than the kind's.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Another code than the kind's.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// Puts words before the text.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    /// As an object.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = json!({ "error": self.text, "code": self.code });
        if let Some(hint) = &self.hint {
            object["hint"] = hint.as_str().into();
        }
        for (name, value) in &self.more {
            object[*name] = value.clone();
        }
        object
    }

    /// As an answer.
    pub fn into_response(self) -> Response {
        let mut response = json_answer(self.status, self.to_json().to_string());
        if self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let mut problem = Self::new(fault.kind, fault.to_string());
        problem.hint = fault.hint;
        // Our own disk or database: the call was right, and may be made again as the fault says.
        problem.retry_after = problem.status == StatusCode::SERVICE_UNAVAILABLE && fault.retry != Retry::No;
        problem
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let text = error.to_string();
        match error {
            AppendError::WrongVersion { stream, expected, actual } => Self::new(Kind::Conflict, text)
                .code("wrong_expected_version")
                .with("stream_name", stream)
                .with("expected", expected)
                .with("actual", actual),
            AppendError::DuplicateId { id } => Self::new(Kind::Conflict, text)
                .code("duplicate_id")
                .hint("with an `Idempotency-Key` a repeated call gets its first answer")
                .with("id", id.to_string()),
            AppendError::Refused(fault) | AppendError::Failed(fault) => fault.into(),
        }
    }
}

/// JSON with a status.
pub(crate) fn json_answer(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response {
    typed(status, "application/json", Body::full(text))
}

/// A body of a type.
pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// JSON of a value.
pub(crate) fn value(value: &Value) -> Response {
    json_answer(StatusCode::OK, value.to_string())
}
