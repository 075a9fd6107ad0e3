//! What a plane needs somebody to look after as time passes, beside the requests: probes of endpoints that
//! routes want watched, and state nobody names any more. One task for all cores.

use crate::backend::{Due, HealthChange, Watched};
use crate::engine::Plane;
use crate::table::Target;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often is looked whether there is a new table or other members.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often state is forgotten that nobody wants.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Probes under way at most; further ones wait for the next look.
const PROBES_MAX: usize = 256;

impl Plane {
    /// Tends the plane for as long as it is polled; `tell` learns which endpoints become healthy or
    /// unhealthy. To be run once for a plane.
    pub async fn tend(self: Arc<Self>, tell: impl Fn(HealthChange) + Clone + Send + 'static) {
        let clock = &self.builder.clock;
        let mut probes = JoinSet::new();
        let mut swept = clock.now();
        loop {
            let now = clock.now();
            if now.since(swept) >= SWEEP_EVERY {
                self.builder.lasting.sweep();
                self.breakers.sweep(now);
                swept = now;
            }
            let mut wait = LOOK_EVERY;
            for watched in self.watched() {
                if probes.len() >= PROBES_MAX {
                    break;
                }
                match watched.due(now) {
                    Due::Now => {
                        let (plane, tell) = (self.clone(), tell.clone());
                        probes.spawn(async move { plane.probe(&watched, tell).await });
                    }
                    Due::In(rest) => wait = wait.min(rest),
                    Due::Soon => {}
                }
            }
            tokio::select! {
                () = clock.sleep(wait) => {}
                Some(_) = probes.join_next() => {}
            }
            while probes.try_join_next().is_some() {}
        }
    }

    /// The endpoints of the table in force that are probed.
    fn watched(&self) -> Vec<Arc<Watched>> {
        let table = self.table.load();
        let upstreams = table.watched.iter().filter_map(|route| match &route.target {
            Target::Upstream(upstream) => Some(upstream),
            _ => None,
        });
        upstreams.flat_map(crate::backend::Upstream::watched).collect()
    }

    async fn probe(&self, watched: &Watched, tell: impl Fn(HealthChange)) {
        let found = watched.probe(&self.settings.dialer).await;
        if let Some(change) = watched.probed(found, self.builder.clock.now(), &self.builder.chance) {
            tell(change);
        }
    }
}
