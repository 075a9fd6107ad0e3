//! HTTP/2 peers on the level of streams, so that a test decides what is sent when: a client and a fake
//! application. Frames are the crate h2's business.

use crate::raw::Answer;
use crate::{PATIENCE, eventually};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response, Uri};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A client with one connection to what is tested.
pub struct H2Client {
    sender: SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

/// A request under way.
pub struct Call {
    /// Takes its body.
    pub body: SendStream<Bytes>,
    response: ResponseFuture,
    stream: Option<RecvStream>,
}

impl H2Client {
    /// Connects without TLS.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(address, &h2::client::Builder::new()).await
    }

    /// Connects without TLS, with settings of the test's own.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn with(address: SocketAddr, settings: &h2::client::Builder) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Self::over(stream, settings, "http").await
    }

    /// Speaks over a connection that is there.
    ///
    /// # Panics
    /// When the other end does not speak HTTP/2.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        settings: &h2::client::Builder,
        scheme: &'static str,
    ) -> Self {
        let (sender, connection) = settings.handshake(stream).await.expect("the preface is sent");
        Self { sender, driver: tokio::spawn(connection), scheme }
    }

    /// Sends a request and reads its answer. The request is a line `METHOD target`, then header lines, then,
    /// behind an empty line, its body. `Host` becomes the authority.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn ask(&mut self, request: &str) -> Answer {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut call = self.begin(head, body.is_empty()).await;
        if !body.is_empty() {
            call.send(body, true);
        }
        call.answer().await
    }

    /// Begins a request.
    ///
    /// # Panics
    /// When the connection takes no more.
    pub async fn begin(&mut self, head: &str, end: bool) -> Call {
        self.try_begin(head, end).await.expect("the connection takes requests")
    }

    /// Begins a request, if the connection takes one.
    ///
    /// # Panics
    /// When it makes up its mind for too long.
    pub async fn try_begin(&mut self, head: &str, end: bool) -> Result<Call, h2::Error> {
        let mut lines = head.lines();
        let (method, target) = lines.next().and_then(|line| line.split_once(' ')).expect("`METHOD target`");
        let mut request = Request::builder().method(method).version(http::Version::HTTP_2);
        let mut host = "shop.example";
        for line in lines {
            let (name, value) = line.trim_start().split_once(": ").expect("`name: value`");
            if name.eq_ignore_ascii_case("host") {
                host = value;
            } else {
                request = request.header(name, value);
            }
        }
        // By parts: `*` stands behind no host in a text.
        let uri = Uri::builder().scheme(self.scheme).authority(host).path_and_query(target).build();
        let request = request.uri(uri.expect("a valid target")).body(()).expect("valid parts");
        let ready = tokio::time::timeout(PATIENCE, self.sender.clone().ready()).await;
        let mut sender = ready.expect("the connection is ready in time")?;
        let (response, body) = sender.send_request(request, end)?;
        Ok(Call { body, response, stream: None })
    }

    /// Waits until the connection has ended; whether it did so without an error.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn closed(self) -> bool {
        drop(self.sender);
        let ended = tokio::time::timeout(PATIENCE, self.driver).await.expect("the connection ends");
        ended.expect("the driver does not panic").is_ok()
    }
}

