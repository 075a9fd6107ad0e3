//! The one thread that appends. It takes the calls that came in while the disk was busy as one group, writes
//! them, makes them durable with one sync, shows them to the readers, and only then answers.

use super::call::{Command, Request};
use super::disk::{DiskFile, write_zeros};
use super::group::{Before, Decided, Group, Next};
use super::index::Part;
use super::run::{self, Run};
use super::segment::{self, HEADER_BYTES};
use super::shared::{Map, Shared};
use super::tail::{Entry, Tail};
use super::{LogOptions, fetch::io_fault};
use crate::{AppendError, Uuid};
use base::{Blame, Clock, Fault, Kind, Retry};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Waker;
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedReceiver;

/// Bytes of a group, but for a single call that has more.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// A segment grows by zeros that are written before records are: a sync is faster where it need not note that
/// the file became longer.
const GROW_BYTES: u64 = 1 << 20;
/// The segment to come is prepared in pieces, so that no group waits long behind them.
const SPARE_PIECE_BYTES: u64 = 256 << 10;
/// The segment to come, until its first message is known.
pub(crate) const SPARE: &str = "next.new";

/// The segment that is written.
pub(crate) struct Active {
    pub(crate) file: Arc<dyn DiskFile>,
    /// The global position of its first message.
    pub(crate) first: i64,
    /// Where the next record goes.
    pub(crate) offset: u64,
    /// Up to here the file is there, and zeros from `offset` on.
    pub(crate) zeros: u64,
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) options: LogOptions,
    pub(crate) active: Active,
    pub(crate) tail: Arc<RwLock<Tail>>,
    pub(crate) next: Next,
    /// Why nothing can be written any more.
    pub(crate) broken: Option<String>,
    /// Makes the run of the part before the tail.
    pub(crate) sealing: Option<JoinHandle<Result<(), Fault>>>,
    /// The part whose run could not be made yet.
    pub(crate) unsealed: Option<Arc<RwLock<Tail>>>,
    /// Prepares the segment to come.
    pub(crate) spare: Option<JoinHandle<io::Result<()>>>,
    /// There was no room for a segment to come.
    pub(crate) cramped: bool,
    /// Makes a filter over many runs.
    pub(crate) widening: Option<JoinHandle<Result<(), Fault>>>,
    /// Of callers that have their answers, until they are woken.
    pub(crate) wakers: Vec<Waker>,
}

