//! Appends. Calls that come in while the server is busy go as one transaction: it locks their categories in the
//! order of their keys, as Message DB's own writers do, looks how their streams stand, decides for each call and
//! inserts what goes, in two round trips. Calls of other categories go beside it on other connections. A category
//! that somebody else holds is left to a transaction of its own, so that it holds up no other.

use super::decide::{Kept, Standing, Verdict, decide};
use super::link::{Lent, Links, Parameters, is_broken};
use super::{Time, micros};
use crate::{Append, AppendError, Appended, Uuid, names};
use base::{Clock, Fault, Kind, Retry};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

/// Calls that may wait.
const WAITING_MAX: usize = 1_024;
/// Bytes that may wait, in pieces of 64 KiB.
const ROOM_PIECES: usize = 1_024;
const PIECE_BYTES: usize = 64 << 10;
/// Calls, messages and bytes of one transaction; one call more may pass the latter two.
const GROUP_CALLS_MAX: usize = 512;
const GROUP_MESSAGES_MAX: usize = 5_000;
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Times that a call is tried in spite of others that are in its way.
const ATTEMPTS_MAX: u32 = 5;
/// How long is asked what became of a call whose connection broke, before it is said that nobody knows.
const ASK_FOR: Duration = Duration::from_secs(8);

const TRY_LOCKS: &str = "SELECT key, pg_try_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS keys (key)";
const WAIT_FOR_LOCKS: &str =
    "SELECT key, pg_advisory_xact_lock(key) IS NOT NULL FROM unnest($1::bigint[]) AS keys (key)";
const VERSIONS: &str = "
    SELECT coalesce(greatest(
        (SELECT max(position) FROM message_store.messages WHERE stream_name = streams.name),
        (SELECT max(position) FROM tombolo.removed WHERE stream_name = streams.name)), -1)
    FROM unnest($1::text[]) WITH ORDINALITY AS streams (name, nth) ORDER BY nth";
const KEPT: &str = "
    SELECT id, stream_name, position, global_position, (extract(epoch FROM time) * 1000000)::bigint
    FROM message_store.messages WHERE id = ANY ($1::uuid[])";
/// Positions are taken from the sequence in the order of the rows (`ORDER BY`, then the column's default).
const INSERT: &str = "
    INSERT INTO message_store.messages (id, stream_name, type, position, data, metadata, time)
    SELECT id, stream_name, type, position, data::jsonb, metadata::jsonb,
        (SELECT timestamp 'epoch' + tombolo.micros($7) * interval '1 microsecond')
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
        WITH ORDINALITY AS fresh (id, stream_name, type, position, data, metadata, nth)
    ORDER BY nth
    RETURNING global_position, (extract(epoch FROM time) * 1000000)::bigint";

