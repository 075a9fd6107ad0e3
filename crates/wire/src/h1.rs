//! HTTP/1.1 by a strict codec of our own, the fast path of the data path: one task reads, handles and writes,
//! nothing is handed from task to task, and a message that can be read in two ways is refused
//! (RFC 9112 section 11.2). hyper stays beside it as the engine to compare with, and for HTTP/2.

mod chunked;
mod client;
mod encode;
mod framing;
mod head;
mod incoming;
mod io;
pub(crate) mod parts;
mod seen;
mod server;
mod timer;
mod writer;

pub(crate) use client::Sender;
pub(crate) use server::serve;
