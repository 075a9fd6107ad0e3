//! Messages that two readers could understand differently, through a real gateway with either engine: each is
//! refused, or passed on so that the most suspicious reader sees what the gateway saw. No request is ever born
//! from a body, and nothing of one answer is taken for another.

mod answers;
mod cases;
mod requests;
mod splitting;

use crate::world::Setup;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::{Http1, Limits};

const ENGINES: [Http1; 2] = [Http1::Strict, Http1::Hyper];

/// Worlds at once: most of their time is spent waiting.
const AT_ONCE: usize = 24;

/// A gateway that does not wait for long.
fn setup(engine: Http1) -> Setup {
    let wait = Duration::from_millis(1500);
    let limits = Limits { header_timeout: wait, read_timeout: wait, idle_timeout: wait, ..Limits::default() };
    Setup { limits, engine, ..Setup::default() }
}

/// All that comes back for these bytes until the gateway closes.
async fn converse(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    let (mut reading, mut writing) = stream.into_split();
    let mut answers = Vec::new();
    let talk = async {
        // The gateway may have closed by then, and a reset is an end too: what came before counts.
        let _ = tokio::join!(writing.write_all(bytes), reading.read_to_end(&mut answers));
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the gateway closes in time");
    answers
}

/// Runs a judgement on each case with each engine. All that is wrong is told at once; what is right is a table,
/// with a second line where the engines differ.
async fn judge<J>(cases: Vec<cases::Case>, judgement: impl Fn(cases::Case, Http1) -> J) -> String
where
    J: Future<Output = Result<String, String>> + Send + 'static,
{
    let mut names = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let mut told = std::collections::BTreeMap::new();
    for (number, case) in cases.into_iter().enumerate() {
        names.push(case.name);
        for engine in ENGINES {
            let judging = judgement(case.clone(), engine);
            if running.len() >= AT_ONCE {
                let (key, outcome) = running.join_next().await.expect("some run").expect("no panic");
                told.insert(key, outcome);
            }
            running.spawn(async move { ((number, engine == Http1::Hyper), judging.await) });
        }
    }
    while let Some(ended) = running.join_next().await {
        let (key, outcome) = ended.expect("no panic");
        told.insert(key, outcome);
    }
    let mut wrong = Vec::new();
    let mut table = String::new();
    for (number, name) in names.into_iter().enumerate() {
        let mut outcomes = Vec::new();
        for hyper in [false, true] {
            match &told[&(number, hyper)] {
                Ok(outcome) => outcomes.push(outcome.as_str()),
                Err(why) => wrong.push(format!("{name} ({}): {why}", if hyper { "hyper" } else { "strict" })),
            }
        }
        if let [strict, hyper] = outcomes[..] {
            table += &format!("{name}\n    {strict}\n");
            if hyper != strict {
                table += &format!("    hyper: {hyper}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}\n\nthe others:\n{table}", wrong.len(), wrong.join("\n"));
    table
}
