//! What services print, line by line: as a page begins with it, and as it comes.

use crate::asked::Asked;
use crate::live::{event, events, permit};
use crate::problem::Problem;
use crate::{Console, services};
use bytes::Bytes;
use control::{Heard, Line, Stream, Subscriber};
use maud::{Markup, html};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use wire::{RequestHead, Response};

/// Lines that are looked back at when somebody begins to listen.
const BACK_MAX: usize = 1_000;
/// Lines of one piece.
const PIECE_MAX: usize = 200;
/// How often who listens hears that it is not forgotten.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A line as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Printed {
    pub(crate) at_us: u64,
    /// Which instance; none for a build.
    pub(crate) instance: Option<u32>,
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// A line without its colours.
pub(crate) fn printed(line: &Line) -> Printed {
    Printed {
        at_us: line.at.micros(),
        instance: line.instance,
        is_error: line.stream == Stream::Stderr,
        text: plain(&line.text),
    }
}

/// A text without what colours it (ECMA-48 SGR: `ESC [ … m`).
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}

/// A line as an entry of a list.
pub(crate) fn line(line: &Printed) -> Markup {
    let stamp = i64::try_from(line.at_us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    html! {
        li .err[line.is_error] {
            @if let Some(stamp) = stamp { time datetime=(stamp.to_string()) { (stamp.strftime("%H:%M:%S%.3f")) } }
            @match line.instance {
                Some(instance) => span.who { (instance) },
                None => span.who { "build" },
            }
            span.said { (line.text) }
        }
    }
}

/// Lines of a service as they come, from one on.
pub(crate) fn follow(console: &Console, asked: &Asked, head: &RequestHead) -> Result<Response, Problem> {
    services::may_read(&asked.viewer)?;
    let seen = head.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let seen: u64 = seen.and_then(|id| id.parse().ok()).unwrap_or(0);
    let service = services::find(console, asked.name(0))?.name;
    // A browser that lost its connection says what it saw last.
    let from = asked.number("from")?.unwrap_or(0).max(seen);
    let permit = permit(console)?;
    // Subscribed before the look back, so that no line falls between.
    let lines = console.supervisor.lines();
    let back = console.supervisor.logs(Some(&service), BACK_MAX);
    let following =
        Following { console: console.clone(), service, lines, back, from, began: false, _permit: permit };
    Ok(events(following, |mut following| async move { Some((following.piece().await?, following)) }))
}

struct Following {
    console: Console,
    service: String,
    lines: Subscriber<Arc<Line>>,
    back: Vec<Arc<Line>>,
    /// The number of the next line that is wanted.
    from: u64,
    began: bool,
    _permit: OwnedSemaphorePermit,
}

impl Following {
    async fn piece(&mut self) -> Option<Bytes> {
        let mut text = String::new();
        for line in std::mem::take(&mut self.back) {
            self.add(&line, &mut text);
        }
        if !std::mem::replace(&mut self.began, true) {
            // A browser knows by it that it is connected.
            text += ":\n\n";
            return Some(text.into());
        }
        loop {
            let mut drain = self.console.drain.clone();
            let heard = tokio::select! {
                heard = self.lines.next() => heard?,
                () = self.console.clock.sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b":\n\n")),
                () = drain.begun() => return None,
            };
            self.hear(&heard, &mut text);
            for _ in 1..PIECE_MAX {
                let Some(heard) = self.lines.try_next() else { break };
                self.hear(&heard, &mut text);
            }
            if !text.is_empty() {
                return Some(text.into());
            }
        }
    }

    fn hear(&mut self, heard: &Heard<Arc<Line>>, text: &mut String) {
        match heard {
            Heard::Item(line) => self.add(line, text),
            Heard::Missed(missed) => {
                let html = html! { li.missed { "(" (missed) " lines are left out here: this browser was too slow)" } };
                *text += &event("line", &serde_json::json!({ "id": "lines", "html": html.into_string() }));
            }
        }
    }

    fn add(&mut self, said: &Line, text: &mut String) {
        if said.service == self.service && said.number >= self.from {
            self.from = said.number + 1;
            let html = line(&printed(said)).into_string();
            let data = serde_json::json!({ "id": "lines", "html": html, "next": self.from });
            _ = write!(text, "id: {}\n{}", self.from, event("line", &data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_line_loses_its_colours_and_never_becomes_markup() {
        let said = Printed {
            at_us: 1_764_158_400_123_000,
            instance: Some(2),
            is_error: true,
            text: plain("\u{1b}[1;31mfailed\u{1b}[0m: <b>"),
        };
        expect![[r#"<li class="err"><time datetime="2025-11-26T12:00:00.123Z">12:00:00.123</time><span class="who">2</span><span class="said">failed: &lt;b&gt;</span></li>"#]].assert_eq(&line(&said).into_string());
    }
}
