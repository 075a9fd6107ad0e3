//! The carts: what each user is about to buy. Asks the catalog what a product costs when it is put in.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use shop::{Caller, Name, Peer, Problem, User};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const CARTS_MAX: usize = 10_000;
const ITEMS_MAX: usize = 50;
const QUANTITY_MAX: u32 = 99;

#[derive(Clone)]
struct Service {
    catalog: Peer,
    carts: Arc<Mutex<Carts>>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Cart {
    /// Another one after each change of the cart, and never the same twice: whoever charges for a cart uses
    /// it as the key that keeps the user from paying twice.
    id: String,
    items: Vec<Item>,
    total_cents: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Item {
    sku: Name,
    name: String,
    price_cents: u32,
    quantity: u32,
}

#[derive(Deserialize)]
struct Product {
    name: String,
    price_cents: u32,
    stock: u32,
}

#[derive(Deserialize)]
struct Put {
    quantity: u32,
}

#[derive(Deserialize)]
struct Only {
    id: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let service = Service { catalog: Peer::from_env("catalog")?, carts: Arc::default() };
    let app = Router::new()
        .route("/cart", get(show).delete(clear))
        .route("/cart/items/{sku}", put(put_item).delete(take_item))
        .with_state(service);
    shop::serve("cart", app).await
}

async fn show(State(service): State<Service>, User(user): User) -> Json<Cart> {
    Json(service.with(|carts| carts.of(&user)))
}

async fn put_item(
    State(service): State<Service>,
    User(user): User,
    caller: Caller,
    Path(sku): Path<Name>,
    Json(Put { quantity }): Json<Put>,
) -> Result<Json<Cart>, Problem> {
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        let error = format!("`quantity` is {quantity}, not 1 to {QUANTITY_MAX}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error).hint("DELETE takes an item out"));
    }
    let path = format!("/products/{sku}");
    let answer = service.catalog.get(&path).on_behalf_of(&caller).send().await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no product `{sku}`")));
    }
    let Product { name, price_cents, stock } = answer.json()?;
    if quantity > stock {
        return Err(Problem::new(StatusCode::CONFLICT, format!("there are only {stock} of `{sku}` left")));
    }
    service.with(|carts| carts.put(&user, Item { sku, name, price_cents, quantity })).map(Json)
}

async fn take_item(State(service): State<Service>, User(user): User, Path(sku): Path<Name>) -> Json<Cart> {
    Json(service.with(|carts| carts.take(&user, &sku)))
}

/// With `?id=`, only if nobody has changed the cart since it had that id.
async fn clear(
    State(service): State<Service>,
    User(user): User,
    Query(Only { id }): Query<Only>,
) -> Result<StatusCode, Problem> {
    service.with(|carts| carts.clear(&user, id.as_deref()))
}

impl Service {
    fn with<T>(&self, act: impl FnOnce(&mut Carts) -> T) -> T {
        act(&mut self.carts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Carts {
    of: HashMap<Name, Cart>,
    /// Ids begin with the moment of the start, so that no id comes twice after a restart.
    started_ms: u128,
    changes: u64,
}

impl Default for Carts {
    fn default() -> Self {
        let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self { of: HashMap::new(), started_ms, changes: 0 }
    }
}

impl Carts {
    fn of(&self, user: &Name) -> Cart {
        self.of.get(user).cloned().unwrap_or_default()
    }

    fn put(&mut self, user: &Name, item: Item) -> Result<Cart, Problem> {
        let mut cart = self.of(user);
        match cart.items.iter().position(|known| known.sku == item.sku) {
            Some(place) => cart.items[place] = item,
            None if cart.items.len() == ITEMS_MAX => {
                return Err(Problem::new(StatusCode::CONFLICT, format!("a cart holds {ITEMS_MAX} products")));
            }
            None => cart.items.push(item),
        }
        if self.of.len() >= CARTS_MAX && !self.of.contains_key(user) {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "all carts are taken"));
        }
        Ok(self.keep(user, cart))
    }

    fn take(&mut self, user: &Name, sku: &Name) -> Cart {
        let mut cart = self.of(user);
        cart.items.retain(|item| item.sku != *sku);
        if cart.items.is_empty() {
            self.of.remove(user);
            return Cart::default();
        }
        self.keep(user, cart)
    }

    fn clear(&mut self, user: &Name, only: Option<&str>) -> Result<StatusCode, Problem> {
        if only.is_some_and(|id| id != self.of(user).id) {
            return Err(Problem::new(StatusCode::CONFLICT, "the cart has changed"));
        }
        self.of.remove(user);
        Ok(StatusCode::NO_CONTENT)
    }

    fn keep(&mut self, user: &Name, mut cart: Cart) -> Cart {
        self.changes += 1;
        cart.id = format!("cart-{:x}-{}", self.started_ms, self.changes);
        cart.total_cents = cart.items.iter().map(|item| item.price_cents.saturating_mul(item.quantity)).sum();
        self.of.insert(user.clone(), cart.clone());
        cart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sku: &str, quantity: u32) -> Item {
        Item { sku: Name::try_from(sku.to_owned()).unwrap(), name: sku.into(), price_cents: 100, quantity }
    }

    #[test]
    fn a_cart_is_another_one_after_each_change() {
        let (mut carts, ada) = (Carts::default(), Name::try_from("ada".to_owned()).unwrap());
        let first = carts.put(&ada, item("rope", 2)).unwrap();
        let second = carts.put(&ada, item("rope", 3)).unwrap();
        assert_eq!((second.items.len(), second.total_cents), (1, 300));
        assert_ne!(first.id, second.id);
        assert_eq!(carts.clear(&ada, Some(&first.id)).unwrap_err().status, StatusCode::CONFLICT);
        assert_eq!(carts.clear(&ada, Some(&second.id)), Ok(StatusCode::NO_CONTENT));
        assert_eq!(carts.of(&ada).total_cents, 0);
    }

    #[test]
    fn a_full_cart_takes_no_more_products_but_other_quantities() {
        let (mut carts, ada) = (Carts::default(), Name::try_from("ada".to_owned()).unwrap());
        for n in 0..ITEMS_MAX {
            carts.put(&ada, item(&format!("p{n}"), 1)).unwrap();
        }
        assert_eq!(carts.put(&ada, item("one-more", 1)).unwrap_err().status, StatusCode::CONFLICT);
        assert_eq!(carts.put(&ada, item("p0", 2)).unwrap().total_cents, 5100);
        for n in 0..ITEMS_MAX {
            carts.take(&ada, &item(&format!("p{n}"), 1).sku);
        }
        assert!(carts.of.is_empty(), "an empty cart is still kept");
    }

    #[test]
    fn there_is_a_bound_on_carts() {
        let mut carts = Carts::default();
        for n in 0..CARTS_MAX {
            carts.put(&Name::try_from(format!("user-{n}")).unwrap(), item("rope", 1)).unwrap();
        }
        let late = Name::try_from("late".to_owned()).unwrap();
        assert_eq!(carts.put(&late, item("rope", 1)).unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        carts.put(&Name::try_from("user-7".to_owned()).unwrap(), item("rope", 2)).unwrap();
    }
}
