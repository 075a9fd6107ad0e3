//! The orders: turns a cart into an order by charging for it. Each cart is charged and ordered once, no
//! matter how often it is tried.

use axum::extract::{Path, State};
use axum::http::header::{HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop::{Answer, Caller, Name, Peer, Problem, User};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// So many orders are kept; the oldest is forgotten first.
const ORDERS_MAX: usize = 10_000;

#[derive(Clone)]
struct Service {
    cart: Peer,
    payments: Peer,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Clone, Debug, Serialize)]
struct Order {
    id: String,
    #[serde(skip)]
    user: Name,
    #[serde(skip)]
    cart: String,
    charge: String,
    items: Vec<Value>,
    total_cents: u32,
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let service = Service {
        cart: Peer::from_env("cart")?,
        payments: Peer::from_env("payments")?,
        orders: Arc::default(),
    };
    let app = Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(detail))
        .with_state(service);
    shop::serve("orders", app).await
}

async fn list(State(service): State<Service>, User(user): User) -> Json<Vec<Order>> {
    Json(service.with(|orders| orders.of(&user)))
}

async fn detail(
    State(service): State<Service>,
    User(user): User,
    Path(id): Path<Name>,
) -> Result<Json<Order>, Problem> {
    let order = service.with(|orders| orders.of(&user)).into_iter().find(|order| order.id == id.as_str());
    order.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("you have no order `{id}`")))
}

async fn create(
    State(service): State<Service>,
    User(user): User,
    caller: Caller,
) -> Result<(StatusCode, HeaderMap, Json<Order>), Problem> {
    let cart: Cart = service.cart.get("/cart").on_behalf_of(&caller).user(&user).send().await?.json()?;
    if cart.items.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "your cart is empty"));
    }
    let charge = service
        .payments
        .post("/charge")
        .on_behalf_of(&caller)
        .header(HeaderName::from_static("idempotency-key"), &cart.id)
        .json(&json!({ "amount_cents": cart.total_cents }))
        .send()
        .await;
    let receipt = receipt(charge)?;

    let empty = format!("/cart?id={}", cart.id);
    let (status, order) = service.with(|orders| orders.keep(user.clone(), cart, receipt));
    // If the cart can't be emptied now, ordering it again gives this order again and empties it then.
    _ = service.cart.delete(&empty).on_behalf_of(&caller).user(&user).send().await;

    let location = HeaderValue::from_str(&format!("/api/orders/{}", order.id));
    let headers = location.into_iter().map(|location| (LOCATION, location)).collect();
    Ok((status, headers, Json(order)))
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

impl Service {
    fn with<T>(&self, act: impl FnOnce(&mut Orders) -> T) -> T {
        act(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Default)]
struct Orders {
    kept: VecDeque<Order>,
    taken: u64,
}

impl Orders {
    /// Newest first.
    fn of(&self, user: &Name) -> Vec<Order> {
        self.kept.iter().rev().filter(|order| order.user == *user).cloned().collect()
    }

    fn keep(&mut self, user: Name, cart: Cart, receipt: Receipt) -> (StatusCode, Order) {
        if let Some(order) = self.kept.iter().find(|order| order.cart == cart.id) {
            return (StatusCode::OK, order.clone());
        }
        self.taken += 1;
        let id = format!("order-{}", self.taken);
        let Cart { id: cart, items, total_cents } = cart;
        let order = Order { id, user, cart, charge: receipt.charge, items, total_cents };
        if self.kept.len() == ORDERS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(order.clone());
        (StatusCode::CREATED, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(orders: &mut Orders, user: &str, cart: &str) -> (StatusCode, Order) {
        let cart = Cart { id: cart.to_owned(), items: vec![], total_cents: 1 };
        orders.keep(Name::try_from(user.to_owned()).unwrap(), cart, Receipt { charge: "charge-1".into() })
    }

    #[test]
    fn a_cart_is_ordered_once() {
        let mut orders = Orders::default();
        let (created, first) = keep(&mut orders, "ada", "cart-1");
        let (found, again) = keep(&mut orders, "ada", "cart-1");
        assert_eq!((created, found), (StatusCode::CREATED, StatusCode::OK));
        assert_eq!(first.id, again.id);
        keep(&mut orders, "grace", "cart-2");
        keep(&mut orders, "ada", "cart-3");
        let ids: Vec<_> = orders.of(&first.user).into_iter().map(|order| order.id).collect();
        assert_eq!(ids, ["order-3", "order-1"]);
    }

    #[test]
    fn the_oldest_order_is_forgotten_first() {
        let mut orders = Orders::default();
        for n in 0..=ORDERS_MAX {
            keep(&mut orders, "ada", &format!("cart-{n}"));
        }
        assert_eq!(orders.kept.len(), ORDERS_MAX);
        assert_eq!(orders.kept[0].id, "order-2");
    }
}
