//! A fake application that keeps every byte it is sent and reads it by [`Conversation`] alone: nothing is
//! forgiven. It answers each whole request with its method, target and body.

use crate::Conversation;
use crate::strict::Rest;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A suspicious application on a free port of this machine. It ends when dropped.
pub struct Recorder {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Recorder {
    /// Starts one.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let shared = heard.clone();
        let accepting = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                tasks.spawn(serve(stream, number, shared.clone()));
            }
        });
        Self { address, heard, accepting }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What each connection was sent up to now.
    pub fn heard(&self) -> Vec<Conversation> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().map(|bytes| Conversation::requests(bytes)).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, number: usize, heard: Arc<Mutex<Vec<Vec<u8>>>>) {
    let _ = stream.set_nodelay(true);
    let mut piece = vec![0; 64 << 10];
    let mut answered = 0;
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let read = {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard[number].extend_from_slice(&piece[..count]);
            Conversation::requests(&heard[number])
        };
        for request in &read.messages[answered..] {
            let body = request.request();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let answer = if request.start.starts_with("HEAD ") { head } else { head + &body };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        answered = read.messages.len();
        if matches!(read.rest, Rest::Malformed(_)) {
            let _ = stream.write_all(b"HTTP/1.1 400 Malformed\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
    }
}
