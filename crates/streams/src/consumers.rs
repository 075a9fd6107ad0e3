//! Consumers: whoever is to handle the messages of a category, by HTTP push to a service or by asking for them. Each
//! message is handled at least once, in the order of its stream; what fails is tried again and is at last a dead
//! letter. [`Consumers`] is the handle; the work of a group is shared by all nodes over one store.
//!
//! `node` says which shares this node has, `share` works on one of them, `window` decides what goes next, `handling`
//! takes one delivery from end to end, `records` is what is kept.

mod body;
mod dead;
mod declared;
mod definition;
mod deliver;
mod handling;
mod lag;
mod lease;
mod moves;
mod node;
mod pull;
mod records;
mod seat;
mod share;
mod status;
mod window;

#[cfg(test)]
mod tests;

pub use dead::{DeadLetter, LIST_MAX as DEAD_LETTERS_MAX, Wish, stream_name as dead_letters_stream};
pub use declared::Declared;
pub use definition::{Definition, Handler, Refused, Start, bounds, check_name};
pub(crate) use deliver::Verdict;
pub use deliver::{Deliver, Push, Pushed};
pub use lag::Lag;
pub use moves::Skip;
pub use pull::{ACKS_MAX, Acked, Answered, Outcome, TAKE_MAX, Taken, Token};
pub use records::Source;
pub use status::{Counted, ShareStatus, Status};

use crate::spans::Spans;
use crate::tap::MessageTaps;
use base::{Chance, Clock, Fault, Kind, Moment, Scope};
use records::Kept;
use seat::{Ask, Seat};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{State, Store};
use telemetry::Metrics;
use tokio::sync::{Notify, oneshot, watch};

/// Longest wait of one call of take.
pub const TAKE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What consumers stand on.
pub struct Setup {
    /// The messages.
    pub store: Store,
    /// Where positions and leases are.
    pub state: State,
    /// The time.
    pub clock: Clock,
    /// For the pauses between attempts.
    pub chance: Chance,
    /// The parent of the tasks.
    pub scope: Scope,
    /// The way to handlers.
    pub deliver: Arc<dyn Deliver>,
    /// Where deliveries leave spans; `None`: they leave none.
    pub spans: Option<Arc<Spans>>,
    /// Where deliveries are timed.
    pub metrics: Arc<Metrics>,
    /// Those who watch deliveries.
    pub taps: MessageTaps,
    /// This node's name among those over the same store. `None` where no other can be: the name is then the same after
    /// a restart, so that nothing has to wait until the leases of the process before have ended.
    pub node: Option<String>,
}

/// The consumers of a store. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Consumers(Arc<Shared>);

impl std::fmt::Debug for Consumers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Consumers")
    }
}

/// A consumer's name, and the number of a share.
type SeatKey = (Arc<str>, u16);

