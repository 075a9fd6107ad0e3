//! Random appends and questions, openings in between: an engine answers as the plain model in memory does.

use super::{Which, World, each_engine, pages};
use crate::{Append, Json, Member, Memory, NewMessage, Read, Removal, Scope, Store, StreamList, Uuid};
use base::{Chance, Clock, UnixTime};
use std::time::Duration;

each_engine! {
    it_answers_as_the_model_does
    a_consumer_that_follows_the_pages_sees_each_message_once
}

struct Pair {
    world: World,
    store: Store,
    model: Store,
    chance: Chance,
    ids: u128,
}

impl Pair {
    async fn new(which: Which, seed: u64) -> (Self, base::ClockHand) {
        let chance = Chance::seeded(seed);
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(100)));
        let model = Store::new(Memory::new(clock.clone()));
        let world = World::open(which, clock, &chance).await;
        (Self { store: world.store(), world, model, chance, ids: 0 }, hand)
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
        let ours = self.store.append(appends.clone()).await;
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
        let ours = self.store.remove(removal.clone()).await.unwrap();
        assert_eq!(ours, self.model.remove(removal.clone()).await.unwrap(), "{removal:?}");
    }

    async fn ask(&self) {
        let read = self.question();
        assert_eq!(
            pages(&self.store, read.clone()).await,
            pages(&self.model, read.clone()).await,
            "{read:?}"
        );
        let stream = self.stream();
        assert_eq!(self.store.version(&stream).await.unwrap(), self.model.version(&stream).await.unwrap());
        let last = self.store.last(&stream, Some("Gone")).await.unwrap();
        assert_eq!(last, self.model.last(&stream, Some("Gone")).await.unwrap());
        let id = Uuid::from_u128(self.chance.below(self.ids as usize + 2) as u128);
        assert_eq!(self.store.by_id(id).await.unwrap(), self.model.by_id(id).await.unwrap());
        let list = StreamList {
            prefix: ["", "a", "a-3", "ab-"][self.chance.below(4)].into(),
            category: (self.chance.below(2) == 0).then(|| "a".into()),
            after: (self.chance.below(2) == 0).then(|| self.stream()),
            limit: self.chance.below(8),
        };
        let ours = self.store.streams(list.clone()).await.unwrap();
        assert_eq!(ours, self.model.streams(list.clone()).await.unwrap(), "{list:?}");
        let limit = self.chance.below(4);
        let ours = self.store.categories(Some("a"), limit).await.unwrap();
        assert_eq!(ours, self.model.categories(Some("a"), limit).await.unwrap());
        assert_eq!(self.store.head().await.unwrap(), self.model.head().await.unwrap());
    }

    async fn open_again(&mut self) {
        self.store = self.model.clone();
        self.world.open_again().await;
        self.store = self.world.store();
    }
}

async fn it_answers_as_the_model_does(which: Which) {
    // Opening a database again takes a while.
    let fewest = if matches!(which, Which::Log) { 60 } else { 5 };
    let rounds = std::env::var("TEST_MODELS").map_or(fewest, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        let (mut pair, hand) = Pair::new(which, seed).await;
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
                pair.open_again().await;
            }
        }
        pair.open_again().await;
    }
}

async fn a_consumer_that_follows_the_pages_sees_each_message_once(which: Which) {
    let (mut pair, _hand) = Pair::new(which, 7).await;
    let members = [0, 1, 2].map(|number| Member::new(number, 3).unwrap());
    let (mut from, mut seen) = ([1; 3], Vec::new());
    for _ in 0..40 {
        pair.append().await;
        for (nth, member) in members.into_iter().enumerate() {
            let page =
                pair.store.read(Read::category("a").member(member).from(from[nth]).limit(3)).await.unwrap();
            from[nth] = page.next;
            seen.extend(page.messages.into_iter().map(|message| message.global_position));
        }
    }
    for (nth, member) in members.into_iter().enumerate() {
        let rest = pages(&pair.store, Read::category("a").member(member).from(from[nth])).await;
        seen.extend(rest.into_iter().map(|message| message.global_position));
    }
    seen.sort_unstable();
    let all = pages(&pair.model, Read::category("a")).await;
    let expected: Vec<i64> =
        all.iter().filter(|message| message.stream != "a").map(|message| message.global_position).collect();
    assert_eq!(seen, expected);
}
