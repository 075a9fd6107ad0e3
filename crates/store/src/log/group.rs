//! Decides what becomes of the appends that wait: which are taken, at which positions, and the bytes to be
//! written for them. Nothing of it is visible or durable yet; the writer sees to that.

use super::call::{Answered, Call, Request};
use super::record::{Place, Written};
use crate::{AppendError, Appended, Uuid};
use base::Fault;
use std::collections::{HashMap, HashSet};

/// Memory for records that is kept from group to group. One large call does not hold its size for ever.
const KEPT_BYTES: usize = 2 << 20;
/// Streams whose versions are kept from group to group.
const KEPT_VERSIONS: usize = 8 << 10;
/// Groups that may be in no index yet: one that is written, and one that is durable.
const NOT_INDEXED: u64 = 2;

/// What the group asks about the messages before it.
pub(crate) trait Before {
    /// The position of a stream's last message, -1 for none.
    fn version(&self, stream: &str) -> Result<i64, Fault>;
    /// Whether there is a message of this id, where none before a global position has it.
    fn has(&self, id: Uuid, new_until: i64) -> Result<bool, Fault>;
}

/// A call that has been decided upon.
pub(crate) struct Decided {
    pub(crate) request: Request,
    pub(crate) answer: Answered,
}

/// The calls that become durable together.
#[derive(Default)]
pub(crate) struct Group {
    /// Where in the segment it begins.
    pub(crate) offset: u32,
    /// The global position of its first message.
    pub(crate) first: i64,
    /// The records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) decided: Vec<Decided>,
    /// Of each message taken, the offset in the segment.
    pub(crate) places: Vec<u32>,
    ids: HashSet<Uuid>,
}

/// The versions of streams that were appended to, by groups that no index has yet or before them: many are soon
/// appended to again.
#[derive(Default)]
pub(crate) struct Versions {
    known: HashMap<Box<str>, Version>,
    /// Groups that were begun.
    groups: u64,
}

struct Version {
    version: i64,
    /// The group that appended last.
    group: u64,
}

impl Versions {
    /// A group begins; all but the last [`NOT_INDEXED`] before it are in an index.
    pub(crate) fn begin_group(&mut self) {
        self.groups += 1;
        if self.known.len() > KEPT_VERSIONS {
            self.known.retain(|_, known| known.group + NOT_INDEXED >= self.groups);
        }
    }

    /// What was appended last was not, and what the versions would be, they are not.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}

/// What the next message gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) global_position: i64,
    pub(crate) time: i64,
}

impl Group {
    /// Begins anew, at an offset of the segment and a global position.
    pub(crate) fn begin(&mut self, offset: u32, first: i64) {
        (self.offset, self.first) = (offset, first);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.decided.clear();
        self.places.clear();
        self.ids.clear();
    }

    /// Whether a message of this id was taken.
    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    /// Decides upon a call: all of it is taken or nothing. `next` is moved on by what is taken.
    pub(crate) fn decide(
        &mut self,
        mut request: Request,
        next: &mut Next,
        versions: &mut Versions,
        before: &dyn Before,
    ) {
        let (bytes, messages, first) = (self.bytes.len(), self.places.len(), next.global_position);
        let mut answer = std::mem::take(&mut request.appended);
        let refused = self.sequence(&request.call, next, versions, before, &mut answer).err();
        if refused.is_some() {
            self.give_back(&request.call, versions, self.places.len() - messages, answer.len());
            self.bytes.truncate(bytes);
            self.places.truncate(messages);
            next.global_position = first;
        }
        self.decided.push(Decided { request, answer: refused.map_or(Ok(answer), Err) });
    }

    /// Takes back what a call that is refused left so far: the ids of its first messages, the versions of its first
    /// streams.
    fn give_back(&mut self, call: &Call, versions: &mut Versions, messages: usize, appends: usize) {
        let mut rest = call.records.as_slice();
        let mut left = messages;
        for (append, nth) in call.appends.iter().zip(0..) {
            let mut stream = "";
            for _ in 0..append.messages.min(left) {
                let (record, behind) = Written::first(rest);
                (rest, stream) = (behind, record.stream());
                self.ids.remove(&record.id());
            }
            left = left.saturating_sub(append.messages);
            if nth < appends
                && let Some(known) = versions.known.get_mut(stream)
            {
                known.version -= append.messages as i64;
            }
        }
    }

    fn sequence(
        &mut self,
        call: &Call,
        next: &mut Next,
        versions: &mut Versions,
        before: &dyn Before,
        appended: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        let mut rest = call.records.as_slice();
        for append in &call.appends {
            let stream = Written::first(rest).0.stream();
            let known = versions.known.get_mut(stream);
            let actual = match &known {
                Some(known) => known.version,
                None => before.version(stream).map_err(AppendError::Failed)?,
            };
            if let Some(expected) = append.expected_version.filter(|expected| *expected != actual) {
                return Err(AppendError::WrongVersion { stream: stream.to_owned(), expected, actual });
            }
            let first_global_position = next.global_position;
            let last_position = actual + append.messages as i64;
            for position in actual + 1..=last_position {
                let (record, behind) = Written::first(rest);
                rest = behind;
                let id = record.id();
                if !self.ids.insert(id) {
                    return Err(AppendError::DuplicateId { id });
                }
                if let Err(error) = refuse_known(id, call.new_until, before) {
                    self.ids.remove(&id);
                    return Err(error);
                }
                self.places.push(self.offset + self.bytes.len() as u32);
                let (group, global_position, time) = (self.offset, next.global_position, next.time);
                record.write_at(&Place { group, global_position, position, time }, &mut self.bytes);
                next.global_position += 1;
            }
            let version = Version { version: last_position, group: versions.groups };
            match known {
                Some(known) => *known = version,
                None => drop(versions.known.insert(stream.into(), version)),
            }
            appended.push(Appended {
                first_position: actual + 1,
                last_position,
                first_global_position,
                last_global_position: next.global_position - 1,
                time: next.time,
            });
        }
        Ok(())
    }

    /// The record of the message taken as the one of this number.
    pub(crate) fn record(&self, nth: usize) -> Written<'_> {
        Written::first(&self.bytes[(self.places[nth] - self.offset) as usize..]).0
    }
}

fn refuse_known(id: Uuid, new_until: i64, before: &dyn Before) -> Result<(), AppendError> {
    if before.has(id, new_until).map_err(AppendError::Failed)? {
        return Err(AppendError::DuplicateId { id });
    }
    Ok(())
}
