//! A fake application: it answers by a script, remembers what it saw and misbehaves where a [`Reply`] says
//! so. How it reads is in `message`, what it writes in `reply`.

use crate::eventually;
use crate::message::{Buffer, Content, Head, Length, find};
use crate::reply::{After, Piece, Reply};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, Interest, Ready};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A request as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target, as it stood in the request line.
    pub target: String,
    /// The header lines in turn, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body; still empty for a script that is asked early.
    pub body: Vec<u8>,
    /// Whether the body's end came.
    pub complete: bool,
    /// On which connection it came, counted from 0.
    pub connection: usize,
    /// Which request it is of all that came, counted from 0.
    pub number: usize,
}

/// A fake application on a free port of this machine. It ends when dropped.
pub struct Backend {
    address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    /// Whether the script is asked at the end of the head.
    early: bool,
    seen: Mutex<Vec<Seen>>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl Seen {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Method and target in one line.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl Backend {
    /// An application that is asked when a request has come whole.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(script), false).await
    }

    /// An application that answers at the end of the head and reads the body after that.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn early(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(script), true).await
    }

    /// An application that answers with the body it got.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn echo() -> Self {
        Self::start(|seen| Reply::ok(seen.body.clone())).await
    }

    /// An application that answers with this text.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn saying(text: &'static str) -> Self {
        Self::start(move |_| Reply::ok(text)).await
    }

    /// An address where nobody listens: connections to it are refused.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn refusing() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        listener.local_addr().expect("a listener has an address")
    }

    async fn listen(script: Box<Script>, early: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State {
            script,
            early,
            seen: Mutex::default(),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            // Connections end with the application.
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let state = shared.clone();
                tasks.spawn(async move {
                    serve(stream, number, &state).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
                while tasks.try_join_next().is_some() {}
            }
        });
        Self { address, state, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests whose body has ended, whole or not.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen().clone()
    }

    /// The first request, once it is there.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn first(&self) -> Seen {
        self.wait_for(1).await.remove(0)
    }

    /// The requests, once there are so many.
    ///
    /// # Panics
    /// When they do not come in time.
    pub async fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} requests at the application"), || self.state.seen().len() >= count)
            .await;
        self.seen()
    }

    /// How many requests have begun.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, mut seen: Seen, content: Content) -> Seen {
        (seen.body, seen.complete) = (content.bytes, content.complete);
        self.seen().push(seen.clone());
        seen
    }
}

/// One connection's life.
async fn serve(mut stream: TcpStream, connection: usize, state: &State) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Buffer::default();
    while let Ok(Some(head)) = buffer.head(&mut stream).await {
        let length = head.length().unwrap_or(Length::Bytes(0));
        let expects = head.header("expect").is_some();
        let number = state.requests.fetch_add(1, Ordering::SeqCst);
        let mut seen = request(head, connection, number);
        if !state.early {
            if expects && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                return;
            }
            let content = buffer.body(&mut stream, length).await;
            seen = state.remember(seen, content);
            if !seen.complete {
                return;
            }
        }
        let reply = (state.script)(&seen);
        for piece in reply.pieces() {
            match piece {
                // A client that left is noticed here too, not only by the write that comes after.
                Piece::Pause(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = left(&stream) => return,
                },
                Piece::Bytes(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
        match reply.after {
            After::Keep => {}
            After::Close => return,
            After::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            After::Stall => return left(&stream).await,
            After::HalfClose => {
                let _ = stream.shutdown().await;
                while buffer.more(&mut stream).await.is_ok_and(|more| more) {
                    buffer.take_all();
                }
                return;
            }
            After::CloseOnNext => {
                let _ = stream.readable().await;
                return;
            }
        }
        if state.early {
            let content = buffer.body(&mut stream, length).await;
            if !state.remember(seen, content).complete {
                return;
            }
        }
    }
}

fn request(head: Head, connection: usize, number: usize) -> Seen {
    let mut words = head.start.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    Seen { method, target, headers: head.headers, connection, number, ..Seen::default() }
}

/// Waits until the other end has closed, without reading what it sends.
async fn left(stream: &TcpStream) {
    while !stream.ready(Interest::READABLE).await.is_ok_and(Ready::is_read_closed) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An address that takes no connection and refuses none: whoever dials it waits.
pub struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl Deaf {
    /// A listener that nobody accepts from, its queue full.
    ///
    /// # Panics
    /// When this machine has no free port, or the queue does not fill.
    pub async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let listener = socket.listen(0).expect("the socket is bound");
        let address = listener.local_addr().expect("a listener has an address");
        let mut fillers = Vec::new();
        while let Ok(filler) =
            tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
        {
            fillers.extend(filler);
            assert!(fillers.len() < 64, "the queue does not fill");
        }
        Self { address, _listener: listener, _fillers: fillers }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[tokio::test]
    async fn a_fake_application_answers_by_its_script_and_keeps_what_it_saw() {
        let backend = Backend::start(|seen| match seen.number {
            0 => Reply::status(201).header("X-A", "1").chunks(["a", "b"]).trailer("X-T", "2"),
            _ => Reply::ok("hello").cut(45).then_close(),
        })
        .await;
        let mut client = Client::connect(backend.address()).await;
        let answer = client.ask("POST /x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-a")), (201, "ab", Some("1")));
        assert_eq!(answer.trailers, [("X-T".to_owned(), "2".to_owned())]);
        let seen = backend.first().await;
        assert_eq!((seen.line().as_str(), seen.text().as_str()), ("POST /x?y=1", "abc"));
        let answer = client.ask("GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!((answer.text().as_str(), answer.complete), ("hel", false));
        client.closed().await;
        eventually("the connection ends", || backend.open() == 0).await;
    }

    #[tokio::test]
    async fn a_deaf_address_takes_nobody_and_a_refusing_one_says_so() {
        let deaf = Deaf::start().await;
        let dial = TcpStream::connect(deaf.address());
        assert!(tokio::time::timeout(Duration::from_millis(50), dial).await.is_err());
        assert!(TcpStream::connect(Backend::refusing().await).await.is_err());
    }
}
