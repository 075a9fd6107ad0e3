//! A share of a consumer at work: it holds the share's lease, reads, delivers, and writes down how far it is. What is
//! delivered next is `window`'s to say, what a delivery does is `handling`'s.

use super::Shared;
use super::dead;
use super::definition::Definition;
use super::handling::Handling;
use super::lease::Held;
use super::pull::{self, Lent};
use super::records::{self, Place};
use super::seat::{Ask, Seat};
use super::window::{End, Limits, Window};
use crate::spans::Delivering;
use base::{Fault, Kind, Moment};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{Member, Scope, Watch};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Handled messages after which the position is written.
const WRITE_MESSAGES: u32 = 256;
/// Longest time that a handled message is not yet in the position.
const WRITE_WITHIN: Duration = Duration::from_millis(200);
/// Messages of one page of reading.
const PAGE_MESSAGES: usize = 500;
/// How far deliveries may go before the record says that they may have gone there.
const REACH: i64 = 10_000;
/// How often we look whether somebody set the share back, or wants dead letters tried again.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after the store could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for deliveries under way when the share stops here.
const DRAIN: Duration = Duration::from_secs(10);
/// Dead letters that are looked at together, to be tried again.
const AGAIN_MAX: usize = 100;

/// A share that this node may take.
pub(super) struct Share {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
    pub(super) definition: Arc<Definition>,
    pub(super) number: u16,
    pub(super) seat: Arc<Seat>,
}

/// Why a session ended.
#[derive(PartialEq, Eq)]
enum After {
    /// The share was set elsewhere by somebody: go on from there.
    Again,
    /// It was asked to stop, or its consumer is gone.
    Over,
}

impl Share {
    /// Works until asked to stop, or until the lease is lost; at once where somebody else has it.
    pub(super) async fn run(self, mut asks: mpsc::Receiver<Ask>) -> Result<(), Fault> {
        let Shared { state, clock, node, .. } = &*self.shared;
        let Some(held) = Held::take(state, clock, &self.name, self.number, node).await? else {
            return Ok(());
        };
        self.seat.holds.store(true, Ordering::SeqCst);
        let worked = tokio::select! {
            () = held.lost() => Ok(()),
            worked = self.work(held.token(), &mut asks) => worked,
        };
        self.seat.holds.store(false, Ordering::SeqCst);
        // Nothing is under way any more: the session is gone with what it had begun.
        held.release().await;
        worked
    }

    async fn work(&self, token: i64, asks: &mut mpsc::Receiver<Ask>) -> Result<(), Fault> {
        loop {
            let Some((place, etag)) = records::place(&self.shared.state, &self.name, self.number).await?
            else {
                return Ok(());
            };
            // Places change together with the definition that they are for.
            let kept = records::one(&self.shared.state, &self.name).await?;
            if kept.is_none_or(|kept| kept.etag != self.seat.etag) {
                return Ok(());
            }
            // Written anew, so that whoever had the share before can't move it any more.
            let moved =
                records::move_share(&self.shared.state, &self.name, self.number, &place, etag).await?;
            let Some(etag) = moved else { continue };
            let mut session = Session::begin(self, token, place, etag).await?;
            let after = session.run(asks).await;
            // Until the last of them is really gone.
            session.tasks.shutdown().await;
            if after? == After::Over {
                return Ok(());
            }
        }
    }
}

struct Session<'a> {
    share: &'a Share,
    handling: Handling,
    window: Window,
    token: i64,
    etag: i64,
    reach: i64,
    redo_until: i64,
    rest_until: i64,
    written: super::window::Progress,
    /// Since when something is not written, and how much.
    unwritten: Option<Moment>,
    unwritten_messages: u32,
    /// Whether there may be more to read now.
    behind: bool,
    /// No reading and no writing before this, as the store failed.
    pause_until: Option<Moment>,
    look_at: Moment,
    watch: Watch,
    tasks: JoinSet<(u64, End)>,
    lent: Lent,
    stop: watch::Receiver<bool>,
    /// Set when asked to stop: until then deliveries under way may end.
    stop_by: Option<Moment>,
}

