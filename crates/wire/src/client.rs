//! One connection to an upstream: dialled, used for one request after another, told when it is dead. Which
//! connection a request takes, and whether it is tried again, is decided above. HTTP/1.1 by hyper.

use crate::{Body, ClientTls, Request, Response};
use base::{Blame, Fault, Kind, Retry};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How to talk to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

/// Where an upstream is: scheme, host and port. Printed as `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How to talk to it.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Origin {
    /// Reads `scheme://host[:port]`, in lower case, with the scheme's port if none is written. What stands
    /// behind the host (a path, a query) is left out, as Skipper does.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong =
            |why: &str| Err(Fault::new(Kind::Invalid, format!("`{text}` is no backend address: {why}")));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it must begin with http:// or https://");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return wrong(&format!("the scheme `{other}` is not served, use http or https")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let Some((host, port)) = rest.split_once(']') else {
                return wrong("the bracket of its IPv6 address is not closed");
            };
            (host, port.strip_prefix(':'))
        } else {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() {
            return wrong("it has no host");
        }
        let port = match port {
            None | Some("") => scheme.default_port(),
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return wrong(&format!("`{port}` is no port")),
            },
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// `host:port`, with brackets round an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The value of a Host header: without the port where it is the scheme's own.
    pub fn host_header(&self) -> String {
        let authority = self.authority();
        if self.port == self.scheme.default_port() {
            authority[..authority.len() - self.port.to_string().len() - 1].to_owned()
        } else {
            authority
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Opens connections.
#[derive(Clone)]
pub struct Dialer {
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Most bytes of a response's head.
    pub header_bytes: usize,
    /// Whom https upstreams must be vouched for by; `None`: the machine's roots, read when first needed.
    pub tls: Option<ClientTls>,
}

impl Default for Dialer {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(60), header_bytes: 256 << 10, tls: None }
    }
}

impl Dialer {
    /// Opens a connection. Fails with `Timeout` or `Unavailable`, in both cases before any request was
    /// sent, so trying again is safe.
    pub async fn dial(&self, origin: &Origin) -> Result<Connection, Fault> {
        let dial = async {
            let stream = connect(origin).await?;
            let _ = stream.set_nodelay(true);
            match origin.scheme {
                Scheme::Http => self.handshake(stream).await,
                Scheme::Https => {
                    let tls = self.tls.clone().map_or_else(ClientTls::system, Ok)?;
                    self.handshake(tls.connect(&origin.host, stream).await?).await
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

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connection, Fault> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(self.header_bytes)
            .preserve_header_case(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::new(Kind::Unavailable, "no HTTP connection").because(error))?;
        // The driver ends with the connection; its error reaches whoever waits for a response.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { sender, used: false })
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

/// An open connection for one request at a time.
pub struct Connection {
    sender: http1::SendRequest<Body>,
    used: bool,
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// Why. `retry` says `Safe` when not a byte of the request was sent.
    pub fault: Fault,
    /// The request as it was, when nothing of it was sent.
    pub request: Option<Box<Request>>,
    /// Whether the connection had served a request before: its death may be an idle time-out that crossed
    /// our request, and says little about the upstream.
    pub reused: bool,
}

impl Connection {
    /// Whether the other end has closed it, as far as we know by now.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it has served a request before.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Whether a request can be sent at once.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the last request and its response have passed; false when the connection is dead. A
    /// request's body may still be on its way when its response is over, so whoever waits sets a bound.
    pub async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of its response. The request's URI is its target as it shall
    /// stand on the wire (origin form), and the Host header is the caller's to set.
    pub async fn send(&mut self, request: Request) -> Result<Response, SendError> {
        let reused = std::mem::replace(&mut self.used, true);
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::incoming)),
            Err(mut error) => {
                let request = error.take_message().map(Box::new);
                let error = error.into_error();
                let retry = if request.is_some() { Retry::Safe } else { Retry::IfIdempotent };
                let (kind, blame, message) = if error.is_parse() {
                    (Kind::Invalid, Blame::Neighbour, "the upstream's answer is not HTTP")
                } else if error.is_timeout() {
                    (Kind::Timeout, Blame::Neighbour, "the upstream did not answer in time")
                } else if let Some(kind) = body_fault(&error) {
                    (kind, Blame::Caller, "the request's body broke off")
                } else {
                    (
                        Kind::Unavailable,
                        Blame::Neighbour,
                        "the upstream closed the connection without an answer",
                    )
                };
                let fault = Fault::new(kind, message).blame(blame).retry(retry).because(error);
                Err(SendError { fault, request, reused })
            }
        }
    }
}

/// How the body we gave failed, if a send failed because of that.
fn body_fault(error: &hyper::Error) -> Option<Kind> {
    let fault = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Fault>());
    fault.map(|fault| fault.kind).or_else(|| error.is_user().then_some(Kind::Unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_in_every_form_people_write() {
        for (text, expected, host) in [
            ("http://a", "http://a:80", "a"),
            ("HTTPS://Shop.Example/path?x#y", "https://shop.example:443", "shop.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:80/", "http://[::1]:80", "[::1]"),
            ("https://user:secret@h:8443", "https://h:8443", "h:8443"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(
                (origin.to_string().as_str(), origin.host_header().as_str()),
                (expected, host),
                "{text}"
            );
        }
        for bad in ["", "a:80", "ftp://a", "http://", "http://:80", "http://a:b", "http://a:0", "http://[::1"]
        {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
