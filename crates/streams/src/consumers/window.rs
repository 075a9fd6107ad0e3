//! What a share of a consumer holds between reading and handling: which message may go next, which waits, which are
//! handled, up to where all are. A pure state machine that is given the time; `share` reads and delivers.
//!
//! A stream is a lane: its messages go one after another, lanes beside each other. The set of what is read and not yet
//! handled is small and is kept with the position, so that after a restart nothing is delivered again that was handled
//! out of order.

use base::Moment;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use store::Message;

/// Bytes of messages held, at which reading stops.
pub(super) const HELD_BYTES_MAX: usize = 8 << 20;

/// The limits of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Messages held.
    pub(super) held: usize,
    /// Messages of one delivery.
    pub(super) batch: usize,
    /// Deliveries under way.
    pub(super) concurrency: usize,
}

/// How far a share is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Everything at this global position and before it is handled.
    pub(super) position: i64,
    /// Nothing at this global position or behind it is handled.
    pub(super) frontier: i64,
    /// Between the two, what is not handled, in order.
    pub(super) pending: Vec<i64>,
}

impl Progress {
    /// Everything up to here is handled and nothing behind it.
    pub(super) fn at(position: i64) -> Self {
        Self { position, frontier: position + 1, pending: Vec::new() }
    }
}

/// A message that is held.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) message: Arc<Message>,
    /// Failed attempts so far.
    pub(super) failed: u32,
    /// A dead letter that is tried again, for the nth time: it does not count for the position.
    pub(super) again: Option<u32>,
    /// It goes by itself, as it was in a batch that failed.
    alone: bool,
}

impl Item {
    fn bytes(&self) -> usize {
        let size = |json: &Option<store::Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        self.message.stream.len() + size(&self.message.data) + size(&self.message.metadata)
    }

    fn goes_in_batches(&self) -> bool {
        !self.alone && self.failed == 0 && self.again.is_none()
    }
}

/// Messages that go out together.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// Tells it from any other of its window.
    pub(super) number: u64,
    /// At least one. Those of a stream are in its order.
    pub(super) items: Vec<Item>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its messages are handled, or are dead letters.
    Done,
    /// It failed and is to be tried again after this.
    Failed(Duration),
    /// It was put off: to be tried again after this, and no failure.
    Later(Duration),
}

#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<Item>,
    at: At,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// It is in the queue of those that may go.
    #[default]
    Ready,
    /// So many of its first messages are under way.
    UnderWay(usize),
    /// Not before this.
    Waits(Moment),
}

/// The messages that a share holds.
#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    /// The next global position to be read.
    read_from: i64,
    /// Read and not handled.
    pending: BTreeSet<i64>,
    /// From before a restart: what is below `frontier` counts only if it is in here.
    restored: BTreeSet<i64>,
    frontier: i64,
    lanes: HashMap<Arc<str>, Lane>,
    ready: VecDeque<Arc<str>>,
    waiting: BTreeSet<(Moment, Arc<str>)>,
    under_way: HashMap<u64, Vec<Arc<str>>>,
    held: usize,
    held_bytes: usize,
    /// Of the messages held, those that were dead letters.
    again: BTreeSet<i64>,
    next_number: u64,
}

impl Window {
    /// Goes on from there. Deliveries are numbered from `first_number`.
    pub(super) fn new(limits: Limits, progress: &Progress, first_number: u64) -> Self {
        Self {
            limits,
            read_from: progress.position + 1,
            pending: BTreeSet::new(),
            restored: progress.pending.iter().copied().collect(),
            frontier: progress.frontier,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            under_way: HashMap::new(),
            held: 0,
            held_bytes: 0,
            again: BTreeSet::new(),
            next_number: first_number,
        }
    }

    /// From where, and how many messages at most, are to be read now; `None` while there is no room.
    pub(super) fn wants(&self) -> Option<(i64, usize)> {
        let room = self.limits.held.saturating_sub(self.held);
        (room > 0 && self.held_bytes < HELD_BYTES_MAX).then_some((self.read_from, room))
    }

    /// Takes messages that were read, in order; `next` is where reading goes on.
    pub(super) fn feed(&mut self, messages: impl IntoIterator<Item = Message>, next: i64) {
        for message in messages {
            let position = message.global_position;
            if position < self.frontier && !self.restored.remove(&position) {
                continue;
            }
            self.pending.insert(position);
            self.hold(Item { message: Arc::new(message), failed: 0, again: None, alone: false });
        }
        self.read_from = next;
        // What was to be tried and is no longer there, or no longer for this consumer, is no longer pending.
        self.restored = self.restored.split_off(&next);
        self.frontier = self.frontier.max(next);
    }

