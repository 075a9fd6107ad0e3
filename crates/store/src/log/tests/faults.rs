//! Bad days of a disk, thousands of them, each replayed by its seed: whatever goes wrong, what was acknowledged
//! is there afterwards, what was refused is not, and nothing is half there.

use super::sim::{SimDisk, Trouble};
use super::{all_messages, message};
use crate::log::call::{Answered, Call, Command, Request};
use crate::log::open;
use crate::log::verify::verify_disk;
use crate::log::writer::Writer;
use crate::{Append, AppendError, LogOptions, Memory, Message, NewMessage, Removal, Store};
use base::{Chance, Clock, ClockHand, Fault, Retry, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Small, so that a few dozen appends fill several segments.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 6 << 10,
    segment_messages: 25,
    filter_bytes: 1 << 20,
    runs_in_filter: 3,
    background: false,
};

/// One store, driven without threads so that a seed replays it, beside its oracle.
struct Day {
    disk: SimDisk,
    clock: Clock,
    hand: ClockHand,
    chance: Chance,
    oracle: Store,
    ids: u128,
    used_ids: Vec<u128>,
    /// A removal that failed in its middle.
    half_removed: Option<Removal>,
}

/// What became of a call.
enum Outcome {
    /// As the oracle says.
    Known,
    /// It may be there after the next opening.
    Unknown(Vec<Append>),
}

impl Day {
    fn new(seed: u64) -> Self {
        let chance = Chance::seeded(seed);
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_000)));
        let oracle = Store::new(Memory::new(clock.clone()));
        Self {
            disk: SimDisk::new(chance.fork()),
            clock,
            hand,
            chance,
            oracle,
            ids: 0,
            used_ids: Vec::new(),
            half_removed: None,
        }
    }

    fn append(&mut self) -> Append {
        let stream = format!("{}-{}", ["a", "b"][self.chance.below(2)], self.chance.below(4));
        let count = 1 + self.chance.below(4);
        let messages: Vec<NewMessage> = (0..count).map(|_| self.message()).collect();
        let expected_version = match self.chance.below(4) {
            0 => Some(self.chance.below(30) as i64 - 1),
            1 => Some(now(self.oracle.version(&stream)).unwrap()),
            _ => None,
        };
        Append { stream, expected_version, messages }
    }

    fn message(&mut self) -> NewMessage {
        let is_again = self.chance.below(40) == 0 && !self.used_ids.is_empty();
        let id = if is_again { self.used_ids[self.chance.below(self.used_ids.len())] } else { self.ids };
        self.ids += 1;
        self.used_ids.push(id);
        let long = if self.chance.below(10) == 0 { 1500 } else { 60 };
        message(id, &format!("\"{}\"", "x".repeat(self.chance.below(long))))
    }

    /// Appends a group of calls. Answers those of which nobody knows what became.
    fn group(&mut self, writer: &mut Writer) -> Vec<Vec<Append>> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut waiting = Vec::new();
        for _ in 0..=self.chance.below(8) {
            let appends: Vec<Append> = (0..=self.chance.below(3)).map(|_| self.append()).collect();
            let call = Call::new(&appends, 0);
            sender.send(Command::Append(Request::new(call.clone(), None))).ok().unwrap();
            waiting.push((appends, call));
        }
        self.hand.advance(Duration::from_millis(3));
        // Small ones, so that several groups are under way at once.
        (writer.beside_from, writer.group_bytes_max) =
            (1 + self.chance.below(3), 16 << self.chance.below(10));
        while let Ok(first) = receiver.try_recv() {
            writer.turn(first, &mut receiver);
        }
        let mut unknown = Vec::new();
        for (appends, call) in waiting {
            if let Outcome::Unknown(appends) = self.compare(appends, now(call.answered())) {
                unknown.push(appends);
            }
        }
        unknown
    }

    /// Removes messages; a removal that fails is ended at the next opening.
    fn remove(&mut self, writer: &mut Writer) {
        let category = ["a", "b"][self.chance.below(2)].to_owned();
        let removal = match self.chance.below(2) {
            0 => Removal::Category { category, before: None, keep: Some(self.chance.below(20) as u64) },
            _ => Removal::Stream { stream: format!("{category}-1"), before: self.chance.below(9) as i64 },
        };
        match self.remove_now(writer, &removal) {
            Ok(count) => assert_eq!(count, now(self.oracle.remove(removal)).unwrap()),
            Err(_) => self.half_removed = Some(removal),
        }
    }

    fn remove_now(&self, writer: &mut Writer, removal: &Removal) -> Result<u64, Fault> {
        let (answer, mut sealed) = oneshot::channel();
        let (_sender, mut receiver) = mpsc::unbounded_channel();
        writer.turn(Command::Seal(answer, None), &mut receiver);
        sealed.try_recv().expect("it is answered")?;
        writer.shared.remove(removal)
    }

    fn compare(&mut self, appends: Vec<Append>, answer: Answered) -> Outcome {
        match answer {
            Err(AppendError::Failed(fault)) if fault.retry == Retry::IfIdempotent => {
                Outcome::Unknown(appends)
            }
            Err(AppendError::Failed(_)) => Outcome::Known,
            answer => {
                let expected = now(self.oracle.append(appends));
                assert_eq!(format!("{answer:?}"), format!("{expected:?}"));
                Outcome::Known
            }
        }
    }

    /// Opens the store, and compares what is there with what should be.
    fn open(&mut self, unknown: Vec<Vec<Append>>) -> Option<Writer> {
        let opened = open::open(Arc::new(self.disk.clone()), self.clock.clone(), OPTIONS);
        let Ok((mut writer, _)) = opened else {
            assert!(self.disk.is_stopped(), "{}", opened.err().unwrap());
            return None;
        };
        if let Some(removal) = self.half_removed.take() {
            self.disk.calm();
            self.remove_now(&mut writer, &removal).unwrap();
            now(self.oracle.remove(removal)).unwrap();
        }
        let found = all_messages(&writer.shared);
        let head = writer.shared.head();
        // Of those that nobody knows, the first few may be there, each whole.
        let mut unknown = unknown.into_iter();
        while now(self.oracle.head()).unwrap() < head {
            let appends = unknown.next().expect("nothing is there that was not appended");
            // In the log it was compared with the same messages before it; what was refused then is now.
            drop(now(self.oracle.append(appends)));
        }
        let expected: Vec<Message> =
            now(self.oracle.read(crate::Read::all().limit(10_000))).unwrap().messages;
        assert_eq!(without_times(found), without_times(expected));
        Some(writer)
    }
}

