//! Random appends and questions, openings in between: the log answers as the plain model in memory does,
//! whether what it looks for is in the tail, in one run or in many.

use super::{all_messages, sim::SimDisk};
use crate::log::verify::verify_disk;
use crate::{
    Append, Json, Log, LogOptions, Member, Memory, Message, NewMessage, Read, Removal, Scope, Store,
    StreamList, Uuid,
};
use base::{Chance, Clock, UnixTime};
use std::sync::Arc;
use std::time::Duration;

struct Pair {
    disk: SimDisk,
    clock: Clock,
    options: LogOptions,
    log: Store,
    model: Store,
    chance: Chance,
    ids: u128,
}

impl Pair {
    fn new(seed: u64) -> (Self, base::ClockHand) {
        let chance = Chance::seeded(seed);
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(100)));
        let options = LogOptions {
            segment_bytes: 3_000 + 4_000 * chance.below(3) as u64,
            segment_messages: 5 + chance.below(60),
            filter_bytes: [0, 200, 1 << 20][chance.below(3)],
            runs_in_filter: 2 + chance.below(3),
            background: chance.below(2) == 0,
        };
        let disk = SimDisk::new(chance.fork());
        let (log, _) = Log::on(Arc::new(disk.clone()), clock.clone(), options).unwrap();
        let model = Store::new(Memory::new(clock.clone()));
        (Self { disk, clock, options, log: Store::new(log), model, chance, ids: 0 }, hand)
    }

    fn stream(&self) -> String {
        match self.chance.below(12) {
            0 => "a".into(),
            1 => "a+b-1".into(),
            nth => format!("{}-{}+{}", ["a", "b", "ab"][nth % 3], self.chance.below(5), self.chance.below(2)),
        }
    }

    async fn append(&mut self) {
        let appends: Vec<Append> = (0..=self.chance.below(2)).map(|_| self.one()).collect();
        let ours = self.log.append(appends.clone()).await;
        let theirs = self.model.append(appends).await;
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    fn one(&mut self) -> Append {
        let messages = (0..=self.chance.below(3)).map(|_| {
            self.ids += 1;
            let correlation = format!("{{\"correlationStreamName\":\"{}\"}}", self.stream());
            NewMessage {
                id: Uuid::from_u128(if self.chance.below(50) == 0 { 1 } else { self.ids }),
                kind: ["Made", "Gone"][self.chance.below(2)].into(),
                data: (self.chance.below(5) > 0).then(|| Json::parse(&format!("[{}]", self.ids)).unwrap()),
                metadata: (self.chance.below(2) == 0).then(|| Json::parse(&correlation).unwrap()),
            }
        });
        let messages = messages.collect();
        let expected_version = (self.chance.below(4) == 0).then(|| self.chance.below(10) as i64 - 1);
        Append { stream: self.stream(), expected_version, messages }
    }

    fn question(&self) -> Read {
        let stream = self.stream();
        let mut read = match self.chance.below(3) {
            0 => Read::stream(stream),
            1 => Read::category(crate::names::category(&stream)),
            _ => Read::all(),
        };
        let few = |most: usize| self.chance.below(most) as i64;
        if self.chance.below(3) == 0 {
            read = read.backward();
        }
        if self.chance.below(2) == 0 {
            read.from = few(if matches!(read.scope, Scope::Stream(_)) { 20 } else { 150 });
        }
        if self.chance.below(4) == 0 {
            read = read.correlation(crate::names::category(&self.stream()));
        }
        if self.chance.below(4) == 0 {
            read.member = Member::new(self.chance.below(2) as u16, 2);
        }
        if self.chance.below(4) == 0 {
            read = read.kind("Made");
        }
        if self.chance.below(4) == 0 {
            read = read.as_at(100_000_000 + few(200) * 1_000);
        }
        if self.chance.below(4) == 0 {
            read = read.until(few(150));
        }
        read.limit(1 + self.chance.below(20))
    }

    async fn remove(&self) {
        let removal = if self.chance.below(2) == 0 {
            Removal::Stream { stream: self.stream(), before: self.chance.below(8) as i64 }
        } else {
            Removal::Category {
                category: crate::names::category(&self.stream()).to_owned(),
                before: (self.chance.below(2) == 0)
                    .then(|| 100_000_000 + self.chance.below(80) as i64 * 1_000),
                keep: (self.chance.below(2) == 0).then(|| self.chance.below(40) as u64),
            }
        };
        let ours = self.log.remove(removal.clone()).await.unwrap();
        assert_eq!(ours, self.model.remove(removal.clone()).await.unwrap(), "{removal:?}");
    }

    async fn ask(&self) {
        let read = self.question();
        assert_eq!(pages(&self.log, read.clone()).await, pages(&self.model, read.clone()).await, "{read:?}");
        let stream = self.stream();
        assert_eq!(self.log.version(&stream).await.unwrap(), self.model.version(&stream).await.unwrap());
        let last = self.log.last(&stream, Some("Gone")).await.unwrap();
        assert_eq!(last, self.model.last(&stream, Some("Gone")).await.unwrap());
        let id = Uuid::from_u128(self.chance.below(self.ids as usize + 2) as u128);
        assert_eq!(self.log.by_id(id).await.unwrap(), self.model.by_id(id).await.unwrap());
        let list = StreamList {
            prefix: ["", "a", "a-3", "ab-"][self.chance.below(4)].into(),
            category: (self.chance.below(2) == 0).then(|| "a".into()),
            after: (self.chance.below(2) == 0).then(|| self.stream()),
            limit: self.chance.below(8),
        };
        let ours = self.log.streams(list.clone()).await.unwrap();
        assert_eq!(ours, self.model.streams(list.clone()).await.unwrap(), "{list:?}");
        let limit = self.chance.below(4);
        let ours = self.log.categories(Some("a"), limit).await.unwrap();
        assert_eq!(ours, self.model.categories(Some("a"), limit).await.unwrap());
        assert_eq!(self.log.head().await.unwrap(), self.model.head().await.unwrap());
    }

    fn open_again(self) -> Self {
        let Self { disk, clock, options, log, model, chance, ids } = self;
        drop(log);
        let (log, _) = Log::on(Arc::new(disk.clone()), clock.clone(), options).unwrap();
        Self { disk, clock, options, log: Store::new(log), model, chance, ids }
    }
}

