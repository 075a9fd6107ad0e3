//! Orders as messages: what can happen to one, in its stream `order-ID`, and what that amounts to. Orders and
//! payments agree on this file and on nothing else.

use crate::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_client::{Metadata, Projection, Received, messages};

/// The category of all orders.
pub const ORDER: &str = "order";
/// The category of carts that became orders: each in a stream of its own, that only the first can begin.
pub const CHECKOUT: &str = "checkout";

/// When an order is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pay {
    /// Before it is placed, by card.
    #[default]
    Now,
    /// After it was placed, when payments comes to it.
    Later,
}

/// An order was placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// By whom.
    pub user: Name,
    /// The cart it was.
    pub cart: String,
    /// What is bought.
    pub items: Vec<Value>,
    /// What it costs.
    pub total_cents: u32,
    /// When it is paid.
    pub pay: Pay,
}

/// Payments has begun to charge for it; it is not cancelled any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChargeBegun {}

/// It is paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paid {
    /// By which charge.
    pub charge: String,
}

/// The card was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: String,
}

/// It will not be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Why.
    pub reason: String,
}

/// A cart became an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedOut {
    /// Which.
    pub order: String,
}

messages!(Placed, ChargeBegun, Paid, Refused, Cancelled, CheckedOut);

/// How far an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is there, and not paid.
    #[default]
    Placed,
    /// It is being paid.
    Charging,
    /// It is paid.
    Paid,
    /// Its card was refused.
    Refused,
    /// It will not be delivered.
    Cancelled,
}

/// What the messages of an order amount to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its name, which is its stream's.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// What it was paid by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<String>,
    /// Why it is where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is bought.
    pub items: Vec<Value>,
    /// What it costs.
    pub total_cents: u32,
    /// Whose it is.
    #[serde(skip)]
    pub user: Option<Name>,
    /// When it was placed, in milliseconds since 1970.
    #[serde(skip)]
    pub placed_ms: u64,
}

impl Order {
    /// Whether it waits for money that nobody is about to bring.
    pub fn is_unpaid(&self) -> bool {
        matches!(self.status, Status::Placed | Status::Refused)
    }
}

/// How each message changes an order.
pub fn projection() -> Projection<Order> {
    Projection::new()
        .on(|order: &mut Order, placed: Received<Placed>| {
            placed.stream_name().clone_into(&mut order.id);
            order.placed_ms = placed_ms(&placed.metadata);
            let Placed { user, items, total_cents, .. } = placed.data;
            (order.user, order.items, order.total_cents) = (Some(user), items, total_cents);
        })
        .on(|order: &mut Order, _: Received<ChargeBegun>| order.status = Status::Charging)
        .on(|order: &mut Order, paid: Received<Paid>| {
            (order.status, order.charge, order.reason) = (Status::Paid, Some(paid.data.charge), None);
        })
        .on(|order: &mut Order, refused: Received<Refused>| {
            (order.status, order.reason) = (Status::Refused, Some(refused.data.reason));
        })
        .on(|order: &mut Order, cancelled: Received<Cancelled>| {
            (order.status, order.reason) = (Status::Cancelled, Some(cancelled.data.reason));
        })
}

fn placed_ms(metadata: &Metadata) -> u64 {
    metadata.time.map_or(0, |time| time.micros() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_client::{Client, EntityStore, Error, NewMessage};

    #[tokio::test]
    async fn an_order_is_what_happened_to_it() -> Result<(), Error> {
        let client = Client::in_memory();
        let orders = EntityStore::new(client.clone(), ORDER, projection());
        let user = Name::try_from("ada".to_owned()).map_err(Error::other)?;
        let placed = Placed { user, cart: "c".into(), items: vec![], total_cents: 5, pay: Pay::Later };
        let steps: [(NewMessage, Status, bool); 5] = [
            (placed.into(), Status::Placed, true),
            (ChargeBegun {}.into(), Status::Charging, false),
            (Refused { reason: "no".into() }.into(), Status::Refused, true),
            (Paid { charge: "charge-1".into() }.into(), Status::Paid, false),
            (Cancelled { reason: "late".into() }.into(), Status::Cancelled, false),
        ];
        for (message, status, unpaid) in steps {
            client.write("order-1", message).await?;
            let order = orders.fetch("1").await?;
            assert_eq!((order.status, order.is_unpaid(), order.id.as_str()), (status, unpaid, "order-1"));
            assert!(order.placed_ms > 1_700_000_000_000);
        }
        Ok(())
    }
}
