//! HTTP over sockets. Everything above speaks [`Request`], [`Response`], [`Body`] and [`Handler`]; only this
//! crate knows which engine frames the bytes and how TLS is
//! done. It decides nothing: no routes, no retries, no pools.

mod body;
mod client;
#[cfg(feature = "coding")]
pub mod coding;
mod gaps;
mod h1;
mod handler;
mod headers;
mod linger;
mod listen;
mod local;
mod message;
mod outgoing;
mod prefixed;
mod proxy_protocol;
#[doc(hidden)]
pub mod raw;
mod secrets;
mod server;
pub mod stage;
mod tls;
mod upgrade;
mod watch;

pub use body::{Body, Ending, Tail};
pub use client::{Connection, Dialer, Origin, Scheme, SendError, Speak};
pub use handler::{Edge, Handler, Peer, Refused, WriteWithin, is_grpc};
pub use headers::{FieldName, Fields, Headers, IntoFieldName, Values};
pub use listen::{bind, bind_each};
pub use local::{Stranger, check_caller};
pub use message::{Request, RequestHead, Response, ResponseHead};
pub use outgoing::Outgoing;
pub use proxy_protocol::ProxyProtocol;
pub use secrets::{is_secret, is_secret_name};
pub use server::{Drain, Drainer, Http1, Limits, serve};
pub use tls::{CertificateFiles, ClientTls, Reread, ServerTls, TlsVersion, Trust, install_crypto};
pub use upgrade::{OnUpgrade, Passed, TunnelEnd, Upgraded, tunnel};
