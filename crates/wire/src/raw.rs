//! The engines over any stream, and the strict codec's parts over bytes: for tests that compare the engines and
//! for fuzz targets. Nothing else may use it, and nothing here is promised.

pub use crate::h1::parts::{ReadBody, ReadHead, chunked_body, request_head, response_head};
pub use crate::proxy_protocol::{Parsed as ProxyHeader, parse as proxy_header};

use crate::{Connection, Dialer, Drain, Edge, Handler, Http1, Limits, Peer};
use base::Fault;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Serves one connection of HTTP/1.1 to its end.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: Limits,
    handler: impl Handler,
    drain: Drain,
) {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let peer = Peer { remote: nowhere, local: nowhere, tls: false, edge: None::<Arc<Edge>> };
    crate::server::http1(stream, peer, limits, handler, drain).await;
}

/// A connection of HTTP/1.1 to an upstream at the other end of the stream.
pub async fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http1: Http1,
) -> Result<Connection, Fault> {
    Dialer { http1, ..Dialer::default() }.http1(stream).await
}
