//! What the plane tells when its metrics are asked for: the states of breakers and queues as they are then.
//! What is counted as it happens is told where it happens.

use crate::backend::{Endpoint, Watched};
use crate::cache::Store;
use crate::engine::Plane;
use crate::filters::queues::Line;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use telemetry::metrics;

/// Has the metrics of this plane ask it. They outlive the plane, so they hold it weakly.
pub(crate) fn tell(plane: &Arc<Plane>) {
    ask(plane, metrics::BREAKER_OPEN, |plane, samples| {
        let now = plane.builder.clock.now();
        plane.breakers.for_each(|breaker| {
            let open = breaker.state(now) != rules::breaker::State::Closed;
            samples.add(&[breaker.host()], f64::from(u8::from(open)));
        });
    });
    ask(plane, metrics::ENDPOINT_HEALTHY, |plane, samples| {
        plane.builder.lasting.each(|watched: &Watched| {
            let labels = [watched.endpoint.text.as_str(), watched.check.path.as_str()];
            samples.add(&labels, f64::from(u8::from(watched.is_healthy())));
        });
    });
    ask(plane, metrics::ENDPOINT_DROP, |plane, samples| {
        let Some(passive) = &plane.passive else { return };
        let now = plane.builder.clock.now();
        plane.builder.lasting.each(|endpoint: &Endpoint| {
            let drop = endpoint.outcomes.drop_probability(&passive.settings, now);
            if drop > 0.0 {
                samples.add(&[&endpoint.text], drop);
            }
        });
    });
    ask(plane, metrics::BACKEND_CONNECTIONS, |plane, samples| {
        let mut kept: BTreeMap<String, [usize; 2]> = BTreeMap::new();
        for core in plane.cores() {
            core.pool.each(|endpoint, connections| {
                let sums = kept.entry(endpoint.text.clone()).or_default();
                sums.iter_mut().zip(connections).for_each(|(sum, number)| *sum += number);
            });
        }
        for (endpoint, [idle, shared]) in kept {
            samples.add(&[&endpoint, "idle"], idle as f64);
            samples.add(&[&endpoint, "shared"], shared as f64);
        }
    });
    ask(plane, metrics::QUEUE_RUNNING, |plane, samples| {
        lines(plane, |line, running, _| samples.add(&[line.kind, &line.name], running));
    });
    ask(plane, metrics::QUEUE_WAITING, |plane, samples| {
        lines(plane, |line, _, waiting| samples.add(&[line.kind, &line.name], waiting));
    });
    ask(plane, metrics::CACHE_BYTES, |plane, samples| {
        plane.builder.lasting.each(|store: &Store| samples.add(&[], store.bytes() as f64));
    });
    ask(plane, metrics::CACHE_REQUESTS, |plane, samples| {
        plane.builder.lasting.each(|store: &Store| {
            let counts = store.counts();
            for (outcome, count) in
                [("hit", &counts.hits), ("stale", &counts.stale), ("miss", &counts.misses)]
            {
                samples.add(&[outcome], count.load(Ordering::Relaxed) as f64);
            }
        });
    });
    ask(plane, metrics::CACHE_LEFT_OUT, |plane, samples| {
        plane.builder.lasting.each(|store: &Store| {
            let counts = store.counts();
            for (why, count) in [("evicted", &counts.evicted), ("oversized", &counts.oversized)] {
                samples.add(&[why], count.load(Ordering::Relaxed) as f64);
            }
        });
    });
    // The same under the keys that dashboards made for Skipper look for.
    ask(plane, metrics::CUSTOM_GAUGES, |plane, samples| {
        lines(plane, |line, running, waiting| {
            let order = &line.kind[..4];
            samples.add(&[&format!("{order}.{}.active", line.name)], running);
            samples.add(&[&format!("{order}.{}.queued", line.name)], waiting);
        });
    });
}

fn ask(
    plane: &Arc<Plane>,
    metric: metrics::Metric,
    answer: impl Fn(&Plane, &mut metrics::Samples) + Send + Sync + 'static,
) {
    let watched = Arc::downgrade(plane);
    plane.builder.metrics.ask(metric, move |samples| {
        if let Some(plane) = watched.upgrade() {
            answer(&plane, samples);
        }
    });
}

fn lines(plane: &Plane, mut tell: impl FnMut(&Line, f64, f64)) {
    plane.builder.lasting.each(|line: &Line| {
        let (running, waiting) = line.counts();
        tell(line, running as f64, waiting as f64);
    });
}
