//! Bodies as filters change, watch and make them. [`Stage`]s are carried through a body by `wire`;
//! here a body is made from a function, and requests and responses are given theirs.

use crate::exchange::Exchange;
use base::Fault;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use wire::{Body, Response};

pub(crate) use wire::stage::{Source, Stage, exactly, longer, map_body};

/// The body, seen by a function as it passes.
pub(crate) fn watch_body(body: Body, see: impl FnMut(&Bytes) + Send + 'static) -> Body {
    map_body(body, Watched { see, passing: None })
}

/// The first bytes of a body that have passed, at most so many.
#[derive(Clone)]
pub(crate) struct FirstBytes {
    passed: Arc<Mutex<Vec<u8>>>,
    most: usize,
}

/// The body, and where its first bytes are as they pass.
pub(crate) fn first_bytes(body: Body, most: usize) -> (Body, FirstBytes) {
    let first = FirstBytes { passed: Arc::default(), most };
    if body.is_empty() || most == 0 {
        return (body, first);
    }
    let seeing = first.clone();
    (watch_body(body, move |data| seeing.see(data)), first)
}

/// The same of a body of which those that are there already are seen at once, whoever wants it.
pub(crate) fn first_bytes_at_once(body: Body, most: usize) -> (Body, FirstBytes) {
    let Some(bytes) = body.as_full() else { return first_bytes(body, most) };
    let first = FirstBytes { passed: Arc::default(), most };
    first.see(bytes);
    (body, first)
}

impl FirstBytes {
    fn see(&self, data: &[u8]) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.most - passed.len().min(self.most);
        passed.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// Those that have passed by now.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A body made by a function that is polled until it gives `None` or a fault.
pub(crate) fn body_from(
    length: SizeHint,
    next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> + Send + 'static,
) -> Body {
    Body::stream(Made { next, length, over: false })
}

/// Puts a stage in the way of a request's body.
pub(crate) fn change_request(exchange: &mut Exchange, stage: impl Stage) {
    exchange.headers.remove(CONTENT_LENGTH);
    exchange.body = map_body(std::mem::take(&mut exchange.body), stage);
}

/// Puts a stage in the way of a response's body.
pub(crate) fn change_response(response: &mut Response, stage: impl Stage) {
    response.headers_mut().remove(CONTENT_LENGTH);
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = map_body(body, stage);
}

/// Whether this response to this request may have a body at all (RFC 9110 section 6.4.1).
pub(crate) fn may_have_body(exchange: &Exchange, response: &Response) -> bool {
    exchange.arrival.method != Method::HEAD
        && !response.status().is_informational()
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

struct Watched<F> {
    see: F,
    passing: Option<Bytes>,
}

impl<F: FnMut(&Bytes) + Send + 'static> Stage for Watched<F> {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        (self.see)(&data);
        self.passing = Some(data);
        Ok(())
    }

    fn give(&mut self, _: Source) -> Result<Option<Bytes>, Fault> {
        Ok(self.passing.take())
    }

    fn length(&self, incoming: SizeHint) -> SizeHint {
        let passing = self.passing.as_ref().map_or(0, Bytes::len);
        longer(&incoming, passing as u64)
    }
}

struct Made<F> {
    next: F,
    length: SizeHint,
    over: bool,
}

impl<F> Unpin for Made<F> {}

impl<F> http_body::Body for Made<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>>,
{
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = (self.next)(cx);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.over = true,
            Poll::Ready(Some(Ok(frame))) => {
                let passed = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.length = shorter(&self.length, passed);
                self.over = self.length.exact() == Some(0) && passed > 0;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.length
    }
}

/// The hint when so many bytes have passed.
fn shorter(hint: &SizeHint, passed: u64) -> SizeHint {
    let mut rest = SizeHint::new();
    if let Some(upper) = hint.upper() {
        rest.set_upper(upper.saturating_sub(passed));
    }
    rest.set_lower(hint.lower().saturating_sub(passed));
    rest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base::Kind;
    use http::HeaderMap;
    use http_body_util::BodyExt as _;
    use std::collections::VecDeque;

    /// A body that comes in these pieces, resting before each when `rests`, with a trailer at its end.
    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Vec<u8>>, rests: bool) -> Body {
        let mut left: VecDeque<Vec<u8>> = pieces.into_iter().collect();
        let (mut rested, mut trailer) = (false, true);
        body_from(SizeHint::new(), move |cx| {
            rested = rests && !rested;
            if rested {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                None if std::mem::take(&mut trailer) => {
                    let headers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
                    Poll::Ready(Some(Ok(Frame::trailers(headers))))
                }
                None => Poll::Ready(None),
            }
        })
    }

    /// All data of a body, and whether trailers came behind it.
    pub(crate) async fn drained(mut body: Body) -> Result<(Vec<Bytes>, bool), Fault> {
        let (mut data, mut trailers) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(bytes) => data.push(bytes),
                Err(_) => trailers = true,
            }
        }
        Ok((data, trailers))
    }

    /// Keeps everything back until the source rests or ends, says when, and fails at `!`.
    #[derive(Default)]
    struct Keeper(Vec<u8>, bool);

    impl Stage for Keeper {
        fn take(&mut self, data: Bytes) -> Result<(), Fault> {
            if data.contains(&b'!') {
                return Err(Fault::new(Kind::Invalid, "no shouting"));
            }
            self.0.extend_from_slice(&data);
            Ok(())
        }

        fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
            match source {
                Source::Flows => return Ok(None),
                Source::Rests if self.0.is_empty() => return Ok(None),
                Source::Rests => self.0.push(b'|'),
                Source::Ended if std::mem::replace(&mut self.1, true) => return Ok(None),
                Source::Ended => self.0.push(b'.'),
            }
            Ok(Some(std::mem::take(&mut self.0).into()))
        }
    }

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[tokio::test]
    async fn a_stage_gives_when_the_source_rests_and_when_it_ends_and_trailers_come_last() {
        let (data, trailers) =
            drained(map_body(pieces(words(&["a", "b"]), true), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec!["a|".into(), "b|".into(), ".".into()], true));
        let (data, trailers) =
            drained(map_body(pieces(words(&["a", "b"]), false), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec!["ab.".into()], true));
        let (data, trailers) = drained(map_body(Body::empty(), Keeper::default())).await.unwrap();
        assert_eq!((data, trailers), (vec![".".into()], false));
    }

    #[tokio::test]
    async fn a_body_is_over_with_its_last_frame() {
        let mut body = map_body(Body::full("abc"), Keeper::default());
        assert!(body.frame().await.unwrap().unwrap().into_data().unwrap() == "abc." && body.is_empty());
        let mut made = body_from(exactly(3), |_| Poll::Ready(Some(Ok(Frame::data("abc".into())))));
        assert_eq!(made.exact_len(), Some(3));
        assert!(made.frame().await.unwrap().is_ok() && made.is_empty());
    }

    #[tokio::test]
    async fn a_stage_that_fails_fails_the_body() {
        let body = map_body(pieces(words(&["a", "b!", "c"]), true), Keeper::default());
        assert_eq!(drained(body).await.unwrap_err().kind, Kind::Invalid);
    }

    #[tokio::test]
    async fn a_source_that_always_has_more_lets_others_run() {
        let endless = body_from(SizeHint::new(), |_| Poll::Ready(Some(Ok(Frame::data("x".into())))));
        let mut body = map_body(endless, Keeper::default());
        let turn = tokio::time::timeout(std::time::Duration::from_millis(5), body.frame()).await;
        assert!(turn.is_err(), "it gives nothing, and yet the timer could fire");
    }
}
