//! Spans in files of `SQLite` in a directory, each full one with an index of its own, so that the oldest go as a whole.
//! One thread writes; questions are answered by others, where waiting for a disk holds nobody up.

mod blocks;
mod file;
mod links;
mod live;
mod sealed;
mod search;
mod writer;

use super::engine::{Answer, Engine};
use super::intake::{Intake, Queue};
use super::names::List;
use super::search::by_trace;
use super::{COUNTED_AT_ONCE, OF_A_TRACE_MAX, QUESTIONS_MAX, Settings};
use crate::spans::{Link, Query, Span, TraceKey};
use base::{Fault, Kind};
use blocks::{Cache, Place};
use file::File;
use links::Count;
use live::Live;
use sealed::Sealed;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Semaphore;

/// Bytes of one file's blocks: a file is a small part of what is kept, as files go as a whole.
fn file_bytes(settings: &Settings) -> u64 {
    (settings.keep_bytes / 8).clamp(64 << 10, 64 << 20)
}

/// What who writes and who asks share.
pub(crate) struct Shared {
    intake: Arc<Intake>,
    state: RwLock<State>,
    questions: Arc<Semaphore>,
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn strict(&self) -> bool {
        self.intake.settings.strict_trace_id
    }

    /// Counts links until so many traces are left that wait for it.
    fn settle(&self, left: usize) -> Result<(), Fault> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut links = std::mem::take(&mut state.live.links);
        let settled = links.settle(left, |trace| state.sealed_spans_of(trace));
        state.live.links = links;
        settled
    }
}

/// The files, from the oldest to the one that is written.
#[derive(Default)]
struct State {
    sealed: Vec<Arc<Sealed>>,
    live: Live,
    /// The file that is written; there is one once the store is open.
    file: Option<Arc<File>>,
    cache: Arc<Cache>,
}

impl State {
    /// The spans whose trace's id ends so, as they came.
    fn spans_of(&self, trace: u64) -> Result<Vec<Span>, Fault> {
        let mut spans = self.sealed_spans_of(trace)?;
        let chunks = self.live.traces.get(&trace).into_iter().flatten();
        let places: Vec<Place> = chunks.map(|chunk| self.live.chunks[*chunk as usize].place).collect();
        if let Some(file) = &self.file {
            self.read(file, &places, &mut spans)?;
        }
        Ok(spans)
    }

    /// Those of them that are not in the file that is written.
    fn sealed_spans_of(&self, trace: u64) -> Result<Vec<Span>, Fault> {
        let mut spans = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.may_have(trace)) {
            self.read(&sealed.file, &sealed.places(trace)?, &mut spans)?;
        }
        Ok(spans)
    }

    fn read(&self, file: &File, places: &[Place], spans: &mut Vec<Span>) -> Result<(), Fault> {
        for place in places {
            if spans.len() >= OF_A_TRACE_MAX {
                break;
            }
            let block = file.block(&self.cache, place.block)?;
            spans.extend(blocks::chunk(&block, place.start).map_err(|fault| file.fault(fault))?);
        }
        Ok(())
    }

    /// Bytes on the disk.
    fn bytes(&self) -> u64 {
        let files = self.sealed.iter().map(|sealed| &sealed.file).chain(&self.file);
        files.map(|file| file.bytes()).sum()
    }
}

/// The files of a directory.
pub(crate) struct Files(Arc<Shared>);

