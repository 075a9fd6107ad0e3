//! What the tests of the binary share: a folder with a manifest, commands that end, a `tombolo` that runs,
//! requests, and texts without what differs from run to run.

#![allow(dead_code, reason = "each test file uses its part of this")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for anything; only a failure waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until the answer is there.
pub(crate) fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with a manifest, in which `APP` is the test app.
    pub(crate) fn with(manifest: &str) -> Self {
        let folder = Self::new();
        folder.write("tombolo.yaml", manifest);
        folder
    }

    /// Its path, without links in it.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    /// Writes a file as editors do: whole, by renaming another.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let app = if text.contains("APP") { test_app().display().to_string() } else { String::new() };
        let text = text.replace("APP", &app);
        let new = self.path().join(format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path().join(name)).unwrap();
    }

    /// Runs `tombolo` to its end: what it printed and how it ended, made plain.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.plain(&finish(self.command(arguments)))
    }

    /// Runs `tombolo` to its end: what it printed, to the letter but for this folder's name, and how it ended.
    pub(crate) fn printed(&self, arguments: &[&str]) -> String {
        let ran = self.command(arguments).env("COLUMNS", "80").output().unwrap();
        let text = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
        let text = text.replace(&self.path().display().to_string(), "DIR");
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        format!("{}\nexit {}\n", lines.join("\n"), ran.status.code().unwrap())
    }

    /// A command line of `tombolo` in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
        command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "CLICOLOR_FORCE", "COLUMNS"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts `tombolo`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// A text without this folder's name, ports, process ids and times.
    pub(crate) fn plain(&self, text: &str) -> String {
        let text = text.replace(&test_app_path().display().to_string(), "APP");
        let text = text.replace(&std::env::current_exe().unwrap().display().to_string(), "TEST");
        let text = without_arguments(&text);
        plain(&text.replace(&self.path().display().to_string(), "DIR"))
    }
}

/// A text that names this test as `TEST`, whatever arguments it was given.
fn without_arguments(text: &str) -> String {
    let mut parts = text.split("`TEST ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('`').unwrap_or(0);
        plain += "`TEST";
        plain += &part[end..];
    }
    plain
}

/// Reports spans in Zipkin's JSON.
pub(crate) fn post_spans(url: &str, spans: &str) {
    let kind = "Content-Type: application/json";
    let arguments = ["-sS", "-m", "20", "-w", "%{http_code}", "-H", kind, "-d", spans, url];
    let ran = Command::new("curl").args(arguments).output().expect("curl");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "202");
}

/// Runs a command to its end, which must come.
pub(crate) fn finish(mut command: Command) -> String {
    let mut running = Running::of_mut(&mut command);
    let code = running.wait();
    let mut text = running.said();
    writeln!(text, "exit {code}").unwrap();
    text
}

fn test_app_path() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tombolo")).parent().unwrap().join("examples/test_app")
}

/// `examples/test_app.rs`, which `cargo test` builds beside this test if it is not told of one test file alone.
pub(crate) fn test_app() -> PathBuf {
    let app = test_app_path();
    assert!(app.is_file(), "{} is missing: `cargo build -p tombolo --example test_app`", app.display());
    app
}

/// Numbers of four digits and more become `N`, and those of processes, however short; times become `TIME`.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        plain.push_str(&rest[..at]);
        let end = |from: &str| from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let number = &rest[at..at + end(&rest[at..])];
        let mut after = &rest[at + number.len()..];
        if let Some(fraction) =
            after.strip_prefix('.').filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))
        {
            let behind = &fraction[end(fraction)..];
            if behind.starts_with(" s") {
                after = behind;
            }
        }
        let unit =
            |unit: &str| after.strip_prefix(unit).is_some_and(|t| !t.starts_with(char::is_alphanumeric));
        if unit(" ms") || unit(" s") {
            plain.push_str("TIME");
            after = &after[if unit(" ms") { 3 } else { 2 }..];
        } else if number.len() >= 4 || plain.ends_with("pid ") {
            plain.push('N');
        } else {
            plain.push_str(number);
        }
        rest = after;
    }
    plain + rest
}

/// A process that runs until dropped; what it prints is kept.
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts it.
    pub(crate) fn of(mut command: Command) -> Self {
        Self::of_mut(&mut command)
    }

    fn of_mut(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = pipes.map(|pipe| {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(pipe);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            })
        });
        Self { child, said, readers: readers.into() }
    }

    /// All that it printed up to now, both streams as they came.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this so often.
    pub(crate) fn wait_for_times(&mut self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.said().matches(text).count() < times {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before `{text}`:\n{}", self.said());
            }
            assert!(begun.elapsed() < PATIENCE, "`{text}` was never said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// The address behind a word that it said, such as `gateway at http://`.
    pub(crate) fn address(&mut self, word: &str) -> SocketAddr {
        self.wait_for(word);
        eventually(word, || {
            let said = self.said();
            let rest = said.split_once(word)?.1;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)))?;
            rest[..end].parse().ok()
        })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end and that of its output; its code, -1 if a signal ended it.
    pub(crate) fn wait(&mut self) -> i32 {
        let code = self.wait_alone();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        code
    }

    /// Waits for its own end, not for that of those who share its output.
    pub(crate) fn wait_alone(&mut self) -> i32 {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it never ended:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        status.code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, if it has it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Asks for a path; `None` if nobody answers in whole.
pub(crate) fn try_get(address: SocketAddr, path: &str, headers: &str) -> Option<Answer> {
    try_get_of(address, "shop.example", path, headers)
}

/// Asks for a path of this host; `None` if nobody answers in whole.
pub(crate) fn try_get_of(address: SocketAddr, host: &str, path: &str, headers: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: unchunked(head, body) })
}

/// The body without the sizes of its chunks.
fn unchunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut whole = String::new();
    let mut rest = body;
    while let Some((size, data)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&data[..size]);
        rest = &data[size + 2..];
    }
    whole
}

/// Asks for a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    try_get(address, path, "").unwrap_or_else(|| panic!("no answer from {address}{path}"))
}

/// Asks until the body holds a text.
pub(crate) fn get_until(address: SocketAddr, path: &str, text: &str) -> Answer {
    eventually(&format!("`{text}` from {path}"), || {
        try_get(address, path, "").filter(|answer| answer.body.contains(text))
    })
}

/// A port that somebody has.
pub(crate) fn taken() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Whether a process runs; one that has ended and is not yet waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
