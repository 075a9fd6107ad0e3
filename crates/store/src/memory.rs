//! An engine that keeps messages in memory only, as plainly as can be: for tests of what stands on a store,
//! and as the oracle that the durable engines are compared with. Every question is a scan.

use crate::{
    Answer, Append, AppendError, Appended, CategoryInfo, Direction, Engine, Message, Page, Read, Removal,
    Scope, StreamInfo, StreamList, Uuid, Wakes, message::bounds, names,
};
use base::Clock;
use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps messages in memory, without bound, and loses them at the end.
#[derive(Debug)]
pub struct Memory {
    clock: Clock,
    messages: Mutex<Vec<Kept>>,
    wakes: Wakes,
}

/// A message, and whether it was removed: then only its positions count.
#[derive(Debug)]
struct Kept {
    message: Message,
    removed: bool,
}

impl std::ops::Deref for Kept {
    type Target = Message;
    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Memory {
    /// Nothing in it yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, messages: Mutex::default(), wakes: Wakes::new() }
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_now(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let mut messages = self.messages();
        let now = i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX);
        let time = messages.last().map_or(now, |last| last.time.max(now));
        let (mut fresh, mut appended): (Vec<Kept>, _) = (Vec::new(), Vec::new());
        let standing = messages.iter().filter(|message| !message.removed);
        let mut ids: HashSet<Uuid> = standing.map(|message| message.id).collect();
        for append in appends {
            let all = messages.iter().chain(&fresh);
            let actual = all.rev().find(|m| m.stream == append.stream).map_or(-1, |last| last.position);
            if let Some(expected) = append.expected_version.filter(|expected| *expected != actual) {
                return Err(AppendError::WrongVersion { stream: append.stream, expected, actual });
            }
            let first_global_position = (messages.len() + fresh.len()) as i64 + 1;
            let count = append.messages.len() as i64;
            for (message, nth) in append.messages.into_iter().zip(0..) {
                if !ids.insert(message.id) {
                    return Err(AppendError::DuplicateId { id: message.id });
                }
                let message = Message {
                    id: message.id,
                    stream: append.stream.clone(),
                    kind: message.kind,
                    position: actual + 1 + nth,
                    global_position: first_global_position + nth,
                    data: message.data,
                    metadata: message.metadata,
                    time,
                };
                fresh.push(Kept { message, removed: false });
            }
            appended.push(Appended {
                first_position: actual + 1,
                last_position: actual + count,
                first_global_position,
                last_global_position: first_global_position + count - 1,
                time,
            });
        }
        let first = messages.len();
        messages.append(&mut fresh);
        self.wakes.appended(messages[first..].iter().map(|m| (m.stream.as_str(), m.global_position)));
        Ok(appended)
    }

    fn read_now(&self, read: &Read) -> Page {
        if read.limit == 0 {
            return Page { next: read.from, ..Page::default() };
        }
        let messages = self.messages();
        let position = |message: &Kept| match &read.scope {
            Scope::Stream(_) => message.position,
            Scope::Category(_) | Scope::All => message.global_position,
        };
        let in_scope = |message: &&Kept| match &read.scope {
            Scope::Stream(stream) => message.stream == *stream,
            Scope::Category(category) => names::category(&message.stream) == category,
            Scope::All => true,
        };
        let fits = |message: &Kept| {
            !message.removed
                && read.takes(&message.stream, &message.kind)
                && read.as_at.is_none_or(|time| message.time <= time)
                && read.until.is_none_or(|until| message.global_position <= until)
                && read.correlation.as_deref().is_none_or(|wanted| {
                    let stream =
                        message.metadata.as_ref().and_then(|json| json.field("correlationStreamName"));
                    stream.is_some_and(|stream| names::category(&stream) == wanted)
                })
        };
        let forward = read.direction == Direction::Forward;
        let mut candidates: Vec<&Kept> = messages
            .iter()
            .filter(in_scope)
            .filter(|m| if forward { position(m) >= read.from } else { position(m) <= read.from })
            .collect();
        if !forward {
            candidates.reverse();
        }
        let (mut page, mut bytes) = (Page { next: read.from, ..Page::default() }, 0);
        for message in candidates {
            if page.messages.len() == read.messages_max() || bytes > bounds::PAGE_BYTES_MAX {
                page.more = true;
                return page;
            }
            page.next = position(message) + if forward { 1 } else { -1 };
            if fits(message) {
                bytes += message.data.as_ref().map_or(0, |json| json.as_str().len());
                bytes += message.metadata.as_ref().map_or(0, |json| json.as_str().len());
                page.messages.push(message.message.clone());
            }
        }
        page
    }

    fn remove_now(&self, removal: &Removal) -> u64 {
        let mut messages = self.messages();
        let of_category = |kept: &Kept| matches!(removal, Removal::Category { category, .. } if names::category(&kept.stream) == category);
        let mut newer = messages.iter().filter(|kept| of_category(kept)).count() as u64;
        let mut removed = 0;
        for kept in &mut *messages {
            let goes = match removal {
                Removal::Stream { stream, before } => kept.stream == *stream && kept.position < *before,
                Removal::Category { before, keep, .. } if of_category(kept) => {
                    newer -= 1;
                    before.is_some_and(|time| kept.time < time) || keep.is_some_and(|keep| newer >= keep)
                }
                Removal::Category { .. } => false,
            };
            if goes && !std::mem::replace(&mut kept.removed, true) {
                removed += 1;
            }
        }
        removed
    }

    fn streams_now(&self, list: &StreamList) -> Vec<StreamInfo> {
        let messages = self.messages();
        let mut versions = BTreeMap::new();
        for message in messages.iter().filter(|message| list.takes(&message.stream)) {
            versions.insert(&message.stream, message.position);
        }
        let infos =
            versions.into_iter().map(|(stream, version)| StreamInfo { stream: stream.clone(), version });
        infos.take(list.limit).collect()
    }

    fn categories_now(&self, after: Option<&str>, limit: usize) -> Vec<CategoryInfo> {
        let messages = self.messages();
        let mut counts = BTreeMap::new();
        for message in &*messages {
            *counts.entry(names::category(&message.stream)).or_insert(0) += 1;
        }
        let behind = counts.into_iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        behind
            .take(limit)
            .map(|(name, messages)| CategoryInfo { category: name.to_owned(), messages })
            .collect()
    }
}

impl Engine for Memory {
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError> {
        Box::pin(ready(self.append_now(appends)))
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(ready(Ok(self.read_now(&read))))
    }

    fn remove(&self, removal: Removal) -> Answer<'_, u64> {
        Box::pin(ready(Ok(self.remove_now(&removal))))
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        let version =
            self.messages().iter().rev().find(|message| message.stream == stream).map_or(-1, |m| m.position);
        Box::pin(ready(Ok(version)))
    }

    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>> {
        let found =
            self.messages().iter().find(|kept| kept.id == id && !kept.removed).map(|m| m.message.clone());
        Box::pin(ready(Ok(found)))
    }

    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>> {
        Box::pin(ready(Ok(self.streams_now(&list))))
    }

    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>> {
        Box::pin(ready(Ok(self.categories_now(after, limit))))
    }

    fn head(&self) -> Answer<'_, i64> {
        let head = self.messages().len() as i64;
        Box::pin(ready(Ok(head)))
    }

    fn wakes(&self) -> &Wakes {
        &self.wakes
    }
}