/// A call that becomes durable late has the time at which it was sequenced, which the oracle can't know.
fn without_times(messages: Vec<Message>) -> Vec<Message> {
    messages.into_iter().map(|message| Message { time: 0, ..message }).collect()
}

/// The answer of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn bad_day(seed: u64) {
    let mut day = Day::new(seed);
    let mut unknown = Vec::new();
    for _ in 0..4 {
        // The opening itself may meet with trouble, too.
        if day.chance.below(4) == 0 {
            day.disk.trouble_in(day.chance.below(12) as u64, Trouble::Stop);
        }
        let Some(mut writer) = day.open(unknown.clone()) else {
            day.disk.restart();
            continue;
        };
        unknown.clear();
        let trouble = match day.chance.below(8) {
            0 => Trouble::Error,
            1 => Trouble::Short,
            2 => Trouble::Full(1 + day.chance.below(12) as u64),
            3 => Trouble::Sync,
            _ => Trouble::Stop,
        };
        day.disk.trouble_in(day.chance.below(60) as u64, trouble);
        for _ in 0..day.chance.below(16) {
            unknown.extend(day.group(&mut writer));
            if day.disk.is_stopped() || writer.broken.is_some() {
                break;
            }
            // What became of a group has to be known before it can be removed in the oracle, too.
            if day.chance.below(6) == 0 && unknown.is_empty() {
                day.remove(&mut writer);
            }
            if day.half_removed.is_some() {
                break;
            }
        }
        day.disk.calm();
        drop(writer);
        // The machine may stop at the end of the day in any case.
        day.disk.restart();
    }
    day.open(unknown).expect("nothing goes wrong any more");
    let report = verify_disk(Arc::new(day.disk.clone())).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

#[test]
fn what_was_acknowledged_survives_any_trouble_of_a_disk_and_nothing_else_appears() {
    let days = std::env::var("TEST_BAD_DAYS").map_or(1_500, |days| days.parse().unwrap());
    let first = std::env::var("TEST_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + days {
        let day = std::panic::catch_unwind(|| bad_day(seed));
        assert!(day.is_ok(), "the day of TEST_SEED={seed} TEST_BAD_DAYS=1 went wrong");
    }
}