impl<'a> Session<'a> {
    async fn begin(share: &'a Share, token: i64, place: Place, etag: i64) -> Result<Self, Fault> {
        let Shared { store, state, clock, chance, deliver, spans, taps, numbers, .. } = &*share.shared;
        let definition = &share.definition;
        let watch = store.watch(Scope::Category(definition.category.clone()));
        let check_until = place.reach.min(store.head().await?.saturating_add(1));
        let limits = Limits {
            held: definition.held_max(),
            batch: if definition.handler.is_some() { definition.batch } else { 1 },
            concurrency: definition.concurrency,
        };
        let handling = Handling {
            store: store.clone(),
            state: state.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            deliver: deliver.clone(),
            spans: spans.clone(),
            taps: taps.clone(),
            name: share.name.clone(),
            definition: definition.clone(),
            check: place.redo_until..check_until,
            counts: share.seat.counts.clone(),
            room: Arc::default(),
        };
        // Numbers of another session are never met again, not even in a token that somebody kept.
        let first_number = numbers.fetch_add(1 << 32, Ordering::SeqCst);
        Ok(Self {
            share,
            handling,
            window: Window::new(limits, &place.progress, first_number),
            token,
            etag,
            reach: place.reach,
            redo_until: place.redo_until,
            rest_until: place.rest_until,
            written: place.progress,
            unwritten: None,
            unwritten_messages: 0,
            behind: true,
            pause_until: None,
            look_at: clock.now(),
            watch,
            tasks: JoinSet::new(),
            lent: Lent::default(),
            stop: share.seat.stop.subscribe(),
            stop_by: None,
        })
    }

