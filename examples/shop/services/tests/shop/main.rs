//! The services as they run: started as processes on ports of their own, spoken to over their sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use serde_json::{Value, json};
use shop::{Name, Peer};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use testkit::Streams;

/// A running service. Dropping it kills it.
struct Service {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Service {
    fn start(program: &str, env: &[(&str, &str)]) -> Self {
        let mut process = Command::new(program)
            .env("PORT", "0")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address =
            line.trim().split_once(" listens on ").unwrap_or_else(|| panic!("{program} said `{line}`")).1;
        Self { url: format!("http://{address}"), process, output }
    }

    fn peer(&self) -> Peer {
        Peer::at("tested", &self.url).unwrap()
    }

    /// Asks it to end; how it ended and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let code = self.process.wait().unwrap().code();
        let mut said = String::new();
        self.output.read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// All of them, joined by nothing but addresses.
struct Shop {
    catalog: Service,
    cart: Service,
    payments: Service,
    orders: Service,
    web: Service,
    /// Last, so that it ends last.
    streams: Streams,
}

impl Shop {
    fn start(fail_rate: &str) -> Self {
        let streams = Streams::start();
        let catalog = catalog("1");
        let cart = Service::start(env!("CARGO_BIN_EXE_shop-cart"), &[("CATALOG_URL", &catalog.url)]);
        let payments = payments(&streams, fail_rate, "1");
        let orders = orders(&streams, &cart, &payments);
        let web = Service::start(
            env!("CARGO_BIN_EXE_shop-web"),
            &[("CATALOG_URL", &catalog.url), ("CART_URL", &cart.url), ("ORDERS_URL", &orders.url)],
        );
        Self { catalog, cart, payments, orders, web, streams }
    }
}

fn catalog(version: &str) -> Service {
    Service::start(env!("CARGO_BIN_EXE_shop-catalog"), &[("VERSION", version)])
}

fn payments(streams: &Streams, fail_rate: &str, seed: &str) -> Service {
    Service::start(
        env!("CARGO_BIN_EXE_shop-payments"),
        &[("TOMBOLO_API_URL", streams.url()), ("FAIL_RATE", fail_rate), ("SEED", seed)],
    )
}

/// Orders that are cancelled unless they are paid within a second.
fn orders(streams: &Streams, cart: &Service, payments: &Service) -> Service {
    Service::start(
        env!("CARGO_BIN_EXE_shop-orders"),
        &[
            ("TOMBOLO_API_URL", streams.url()),
            ("CART_URL", &cart.url),
            ("PAYMENTS_URL", &payments.url),
            ("PAYMENT_TIMEOUT_S", "1"),
        ],
    )
}

fn ada() -> Name {
    Name::try_from("ada".to_owned()).unwrap()
}

/// Sends it as ada: the status, and the body as JSON or as text.
async fn ask(call: shop::Call<'_>) -> (u16, Value) {
    let answer = call.user(&ada()).send().await.unwrap();
    let text = || Value::String(String::from_utf8_lossy(&answer.body).into_owned());
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_else(|_| text()))
}

#[tokio::test]
async fn two_versions_of_the_catalog_say_which_they_are() {
    for (version, rating) in [("1", Value::Null), ("2", json!(5.0))] {
        let service = catalog(version);
        let answer = service.peer().get("/products/compass").send().await.unwrap();
        let compass: Value = answer.json().unwrap();
        assert_eq!(answer.headers["x-catalog-version"], version);
        assert_eq!((&compass["price_cents"], &compass["rating"]), (&json!(4200), &rating));
        let missing = service.peer().get("/products/anchor").send().await.unwrap();
        assert_eq!(
            (missing.status.as_u16(), &missing.headers["x-catalog-version"]),
            (404, &version.parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_cart_becomes_an_order_that_is_paid_for_once() {
    let shop = Shop::start("0");
    let (cart, orders) = (shop.cart.peer(), shop.orders.peer());
    let (status, empty) = ask(orders.post("/orders")).await;
    assert_eq!((status, &empty["error"]), (409, &json!("your cart is empty")));

    ask(cart.put("/cart/items/rope").json(&json!({ "quantity": 2 }))).await;
    let (status, full) = ask(cart.put("/cart/items/compass").json(&json!({ "quantity": 1 }))).await;
    assert_eq!((status, &full["total_cents"]), (200, &json!(7190)));
    assert_eq!(ask(cart.put("/cart/items/lantern").json(&json!({ "quantity": 8 }))).await.0, 409);
    assert_eq!(ask(cart.put("/cart/items/anchor").json(&json!({ "quantity": 1 }))).await.0, 404);
    assert_eq!(ask(cart.put("/cart/items/rope").json(&json!({ "quantity": 0 }))).await.0, 422);
    assert_eq!(cart.get("/cart").send().await.unwrap().status, 401);

    let (status, order) = ask(orders.post("/orders")).await;
    assert_eq!((status, &order["id"], &order["total_cents"]), (201, &json!("order-1"), &json!(7190)));
    assert_eq!(ask(orders.get("/orders/order-1")).await, (200, order.clone()));
    assert_eq!(ask(orders.get("/orders")).await, (200, json!([order])));
    assert_eq!(ask(cart.get("/cart")).await.1["items"], json!([]));

    ask(cart.put("/cart/items/sloop").json(&json!({ "quantity": 1 }))).await;
    let (status, refused) = ask(orders.post("/orders")).await;
    assert_eq!((status, &refused["error"]), (402, &json!("your card was refused")));
    let (_, statistics) = ask(shop.payments.peer().get("/statistics")).await;
    assert_eq!(statistics, json!({ "charged": 1, "refused": 1, "failed": 0, "replayed": 0 }));
}

/// Asks for an order until it is so.
async fn until(orders: &Peer, id: &str, status: &str) -> Value {
    for _ in 0..2_000 {
        let (_, order) = ask(orders.get(&format!("/orders/{id}"))).await;
        if order["status"] == status {
            return order;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("`{id}` is never {status}");
}

#[tokio::test]
async fn what_happens_to_an_order_stands_in_its_stream_and_outlives_the_service() {
    let mut shop = Shop::start("0.3");
    let cart = shop.cart.peer();
    let order = async |orders: &Peer, sku: &str| {
        let put = format!("/cart/items/{sku}");
        assert_eq!(ask(cart.put(&put).json(&json!({ "quantity": 1 }))).await.0, 200);
        let (status, order) = ask(orders.post("/orders?pay=later")).await;
        assert_eq!((status, &order["status"]), (202, &json!("placed")));
        order["id"].as_str().unwrap().to_owned()
    };
    let orders = shop.orders.peer();
    let rope = order(&orders, "rope").await;
    let paid = until(&orders, &rope, "paid").await;
    assert_eq!(paid["charge"], "charge-1");
    // The card is refused, and nobody pays otherwise.
    let sloop = order(&orders, "sloop").await;
    let cancelled = until(&orders, &sloop, "cancelled").await;
    assert_eq!(cancelled["reason"], "not paid within 1 s");

    let client = tombolo_client::Client::connect(shop.streams.url()).unwrap();
    let said = async |stream: &str| {
        let messages = client.read(tombolo_client::Read::stream(stream)).take(9).await.unwrap();
        messages.into_iter().map(|message| message.kind).collect::<Vec<_>>()
    };
    assert_eq!(said(&rope).await, ["Placed", "ChargeBegun", "Paid"]);
    assert_eq!(said(&sloop).await, ["Placed", "ChargeBegun", "Refused", "Cancelled"]);

    // Another instance knows nothing but what it reads.
    let (_, before) = ask(orders.get("/orders")).await;
    assert_eq!(before.as_array().unwrap().len(), 2);
    shop.orders = self::orders(&shop.streams, &shop.cart, &shop.payments);
    let orders = shop.orders.peer();
    assert_eq!(ask(orders.get("/orders")).await, (200, before));
    // Without payments nobody takes the money.
    drop(std::mem::replace(&mut shop.payments, catalog("1")));
    let unpaid = order(&orders, "chart").await;
    until(&orders, &unpaid, "cancelled").await;
    assert_eq!(said(&unpaid).await, ["Placed", "Cancelled"]);
    // Payments comes back, and charges nothing for what was cancelled.
    shop.payments = payments(&shop.streams, "0", "1");
    let next = order(&orders, "rope").await;
    until(&orders, &next, "paid").await;
    assert_eq!(said(&unpaid).await, ["Placed", "Cancelled"]);
    assert_eq!(said(&rope).await, ["Placed", "ChargeBegun", "Paid"]);
}

#[tokio::test]
async fn a_payment_that_fails_leaves_the_cart_as_it_was() {
    let shop = Shop::start("1");
    let cart = shop.cart.peer();
    let (_, before) = ask(cart.put("/cart/items/rope").json(&json!({ "quantity": 2 }))).await;
    let (status, problem) = ask(shop.orders.peer().post("/orders")).await;
    assert_eq!(status, 502);
    assert_eq!(problem["error"], "the payment failed: `payments` answered 503 Service Unavailable");
    assert_eq!(problem["hint"], "your cart is kept; order again, it is charged once at most");
    assert_eq!(ask(cart.get("/cart")).await, (200, before));
}

#[tokio::test]
async fn payments_fail_in_the_order_of_their_seed_and_repeat_what_they_did() {
    let streams = Streams::start();
    let answers = async |seed| {
        let service = payments(&streams, "0.3", seed);
        let (peer, mut answers) = (service.peer(), Vec::new());
        for n in 0..40 {
            let key = "idempotency-key".parse().unwrap();
            let call = peer.post("/charge").header(key, &format!("key-{}", n / 2));
            let answer = call.json(&json!({ "amount_cents": 100 })).send().await.unwrap();
            let replayed = answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
            answers.push((answer.status.as_u16(), replayed, answer.body));
        }
        answers
    };
    let first = answers("7").await;
    assert_eq!(first, answers("7").await);
    assert!(first.iter().any(|(status, ..)| *status == 503));
    for pair in first.chunks(2) {
        if pair[0].0 == 201 {
            assert_eq!((pair[1].0, pair[1].1, &pair[1].2), (201, true, &pair[0].2));
        }
    }
    assert_eq!(
        payments(&streams, "0", "1")
            .peer()
            .post("/charge")
            .json(&json!({ "amount_cents": 1 }))
            .send()
            .await
            .unwrap()
            .status,
        400
    );
}

#[tokio::test]
async fn the_buttons_of_the_page_work_without_javascript() {
    let shop = Shop::start("0");
    let web = shop.web.peer();
    let form = "application/x-www-form-urlencoded";
    let press = async |path: &str, fields: &str| {
        // The helper for calls speaks JSON only, as services do; a browser's form is written out here.
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: shop\r\ncookie: user=ada\r\ncontent-type: {form}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{fields}",
            fields.len()
        );
        raw(&shop.web.url, &request).await
    };
    let stranger = web.get("/").send().await.unwrap();
    assert!(String::from_utf8_lossy(&stranger.body).contains("Come in"));
    let entered = press("/login", "name=ada").await;
    assert!(
        entered.starts_with("HTTP/1.1 303")
            && entered.contains("set-cookie: user=ada; Path=/; HttpOnly; SameSite=Lax")
    );
    assert!(press("/cart/add", "sku=rope&quantity=2").await.contains("location: /\r\n"));
    assert!(press("/cart/add", "sku=lantern&quantity=99").await.contains("location: /?notice=too-many\r\n"));
    assert!(ask(web.get("/")).await.1.as_str().unwrap().contains("Order for 29.90 €"));
    assert!(press("/order", "").await.contains("location: /?notice=ordered\r\n"));
    let (_, page) = ask(web.get("/?notice=ordered")).await;
    let page = page.as_str().unwrap();
    assert!(
        page.contains("Thank you for your order.")
            && page.contains("<strong>order-1</strong> 2 × Hemp rope, 20 m")
    );
    assert_eq!(web.get("/nowhere").send().await.unwrap().status, 404);

    drop(shop.catalog);
    let (status, page) = ask(web.get("/")).await;
    assert_eq!(status, 200);
    assert!(page.as_str().unwrap().contains("The catalog can't be read just now."));
}

#[tokio::test]
async fn a_service_hands_the_trace_on_logs_each_request_and_ends_when_asked() {
    let shop = Shop::start("0");
    let flow = "x-flow-id".parse().unwrap();
    let put = shop.cart.peer();
    let put = put.put("/cart/items/rope").header(flow, "flow-7").json(&json!({ "quantity": 1 }));
    assert_eq!(ask(put).await.0, 200);
    assert_eq!(ask(shop.catalog.peer().get("/health")).await, (200, json!("ok\n")));
    let (code, said) = shop.catalog.stop();
    assert_eq!(code, Some(0));
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("GET /products/rope 200 ") && lines[0].ends_with("ms flow=flow-7"),
        "{said}"
    );
    assert_eq!(lines[1..], ["catalog has ended"]);
}

#[test]
fn a_service_that_is_set_up_wrongly_says_what_is_missing() {
    let said = |program: &str, env: &[(&str, &str)]| {
        let output = Command::new(program).env_clear().envs(env.iter().copied()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(env!("CARGO_BIN_EXE_shop-cart"), &[("PORT", "0")]).contains("`CATALOG_URL` is not set"));
    assert!(said(env!("CARGO_BIN_EXE_shop-catalog"), &[]).contains("`PORT` is not set"));
    let peers = [("CART_URL", "http://127.0.0.1:1"), ("PAYMENTS_URL", "http://127.0.0.1:1")];
    assert!(said(env!("CARGO_BIN_EXE_shop-orders"), &peers).contains("`TOMBOLO_API_URL` is not set"));
    assert!(said(env!("CARGO_BIN_EXE_shop-catalog"), &[("VERSION", "3")]).contains("there are 1 and 2"));
    assert!(
        said(env!("CARGO_BIN_EXE_shop-payments"), &[("FAIL_RATE", "much")]).contains("`FAIL_RATE` is `much`")
    );
}

async fn raw(url: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
