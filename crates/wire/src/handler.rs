//! What a server does with a request, and who sent it.

use crate::{Headers, Request, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Who is at the other end of a connection, and how it came in.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the other end.
    pub remote: SocketAddr,
    /// The address of ours.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Who calls whom, for listeners that belong to one caller and one callee.
    pub edge: Option<Arc<Edge>>,
}

/// A call that one service declared to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The service that calls.
    pub caller: String,
    /// The service that is called.
    pub callee: String,
}

/// An extension of a response: the client must have taken it within this time, or the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteWithin(pub Duration);

/// Whether a message is one of gRPC, by its content type (`application/grpc`, `application/grpc+proto`).
/// gRPC-Web is another protocol.
pub fn is_grpc(headers: &Headers) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some(kind) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    let Some((kind, rest)) = kind.split_at_checked(TYPE.len()) else { return false };
    kind.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// What came in is no request, or none that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong.
    pub why: &'static str,
}

/// Answers requests. Cloned for each connection.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. Errors become responses here; nothing above can do it better.
    fn handle(&self, request: Request, peer: &Peer) -> impl Future<Output = Response> + Send;

    /// Learns that something came in that is no request, and what its sender was told.
    fn refused(&self, refused: &Refused, peer: &Peer) {
        let _ = (refused, peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let of = |kind: &'static str| {
            is_grpc(&Headers::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        for grpc in ["application/grpc", "application/grpc+proto", "Application/GRPC; charset=x"] {
            assert!(of(grpc), "{grpc}");
        }
        for other in ["application/grpc-web", "application/json", "application/grp", ""] {
            assert!(!of(other), "{other}");
        }
        assert!(!is_grpc(&Headers::new()));
    }
}
