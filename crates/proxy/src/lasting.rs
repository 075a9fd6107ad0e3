//! State of the request plane that survives a reload: limiters, breakers, retry budgets, endpoints. Held by
//! name, so that a route that did not change goes on counting where it was.

use base::{Clock, Moment};
use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What nobody held or asked for during so long is forgotten at the next sweep, if it has no time of its own.
pub(crate) const IDLE: Duration = Duration::from_secs(3600);

/// State by name.
pub struct Lasting {
    clock: Clock,
    held: Mutex<HashMap<String, Held>>,
}

struct Held {
    value: Arc<dyn Any + Send + Sync>,
    /// When somebody was last known to want it.
    wanted: Moment,
    idle: Duration,
}

impl Lasting {
    /// Nothing yet.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, held: Mutex::default() })
    }

    /// The state of this name, made if it is not there (or is of another type). Asked when a route is
    /// built, not for each request.
    pub fn get<T: Any + Send + Sync>(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        self.get_for(name, IDLE, make)
    }

    /// Likewise, for state that is forgotten after so long without anybody holding it.
    pub fn get_for<T: Any + Send + Sync>(
        &self,
        name: &str,
        idle: Duration,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let Ok(value) = self.try_get(name, idle, || Ok::<_, Infallible>(make()));
        value
    }

    /// Likewise, for what can't always be made. What `make` does must not ask for other state here.
    pub fn try_get<T: Any + Send + Sync, E>(
        &self,
        name: &str,
        idle: Duration,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let now = self.clock.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.get_mut(name) {
            found.wanted = now;
            if let Ok(value) = found.value.clone().downcast() {
                return Ok(value);
            }
        }
        let value = Arc::new(make()?);
        held.insert(name.to_owned(), Held { value: value.clone(), wanted: now, idle });
        Ok(value)
    }

    /// Looks at all state of this type, which must not ask for any here meanwhile.
    pub(crate) fn each<T: Any + Send + Sync>(&self, mut look: impl FnMut(&T)) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.values().filter_map(|held| held.value.downcast_ref()).for_each(&mut look);
    }

    /// Forgets what nobody has held or asked for during its time. Called after a reload and now and then,
    /// as it also sees that what is held is still wanted.
    pub fn sweep(&self) {
        let now = self.clock.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| {
            if Arc::strong_count(&held.value) > 1 {
                held.wanted = now;
            }
            held.wanted == now || now.since(held.wanted) < held.idle
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;

    #[test]
    fn state_survives_while_somebody_uses_it() {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let lasting = Lasting::new(clock);
        let kept = lasting.get("a", || 1u32);
        lasting.get("b", || 2u32);
        hand.advance(IDLE * 2);
        lasting.sweep();
        assert_eq!((*lasting.get("a", || 9u32), *lasting.get("b", || 9u32)), (1, 9));
        assert_eq!(*kept, 1);
    }

    #[test]
    fn the_time_to_be_forgotten_begins_when_the_last_one_lets_go() {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let lasting = Lasting::new(clock);
        let get = |value| lasting.get_for("a", Duration::from_secs(60), || value);
        let step = |seconds| {
            hand.advance(Duration::from_secs(seconds));
            lasting.sweep();
        };
        let held = get(1u32);
        step(100);
        drop(held);
        step(59);
        assert_eq!(*get(2), 1);
        step(60);
        assert_eq!(*get(3), 3);
    }
}
