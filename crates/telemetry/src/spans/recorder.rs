//! Where what is carried leaves its spans. A core writes into a buffer of its own and goes on; a thread takes the
//! buffers from time to time and offers their spans to the store. What does not fit is dropped and counted, and nobody
//! waits.

use super::draft::{Draft, TagWriter};
use super::encoded::decode;
use super::sampling::Budget;
use super::{Span, SpanStore};
use base::{Fault, Kind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of spans that wait to be taken, for each core: some four thousand spans.
pub const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Spans wait this long for others, unless so much of a buffer is full.
const BATCH_WAIT: Duration = Duration::from_millis(100);
const HURRY_BYTES: usize = BUFFER_BYTES_MAX / 4;
/// Spans that are offered to the store at a time.
const OFFERED_MAX: usize = 1_000;

/// Takes spans of what is carried. Clones are the same.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// One for each core, and one for everything beside them.
    buffers: Box<[Buffer]>,
    dropped: AtomicU64,
    recorded: AtomicU64,
    /// Whether the thread knows that there is something to take.
    woken: AtomicBool,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    ended: Condvar,
}

/// On cache lines of its own: no other core writes to them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer {
    bytes: Mutex<Vec<u8>>,
    budget: Budget,
}

/// What the thread is asked to do, and whether it has ended.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "wishes that may come together in any combination")]
struct Wishes {
    take: bool,
    hurry: bool,
    stop: bool,
    ended: bool,
}

impl Recorder {
    /// One for so many cores. Until it is [told where](Recorder::offer_to), what it takes waits.
    pub fn new(cores: usize) -> Self {
        Self(Arc::new(Shared {
            buffers: (0..=cores).map(|_| Buffer::default()).collect(),
            dropped: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            ended: Condvar::new(),
        }))
    }

