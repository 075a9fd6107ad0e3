//! A raw client: it writes the bytes a test gives it and reads the answers, so that pipelining, odd targets
//! and broken requests can be sent.

use crate::PATIENCE;
use crate::message::{Buffer, Length, find};
use std::future::Future;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to what is tested.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Buffer,
}

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The protocol.
    pub version: String,
    /// The header lines in turn, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// The statuses of the interim answers before it.
    pub interim: Vec<u16>,
    /// Whether the body's end came.
    pub complete: bool,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status and the body in one line.
    pub fn brief(&self) -> String {
        format!("{} {}", self.status, self.text().trim_end())
    }
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there; like all of these, also when it takes longer than [`PATIENCE`].
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = patiently("a connection", TcpStream::connect(address)).await.expect("somebody listens");
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Buffer::default() }
    }

    /// Our side's address.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("the socket is connected")
    }

    /// Writes bytes. That the other end has closed is no error here: its answer may be there.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = patiently("a write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Says that no more will be written.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads the answer to a request of this method.
    ///
    /// # Panics
    /// When none comes.
    pub async fn answer_to(&mut self, method: &str) -> Answer {
        self.try_answer(method).await.unwrap_or_else(|why| panic!("no answer to {method}: {why}"))
    }

    /// Reads the answer to a request that is not HEAD.
    ///
    /// # Panics
    /// When none comes.
    pub async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn ask(&mut self, request: impl AsRef<str>) -> Answer {
        let request = request.as_ref();
        self.send(request).await;
        self.answer_to(request.split(' ').next().unwrap_or_default()).await
    }

    /// Reads the answer to a request of this method, if one comes.
    pub async fn try_answer(&mut self, method: &str) -> Result<Answer, String> {
        patiently("an answer", self.read(method)).await
    }

    async fn read(&mut self, method: &str) -> Result<Answer, String> {
        let mut interim = Vec::new();
        loop {
            let head = self.buffer.head(&mut self.stream).await.map_err(|error| error.to_string())?;
            let head = head.ok_or("the connection was closed")?;
            let mut words = head.start.split(' ');
            let version = words.next().unwrap_or_default().to_owned();
            let status = words.next().and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or_else(|| format!("no status line: {:?}", head.start))?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let content =
                self.buffer.body(&mut self.stream, Length::of_response(&head, status, method)).await;
            return Ok(Answer {
                status,
                version,
                headers: head.headers,
                body: content.bytes,
                trailers: content.trailers,
                interim,
                complete: content.complete,
            });
        }
    }

    /// Waits until the other end has closed; gives what came before.
    pub async fn closed(&mut self) -> Vec<u8> {
        patiently("the end of the connection", async {
            while self.buffer.more(&mut self.stream).await.is_ok_and(|more| more) {}
        })
        .await;
        self.buffer.take_all()
    }

    /// Whether the connection is open and silent.
    pub fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        self.buffer.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Reads exactly so many bytes, or fewer when the other end closes.
    pub async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut into = Vec::new();
        let taken = self.buffer.take(&mut self.stream, bytes as u64, &mut into);
        let _ = patiently("bytes", taken).await;
        into
    }

    /// Reads some bytes as they are, at most this many.
    pub async fn some(&mut self, bytes: usize) -> Vec<u8> {
        let mut into = vec![0; bytes];
        let count = patiently("bytes", self.stream.read(&mut into)).await.unwrap_or(0);
        into.truncate(count);
        into
    }
}

async fn patiently<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