    async fn run(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Result<After, Fault> {
        loop {
            while let Some(ended) = self.tasks.try_join_next() {
                self.ended(ended)?;
            }
            let now = self.share.shared.clock.now();
            for number in self.lent.overdue(now) {
                let Some(loan) = self.lent.take(number) else { continue };
                let handling = self.handling.clone();
                self.tasks.spawn(async move { (number, pull::late(&handling, loan).await) });
            }
            if *self.stop.borrow_and_update() && self.stop_by.is_none() {
                self.stop_by = Some(now + DRAIN);
            }
            if let Some(by) = self.stop_by
                && (self.tasks.is_empty() || now >= by)
            {
                self.write().await?;
                return Ok(After::Over);
            }
            if self.pause_until.is_some_and(|until| now >= until) {
                self.pause_until = None;
            }
            let is_free = self.stop_by.is_none() && self.pause_until.is_none() && self.is_rested();
            if self.window.ripen(now) {
                self.share.shared.tell_takers();
            }
            if is_free {
                if now >= self.look_at && !self.look().await? {
                    return Ok(After::Again);
                }
                if !self.send().await? {
                    return Ok(After::Again);
                }
            }
            if self.is_write_due(now) && !self.write().await? {
                return Ok(After::Again);
            }
            self.handling.counts.holds(self.window.held(), self.window.under_way());
            if is_free && self.behind && self.window.wants().is_some() {
                self.read().await;
                // Whoever waits on this thread gets a turn, however much there is to read.
                tokio::task::yield_now().await;
                continue;
            }
            self.wait(asks).await?;
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Result<(), Fault> {
        let clock = &self.share.shared.clock;
        let now = clock.now();
        let rest = (!self.is_rested()).then(|| now + Duration::from_millis(100));
        let is_free = self.stop_by.is_none() && self.pause_until.is_none() && rest.is_none();
        let can_read = self.window.wants().is_some() && self.stop_by.is_none();
        let due = [
            self.window.next_due(),
            self.lent.next_due(),
            self.unwritten.map(|since| since + WRITE_WITHIN),
            self.pause_until,
            self.stop_by,
            rest,
            is_free.then_some(self.look_at),
        ];
        let due = due.into_iter().flatten().min().unwrap_or(now + LOOK);
        tokio::select! {
            Some(ended) = self.tasks.join_next() => self.ended(ended)?,
            Some(ask) = asks.recv() => self.asked(ask).await?,
            () = self.watch.changed(), if can_read => {
                self.behind = true;
                self.share.shared.tell_takers();
            }
            // The sender lives in the seat, so this can't fail while we wait.
            _ = self.stop.changed() => {}
            () = clock.sleep(due.since(now)) => {}
        }
        Ok(())
    }

    fn ended(&mut self, ended: Result<(u64, End), tokio::task::JoinError>) -> Result<(), Fault> {
        let (number, end) =
            ended.map_err(|error| Fault::new(Kind::Bug, "a delivery failed").because(error))?;
        self.end(number, end);
        Ok(())
    }

    fn end(&mut self, number: u64, end: End) {
        let now = self.share.shared.clock.now();
        if self.window.ended(number, end, now) && end == End::Done {
            self.unwritten_messages += 1;
            self.unwritten.get_or_insert(now);
        }
        self.share.shared.tell_takers();
    }

    /// Starts what may start. Answers `false` where somebody set the share elsewhere.
    async fn send(&mut self) -> Result<bool, Fault> {
        if self.share.definition.handler.is_none() {
            return Ok(true);
        }
        let now = self.share.shared.clock.now();
        while let Some(delivery) = self.window.next(now) {
            match self.reaches(&delivery.items).await? {
                Reached::Yes => {}
                Reached::Lost => return Ok(false),
                Reached::NotNow => {
                    self.window.ended(delivery.number, End::Later(PAUSE), now);
                    return Ok(true);
                }
            }
            let handling = self.handling.clone();
            self.tasks.spawn(async move { (delivery.number, handling.push(delivery).await) });
        }
        Ok(true)
    }

    /// Makes sure that the record says of these messages that somebody may have been given them.
    async fn reaches(&mut self, items: &[super::window::Item]) -> Result<Reached, Fault> {
        let furthest = items.iter().filter(|item| item.again.is_none());
        let furthest = furthest.map(|item| item.message.global_position).max().unwrap_or(0);
        if furthest < self.reach {
            return Ok(Reached::Yes);
        }
        let before = std::mem::replace(&mut self.reach, furthest + REACH);
        let moved = self.write_now().await?;
        if moved == Reached::NotNow {
            self.reach = before;
        }
        Ok(moved)
    }

    async fn read(&mut self) {
        let Some((from, room)) = self.window.wants() else { return };
        let definition = &self.share.definition;
        let read = definition.read(self.share.number).from(from).limit(room.min(PAGE_MESSAGES));
        match self.share.shared.store.read(read).await {
            Ok(page) => {
                self.behind = page.more || !page.messages.is_empty();
                let before = self.window.wants().map_or(from, |(from, _)| from);
                let messages = page.messages.into_iter().filter(|message| definition.wants(message));
                self.window.feed(messages, page.next.max(before));
                self.share.shared.tell_takers();
                // Messages that are not for us move the position, too.
                if self.window.progress() != self.written {
                    self.unwritten.get_or_insert(self.share.shared.clock.now());
                }
            }
            Err(fault) => self.trouble(&fault),
        }
    }

    /// Looks whether somebody moved the share, and for dead letters to be tried again. Answers `false` where the share
    /// was moved.
    async fn look(&mut self) -> Result<bool, Fault> {
        let Share { shared, name, number, definition, .. } = self.share;
        self.look_at = shared.clock.now() + LOOK;
        let looked = async {
            let place = records::place(&shared.state, name, *number).await?;
            Ok::<_, Fault>((place, dead::again(&shared.state, name, AGAIN_MAX).await?))
        };
        let (place, letters) = match looked.await {
            Ok(looked) => looked,
            Err(fault) => {
                self.trouble(&fault);
                return Ok(true);
            }
        };
        if place.is_none_or(|(_, etag)| etag != self.etag) {
            return Ok(false);
        }
        let member = Member::new(*number, definition.size);
        for letter in letters {
            let is_ours = definition.size == 1 || member.is_some_and(|m| m.takes(&letter.stream_name));
            if !is_ours {
                continue;
            }
            let id = store::Uuid::parse_str(&letter.id).unwrap_or_default();
            match shared.store.by_id(id).await {
                Ok(Some(message)) => {
                    if !self.window.feed_again(message, letter.before + 1) {
                        break;
                    }
                    shared.tell_takers();
                }
                Ok(None) => dead::forget_again(&shared.state, name, letter.global_position).await?,
                Err(fault) => {
                    self.trouble(&fault);
                    break;
                }
            }
        }
        Ok(true)
    }

    async fn asked(&mut self, ask: Ask) -> Result<(), Fault> {
        match ask {
            Ask::Look => self.look_at = self.share.shared.clock.now(),
            Ask::Take { limit, reply } => {
                let taken = if self.stop_by.is_none() && self.is_rested() {
                    self.lend(limit).await?
                } else {
                    Vec::new()
                };
                // Who asked may be gone meanwhile.
                if let Err(taken) = reply.send(taken) {
                    let now = self.share.shared.clock.now();
                    for taken in taken {
                        self.lent.take(taken.token.number);
                        self.window.ended(taken.token.number, End::Later(Duration::ZERO), now);
                    }
                }
            }
            Ask::Ack { token, outcome, reply } => {
                let number = token.number;
                let Some(loan) = self.lent.take(number).filter(|_| token.fence == self.token) else {
                    let _ = reply.send(pull::Acked::Lost);
                    return Ok(());
                };
                let handling = self.handling.clone();
                self.tasks.spawn(async move {
                    let (acked, end) = pull::acknowledge(&handling, loan, outcome).await;
                    let _ = reply.send(acked);
                    (number, end)
                });
            }
        }
        Ok(())
    }

    /// Gives out deliveries to somebody who asked for them.
    async fn lend(&mut self, limit: usize) -> Result<Vec<pull::Taken>, Fault> {
        let mut taken = Vec::new();
        let now = self.share.shared.clock.now();
        while taken.len() < limit
            && let Some(delivery) = self.window.next(now)
        {
            let Some(item) = delivery.items.first() else { break };
            match self.handling.is_done_already(item).await {
                Ok(true) => {
                    self.end(delivery.number, End::Done);
                    continue;
                }
                Ok(false) if self.reaches(&delivery.items).await? == Reached::Yes => {}
                Ok(false) | Err(_) => {
                    self.window.ended(delivery.number, End::Later(PAUSE), now);
                    break;
                }
            }
            let (handling, attempt) = (&self.handling, item.failed + 1);
            let span = handling
                .spans
                .as_ref()
                .map(|spans| spans.delivery(&handling.clock, &handling.name, attempt, &[&item.message]));
            taken.push(pull::Taken {
                token: pull::Token {
                    share: self.share.number,
                    fence: self.token,
                    number: delivery.number,
                    global_position: item.message.global_position,
                },
                attempt,
                trace: span.as_ref().map(Delivering::trace),
                message: item.message.clone(),
            });
            let loan = pull::Loan { item: item.clone(), span };
            self.lent.lend(delivery.number, loan, now + self.share.definition.timeout);
        }
        Ok(taken)
    }

    fn is_rested(&self) -> bool {
        let now = i64::try_from(self.share.shared.clock.unix().micros()).unwrap_or(i64::MAX);
        now >= self.rest_until
    }

    fn is_write_due(&self, now: Moment) -> bool {
        let is_old = self.unwritten.is_some_and(|since| now >= since + WRITE_WITHIN);
        (is_old || self.unwritten_messages >= WRITE_MESSAGES) && self.pause_until.is_none()
    }

    /// Writes how far the share is, if that is not written. Answers `false` where somebody else moved it.
    async fn write(&mut self) -> Result<bool, Fault> {
        (self.unwritten, self.unwritten_messages) = (None, 0);
        if self.window.progress() == self.written {
            return Ok(true);
        }
        Ok(self.write_now().await? != Reached::Lost)
    }

    async fn write_now(&mut self) -> Result<Reached, Fault> {
        let progress = self.window.progress();
        let Self { reach, redo_until, rest_until, .. } = *self;
        let place = Place { progress, reach, redo_until, rest_until };
        let Share { shared, name, number, .. } = self.share;
        match records::move_share(&shared.state, name, *number, &place, self.etag).await {
            Ok(Some(etag)) => {
                self.etag = etag;
                self.written = place.progress;
                Ok(Reached::Yes)
            }
            Ok(None) => Ok(Reached::Lost),
            Err(fault) => {
                self.unwritten.get_or_insert(shared.clock.now());
                self.trouble(&fault);
                Ok(Reached::NotNow)
            }
        }
    }

    fn trouble(&mut self, fault: &Fault) {
        self.handling.counts.trouble(&fault.to_string());
        self.pause_until = Some(self.share.shared.clock.now() + PAUSE);
    }
}

/// Whether the record was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// It is.
    Yes,
    /// The state could not; later perhaps.
    NotNow,
    /// Somebody else moved the share.
    Lost,
}
