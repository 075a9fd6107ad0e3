//! A connection to Redis: each stream is one of its streams, a message one `XADD` (RESP2 of the Redis protocol
//! specification).

use crate::load::{KIND, METADATA, Told};
use std::fmt::Write as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Redis(BufReader<TcpStream>);

impl Redis {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) async fn append(&mut self, stream: &str, told: &Told) {
        let id = told.id.to_string();
        let fields = ["id", &id, "type", KIND, "data", &told.data, "metadata", METADATA];
        let command: Vec<&str> = ["XADD", stream, "*"].into_iter().chain(fields).collect();
        let mut out = format!("*{}\r\n", command.len());
        for part in command {
            write!(out, "${}\r\n{part}\r\n", part.len()).unwrap();
        }
        self.0.write_all(out.as_bytes()).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        // The entry's ID, as a text of known length.
        let length = line.trim_end().strip_prefix('$').and_then(|length| length.parse::<usize>().ok());
        let Some(length) = length.filter(|length| *length < 64) else { panic!("Redis answers `{line}`") };
        self.0.read_exact(&mut [0; 64][..length + 2]).await.unwrap();
    }
}