impl Writer {
    /// Until nobody can append any more.
    pub(crate) fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut group = Group::default();
        let mut next = commands.blocking_recv();
        while let Some(command) = next {
            next = self.turn(command, &mut commands, &mut group).or_else(|| commands.try_recv().ok());
            if next.is_none() {
                self.shared.callers.wake_others();
                next = commands.blocking_recv();
            }
        }
        self.rest();
    }

    /// Waits for what runs beside.
    pub(crate) fn rest(&mut self) {
        if let Some(sealing) = self.sealing.take() {
            // A run that could not be made is made at the next opening.
            drop(sealing.join());
        }
        if let Some(spare) = self.spare.take() {
            drop(spare.join());
        }
        if let Some(widening) = self.widening.take() {
            drop(widening.join());
        }
    }

    /// Does what is asked; of calls of append those that wait behind it, too. Answers what was taken out and is
    /// still to be done.
    pub(crate) fn turn(
        &mut self,
        command: Command,
        commands: &mut UnboundedReceiver<Command>,
        group: &mut Group,
    ) -> Option<Command> {
        match command {
            Command::Seal(answer, _room) => {
                let sealed = if self.active.offset > HEADER_BYTES { self.roll() } else { Ok(()) };
                drop(answer.send(sealed.and_then(|()| self.finish_sealing())));
                None
            }
            Command::Append(first) => self.append(first, commands, group),
        }
    }

    fn append(
        &mut self,
        first: Request,
        commands: &mut UnboundedReceiver<Command>,
        group: &mut Group,
    ) -> Option<Command> {
        group.begin(self.active.offset as u32);
        self.next.time = self.next.time.max(i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX));
        let mut map = self.shared.map();
        let (mut waiting, mut left) = (Some(first), None);
        while let Some(request) = waiting.take() {
            if self.is_full(group, request.call.records.len()) {
                self.commit(group);
                if self.active.offset > HEADER_BYTES
                    && let Err(fault) = self.roll()
                {
                    self.wake(request.answer(Err(AppendError::Failed(fault))));
                    return None;
                }
                group.begin(self.active.offset as u32);
                map = self.shared.map();
            }
            let before = Earlier { shared: &self.shared, map: &map, tail: &self.tail };
            group.decide(request, &mut self.next, &before);
            if group.bytes.len() < GROUP_BYTES_MAX {
                match commands.try_recv() {
                    Ok(Command::Append(request)) => waiting = Some(request),
                    other => left = other.ok(),
                }
            }
        }
        self.commit(group);
        left
    }

    /// Whether the segment has no room for so many bytes behind the group.
    fn is_full(&self, group: &Group, bytes: usize) -> bool {
        let end = self.active.offset + (group.bytes.len() + bytes) as u64;
        let messages = self.next.global_position - self.active.first;
        end > self.options.segment_bytes || messages >= self.options.segment_messages as i64
    }

    /// Makes a group durable and visible, and answers.
    fn commit(&mut self, group: &mut Group) {
        // Of the group before, whoever was not woken yet waits no longer than until now.
        self.shared.callers.wake_others();
        let written = if group.bytes.is_empty() { Ok(()) } else { self.write(&group.bytes) };
        match written {
            Ok(()) => {
                self.publish(group);
                let answered = |Decided { request, answer }| request.answer(answer);
                self.wake(group.decided.drain(..).filter_map(answered));
                group.begin(self.active.offset as u32);
            }
            Err(failure) => {
                self.next.global_position -= group.places.len() as i64;
                // Those refused as well: what they were compared with is gone.
                let failed =
                    |decided: Decided| decided.request.answer(Err(AppendError::Failed(failure.fault())));
                self.wake(group.decided.drain(..).filter_map(failed));
                group.take_back(self.active.offset as u32);
            }
        }
    }

    /// Wakes callers that have their answers.
    fn wake(&mut self, callers: impl IntoIterator<Item = Waker>) {
        self.wakers.extend(callers);
        self.shared.callers.wake_first(&mut self.wakers);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(why) = &self.broken {
            return Err(Failure::Broken(why.clone()));
        }
        let (start, end) = (self.active.offset, self.active.offset + bytes.len() as u64);
        while self.active.zeros < end {
            let to = (self.active.zeros + GROW_BYTES).min(self.options.segment_bytes.max(end));
            match write_zeros(&*self.active.file, self.active.zeros, to) {
                Ok(()) => self.active.zeros = to,
                // What is prepared for later is needed now.
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.give_up_spare() => {}
                // Zeros that could not all be written change nothing: more will be written there.
                Err(error) => return Err(Failure::NotWritten(error)),
            }
        }
        if let Err(error) = self.active.file.write_at(bytes, start) {
            // Whole records may stand there now, and would be taken for messages when a shorter group comes to
            // stand before them. So they have to go, durably, before anything else is written.
            let file = &self.active.file;
            if let Err(second) = write_zeros(&**file, start, end).and_then(|()| file.sync()) {
                self.broken = Some(format!("a write failed ({error}), and so did taking it back ({second})"));
                return Err(Failure::Unknown(error));
            }
            return Err(Failure::NotWritten(error));
        }
        if let Err(error) = self.active.file.sync() {
            // The system may have dropped the pages that it could not write and call the next sync a success
            // (as PostgreSQL found in 2018). Only reading the file anew tells what is durable: no more is
            // written until the store is opened again.
            self.broken = Some(format!("a sync failed ({error})"));
            return Err(Failure::Unknown(error));
        }
        self.active.offset = end;
        Ok(())
    }

    fn publish(&mut self, group: &Group) {
        if group.places.is_empty() {
            return;
        }
        self.shared.grouped.add(group.places.len(), group.bytes.len());
        let taken =
            || group.decided.iter().filter_map(|decided| Some((decided, decided.answer.as_ref().ok()?)));
        {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            let mut nth = 0;
            for (decided, _) in taken() {
                let call = &decided.request.call;
                for of_call in 0..call.messages {
                    let record = group.record(nth);
                    tail.push(Entry {
                        place: group.places[nth],
                        position: record.position(),
                        id: Some(record.id()),
                        stream: record.stream(),
                        correlation: call.correlations.get(of_call).and_then(Option::as_deref),
                    });
                    nth += 1;
                }
            }
        }
        self.shared.set_head(self.next.global_position - 1);
        let first = self.next.global_position - group.places.len() as i64;
        let last_of_each = taken().flat_map(|(_, appended)| appended).map(|appended| {
            let last = appended.last_global_position;
            (group.record((last - first) as usize).stream(), last)
        });
        self.shared.wakes.appended(last_of_each);
        let half = self.options.segment_bytes / 2;
        if self.options.background && !self.cramped && self.spare.is_none() && self.active.offset > half {
            self.prepare_spare();
        }
    }

    /// Writes the zeros of the segment to come, beside the appends.
    fn prepare_spare(&mut self) {
        let (disk, bytes) = (self.shared.disk.clone(), self.options.segment_bytes);
        let prepare = move || {
            let file = disk.create(SPARE)?;
            let mut at = 0;
            while at < bytes {
                let to = (at + SPARE_PIECE_BYTES).min(bytes);
                if let Err(error) = write_zeros(&*file, at, to).and_then(|()| file.sync()) {
                    drop(disk.remove(SPARE));
                    return Err(error);
                }
                at = to;
            }
            Ok(())
        };
        // Without a thread, the segment grows as it is written.
        self.spare = std::thread::Builder::new().name("store-spare".into()).spawn(prepare).ok();
    }

    /// Removes the segment to come, if there is one, and prepares none while this one is written.
    fn give_up_spare(&mut self) -> bool {
        let Some(spare) = self.spare.take() else { return false };
        self.cramped = true;
        drop(spare.join());
        drop(self.shared.disk.remove(SPARE));
        true
    }

    /// Seals the segment that is written and begins the next one.
    fn roll(&mut self) -> Result<(), Fault> {
        if let Some(why) = &self.broken {
            return Err(Failure::Broken(why.clone()).fault());
        }
        // This may take a while.
        self.shared.callers.wake_others();
        // Two indexes in memory at most: that of the tail and that of the part before it.
        self.finish_sealing()?;
        let first = self.next.global_position;
        let active = self.begin_segment(first).map_err(|failure| failure.fault())?;
        let tail = Arc::new(RwLock::new(Tail::new(first)));
        self.shared.change_map(|map| {
            map.parts.push(Part::Tail(first, tail.clone()));
            map.segments.push(first);
        });
        let sealed = std::mem::replace(&mut self.tail, tail);
        self.active = active;
        self.cramped = false;
        self.unsealed = Some(sealed.clone());
        if self.options.background {
            let shared = self.shared.clone();
            let seal = move || seal(&shared, &sealed);
            // Without a thread it is done before the next part is sealed.
            self.sealing = std::thread::Builder::new().name("store-seal".into()).spawn(seal).ok();
        } else {
            // The roll itself has succeeded, and what failed here is tried again before the next.
            drop(self.finish_sealing());
        }
        self.widen();
        Ok(())
    }

    /// Makes a filter over runs where there are enough. Without it all is found as well, and it is tried again
    /// at the next roll.
    fn widen(&mut self) {
        if self.widening.as_ref().is_some_and(|widening| !widening.is_finished()) {
            return;
        }
        let (shared, runs_in_filter) = (self.shared.clone(), self.options.runs_in_filter);
        if !self.options.background {
            drop(shared.widen(runs_in_filter));
        } else if shared.runs_without_filter() >= runs_in_filter {
            let widen = move || shared.widen(runs_in_filter);
            self.widening = std::thread::Builder::new().name("store-filter".into()).spawn(widen).ok();
        }
    }

    fn finish_sealing(&mut self) -> Result<(), Fault> {
        if let Some(Ok(Ok(()))) = self.sealing.take().map(JoinHandle::join) {
            self.unsealed = None;
        }
        if let Some(unsealed) = &self.unsealed {
            seal(&self.shared, unsealed)?;
            self.unsealed = None;
        }
        Ok(())
    }

    fn begin_segment(&mut self, first: i64) -> Result<Active, Failure> {
        let disk = &self.shared.disk;
        let prepared = matches!(self.spare.take().map(JoinHandle::join), Some(Ok(Ok(()))));
        let prepare = || {
            let file = if prepared { disk.open(SPARE)? } else { disk.create(SPARE)? };
            file.write_at(&segment::header(first), 0)?;
            file.sync()?;
            let zeros = file.bytes()?;
            Ok(Active { file, first, offset: HEADER_BYTES, zeros })
        };
        let active = prepare().map_err(Failure::NotWritten)?;
        // Under its name it is whole. Where it is not known whether it stands there, no message of its
        // positions may go anywhere else.
        let named = disk.rename(SPARE, &segment::file_name(first)).and_then(|()| disk.sync());
        if let Err(error) = named {
            self.broken = Some(format!("a new segment could not be begun ({error})"));
            return Err(Failure::NotWritten(error));
        }
        Ok(active)
    }
}

