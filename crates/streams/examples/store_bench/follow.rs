//! From an append to its handler: a follower of a category over Server-Sent Events, and another connection that
//! appends to it now and then. The time goes from the sending of the append to the arrival of the event.

use crate::clients::{Http, PATIENCE};
use crate::{Asked, load};
use base::Chance;
use http::Method;
use http::header::ACCEPT;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::time::{Duration, Instant};
use wire::Body;

/// Between two appends, so that nothing is under way.
const PAUSE: Duration = Duration::from_millis(5);

/// Appends messages one after another, each when the one before has arrived.
pub(crate) async fn measure(asked: &Asked) -> Value {
    let port = asked.number("port") as u16;
    let (mut follower, mut producer) = (Http::connect(port).await, Http::connect(port).await);
    let target = "/api/v1/categories/followed/messages?new=true";
    let events = follower.send(Method::GET, target, (ACCEPT, "text/event-stream"), String::new()).await;
    assert!(events.status().is_success(), "{}", events.status());
    let mut events = Events { body: events.into_body(), held: Vec::new() };
    // What is said first tells that it follows.
    events.until("\n\n").await;
    let chance = Chance::from_entropy();
    let mut waits = Vec::new();
    for nth in 0..asked.number("messages") {
        tokio::time::sleep(PAUSE).await;
        let message = load::message(&chance);
        let (id, stream) = (message.id.to_string(), format!("followed-{}", nth % 100));
        let sent = Instant::now();
        let ((), arrived) = tokio::join!(producer.append(&stream, &message), async {
            events.until(&id).await;
            sent.elapsed()
        });
        waits.push(arrived);
        events.until("\n\n").await;
    }
    crate::told(&mut waits)
}

/// Events as they come.
struct Events {
    body: Body,
    held: Vec<u8>,
}

impl Events {
    /// Reads on until this has come, and leaves what is behind it.
    async fn until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.held.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.held.drain(..at + text.len());
                return;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event comes in time").expect("the server goes on").unwrap();
            self.held.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}