impl Call {
    /// Sends a piece of the body.
    ///
    /// # Panics
    /// When the stream is closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>, end: bool) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.body.send_data(bytes, end).expect("the stream is open");
    }

    /// The head of the answer, or how the stream ended without one.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn head(&mut self) -> Result<Response<()>, h2::Error> {
        let response =
            tokio::time::timeout(PATIENCE, &mut self.response).await.expect("an answer in time")?;
        let (head, stream) = response.into_parts();
        self.stream = Some(stream);
        Ok(Response::from_parts(head, ()))
    }

    /// The next piece of the answer's body; `None` at its end.
    ///
    /// # Panics
    /// When none comes in time, or before the head.
    pub async fn piece(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let stream = self.stream.as_mut().expect("the head is there");
        let piece = tokio::time::timeout(PATIENCE, stream.data()).await.expect("a piece in time");
        if let Some(Ok(piece)) = &piece {
            let _ = stream.flow_control().release_capacity(piece.len());
        }
        piece
    }

    /// The fields behind the body.
    ///
    /// # Panics
    /// When they do not come in time, or before the head.
    pub async fn trailers(&mut self) -> Option<HeaderMap> {
        let stream = self.stream.as_mut().expect("the head is there");
        let trailers = tokio::time::timeout(PATIENCE, stream.trailers()).await.expect("an end in time");
        trailers.ok().flatten()
    }

    /// The whole answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn answer(mut self) -> Answer {
        let head = self.head().await.expect("an answer");
        let mut answer = Answer {
            status: head.status().as_u16(),
            version: "HTTP/2.0".to_owned(),
            headers: fields(head.headers()),
            ..Answer::default()
        };
        answer.complete = loop {
            match self.piece().await {
                Some(Ok(piece)) => answer.body.extend_from_slice(&piece),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        answer.trailers = self.trailers().await.map(|trailers| fields(&trailers)).unwrap_or_default();
        answer
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// A fake application that speaks HTTP/2 alone, on a free port of this machine. It ends when dropped.
pub struct H2Backend {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    active: AtomicUsize,
    most_active: AtomicUsize,
}

/// A request as the application sees it.
pub struct H2Request {
    /// Its head.
    pub head: http::request::Parts,
    /// Its body.
    pub body: RecvStream,
    /// Takes the answer.
    pub respond: SendResponse<Bytes>,
    /// On which connection it came, counted from 0.
    pub connection: usize,
    /// Which request it is of all that came, counted from 0.
    pub number: usize,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays.
    Keep,
    /// It takes no more requests and ends when the present ones have been answered (GOAWAY).
    GoAway,
    /// It is cut.
    Cut,
}

impl H2Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next piece of the body; `None` at its end.
    pub async fn piece(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let piece = self.body.data().await;
        if let Some(Ok(piece)) = &piece {
            let _ = self.body.flow_control().release_capacity(piece.len());
        }
        piece
    }

    /// The whole body and the fields behind it.
    pub async fn all(&mut self) -> (Vec<u8>, HeaderMap) {
        let mut all = Vec::new();
        while let Some(Ok(piece)) = self.piece().await {
            all.extend_from_slice(&piece);
        }
        (all, self.body.trailers().await.ok().flatten().unwrap_or_default())
    }

    /// Answers with this head; the body follows, or not.
    ///
    /// # Panics
    /// When the parts are no head.
    pub fn answer(&mut self, status: u16, headers: &[(&str, &str)], end: bool) -> Option<SendStream<Bytes>> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        self.respond.send_response(response.body(()).expect("valid parts"), end).ok()
    }

    /// Answers with this status and body.
    pub fn answer_whole(&mut self, status: u16, body: impl Into<Bytes>) {
        if let Some(mut stream) = self.answer(status, &[], false) {
            let _ = stream.send_data(body.into(), true);
        }
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }
}

impl H2Backend {
    /// An application that does this with each request.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn start<F: Future<Output = After> + Send + 'static>(
        script: impl Fn(H2Request) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with(h2::server::Builder::new(), script).await
    }

    /// The same with settings of the test's own.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn with<F: Future<Output = After> + Send + 'static>(
        settings: h2::server::Builder,
        script: impl Fn(H2Request) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (counts, script) = (Arc::new(Counts::default()), Arc::new(script));
        let shared = counts.clone();
        let accepting = tokio::spawn(async move {
            // Connections end with the application.
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let (settings, script, counts) = (settings.clone(), script.clone(), shared.clone());
                tasks.spawn(async move {
                    serve(stream, number, &settings, &script, &counts).await;
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
                while tasks.try_join_next().is_some() {}
            }
        });
        Self { address, counts, accepting }
    }

    /// An application that answers with the body it got.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn echo() -> Self {
        Self::start(|mut request| async move {
            let (body, _) = request.all().await;
            request.answer_whole(200, body);
            After::Keep
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `h2c://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// How many requests have begun.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// How many requests were under way at a time, at most.
    pub fn most_active(&self) -> usize {
        self.counts.most_active.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// When one stays.
    pub async fn all_closed(&self) {
        eventually("every connection to the application closes", || self.open() == 0).await;
    }
}

impl Drop for H2Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<F: Future<Output = After> + Send + 'static>(
    stream: TcpStream,
    number: usize,
    settings: &h2::server::Builder,
    script: &Arc<impl Fn(H2Request) -> F + Send + Sync + 'static>,
    counts: &Arc<Counts>,
) {
    let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else { return };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(after) = told.recv() => {
                match after {
                    After::Keep => {}
                    After::GoAway => connection.graceful_shutdown(),
                    After::Cut => return,
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (head, body) = request.into_parts();
        let place = counts.requests.fetch_add(1, Ordering::SeqCst);
        let request = H2Request { head, body, respond, connection: number, number: place };
        let (script, tell, counts) = (script.clone(), tell.clone(), counts.clone());
        tokio::spawn(async move {
            let active = counts.active.fetch_add(1, Ordering::SeqCst) + 1;
            counts.most_active.fetch_max(active, Ordering::SeqCst);
            let after = script(request).await;
            counts.active.fetch_sub(1, Ordering::SeqCst);
            let _ = tell.send(after);
        });
    }
}
