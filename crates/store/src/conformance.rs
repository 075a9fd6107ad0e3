//! What every engine has to do alike: random appends and questions, compared with the plain model in memory, and
//! stories. Each engine says how it is opened; the stories know nothing of it.

mod model;
mod stories;

use crate::log::tests::Simulated;
use crate::{Append, Json, Memory, Message, NewMessage, Postgres, PostgresOptions, Read};
use crate::{Store, Time, Uuid};
use base::{Chance, Clock};

/// An engine under test, which may be opened again.
enum World {
    Memory(Store),
    Log(Simulated),
    Postgres { url: String, store: Option<Postgres>, clock: Clock },
}

/// Which engine.
#[derive(Clone, Copy, Debug)]
enum Which {
    Memory,
    Log,
    Postgres,
    /// In a database that orders text as people do.
    PostgresOfPeople,
}

impl World {
    async fn open(which: Which, clock: Clock, chance: &Chance) -> Self {
        match which {
            Which::Memory => Self::Memory(Store::new(Memory::new(clock))),
            Which::Log => Self::Log(Simulated::new(clock, chance)),
            Which::Postgres | Which::PostgresOfPeople => {
                let server = testkit::Postgres::shared();
                let name = match which {
                    Which::PostgresOfPeople => server.database_of_people(),
                    _ => server.database(),
                };
                let url = server.url(&name);
                let store = Some(open_postgres(&url, &clock).await);
                Self::Postgres { url, store, clock }
            }
        }
    }

    fn store(&self) -> Store {
        match self {
            Self::Memory(store) => store.clone(),
            Self::Log(log) => log.store(),
            Self::Postgres { store, .. } => store.as_ref().unwrap().store(),
        }
    }

    async fn open_again(&mut self) {
        match self {
            Self::Memory(_) => {}
            Self::Log(log) => log.open_again(),
            Self::Postgres { url, store, clock } => {
                *store = None;
                *store = Some(open_postgres(url, clock).await);
            }
        }
    }
}

async fn open_postgres(url: &str, clock: &Clock) -> Postgres {
    let options = PostgresOptions { time: Time::Clock, ..PostgresOptions::default() };
    Postgres::open(url, clock.clone(), options).await.unwrap()
}

fn message(id: u128, data: &str) -> NewMessage {
    NewMessage {
        id: Uuid::from_u128(id),
        kind: "T".into(),
        data: Some(Json::parse(data).unwrap()),
        metadata: None,
    }
}

fn append(stream: impl Into<String>, messages: Vec<NewMessage>) -> Vec<Append> {
    vec![Append { stream: stream.into(), expected_version: None, messages }]
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

/// One test for each engine, of one story.
macro_rules! each_engine {
    ($($story:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $story() { super::$story(super::super::Which::Memory).await; })*
        }
        mod log {
            $(#[tokio::test] async fn $story() { super::$story(super::super::Which::Log).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $story() { super::$story(super::super::Which::Postgres).await; })*
        }
        mod postgres_of_people {
            $(#[tokio::test] async fn $story() { super::$story(super::super::Which::PostgresOfPeople).await; })*
        }
    };
}
use each_engine;
