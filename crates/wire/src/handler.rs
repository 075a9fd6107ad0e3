//! What a server does with a request, and who sent it.

use crate::Body;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request with its body.
pub type Request = http::Request<Body>;

/// A response with its body.
pub type Response = http::Response<Body>;

/// Who is at the other end of a connection, and how it came in.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the other end.
    pub remote: SocketAddr,
    /// The address of ours.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The service this connection's listener belongs to, for listeners that serve one caller only.
    pub caller: Option<Arc<str>>,
}

/// Answers requests. Cloned for each connection.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. Errors become responses here; nothing above can do it better.
    fn handle(&self, request: Request, peer: &Peer) -> impl Future<Output = Response> + Send;
}
