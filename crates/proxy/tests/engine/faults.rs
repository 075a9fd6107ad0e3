//! Upstreams and clients that misbehave in every way at once, by chance: each request gets the answer that is
//! its own, or is told what went wrong, and nothing is left behind. A failure prints the seed that replays it.

use crate::world::{Setup, World};
use base::Chance;
use std::time::Duration;
use testkit::{Answer, Backend, Client, Reply, Seen, eventually};

const CLIENTS: usize = 8;
const REQUESTS: usize = 150;

/// What an upstream may do with a request, what becomes of that, and how often it is chosen.
const FATES: &[(&str, Fate, usize)] = &[
    ("length", Fate::Whole, 8),
    ("chunks", Fate::Whole, 4),
    ("until-close", Fate::Whole, 2),
    ("slowly", Fate::Whole, 2),
    ("interim", Fate::Whole, 2),
    ("twice", Fate::Whole, 2),
    ("then-close", Fate::Whole, 3),
    ("then-reset", Fate::Whole, 2),
    ("half-close", Fate::Whole, 2),
    ("close-on-next", Fate::Whole, 3),
    ("refused", Fate::Status(502), 1),
    ("nothing", Fate::Status(503), 2),
    ("reset", Fate::Status(503), 2),
    ("cut-head", Fate::Status(503), 2),
    ("reset-head", Fate::Status(503), 2),
    ("garbage", Fate::Status(503), 2),
    ("no-answer", Fate::Status(504), 1),
    ("half-a-head", Fate::Status(504), 1),
    ("cut-body", Fate::Cut, 2),
    ("reset-body", Fate::Cut, 2),
    ("cut-chunks", Fate::Cut, 2),
    ("stalled-body", Fate::Cut, 1),
    ("garbage-chunks", Fate::Cut, 2),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The answer comes whole.
    Whole,
    /// The gateway answers in its place.
    Status(u16),
    /// The answer begins and breaks off.
    Cut,
}

/// The body that belongs to a target, and to no other.
fn own(target: &str) -> String {
    format!("{target};").repeat(40)
}

fn upstream(seen: &Seen) -> Reply {
    let own = own(&seen.target);
    let kind = seen.target.split('/').nth(1).unwrap_or_default();
    let whole = || Reply::ok(own.clone());
    let halves = || [&own[..own.len() / 2], &own[own.len() / 2..]];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", own.len());
    match kind {
        "chunks" => Reply::status(200).chunks(halves()),
        "until-close" => Reply::raw(format!("HTTP/1.1 200 OK\r\n\r\n{own}")).then_close(),
        "slowly" => Reply::status(200).chunks(halves()).slowly(Duration::from_millis(3)),
        "interim" => Reply::raw(format!("{}{head}{own}", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".repeat(3))),
        "twice" => Reply::raw(format!("{head}{own}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")),
        "then-close" => whole().then_close(),
        "then-reset" => whole().then_reset(),
        "half-close" => whole().then_half_close(),
        "close-on-next" => whole().then_close_on_next(),
        "nothing" => Reply::nothing().then_close(),
        "reset" => Reply::nothing().then_reset(),
        "cut-head" => whole().cut(20).then_close(),
        "reset-head" => whole().cut(20).then_reset(),
        "garbage" => Reply::raw("SSH-2.0-OpenSSH_9.9\r\n\r\n").then_close(),
        "no-answer" => Reply::nothing().then_stall(),
        "half-a-head" => whole().cut(20).then_stall(),
        "cut-body" => whole().cut(head.len() + 30).then_close(),
        "reset-body" => whole().cut(head.len() + 30).then_reset(),
        "cut-chunks" => Reply::status(200).chunks(halves()).cut(head.len() + 60).then_close(),
        "stalled-body" => whole().cut(head.len() + 30).then_stall(),
        "garbage-chunks" => {
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nno size\r\n")
        }
        _ => whole(),
    }
}

#[tokio::test]
async fn whatever_an_upstream_does_each_request_gets_its_own_answer_or_is_told() {
    let seeds = match std::env::var("TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, Chance::from_entropy().bits()],
    };
    for seed in seeds {
        chaos(seed).await;
    }
}

async fn chaos(seed: u64) {
    let chance = Chance::seeded(seed);
    let backend = Backend::start(upstream).await;
    let dead = Backend::refusing().await;
    let routes = format!(
        r#"r: * -> backendTimeout("800ms") -> "{}"; dead: PathSubtree("/refused") -> "http://{dead}";"#,
        backend.url()
    );
    let world = World::with(Setup { workers: 2, ..Setup::default() }, &routes).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(ask_many(world.address, number, chance.fork()));
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(why) = ended.unwrap() {
            panic!("TEST_SEED={seed}: {why}");
        }
    }
    world.settled().await;
    // Idle ones are kept, within their bound; whatever a client left or that broke is closed.
    eventually("broken connections close", || backend.open() <= 2 * 64).await;
    let begun = backend.requests();
    assert!(begun > CLIENTS * REQUESTS / 2, "TEST_SEED={seed}: {begun} requests came");
}

async fn ask_many(address: std::net::SocketAddr, client: usize, chance: Chance) -> Result<(), String> {
    let total = FATES.iter().map(|(_, _, weight)| weight).sum();
    let mut connection = Client::connect(address).await;
    for number in 0..REQUESTS {
        let mut drawn = chance.below(total);
        let (kind, fate, _) = FATES
            .iter()
            .find(|(_, _, weight)| {
                let found = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                found
            })
            .expect("the weights make up the total");
        let target = format!("/{kind}/{client}/{number}");
        let posts = chance.below(4) == 0;
        let body = if posts { own(&target) } else { String::new() };
        let request = if posts {
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        } else {
            format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
        };
        // Some leave within their request, some within their answer.
        match chance.below(20) {
            0 => {
                connection.send(&request[..chance.below(request.len())]).await;
                connection = Client::connect(address).await;
                continue;
            }
            1 => {
                connection.send(&request).await;
                connection.some(chance.below(60) + 1).await;
                connection = Client::connect(address).await;
                continue;
            }
            _ => connection.send(&request).await,
        }
        let answer = connection.try_answer("GET").await;
        let told = || format!("{} {target} was answered by {answer:?}", &request[..4]);
        let goes_on = judge(*fate, &target, posts, answer.as_ref()).ok_or_else(told)?;
        if !goes_on {
            connection = Client::connect(address).await;
        }
    }
    Ok(())
}

/// Whether the connection goes on; `None` if the answer is not what it may be.
fn judge(fate: Fate, target: &str, posts: bool, answer: Result<&Answer, &String>) -> Option<bool> {
    let Ok(answer) = answer else {
        // hyper writes a head together with what follows, and breaks off both.
        return (fate == Fate::Cut).then_some(false);
    };
    let told_why = answer.header("proxy-status").is_some_and(|why| why.contains("error="));
    // What is not idempotent is not tried again when the idle connection it went to was closed meanwhile.
    if posts && answer.status == 503 && told_why {
        return Some(true);
    }
    match fate {
        Fate::Whole => {
            (answer.status == 200 && answer.complete && answer.text() == own(target)).then_some(true)
        }
        Fate::Status(status) => (answer.status == status && answer.complete && told_why).then_some(true),
        Fate::Cut => (answer.status == 200 && !answer.complete).then_some(false),
    }
}
