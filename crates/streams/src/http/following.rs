//! Reads that go on: one message a line until the last one, or as Server-Sent Events for ever. A follower is asked
//! for its next page only when it has taken the one before, so that a slow one costs no more than a page.

use super::answer::{Answered, Problem, typed};
use super::call::{Call, wrong};
use super::{Api, json};
use base::{Fault, Kind};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use std::io::Write as _;
use store::{Message, Page, Read, Scope, Watch};
use tokio::sync::OwnedSemaphorePermit;
use wire::Body;

/// Where a client that comes again wants to go on (HTML, section 9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Messages of one piece.
const PIECE_MESSAGES_MAX: usize = 500;

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One object a line, until there are no more.
    Lines,
    /// Server-Sent Events, for ever.
    Events,
}

/// A place among those who wait.
pub(crate) fn permit(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    api.0.followers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Unavailable, "too many wait for messages already").code("too_many_followers")
    })
}

/// Begins to write what is asked for, and goes on as it is taken.
pub(crate) fn answer(api: Api, call: &Call, mut read: Read, form: Form) -> Answered {
    let permit = permit(&api)?;
    let left = call.text("limit").map(|_| read.limit);
    let watch = match form {
        Form::Lines => None,
        Form::Events => {
            if read.direction == store::Direction::Backward {
                return Err(Problem::invalid("events come forward only"));
            }
            if let Some(id) = call.field(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
                let Ok(last) = id.parse::<i64>() else {
                    return Err(wrong("Last-Event-ID", id, "the position of a message"));
                };
                read.from = last.saturating_add(1);
            } else if call.text("from").is_none() && call.flag("new")? {
                read.from = i64::MAX;
            }
            // Before the first look, so that nothing falls between look and wait.
            Some(api.store.watch(read.scope.clone()))
        }
    };
    let follower = Follower { api, read, form, watch, left, began: false, ended: false, _permit: permit };
    let pieces = stream::unfold(follower, |mut follower| async move {
        let piece = follower.piece().await.transpose()?;
        Some((piece.map(Frame::data), follower))
    });
    let kind = if form == Form::Lines { "application/x-ndjson" } else { "text/event-stream" };
    let mut response = typed(StatusCode::OK, kind, Body::stream(StreamBody::new(pieces)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Follower {
    api: Api,
    read: Read,
    form: Form,
    watch: Option<Watch>,
    /// Messages still to be given; `None`: all.
    left: Option<usize>,
    /// The first piece of events has gone.
    began: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.ended {
            return Ok(None);
        }
        if self.form == Form::Events && !std::mem::replace(&mut self.began, true) {
            if self.read.from == i64::MAX {
                // Only what comes from now on: behind the last one that is there now.
                self.read.from = self.now().await?;
            }
            // A client knows by it that it is connected.
            return Ok(Some(Bytes::from_static(b": streams\n\n")));
        }
        loop {
            self.read.limit = self.left.unwrap_or(PIECE_MESSAGES_MAX).min(PIECE_MESSAGES_MAX);
            let page = self.api.store.read(self.read.clone()).await?;
            self.read.from = page.next;
            if let Some(left) = &mut self.left {
                *left -= page.messages.len();
            }
            let all = self.left == Some(0);
            if !page.messages.is_empty() {
                self.ended = all || (self.form == Form::Lines && !page.more);
                return Ok(Some(self.written(&page)));
            }
            if page.more {
                continue;
            }
            let Some(watch) = &mut self.watch else { return Ok(None) };
            let mut drain = self.api.drain.clone();
            tokio::select! {
                () = watch.changed() => {}
                () = self.api.clock.sleep(self.api.keep_alive) => return Ok(Some(Bytes::from_static(b":\n\n"))),
                () = drain.begun() => return Ok(None),
            }
        }
    }

    /// The first position that nobody has used yet.
    async fn now(&self) -> Result<i64, Fault> {
        match &self.read.scope {
            Scope::Stream(stream) => Ok(self.api.store.version(stream).await? + 1),
            Scope::Category(_) | Scope::All => Ok(self.api.store.head().await? + 1),
        }
    }

    fn written(&self, page: &Page) -> Bytes {
        let mut out = Vec::with_capacity(page.messages.len() * 256);
        for message in &page.messages {
            match self.form {
                Form::Lines => {
                    json::write_message(&mut out, message);
                    out.push(b'\n');
                }
                Form::Events => {
                    let id = self.position(message);
                    // A message is one line: its JSON has no line ends.
                    let _ = write!(out, "id: {id}\nevent: message\ndata: ");
                    json::write_message(&mut out, message);
                    out.extend_from_slice(b"\n\n");
                }
            }
        }
        out.into()
    }

    fn position(&self, message: &Message) -> i64 {
        match self.read.scope {
            Scope::Stream(_) => message.position,
            Scope::Category(_) | Scope::All => message.global_position,
        }
    }
}
