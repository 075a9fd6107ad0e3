//! The orders: turns a cart into an order. What happens to an order is written into its stream and nowhere else; the
//! lists are read from there. Each cart is charged and ordered once, no matter how often it is tried.

mod book;
mod unpaid;

use axum::extract::{Path, Query, State};
use axum::http::header::{HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use book::Book;
use serde::Deserialize;
use serde_json::{Value, json};
use shop::order::{self, CheckedOut, Order, Paid, Pay, Placed};
use shop::{Answer, Caller, Name, Peer, Problem, User};
use std::time::Duration;
use tombolo_client::{Append, Client, Clock, Error, NewMessage, names};

/// So many numbers are tried for a new order; each one that was taken was taken by another at this moment.
const NUMBERS_MAX: usize = 100;

#[derive(Clone)]
struct Service {
    cart: Peer,
    payments: Peer,
    client: Client,
    book: Book,
}

#[derive(Deserialize)]
struct Cart {
    id: String,
    items: Vec<Value>,
    total_cents: u32,
}

#[derive(Deserialize)]
struct Receipt {
    charge: String,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    pay: Pay,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let timeout = Duration::from_secs(shop::env_or("PAYMENT_TIMEOUT_S", 900)?);
    let service = Service {
        cart: Peer::from_env("cart")?,
        payments: Peer::from_env("payments")?,
        client: Client::from_env()?,
        book: Book::new(),
    };
    let Service { client, book, .. } = service.clone();
    // Who asks is to see all orders from the first answer on.
    book.read(&client).await?;
    let app = Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(detail))
        .with_state(service);
    tokio::select! {
        served = shop::serve("orders", app) => served,
        followed = book.follow(&client) => followed,
        () = unpaid::cancel(client.clone(), book.clone(), Clock::system(), timeout) => Ok(()),
    }
}

async fn list(State(service): State<Service>, User(user): User) -> Json<Vec<Order>> {
    Json(service.book.of(&user))
}

async fn detail(
    State(service): State<Service>,
    User(user): User,
    Path(id): Path<Name>,
) -> Result<Json<Order>, Problem> {
    let order = service.book.order(id.as_str()).filter(|order| order.user.as_ref() == Some(&user));
    order.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("you have no order `{id}`")))
}

async fn create(
    State(service): State<Service>,
    User(user): User,
    Query(How { pay }): Query<How>,
    caller: Caller,
) -> Result<(StatusCode, HeaderMap, Json<Order>), Problem> {
    let cart: Cart = service.cart.get("/cart").on_behalf_of(&caller).user(&user).send().await?.json()?;
    if cart.items.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "your cart is empty"));
    }
    let charge = match pay {
        Pay::Now => Some(service.charge(&cart, &caller).await?.charge),
        Pay::Later => None,
    };
    let empty = format!("/cart?id={}", cart.id);
    let Cart { id: cart, items, total_cents } = cart;
    let placed = Placed { user: user.clone(), cart, items, total_cents, pay };
    let client = service.client.in_trace(caller.trace());
    let (status, id) = place(&client, &service.book, placed, charge).await.map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the order could not be written: {error}"))
            .hint("your cart is kept; order again, it is charged once at most")
    })?;
    // If the cart can't be emptied now, ordering it again gives this order again and empties it then.
    _ = service.cart.delete(&empty).on_behalf_of(&caller).user(&user).send().await;

    let order = service.book.order(&id).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("your order is `{id}`; it can't be shown yet"))
    })?;
    let location = HeaderValue::from_str(&format!("/api/orders/{id}"));
    let headers = location.into_iter().map(|location| (LOCATION, location)).collect();
    Ok((status, headers, Json(order)))
}

