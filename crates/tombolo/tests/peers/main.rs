//! With programs from outside: the shop's walk-through to the letter, services in Python and Node behind the
//! gateway, curl as the client, systemd's socket hand-over. `./check` installs what they need and runs them;
//! `cargo test` alone does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod console;
mod metrics;
mod protocols;
mod traces;

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The binary under test: the release build that `./check` made, or the one beside this test.
fn tombolo() -> PathBuf {
    std::env::var_os("TOMBOLO_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tombolo")), PathBuf::from)
}

/// Runs a script; its output, both streams.
fn sh(folder: &Path, script: &str) -> (bool, String) {
    let binary = tombolo();
    let path =
        format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-c", &format!("{{ {script}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A `tombolo` that runs until dropped.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(tombolo())
            .args(arguments)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has said this.
    fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("tombolo ended with {status}:\n{}", self.said());
            }
            assert!(begun.elapsed() < Duration::from_secs(600), "`{text}` was never said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks it to stop as Ctrl-C does, and waits for its end.
    fn stop(mut self) -> String {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
#[ignore = "run by ./check: builds the shop, takes the default ports and needs curl"]
fn the_shops_walk_through_can_be_followed_to_the_letter() {
    let root = root();
    let kept = root.join("examples/shop/.tombolo");
    let was_kept = kept.exists();
    let mut shop = Running::start(&root, &["up", "examples/shop"]);
    shop.wait_for("Ctrl-C stops everything");
    let page = std::fs::read_to_string(root.join("examples/shop/README.md")).unwrap();
    let (mut ran, mut wrong) = (0, Vec::new());
    for block in page.split("```console").skip(1) {
        let (head, rest) = block.split_once('\n').unwrap();
        let text = rest.split("```").next().unwrap();
        // With `~` the page shows an example of what may come; the lines' form must be the same.
        let form =
            |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
        let squeeze = |text: &str| {
            let mut text = form(text);
            while text.contains("00") {
                text = text.replace("00", "0");
            }
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        for command in text.split("$ ").skip(1) {
            // `$(` and `$PATH` are no prompts: what was cut there belongs together.
            let (line, expected) = command.split_once('\n').unwrap();
            let (_, got) = sh(&root, line);
            ran += 1;
            let tidy = |text: &str| text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            let same = if head.trim() == "~" {
                squeeze(&got) == squeeze(expected)
            } else {
                tidy(&got) == tidy(expected)
            };
            if !same {
                wrong.push(format!("$ {line}\n--- the page says\n{expected}--- it prints\n{got}"));
            }
        }
    }
    let front = sh(&root, "curl -s localhost:9090/").1;
    assert!(front.contains("The island shop") && front.contains("Sea chart"), "{front}");
    let said = shop.stop();
    let mut left: Vec<_> =
        std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    if !was_kept {
        std::fs::remove_dir_all(kept).unwrap();
    }
    assert!(wrong.is_empty(), "{}\n\n{said}", wrong.join("\n\n"));
    assert!(ran >= 18, "only {ran} commands were found");
    assert!(said.contains("all stopped"), "{said}");
    let killed: Vec<_> = said.lines().filter(|line| line.contains("killed")).collect();
    assert!(killed.len() == 1 && killed[0].starts_with("orders "), "the page kills orders, once: {killed:?}");
    assert_eq!(left, ["store", "traces"], "what happened is kept, and nothing else is left behind");
}

const PYTHON: &str = r#"
import http.server, json, os, urllib.request
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    def do_GET(self):
        if self.path.startswith("/ask"):
            self.answer(urllib.request.urlopen(os.environ["NODE_URL"] + "/from-python").read())
        else:
            self.answer(json.dumps({"python": self.path, "caller": self.headers.get("tombolo-caller")}).encode())
    do_HEAD = do_GET
    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            size = 0
            while True:
                length = int(self.rfile.readline(), 16)
                self.rfile.read(length)
                self.rfile.readline()
                size += length
                if length == 0:
                    break
        else:
            size = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(str(size).encode())
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

const NODE: &str = r#"
require("http").createServer(async (request, response) => {
  if (request.url === "/ask") {
    const answer = await fetch(process.env.PYTHON_URL + "/from-node");
    response.end(await answer.text());
  } else {
    response.end(JSON.stringify({ node: request.url, caller: request.headers["tombolo-caller"] ?? null }));
  }
}).listen(process.env.PORT, "127.0.0.1");
"#;

#[test]
#[ignore = "run by ./check: needs python3, node and curl"]
fn python_and_node_services_call_each_other_and_curl_calls_them() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, api, support) = (port(), port(), port());
    std::fs::write(folder.path().join("app.py"), PYTHON).unwrap();
    std::fs::write(folder.path().join("app.js"), NODE).unwrap();
    let manifest = format!(
        "services:\n  python:\n    run: [python3, app.py]\n    health: /\n    calls: [node]\n  node:\n    run: [node, app.js]\n    \
         health: /\n    calls: [python]\nroutes: |\n  python: PathSubtree(\"/python\") -> modPath(\"^/python\", \"\") -> \"service://python\";\n  \
         node: PathSubtree(\"/node\") -> modPath(\"^/node\", \"\") -> \"service://node\";\ngateway:\n  address: 127.0.0.1:{gateway}\n  \
         api: 127.0.0.1:{api}\n  support: 127.0.0.1:{support}\n"
    );
    std::fs::write(folder.path().join("tombolo.yaml"), manifest).unwrap();
    let mut up = Running::start(folder.path(), &["up"]);
    up.wait_for("Ctrl-C stops everything");
    std::fs::write(folder.path().join("big"), vec![b'x'; 5 << 20]).unwrap();
    let base = format!("http://127.0.0.1:{gateway}");
    for (command, expected) in [
        (format!("curl -s {base}/python/ask"), r#"{"node":"/from-python","caller":"python"}"#),
        (format!("curl -s {base}/node/ask"), r#"{"python": "/from-node", "caller": "node"}"#),
        (format!("curl -s {base}/python/x -H 'Tombolo-Caller: me'"), r#"{"python": "/x", "caller": null}"#),
        (format!("curl -s --data-binary @big {base}/python/up"), "5242880"),
        (format!("curl -s -H 'Transfer-Encoding: chunked' --data-binary @big {base}/python/up"), "5242880"),
        (format!("curl -s -H 'Expect: 100-continue' --data-binary @big {base}/python/up"), "5242880"),
        (format!("curl -s -I {base}/python/x | head -1 | tr -d '\\r'"), "HTTP/1.1 200 OK"),
        (
            format!("curl -s {base}/node/a {base}/node/b -w ' %{{num_connects}} '"),
            r#"{"node":"/a","caller":null} 1 {"node":"/b","caller":null} 0"#,
        ),
        (format!("curl -s -o /dev/null -w '%{{http_code}}' {base}/none"), "404"),
        (
            format!(
                "python3 -c \"import http.client as h; c=h.HTTPConnection('127.0.0.1',{gateway}); c.request('GET','/node/1'); print(c.getresponse().read().decode()); c.request('GET','/node/2'); print(c.getresponse().read().decode())\""
            ),
            "{\"node\":\"/1\",\"caller\":null}\n{\"node\":\"/2\",\"caller\":null}",
        ),
        (
            format!("node -e \"fetch('{base}/python/f').then(r=>r.text()).then(console.log)\""),
            r#"{"python": "/f", "caller": null}"#,
        ),
    ] {
        let (_, got) = sh(folder.path(), &command);
        assert_eq!(got.trim(), expected, "{command}\n{}", up.said());
    }
    let said = up.stop();
    assert!(said.contains("all stopped"), "{said}");
}

#[test]
#[ignore = "run by ./check: needs systemd-socket-activate and curl"]
fn systemd_hands_its_socket_over() {
    let folder = tempfile::tempdir().unwrap();
    let port = port();
    let mut child = Command::new("systemd-socket-activate")
        .args(["-l", &format!("127.0.0.1:{port}")])
        .arg(tombolo())
        .args([
            "gateway",
            "-inline-routes",
            "r: * -> inlineContent(\"handed over\") -> <shunt>",
            "-support-listener",
            "off",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (_, got) = sh(
        folder.path(),
        &format!("curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}/"),
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(got, "handed over", "{said}");
    assert!(status.success(), "{status}\n{said}");
}