    /// Takes a span of what a core carried, with the tags that `tags` gives it.
    pub fn put(&self, core: usize, draft: &Draft<'_>, tags: impl FnOnce(&mut TagWriter<'_>)) {
        self.put_to(core.min(self.0.buffers.len() - 1), draft, tags);
    }

    /// Takes a span of anything beside the cores.
    pub fn put_aside(&self, draft: &Draft<'_>, tags: impl FnOnce(&mut TagWriter<'_>)) {
        self.put_to(self.0.buffers.len() - 1, draft, tags);
    }

    fn put_to(&self, place: usize, draft: &Draft<'_>, tags: impl FnOnce(&mut TagWriter<'_>)) {
        let shared = &*self.0;
        let hurry = {
            let mut bytes = lock(&shared.buffers[place].bytes);
            let before = bytes.len();
            draft.write(&mut bytes, tags);
            if bytes.len() > BUFFER_BYTES_MAX {
                bytes.truncate(before);
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            before <= HURRY_BYTES && bytes.len() > HURRY_BYTES
        };
        // A buffer that fills up does not wait for the batch; said once, since all cores share the wishes.
        if hurry || !shared.woken.swap(true, Ordering::AcqRel) {
            shared.wish(|wishes| {
                wishes.take = true;
                wishes.hurry |= hurry;
            });
        }
    }

    /// Offers all that was and is taken to this store, in a thread of its own, until [`Recorder::stop`].
    pub fn offer_to(&self, store: SpanStore) -> Result<(), Fault> {
        let shared = self.0.clone();
        let thread = std::thread::Builder::new().name("span-recorder".into());
        let run = move || {
            let mut batch = Vec::new();
            loop {
                let wishes = shared.wait();
                shared.take(&mut batch, |spans| drop(store.offer(spans)));
                if wishes.stop {
                    lock(&shared.wishes).ended = true;
                    shared.ended.notify_all();
                    return;
                }
            }
        };
        let started = thread.spawn(run);
        started.map(drop).map_err(|error| Fault::new(Kind::Io, "cannot record spans").because(error))
    }

    /// Offers what is left and ends the thread, waiting no longer than `grace`. Answers whether it was done in time.
    pub fn stop(&self, grace: Duration) -> bool {
        self.0.wish(|wishes| wishes.stop = true);
        let wishes = lock(&self.0.wishes);
        let waited = self.0.ended.wait_timeout_while(wishes, grace, |wishes| !wishes.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// How many spans were dropped, as their buffer was full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// How many traces that could have been recorded whole were not.
    pub fn left_out(&self) -> u64 {
        self.0.buffers.iter().map(|buffer| buffer.budget.left_out()).sum()
    }

    /// What a core may record; the last one stands for all beside the cores.
    pub(super) fn budget(&self, core: usize) -> &Budget {
        &self.0.buffers[core.min(self.0.buffers.len() - 1)].budget
    }

    pub(super) fn cores(&self) -> u32 {
        u32::try_from(self.0.buffers.len() - 1).unwrap_or(u32::MAX).max(1)
    }

    /// How many spans were offered to the store.
    pub fn recorded(&self) -> u64 {
        self.0.recorded.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be taken.
    pub fn waiting_bytes(&self) -> usize {
        self.0.buffers.iter().map(|buffer| lock(&buffer.bytes).len()).sum()
    }

    /// All spans that wait, for whoever has no store.
    pub fn take(&self) -> Vec<Span> {
        let mut taken = Vec::new();
        self.0.take(&mut Vec::new(), |spans| taken.extend(spans));
        taken
    }
}

impl Shared {
    fn wish(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut lock(&self.wishes));
        self.wished.notify_one();
    }

    /// Waits until there is something to do; then, unless it is urgent, a little more for others to come.
    fn wait(&self) -> Wishes {
        let idle = |wishes: &mut Wishes| !(wishes.take || wishes.stop);
        let calm = |wishes: &mut Wishes| !(wishes.hurry || wishes.stop);
        let wishes = self.wished.wait_while(lock(&self.wishes), idle).unwrap_or_else(PoisonError::into_inner);
        let waited = self.wished.wait_timeout_while(wishes, BATCH_WAIT, calm);
        let mut wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        // Before the buffers are taken: who puts a span after that wakes us again.
        self.woken.store(false, Ordering::Release);
        std::mem::take(&mut *wishes)
    }

    /// Takes what all have. `batch` is given to a core empty, so that neither side asks for memory in the long run.
    fn take(&self, batch: &mut Vec<u8>, mut offer: impl FnMut(Vec<Span>)) {
        for buffer in &self.buffers {
            batch.clear();
            std::mem::swap(batch, &mut *lock(&buffer.bytes));
            let mut rest = batch.as_slice();
            let mut spans = Vec::new();
            while !rest.is_empty() {
                let mut span = decode(&mut rest).expect("the drafts before it were written whole");
                span.tidy();
                spans.push(span);
                if spans.len() == OFFERED_MAX || rest.is_empty() {
                    self.recorded.fetch_add(spans.len() as u64, Ordering::Relaxed);
                    offer(std::mem::take(&mut spans));
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::{Kind as SpanKind, Settings, Side};
    use base::{Chance, Clock, TraceId, UnixTime};

    fn put(recorder: &Recorder, core: usize, name: &str) {
        let (trace, id) = TraceId::begin(&Chance::from_entropy());
        let draft = Draft {
            trace,
            id,
            parent: None,
            kind: SpanKind::Server,
            name: (name, ""),
            begun: UnixTime(Duration::from_secs(1_700_000_000)),
            took: Duration::from_millis(1),
            local: Side { service: "gateway", ..Side::default() },
            remote: Side::default(),
        };
        recorder.put(core, &draft, |tags| tags.put("tombolo.route", "all"));
    }

    #[test]
    fn a_taker_that_is_too_slow_costs_spans_and_not_time() {
        let recorder = Recorder::new(2);
        let count = 20_000;
        for _ in 0..count {
            put(&recorder, 0, "get");
        }
        let dropped = recorder.dropped();
        assert!(recorder.waiting_bytes() <= BUFFER_BYTES_MAX && dropped > 0 && dropped < count);
        put(&recorder, 1, "of-another");
        put(&recorder, 9, "of-none");
        assert_eq!(recorder.dropped(), dropped, "others have their own room");
        let taken = recorder.take();
        assert_eq!(taken.len() as u64, count - dropped + 2);
        assert_eq!(taken.last().unwrap().name, "of-none");
        put(&recorder, 0, "get");
        assert_eq!((recorder.dropped(), recorder.take().len()), (dropped, 1), "there is room again");
    }

    #[test]
    fn all_that_waits_is_offered_before_the_thread_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = SpanStore::open(dir.path(), Settings::default(), Clock::system()).unwrap();
        let recorder = Recorder::new(1);
        // Some before there is a store, and some after.
        for number in 0..3_000 {
            if number == 10 {
                recorder.offer_to(store.clone()).unwrap();
            }
            put(&recorder, number % 3, "get");
        }
        assert!(recorder.stop(Duration::from_mins(1)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(store.flush());
        assert_eq!((recorder.recorded(), recorder.dropped(), store.counts().kept), (3_000, 0, 3_000));
    }
}
