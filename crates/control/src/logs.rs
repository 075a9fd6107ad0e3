//! The last lines of every instance and build, and those who listen to new ones. Splitting and cleaning
//! is `text`; showing is the binary's.

use crate::feed::{Feed, Subscriber};
use crate::text::{LINE_BYTES_MAX, Lines};
use base::{Clock, UnixTime};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most lines kept of one instance.
const RING_LINES_MAX: usize = 1000;

/// Most bytes of text kept of one instance.
const RING_BYTES_MAX: usize = 1 << 20;

/// Read at once from a process.
const READ_BYTES: usize = 16 << 10;

/// One line that a process wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Counts all lines of all services in the order in which they came.
    pub number: u64,
    /// When it came; as microseconds since 1970 for machines.
    #[serde(rename = "at_us", serialize_with = "micros")]
    pub at: UnixTime,
    /// Whose line it is.
    pub service: String,
    /// Which of the service's instances, from 1; `None` for its build.
    pub instance: Option<u32>,
    /// Where it was written.
    pub stream: Stream,
    /// The text without its line end. May hold colours (ECMA-48 SGR) but no other control character than
    /// the tab.
    pub text: String,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Either, of the build.
    Build,
}

/// All lines that are kept.
#[derive(Debug)]
pub(crate) struct Logs {
    clock: Clock,
    kept: Mutex<Kept>,
    feed: Feed<Arc<Line>>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    rings: BTreeMap<(String, Option<u32>), Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
}

/// Where the lines of one process go.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(crate) logs: Arc<Logs>,
    pub(crate) service: String,
    pub(crate) instance: Option<u32>,
}

impl Logs {
    /// No lines yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, kept: Mutex::default(), feed: Feed::new() }
    }

    /// Everything written from now on.
    pub(crate) fn subscribe(&self) -> Subscriber<Arc<Line>> {
        self.feed.subscribe()
    }

    /// The number the next line will get: what is written later has this or a higher one.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().next
    }

    /// The last `tail` lines, of one service or of all, oldest first.
    pub(crate) fn last(&self, service: Option<&str>, tail: usize) -> Vec<Arc<Line>> {
        self.select(tail, |(name, _)| service.is_none_or(|service| service == name), 0)
    }

    /// The texts of the last `tail` lines of one instance (or build) since a mark.
    pub(crate) fn since(&self, service: &str, instance: Option<u32>, mark: u64, tail: usize) -> Vec<String> {
        let lines = self.select(tail, |(name, of)| name == service && *of == instance, mark);
        lines.iter().map(|line| line.text.clone()).collect()
    }

    /// Forgets the lines of a service that is no more.
    pub(crate) fn forget(&self, service: &str) {
        self.lock().rings.retain(|(name, _), _| name != service);
    }

    fn select(
        &self,
        tail: usize,
        wanted: impl Fn(&(String, Option<u32>)) -> bool,
        mark: u64,
    ) -> Vec<Arc<Line>> {
        let kept = self.lock();
        let mut lines: Vec<Arc<Line>> = kept
            .rings
            .iter()
            .filter(|(key, _)| wanted(key))
            .flat_map(|(_, ring)| ring.lines.iter().rev().take_while(|line| line.number >= mark).take(tail))
            .cloned()
            .collect();
        drop(kept);
        lines.sort_unstable_by_key(|line| line.number);
        lines.split_off(lines.len().saturating_sub(tail))
    }

    fn push(&self, service: &str, instance: Option<u32>, stream: Stream, text: String) {
        let at = self.clock.unix();
        let mut kept = self.lock();
        let number = kept.next;
        kept.next += 1;
        let line = Arc::new(Line { number, at, service: service.to_owned(), instance, stream, text });
        let ring = kept.rings.entry((line.service.clone(), instance)).or_default();
        ring.bytes += line.text.len();
        ring.lines.push_back(line.clone());
        while ring.lines.len() > RING_LINES_MAX || (ring.bytes > RING_BYTES_MAX && ring.lines.len() > 1) {
            if let Some(oldest) = ring.lines.pop_front() {
                ring.bytes -= oldest.text.len();
            }
        }
        // Published under the lock, so that subscribers hear the lines in the order of their numbers.
        self.feed.publish(&line, line.text.len());
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    /// Reads until the end and keeps every line. A read that fails ends it too: the process is gone then.
    pub(crate) async fn drink(&self, reader: Option<impl AsyncRead + Unpin>, stream: Stream) {
        let Some(mut reader) = reader else { return };
        let mut lines = Lines::default();
        let mut buffer = vec![0; READ_BYTES.min(LINE_BYTES_MAX)];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            lines.feed(&buffer[..read], |text| self.push(stream, text));
        }
        if let Some(text) = lines.finish() {
            self.push(stream, text);
        }
    }

    fn push(&self, stream: Stream, text: String) {
        self.logs.push(&self.service, self.instance, stream, text);
    }
}

/// Wall-clock time as machines read it: microseconds since 1970.
pub(crate) fn micros<S: Serializer>(at: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Heard;
    use std::time::Duration;

    fn logs() -> Arc<Logs> {
        let (clock, _) = Clock::by_hand(UnixTime(Duration::from_secs(5)));
        Arc::new(Logs::new(clock))
    }

    fn texts(lines: &[Arc<Line>]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn a_flood_leaves_its_last_lines_and_no_more() {
        let logs = logs();
        let tap = Tap { logs: logs.clone(), service: "web".to_owned(), instance: Some(1) };
        let flood: String = (0..5000).fold(String::new(), |all, n| all + &format!("line {n}\n"));
        tap.drink(Some(flood.as_bytes()), Stream::Stdout).await;
        let kept = logs.last(None, usize::MAX);
        assert_eq!((kept.len(), kept[0].text.as_str()), (RING_LINES_MAX, "line 4000"));
        let long = vec![b'x'; RING_BYTES_MAX * 3];
        tap.drink(Some(&long[..]), Stream::Stdout).await;
        let kept = logs.last(Some("web"), usize::MAX);
        assert!(kept.iter().map(|line| line.text.len()).sum::<usize>() <= RING_BYTES_MAX);
    }

    #[test]
    fn lines_of_several_services_come_in_their_order() {
        let logs = logs();
        let mut heard = logs.subscribe();
        logs.push("web", Some(1), Stream::Stdout, "a".to_owned());
        logs.push("cart", None, Stream::Build, "b".to_owned());
        let mark = logs.mark();
        logs.push("web", Some(2), Stream::Stderr, "c".to_owned());
        logs.push("web", Some(1), Stream::Stdout, "d".to_owned());
        assert_eq!(texts(&logs.last(None, 3)), ["b", "c", "d"]);
        assert_eq!(texts(&logs.last(Some("web"), 10)), ["a", "c", "d"]);
        assert_eq!(logs.since("web", Some(1), mark, 10), ["d"]);
        logs.forget("web");
        assert_eq!(texts(&logs.last(None, 10)), ["b"]);
        let Some(Heard::Item(first)) = heard.try_next() else { panic!("a subscriber hears every line") };
        assert_eq!(
            serde_json::to_string(&*first).unwrap(),
            r#"{"number":0,"at_us":5000000,"service":"web","instance":1,"stream":"stdout","text":"a"}"#
        );
    }
}
