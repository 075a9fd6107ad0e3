//! Messages in bulk: a file of one JSON object a line, in and out. Both stream, and say how far they are.

use super::{Ask, Client, Lines, Where, Which};
use crate::term::{GREEN, err, out, paint, plural};
use base::{Fault, Kind};
use bytes::Bytes;
use clap::Args;
use http_body::Frame;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use wire::Body;

/// Bytes that are read in one go, and how many such pieces wait to be sent.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// How often it is said how far we are.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `tombolo messages import`.
#[derive(Args)]
pub(crate) struct Import {
    #[command(flatten)]
    place: Where,

    /// The file, one message a line, as `export` writes it; `-` for standard input
    file: PathBuf,

    /// Pass over messages that are there already, as after an import that broke off
    #[arg(long)]
    skip_existing: bool,
}

impl Import {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let client: Client = self.place.client()?;
        let (source, length): (Box<dyn Read + Send>, Option<u64>) = if self.file == Path::new("-") {
            (Box::new(std::io::stdin()), None)
        } else {
            let failed = |error: std::io::Error| {
                Fault::new(Kind::Io, format!("cannot read `{}`", self.file.display())).because(error)
            };
            let file = File::open(&self.file).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            (Box::new(file), Some(length))
        };
        let sent = Arc::new(AtomicU64::new(0));
        let body = Body::stream(pieces(source)).with_counter(sent.clone());
        let target =
            if self.skip_existing { "/api/v1/messages?skip_existing=true" } else { "/api/v1/messages" };
        let answer = client.json(Ask::post(target).with("application/x-ndjson", body));
        let telling = async {
            loop {
                tokio::time::sleep(TOLD_EVERY).await;
                let sent = sent.load(Ordering::Relaxed);
                told(&match length {
                    Some(length) => format!("{} of {}", size(sent), size(length)),
                    None => size(sent),
                });
            }
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = telling => unreachable!("it is told for ever"),
        };
        told("");
        let answer = answer?;
        let skipped = match answer["skipped"].as_u64() {
            None | Some(0) => String::new(),
            Some(skipped) => format!(", {skipped} were there already"),
        };
        let messages = plural(answer["messages"].as_u64().unwrap_or_default() as usize, "message");
        out(format_args!("{} {messages}{skipped}", paint(GREEN, "imported")));
        Ok(ExitCode::SUCCESS)
    }
}

/// What a reader gives, read by a thread of its own: standard input may keep us waiting.
fn pieces(mut source: Box<dyn Read + Send>) -> Pieces {
    let (sender, receiver) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match source.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => {
                    piece.truncate(read);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(Fault::new(Kind::Io, "reading broke off").because(error)),
            };
            let broken = read.is_err();
            if sender.blocking_send(read).is_err() || broken {
                return;
            }
        }
    });
    Pieces(receiver)
}

struct Pieces(mpsc::Receiver<Result<Bytes, Fault>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let piece = ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Arguments of `tombolo messages export`.
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    which: Which,

    /// The file to write, in place of any of its name; standard output if none is given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let client: Client = self.place.client()?;
        let target = self.which.target(&[]);
        let mut lines = Lines::of(client.send(Ask::get(&target).accept("application/x-ndjson")).await?);
        let Some(path) = &self.output else {
            let mut to = BufWriter::new(std::io::stdout().lock());
            while let Some(line) = lines.next().await? {
                // As with `head`: nobody may be left to write for.
                if writeln!(to, "{line}").is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            drop(to.flush());
            return Ok(ExitCode::SUCCESS);
        };
        let failed = |error: std::io::Error| {
            Fault::new(Kind::Io, format!("cannot write `{}`", path.display())).because(error)
        };
        // What was there before stays until all is written.
        let unfinished = path.with_added_extension("new");
        let mut to = BufWriter::new(File::create(&unfinished).map_err(failed)?);
        let (mut messages, mut told_at) = (0u64, Instant::now());
        while let Some(line) = lines.next().await? {
            writeln!(to, "{line}").map_err(failed)?;
            messages += 1;
            if told_at.elapsed() >= TOLD_EVERY {
                told(&format!("{messages} messages"));
                told_at = Instant::now();
            }
        }
        told("");
        let file = to.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&unfinished, path)).map_err(failed)?;
        err(format_args!("{} {messages} messages to {}", paint(GREEN, "exported"), path.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// How far we are, in place of what stood there; only for people who look.
fn told(text: &str) {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
