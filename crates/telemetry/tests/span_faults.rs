//! What goes wrong for the store of spans: a disk that takes no more, which is told and overcome; files that are
//! damaged, which are named; a trace without an end, of which so much is read as is bearable.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Chance, Clock};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use telemetry::spans::{Endpoint, Settings, Span, SpanStore, TraceKey};

const BEGAN_US: u64 = 1_764_158_400_000_000;

fn open(dir: &Path, file_spans: u64) -> SpanStore {
    let settings = Settings { file_spans, ..Settings::default() };
    SpanStore::open(dir, settings, Clock::system()).unwrap().0
}

/// The span of a number, in a trace with nine others, with text that does not get smaller.
fn numbered(number: u64, chance: &Chance) -> Span {
    let text: String = (0..200).map(|_| char::from(b' ' + chance.below(90) as u8)).collect();
    Span {
        trace: TraceKey { high: 0, low: number / 10 + 1 },
        id: number + 1,
        timestamp_us: BEGAN_US + number,
        local: Endpoint { service: "web".into(), ..Endpoint::default() },
        tags: vec![("text".into(), text)],
        ..Span::default()
    }
}

/// How many spans are found, by looking for each trace.
async fn found(store: &SpanStore, spans: u64) -> u64 {
    let traces = (0..=spans / 10).map(|trace| TraceKey { high: 0, low: trace + 1 }).collect();
    store.traces(traces).await.unwrap().concat().len() as u64
}

const CHILD: &str = "SPANS_DISK_CHILD";
/// Spans of a file of the child's.
const FILE_SPANS: u64 = 3_000;

/// The process whose files can't grow: this test binary, started again with a folder.
#[tokio::test]
async fn child_whose_disk_takes_no_more() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = open(folder.as_ref(), FILE_SPANS);
    let chance = Chance::seeded(3);
    let mut number = 0;
    let mut bring = async || {
        store.offer((number..number + 50).map(|number| numbered(number, &chance)).collect()).unwrap();
        number += 50;
        store.flush().await;
        (number, store.trouble())
    };
    let (offered, trouble) = loop {
        if let (offered, Some(trouble)) = bring().await {
            break (offered, trouble);
        }
        assert!(store.counts().kept < 2 * FILE_SPANS, "the disk takes all");
    };
    let said = |what: String| writeln!(std::io::stdout().lock(), "{what} .").unwrap();
    let counts = store.counts();
    assert_eq!((counts.kept + counts.dropped, found(&store, offered).await), (offered, counts.kept));
    said(format!("said {trouble}"));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    while bring().await.0 < 3 * FILE_SPANS {}
    assert_eq!(store.trouble(), None);
    let counts = store.counts();
    assert_eq!(found(&store, 3 * FILE_SPANS).await, counts.kept);
    said(format!("said {} and {}", counts.kept, counts.dropped));
}

/// What came of a store whose files may have so many KiB until it is in trouble, and any number after that: the
/// trouble, and how many spans were kept and dropped.
async fn on_a_disk_of(kib: u64) -> (String, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    // The signal would end it; what is ignored stays so in what is run.
    let limited = format!("trap '' XFSZ; ulimit -Sf {kib}; exec \"$0\" \"$@\"");
    let mut child = Command::new("bash")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_whose_disk_takes_no_more", "--nocapture"])
        .env(CHILD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = lines.filter_map(|line| Some(line.strip_suffix(" .")?.split_once("said ")?.1.to_owned()));
    let trouble = said.next().expect("the trouble is told");
    let pid = child.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap().success());
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let counts = said.next().expect("it goes on");
    assert!(child.wait().unwrap().success());
    let (kept, dropped) = counts.split_once(" and ").unwrap();
    let (kept, dropped) = (kept.parse().unwrap(), dropped.parse().unwrap());
    // What the index in memory told is what the files say.
    let store = open(dir.path(), FILE_SPANS);
    assert_eq!(found(&store, 3 * FILE_SPANS).await, kept);
    (trouble, kept, dropped)
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_told_and_overcome() {
    let trouble = "the spans cannot be read or written: disk I/O error".to_owned();
    // It ends in the midst of a file.
    assert_eq!(on_a_disk_of(1_024).await, (trouble.clone(), 3 * FILE_SPANS - 50, 50));
    // A full file is there, its index finds no room: no span is lost.
    assert_eq!(on_a_disk_of(1_640).await, (trouble, 3 * FILE_SPANS, 0));
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let chance = Chance::seeded(5);
    for (file_spans, is_full) in [(1_000, false), (20, true)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), file_spans);
        store.offer((0..30).map(|number| numbered(number, &chance)).collect()).unwrap();
        store.flush().await;
        drop(store);
        let path = dir.path().join("spans-0000000001.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        let cut = "UPDATE blocks SET data = substr(data, 1, length(data) - 1)";
        assert_eq!(database.execute(cut, []).unwrap(), 1);
        drop(database);
        let opened =
            SpanStore::open(dir.path(), Settings { file_spans, ..Settings::default() }, Clock::system());
        // A full file's blocks are not read before they are asked for.
        assert_eq!(opened.is_ok(), is_full);
        let fault = match opened {
            Ok((store, _)) => store.traces(vec![TraceKey { high: 0, low: 1 }]).await.unwrap_err(),
            Err(fault) => fault,
        };
        assert_eq!(fault.message, format!("a block of spans is damaged (`{}`)", path.display()));
        assert_eq!(fault.hint.as_deref(), Some("remove its file, whose spans are lost then"));
    }
}

#[tokio::test]
async fn of_a_trace_without_an_end_the_first_spans_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 25_000);
    let span = |number: u64| Span {
        trace: TraceKey { high: 0, low: 1 },
        id: number + 1,
        timestamp_us: BEGAN_US + number,
        local: Endpoint { service: "web".into(), ..Endpoint::default() },
        ..Span::default()
    };
    for from in (0..60_000).step_by(10_000) {
        store.offer((from..from + 10_000).map(span).collect()).unwrap();
        store.flush().await;
    }
    assert_eq!((store.counts().kept, store.trouble()), (60_000, None));
    let found = store.traces(vec![TraceKey { high: 0, low: 1 }]).await.unwrap().concat();
    assert_eq!((found.len(), found.last().map(|span| span.id)), (50_000, Some(50_000)));
}
