//! One call of append on its way to the writer and back: what is asked, the answer, and who waits for it. Callers are
//! woken by each other, as far as they are quick: a task wakes another of its runtime for far less than a thread outside.

use super::open;
use super::record::Record;
use crate::{Append, AppendError, Appended, Json};
use base::{Blame, Fault, Kind, Retry};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The answer to one call of append.
pub(crate) type Answered = Result<Vec<Appended>, AppendError>;

/// What the writer is asked.
pub(crate) enum Command {
    /// To append.
    Append(Request),
    /// To seal the segment that is written, so that no message visible now is in the last one.
    Seal(oneshot::Sender<Result<(), Fault>>, Option<OwnedSemaphorePermit>),
}

/// One call of append, which its caller and the writer hold. What can be done before it is sequenced is done.
pub(crate) struct Call {
    pub(crate) appends: Vec<Asked>,
    /// The records of all its messages, but for where they stand.
    pub(crate) records: Vec<u8>,
    pub(crate) messages: usize,
    /// No message before this global position has an id of its messages.
    pub(crate) new_until: i64,
    /// Of each message, the category of its `metadata.correlationStreamName`; of those behind the end, there is none.
    pub(crate) correlations: Vec<Option<Box<str>>>,
    answer: Mutex<State>,
}

/// What is asked of one stream.
pub(crate) struct Asked {
    pub(crate) expected_version: Option<i64>,
    pub(crate) messages: usize,
}

enum State {
    Waiting(Option<Waker>),
    Answered(Answered),
    Taken,
}