/// Opens a directory, which is made if it is not there. Answers also the way to the thread that writes, and what is
/// worth to be told. Fails where another process holds it.
pub(crate) fn open(dir: &Path, intake: Arc<Intake>) -> Result<(Files, Queue, Vec<String>), Fault> {
    let fault = |error: std::io::Error| {
        Fault::new(Kind::Io, format!("cannot open the spans in `{}`", dir.display())).because(error)
    };
    let lock = store::hold(dir).map_err(fault)?.ok_or_else(|| {
        let text = format!("another process holds the spans in `{}`", dir.display());
        Fault::new(Kind::Conflict, text).hint("stop it, or give this one another directory")
    })?;
    let mut notes = Vec::new();
    let (state, connection) = writer::open(dir, &intake.settings, &mut notes)?;
    let questions = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let shared = Arc::new(Shared { intake, state: RwLock::new(state), questions });
    let writer = writer::Writer::new(dir.to_owned(), shared.clone(), connection, lock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let queue = Queue::start(runtime, |commands| writer.run(commands))?;
    Ok((Files(shared), queue, notes))
}

impl Files {
    /// Reads where waiting for a disk holds nobody up.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'_, T> {
        let shared = self.0.clone();
        Box::pin(async move {
            // Nobody closes it. Whoever asked may be gone before there is an answer: its place is not free until then.
            let place = shared.questions.clone().acquire_owned().await;
            let looked = tokio::task::spawn_blocking(move || {
                let _place = place;
                look(&shared)
            });
            let looked = looked.await;
            looked.unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading spans failed").because(error)))
        })
    }
}

impl Engine for Files {
    fn search(&self, query: Query) -> Answer<'_, Vec<Vec<Span>>> {
        self.look(move |shared| search::search(&shared.state(), query, shared.strict()))
    }

    fn traces(&self, wanted: Vec<TraceKey>) -> Answer<'_, Vec<Vec<Span>>> {
        self.look(move |shared| {
            let (state, strict) = (shared.state(), shared.strict());
            let mut traces = Vec::new();
            for trace in wanted {
                let spans = state.spans_of(trace.low)?;
                let is_it = |found: &Vec<Span>| !strict || found.iter().any(|span| span.trace == trace);
                traces.extend(by_trace(spans, strict).into_iter().find(is_it));
            }
            Ok(traces)
        })
    }

    fn names(&self, list: List, under: String) -> Answer<'_, BTreeSet<String>> {
        self.look(move |shared| {
            let state = shared.state();
            let mut names = BTreeSet::new();
            state.live.names.read_to(list, &under, &mut names);
            for sealed in &state.sealed {
                sealed.file.look(|reader| {
                    let mut ask =
                        reader.prepare_cached("SELECT name FROM names WHERE list = ?1 AND under = ?2")?;
                    let mut rows = ask.query(rusqlite::params![list as i64, under])?;
                    while let Some(row) = rows.next()? {
                        names.insert(row.get(0)?);
                    }
                    Ok(())
                })?;
            }
            Ok(names)
        })
    }

    fn dependencies(&self, minutes: (u64, u64)) -> Answer<'_, Vec<Link>> {
        self.look(move |shared| {
            let waiting = shared.state().live.links.waiting();
            shared.settle(waiting.saturating_sub(COUNTED_AT_ONCE))?;
            let state = shared.state();
            let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
            let mut count = |caller: String, callee: String, (calls, errors): Count| {
                let counted = counts.entry((caller, callee)).or_default();
                counted.0 += calls;
                counted.1 += errors;
            };
            for (_, caller, callee, counted) in state.live.links.between(minutes) {
                count(caller.to_owned(), callee.to_owned(), counted);
            }
            for sealed in &state.sealed {
                sealed.file.look(|reader| {
                    let ask = "SELECT caller, callee, sum(calls), sum(errors) FROM links
                        WHERE minute BETWEEN ?1 AND ?2 GROUP BY caller, callee";
                    let mut ask = reader.prepare_cached(ask)?;
                    let mut rows = ask.query([minutes.0.cast_signed(), minutes.1.cast_signed()])?;
                    while let Some(row) = rows.next()? {
                        count(row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?));
                    }
                    Ok(())
                })?;
            }
            // What corrects the counts of a file that has been removed is less than nothing.
            let there = counts.into_iter().filter(|(_, (calls, _))| *calls > 0);
            Ok(there
                .map(|((parent, child), (calls, errors))| Link {
                    parent,
                    child,
                    calls: calls.cast_unsigned(),
                    errors: errors.clamp(0, calls).cast_unsigned(),
                })
                .collect())
        })
    }
}
