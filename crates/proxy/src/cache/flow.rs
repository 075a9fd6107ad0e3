//! Records a body while it goes to the client who caused it to be fetched. The record decides the pace, within
//! its bound: a client that is slow or leaves does not hold up those who wait for the record.

use super::Store;
use crate::body::body_from;
use base::Fault;
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wire::Body;

/// A body that its client has left may be silent for so long, and last for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a record ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Whole(Bytes),
    /// It would have been larger than an entry may be, or than there is room.
    TooLarge,
    /// The body broke off, or nobody wanted to wait for it any longer.
    BrokenOff,
}

/// The body for the client, and its record, which comes when it is whole. Somebody must await that.
pub(crate) fn record(body: Body, store: Arc<Store>) -> (Body, impl Future<Output = Recorded> + Send) {
    let flow = Flow::default();
    let length = body.size_hint();
    let mut reader = Reader { flow: flow.clone(), rest: None };
    let given = body_from(length, move |cx| reader.poll(cx));
    (given, run(body, flow, store))
}

/// What passes from the record to the client.
#[derive(Clone, Default)]
struct Flow(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Frame<Bytes>>,
    /// What comes after that is not recorded.
    rest: Option<Body>,
    over: Option<Result<(), Fault>>,
    waker: Option<Waker>,
    left: bool,
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the client sees, and answers whether it still looks.
    fn push(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.lock();
        if state.left {
            return false;
        }
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

async fn run(mut body: Body, flow: Flow, store: Arc<Store>) -> Recorded {
    let mut room = Room { store: &store, bytes: 0 };
    let mut record = Vec::new();
    let begun = tokio::time::Instant::now();
    loop {
        let Ok(frame) = tokio::time::timeout(PATIENCE, body.frame()).await else {
            if flow.lock().left {
                return Recorded::BrokenOff;
            }
            continue;
        };
        let frame = match frame.transpose() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                flow.push(|state| state.over = Some(Ok(())));
                return Recorded::Whole(record.into_boxed_slice().into_vec().into());
            }
            Err(fault) => {
                flow.push(|state| state.over = Some(Err(fault)));
                return Recorded::BrokenOff;
            }
        };
        let data = frame.data_ref().map_or(0, Bytes::len);
        let fits = record.len() + data <= store.entry_bytes_max() && room.grow(data);
        if fits && let Some(data) = frame.data_ref() {
            record.extend_from_slice(data);
        }
        let looks = flow.push(|state| state.waiting.push_back(frame));
        if !fits {
            flow.push(|state| state.rest = Some(body));
            return Recorded::TooLarge;
        }
        if !looks && begun.elapsed() > PATIENCE {
            return Recorded::BrokenOff;
        }
    }
}

/// What a record takes of the store's memory until it is done.
struct Room<'a> {
    store: &'a Store,
    bytes: usize,
}

impl Room<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.store.take(bytes);
        self.bytes += if fits { bytes } else { 0 };
        fits
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.store.give_back(self.bytes);
    }
}

/// The client's end.
struct Reader {
    flow: Flow,
    rest: Option<Body>,
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(rest) = &mut self.rest {
            return Pin::new(rest).poll_frame(cx);
        }
        let mut state = self.flow.lock();
        if let Some(frame) = state.waiting.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(over) = state.over.take() {
            return Poll::Ready(over.err().map(Err));
        }
        if let Some(rest) = state.rest.take() {
            drop(state);
            let rest = self.rest.insert(rest);
            return Pin::new(rest).poll_frame(cx);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.flow.lock();
        state.left = true;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::{drained, pieces};
    use base::Kind;
    use http_body::SizeHint;

    fn words(count: usize) -> Body {
        pieces((0..count).map(|_| b"0123456789".to_vec()), true)
    }

    #[tokio::test]
    async fn the_client_and_the_record_get_the_same() {
        let store = Arc::new(Store::new(16_000));
        let (body, recording) = record(words(50), store.clone());
        let (recorded, (data, trailers)) = tokio::join!(recording, async { drained(body).await.unwrap() });
        assert_eq!((data.len(), trailers), (50, true));
        assert_eq!(recorded, Recorded::Whole(data.concat().into()));
        assert_eq!(store.bytes(), 0, "what was taken is given back");
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_or_leaves_holds_up_nobody() {
        let store = Arc::new(Store::new(16_000));
        let (body, recording) = record(words(50), store.clone());
        assert!(matches!(recording.await, Recorded::Whole(bytes) if bytes.len() == 500));
        assert_eq!(drained(body).await.unwrap().0.len(), 50, "it is all there for later");
        let (body, recording) = record(words(50), store.clone());
        drop(body);
        assert!(matches!(recording.await, Recorded::Whole(bytes) if bytes.len() == 500));
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_goes_on_to_the_client() {
        let store = Arc::new(Store::new(1600));
        let (body, recording) = record(words(50), store.clone());
        let (recorded, drained) = tokio::join!(recording, drained(body));
        assert_eq!((recorded, drained.unwrap().0.concat().len()), (Recorded::TooLarge, 500));
        let (body, recording) = record(words(50), store.clone());
        drop(body);
        assert_eq!(recording.await, Recorded::TooLarge);
        assert_eq!(store.bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_record() {
        let broken = || {
            let mut first = true;
            body_from(SizeHint::new(), move |_| {
                let data = std::mem::take(&mut first).then(|| Frame::data(Bytes::from_static(b"a")));
                Poll::Ready(Some(data.ok_or_else(|| Fault::new(Kind::Unavailable, "broken"))))
            })
        };
        let (body, recording) = record(broken(), Arc::new(Store::new(1600)));
        let (recorded, fault) = tokio::join!(recording, drained(body));
        assert_eq!((recorded, fault.unwrap_err().kind), (Recorded::BrokenOff, Kind::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_end_is_given_up_when_its_client_leaves() {
        let silent = body_from(SizeHint::new(), |_| Poll::Pending);
        let (body, recording) = record(silent, Arc::new(Store::new(1600)));
        drop(body);
        assert_eq!(recording.await, Recorded::BrokenOff);
    }
}