/// What all parts hold.
struct Shared {
    store: Store,
    state: State,
    clock: Clock,
    chance: Chance,
    scope: Scope,
    deliver: Arc<dyn Deliver>,
    spans: Option<Arc<Spans>>,
    metrics: Arc<Metrics>,
    taps: MessageTaps,
    node: String,
    is_alone: bool,
    is_started: AtomicBool,
    /// Wakes the node's task.
    changed: Notify,
    /// Changes when a message may have become free to be taken.
    takers: watch::Sender<u64>,
    seats: Mutex<BTreeMap<SeatKey, Arc<Seat>>>,
    /// Counts outlive their seats, for the shares that there are.
    counts: Mutex<HashMap<SeatKey, Arc<status::Counts>>>,
    /// When somebody last asked for messages of a consumer; for those that there are.
    asked: Mutex<HashMap<String, Moment>>,
    /// The only share that this node takes of a consumer, where a manifest says so.
    members: Mutex<HashMap<String, u16>>,
    /// Those that the manifest declared when it was last read.
    declared: Mutex<Vec<String>>,
    /// Where the numbers of the next session's deliveries begin.
    numbers: AtomicU64,
    trouble: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, BTreeMap<SeatKey, Arc<Seat>>> {
        lock(&self.seats)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Moment>> {
        lock(&self.asked)
    }

    fn member_of(&self, name: &str) -> Option<u16> {
        lock(&self.members).get(name).copied()
    }

    fn counts(&self, key: &SeatKey) -> Arc<status::Counts> {
        lock(&self.counts)
            .entry(key.clone())
            .or_insert_with(|| status::Counts::new(&self.metrics, &key.0))
            .clone()
    }

    fn trouble(&self, text: Option<String>) {
        *lock(&self.trouble) = text;
    }

    fn tell_takers(&self) {
        self.takers.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Seats of a consumer that have their leases.
    fn seats_of(&self, name: &str) -> Vec<(u16, Arc<Seat>)> {
        let name: Arc<str> = name.into();
        self.seats()
            .range((name.clone(), 0)..=(name, u16::MAX))
            .filter(|(_, seat)| seat.holds.load(Ordering::SeqCst))
            .map(|((_, share), seat)| (*share, seat.clone()))
            .collect()
    }

    /// Makes this node's shares of a consumer look at once whether they were moved.
    fn nudge(&self, name: &str) {
        for (_, seat) in self.seats_of(name) {
            // Full of questions: it looks soon by itself.
            drop(seat.asks.try_send(Ask::Look));
        }
        self.changed.notify_one();
    }

    async fn kept(&self, name: &str) -> Result<Kept, Fault> {
        match records::one(&self.state, name).await? {
            Some(kept) => Ok(kept),
            None => Err(self.unknown(name).await?),
        }
    }

    async fn unknown(&self, name: &str) -> Result<Fault, Fault> {
        let all = records::all(&self.state).await?;
        let near = base::did_you_mean(name, all.iter().map(|kept| kept.name.as_str()));
        let fault = Fault::new(Kind::NotFound, format!("there is no consumer `{}`", body::reason(name)));
        Ok(match near {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("`tombolo consumers list` names those that there are"),
        })
    }
}

impl Consumers {
    /// Consumers that are not at work yet; [`Consumers::start`] starts them.
    pub fn new(setup: Setup) -> Self {
        let seconds = setup.clock.unix().seconds();
        Self(Arc::new(Shared {
            is_alone: setup.node.is_none(),
            is_started: AtomicBool::new(false),
            node: setup.node.unwrap_or_else(|| "alone".to_owned()),
            store: setup.store,
            state: setup.state,
            clock: setup.clock,
            chance: setup.chance,
            scope: setup.scope,
            deliver: setup.deliver,
            spans: setup.spans,
            metrics: setup.metrics,
            taps: setup.taps,
            changed: Notify::new(),
            takers: watch::Sender::new(0),
            seats: Mutex::default(),
            counts: Mutex::default(),
            asked: Mutex::default(),
            members: Mutex::default(),
            declared: Mutex::default(),
            numbers: AtomicU64::new(seconds << 32),
            trouble: Mutex::default(),
        }))
    }

    /// Puts them to work, on the runtime that this is called in, until the scope stops. Once is enough.
    pub fn start(&self) {
        if !self.0.is_started.swap(true, Ordering::SeqCst) {
            node::start(&self.0);
        }
    }

    /// Declares a consumer, or changes one. Where it was there already, it goes on from where it is. Answers whether
    /// anything changed.
    pub async fn put(&self, name: &str, definition: Definition) -> Result<bool, Fault> {
        declared::put(&self.0, name, definition, Source::Api).await
    }

    /// Takes over what the manifest declares now. Those that it declared before and declares no more are gone, but for
    /// their positions: they go on from there should they come back.
    pub async fn declare(&self, list: Vec<Declared>) -> Result<(), Fault> {
        declared::declare(&self.0, list).await
    }

    /// Forgets a consumer that was declared through the API, its positions and its list of dead letters.
    pub async fn remove(&self, name: &str) -> Result<(), Fault> {
        let kept = self.0.kept(name).await?;
        declared::refuse_others(&kept, Source::Api)?;
        records::forget(&self.0.state, &kept, true).await?;
        self.0.nudge(name);
        Ok(())
    }

    /// All consumers, in the order of their names, each with its lag as far as that is soon told.
    pub async fn list(&self) -> Result<Vec<Status>, Fault> {
        let mut list = Vec::new();
        for kept in records::all(&self.0.state).await? {
            list.push(status::of(&self.0, kept, lag::LIST_COUNT_MAX).await?);
        }
        Ok(list)
    }

    /// What this node counted of each consumer since it began, of all its shares together.
    pub fn counted(&self) -> BTreeMap<String, Counted> {
        let mut all: BTreeMap<String, Counted> = BTreeMap::new();
        for ((name, _), counts) in lock(&self.0.counts).iter() {
            let (sum, counted) = (all.entry(name.to_string()).or_default(), counts.read());
            sum.handled += counted.handled;
            sum.failed += counted.failed;
            sum.dead += counted.dead;
            sum.held += counted.held;
            sum.held_most = sum.held_most.max(counted.held_most);
            sum.in_flight += counted.in_flight;
            sum.error = sum.error.take().or(counted.error);
        }
        all
    }

    /// How a consumer does.
    pub async fn show(&self, name: &str) -> Result<Status, Fault> {
        status::of(&self.0, self.0.kept(name).await?, lag::COUNT_MAX).await
    }

    /// Stops deliveries to a consumer. Those under way end.
    pub async fn pause(&self, name: &str) -> Result<(), Fault> {
        declared::set_paused(&self.0, name, true).await
    }

    /// Lets deliveries go on.
    pub async fn resume(&self, name: &str) -> Result<(), Fault> {
        declared::set_paused(&self.0, name, false).await
    }

    /// Sets a consumer back, or forward: it goes on from there. What is under way is broken off and does not count.
    pub async fn replay(&self, name: &str, from: Start) -> Result<(), Fault> {
        moves::replay(&self.0, name, from).await
    }

    /// Lets a consumer leave messages out.
    pub async fn skip(&self, name: &str, skip: Skip) -> Result<(), Fault> {
        moves::skip(&self.0, name, skip).await
    }

    /// Dead letters of a consumer behind this global position, at most `limit` and [`DEAD_LETTERS_MAX`].
    pub async fn dead_letters(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadLetter>, Fault> {
        self.0.kept(name).await?;
        dead::list(&self.0.state, name, after, limit).await
    }

    /// Has a dead letter tried again, or discards it.
    pub async fn resolve(&self, name: &str, global_position: i64, wish: Wish) -> Result<(), Fault> {
        self.0.kept(name).await?;
        if !dead::resolve(&self.0.store, &self.0.state, name, global_position, wish).await? {
            let text = format!("consumer `{name}` has no dead letter at `{global_position}`");
            return Err(Fault::new(Kind::NotFound, text)
                .hint(format!("`tombolo consumers dead-letters {name}` lists them")));
        }
        self.0.nudge(name);
        Ok(())
    }

    /// Has all dead letters of a consumer tried again. Answers how many there were.
    pub async fn retry_all(&self, name: &str) -> Result<u64, Fault> {
        self.0.kept(name).await?;
        let (mut after, mut count) = (0, 0);
        loop {
            let letters = dead::list(&self.0.state, name, after, DEAD_LETTERS_MAX).await?;
            let Some(last) = letters.last() else { break };
            after = last.global_position;
            for letter in &letters {
                let position = letter.global_position;
                let done = dead::resolve(&self.0.store, &self.0.state, name, position, Wish::Retry);
                count += u64::from(done.await?);
            }
        }
        self.0.nudge(name);
        Ok(count)
    }

    /// Takes messages of a consumer that has no handler, at most [`TAKE_MAX`], of one share and of each
    /// stream one; where there is none, waits for one. Who takes a message acknowledges it at this node within the consumer's timeout, or it is
    /// given to somebody again.
    pub async fn take(&self, name: &str, limit: usize, wait: Duration) -> Result<Vec<Taken>, Fault> {
        let shared = &self.0;
        let kept = shared.kept(name).await?;
        if let Some(handler) = &kept.definition.handler {
            let text = format!("the messages of consumer `{name}` are pushed to `{handler}`");
            return Err(Fault::new(Kind::Conflict, text).hint("take from a consumer without a `handler`"));
        }
        let until = shared.clock.now() + wait.min(TAKE_WAIT_MAX);
        if shared.asked().insert(name.to_owned(), shared.clock.now()).is_none() {
            shared.changed.notify_one();
        }
        let mut changes = shared.takers.subscribe();
        let limit = limit.clamp(1, TAKE_MAX);
        loop {
            changes.mark_unchanged();
            let mut taken = Vec::new();
            let mut seats = shared.seats_of(name);
            // From another share each time, so that none is left out; and from one only, so that who goes away in the
            // middle has not been given anything.
            let first = shared.chance.below(seats.len());
            seats.rotate_left(first);
            for (_, seat) in seats {
                let (reply, answer) = oneshot::channel();
                if seat.asks.send(Ask::Take { limit, reply }).await.is_ok() {
                    taken = answer.await.unwrap_or_default();
                }
                if !taken.is_empty() {
                    break;
                }
            }
            let now = shared.clock.now();
            if !taken.is_empty() || now >= until {
                return Ok(taken);
            }
            tokio::select! {
                // The sender lives as long as we do.
                _ = changes.changed() => {}
                () = shared.clock.sleep(until.since(now)) => {}
            }
        }
    }

    /// Says what became of a message that was taken here.
    pub async fn acknowledge(&self, name: &str, token: Token, outcome: Outcome) -> Result<Acked, Fault> {
        let Some((_, seat)) = self.0.seats_of(name).into_iter().find(|(share, _)| *share == token.share)
        else {
            self.0.kept(name).await?;
            return Ok(Acked::Lost);
        };
        let (reply, answer) = oneshot::channel();
        match seat.asks.send(Ask::Ack { token, outcome, reply }).await {
            Ok(()) => Ok(answer.await.unwrap_or(Acked::Lost)),
            Err(_) => Ok(Acked::Lost),
        }
    }
}
