//! What filters of a route are told to log (`logHeader`, `logBody`, `absorb`): a line each in the log that
//! `auditLog` writes to as well. That one waits for nobody: what does not fit is dropped and counted.

use crate::filters::Handles;
use base::Clock;
use std::fmt::Write as _;
use telemetry::AccessLog;
use wire::Headers;

/// Bytes of one line at most; the rest is left out, which three dots show.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// The log of filters.
#[derive(Clone)]
pub(crate) struct FilterLog(Option<AccessLog>);

impl FilterLog {
    /// The log there is, or none.
    pub(crate) fn of(handles: &Handles) -> Self {
        Self(handles.audit.clone())
    }

    /// A line about a request on this route. Controls in the text can't end the line or steer a terminal.
    pub(crate) fn write(&self, clock: &Clock, route: &str, filter: &str, text: &str) {
        if let Some(log) = &self.0 {
            log.write_line(0, line(clock, route, filter, text).as_bytes());
        }
    }
}

fn line(clock: &Clock, route: &str, filter: &str, text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 64);
    let at = i64::try_from(clock.unix().seconds()).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let at = at.map_or_else(String::new, |at| at.to_string());
    let _ = write!(line, "{at} {filter} route={route} ");
    for char in text.chars() {
        if line.len() >= LINE_BYTES_MAX {
            line.push_str("...");
            break;
        }
        if char.is_control() || is_invisible(char) {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

/// Characters that reorder or hide others on a terminal.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The flow a request belongs to.
pub(crate) fn flow_id(headers: &Headers) -> Option<&str> {
    headers.get("x-flow-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;

    #[test]
    fn a_line_is_bounded_and_harmless() {
        let (clock, _hand) = Clock::by_hand(UnixTime(std::time::Duration::from_secs(1_700_000_000)));
        assert_eq!(
            line(&clock, "cart", "logBody", "a\nb\u{1b}[2J\u{202e}\u{e4}"),
            "2023-11-14T22:13:20Z logBody route=cart a\\nb\\u{1b}[2J\\u{202e}\u{e4}"
        );
        assert_eq!(
            line(&clock, "cart", "logBody", &"x".repeat(LINE_BYTES_MAX * 2)).len(),
            LINE_BYTES_MAX + 3
        );
    }
}
