//! Clients that send byte by byte to hold what others need: each is sent away when its time is up, and everybody
//! else is served meanwhile.

use crate::world::{Setup, World, message};
use std::time::Duration;
use testkit::{Backend, Client, eventually};
use wire::Limits;

/// Places for clients; the slow ones take all of them.
const PLACES: usize = 8;

fn waiting(wait: Duration) -> Setup {
    let limits =
        Limits { connections: PLACES, header_timeout: wait, read_timeout: wait, ..Limits::default() };
    Setup { limits, ..Setup::default() }
}

/// Sends a beginning and then one more byte again and again, until the gateway has closed; what it said.
async fn drip(mut client: Client, beginning: String, more: &'static str) -> String {
    client.send(beginning).await;
    let mut said = Vec::new();
    loop {
        tokio::select! {
            came = client.some(4096) => {
                if came.is_empty() {
                    return String::from_utf8_lossy(&said).into_owned();
                }
                said.extend(came);
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => client.send(more).await,
        }
    }
}

#[tokio::test]
async fn slow_clients_lose_their_places_to_others() {
    let backend = Backend::echo().await;
    let setup = waiting(Duration::from_millis(300));
    let world = World::with(setup, &format!(r#"r: * -> "{}""#, backend.url())).await;
    let body = "POST / HTTP/1.1\r\nHost: h\r\n";
    for (beginning, more, told) in [
        ("GET / HTTP/1.1\r\nX: ".to_owned(), "a", "HTTP/1.1 408"),
        ("GET / HTTP/1.1\r\n".to_owned(), "X: y\r\n", "HTTP/1.1 408"),
        ("G".to_owned(), "E", "HTTP/1.1 408"),
        ("\r\n".to_owned(), "", ""),
        (format!("{body}Content-Length: 1000\r\n\r\n"), "a", "HTTP/1.1 408"),
        (format!("{body}Transfer-Encoding: chunked\r\n\r\n"), "1\r\na\r\n", "HTTP/1.1 408"),
        (format!("{body}Transfer-Encoding: chunked\r\n\r\n"), "0", "HTTP/1.1 408"),
    ] {
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..PLACES {
            slow.spawn(drip(world.client().await, beginning.clone(), more));
        }
        // No place is free before a slow one has gone.
        assert_eq!(world.ask("GET /").await.status, 200, "{beginning:?}");
        while let Some(said) = slow.join_next().await {
            let said = said.unwrap();
            // hyper closes in silence.
            assert!(said.starts_with(told) || said.is_empty(), "{beginning:?} {said:?}");
        }
    }
    world.settled().await;
    eventually("no slow body holds a connection to the backend", || backend.open() <= 1).await;
    assert!(backend.seen().iter().all(|seen| seen.method == "GET" || !seen.complete));
}

#[tokio::test]
async fn a_client_that_sends_slowly_but_in_time_is_served() {
    let backend = Backend::echo().await;
    let setup = waiting(Duration::from_secs(10));
    let world = World::with(setup, &format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    for byte in message("POST /\n\nhi").bytes() {
        client.send([byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.answer().await.brief(), "200 hi");
}
