//! The one thread that appends. It takes the calls that came in while the disk was busy as one group, has them written
//! and made durable with one sync, shows them to the readers, and only then answers.

use super::beside::{Beside, Done, Failure, Job};
use super::call::{Command, Request};
use super::disk::{DiskFile, write_zeros};
use super::group::{Before, Decided, Group, Next, Versions};
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
pub(crate) const GROUP_BYTES_MAX: usize = 4 << 20;
/// Groups of so many calls are written by a thread of their own, while the next one is decided upon.
pub(crate) const BESIDE_FROM: usize = 8;
/// Groups whose memory is kept: there are no more than one decided upon, one written and one answered.
const IDLE_MAX: usize = 2;
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
    /// Decided upon, and not yet begun to be written.
    pub(crate) open: Group,
    /// Being written, beside.
    pub(crate) written: Option<Group>,
    /// Durable, and not yet shown or answered.
    pub(crate) durable: Option<Group>,
    /// Memory of groups that were answered.
    pub(crate) idle: Vec<Group>,
    pub(crate) versions: Versions,
    pub(crate) beside: Beside,
    /// Groups of so many calls are written beside.
    pub(crate) beside_from: usize,
    /// Bytes of a group, but for its last call.
    pub(crate) group_bytes_max: usize,
    /// Of callers that have their answers, until they are woken.
    pub(crate) wakers: Vec<Waker>,
}