    /// Takes a dead letter that is to be tried again, the nth time. Answers whether there was room, or it was here.
    pub(super) fn feed_again(&mut self, message: Message, nth: u32) -> bool {
        if self.again.contains(&message.global_position) {
            return true;
        }
        if self.wants().is_none() {
            return false;
        }
        self.again.insert(message.global_position);
        self.hold(Item { message: Arc::new(message), failed: 0, again: Some(nth), alone: true });
        true
    }

    fn hold(&mut self, item: Item) {
        self.held += 1;
        self.held_bytes += item.bytes();
        let stream: Arc<str> = item.message.stream.as_str().into();
        match self.lanes.get_mut(&stream) {
            Some(lane) => lane.items.push_back(item),
            None => {
                self.ready.push_back(stream.clone());
                self.lanes.insert(stream, Lane { items: [item].into(), at: At::Ready });
            }
        }
    }

    /// Lets those go whose wait is over. Answers whether there were any.
    pub(super) fn ripen(&mut self, now: Moment) -> bool {
        let mut ripe = false;
        while self.waiting.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, stream)) = self.waiting.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&stream) {
                lane.at = At::Ready;
                self.ready.push_back(stream);
                ripe = true;
            }
        }
        ripe
    }

    /// What goes now, if anything may.
    pub(super) fn next(&mut self, now: Moment) -> Option<Delivery> {
        self.ripen(now);
        if self.under_way.len() >= self.limits.concurrency {
            return None;
        }
        let (mut items, mut streams) = (Vec::new(), Vec::new());
        // Each lane is looked at once; one that can't join this batch keeps its place.
        let mut kept = VecDeque::new();
        while items.len() < self.limits.batch
            && let Some(stream) = self.ready.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&stream) else { continue };
            let room = self.limits.batch - items.len();
            let mut count = lane.items.iter().take(room).take_while(|item| item.goes_in_batches()).count();
            if count == 0 && items.is_empty() {
                count = 1;
            }
            if count == 0 {
                kept.push_back(stream);
                continue;
            }
            lane.at = At::UnderWay(count);
            let goes_alone = lane.items.front().is_some_and(|item| !item.goes_in_batches());
            items.extend(lane.items.iter().take(count).cloned());
            streams.push(stream);
            if goes_alone {
                break;
            }
        }
        kept.append(&mut self.ready);
        self.ready = kept;
        if items.is_empty() {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.under_way.insert(number, streams);
        Some(Delivery { number, items })
    }

    /// Takes note of how a delivery ended. Answers whether it was under way.
    pub(super) fn ended(&mut self, number: u64, end: End, now: Moment) -> bool {
        let Some(streams) = self.under_way.remove(&number) else { return false };
        let size = streams.iter().filter_map(|stream| self.lanes.get(stream)).map(Lane::under_way).sum();
        for stream in streams {
            self.lane_ended(stream, end, now, size);
        }
        true
    }

    fn lane_ended(&mut self, stream: Arc<str>, end: End, now: Moment, size: usize) {
        let Some(lane) = self.lanes.get_mut(&stream) else { return };
        let count = lane.under_way();
        match end {
            End::Done => {
                for item in lane.items.drain(..count) {
                    self.held -= 1;
                    self.held_bytes -= item.bytes();
                    let position = item.message.global_position;
                    if item.again.is_some() {
                        self.again.remove(&position);
                    } else {
                        self.pending.remove(&position);
                    }
                }
                if lane.items.is_empty() {
                    self.lanes.remove(&stream);
                } else {
                    lane.at = At::Ready;
                    self.ready.push_back(stream);
                }
            }
            End::Failed(wait) | End::Later(wait) => {
                if size > 1 {
                    // Nobody knows which of them it was: each has to show it by itself.
                    lane.items.iter_mut().take(count).for_each(|item| item.alone = true);
                }
                if let (End::Failed(_), Some(first)) = (end, lane.items.front_mut()) {
                    first.failed = first.failed.saturating_add(1);
                }
                lane.at = At::Waits(now + wait);
                self.waiting.insert((now + wait, stream));
            }
        }
    }

    /// When a message that waits may go; `None` where none waits, or none could go.
    pub(super) fn next_due(&self) -> Option<Moment> {
        let free = self.under_way.len() < self.limits.concurrency;
        self.waiting.first().filter(|_| free).map(|(due, _)| *due)
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let unread = self.restored.range(self.read_from..);
        let pending: Vec<i64> = self.pending.iter().chain(unread).copied().collect();
        let position = self.pending.first().map_or(self.read_from, |first| *first.min(&self.read_from)) - 1;
        Progress { position, frontier: self.frontier.max(self.read_from), pending }
    }

    /// Messages held, under way included.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Deliveries under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

impl Lane {
    fn under_way(&self) -> usize {
        if let At::UnderWay(count) = self.at { count } else { 0 }
    }
}

#[cfg(test)]
mod tests;
