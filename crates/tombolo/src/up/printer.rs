//! Prints for `up` in a thread of its own: a terminal that is paused (Ctrl-S) or a reader that is slow must not
//! hold up the supervisor. Both streams go through one queue, so lines stand in the order they were said.

use std::cell::Cell;
use std::io::Write as _;
use std::time::Duration;
use tokio::sync::mpsc;

/// Texts that may wait to be printed.
const TEXTS_MAX: usize = 2048;

/// Of these, kept free for what happens and what is wrong: lines of services wait before they take it.
const RESERVED: usize = 512;

/// Bytes written at once.
const BATCH_BYTES: usize = 64 << 10;

/// How long the end waits for what is not yet printed.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Takes texts and returns at once.
pub(super) struct Printer {
    texts: Option<mpsc::Sender<Text>>,
    /// Texts that did not fit.
    lost: Cell<u64>,
    /// Breaks when the thread has printed everything.
    ended: std::sync::mpsc::Receiver<()>,
}

struct Text {
    stream: Stream,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Printer {
    /// Starts the thread. Where that fails nothing is printed, which is no reason to run no services.
    pub(super) fn start() -> Self {
        let (sender, texts) = mpsc::channel(TEXTS_MAX);
        let (alive, ended) = std::sync::mpsc::channel();
        let run = move || {
            print(texts);
            drop(alive);
        };
        let started = std::thread::Builder::new().name("screen".to_owned()).spawn(run).is_ok();
        Self { texts: started.then_some(sender), lost: Cell::new(0), ended }
    }

    /// A line on standard output.
    pub(super) fn out(&self, text: impl std::fmt::Display) {
        self.put(Stream::Out, format!("{text}\n"));
    }

    /// A line on standard error.
    pub(super) fn err(&self, text: impl std::fmt::Display) {
        self.put(Stream::Err, format!("{text}\n"));
    }

    /// Whether lines of services may be printed now.
    pub(super) fn has_room(&self) -> bool {
        self.texts.as_ref().is_none_or(|texts| texts.capacity() > RESERVED)
    }

    /// Waits until [`has_room`](Self::has_room) holds.
    pub(super) async fn room(&self) {
        if let Some(texts) = &self.texts {
            let _ = texts.reserve_many(RESERVED + 1).await;
        }
    }

    fn put(&self, stream: Stream, text: String) {
        let Some(texts) = &self.texts else { return };
        if self.lost.get() > 0 {
            let told = format!("{} lines were lost: nobody read them\n", self.lost.get());
            if texts.try_send(Text { stream: Stream::Err, text: told }).is_ok() {
                self.lost.set(0);
            }
        }
        if texts.try_send(Text { stream, text }).is_err() {
            self.lost.set(self.lost.get() + 1);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        if self.texts.take().is_some() {
            // Nothing is ever sent: the answer is the thread's end, or that it took too long.
            let _ = self.ended.recv_timeout(END_PATIENCE);
        }
    }
}

/// Writes what comes, as much at once as is there.
fn print(mut texts: mpsc::Receiver<Text>) {
    let mut next = texts.blocking_recv();
    while let Some(Text { stream, text: mut batch }) = next {
        loop {
            next = texts.try_recv().ok();
            match &next {
                Some(more) if more.stream == stream && batch.len() < BATCH_BYTES => {
                    batch.push_str(&more.text);
                }
                _ => break,
            }
        }
        // A reader that left is no error of ours.
        let _ = match stream {
            Stream::Out => {
                let mut out = anstream::stdout().lock();
                out.write_all(batch.as_bytes()).and_then(|()| out.flush())
            }
            Stream::Err => anstream::stderr().lock().write_all(batch.as_bytes()),
        };
        if next.is_none() {
            next = texts.blocking_recv();
        }
    }
}
