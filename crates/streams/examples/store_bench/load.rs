//! The messages of the benchmark: about 200 bytes of data each, the same in every store, in streams as a shape says.
//! A filled store and a filled table of PostgreSQL hold the same ones.

use base::{Chance, Clock};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;
use store::{Append, Embedded, Json, LogOptions, NewMessage, Uuid};

/// The type of all messages.
pub(crate) const KIND: &str = "OrderPlaced";
/// The metadata of all messages.
pub(crate) const METADATA: &str = r#"{"traceId": "0123456789abcdef", "schemaVersion": 1}"#;
/// A call for many messages, to fill a store quickly.
const FILL_AT_ONCE: usize = 1_000;
/// Categories of a filled store.
const CATEGORIES: usize = 10;
/// Messages of each of its streams.
const STREAM_MESSAGES: usize = 10_000;

/// What is told of one message.
pub(crate) struct Told {
    pub(crate) id: Uuid,
    pub(crate) data: String,
}

/// The next message. Its JSON has the spaces that PostgreSQL gives it, so that all store the same bytes.
pub(crate) fn message(chance: &Chance) -> Told {
    let id =
        Uuid::from_u64_pair(chance.bits() & !0xf000 | 0x4000, chance.bits() & !(0b11 << 62) | (0b10 << 62));
    let data = format!(
        "{{\"lines\": [{{\"item\": \"shirt\", \"count\": 2, \"price\": 19.90}}, {{\"item\": \"shoes\", \"count\": 1, \
         \"price\": 89.00}}], \"orderId\": \"{:016x}\", \"customer\": \"customer-{:05}\", \
         \"placedAt\": \"2026-01-01T12:00:00Z\"}}",
        chance.bits(),
        chance.below(100_000)
    );
    Told { id, data }
}

impl Told {
    /// For the store itself.
    pub(crate) fn into_new(self) -> NewMessage {
        NewMessage {
            id: self.id,
            kind: KIND.into(),
            data: Some(Json::parse(&self.data).unwrap()),
            metadata: Some(Json::parse(METADATA).unwrap()),
        }
    }
}

/// Where appends go.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    categories: usize,
    streams_each: usize,
}

impl Shape {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "stream" => Self { categories: 1, streams_each: 1 },
            "category" => Self { categories: 1, streams_each: 1_000 },
            "categories" => Self { categories: 100, streams_each: 10 },
            other => panic!("`shape={other}` is no shape"),
        }
    }

    pub(crate) fn stream(self, chance: &Chance) -> String {
        format!("order{}-{}", chance.below(self.categories), chance.below(self.streams_each))
    }
}

/// A store of many messages: ten categories, streams of some 10,000 messages each, all mixed.
pub(crate) struct Filled {
    messages: usize,
    streams_each: usize,
}

impl Filled {
    pub(crate) fn of(messages: usize) -> Self {
        let each = (messages / STREAM_MESSAGES / CATEGORIES).max(1);
        Self { messages: messages / FILL_AT_ONCE * FILL_AT_ONCE, streams_each: each }
    }

    /// The name and message of each, from first to last.
    fn each(&self, mut visit: impl FnMut(usize, String, Told)) {
        let chance = Chance::seeded(1);
        for _ in 0..self.messages {
            let nth = chance.below(CATEGORIES * self.streams_each);
            visit(nth, self.stream(nth), message(&chance));
        }
    }

    fn stream(&self, nth: usize) -> String {
        format!("order{}-{}", nth % CATEGORIES, nth / CATEGORIES)
    }

    /// A stream and a position in it that so many messages stand behind. Streams are filled by chance, so that each
    /// has at least nine tenths of the mean.
    pub(crate) fn place_in_stream(&self, limit: usize, chance: &Chance) -> (String, i64) {
        let least = self.messages / (CATEGORIES * self.streams_each) * 9 / 10;
        let from = chance.below(least.saturating_sub(limit).max(1));
        (self.stream(chance.below(CATEGORIES * self.streams_each)), from as i64)
    }

    /// A category and a global position that so many of its messages stand behind.
    pub(crate) fn place_in_category(&self, limit: usize, chance: &Chance) -> (String, i64) {
        let behind = limit * CATEGORIES * 3 / 2 + 1_000;
        let from = 1 + chance.below(self.messages.saturating_sub(behind).max(1));
        (format!("order{}", chance.below(CATEGORIES)), from as i64)
    }
}

/// Fills the data directory of a store.
pub(crate) fn fill(folder: &Path, filled: &Filled) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (embedded, _) = Embedded::open(folder, Clock::system(), LogOptions::default()).unwrap();
    let store = embedded.store();
    let begun = Instant::now();
    let mut batch = Vec::with_capacity(FILL_AT_ONCE);
    filled.each(|_, stream, told| {
        batch.push(Append { stream, expected_version: None, messages: vec![told.into_new()] });
        if batch.len() == FILL_AT_ONCE {
            runtime.block_on(store.append(std::mem::take(&mut batch))).unwrap();
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    json!({ "messages": filled.messages, "rate": filled.messages as f64 / seconds })
}

/// Prints rows for `COPY messages (stream_name, position, type, data, metadata, id) FROM STDIN`.
pub(crate) fn rows(filled: &Filled) {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut versions = vec![0; CATEGORIES * filled.streams_each];
    filled.each(|nth, stream, told| {
        let position = versions[nth];
        versions[nth] += 1;
        let Told { id, data } = told;
        writeln!(out, "{stream}\t{position}\t{KIND}\t{data}\t{METADATA}\t{id}").unwrap();
    });
    out.flush().unwrap();
}
