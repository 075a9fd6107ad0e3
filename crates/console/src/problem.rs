//! Why a page is not shown: with the code and the hint that the API and the command line give.

use crate::{Console, answer, frame};
use base::{Fault, Kind};
use http::StatusCode;
use maud::html;
use wire::Response;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    text: String,
    hint: Option<String>,
}

impl Problem {
    /// A problem of this kind; status and code follow from it.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
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
        Self { status, code, text: text.into(), hint: None }
    }

    /// What was asked makes no sense.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, text)
    }

    /// What was asked for is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, text)
    }

    /// Another status than the kind's.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is the matter, in a sentence.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As a part of a page, such as above a form whose input was wrong.
    pub(crate) fn render(&self) -> maud::Markup {
        html! {
            div.problem role="alert" {
                p { strong { "error" } " " code { (self.code) } ": " (self.text) }
                @if let Some(hint) = &self.hint { p { strong.hint { "hint" } ": " (hint) } }
            }
        }
    }

    pub(crate) fn into_json(self) -> Response {
        let value = serde_json::json!({ "error": self.text, "code": self.code, "hint": self.hint });
        answer::json(self.status, value.to_string())
    }

    pub(crate) fn into_page(self, console: &Console) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error").to_owned();
        let body = html! { h1 { (title) } (self.render()) p { a href="/" { "To the overview" } } };
        let about = console.about();
        let frame = frame::Frame { name: &about.name, title: &title, ..frame::Frame::default() };
        let page = frame::page(&frame, &body);
        answer::html(self.status, page)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let hint = fault.hint.clone();
        Self { hint, ..Self::new(fault.kind, fault.to_string()) }
    }
}