/// Places the order, and has paid it if there is a charge: in one step with the note that this cart was ordered,
/// which only the first can make. Who comes later gets the order that the first has made.
async fn place(
    client: &Client,
    book: &Book,
    placed: Placed,
    charge: Option<String>,
) -> Result<(StatusCode, String), Error> {
    let checkout = names::stream(order::CHECKOUT, &placed.cart);
    let created = if charge.is_some() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let mut number = book.next_number();
    for _ in 0..NUMBERS_MAX {
        let id = names::stream(order::ORDER, number);
        let order = NewMessage::of(&placed).correlate(id.as_str());
        let mut order = Append::to(id.as_str(), order).expected_version(-1);
        if let Some(charge) = &charge {
            order = order.and(NewMessage::from(Paid { charge: charge.clone() }).correlate(id.as_str()));
        }
        let first = CheckedOut { order: id.clone() };
        let first = Append::to(checkout.as_str(), first).expected_version(-1);
        match client.append(vec![first, order]).await {
            Ok(appended) => {
                let last = appended.last().map_or(0, |appended| appended.last_global_position);
                book.knows(last).await;
                return Ok((created, id));
            }
            Err(Error::WrongVersion { stream, .. }) if stream == checkout => {
                let first = client.last_of::<CheckedOut>(&checkout).await?;
                let first = first.ok_or_else(|| Error::other(format!("`{checkout}` says nothing")))?;
                return Ok((StatusCode::OK, first.data.order));
            }
            Err(error) if error.is_wrong_version() => number += 1,
            Err(error) => return Err(error),
        }
    }
    Err(Error::other("too many order at this moment"))
}

impl Service {
    async fn charge(&self, cart: &Cart, caller: &Caller) -> Result<Receipt, Problem> {
        let charge = self
            .payments
            .post("/charge")
            .on_behalf_of(caller)
            .header(HeaderName::from_static("idempotency-key"), &cart.id)
            .json(&json!({ "amount_cents": cart.total_cents }))
            .send()
            .await;
        receipt(charge)
    }
}

/// A refusal is the user's to know; anything else is a failure behind us.
fn receipt(charge: Result<Answer, Problem>) -> Result<Receipt, Problem> {
    let failed = |detail: &str| {
        Problem::new(StatusCode::BAD_GATEWAY, format!("the payment failed: {detail}"))
            .hint("your cart is kept; order again, it is charged once at most")
    };
    let answer = charge.map_err(|problem| failed(&problem.error))?;
    if answer.status == StatusCode::PAYMENT_REQUIRED {
        return Err(Problem::new(StatusCode::PAYMENT_REQUIRED, "your card was refused"));
    }
    answer.json().map_err(|problem| failed(&problem.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_client::testing::Substitute;

    fn placed(cart: &str) -> Placed {
        let user = Name::try_from("ada".to_owned()).unwrap();
        Placed { user, cart: cart.to_owned(), items: vec![], total_cents: 1, pay: Pay::Now }
    }

    #[tokio::test]
    async fn a_cart_is_ordered_once_also_by_two_at_the_same_time() {
        let substitute = Substitute::new();
        let (client, book) = (substitute.client(), Book::new());
        let place = |cart| place(&client, &book, placed(cart), Some("charge-1".to_owned()));
        let story = async {
            let (one, other) = tokio::join!(place("c1"), place("c1"));
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!((one.1.as_str(), other.1.as_str()), ("order-1", "order-1"));
            assert_eq!(
                u16::from(one.0 == StatusCode::CREATED) + u16::from(other.0 == StatusCode::CREATED),
                1
            );
            let (one, other) = tokio::join!(place("c2"), place("c3"));
            let mut ids = [one.unwrap().1, other.unwrap().1];
            ids.sort();
            assert_eq!(ids, ["order-2", "order-3"], "who is second takes the next number");
        };
        tokio::select! {
            ended = book.follow(&client) => panic!("{ended:?}"),
            () = story => {}
        }
        let written = substitute.written();
        assert_eq!((written.all::<Placed>().len(), written.all::<Paid>().len()), (3, 3));
        assert!(written.all::<Paid>().iter().all(|paid| paid.metadata.is_correlated(&paid.stream)));
    }
}
