//! Consumers at work over a store in memory, with a handler that tests direct and a clock that they move: order,
//! failures, dead letters, restarts, shares of several nodes, pull, and moves.

mod basics;
mod groups;
mod simulated;
mod taking;

use super::*;
use base::{ClockHand, UnixTime};
use std::collections::HashSet;
use std::pin::Pin;
use store::state::Sqlite;
use store::{Append, Json, Memory, NewMessage, Read, Uuid};

/// What a handler of a test answers.
type Answers = dyn Fn(&Call) -> Result<Pushed, Fault> + Send + Sync;

/// A call that a handler had.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    node: String,
    consumer: String,
    attempt: u32,
    /// Streams and their positions.
    messages: Vec<(String, i64)>,
}

impl Call {
    fn text(&self) -> String {
        let messages: Vec<String> =
            self.messages.iter().map(|(stream, position)| format!("{stream}/{position}")).collect();
        format!("{}#{}", messages.join(" "), self.attempt)
    }
}

/// A handler that notes its calls, and finds two at once in a stream.
struct Fake {
    node: String,
    clock: Clock,
    seen: Arc<Seen>,
}

/// What handlers saw, all nodes together.
#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<Call>>,
    busy: Mutex<HashSet<(String, String)>>,
    together: Mutex<Vec<Call>>,
    under_way_most: AtomicU64,
    answers: Mutex<Option<Arc<Answers>>>,
    takes: Mutex<Duration>,
}

impl Seen {
    fn answer(&self, answers: impl Fn(&Call) -> Result<Pushed, Fault> + Send + Sync + 'static) {
        *lock(&self.answers) = Some(Arc::new(answers));
    }

    fn texts(&self) -> Vec<String> {
        lock(&self.calls).iter().map(Call::text).collect()
    }

    fn count(&self) -> usize {
        lock(&self.calls).len()
    }
}

/// Streams that are being handled; freed when the call is broken off, too.
struct Busy(Arc<Seen>, Vec<(String, String)>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut busy = lock(&self.0.busy);
        for stream in &self.1 {
            busy.remove(stream);
        }
    }
}

impl Deliver for Fake {
    fn serves(&self, handler: &Handler) -> bool {
        handler.service != "elsewhere"
    }

    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(async move {
            let body: serde_json::Value = serde_json::from_str(&push.body).unwrap();
            let list = if let Some(list) = body.as_array() { list.clone() } else { vec![body] };
            let of = |message: &serde_json::Value| {
                (message["stream_name"].as_str().unwrap().to_owned(), message["position"].as_i64().unwrap())
            };
            let attempt = push.headers.iter().find(|(name, _)| *name == "tombolo-attempt").unwrap();
            let call = Call {
                node: self.node.clone(),
                consumer: push.consumer.clone(),
                attempt: attempt.1.parse().unwrap(),
                messages: list.iter().map(of).collect(),
            };
            let streams: HashSet<(String, String)> =
                call.messages.iter().map(|(stream, _)| (push.consumer.clone(), stream.clone())).collect();
            let mine = {
                let mut busy = lock(&self.seen.busy);
                let mine: Vec<_> = streams.into_iter().filter(|stream| busy.insert(stream.clone())).collect();
                self.seen.under_way_most.fetch_max(busy.len() as u64, Ordering::SeqCst);
                if mine.is_empty() {
                    lock(&self.seen.together).push(call.clone());
                }
                Busy(self.seen.clone(), mine)
            };
            lock(&self.seen.calls).push(call.clone());
            let takes = *lock(&self.seen.takes);
            if takes.is_zero() {
                tokio::task::yield_now().await;
            } else {
                self.clock.sleep(takes).await;
            }
            let answers = lock(&self.seen.answers).clone();
            let answer = answers.map_or_else(|| Ok(ok()), |answers| answers(&call));
            drop(mine);
            answer
        })
    }
}

