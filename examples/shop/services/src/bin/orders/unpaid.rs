//! Cancels orders that nobody has paid in time: a saga. What it waits for it reads from the book, so that it goes on
//! after a restart where it was; what it writes it writes at the order's version, so that a payment that is faster
//! wins.

use crate::book::Book;
use shop::order::{self, Cancelled};
use std::time::Duration;
use tombolo_client::{Client, Clock, EntityStore, Error, names};

/// The pause after an order could not be cancelled, or was found to be paid.
const PAUSE: Duration = Duration::from_secs(1);

/// Cancels what is not paid within `timeout`, for ever.
pub(crate) async fn cancel(client: Client, book: Book, clock: Clock, timeout: Duration) {
    let orders = EntityStore::new(client, order::ORDER, order::projection());
    let timeout_ms = timeout.as_millis() as u64;
    loop {
        let now_ms = clock.unix().micros() / 1000;
        // Nothing can have waited for longer than there is time.
        let (due, next) = match now_ms.checked_sub(timeout_ms) {
            Some(until_ms) => book.unpaid_since(until_ms),
            None => (Vec::new(), None),
        };
        for id in &due {
            match cancel_one(&orders, id, timeout).await {
                Ok(Some(global_position)) => book.knows(global_position).await,
                Ok(None) => clock.sleep(PAUSE).await,
                Err(error) => {
                    shop::say(format_args!("{id} can't be cancelled now: {error}"));
                    clock.sleep(PAUSE).await;
                }
            }
        }
        let wait = next.map(|next_ms| Duration::from_millis((next_ms + timeout_ms).saturating_sub(now_ms)));
        tokio::select! {
            () = async { match wait {
                Some(wait) => clock.sleep(wait).await,
                None => std::future::pending().await,
            } } => {}
            () = book.changed(), if due.is_empty() => {}
            () = clock.sleep(PAUSE), if !due.is_empty() => {}
        }
    }
}

/// Where it was cancelled; `None` if it had been paid, or is about to be.
async fn cancel_one(
    orders: &EntityStore<order::Order>,
    id: &str,
    timeout: Duration,
) -> Result<Option<i64>, Error> {
    let reason = format!("not paid within {} s", timeout.as_secs());
    let appended = orders
        .update(names::id(id).unwrap_or_default(), |order| {
            let cancelled = || Cancelled { reason: reason.clone() }.into();
            if order.is_unpaid() { vec![cancelled()] } else { vec![] }
        })
        .await?;
    Ok(appended.map(|appended| appended.last_global_position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop::Name;
    use shop::order::{ChargeBegun, Paid, Pay, Placed, Status};
    use tombolo_client::NewMessage;

    const TIMEOUT: Duration = Duration::from_secs(900);

    #[tokio::test]
    async fn who_does_not_pay_in_time_gets_nothing_and_who_pays_does() {
        let (clock, hand) =
            tombolo_client::Clock::by_hand(base::UnixTime(Duration::from_secs(1_700_000_000)));
        let client = Client::in_memory_at(clock.clone());
        let user = Name::try_from("ada".to_owned()).unwrap();
        let placed = Placed { user, cart: String::new(), items: vec![], total_cents: 1, pay: Pay::Later };
        for order in ["order-1", "order-2", "order-3"] {
            client.write(order, placed.clone()).await.unwrap();
        }
        client.write("order-2", Paid { charge: "charge-1".into() }).await.unwrap();
        client.write("order-3", ChargeBegun {}).await.unwrap();
        let book = Book::new();
        book.read(&client).await.unwrap();
        let status = |id: &str| book.order(id).unwrap().status;

        let story = async {
            let fourth = client.write("order-4", NewMessage::from(placed)).await.unwrap();
            book.knows(fourth.last_global_position).await;
            hand.advance(Duration::from_secs(899));
            tokio::task::yield_now().await;
            assert_eq!(status("order-1"), Status::Placed, "there is a second left");
            while status("order-1") != Status::Cancelled || status("order-4") != Status::Cancelled {
                hand.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
            assert_eq!((status("order-2"), status("order-3")), (Status::Paid, Status::Charging));
            let reason = book.order("order-1").unwrap().reason;
            assert_eq!(reason.as_deref(), Some("not paid within 900 s"));
        };
        tokio::select! {
            ended = book.follow(&client) => panic!("{ended:?}"),
            () = cancel(client.clone(), book.clone(), clock, TIMEOUT) => unreachable!(),
            () = story => {}
        }
        assert_eq!(client.version("order-1").await.unwrap(), 1, "it is cancelled once");
    }
}
