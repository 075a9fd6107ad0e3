//! A body as it comes from the socket. Whoever has it reads the socket himself: no task stands between, so a
//! slow reader slows its sender and nobody else.

use super::chunked::{Chunked, Piece};
use super::head::{Length, Refusal};
use super::io::{Held, Reading, Shared, lock};
use crate::Body;
use base::{Fault, Kind};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(super) struct Incoming {
    io: Shared,
    decoder: Decoder,
    over: bool,
}

enum Decoder {
    /// So many bytes are left.
    Known(u64),
    Chunked(Chunked),
    UntilClose,
}

/// The body behind a head that was just read. One that is there whole needs the socket no more.
pub(super) fn body(held: &mut Held, length: Length) -> Body {
    if length == Length::Known(0) {
        return Body::empty();
    }
    let decoder = {
        let io = &mut *held.get();
        let decoder = match length {
            Length::Known(length) => match usize::try_from(length) {
                Ok(length) if length <= io.ahead.len() => return Body::full(split(&mut io.ahead, length)),
                _ => Decoder::Known(length),
            },
            Length::Chunked => Decoder::Chunked(Chunked::default()),
            Length::UntilClose => Decoder::UntilClose,
        };
        io.reading = Reading::Body;
        decoder
    };
    Body::stream(Incoming { io: held.share(), decoder, over: false })
}

/// Takes bytes off those that were read; an idle connection keeps none.
fn split(ahead: &mut BytesMut, length: usize) -> Bytes {
    if length == ahead.len() {
        return std::mem::take(ahead).freeze();
    }
    ahead.split_to(length).freeze()
}

impl Decoder {
    fn decode(&mut self, ahead: &mut BytesMut) -> Result<Piece, Refusal> {
        match self {
            Decoder::Known(0) => Ok(Piece::Over),
            Decoder::Chunked(chunked) => chunked.decode(ahead),
            _ if ahead.is_empty() => Ok(Piece::More),
            Decoder::Known(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
                *left -= most as u64;
                Ok(Piece::Data(split(ahead, most)))
            }
            Decoder::UntilClose => Ok(Piece::Data(std::mem::take(ahead).freeze())),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Decoder::Known(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_over(),
            Decoder::UntilClose => false,
        }
    }
}

impl Incoming {
    fn end(&mut self, reading: Reading) {
        self.over = true;
        lock(&self.io).now(reading);
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.end(Reading::Lost);
        Poll::Ready(Some(Err(fault)))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            let mut io = lock(&this.io);
            let frame = match this.decoder.decode(&mut io.ahead) {
                Ok(Piece::Data(data)) => Some(Frame::data(data)),
                Ok(Piece::Trailers(fields)) => Some(Frame::trailers(fields)),
                Ok(Piece::Over) => None,
                Ok(Piece::More) => {
                    let filled = ready!(io.poll_continue(cx)).and_then(|()| match io.poll_fill(cx) {
                        Poll::Ready(filled) => filled.map(Some),
                        Poll::Pending => Ok(None),
                    });
                    drop(io);
                    match filled {
                        Ok(None) => return Poll::Pending,
                        Ok(Some(0)) if matches!(this.decoder, Decoder::UntilClose) => {
                            this.end(Reading::Lost);
                            return Poll::Ready(None);
                        }
                        Ok(Some(0)) => {
                            return this.fail(Fault::new(Kind::Unavailable, "the body broke off"));
                        }
                        Ok(Some(_)) => continue,
                        Err(error) => {
                            let fault = Fault::new(Kind::Unavailable, "the body broke off");
                            return this.fail(fault.because(error));
                        }
                    }
                }
                Err(refusal) => {
                    drop(io);
                    return this
                        .fail(Fault::new(Kind::Invalid, format!("the body broke off: {}", refusal.why)));
                }
            };
            drop(io);
            if this.decoder.is_over() {
                this.end(Reading::Head);
            }
            return Poll::Ready(frame.map(Ok));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Known(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.over {
            lock(&self.io).now(Reading::Lost);
        }
    }
}