fn ok() -> Pushed {
    Pushed { status: 200, ..Pushed::default() }
}

fn failed() -> Pushed {
    Pushed { status: 500, ..Pushed::default() }
}

/// An answer with one message for this stream.
fn appending(stream: &str) -> Pushed {
    let body = format!(r#"{{"append":[{{"stream_name":"{stream}","messages":[{{"type":"Did"}}]}}]}}"#);
    Pushed { status: 200, retry_after: None, body: body.into_bytes() }
}

/// A store that outlives the nodes over it.
struct World {
    clock: Clock,
    hand: ClockHand,
    store: Store,
    state: State,
    seen: Arc<Seen>,
    _folder: tempfile::TempDir,
}

/// A node over it.
struct Node {
    consumers: Consumers,
    scope: Scope,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_700_000_000)));
        let folder = tempfile::tempdir().unwrap();
        let state = Sqlite::open(folder.path(), clock.clone()).unwrap();
        Self {
            store: Store::new(Memory::new(clock.clone())),
            state: State::new(state),
            clock,
            hand,
            seen: Arc::default(),
            _folder: folder,
        }
    }

    fn node(&self, name: Option<&str>) -> Node {
        let scope = Scope::new(self.clock.clone(), |end| panic!("{end:?}"));
        let consumers = Consumers::new(Setup {
            store: self.store.clone(),
            state: self.state.clone(),
            clock: self.clock.clone(),
            chance: Chance::seeded(1),
            scope: scope.clone(),
            spans: None,
            metrics: Arc::new(telemetry::Metrics::new(1)),
            taps: crate::tap::MessageTaps::default(),
            deliver: Arc::new(Fake {
                node: name.unwrap_or_default().to_owned(),
                clock: self.clock.clone(),
                seen: self.seen.clone(),
            }),
            node: name.map(str::to_owned),
        });
        consumers.start();
        Node { consumers, scope }
    }

    /// Appends a message to each of these streams.
    async fn append(&self, streams: &[&str]) {
        for stream in streams {
            let message =
                NewMessage { id: Uuid::from_u128(rand()), kind: "T".into(), data: None, metadata: None };
            let append =
                Append { stream: (*stream).to_owned(), expected_version: None, messages: vec![message] };
            self.store.append(vec![append]).await.unwrap();
        }
    }

    /// Moves the clock on, by small steps, until this holds.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = std::time::Instant::now();
        loop {
            // Real time for threads that write; the steps are of the clock that tests move.
            for _ in 0..5 {
                if holds().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(begun.elapsed() < testkit::PATIENCE * 3, "{what}: {:?}", self.seen.texts());
            // On a busy machine the state's thread must not fall behind the clock, or leases seem lost: what was asked
            // before is done when this is.
            self.state.acquire("until", "tests", Duration::from_secs(1)).await.unwrap();
            self.hand.advance(Duration::from_millis(100));
        }
    }

    async fn called(&self, count: usize) {
        self.until("calls", async || self.seen.count() >= count).await;
    }

    /// Messages of a stream.
    async fn length(&self, stream: &str) -> i64 {
        self.store.version(stream).await.unwrap() + 1
    }
}

impl Node {
    async fn caught_up(&self, world: &World, name: &str) {
        let lag = async || self.consumers.show(name).await.unwrap().lag;
        world.until("no lag", async || lag().await == Lag { is_exact: true, ..Lag::default() }).await;
    }

    /// Ends without a word, as a process that is killed. What it did with the state is done.
    async fn kill(self) {
        self.scope.stop(Duration::ZERO).await;
    }
}

/// A definition that is pushed to the fake.
fn pushed(category: &str) -> Definition {
    Definition { handler: Some(Handler::parse("shop/take").unwrap()), ..Definition::of(category) }
}

/// Ids that never come twice in this process.
fn rand() -> u128 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    u128::from(LAST.fetch_add(1, Ordering::SeqCst)) << 64
}