/// Makes the run of a part and puts it in the part's place.
pub(crate) fn seal(shared: &Shared, tail: &RwLock<Tail>) -> Result<(), Fault> {
    let tail = tail.read().unwrap_or_else(PoisonError::into_inner);
    let range = (tail.first(), tail.end());
    run::write(&*shared.disk, &tail).map_err(|error| {
        let fault = Fault::new(Kind::Io, "cannot write an index file").because(error);
        fault.blame(Blame::Neighbour).retry(Retry::Safe).hint("make room on the disk")
    })?;
    let run = Arc::new(Run::open(&shared.runs, range, true)?);
    drop(tail);
    shared.change_map(|map: &mut Map| {
        for part in &mut map.parts {
            if part.first() == range.0 {
                *part = Part::Run(run.clone());
            }
        }
    });
    Ok(())
}

/// The messages before the group.
struct Earlier<'a> {
    shared: &'a Shared,
    /// Of the parts when the group began. Those that are written are among them.
    map: &'a Map,
    tail: &'a RwLock<Tail>,
}

impl Before for Earlier<'_> {
    fn version(&self, stream: &str) -> Result<i64, Fault> {
        // Streams that are written are mostly written again soon.
        let hot = self.tail.read().unwrap_or_else(PoisonError::into_inner).version(stream);
        hot.map_or_else(|| self.shared.version(stream).map_err(io_fault), Ok)
    }

    fn has(&self, id: Uuid, new_until: i64) -> Result<bool, Fault> {
        // A segment that was replaced meanwhile is not what this map says.
        self.shared.has_id_of(self.map, id, new_until).or_else(|_| self.shared.has_id(id))
    }
}

/// Why a group was not appended.
enum Failure {
    /// Nothing of it is in the log.
    NotWritten(io::Error),
    /// It may be in the log after the store is opened again.
    Unknown(io::Error),
    /// The log had failed before.
    Broken(String),
}

impl Failure {
    fn fault(&self) -> Fault {
        const REOPEN: &str = "look at the disk, then start again: what was acknowledged is kept";
        let fault = |text: String| Fault::new(Kind::Io, text).blame(Blame::Neighbour);
        match self {
            Self::NotWritten(error) if error.kind() == io::ErrorKind::StorageFull => {
                fault("the disk of the store is full".into()).retry(Retry::Safe).hint("make room on it")
            }
            Self::NotWritten(error) => {
                fault(format!("cannot write to the store: {error}")).retry(Retry::Safe)
            }
            Self::Unknown(error) => fault(format!("cannot make messages durable: {error}"))
                .retry(Retry::IfIdempotent)
                .hint(REOPEN),
            Self::Broken(why) => {
                fault(format!("the store takes no messages since {why}")).retry(Retry::No).hint(REOPEN)
            }
        }
    }
}
