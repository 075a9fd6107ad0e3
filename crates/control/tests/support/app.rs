//! A small service with many habits, for the tests of the supervisor; and a supervisor that can be killed.
//!
//! `NAME HABIT ARGUMENT…`: what it does is its first argument, one function each.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "writing lines is what the tests look at")]

use base::{Chance, Clock, Fault, Kind};
use control::{Setup, Supervisor, Wanted};
use manifest::{Command, Service, ServiceSource};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["guard"] => control::guard::run(),
        ["serve", ref habits @ ..] => on_runtime(serve(habits)),
        ["flood", lines] => flood(lines),
        ["supervise", dir] => on_runtime(supervise(dir)),
        _ => Err(Fault::new(Kind::Invalid, format!("no such habit: {words:?}"))),
    };
    if let Err(fault) = result {
        eprintln!("error: {fault}");
        std::process::exit(2);
    }
}

fn on_runtime(future: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Answers HTTP requests at PORT until SIGTERM. Habits: `journal=FILE` notes start and stop there under
/// `NAME`, `delay=MILLISECONDS` waits before it listens, `deaf` ignores SIGTERM, `sick=FILE` answers 503
/// while the file exists.
async fn serve(habits: &[&str]) -> Result<(), Fault> {
    let value = |name: &str| habits.iter().find_map(|habit| habit.strip_prefix(name)?.strip_prefix('='));
    let note = |word: &str| -> Result<(), Fault> {
        let Some(journal) = value("journal") else { return Ok(()) };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(journal)?;
        Ok(writeln!(file, "{word} {}", std::env::var("NAME").unwrap_or_default())?)
    };
    let mut term = signal(SignalKind::terminate())?;
    note("start")?;
    let delay = value("delay").and_then(|millis| millis.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(delay)).await;
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| Fault::new(Kind::Invalid, "no PORT"))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {port}, greeting {}", std::env::var("GREETING").unwrap_or_default());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted?;
                let sick = value("sick").is_some_and(|file| std::path::Path::new(file).exists());
                tokio::spawn(async move {
                    let mut request = [0; 2048];
                    let _ = stream.read(&mut request).await;
                    let status = if sick { "503 Service Unavailable" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
            _ = term.recv() => {
                println!("asked to end");
                if !habits.contains(&"deaf") {
                    note("stop")?;
                    return Ok(());
                }
            }
        }
    }
}

fn flood(lines: &str) -> Result<(), Fault> {
    let lines: u64 = lines.parse().map_err(|_| Fault::new(Kind::Invalid, "not a number of lines"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in 0..lines {
        writeln!(out, "flood line {line}")?;
    }
    out.flush()?;
    Ok(())
}

/// Plays Tombolo: runs one service whose process starts another one, and waits to be killed. The service
/// notes the ids of its processes in `DIR/pids`, and in `DIR/private` variables it should not have.
async fn supervise(dir: &str) -> Result<(), Fault> {
    let own = std::env::current_exe()?.display().to_string();
    let supervisor = Supervisor::start(Setup {
        clock: Clock::system(),
        chance: Chance::from_entropy(),
        dir: dir.into(),
        guard: Some(vec![own, "guard".to_owned()]),
    });
    // Deaf to SIGTERM, so that only the guardian's last resort ends it.
    let line = "trap '' TERM; echo ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none} > private; sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait; wait; wait";
    let command = Command::of(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
    let service = Service {
        name: "family".to_owned(),
        span: 0..0,
        source: ServiceSource::Run(Box::new(command)),
        calls: Vec::new(),
        filters: String::new(),
        filters_span: 0..0,
    };
    supervisor.apply(vec![Wanted { service, env: BTreeMap::new(), usual: BTreeMap::new() }]).await?;
    std::future::pending().await
}
