//! The thread that writes: it takes what waits as one batch, makes it durable, puts it into the index; begins a new
//! file when one is full, and removes the oldest when they are too old or too many.

use super::blocks::{self, Place};
use super::file::{File, failed};
use super::live::Live;
use super::sealed::{Sealed, seal};
use super::{Shared, State, file_bytes};
use crate::spans::Span;
use crate::spans::store::Settings;
use crate::spans::store::intake::{Batch, Command, Commands};
use base::Fault;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::time::Duration;

/// How often it is looked whether files are too old.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// Terms of a file, which are in memory until it is full.
const TERMS_MAX: usize = 400_000;
/// Traces that may wait to be counted in links.
const UNCOUNTED_MAX: usize = 2_000;
/// A file that nothing is written to any more is closed after this part of the time that spans are kept.
const AGE_PARTS: u32 = 8;

/// What the thread works with.
pub(crate) struct Writer {
    dir: PathBuf,
    shared: Arc<Shared>,
    connection: Connection,
    /// Locked while it is open.
    _lock: std::fs::File,
}

/// Opens what is in a directory; the last file goes on to be written.
pub(crate) fn open(
    dir: &Path,
    settings: &Settings,
    notes: &mut Vec<String>,
) -> Result<(State, Connection), Fault> {
    let mut numbers: Vec<u64> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(File::number_of));
    }
    numbers.sort_unstable();
    let last = numbers.last().copied().unwrap_or(0);
    let mut state = State::default();
    for number in numbers {
        let (file, mut connection) = File::open(dir, number)?;
        let file = Arc::new(file);
        if let Some(sealed) = Sealed::open(file.clone())? {
            state.sealed.push(Arc::new(sealed));
            continue;
        }
        let live = read_back(&file, &state, settings)?;
        if number == last {
            (state.live, state.file) = (live, Some(file));
            return Ok((state, connection));
        }
        notes.push(format!("`{}` was not finished when the last stop came; it is now", File::name(number)));
        seal_counted(&mut state, &mut connection, live, file)?;
    }
    let (file, connection) = File::open(dir, last + 1)?;
    state.file = Some(Arc::new(file));
    Ok((state, connection))
}

/// Makes the index of a file anew from its blocks.
fn read_back(file: &File, state: &State, settings: &Settings) -> Result<Live, Fault> {
    let mut live = Live::default();
    let last: Option<u32> =
        file.look(|reader| reader.query_row("SELECT max(id) FROM blocks", [], |row| row.get(0)))?;
    for block in 0..last.map_or(0, |last| last + 1) {
        let data: Vec<u8> = file.look(|reader| {
            reader
                .prepare_cached("SELECT data FROM blocks WHERE id = ?1")?
                .query_row([block], |row| row.get(0))
        })?;
        let parsed = blocks::decompress(&data).and_then(|raw| blocks::parse(&raw));
        let (arrived_us, chunks) = parsed.map_err(|fault| file.fault(fault))?;
        for (start, spans) in chunks {
            add(&mut live, state, settings, Place { block, start }, &spans, arrived_us);
        }
        live.bytes += data.len() as u64;
        live.blocks = block + 1;
    }
    Ok(live)
}

/// Puts a chunk into the index.
fn add(live: &mut Live, state: &State, settings: &Settings, place: Place, spans: &[Span], arrived_us: u64) {
    let trace = spans.first().map_or(0, |span| span.trace.low);
    let known = || state.sealed.iter().any(|sealed| sealed.may_have(trace));
    live.add(place, spans, arrived_us, &settings.autocomplete_keys, known);
}

/// Closes a file for good, once all of its traces are counted.
fn seal_counted(
    state: &mut State,
    connection: &mut Connection,
    mut live: Live,
    file: Arc<File>,
) -> Result<(), Fault> {
    live.links.settle(0, |trace| state.sealed_spans_of(trace))?;
    seal(connection, &live)?;
    if let Some(sealed) = Sealed::open(file)? {
        state.sealed.push(Arc::new(sealed));
    }
    Ok(())
}

impl Writer {
    pub(crate) fn new(
        dir: PathBuf,
        shared: Arc<Shared>,
        connection: Connection,
        lock: std::fs::File,
    ) -> Self {
        Self { dir, shared, connection, _lock: lock }
    }

    /// Writes until nobody can give it anything any more.
    pub(crate) async fn run(mut self, mut commands: Commands) {
        let mut tended = self.shared.intake.clock.now();
        loop {
            let passed = self.shared.intake.clock.now().since(tended);
            if passed >= TEND_EVERY {
                self.tend();
                tended = self.shared.intake.clock.now();
            }
            let clock = self.shared.intake.clock.clone();
            tokio::select! {
                first = commands.recv() => match first {
                    None => return,
                    Some(first) => self.batch(&mut commands, first).await,
                },
                () = clock.sleep(TEND_EVERY.saturating_sub(passed)) => {}
            }
        }
    }

