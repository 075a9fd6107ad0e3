//! One connection to an upstream: dialled, used for one request after another, told when it is dead. Which
//! connection a request takes, and whether it is tried again, is decided above. Each engine that frames the
//! bytes has a file of its own below.

mod http1;
mod http2;
mod origin;

pub use origin::{Origin, Scheme};

use crate::{Body, ClientTls, Http1, Outgoing, Request, Response, h1};
use base::{Blame, Fault, Kind, Retry};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// After how long a silence TCP asks whether an upstream is still there (Skipper's `-keepalive-backend`).
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What a connection shall speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speak {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
    /// HTTP/2 if the upstream knows it, otherwise HTTP/1.1.
    Either,
}

/// Opens connections.
#[derive(Clone)]
pub struct Dialer {
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Most bytes of a response's head.
    pub header_bytes: usize,
    /// Who frames HTTP/1.1.
    pub http1: Http1,
    /// Whom https upstreams must be vouched for by; `None`: the machine's roots, read when first needed.
    pub tls: Option<ClientTls>,
    /// Whether https upstreams are offered HTTP/2.
    pub http2: bool,
}

impl Default for Dialer {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(60),
            header_bytes: 256 << 10,
            http1: Http1::default(),
            tls: None,
            http2: true,
        }
    }
}

impl Dialer {
    /// Opens a connection that speaks the best that both ends know. Fails with `Timeout` or `Unavailable`, in
    /// both cases before any request was sent, so trying again is safe.
    pub async fn dial(&self, origin: &Origin) -> Result<Connection, Fault> {
        self.dial_speaking(origin, self.speaks(origin)).await
    }

    /// What connections to this upstream speak if nothing else is wanted.
    pub fn speaks(&self, origin: &Origin) -> Speak {
        match origin.scheme {
            Scheme::Https if self.http2 => Speak::Either,
            Scheme::Http | Scheme::Https => Speak::Http1,
            Scheme::H2c => Speak::Http2,
        }
    }

    /// Opens a connection that speaks this, for requests that nothing else can carry: a change of protocol
    /// takes HTTP/1.1, gRPC takes HTTP/2. Fails as [`Dialer::dial`] does.
    pub async fn dial_speaking(&self, origin: &Origin, speak: Speak) -> Result<Connection, Fault> {
        let dial = async {
            let stream = connect(origin).await?;
            let _ = stream.set_nodelay(true);
            let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
            let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
            match (origin.scheme, speak) {
                (Scheme::Http | Scheme::H2c, Speak::Http2) => self.http2(stream, origin).await,
                (Scheme::Http | Scheme::H2c, _) => self.http1(stream).await,
                (Scheme::Https, _) => {
                    let tls = self.tls.clone().map_or_else(ClientTls::system, Ok)?;
                    let stream = tls.connect(&origin.host, stream, speak).await?;
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        self.http2(stream, origin).await
                    } else {
                        self.http1(stream).await
                    }
                }
            }
        };
        match tokio::time::timeout(self.connect_timeout, dial).await {
            Ok(result) => result.map_err(|fault| fault.blame(Blame::Neighbour).retry(Retry::Safe)),
            Err(_) => {
                Err(Fault::new(Kind::Timeout, format!("no connection to `{origin}` in time"))
                    .retry(Retry::Safe))
            }
        }
    }

    pub(crate) async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connection, Fault> {
        let engine = match self.http1 {
            Http1::Strict => Engine::Strict(h1::Sender::new(Box::new(stream), self.header_bytes)),
            Http1::Hyper => Engine::Hyper(http1::Sender::begin(stream, self.header_bytes).await?),
        };
        Ok(Connection { engine, used: false, _place: None })
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: &Origin,
    ) -> Result<Connection, Fault> {
        let sender = http2::Sender::begin(stream, origin, self.header_bytes).await?;
        Ok(Connection { engine: Engine::Http2(sender), used: false, _place: None })
    }
}

/// An open connection for one request at a time, or one's share of a connection that carries many.
pub struct Connection {
    engine: Engine,
    used: bool,
    /// Held by a share.
    _place: Option<http2::Place>,
}

/// Who frames the bytes.
enum Engine {
    Strict(h1::Sender),
    Hyper(http1::Sender),
    Http2(http2::Sender),
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// Why. `retry` says `Safe` when not a byte of the request was sent.
    pub fault: Fault,
    /// The request's body as it was, when nothing of the request was sent.
    pub body: Option<Body>,
    /// Whether the connection had served a request before: its death may be an idle time-out that crossed
    /// our request, and says little about the upstream.
    pub reused: bool,
    /// Whether the upstream said that it has not begun with it.
    pub refused: bool,
}

