//! Filters that answer, or change what was answered: status, content, another round.

use super::{Built, Example, Filter, FilterSpec, Step, plain, sniff};
use crate::answer::{Cause, Reason};
use crate::args::Args;
use crate::exchange::Exchange;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING,
};
use wire::Headers;
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "status",
        args: "code",
        docs: "Sets the status of the response, whatever the backend said. The body stays.",
        example: Example { filters: "status(418)", request: "GET /", saw: "GET /", got: "418\nhello" },
        build: |args, _| Ok(plain(Status(args.status("status")?))),
    },
    FilterSpec {
        name: "inlineContent",
        args: "text[, contentType]",
        docs: "Answers 200 with a text; the backend is not asked. Without a content type it is told from the \
               text's first bytes.",
        example: Example {
            filters: r#"inlineContent("{\"open\": true}", "application/json")"#,
            request: "GET /",
            saw: "-",
            got: "200\ncontent-type: application/json\ncontent-length: 14\n{\"open\": true}",
        },
        build: |args, _| Ok(plain(InlineContent(content(args)?))),
    },
    FilterSpec {
        name: "inlineContentIfStatus",
        args: "code, text[, contentType]",
        docs: "Puts a text in the place of the response's body if it has this status. The status and the other \
               headers stay.",
        example: Example {
            filters: r#"inlineContentIfStatus(404, "<h1>Not here</h1>") -> status(404)"#,
            request: "GET /",
            saw: "GET /",
            got: "404\ncontent-type: text/html; charset=utf-8\n<h1>Not here</h1>",
        },
        build: |args, _| {
            let status = matched_status(args)?;
            Ok(plain(ContentIfStatus { status, content: content(args)? }))
        },
    },
    FilterSpec {
        name: "loopbackIfStatus",
        args: "code, path",
        docs: "Sends the request round again with another path if the response has this status: routes are \
               looked up anew, and the answer found there takes this one's place. The query stays; the body is \
               gone by then.",
        example: Example {
            filters: r#"loopbackIfStatus(404, "/not-found")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhello",
        },
        build: |args, _| {
            let status = matched_status(args)?;
            Ok(plain(LoopbackIfStatus { status, path: args.text("path")?.to_owned() }))
        },
    },
    FilterSpec {
        name: "healthcheck",
        args: "",
        docs: "Sets the status of the response to 200. An older form of `status(200)`.",
        example: Example { filters: "healthcheck()", request: "GET /", saw: "GET /", got: "200\nhello" },
        build: |_, _| Ok(plain(Status(StatusCode::OK))),
    },
];

/// A status that a response is compared with.
fn matched_status(args: &mut Args<'_>) -> Result<StatusCode, String> {
    let number = args.whole("status", 100)?;
    let status = u16::try_from(number)
        .ok()
        .filter(|code| *code < 600)
        .and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| args.refuse("status", &format!("{number} is no status code, use 100 to 599")))
}

fn content(args: &mut Args<'_>) -> Result<Content, String> {
    let text = args.text("text")?;
    let kind = args.optional(|args| super::values::Value::read_fixed(args, "content type"))?;
    let kind = kind.unwrap_or_else(|| HeaderValue::from_static(sniff::content_type(text.as_bytes())));
    Ok(Content { bytes: Bytes::copy_from_slice(text.as_bytes()), kind })
}

struct Status(StatusCode);

impl Filter for Status {
    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        *response.status_mut() = self.0;
        Step::Next
    }
}

/// A body that is known when the route is built.
struct Content {
    bytes: Bytes,
    kind: HeaderValue,
}

impl Content {
    fn describe(&self, headers: &mut Headers) {
        headers.insert(CONTENT_TYPE, self.kind.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
    }
}

struct InlineContent(Content);

impl Filter for InlineContent {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let mut response = Response::new(Body::full(self.0.bytes.clone()));
        self.0.describe(response.headers_mut());
        exchange.notes.reason = Some(Reason::of(Cause::FILTER).by("inlineContent"));
        Step::Reply(response)
    }
}

struct ContentIfStatus {
    status: StatusCode,
    content: Content,
}

impl Filter for ContentIfStatus {
    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if response.status() == self.status {
            *response.body_mut() = Body::full(self.content.bytes.clone());
            let headers = response.headers_mut();
            // They were about the body that is gone.
            for name in [CONTENT_ENCODING, CONTENT_RANGE, TRANSFER_ENCODING] {
                headers.remove(name);
            }
            self.content.describe(headers);
        }
        Step::Next
    }
}

struct LoopbackIfStatus {
    status: StatusCode,
    path: String,
}

impl Filter for LoopbackIfStatus {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if response.status() == self.status {
            exchange.set_path(&self.path);
            exchange.notes.loop_back = true;
            // Why there was this answer is no longer of interest.
            exchange.notes.reason = None;
        }
        Step::Next
    }
}

/// A filter that does nothing.
pub(super) struct Nothing;

impl Filter for Nothing {}

/// Builds a filter that does nothing.
pub(super) fn nothing() -> Built {
    plain(Nothing)
}
