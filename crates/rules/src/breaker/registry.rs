//! All breakers of a gateway: one for each backend host and set of rules, made when first asked for,
//! forgotten when idle. Rules come from the route, then from those of the host, then from everybody's.

use super::{Breaker, Settings, Trip, settings};
use crate::crowd::{Crowd, Member};
use base::{Chance, Moment};
use std::collections::HashMap;
use std::sync::Arc;

/// Breakers kept at most; when there are more, those asked least recently are forgotten.
pub const BREAKERS_MAX: usize = 10_000;

/// The breakers, by host and rules.
#[derive(Debug)]
pub struct Breakers {
    defaults: Settings,
    hosts: HashMap<String, Settings>,
    kept: Crowd<Arc<Breaker>>,
}

impl Member for Arc<Breaker> {
    fn is_idle(&self, seen: Moment, now: Moment) -> bool {
        now.since(seen) > self.settings().idle_ttl.unwrap_or(settings::IDLE_TTL)
    }
}

impl Breakers {
    /// No breaker yet: the rules for everybody and for some hosts.
    pub fn new(
        defaults: Settings,
        hosts: impl IntoIterator<Item = (String, Settings)>,
        chance: &Chance,
    ) -> Self {
        let hosts = hosts.into_iter().map(|(host, settings)| (host, settings.or(defaults))).collect();
        Self { defaults, hosts, kept: Crowd::new(BREAKERS_MAX, chance) }
    }

    /// The rules that hold for requests of a route with the rules `route` to `host`; `None` when no rule
    /// applies or the route switched breakers off.
    pub fn settings(&self, route: Settings, host: &str) -> Option<Settings> {
        let settings = route.or(self.hosts.get(host).copied().unwrap_or(self.defaults));
        // No breaker is shared by hosts, so without a host there is none.
        settings.trip.filter(|trip| *trip != Trip::Disabled && !host.is_empty()).map(|_| settings)
    }

    /// The breaker for requests of a route with the rules `route` to `host`, if there is to be one.
    pub fn get(&self, route: Settings, host: &str, now: Moment) -> Option<Arc<Breaker>> {
        let settings = self.settings(route, host)?;
        let new =
            || Arc::new(Breaker::new(host, settings).expect("settings with a rule that is not `Disabled`"));
        Some(self.kept.with((host, settings), now, new, |breaker| breaker.clone()))
    }

    /// Looks at every breaker.
    pub fn for_each(&self, mut look: impl FnMut(&Breaker)) {
        self.kept.for_each(|breaker| look(breaker));
    }

    /// Forgets breakers that nobody has asked for their idle time.
    pub fn sweep(&self, now: Moment) {
        self.kept.sweep(now);
    }

    /// How many breakers there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const THREE: Settings = Settings {
        trip: Some(Trip::Consecutive { failures: 3 }),
        timeout: None,
        half_open: None,
        idle_ttl: None,
    };

    fn at(s: u64) -> Moment {
        Moment::default() + Duration::from_secs(s)
    }

    #[test]
    fn routes_with_the_same_rules_share_the_breaker_of_a_host() {
        let breakers = Breakers::new(Settings::default(), [], &Chance::seeded(1));
        let get = |failures, host| {
            breakers
                .get(Settings { trip: Some(Trip::Consecutive { failures }), ..THREE }, host, at(0))
                .unwrap()
        };
        assert!(Arc::ptr_eq(&get(3, "a:80"), &get(3, "a:80")));
        assert!(!Arc::ptr_eq(&get(3, "a:80"), &get(3, "b:80")));
        assert!(!Arc::ptr_eq(&get(3, "a:80"), &get(4, "a:80")));
        assert_eq!(breakers.len(), 3);
        assert!(breakers.get(THREE, "", at(0)).is_none());
        assert!(breakers.get(Settings::default(), "a:80", at(0)).is_none());
    }

    #[test]
    fn the_idle_are_forgotten_and_begin_closed_again() {
        let breakers = Breakers::new(THREE, [], &Chance::seeded(1));
        let get = |s| breakers.get(Settings::default(), "a:80", at(s)).unwrap();
        let first = get(0);
        breakers.sweep(at(3600));
        assert!(Arc::ptr_eq(&first, &get(3600)));
        breakers.sweep(at(7201));
        assert!(breakers.is_empty());
        assert!(!Arc::ptr_eq(&first, &get(7201)));
    }

    #[test]
    fn hosts_without_number_do_not_take_memory_without_bound() {
        let breakers = Breakers::new(THREE, [], &Chance::seeded(1));
        for i in 0..2 * BREAKERS_MAX {
            breakers.get(Settings::default(), &format!("host{i}"), at(0));
        }
        assert!(breakers.len() <= BREAKERS_MAX);
        let mut seen = 0;
        breakers.for_each(|breaker| seen += usize::from(breaker.host().starts_with("host")));
        assert_eq!(seen, breakers.len());
    }
}
