//! The front page: reads the catalog, the cart and the orders, and turns the page's buttons into calls.
//! What can't be reached is left out of the page, with a sentence about it. It also confirms orders to those who placed
//! them, as messages come to it.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::order::Placed;
use shop::page::{Notice, Page};
use shop::{Answer, Caller, Name, Peer, Problem, User};
use tombolo_client::{Append, Handlers, Message, Received, messages, names};

#[derive(Clone)]
struct Service {
    catalog: Peer,
    cart: Peer,
    orders: Peer,
}

#[derive(Deserialize)]
struct View {
    notice: Option<Notice>,
}

#[derive(Deserialize)]
struct Login {
    name: Name,
}

#[derive(Deserialize)]
struct Add {
    sku: Name,
    quantity: u32,
}

#[derive(Deserialize)]
struct Remove {
    sku: Name,
}

/// Whoever placed an order was told that it came in.
#[derive(Serialize, Deserialize)]
struct Confirmed {
    to: String,
}

messages!(Confirmed);

/// After a button, back to the page: a reload of it then presses nothing again.
type Back = (StatusCode, [(HeaderName, String); 1]);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let service = Service {
        catalog: Peer::from_env("catalog")?,
        cart: Peer::from_env("cart")?,
        orders: Peer::from_env("orders")?,
    };
    let app = Router::new()
        .route("/", get(front))
        .route("/style.css", get(style))
        .route("/login", post(login))
        .route("/cart/add", post(add))
        .route("/cart/remove", post(remove))
        .route("/order", post(order))
        .route("/confirmations", post(confirmations))
        .fallback(lost)
        .with_state(service);
    shop::serve("web", app).await
}

async fn front(
    State(service): State<Service>,
    caller: Caller,
    user: Result<User, Problem>,
    Query(View { notice }): Query<View>,
) -> Html<String> {
    let user = user.ok().map(|User(name)| name);
    let ask = async |peer: &Peer, path: &str| match &user {
        Some(name) => Some(peer.get(path).on_behalf_of(&caller).user(name).send().await),
        None => None,
    };
    let (products, cart, orders) = tokio::join!(
        service.catalog.get("/products").on_behalf_of(&caller).send(),
        ask(&service.cart, "/cart"),
        ask(&service.orders, "/orders"),
    );
    let page = Page {
        products: products.and_then(|answer| answer.json()).ok(),
        cart: cart.map(|answer| answer.and_then(|answer| answer.json()).ok()),
        orders: orders.map(|answer| answer.and_then(|answer| answer.json()).ok()),
        user,
        notice,
    };
    Html(page.html())
}

async fn style() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], shop::page::STYLE)
}

async fn login(Form(Login { name }): Form<Login>) -> (StatusCode, [(HeaderName, String); 2]) {
    let cookie = format!("user={name}; Path=/; HttpOnly; SameSite=Lax");
    let (status, [location]) = back(None);
    (status, [location, (SET_COOKIE, cookie)])
}

async fn add(
    State(service): State<Service>,
    caller: Caller,
    User(user): User,
    Form(Add { sku, quantity }): Form<Add>,
) -> Back {
    let path = format!("/cart/items/{sku}");
    let call = service.cart.put(&path).on_behalf_of(&caller).user(&user);
    back(match call.json(&json!({ "quantity": quantity })).send().await {
        Ok(Answer { status, .. }) if status.is_success() => None,
        Ok(Answer { status: StatusCode::CONFLICT, .. }) => Some(Notice::TooMany),
        _ => Some(Notice::CartFailed),
    })
}

async fn remove(
    State(service): State<Service>,
    caller: Caller,
    User(user): User,
    Form(Remove { sku }): Form<Remove>,
) -> Back {
    let path = format!("/cart/items/{sku}");
    let answer = service.cart.delete(&path).on_behalf_of(&caller).user(&user).send().await;
    let gone = answer.is_ok_and(|answer| answer.status.is_success());
    back((!gone).then_some(Notice::CartFailed))
}

async fn order(State(service): State<Service>, caller: Caller, User(user): User) -> Back {
    let answer = service.orders.post("/orders").on_behalf_of(&caller).user(&user).send().await;
    back(Some(match answer {
        Ok(Answer { status, .. }) if status.is_success() => Notice::Ordered,
        Ok(Answer { status: StatusCode::PAYMENT_REQUIRED, .. }) => Notice::CardRefused,
        Ok(Answer { status: StatusCode::CONFLICT, .. }) => Notice::CartEmpty,
        _ => Notice::PaymentFailed,
    }))
}

/// Messages that are brought here, one at a time.
async fn confirmations(message: Bytes) -> Response {
    let pushed = Handlers::new(()).on(confirm).push(&message).await;
    let status = StatusCode::from_u16(pushed.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(CONTENT_TYPE, "application/json")], pushed.body).into_response();
    if let Some(seconds) = pushed.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The message is what is kept of a confirmation; there is no mail in this shop. One customer has no address.
async fn confirm((): (), placed: Received<Placed>) -> Result<Append, tombolo_client::Error> {
    let user = placed.user.as_str();
    if user == "nobody" {
        return Err(tombolo_client::Error::other("`nobody` has no address"));
    }
    let confirmed = Confirmed { to: format!("{user}@island.example") };
    let stream = names::stream("confirmation", placed.entity_id());
    Ok(Append::to(stream, confirmed.following(&placed)))
}

async fn lost() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is nothing here; the shop is at /\n")
}

fn back(notice: Option<Notice>) -> Back {
    let place = notice.map_or_else(|| "/".to_owned(), |notice| format!("/?notice={}", notice.code()));
    (StatusCode::SEE_OTHER, [(LOCATION, place)])
}