impl Writer {
    /// Until nobody can append any more.
    pub(crate) fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        while let Some(command) = self.next(&mut commands) {
            self.turn(command, &mut commands);
        }
        self.rest();
    }

    /// Waits for what is asked next.
    fn next(&mut self, commands: &mut UnboundedReceiver<Command>) -> Option<Command> {
        if let Ok(command) = commands.try_recv() {
            return Some(command);
        }
        self.shared.callers.wake_others();
        commands.blocking_recv()
    }

    /// Waits for what runs beside.
    pub(crate) fn rest(self) {
        self.beside.end();
        if let Some(sealing) = self.sealing {
            // A run that could not be made is made at the next opening.
            drop(sealing.join());
        }
        if let Some(spare) = self.spare {
            drop(spare.join());
        }
        if let Some(widening) = self.widening {
            drop(widening.join());
        }
    }

    /// Does what is asked, and all that comes in meanwhile. While one group is written, the next is decided upon and
    /// the one before is answered; a small one is written at once, as giving it to another thread costs more.
    pub(crate) fn turn(&mut self, first: Command, commands: &mut UnboundedReceiver<Command>) {
        let mut left = Some(first);
        loop {
            left = self.gather(left, commands);
            self.land();
            // What came while the disk was busy.
            left = self.gather(left, commands);
            let beside = self.durable.is_some() || self.open.decided.len() >= self.beside_from;
            self.begin_writing(beside);
            self.finish_durable();
            if self.written.is_none() {
                match left.take() {
                    Some(command) => self.alone(command),
                    None if self.open.decided.is_empty() => return,
                    None => {}
                }
            }
        }
    }

    /// Decides upon calls until there are no more, or enough. Answers what has to wait until all before it is done.
    fn gather(
        &mut self,
        mut left: Option<Command>,
        commands: &mut UnboundedReceiver<Command>,
    ) -> Option<Command> {
        let map = self.shared.map();
        if self.open.decided.is_empty() {
            let now = i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX);
            self.next.time = self.next.time.max(now);
        }
        while self.open.bytes.len() < self.group_bytes_max {
            match left.take().or_else(|| commands.try_recv().ok()) {
                Some(Command::Append(request)) if !self.is_full(request.call.records.len()) => {
                    self.decide(request, &map);
                }
                other => return other,
            }
        }
        left
    }

    fn decide(&mut self, request: Request, map: &Map) {
        let not_indexed = [self.written.as_ref(), self.durable.as_ref()];
        let before = Earlier { shared: &self.shared, map, tail: &self.tail, not_indexed };
        self.open.decide(request, &mut self.next, &mut self.versions, &before);
    }

    /// Whether the segment has no room for so many bytes behind the group.
    fn is_full(&self, bytes: usize) -> bool {
        let end = self.active.offset + (self.open.bytes.len() + bytes) as u64;
        let messages = self.next.global_position - self.active.first;
        end > self.options.segment_bytes || messages >= self.options.segment_messages as i64
    }

    /// Does what is only done when no group is under way.
    fn alone(&mut self, command: Command) {
        let rolled = if self.active.offset > HEADER_BYTES { self.roll() } else { Ok(()) };
        match (command, rolled) {
            (Command::Seal(answer, _room), sealed) => {
                drop(answer.send(sealed.and_then(|()| self.finish_sealing())));
            }
            (Command::Append(request), Ok(())) => self.decide(request, &self.shared.map()),
            (Command::Append(request), Err(fault)) => {
                self.wake(request.answer(Err(AppendError::Failed(fault))));
            }
        }
    }

    /// Begins to write the group that was decided upon, if there is one, and a new one.
    fn begin_writing(&mut self, beside: bool) {
        if self.open.decided.is_empty() {
            return;
        }
        // Of the group before, whoever was not woken yet waits no longer than until now.
        self.shared.callers.wake_others();
        let (start, end) = (self.active.offset, self.active.offset + self.open.bytes.len() as u64);
        let room = if start < end { self.make_room(end) } else { Ok(()) };
        self.active.offset = end;
        let mut group = self.begin_group();
        let job = Job { file: self.active.file.clone(), bytes: std::mem::take(&mut group.bytes), start };
        match room {
            Ok(()) if start < end && beside => {
                self.written = Some(group);
                self.beside.begin(job);
            }
            room => {
                // What this one was compared with is shown before it is answered.
                self.finish_durable();
                let result = room.and_then(|()| if start < end { job.run() } else { Ok(()) });
                if let Some(group) = self.end(group, Done { job: Some(job), result }) {
                    self.finish(group);
                }
            }
        }
    }

    /// Waits for the group that is written.
    fn land(&mut self) {
        if let Some(group) = self.written.take() {
            self.shared.callers.wake_others();
            let done = self.beside.wait();
            self.durable = self.end(group, done);
        }
    }

    /// The group, if it was written.
    fn end(&mut self, mut group: Group, done: Done) -> Option<Group> {
        group.bytes = done.job.map_or_else(Vec::new, |job| job.bytes);
        match done.result {
            Ok(()) => Some(group),
            Err(failure) => {
                self.fail(group, failure);
                None
            }
        }
    }

    fn finish_durable(&mut self) {
        if let Some(group) = self.durable.take() {
            self.finish(group);
        }
    }

    /// Shows a group to readers, and answers.
    fn finish(&mut self, mut group: Group) {
        self.publish(&group);
        let answered = |Decided { request, answer }| request.answer(answer);
        self.wake(group.decided.drain(..).filter_map(answered));
        self.put_away(group);
    }

    /// Says of a group that it was not appended, and so of the calls behind it: what they were compared with is gone.
    fn fail(&mut self, group: Group, failure: Failure) {
        (self.active.offset, self.next.global_position) = (u64::from(group.offset), group.first);
        self.versions.forget();
        self.refuse(group, &failure);
        let failure = match failure {
            Failure::Unknown(_, why) => Failure::Broken(self.broken.insert(why).clone()),
            other => other,
        };
        let behind = self.begin_group();
        self.refuse(behind, &failure);
    }

    fn refuse(&mut self, mut group: Group, failure: &Failure) {
        let failed = |decided: Decided| decided.request.answer(Err(AppendError::Failed(failure.fault())));
        self.wake(group.decided.drain(..).filter_map(failed));
        self.put_away(group);
    }

    /// Keeps a group's memory for another.
    fn put_away(&mut self, mut group: Group) {
        group.begin(0, 0);
        if self.idle.len() < IDLE_MAX {
            self.idle.push(group);
        }
    }

    /// Wakes callers that have their answers.
    fn wake(&mut self, callers: impl IntoIterator<Item = Waker>) {
        self.wakers.extend(callers);
        self.shared.callers.wake_first(&mut self.wakers);
    }

    /// Has the segment reach up to an offset.
    fn make_room(&mut self, end: u64) -> Result<(), Failure> {
        if let Some(why) = &self.broken {
            return Err(Failure::Broken(why.clone()));
        }
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
        Ok(())
    }

    /// Puts a new group in the place of the one that is decided upon.
    pub(crate) fn begin_group(&mut self) -> Group {
        let next = self.idle.pop().unwrap_or_default();
        let group = std::mem::replace(&mut self.open, next);
        self.open.begin(self.active.offset as u32, self.next.global_position);
        self.versions.begin_group();
        group
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
        self.shared.set_head(group.first + group.places.len() as i64 - 1);
        let last_of_each = taken().flat_map(|(_, appended)| appended).map(|appended| {
            let last = appended.last_global_position;
            (group.record((last - group.first) as usize).stream(), last)
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
        self.open.begin(HEADER_BYTES as u32, first);
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
    /// Of the parts a moment ago. Those that are written are among them.
    map: &'a Map,
    tail: &'a RwLock<Tail>,
    /// Groups whose messages are in no part yet.
    not_indexed: [Option<&'a Group>; 2],
}

impl Before for Earlier<'_> {
    fn version(&self, stream: &str) -> Result<i64, Fault> {
        // Streams that are written are mostly written again soon.
        let hot = self.tail.read().unwrap_or_else(PoisonError::into_inner).version(stream);
        hot.map_or_else(|| self.shared.version(stream).map_err(io_fault), Ok)
    }

    fn has(&self, id: Uuid, new_until: i64) -> Result<bool, Fault> {
        if self.not_indexed.iter().flatten().any(|group| group.has(id)) {
            return Ok(true);
        }
        // A segment that was replaced meanwhile is not what this map says.
        self.shared.has_id_of(self.map, id, new_until).or_else(|_| self.shared.has_id(id))
    }
}