/// All pages of a question.
async fn pages(store: &Store, mut read: Read) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let page = store.read(read.clone()).await.unwrap();
        assert!(page.messages.len() <= read.limit);
        messages.extend(page.messages);
        if !page.more {
            return messages;
        }
        read.from = page.next;
    }
}

#[tokio::test]
async fn the_log_answers_as_the_model_does() {
    let rounds = std::env::var("TEST_MODELS").map_or(60, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        let (mut pair, hand) = Pair::new(seed);
        for _ in 0..60 {
            hand.advance(Duration::from_millis(1));
            pair.append().await;
            for _ in 0..3 {
                pair.ask().await;
            }
            if pair.chance.below(25) == 0 {
                pair.remove().await;
            }
            if pair.chance.below(15) == 0 {
                pair = pair.open_again();
            }
        }
        let Pair { disk, log, .. } = pair;
        drop(log);
        let report = verify_disk(Arc::new(disk)).unwrap();
        assert!(report.findings.is_empty(), "{seed}: {report:?}");
    }
}

#[tokio::test]
async fn a_consumer_that_follows_the_pages_sees_each_message_once() {
    let (mut pair, _hand) = Pair::new(7);
    let members = [0, 1, 2].map(|number| Member::new(number, 3).unwrap());
    let (mut from, mut seen) = ([1; 3], Vec::new());
    for _ in 0..40 {
        pair.append().await;
        for (nth, member) in members.into_iter().enumerate() {
            let page =
                pair.log.read(Read::category("a").member(member).from(from[nth]).limit(3)).await.unwrap();
            from[nth] = page.next;
            seen.extend(page.messages.into_iter().map(|message| message.global_position));
        }
    }
    for (nth, member) in members.into_iter().enumerate() {
        let rest = pages(&pair.log, Read::category("a").member(member).from(from[nth])).await;
        seen.extend(rest.into_iter().map(|message| message.global_position));
    }
    seen.sort_unstable();
    let all = pages(&pair.model, Read::category("a")).await;
    let expected: Vec<i64> =
        all.iter().filter(|message| message.stream != "a").map(|message| message.global_position).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn memory_does_not_grow_with_the_log() {
    let (clock, _hand) = Clock::by_hand(UnixTime::default());
    let options = LogOptions {
        segment_bytes: 4 << 10,
        segment_messages: 20,
        filter_bytes: 4 << 10,
        runs_in_filter: 32,
        background: false,
    };
    let disk = SimDisk::new(Chance::seeded(1));
    let (log, _) = Log::on(Arc::new(disk), clock, options).unwrap();
    for nth in 0..600u128 {
        let messages = (0..10).map(|of| super::message(nth * 10 + of, "1")).collect();
        let append = Append { stream: format!("a-{nth}"), expected_version: Some(-1), messages };
        log.append_all(vec![append]).await.unwrap();
    }
    assert_eq!(all_messages(&log.shared).len(), 6_000);
    let map = log.shared.map();
    assert!(map.segments.len() > crate::log::shared::FILES_MAX);
    let in_memory = map.parts.iter().filter(|part| matches!(part, crate::log::index::Part::Tail(_)));
    assert!(in_memory.count() <= 2);
    assert!(log.shared.open_files() <= crate::log::shared::FILES_MAX);
    let (filter_bytes, open_runs) = log.shared.runs.held();
    assert!(filter_bytes <= 4 << 10 && open_runs <= crate::log::run::OPEN_MAX);
    assert!(map.parts.len() > crate::log::run::OPEN_MAX);
    assert_eq!(map.filters.len(), (map.parts.len() - 1) / 32, "most runs share a filter in a file");
}
