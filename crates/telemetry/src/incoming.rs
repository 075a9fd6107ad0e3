//! Bodies of messages with spans: read whole within a bound, a few large ones at a time, and out of gzip.

use base::{Fault, Kind, Retry};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::io::Read as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::Body;

/// Bytes of a body, as it is meant.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes from which a body is large.
const LARGE_BYTES: u64 = 256 << 10;
/// Large bodies at a time; others wait for their turn.
const LARGE_MAX: usize = 2;

/// Room for large bodies.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_MAX)))
    }
}

/// A place in the room, for as long as it is held.
pub(crate) type Place = Option<OwnedSemaphorePermit>;

impl Room {
    /// Reads a body to its end, out of gzip if `zipped`. Answers also its place, to be held while spans are made of
    /// it.
    pub(crate) async fn read(&self, body: Body, zipped: bool) -> Result<(Bytes, Place), Fault> {
        // What is zipped may be large however small it is.
        let small = !zipped && body.exact_len().is_some_and(|length| length < LARGE_BYTES);
        let place = if small { None } else { self.0.clone().acquire_owned().await.ok() };
        let bytes = body.collect(BODY_BYTES_MAX).await?;
        let bytes = if zipped { unzip(&bytes)? } else { bytes };
        Ok((bytes, place))
    }
}

/// Takes bytes out of gzip.
pub(crate) fn unzip(bytes: &[u8]) -> Result<Bytes, Fault> {
    let mut whole = Vec::new();
    let mut reader = MultiGzDecoder::new(bytes).take(BODY_BYTES_MAX as u64 + 1);
    reader
        .read_to_end(&mut whole)
        .map_err(|error| Fault::new(Kind::Invalid, "Cannot gunzip spans").because(error))?;
    if whole.len() > BODY_BYTES_MAX {
        let text = format!("the body has more than {BODY_BYTES_MAX} bytes when it is unzipped");
        return Err(Fault::new(Kind::TooMuch, text).retry(Retry::No).hint("send it in parts"));
    }
    Ok(whole.into())
}
