//! The book of orders: a read model in memory. It is built from the messages of all orders, when the service starts
//! and as they come, so nothing of it has to be kept; throw it away and read again.

use shop::order::{self, Order};
use shop::{Error, Name};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tombolo_client::{Client, Consumer, Handlers, MessageData, Projection};

/// So many orders are listed; the oldest is forgotten first. Its stream stays.
const ORDERS_MAX: usize = 10_000;
/// How long who has written waits for the book to know it.
const PATIENCE: Duration = Duration::from_secs(2);

/// All orders. Clones are the same book.
#[derive(Clone)]
pub(crate) struct Book(Arc<Shared>);

struct Shared {
    projection: Projection<Order>,
    orders: Mutex<Orders>,
    /// The position in the store up to which it is read.
    read: watch::Sender<i64>,
}

#[derive(Default)]
struct Orders {
    by_stream: HashMap<String, Order>,
    /// Their streams, as they were placed.
    placed: VecDeque<String>,
    /// The greatest number in a stream's name.
    greatest: u64,
}

impl Book {
    /// Nothing is read yet.
    pub(crate) fn new() -> Self {
        let (projection, orders) = (order::projection(), Mutex::default());
        Self(Arc::new(Shared { projection, orders, read: watch::Sender::new(0) }))
    }

    /// Reads all that is there.
    pub(crate) async fn read(&self, client: &Client) -> Result<(), Error> {
        self.consumer(client).catch_up().await?;
        Ok(())
    }

    /// Reads on as messages come.
    pub(crate) async fn follow(&self, client: &Client) -> Result<(), Error> {
        let next = *self.0.read.borrow() + 1;
        self.consumer(client).starting_at(next).run(std::future::pending()).await?;
        Ok(())
    }

    fn consumer(&self, client: &Client) -> Consumer<Self> {
        let handlers =
            Handlers::new(self.clone()).otherwise(async |book: Self, message| book.apply(&message));
        Consumer::new(client.clone(), order::ORDER, handlers).without_position().on_error(shop::trouble)
    }

