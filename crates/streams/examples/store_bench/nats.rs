//! A connection to NATS with a `JetStream`: each stream is a subject, a message a publication that is acknowledged (the
//! NATS client protocol).

use crate::load::{KIND, METADATA, Told};
use base::Chance;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A connection, with an inbox of its own for answers.
pub(crate) struct Nats {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl Nats {
    /// Connects, and makes the `JetStream` unless it is there.
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let inbox = format!("_INBOX.{:016x}", Chance::from_entropy().bits());
        let mut nats = Self { stream: BufReader::new(stream), inbox };
        let hello =
            format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {} 1\r\nPING\r\n", nats.inbox);
        nats.stream.write_all(hello.as_bytes()).await.unwrap();
        while nats.line().await != "PONG" {}
        let config = r#"{"name":"bench","subjects":["bench.>"],"storage":"file","retention":"limits"}"#;
        nats.ask("$JS.API.STREAM.CREATE.bench", config).await;
        nats
    }

    pub(crate) async fn append(&mut self, stream: &str, told: &Told) {
        let Told { id, data } = told;
        let body = format!(r#"{{"id":"{id}","type":"{KIND}","data":{data},"metadata":{METADATA}}}"#);
        let subject = format!("bench.{}", stream.replace('-', "."));
        self.ask(&subject, &body).await;
    }

    /// Publishes, and waits for the answer, which must be no error.
    async fn ask(&mut self, subject: &str, body: &str) {
        let out = format!("PUB {subject} {} {}\r\n{body}\r\n", self.inbox, body.len());
        self.stream.write_all(out.as_bytes()).await.unwrap();
        loop {
            let line = self.line().await;
            if line == "PING" {
                self.stream.write_all(b"PONG\r\n").await.unwrap();
                continue;
            }
            assert!(line.starts_with("MSG "), "NATS answers `{line}`");
            let bytes: usize = line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).unwrap();
            assert!(bytes <= ANSWER_BYTES_MAX, "NATS answers with `{bytes}` bytes");
            let mut answer = vec![0; bytes + 2];
            self.stream.read_exact(&mut answer).await.unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer[..bytes]).unwrap();
            assert!(answer.get("error").is_none(), "NATS answers {answer}");
            return;
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        assert!(!line.is_empty(), "NATS closed the connection");
        line.trim_end().to_owned()
    }
}
