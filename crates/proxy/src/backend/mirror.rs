//! Splits a body in two: the first decides the pace, the second gets copies as long as it keeps up. A mirror
//! that is slow loses its copy; the request it was made of never waits.

use base::{Fault, Kind, queue};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wire::Body;

/// Frames a mirror may lag behind.
const LAG: usize = 64;

/// The body itself and a copy of it.
pub(crate) fn split(body: Body) -> (Body, Body) {
    if body.is_empty() {
        return (body, Body::empty());
    }
    let (sender, receiver) = queue::bounded(LAG);
    let hint = body.size_hint();
    let first = Original { body, copies: Some(sender) };
    (Body::stream(first), Body::stream(Copy { receiver, hint, over: false }))
}

enum Piece {
    Data(Bytes),
    End,
}

struct Original {
    body: Body,
    copies: Option<queue::Sender<Piece>>,
}

impl http_body::Body for Original {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let fits = match (&self.copies, &polled) {
            (Some(copies), Some(Ok(frame))) => {
                let data = frame.data_ref().cloned();
                data.is_none_or(|data| copies.offer(Piece::Data(data)))
                    && (!self.body.is_end_stream() || copies.offer(Piece::End))
            }
            (Some(copies), None) => copies.offer(Piece::End),
            (Some(_), Some(Err(_))) => false,
            (None, _) => true,
        };
        if !fits {
            self.copies = None;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Copy {
    receiver: queue::Receiver<Piece>,
    hint: SizeHint,
    over: bool,
}

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(self.receiver.poll_take(cx)) {
            Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Piece::End) => {
                self.over = true;
                Poll::Ready(None)
            }
            None => {
                self.over = true;
                Poll::Ready(Some(Err(Fault::new(Kind::TooMuch, "the mirror could not keep up"))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pieces at once.
    struct Drops(usize);
    impl http_body::Body for Drops {
        type Data = Bytes;
        type Error = Fault;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            self.0 += 1;
            Poll::Ready((self.0 <= LAG * 2).then(|| Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_mirror_gets_the_same_bytes_and_a_slow_one_holds_nobody_up() {
        let (first, copy) = split(Body::full("hello"));
        assert_eq!(first.collect(10).await.unwrap(), "hello");
        assert_eq!(copy.collect(10).await.unwrap(), "hello");

        let (first, copy) = split(Body::stream(Drops(0)));
        assert_eq!(first.collect(1000).await.unwrap().len(), LAG * 2);
        assert_eq!(copy.collect(1000).await.unwrap_err().kind, Kind::TooMuch);
    }
}
