//! Splits a body in two: the first decides the pace, the second gets copies as long as it keeps up. A mirror
//! that is slow loses its copy; the request it was made of never waits.

use crate::body::{Source, Stage, body_from, map_body};
use base::{Fault, Kind, queue};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::task::{Poll, ready};
use wire::Body;

/// Frames a mirror may lag behind.
const LAG: usize = 64;

/// The body itself and a copy of it.
pub(crate) fn split(body: Body) -> (Body, Body) {
    if body.is_empty() {
        return (body, Body::empty());
    }
    let (sender, receiver) = queue::bounded(LAG);
    let copy = copy_of(receiver, body.size_hint());
    (map_body(body, Original { passing: None, copies: Some(sender) }), copy)
}

enum Piece {
    Data(Bytes),
    End,
}

/// Passes everything on, and a copy of it to whoever keeps up.
struct Original {
    passing: Option<Bytes>,
    copies: Option<queue::Sender<Piece>>,
}

impl Original {
    fn copy(&mut self, piece: Piece) {
        if self.copies.as_ref().is_some_and(|copies| !copies.offer(piece)) {
            self.copies = None;
        }
    }
}

impl Stage for Original {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        self.copy(Piece::Data(data.clone()));
        self.passing = Some(data);
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        let passing = self.passing.take();
        if passing.is_none() && source == Source::Ended {
            self.copy(Piece::End);
            self.copies = None;
        }
        Ok(passing)
    }

    fn length(&self, incoming: SizeHint) -> SizeHint {
        incoming
    }
}

fn copy_of(mut pieces: queue::Receiver<Piece>, length: SizeHint) -> Body {
    body_from(length, move |cx| {
        Poll::Ready(match ready!(pieces.poll_take(cx)) {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => None,
            None => Some(Err(Fault::new(Kind::TooMuch, "the mirror could not keep up"))),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pieces at once.
    fn drops(count: usize) -> Body {
        let mut left = count;
        body_from(SizeHint::new(), move |_| {
            let piece = (left > 0).then(|| Ok(Frame::data(Bytes::from_static(b"x"))));
            left = left.saturating_sub(1);
            Poll::Ready(piece)
        })
    }

    #[tokio::test]
    async fn a_mirror_gets_the_same_bytes_and_a_slow_one_holds_nobody_up() {
        let (first, copy) = split(Body::full("hello"));
        assert_eq!(first.collect(10).await.unwrap(), "hello");
        assert_eq!(copy.collect(10).await.unwrap(), "hello");

        let (first, copy) = split(drops(LAG * 2));
        assert_eq!(first.collect(1000).await.unwrap().len(), LAG * 2);
        assert_eq!(copy.collect(1000).await.unwrap_err().kind, Kind::TooMuch);
    }
}
