//! Counts what is appended and read, whichever way it comes and goes, and shows what is appended to those who watch: an
//! engine before the one that does the work.

use crate::tap::{self, Appending, MessageTaps};
use base::Clock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::{
    Answer, Append, AppendError, Appended, CategoryInfo, Engine, Message, Page, Read, Removal, StreamInfo,
    StreamList, Uuid, Wakes, names,
};
use telemetry::Metrics;

use telemetry::metrics::{self, Counter, TIMERS_MAX, Timer};

/// An engine whose work is counted.
pub struct Counted {
    inner: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
    read: Counter,
    /// Of categories to which was appended, as many as have numbers of their own.
    sent: Mutex<HashMap<String, (Counter, Timer)>>,
    taps: MessageTaps,
    clock: Clock,
}

impl Counted {
    /// Counts for these metrics what another engine does, and shows it to these taps.
    pub fn over(inner: Arc<dyn Engine>, metrics: Arc<Metrics>, taps: MessageTaps, clock: Clock) -> Arc<Self> {
        let read = metrics.counter(metrics::STREAMS_READ, &[]);
        Arc::new(Self { inner, metrics, read, sent: Mutex::default(), taps, clock })
    }

    fn sent(&self, category: &str) -> (Counter, Timer) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = sent.get(category) {
            return numbers.clone();
        }
        let counter = self.metrics.counter(metrics::MESSAGES_SENT, &["", category]);
        let numbers = (counter, self.metrics.timer(metrics::APPEND_DURATION, &[category]));
        if sent.len() < TIMERS_MAX {
            sent.insert(category.to_owned(), numbers.clone());
        }
        numbers
    }

    fn refused(&self, category: &str, error: &AppendError, messages: u64) {
        let error = tap::word(error);
        self.metrics.counter(metrics::MESSAGES_SENT, &[error, category]).add(messages);
    }
}

impl Engine for Counted {
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError> {
        Box::pin(async move {
            let one =
                |append: &Append| (names::category(&append.stream).to_owned(), append.messages.len() as u64);
            let counts: Vec<_> = appends.iter().map(one).collect();
            let watched =
                if self.taps.are_open() { Appending::begin(&self.taps, &self.clock, &appends) } else { None };
            let begun = self.clock.now();
            let appended = self.inner.append(appends).await;
            let took = self.clock.now().since(begun);
            if let Some(watched) = watched {
                watched.end(&self.clock, appended.as_deref());
            }
            for (category, messages) in &counts {
                match &appended {
                    Ok(_) => {
                        let (count, durations) = self.sent(category);
                        count.add(*messages);
                        durations.observe(took);
                    }
                    Err(error) => self.refused(category, error, *messages),
                }
            }
            appended
        })
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(async move {
            let page = self.inner.read(read).await?;
            self.read.add(page.messages.len() as u64);
            Ok(page)
        })
    }

    fn remove(&self, removal: Removal) -> Answer<'_, u64> {
        self.inner.remove(removal)
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        self.inner.version(stream)
    }

    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>> {
        self.inner.by_id(id)
    }

    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>> {
        self.inner.streams(list)
    }

    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>> {
        self.inner.categories(after, limit)
    }

    fn head(&self) -> Answer<'_, i64> {
        self.inner.head()
    }

    fn wakes(&self) -> &Wakes {
        self.inner.wakes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;
    use std::time::Duration;
    use store::{Memory, NewMessage, Store};

    #[tokio::test]
    async fn what_is_appended_and_read_is_counted_by_category() {
        let metrics = Arc::new(Metrics::new(1));
        let (clock, _) = Clock::by_hand(UnixTime(Duration::from_secs(1)));
        let store = Store::of(Counted::over(
            Arc::new(Memory::new(clock.clone())),
            metrics.clone(),
            MessageTaps::default(),
            clock,
        ));
        let append = |stream: &str, expected_version, count: u128| {
            let new =
                |id| NewMessage { id: Uuid::from_u128(id), kind: "T".into(), data: None, metadata: None };
            let first = metrics.expose().len() as u128;
            let messages = (0..count).map(|nth| new(first << 64 | nth)).collect();
            vec![Append { stream: stream.to_owned(), expected_version, messages }]
        };
        store.append(append("order-1", None, 2)).await.unwrap();
        store.append(append("order-2", None, 1)).await.unwrap();
        store.append(append("order-2", Some(7), 1)).await.unwrap_err();
        store.read(Read::category("order")).await.unwrap();
        let page = metrics.expose();
        let name = "messaging_client_sent_messages_total{error_type=";
        let of = "messaging_destination_name=\"order\"}";
        for line in [
            format!("{name}\"\",{of} 3"),
            format!("{name}\"wrong_version\",{of} 1"),
            format!("messaging_client_operation_duration_seconds_count{{{of} 2"),
            "tombolo_streams_read_messages_total 3".to_owned(),
        ] {
            assert!(page.lines().any(|known| known == line), "{line}: {page}");
        }
    }
}
