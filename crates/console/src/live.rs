//! What changes while somebody looks, as Server-Sent Events: a page is made again and again, and those of its parts
//! that differ from what was sent last go to the viewer. A viewer that is slow is asked for less, not kept waiting for.

use crate::asked::Asked;
use crate::pages::Page;
use crate::problem::Problem;
use crate::{Console, answer};
use base::Kind;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use wire::{Body, Response};

/// How often a page is made again.
const EVERY: Duration = Duration::from_secs(2);
/// How many times without a change before a viewer hears that it is not forgotten.
const SILENT_MAX: u32 = 7;

/// A place among those who are told of changes.
pub(crate) fn permit(console: &Console) -> Result<OwnedSemaphorePermit, Problem> {
    console.0.live.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Unavailable, "too many watch already").hint("close a window that nobody looks at")
    })
}

/// An event; the data is JSON and so has no line ends.
pub(crate) fn event(name: &str, data: &serde_json::Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// An answer that goes on.
pub(crate) fn events<S, F>(state: S, next: impl FnMut(S) -> F + Send + 'static) -> Response
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    use futures_util::StreamExt as _;
    let pieces = stream::unfold(state, next).map(|piece| Ok(Frame::data(piece)));
    answer::typed(StatusCode::OK, "text/event-stream", Body::stream(StreamBody::new(pieces)))
}

/// Tells what changes of a page.
pub(crate) fn parts(console: &Console, page: &'static Page, asked: Asked) -> Result<Response, Problem> {
    let watching = Watching {
        console: console.clone(),
        page,
        asked,
        sent: BTreeMap::new(),
        began: false,
        ended: false,
        _permit: permit(console)?,
    };
    Ok(events(watching, |mut watching| async move { Some((watching.piece().await?, watching)) }))
}

struct Watching {
    console: Console,
    page: &'static Page,
    asked: Asked,
    /// What was sent last of each part.
    sent: BTreeMap<&'static str, String>,
    began: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    async fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !std::mem::replace(&mut self.began, true) {
            // What the page itself had may be old by now, so the first turn comes at once.
            return Some(self.changes().await.unwrap_or_else(|| Bytes::from_static(b":\n\n")));
        }
        for _ in 0..SILENT_MAX {
            let mut drain = self.console.drain.clone();
            tokio::select! {
                () = self.console.clock.sleep(EVERY) => {}
                () = drain.begun() => return None,
            }
            if let Some(changes) = self.changes().await {
                return Some(changes);
            }
        }
        Some(Bytes::from_static(b":\n\n"))
    }

    async fn changes(&mut self) -> Option<Bytes> {
        let Ok(view) = (self.page.show)(self.console.clone(), self.asked.clone()).await else {
            // The page says why when it is asked for again.
            self.ended = true;
            return Some(event("gone", &serde_json::json!({})).into());
        };
        let mut text = String::new();
        for (id, part) in view.live(&self.asked.viewer) {
            let html = part.into_string();
            if self.sent.get(id) != Some(&html) {
                text += &event("part", &serde_json::json!({ "id": id, "html": html }));
                self.sent.insert(id, html);
            }
        }
        (!text.is_empty()).then(|| text.into())
    }
}
