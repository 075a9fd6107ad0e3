//! A doctor that may be asked at any time: the spans, and what is declared now.

use super::{Facts, Report, look};
use crate::spans::SpanStore;
use base::Fault;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Looks at the traces that are kept, for whoever asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Doctor {
    store: SpanStore,
    /// What is declared now.
    facts: Arc<Mutex<Facts>>,
    /// Traces are looked at for one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Doctor {
    /// One who knows of nothing yet that is declared.
    pub fn new(store: SpanStore) -> Self {
        Self { store, facts: Arc::default(), turn: Arc::default() }
    }

    /// This is declared from now on.
    pub fn know(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// What the traces say that began within this time before now.
    pub async fn look(&self, lookback: Duration) -> Result<Report, Fault> {
        let _turn = self.turn.lock().await;
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        look(&self.store, facts, lookback).await
    }
}