impl Connection {
    /// Whether the other end has closed it, as far as we know by now.
    pub fn is_closed(&mut self) -> bool {
        match &mut self.engine {
            Engine::Strict(sender) => sender.is_closed(),
            Engine::Hyper(sender) => sender.is_closed(),
            Engine::Http2(sender) => sender.is_closed(),
        }
    }

    /// A share of it for one more request, if it carries many at a time; the place among its streams is
    /// taken until the share is dropped.
    pub fn share(&mut self) -> Option<Connection> {
        let Engine::Http2(sender) = &self.engine else { return None };
        let (engine, place) = (Engine::Http2(sender.clone()), sender.place());
        Some(Connection { engine, used: std::mem::replace(&mut self.used, true), _place: Some(place) })
    }

    /// Whether one more request would be carried at once.
    pub fn has_room(&mut self) -> bool {
        match &mut self.engine {
            Engine::Strict(sender) => sender.is_ready(),
            Engine::Hyper(sender) => sender.is_ready(),
            Engine::Http2(sender) => sender.has_room(),
        }
    }

    /// How many shares of it there are.
    pub fn shares(&self) -> usize {
        match &self.engine {
            Engine::Strict(_) | Engine::Hyper(_) => 0,
            Engine::Http2(sender) => sender.taken(),
        }
    }

    /// Whether it can carry a change of protocol: HTTP/2 has none of RFC 9110's.
    pub fn can_upgrade(&self) -> bool {
        !matches!(self.engine, Engine::Http2(_))
    }

    /// Whether it has served a request before.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Whether a request can be sent at once.
    pub fn is_ready(&mut self) -> bool {
        match &mut self.engine {
            Engine::Strict(sender) => sender.is_ready(),
            Engine::Hyper(sender) => sender.is_ready(),
            Engine::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Waits until the last request and its response have passed; false when the connection is dead. A
    /// request's body may still be on its way when its response is over, so whoever waits sets a bound.
    pub async fn ready(&mut self) -> bool {
        match &mut self.engine {
            Engine::Strict(sender) => sender.ready().await,
            Engine::Hyper(sender) => sender.ready().await,
            Engine::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its response until `by`. The request's URI is its target as
    /// it shall stand on the wire (origin form), and the Host header is the caller's to set.
    pub async fn send(&mut self, request: Request, by: Instant) -> Result<Response, SendError> {
        let (head, body) = request.into_parts();
        self.send_head(&Outgoing::from(&head), body, by).await
    }

    /// The same, with a head that stays with the caller.
    pub async fn send_head(
        &mut self,
        head: &Outgoing<'_>,
        body: Body,
        by: Instant,
    ) -> Result<Response, SendError> {
        let reused = std::mem::replace(&mut self.used, true);
        let late = || {
            Fault::new(Kind::Timeout, "the upstream did not answer in time")
                .blame(Blame::Neighbour)
                .retry(Retry::IfIdempotent)
        };
        let unsent = |request: Option<Box<http::Request<Body>>>| request.map(|request| request.into_body());
        // Boxed where the engine is not ours: its futures are large, and every request would carry room for them.
        let (fault, body, refused, reused) = match &mut self.engine {
            Engine::Strict(sender) => match sender.send(head, body, by).await {
                Ok(response) => return Ok(response),
                Err((fault, body)) => (fault, body, false, reused),
            },
            Engine::Hyper(sender) => match timeout_at(by, Box::pin(sender.send(head.with(body)))).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err((fault, request))) => (fault, unsent(request), false, reused),
                Err(_) => (late(), None, false, reused),
            },
            Engine::Http2(sender) => match timeout_at(by, Box::pin(sender.send(head.with(body)))).await {
                Ok(Ok(response)) => return Ok(response),
                // That one request ended early says nothing about the connection's age.
                Ok(Err(error)) => (error.fault, unsent(error.request), error.refused, reused && error.broken),
                Err(_) => (late(), None, false, reused),
            },
        };
        Err(SendError { fault, body, reused, refused })
    }
}

/// Tries the addresses of a name one after another. A literal address asks no resolver.
async fn connect(origin: &Origin) -> Result<TcpStream, Fault> {
    let unreachable = |error: std::io::Error| {
        Fault::new(Kind::Unavailable, format!("no connection to `{origin}`")).because(error)
    };
    if let Ok(ip) = origin.host.parse() {
        return TcpStream::connect(SocketAddr::new(ip, origin.port)).await.map_err(unreachable);
    }
    let addresses: Vec<_> = tokio::net::lookup_host((origin.host.as_str(), origin.port))
        .await
        .map_err(|error| {
            Fault::new(Kind::Unavailable, format!("the name `{}` is not known", origin.host)).because(error)
        })?
        .collect();
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}
