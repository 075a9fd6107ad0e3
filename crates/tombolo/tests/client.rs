//! A service that links the toolkit, and the binary: what it was told was written is there after a kill, its consumer
//! waits for the next `tombolo up` and goes on, and nothing is answered twice.

mod support;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Folder, PATIENCE, Running, taken};
use tombolo_client::{
    Append, Client, Consumer, Error, Handlers, Message, NewMessage, PullConsumer, Read, Received, messages,
};

#[derive(Serialize, Deserialize)]
struct Placed {
    number: u32,
}
#[derive(Serialize, Deserialize)]
struct Paid {
    number: u32,
}
messages!(Placed, Paid);

/// Orders before the kill, and after it.
const ORDERS: u32 = 20;

async fn placed(handled: Arc<AtomicU32>, placed: Received<Placed>) -> Result<Append, Error> {
    handled.fetch_add(1, Ordering::SeqCst);
    Ok(Append::to(placed.stream_name(), Paid { number: placed.number }.following(&placed)))
}

fn up(folder: &Folder) -> Running {
    let mut running = folder.start(&["up"]);
    running.wait_for("Ctrl-C stops everything");
    running
}

/// Writes orders, each once whatever becomes of the server.
async fn place(client: &Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let order = || NewMessage::from(Placed { number }).correlate(format!("order-{number}"));
        let write = || client.write(format!("order-{number}"), order()).idempotency_key(format!("{number}"));
        let mut written = write().await;
        while let Err(error) = written {
            assert!(error.is_passing(), "{error}");
            tokio::task::yield_now().await;
            written = write().await;
        }
    }
}

#[tokio::test]
async fn a_service_outlives_a_kill_of_the_server_and_answers_each_message_once() {
    let (held, port) = taken();
    drop(held);
    let folder = Folder::new();
    folder.write(
        "tombolo.yaml",
        &format!(
            "streams: {{messagedb: off}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:{port}', support: off}}\n"
        ),
    );
    let mut server = up(&folder);
    let client = Client::connect(&format!("http://127.0.0.1:{port}")).unwrap();
    place(&client, 0..ORDERS).await;

    let handled = Arc::new(AtomicU32::new(0));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let handlers = Handlers::new(handled.clone()).on(placed);
    let consumer = Consumer::new(client.clone(), "order", handlers).identifier("payments").batch(3);
    let consuming = tokio::spawn(consumer.run(async { drop(stopped.await) }));

    server.signal(Signal::SIGKILL);
    assert_eq!(server.wait(), -1);
    let placing = tokio::spawn({
        let client = client.clone();
        async move { place(&client, ORDERS..2 * ORDERS).await }
    });
    let starting = tokio::task::spawn_blocking(move || (up(&folder), folder));
    let (mut server, _folder) = starting.await.unwrap();
    placing.await.unwrap();

    // The last answer is waited for, then all are there.
    for number in 0..2 * ORDERS {
        let answer = Read::stream(format!("order-{number}")).from(1).wait(PATIENCE);
        let page = client.page(answer).await.unwrap();
        assert_eq!(page.messages.len(), 1, "order-{number}");
        assert_eq!(page.messages[0].receive::<Paid>().unwrap().number, number);
    }
    stop.send(()).unwrap();
    consuming.await.unwrap().unwrap();
    let all = client.read(Read::category("order")).take(1_000).await.unwrap();
    assert_eq!(all.len() as u32, 4 * ORDERS, "{} were handled", handled.load(Ordering::SeqCst));
    assert!(handled.load(Ordering::SeqCst) >= 2 * ORDERS);

    // Another consumer of this name begins behind all that was placed.
    let again = Arc::new(AtomicU32::new(0));
    let handlers = Handlers::new(again.clone()).on(placed);
    Consumer::new(client, "order", handlers).identifier("payments").catch_up().await.unwrap();
    assert_eq!(again.load(Ordering::SeqCst), 0);
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait(), 0);
}

/// Fails the first time.
async fn second_time(handled: Arc<AtomicU32>, placed: Received<Placed>) -> Result<Append, Error> {
    if handled.fetch_add(1, Ordering::SeqCst) == 0 {
        return Err(Error::other("not yet"));
    }
    Ok(Append::to(placed.stream_name(), Paid { number: placed.number }.following(&placed)))
}

#[tokio::test]
async fn a_consumer_of_the_manifest_is_pulled_from_and_tries_again_what_failed() {
    let folder = Folder::new();
    let (held, port) = taken();
    drop(held);
    folder.write(
        "tombolo.yaml",
        &format!(
            "streams: {{messagedb: off}}\n\
             consumers: {{pay: {{category: order, types: [Placed], backoff: 1ms}}}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:{port}', support: off}}\n"
        ),
    );
    let mut server = up(&folder);
    let client = Client::connect(&format!("http://127.0.0.1:{port}")).unwrap();
    place(&client, 0..1).await;
    let handled = Arc::new(AtomicU32::new(0));
    let failed = Arc::new(AtomicU32::new(0));
    let failures = failed.clone();
    let consumer = PullConsumer::new(client.clone(), "pay", Handlers::new(handled.clone()).on(second_time))
        .on_failed(move |_, _| {
            failures.fetch_add(1, Ordering::SeqCst);
        });
    let answered = async {
        let answer = Read::stream("order-0").from(1).wait(PATIENCE);
        let page = client.page(answer).await.unwrap();
        let paid = page.messages[0].receive::<Paid>().unwrap();
        assert_eq!(paid.metadata.causation_identifier().as_deref(), Some("order-0/0"));
    };
    consumer.run(answered).await.unwrap();
    assert_eq!((handled.load(Ordering::SeqCst), failed.load(Ordering::SeqCst)), (2, 1));
    let none = PullConsumer::new(client.clone(), "nobody", Handlers::new(()));
    let said = none.run(std::future::pending()).await.unwrap_err().to_string();
    assert!(said.contains("`nobody`"), "{said}");
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait(), 0);
}