impl Call {
    /// A call whose ids no message before a global position has.
    pub(crate) fn new(appends: &[Append], new_until: i64) -> Arc<Self> {
        let messages = appends.iter().map(|append| append.messages.len()).sum();
        let (mut correlations, mut records, mut nth) = (Vec::new(), Vec::new(), 0);
        for append in appends {
            for message in &append.messages {
                let metadata = message.metadata.as_ref().map(Json::as_str);
                if let Some(category) = metadata.and_then(open::correlation) {
                    correlations.resize(nth, None);
                    correlations.push(Some(category));
                }
                nth += 1;
                let record = Record {
                    removed: false,
                    more: nth < messages,
                    group: 0,
                    global_position: 0,
                    position: 0,
                    time: 0,
                    id: message.id,
                    stream: &append.stream,
                    kind: &message.kind,
                    metadata,
                    data: message.data.as_ref().map(Json::as_str),
                };
                record.write_open(&mut records);
            }
        }
        let asked = |append: &Append| {
            let Append { expected_version, messages, .. } = append;
            Asked { expected_version: *expected_version, messages: messages.len() }
        };
        let appends = appends.iter().map(asked).collect();
        let answer = Mutex::new(State::Waiting(None));
        Arc::new(Self { appends, records, messages, new_until, correlations, answer })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer, which is given once.
    pub(crate) async fn answered(&self) -> Answered {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Answered> {
        let mut state = self.state();
        match &mut *state {
            State::Waiting(Some(waker)) => waker.clone_from(context.waker()),
            State::Waiting(waker) => *waker = Some(context.waker().clone()),
            State::Answered(_) => {
                if let State::Answered(answer) = std::mem::replace(&mut *state, State::Taken) {
                    return Poll::Ready(answer);
                }
            }
            State::Taken => {}
        }
        Poll::Pending
    }
}

/// A call as the writer holds it. One that is dropped without an answer says that the writer is no more.
pub(crate) struct Request {
    pub(crate) call: Arc<Call>,
    /// Room for the answer, made and given up where the caller is.
    pub(crate) appended: Vec<Appended>,
    is_answered: bool,
    /// Its share of the calls and bytes that may wait.
    _room: Option<OwnedSemaphorePermit>,
}

impl Request {
    pub(crate) fn new(call: Arc<Call>, room: Option<OwnedSemaphorePermit>) -> Self {
        let appended = Vec::with_capacity(call.appends.len());
        Self { call, appended, is_answered: false, _room: room }
    }

    /// Gives the answer. Who waits for it is still to be woken.
    pub(crate) fn answer(mut self, answer: Answered) -> Option<Waker> {
        self.give(answer)
    }

    fn give(&mut self, answer: Answered) -> Option<Waker> {
        self.is_answered = true;
        match std::mem::replace(&mut *self.call.state(), State::Answered(answer)) {
            State::Waiting(waker) => waker,
            State::Answered(_) | State::Taken => None,
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.is_answered
            && let Some(waker) = self.give(Err(gone(Retry::IfIdempotent)))
        {
            waker.wake();
        }
    }
}

/// The error of a writer that is no more: it panicked.
pub(crate) fn gone(retry: Retry) -> AppendError {
    let fault = Fault::new(Kind::Bug, "the writer of the store has ended").blame(Blame::Us);
    AppendError::Failed(fault.retry(retry).hint("start again: what was acknowledged is kept"))
}

/// Callers that have their answer and are to be woken. The writer wakes one of them, who wakes the others; those that
/// are left when the writer has time, or is about to wait for the disk, it wakes itself.
#[derive(Default)]
pub(crate) struct Callers {
    any: AtomicBool,
    asleep: Mutex<Vec<Waker>>,
}

impl Callers {
    /// Wakes the first, and leaves the others to it.
    pub(crate) fn wake_first(&self, wakers: &mut Vec<Waker>) {
        let mut wakers = wakers.drain(..);
        let Some(first) = wakers.next() else { return };
        if wakers.len() > 0 {
            self.asleep.lock().unwrap_or_else(PoisonError::into_inner).extend(wakers);
            self.any.store(true, Ordering::Release);
        }
        first.wake();
    }

    /// Wakes all that are left.
    pub(crate) fn wake_others(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            let asleep = std::mem::take(&mut *self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
            asleep.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewMessage, Uuid};
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Caller(AtomicUsize);

    impl Wake for Caller {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Caller {
        fn polls(self: &Arc<Self>, call: &Call) -> Poll<Answered> {
            let waker = Waker::from(self.clone());
            pin!(call.answered()).poll(&mut Context::from_waker(&waker))
        }
    }

    fn woken(callers: &[Arc<Caller>]) -> Vec<usize> {
        callers.iter().map(|caller| caller.0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_caller_is_woken_once_it_has_its_answer_and_gets_it_once() {
        let (caller, call) = (Arc::<Caller>::default(), Call::new(&[], 0));
        let request = Request::new(call.clone(), None);
        assert!(caller.polls(&call).is_pending());
        request.answer(Ok(Vec::new())).expect("the caller waits").wake();
        assert_eq!(woken(std::slice::from_ref(&caller)), [1]);
        assert!(matches!(caller.polls(&call), Poll::Ready(Ok(_))));
        assert!(caller.polls(&call).is_pending());
    }

    #[test]
    fn a_call_that_is_dropped_unanswered_says_so() {
        let (caller, call) = (Arc::<Caller>::default(), Call::new(&[], 0));
        let request = Request::new(call.clone(), None);
        assert!(caller.polls(&call).is_pending());
        drop(request);
        assert_eq!(woken(std::slice::from_ref(&caller)), [1]);
        let Poll::Ready(Err(AppendError::Failed(fault))) = caller.polls(&call) else { panic!("no fault") };
        assert_eq!(fault.retry, Retry::IfIdempotent);
    }

    #[test]
    fn the_first_caller_wakes_the_others_and_whoever_comes_later_wakes_nobody() {
        let all: Vec<Arc<Caller>> = (0..3).map(|_| Arc::default()).collect();
        let mut wakers = all.iter().map(|caller| Waker::from(caller.clone())).collect();
        let callers = Callers::default();
        callers.wake_first(&mut wakers);
        assert!(wakers.is_empty());
        assert_eq!(woken(&all), [1, 0, 0]);
        callers.wake_others();
        assert_eq!(woken(&all), [1, 1, 1]);
        callers.wake_others();
        assert_eq!(woken(&all), [1, 1, 1]);
    }

    #[test]
    fn only_correlated_messages_up_to_the_last_take_room_for_it() {
        let message = |metadata: &str| NewMessage {
            id: Uuid::nil(),
            kind: "T".into(),
            data: None,
            metadata: Some(Json::parse(metadata).unwrap()),
        };
        let append = |texts: &[&str]| Append {
            stream: "a-1".into(),
            expected_version: None,
            messages: texts.iter().map(|text| message(text)).collect(),
        };
        let of_b = "{\"correlationStreamName\":\"b-1\"}";
        let call = Call::new(&[append(&["{}"]), append(&[of_b, "{}"])], 0);
        assert_eq!(call.correlations, [None, Some("b".into())]);
        assert!(Call::new(&[append(&["{}"])], 0).correlations.is_empty());
    }
}
