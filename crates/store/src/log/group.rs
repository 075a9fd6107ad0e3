//! Decides what becomes of the appends that wait: which are taken, at which positions, and the bytes to be
//! written for them. Nothing of it is visible or durable yet; the writer sees to that.

use super::record::{ALIGN, HEAD_BYTES, Record};
use crate::{Append, AppendError, Appended, Uuid};
use base::Fault;
use std::collections::{HashMap, HashSet};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Memory for records that is kept from group to group. One large call does not hold its size for ever.
const KEPT_BYTES: usize = 8 << 20;

/// The answer to one call of append.
pub(crate) type Answered = Result<Vec<Appended>, AppendError>;

/// What the writer is asked.
pub(crate) enum Command {
    /// To append.
    Append(Request),
    /// To seal the segment that is written, so that no message visible now is in the last one.
    Seal(oneshot::Sender<Result<(), Fault>>),
}

/// One call of append, on its way to the writer.
pub(crate) struct Request {
    pub(crate) appends: Vec<Append>,
    /// For each message, the category of its `metadata.correlationStreamName`.
    pub(crate) correlations: Vec<Option<Box<str>>>,
    pub(crate) answer: oneshot::Sender<Answered>,
    /// Its share of the bytes that may wait.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Request {
    /// The bytes of its records.
    pub(crate) fn bytes(&self) -> usize {
        let size = |json: &Option<crate::Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        let messages = self.appends.iter().flat_map(|append| {
            append.messages.iter().map(|message| {
                let names = append.stream.len() + message.kind.len();
                let bytes = HEAD_BYTES + names + size(&message.data) + size(&message.metadata);
                bytes.next_multiple_of(ALIGN)
            })
        });
        messages.sum()
    }
}

/// What the group asks about the messages before it.
pub(crate) trait Before {
    /// The position of a stream's last message, -1 for none.
    fn version(&self, stream: &str) -> Result<i64, Fault>;
    /// Whether there is a message of this id.
    fn has(&self, id: Uuid) -> Result<bool, Fault>;
}

/// A call that has been decided upon.
pub(crate) struct Decided {
    pub(crate) request: Request,
    pub(crate) answer: Answered,
    /// Of each message taken, the offset in the segment.
    pub(crate) places: Vec<u32>,
}

/// The calls that become durable together.
#[derive(Default)]
pub(crate) struct Group {
    /// Where in the segment it begins.
    pub(crate) offset: u32,
    /// The records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) decided: Vec<Decided>,
    /// How many messages were taken.
    pub(crate) messages: usize,
    versions: HashMap<String, i64>,
    ids: HashSet<Uuid>,
}

/// What the next message gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) global_position: i64,
    pub(crate) time: i64,
}

impl Group {
    /// Begins anew, at an offset of the segment.
    pub(crate) fn begin(&mut self, offset: u32) {
        self.offset = offset;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.decided.clear();
        self.messages = 0;
        self.versions.clear();
        self.ids.clear();
    }

    /// Decides upon a call: all of it is taken or nothing. `next` is moved on by what is taken.
    pub(crate) fn decide(&mut self, request: Request, next: &mut Next, before: &dyn Before) {
        let (bytes, first) = (self.bytes.len(), next.global_position);
        let mut undo = Undo::default();
        let mut places = Vec::new();
        let answer = self.sequence(&request.appends, next, before, &mut places, &mut undo);
        if answer.is_err() {
            self.bytes.truncate(bytes);
            places.clear();
            next.global_position = first;
            for id in undo.ids {
                self.ids.remove(&id);
            }
            for (stream, version) in undo.versions.into_iter().rev() {
                match version {
                    Some(version) => self.versions.insert(stream, version),
                    None => self.versions.remove(&stream),
                };
            }
        }
        self.messages += places.len();
        self.decided.push(Decided { request, answer, places });
    }

    fn sequence(
        &mut self,
        appends: &[Append],
        next: &mut Next,
        before: &dyn Before,
        places: &mut Vec<u32>,
        undo: &mut Undo,
    ) -> Answered {
        let mut appended = Vec::with_capacity(appends.len());
        let mut left: usize = appends.iter().map(|append| append.messages.len()).sum();
        for append in appends {
            let known = self.versions.get(&append.stream).copied();
            let actual = match known {
                Some(version) => version,
                None => before.version(&append.stream).map_err(AppendError::Failed)?,
            };
            if let Some(expected) = append.expected_version.filter(|expected| *expected != actual) {
                return Err(AppendError::WrongVersion { stream: append.stream.clone(), expected, actual });
            }
            let first_global_position = next.global_position;
            for (message, nth) in append.messages.iter().zip(1..) {
                if self.ids.contains(&message.id) || before.has(message.id).map_err(AppendError::Failed)? {
                    return Err(AppendError::DuplicateId { id: message.id });
                }
                self.ids.insert(message.id);
                undo.ids.push(message.id);
                left -= 1;
                places.push(self.offset + self.bytes.len() as u32);
                let record = Record {
                    removed: false,
                    more: left > 0,
                    group: self.offset,
                    global_position: next.global_position,
                    position: actual + nth,
                    time: next.time,
                    id: message.id,
                    stream: &append.stream,
                    kind: &message.kind,
                    metadata: message.metadata.as_ref().map(crate::Json::as_str),
                    data: message.data.as_ref().map(crate::Json::as_str),
                };
                record.write(&mut self.bytes);
                next.global_position += 1;
            }
            let last_position = actual + append.messages.len() as i64;
            undo.versions.push((append.stream.clone(), known));
            self.versions.insert(append.stream.clone(), last_position);
            appended.push(Appended {
                first_position: actual + 1,
                last_position,
                first_global_position,
                last_global_position: next.global_position - 1,
                time: next.time,
            });
        }
        Ok(appended)
    }
}

/// What a call that is refused in its middle has to give back.
#[derive(Default)]
struct Undo {
    ids: Vec<Uuid>,
    versions: Vec<(String, Option<i64>)>,
}