/// Calls on their way into the database.
#[derive(Debug)]
pub(super) struct Appends {
    links: Arc<Links>,
    time: Time,
    clock: Clock,
    queue: Mutex<Queue>,
    /// Changes whenever there may be something to take.
    changed: watch::Sender<u64>,
    calls: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Queue {
    calls: VecDeque<Call>,
    /// Keys of categories that a transaction of ours is at.
    held: HashSet<i64>,
}

#[derive(Debug)]
struct Call {
    appends: Vec<Append>,
    /// Of its categories' locks.
    keys: BTreeSet<i64>,
    bytes: usize,
    answer: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
    /// Somebody else held one of its categories: it waits for the lock.
    waits: bool,
    /// It has a transaction to itself, since one with others failed.
    alone: bool,
    /// Since when an attempt may have kept it: one that wrote it, and whose end nobody heard.
    tried: Option<Instant>,
    attempts: u32,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Call {
    fn answer(self, answer: Result<Vec<Appended>, AppendError>) {
        // Who asked may not wait any more.
        drop(self.answer.send(answer));
    }

    fn messages(&self) -> usize {
        self.appends.iter().map(|append| append.messages.len()).sum()
    }
}

impl Queue {
    /// The next calls for one transaction, in their order; those of a category stay behind each other. Calls that
    /// wait for somebody else's lock only if `waits`.
    fn take(&mut self, waits: bool) -> Vec<Call> {
        let (mut group, mut messages, mut bytes): (Vec<Call>, _, _) = (Vec::new(), 0, 0);
        let (mut left, mut passed) = (VecDeque::new(), self.held.clone());
        while let Some(call) = self.calls.pop_front() {
            let fits = match group.first() {
                None => true,
                Some(first) => {
                    !first.alone
                        && !call.alone
                        && (!first.waits || call.keys.is_subset(&first.keys))
                        && (first.waits || !call.waits)
                        && group.len() < GROUP_CALLS_MAX
                        && messages < GROUP_MESSAGES_MAX
                        && bytes < GROUP_BYTES_MAX
                }
            };
            if fits && (waits || !call.waits) && !call.keys.iter().any(|key| passed.contains(key)) {
                messages += call.messages();
                bytes += call.bytes;
                group.push(call);
            } else {
                passed.extend(&call.keys);
                left.push_back(call);
            }
        }
        self.calls = left;
        self.held.extend(group.iter().flat_map(|call| &call.keys));
        group
    }
}

/// How an attempt went for all calls of a transaction.
enum Attempt {
    /// Each call has its answer, or is to be tried again.
    Done(Vec<(Call, Fate)>),
    /// Nothing was written.
    Failed(Vec<Call>, Fault),
    /// Nothing was written, for a reason that only one of them may have.
    Spoiled(Vec<Call>, Fault),
    /// Nobody knows whether it was written.
    Unknown(Vec<Call>, Fault),
}

/// What becomes of one call.
enum Fate {
    Answer(Result<Vec<Appended>, AppendError>),
    /// Somebody else held its category.
    Wait,
}

impl Appends {
    pub(super) fn new(links: Arc<Links>, time: Time, clock: Clock) -> Self {
        Self {
            links,
            time,
            clock,
            queue: Mutex::default(),
            changed: watch::Sender::new(0),
            calls: Arc::new(Semaphore::new(WAITING_MAX)),
            room: Arc::new(Semaphore::new(ROOM_PIECES)),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, and answers when it is durable.
    pub(super) async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let size = |json: &Option<crate::Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        let of_message = |message: &crate::NewMessage| size(&message.data) + size(&message.metadata) + 64;
        let bytes: usize = appends.iter().flat_map(|append| &append.messages).map(of_message).sum();
        let pieces = (bytes / PIECE_BYTES + 1).min(ROOM_PIECES) as u32;
        let ended =
            || AppendError::Failed(Fault::new(Kind::Bug, "the store was closed").retry(Retry::IfIdempotent));
        let calls = self.calls.clone().acquire_owned().await.map_err(|_| ended())?;
        let room = self.room.clone().acquire_many_owned(pieces).await.map_err(|_| ended())?;
        let (answer, answered) = oneshot::channel();
        let keys = appends.iter().map(|append| names::hash_64(names::category(&append.stream))).collect();
        self.queue().calls.push_back(Call {
            appends,
            keys,
            bytes,
            answer,
            waits: false,
            alone: false,
            tried: None,
            attempts: 0,
            _room: (calls, room),
        });
        self.tell();
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    fn tell(&self) {
        self.changed.send_modify(|times| *times += 1);
    }

    /// Takes calls through transactions, one after the other, for ever. Several do so beside each other; one at least
    /// does not wait for locks, so that there is always a way for calls whose categories are free.
    pub(super) async fn run(self: Arc<Self>, waits: bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let group = self.queue().take(waits);
            if group.is_empty() {
                // The sender is in `self`, so this can't fail.
                drop(changed.changed().await);
                continue;
            }
            let held: BTreeSet<i64> = group.iter().flat_map(|call| call.keys.iter().copied()).collect();
            let again = self.finish(self.attempt(group).await).await;
            let mut queue = self.queue();
            for key in held {
                queue.held.remove(&key);
            }
            for call in again.into_iter().rev() {
                queue.calls.push_front(call);
            }
            drop(queue);
            self.tell();
        }
    }

    /// Answers calls, or gives them back to be tried again.
    async fn finish(&self, attempt: Attempt) -> Vec<Call> {
        match attempt {
            Attempt::Done(calls) => {
                let mut again = Vec::new();
                for (mut call, fate) in calls {
                    match fate {
                        Fate::Answer(answer) => call.answer(answer),
                        Fate::Wait => {
                            call.waits = true;
                            again.push(call);
                        }
                    }
                }
                again
            }
            Attempt::Spoiled(mut calls, fault) => {
                let is_final =
                    |call: &Call| call.attempts >= ATTEMPTS_MAX || call.alone && fault.retry == Retry::No;
                if calls.len() == 1 && is_final(&calls[0]) {
                    return Self::fail(calls, &fault);
                }
                for call in &mut calls {
                    (call.alone, call.waits, call.attempts) = (true, true, call.attempts + 1);
                }
                calls
            }
            Attempt::Failed(mut calls, fault) => {
                let tried = calls.iter().any(|call| call.tried.is_some());
                let again = fault.kind == Kind::Unavailable || fault.kind == Kind::Conflict;
                if !again || calls.iter().any(|call| call.attempts >= ATTEMPTS_MAX) && !tried {
                    return Self::fail(calls, &fault);
                }
                if calls.iter().any(|call| call.tried.is_some_and(|since| since.elapsed() > ASK_FOR)) {
                    return Self::fail(calls, &fault);
                }
                for call in &mut calls {
                    call.attempts += 1;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                calls
            }
            Attempt::Unknown(mut calls, fault) => {
                for call in &mut calls {
                    // Once its category's lock is ours, the transaction that broke off has ended, and its
                    // messages are there or will never be. Who was not written in it is decided for anew.
                    call.waits |= call.tried.is_some();
                }
                if calls.iter().any(|call| call.tried.is_some_and(|since| since.elapsed() > ASK_FOR)) {
                    return Self::fail(calls, &fault);
                }
                calls
            }
        }
    }

    fn fail(calls: Vec<Call>, fault: &Fault) -> Vec<Call> {
        for call in calls {
            let mut own = Fault::new(fault.kind, fault.to_string()).blame(fault.blame).retry(fault.retry);
            own.hint.clone_from(&fault.hint);
            let own = if call.tried.is_some() { unknown(&own) } else { own };
            call.answer(Err(AppendError::Failed(own)));
        }
        Vec::new()
    }

    async fn attempt(&self, calls: Vec<Call>) -> Attempt {
        let lent = match self.links.lend().await {
            Ok(lent) => lent,
            Err(fault) => return Attempt::Failed(calls, fault),
        };
        let waits = calls.iter().any(|call| call.waits);
        match self.begin(&lent, &calls, waits).await {
            Err(fault) => Attempt::Failed(calls, fault),
            Ok((locked, standing)) => self.write(lent, calls, &locked, standing).await,
        }
    }

    /// Begins a transaction, locks what can be locked and looks how things stand then.
    async fn begin(
        &self,
        lent: &Lent,
        calls: &[Call],
        waits: bool,
    ) -> Result<(HashSet<i64>, Standing), Fault> {
        let keys: BTreeSet<i64> = calls.iter().flat_map(|call| call.keys.iter().copied()).collect();
        let keys: Vec<i64> = keys.into_iter().collect();
        let appends = || calls.iter().flat_map(|call| &call.appends);
        let streams: BTreeSet<&str> = appends().map(|append| append.stream.as_str()).collect();
        let streams: Vec<&str> = streams.into_iter().collect();
        let ids: Vec<Uuid> =
            appends().flat_map(|append| append.messages.iter().map(|message| message.id)).collect();
        let asked = async {
            let locks = lent.statement(if waits { WAIT_FOR_LOCKS } else { TRY_LOCKS }).await?;
            let (versions, kept) = (lent.statement(VERSIONS).await?, lent.statement(KEPT).await?);
            // Known before anything hangs on it.
            lent.statement(INSERT).await?;
            // All four are on their way at once; each is a statement that sees what was committed before it began,
            // and so what the locks' last holders did.
            let (keys, streams, ids): (Parameters, Parameters, Parameters) = (&[&keys], &[&streams], &[&ids]);
            tokio::try_join!(
                biased;
                lent.client.batch_execute("BEGIN"),
                lent.client.query(&locks, keys),
                lent.client.query(&versions, streams),
                lent.client.query(&kept, ids),
            )
        };
        let ((), locks, versions, kept) = self.links.patiently(asked).await?;
        let read = || -> Result<_, Error> {
            let mut locked = HashSet::new();
            for row in &locks {
                if row.try_get(1)? {
                    locked.insert(row.try_get(0)?);
                }
            }
            let mut standing = Standing::default();
            for (stream, row) in streams.iter().zip(&versions) {
                standing.versions.insert((*stream).to_owned(), row.try_get(0)?);
            }
            for row in &kept {
                let kept = Kept {
                    stream: row.try_get(1)?,
                    position: row.try_get(2)?,
                    global_position: row.try_get(3)?,
                    time: row.try_get(4)?,
                };
                standing.kept.insert(row.try_get(0)?, kept);
            }
            Ok((locked, standing))
        };
        read().map_err(|error| self.links.failed(error))
    }

    /// Writes what goes of the calls whose categories are locked, and ends the transaction.
    async fn write(
        &self,
        lent: Lent,
        calls: Vec<Call>,
        locked: &HashSet<i64>,
        mut standing: Standing,
    ) -> Attempt {
        let (ready, busy): (Vec<Call>, Vec<Call>) =
            calls.into_iter().partition(|call| call.keys.iter().all(|key| locked.contains(key)));
        let asked = ready.iter().map(|call| (call.appends.as_slice(), call.tried.is_some()));
        let verdicts = decide(asked, &mut standing);
        let mut rows = Rows::default();
        for (call, verdict) in ready.iter().zip(&verdicts) {
            if let Verdict::Write(firsts) = verdict {
                rows.push(&call.appends, firsts);
            }
        }
        let written = if rows.ids.is_empty() {
            // Nothing to write, the locks go.
            let rolled_back = self.links.patiently(lent.client.batch_execute("ROLLBACK")).await;
            rolled_back.map(|()| Vec::new()).map_err(Broken::Before)
        } else {
            self.insert(&lent, &rows).await
        };
        let written = match written {
            Ok(written) => written,
            Err(broken) => {
                let mut calls = ready;
                if let Broken::Unknown(_) = broken {
                    let now = Instant::now();
                    for (call, verdict) in calls.iter_mut().zip(&verdicts) {
                        if let Verdict::Write(_) = verdict {
                            call.tried.get_or_insert(now);
                        }
                    }
                }
                calls.extend(busy);
                return match broken {
                    Broken::Before(fault) => Attempt::Failed(calls, fault),
                    Broken::Nothing(fault) => Attempt::Spoiled(calls, fault),
                    Broken::Unknown(fault) => Attempt::Unknown(calls, fault),
                };
            }
        };
        lent.give_back();
        let mut places = written.into_iter();
        let mut done = Vec::with_capacity(ready.len() + busy.len());
        for (call, verdict) in ready.into_iter().zip(verdicts) {
            let answer = match verdict {
                Verdict::Write(firsts) => Ok(placed(&call.appends, &firsts, &mut places)),
                Verdict::Kept(appended) => Ok(appended),
                Verdict::Refuse(error) => Err(error),
            };
            done.push((call, Fate::Answer(answer)));
        }
        done.extend(busy.into_iter().map(|call| (call, Fate::Wait)));
        Attempt::Done(done)
    }

    /// Inserts rows and commits; of each its global position and time.
    async fn insert(&self, lent: &Lent, rows: &Rows<'_>) -> Result<Vec<(i64, i64)>, Broken> {
        let now = (self.time == Time::Clock).then(|| micros(&self.clock));
        let prepared = self.links.patiently(lent.statement(INSERT)).await;
        let statement = prepared.map_err(Broken::Nothing)?;
        let parameters: Parameters =
            &[&rows.ids, &rows.streams, &rows.kinds, &rows.positions, &rows.data, &rows.metadata, &now];
        let asked = async {
            tokio::join!(
                biased;
                lent.client.query(&statement, parameters),
                lent.client.batch_execute("COMMIT"),
            )
        };
        let (inserted, committed) = tokio::time::timeout(super::COMMIT_WAIT, asked).await.map_err(|_| {
            let text = format!("{} did not answer in time", self.links.place());
            Broken::Unknown(Fault::new(Kind::Timeout, text))
        })?;
        match (inserted, committed) {
            (Ok(inserted), Ok(())) => {
                let place = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
                let places: Result<_, Error> = inserted.iter().map(place).collect();
                places.map_err(|error| Broken::Unknown(self.links.failed(error)))
            }
            // Refused before the commit, which then ended nothing.
            (Err(error), _) | (Ok(_), Err(error)) if !is_broken(&error) => {
                Err(Broken::Nothing(self.refused(error)))
            }
            (Err(error), _) | (Ok(_), Err(error)) => Err(Broken::Unknown(self.links.failed(error))),
        }
    }

    fn refused(&self, error: Error) -> Fault {
        if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
            // The look before did not see it: it was written without its category's lock, or in another category.
            let fault = Fault::new(Kind::Conflict, "another message was written at the same time");
            return fault.retry(Retry::Safe).because(error);
        }
        self.links.failed(error)
    }
}

/// How writing ended that did not succeed.
enum Broken {
    /// There was nothing to write.
    Before(Fault),
    Nothing(Fault),
    Unknown(Fault),
}

fn unknown(fault: &Fault) -> Fault {
    let text = format!("whether the messages were appended is unknown: {fault}");
    Fault::new(fault.kind, text)
        .blame(fault.blame)
        .retry(Retry::IfIdempotent)
        .hint("append again with the same ids: messages that were kept are refused as duplicates")
}

/// The columns of what is inserted.
#[derive(Default)]
struct Rows<'a> {
    ids: Vec<Uuid>,
    streams: Vec<&'a str>,
    kinds: Vec<&'a str>,
    positions: Vec<i64>,
    data: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, appends: &'a [Append], firsts: &[i64]) {
        for (append, first) in appends.iter().zip(firsts) {
            for (message, position) in append.messages.iter().zip(*first..) {
                self.ids.push(message.id);
                self.streams.push(&append.stream);
                self.kinds.push(&message.kind);
                self.positions.push(position);
                self.data.push(message.data.as_ref().map(crate::Json::as_str));
                self.metadata.push(message.metadata.as_ref().map(crate::Json::as_str));
            }
        }
    }
}

/// Where the messages of a call stand, of the places in the order of the rows.
fn placed(
    appends: &[Append],
    firsts: &[i64],
    places: &mut impl Iterator<Item = (i64, i64)>,
) -> Vec<Appended> {
    let one = |(append, first): (&Append, &i64)| {
        let mut own = places.by_ref().take(append.messages.len());
        let (first_global_position, time) = own.next().unwrap_or_default();
        let last_global_position = own.last().map_or(first_global_position, |(position, _)| position);
        Appended {
            first_position: *first,
            last_position: *first + append.messages.len() as i64 - 1,
            first_global_position,
            last_global_position,
            time,
        }
    };
    appends.iter().zip(firsts).map(one).collect()
}