    fn apply(&self, message: &MessageData) -> Result<(), tombolo_client::Error> {
        self.orders().apply(&self.0.projection, message)?;
        self.0.read.send_replace(message.global_position);
        Ok(())
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it knows the message at this position in the store, for a while.
    pub(crate) async fn knows(&self, global_position: i64) {
        let mut read = self.0.read.subscribe();
        let knows = read.wait_for(|read| *read >= global_position);
        // If it takes longer, the list is behind for that long.
        _ = tokio::time::timeout(PATIENCE, knows).await;
    }

    /// Waits until it knows more than now.
    pub(crate) async fn changed(&self) {
        let mut read = self.0.read.subscribe();
        // The sender lives in `self`, so this can't fail while we wait.
        _ = read.changed().await;
    }

    /// A user's orders, the newest first.
    pub(crate) fn of(&self, user: &Name) -> Vec<Order> {
        let orders = self.orders();
        let newest_first = orders.placed.iter().rev().filter_map(|stream| orders.by_stream.get(stream));
        newest_first.filter(|order| order.user.as_ref() == Some(user)).cloned().collect()
    }

    /// An order by its name.
    pub(crate) fn order(&self, id: &str) -> Option<Order> {
        self.orders().by_stream.get(id).cloned()
    }

    /// A number that no order has, as far as it knows.
    pub(crate) fn next_number(&self) -> u64 {
        self.orders().greatest + 1
    }

    /// Orders that wait for money since a time or longer, and when the next one will have; in milliseconds.
    pub(crate) fn unpaid_since(&self, until_ms: u64) -> (Vec<String>, Option<u64>) {
        let orders = self.orders();
        let unpaid = || orders.by_stream.values().filter(|order| order.is_unpaid());
        let due = unpaid().filter(|order| order.placed_ms <= until_ms).map(|order| order.id.clone());
        let next = unpaid().map(|order| order.placed_ms).filter(|placed| *placed > until_ms).min();
        (due.collect(), next)
    }
}

impl Orders {
    fn apply(
        &mut self,
        projection: &Projection<Order>,
        message: &MessageData,
    ) -> Result<(), tombolo_client::Error> {
        let stream = &message.stream_name;
        if message.is::<order::Placed>() && !self.by_stream.contains_key(stream) {
            if self.placed.len() == ORDERS_MAX
                && let Some(oldest) = self.placed.pop_front()
            {
                self.by_stream.remove(&oldest);
            }
            let number = tombolo_client::names::id(stream).and_then(|id| id.parse().ok());
            self.greatest = self.greatest.max(number.unwrap_or(0));
            self.placed.push_back(stream.clone());
            self.by_stream.insert(stream.clone(), Order::default());
        }
        // What is no order of ours, or was forgotten, stays so.
        match self.by_stream.get_mut(stream) {
            Some(order) => projection.apply(order, message),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop::order::{Cancelled, Pay, Placed};

    fn name(text: &str) -> Name {
        Name::try_from(text.to_owned()).unwrap()
    }

    fn placed(user: &str) -> Placed {
        let (cart, items) = (String::new(), vec![]);
        Placed { user: name(user), cart, items, total_cents: 1, pay: Pay::Later }
    }

    #[tokio::test]
    async fn a_book_that_is_read_again_is_the_same() {
        let client = Client::in_memory();
        for (order, user) in [("order-1", "ada"), ("order-2", "grace"), ("order-3", "ada")] {
            client.write(order, placed(user)).await.unwrap();
        }
        client.write("order-1", Cancelled { reason: "late".into() }).await.unwrap();
        client.write("order-x", Cancelled { reason: "no order of ours".into() }).await.unwrap();
        let (book, again) = (Book::new(), Book::new());
        book.read(&client).await.unwrap();
        again.read(&client).await.unwrap();
        let ids =
            |book: &Book| book.of(&name("ada")).iter().map(|order| order.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&book), ["order-3", "order-1"]);
        assert_eq!(book.of(&name("ada")), again.of(&name("ada")));
        assert_eq!((book.next_number(), book.order("order-x")), (4, None));
    }

    #[tokio::test]
    async fn who_follows_knows_what_was_written_and_who_did_not_pay() {
        let client = Client::in_memory();
        client.write("order-1", placed("ada")).await.unwrap();
        let book = Book::new();
        book.read(&client).await.unwrap();
        let writes = async {
            let written = client.write("order-2", placed("ada")).await.unwrap();
            book.knows(written.last_global_position).await;
            assert_eq!(book.of(&name("ada")).len(), 2);
        };
        tokio::select! {
            ended = book.follow(&client) => panic!("{ended:?}"),
            () = writes => {}
        }
        let (due, next) = book.unpaid_since(0);
        assert!(due.is_empty() && next == Some(book.order("order-1").unwrap().placed_ms));
        let (due, next) = book.unpaid_since(u64::MAX);
        assert_eq!((due.len(), next), (2, None));
    }

    #[test]
    fn the_oldest_order_is_forgotten_first() {
        let (mut orders, projection) = (Orders::default(), order::projection());
        let data = serde_json::to_string(&placed("ada")).unwrap();
        for n in 0..=ORDERS_MAX {
            let text = format!(
                r#"{{"id":"00000000-0000-0000-0000-000000000000","stream_name":"order-{n}","type":"Placed","position":0,
                "global_position":{n},"data":{data},"metadata":null,"time":"2026-11-26T12:00:00Z"}}"#
            );
            orders.apply(&projection, &MessageData::from_json(text.as_bytes()).unwrap()).unwrap();
        }
        assert_eq!((orders.placed.len(), orders.by_stream.len()), (ORDERS_MAX, ORDERS_MAX));
        assert_eq!((orders.placed[0].as_str(), orders.greatest), ("order-1", ORDERS_MAX as u64));
    }
}
