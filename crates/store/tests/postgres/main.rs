//! The store in PostgreSQL as others meet it: beside writers of Message DB's own kind, on several nodes at once, and
//! on a server or a network that fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::cast_possible_wrap, reason = "few messages")]

mod alongside;
mod faults;
mod schema;
mod settled;
mod tls;

use base::Clock;
use store::{Append, Json, NewMessage, Postgres, PostgresOptions, Read, Store, Uuid};
use tokio_postgres::NoTls;

/// A connection of somebody else's.
async fn foreign(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Writes as every client of Message DB does.
fn write_message(id: u128, stream: &str) -> String {
    format!("SELECT message_store.write_message('{}', '{stream}', 'T', '{{\"n\": 1}}')", Uuid::from_u128(id))
}

async fn open(url: &str) -> Postgres {
    Postgres::open(url, Clock::system(), PostgresOptions::default()).await.unwrap()
}

fn append(stream: &str, ids: impl IntoIterator<Item = u128>) -> Append {
    let message = |id| NewMessage {
        id: Uuid::from_u128(id),
        kind: "T".into(),
        data: Some(Json::parse("{\"n\": 1}").unwrap()),
        metadata: None,
    };
    Append { stream: stream.into(), expected_version: None, messages: ids.into_iter().map(message).collect() }
}

/// The ids of all messages of a question, in their order.
async fn ids(store: &Store, mut read: Read) -> Vec<u128> {
    let mut ids = Vec::new();
    loop {
        let page = store.read(read.clone()).await.unwrap();
        ids.extend(page.messages.iter().map(|message| message.id.as_u128()));
        if !page.more {
            return ids;
        }
        read.from = page.next;
    }
}
