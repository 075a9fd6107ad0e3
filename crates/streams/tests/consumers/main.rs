//! Consumers over the stores that are used: far behind in the embedded one with memory bounded, shared by nodes over
//! PostgreSQL of which one dies, and asked over HTTP.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod behind;
mod http;
mod shared;

use base::{Chance, Clock, Fault, Scope};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Append, NewMessage, State, Store, Uuid};
use streams::consumers::{Consumers, Definition, Deliver, Handler, Push, Pushed, Setup};

/// A handler that counts what each node brings it, and answers after a while.
#[derive(Default)]
struct Counting {
    /// Messages by node.
    messages: Mutex<HashMap<String, Vec<String>>>,
    /// Consumers whose handler never answers.
    stuck: Vec<&'static str>,
    takes: Duration,
}

struct Door(Arc<Counting>, String);

impl Deliver for Door {
    fn serves(&self, _handler: &Handler) -> bool {
        true
    }

    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(async move {
            if self.0.stuck.contains(&push.consumer.as_str()) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.0.takes).await;
            let ids = push.body.split("\"id\":\"").skip(1).map(|rest| rest[..36].to_owned());
            self.0.messages.lock().unwrap().entry(self.1.clone()).or_default().extend(ids);
            let answer = r#"{"append":[{"stream_name":"did-1","messages":[{"type":"Did"}]}]}"#;
            let body = if self.0.takes.is_zero() { Vec::new() } else { answer.as_bytes().to_vec() };
            Ok(Pushed { status: 200, retry_after: None, body })
        })
    }
}

/// A node's consumers at work.
fn start(store: Store, state: State, handler: &Arc<Counting>, node: Option<&str>) -> (Consumers, Scope) {
    let scope = Scope::new(Clock::system(), |end| panic!("{end:?}"));
    let consumers = Consumers::new(Setup {
        store,
        state,
        clock: Clock::system(),
        chance: Chance::seeded(1),
        scope: scope.clone(),
        spans: None,
        metrics: Arc::new(telemetry::Metrics::new(1)),
        taps: streams::tap::MessageTaps::default(),
        deliver: Arc::new(Door(handler.clone(), node.unwrap_or_default().to_owned())),
        node: node.map(str::to_owned),
    });
    consumers.start();
    (consumers, scope)
}

fn pushed(category: &str) -> Definition {
    Definition { handler: Some(Handler::parse("shop").unwrap()), ..Definition::of(category) }
}

/// Messages with these ids, over a hundred streams.
async fn append(store: &Store, ids: std::ops::Range<u128>) {
    let of = |id| NewMessage { id: Uuid::from_u128(id), kind: "T".into(), data: None, metadata: None };
    let appends = (0..100).filter_map(|stream| {
        let messages: Vec<_> = ids.clone().filter(|id| id % 100 == stream).map(of).collect();
        let stream = format!("order-{stream}");
        (!messages.is_empty()).then_some(Append { stream, expected_version: None, messages })
    });
    store.append(appends.collect()).await.unwrap();
}
