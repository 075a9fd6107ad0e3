//! Asks an instance once whether it can serve. When to ask and what follows is `machine`'s to decide.

use crate::guard::Guardian;
use crate::process::{self, Launch, Spawned};
use base::{Clock, format_duration};
use manifest::{Check, Health};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest status line.
const STATUS_LINE_BYTES_MAX: usize = 1 << 10;

/// How much of the answer's rest is read, so that the server does not see us leave in mid-sentence.
const REST_BYTES_MAX: u64 = 64 << 10;

/// How long that may take.
const REST_PATIENCE: Duration = Duration::from_millis(100);

/// Longest output of a check command that is told.
const OUTPUT_BYTES_MAX: usize = 1 << 10;

/// Everything a check needs.
pub(crate) struct Probe {
    pub(crate) service: String,
    pub(crate) health: Health,
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) guardian: Guardian,
    pub(crate) clock: Clock,
}

impl Probe {
    /// Whether it can serve; if not, why, in words.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let answer = async {
            match &self.health.check {
                Check::Tcp => connect(address).await.map(drop),
                Check::Http(path) => http(address, path).await,
                Check::Command(argv) => self.command(argv).await,
            }
        };
        tokio::select! {
            answer = answer => answer,
            () = self.clock.sleep(self.health.timeout) => {
                Err(format!("no answer within {}", format_duration(self.health.timeout)))
            }
        }
    }

    /// Dropped at the timeout, the group takes all of the check's processes along.
    async fn command(&self, argv: &[String]) -> Result<(), String> {
        let who = format!("the health check of service `{}`", self.service);
        let launch = Launch { who: &who, argv, dir: &self.dir, env: &self.env };
        let spawned = process::spawn(&launch, &self.guardian).map_err(|fault| fault.to_string())?;
        let Spawned { mut child, group, .. } = spawned;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (status, _, said) = tokio::join!(child.wait(), begin_of(out), begin_of(err));
        // Nothing it started may outlive it.
        group.kill();
        group.end(Duration::ZERO, &self.clock).await;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let code =
                    status.code().map_or_else(|| "no status".to_owned(), |code| format!("status {code}"));
                let said = said.lines().next_back().unwrap_or_default().trim();
                Err(if said.is_empty() {
                    format!("the check ended with {code}")
                } else {
                    format!("the check ended with {code}: {said}")
                })
            }
            Err(error) => Err(format!("the check can't be waited for: {error}")),
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens on {address}"),
        _ => format!("cannot connect to {address}: {error}"),
    })?;
    // Where nobody listens, the system may choose the very port we connect to as our own and connect us to
    // ourselves (simultaneous open, RFC 9293 3.5); it happens in the range of ports assigned by us.
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(format!("nothing listens on {address}"));
    }
    Ok(stream)
}

async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let broke = |error: io::Error| format!("GET {path} broke off: {error}");
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tombolo\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(broke)?;
    let mut line = Vec::with_capacity(STATUS_LINE_BYTES_MAX);
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_BYTES_MAX {
        if stream.read_buf(&mut line).await.map_err(broke)? == 0 {
            break;
        }
    }
    let status = status_of(&line).ok_or_else(|| format!("the answer to GET {path} is not HTTP"))?;
    let rest = async { tokio::io::copy(&mut stream.take(REST_BYTES_MAX), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(REST_PATIENCE, rest).await;
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("GET {path} answered {status}")) }
}

/// `HTTP/1.x NNN …` (RFC 9112 4).
fn status_of(line: &[u8]) -> Option<u16> {
    let line = &line[..line.iter().position(|byte| *byte == b'\n')?];
    let text = std::str::from_utf8(line.get(..12)?).ok()?;
    let status = text.strip_prefix("HTTP/1.0 ").or_else(|| text.strip_prefix("HTTP/1.1 "))?;
    let ends = line.get(12).is_none_or(|byte| matches!(byte, b' ' | b'\r'));
    (ends && status.bytes().all(|byte| byte.is_ascii_digit())).then(|| status.parse().ok()).flatten()
}

/// Reads to the end and keeps the beginning.
async fn begin_of(reader: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut reader) = reader else { return String::new() };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read.min(OUTPUT_BYTES_MAX - kept.len())]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn probe(check: Check, port: u16) -> Probe {
        let health = Health { timeout: Duration::from_millis(300), ..Health::of(check) };
        Probe {
            service: "web".to_owned(),
            health,
            port,
            dir: std::env::temp_dir(),
            env: BTreeMap::from([("WORD".to_owned(), "lost".to_owned())]),
            guardian: Guardian::default(),
            clock: Clock::system(),
        }
    }

    /// What a check of a server that answers `answer` says.
    async fn check_http(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
            for piece in answer.as_bytes().chunks(7) {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        });
        probe(Check::Http("/healthz".to_owned()), port).ask().await
    }

    #[tokio::test]
    async fn http_is_healthy_from_200_to_399() {
        assert_eq!(check_http("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
        assert_eq!(check_http("HTTP/1.0 302\r\n\r\n").await, Ok(()));
        for (answer, why) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "GET /healthz answered 503"),
            ("HTTP/1.1 400 Bad\r\n\r\n", "GET /healthz answered 400"),
            ("HTTP/1.1 2000 Odd\r\n\r\n", "the answer to GET /healthz is not HTTP"),
            ("SSH-2.0-OpenSSH_9.9\r\n", "the answer to GET /healthz is not HTTP"),
            ("", "the answer to GET /healthz is not HTTP"),
        ] {
            assert_eq!(check_http(answer).await, Err(why.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_status_line_without_end_is_not_waited_for() {
        static LONG: [u8; 4 * STATUS_LINE_BYTES_MAX] = [b'x'; 4 * STATUS_LINE_BYTES_MAX];
        let answer = std::str::from_utf8(&LONG).unwrap();
        assert_eq!(check_http(answer).await, Err("the answer to GET /healthz is not HTTP".to_owned()));
    }

    #[tokio::test]
    async fn silence_ends_at_the_timeout_and_nobody_at_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(probe(Check::Tcp, port).ask().await, Ok(()));
        let silent = probe(Check::Http("/".to_owned()), port).ask().await;
        assert_eq!(silent, Err("no answer within 300ms".to_owned()));
        drop(listener);
        assert_eq!(probe(Check::Tcp, port).ask().await, Err(format!("nothing listens on 127.0.0.1:{port}")));
    }

    #[tokio::test]
    async fn a_command_is_asked_by_its_status_and_heard() {
        let sh = |line: &str| Check::Command(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
        assert_eq!(probe(sh("exit 0"), 1).ask().await, Ok(()));
        assert_eq!(probe(sh("exit 4"), 1).ask().await, Err("the check ended with status 4".to_owned()));
        let said = probe(sh("echo no; echo $WORD >&2; exit 1"), 1).ask().await;
        assert_eq!(said, Err("the check ended with status 1: lost".to_owned()));
        assert_eq!(probe(sh("sleep 100"), 1).ask().await, Err("no answer within 300ms".to_owned()));
    }
}