    /// Gathers a batch and writes it.
    async fn batch(&mut self, commands: &mut Commands, first: Command) {
        let mut batch = Batch::default();
        batch.put(first);
        batch.fill(commands, &self.shared.intake.clock).await;
        let count = batch.spans.len();
        let written = self.write(std::mem::take(&mut batch.spans));
        self.shared.intake.done(count, batch.bytes, written.is_ok());
        // What was written is kept, whatever comes of the files.
        let cared = written.and_then(|()| self.care_for_files());
        self.shared.intake.tell(cared.map_err(|fault| fault.to_string()));
        batch.tell_flushed();
    }

    /// Makes a batch durable, then known.
    fn write(&mut self, mut batch: Vec<Span>) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        let arrived_us = self.shared.intake.clock.unix().micros();
        let built = blocks::build(&mut batch, arrived_us)?;
        let begin = self.state().live.blocks;
        let transaction = self.connection.transaction().map_err(|error| failed(&error))?;
        (|| {
            let mut insert = transaction.prepare_cached("INSERT INTO blocks VALUES (?1, ?2)")?;
            for (block, number) in built.iter().zip(begin..) {
                insert.execute(params![number, block.data])?;
            }
            drop(insert);
            transaction.commit()
        })()
        .map_err(|error| failed(&error))?;
        let shared = self.shared.clone();
        let mut state = lock(&shared);
        let mut live = std::mem::take(&mut state.live);
        for (block, number) in built.iter().zip(begin..) {
            for (start, spans) in &block.chunks {
                let place = Place { block: number, start: *start };
                add(&mut live, &state, &shared.intake.settings, place, spans, arrived_us);
            }
            live.bytes += block.data.len() as u64;
            live.blocks = number + 1;
        }
        state.live = live;
        Ok(())
    }

    /// Counts links if too many wait, and begins a new file if this one is full.
    fn care_for_files(&mut self) -> Result<(), Fault> {
        self.shared.settle(UNCOUNTED_MAX)?;
        if self.is_full() {
            self.begin_file()?;
            self.remove_old();
        }
        Ok(())
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.shared.state()
    }

    fn is_full(&self) -> bool {
        let (state, settings) = (self.state(), &self.shared.intake.settings);
        let live = &state.live;
        live.spans >= settings.file_spans
            || live.bytes >= file_bytes(settings)
            || live.terms.len() >= TERMS_MAX
    }

    /// Closes the file and begins the next one.
    fn begin_file(&mut self) -> Result<(), Fault> {
        let shared = self.shared.clone();
        shared.settle(0)?;
        let number = self.state().file.as_ref().map_or(1, |file| file.number + 1);
        // First, so that a file that can't be made leaves all as it is.
        let (next, connection) = File::open(&self.dir, number)?;
        // Others go on to read while the index is written.
        let file = {
            let state = shared.state();
            seal(&mut self.connection, &state.live)?;
            state.file.clone()
        };
        let sealed = file.map(Sealed::open).transpose()?.flatten();
        let mut state = lock(&shared);
        state.sealed.extend(sealed.map(Arc::new));
        state.live = Live::default();
        state.file = Some(Arc::new(next));
        self.connection = connection;
        Ok(())
    }

    /// What time asks for.
    fn tend(&mut self) {
        let settings = &self.shared.intake.settings;
        let first = self.state().live.arrived_us.map(|(first, _)| first);
        let due = self.now_us().saturating_sub(micros(settings.keep_age / AGE_PARTS));
        if first.is_some_and(|first| first < due)
            && let Err(fault) = self.begin_file()
        {
            self.shared.intake.tell(Err(fault.to_string()));
        }
        self.remove_old();
    }

    fn now_us(&self) -> u64 {
        self.shared.intake.clock.unix().micros()
    }

    /// Removes the oldest files while they are too old, or all together too large.
    fn remove_old(&self) {
        let settings = &self.shared.intake.settings;
        let due = self.now_us().saturating_sub(micros(settings.keep_age));
        loop {
            let mut state = lock(&self.shared);
            let bytes = state.bytes();
            let Some(oldest) = state.sealed.first() else { return };
            if oldest.arrived_us >= due && bytes <= settings.keep_bytes {
                return;
            }
            let oldest = state.sealed.remove(0);
            drop(state);
            self.shared.intake.removed(oldest.spans);
            oldest.file.remove();
        }
    }
}

fn lock(shared: &Shared) -> RwLockWriteGuard<'_, State> {
    shared.state.write().unwrap_or_else(PoisonError::into_inner)
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}
