//! Keeps the lease of a share while somebody works under it, and tells in time when it is lost: whoever else may have
//! it next must find nothing under way here.

use super::records::lease_name;
use base::{Clock, Fault, Moment};
use std::time::Duration;
use store::State;

/// How long a lease lasts that nobody renews.
pub(super) const HOLD: Duration = Duration::from_secs(6);
/// How often it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(2);
/// So long before its end it counts as lost: time to break deliveries off.
const MARGIN: Duration = Duration::from_secs(1);
/// The pause after it could not be renewed.
const PAUSE: Duration = Duration::from_millis(250);

/// A lease that is held.
pub(super) struct Held {
    state: State,
    clock: Clock,
    name: String,
    holder: String,
    token: i64,
    /// By our clock, counted from before it was asked for: never later than what the state thinks.
    until: Moment,
}

impl Held {
    /// Takes the lease of a share, unless somebody else has it.
    pub(super) async fn take(
        state: &State,
        clock: &Clock,
        consumer: &str,
        share: u16,
        holder: &str,
    ) -> Result<Option<Self>, Fault> {
        let name = lease_name(consumer, share);
        let until = clock.now() + HOLD;
        let lease = state.acquire(&name, holder, HOLD).await?;
        Ok((lease.holder == holder).then(|| Self {
            state: state.clone(),
            clock: clock.clone(),
            name,
            holder: holder.to_owned(),
            token: lease.token,
            until,
        }))
    }

    /// The fencing token.
    pub(super) fn token(&self) -> i64 {
        self.token
    }

    /// Renews the lease, and answers when it is lost or has to be taken for lost.
    pub(super) async fn lost(&self) {
        let mut until = self.until;
        let mut pause = RENEW;
        loop {
            let end = Moment(until.0.saturating_sub(MARGIN.as_nanos() as u64));
            let now = self.clock.now();
            if now >= end {
                return;
            }
            self.clock.sleep(pause.min(end.since(now))).await;
            let asked = self.clock.now();
            let renewed = tokio::select! {
                renewed = self.state.acquire(&self.name, &self.holder, HOLD) => renewed,
                () = self.clock.sleep(end.since(asked)) => return,
            };
            pause = match renewed {
                Ok(lease) if lease.holder == self.holder && lease.token == self.token => {
                    until = asked + HOLD;
                    RENEW
                }
                Ok(_) => return,
                Err(_) => PAUSE,
            };
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        // Should that fail, it ends by itself.
        drop(self.state.release(&self.name, self.token).await);
    }
}
