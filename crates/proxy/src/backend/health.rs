//! Active health: an endpoint that a route wants to be probed is watched by the plane, once for all cores
//! and routes that want the same, and passed over while its probes fail. When and how often is here; what
//! the probes mean is decided in `rules::health`.

use super::Endpoint;
use crate::Lasting;
use base::{Chance, Moment};
use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use rules::Health;
use rules::health::Thresholds;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::{Body, Dialer, Request};

/// The connection's own deadline comes after ours, which says more.
const MARGIN: Duration = Duration::from_secs(1);

/// How the endpoints of a route are probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked for with GET.
    pub path: PathAndQuery,
    /// From one probe to the next, give or take a tenth.
    pub interval: Duration,
    /// Longest wait for the head of the answer, the connection included.
    pub timeout: Duration,
    /// How many probes in a row change what is thought of an endpoint.
    pub thresholds: Thresholds,
}

/// An endpoint became healthy or unhealthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The address, as its route has it.
    pub endpoint: String,
    /// What was probed.
    pub path: String,
    /// Whether it is healthy now.
    pub healthy: bool,
    /// What the last probe found.
    pub found: String,
}

impl fmt::Display for HealthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, path, found, .. } = self;
        if self.healthy {
            write!(f, "endpoint {endpoint} is healthy again: {path} answers {found}")
        } else {
            write!(f, "endpoint {endpoint} is unhealthy and passed over: {path}: {found}")
        }
    }
}

/// One endpoint that is probed in one way.
pub(crate) struct Watched {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) check: HealthCheck,
    healthy: AtomicBool,
    state: Mutex<State>,
}

struct State {
    health: Health,
    due: Moment,
    under_way: bool,
}

/// Whether it is time for a probe.
pub(crate) enum Due {
    /// It is; whoever is told so probes, and says what came of it.
    Now,
    /// After so long.
    In(Duration),
    /// One is under way.
    Soon,
}

impl Watched {
    /// The one for this endpoint and check, the same for all who want it.
    pub(crate) fn of(endpoint: &Arc<Endpoint>, check: &HealthCheck, lasting: &Lasting) -> Arc<Self> {
        let name = format!("health {} {check:?}", endpoint.text);
        // Nothing is worth keeping once no route wants it.
        lasting.get_for(&name, Duration::ZERO, || Self {
            endpoint: endpoint.clone(),
            check: check.clone(),
            healthy: AtomicBool::new(true),
            state: Mutex::new(State { health: Health::default(), due: Moment::default(), under_way: false }),
        })
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn due(&self, now: Moment) -> Due {
        let mut state = self.lock();
        if state.under_way {
            return Due::Soon;
        }
        if now < state.due {
            return Due::In(state.due.since(now));
        }
        state.under_way = true;
        Due::Now
    }

    /// Asks the endpoint once. What it found, good or bad, is a few words.
    pub(crate) async fn probe(&self, dialer: &Dialer) -> Result<String, String> {
        let by = tokio::time::Instant::now() + self.check.timeout;
        let asking = async {
            let mut connection =
                dialer.dial(&self.endpoint.origin).await.map_err(|fault| fault.to_string())?;
            let response = connection
                .send(self.request(), by + MARGIN)
                .await
                .map_err(|error| error.fault.to_string())?;
            let status = response.status();
            if (200..400).contains(&status.as_u16()) {
                Ok(status.to_string())
            } else {
                Err(status.to_string())
            }
        };
        let late = |_| Err(format!("no answer within {}", base::format_duration(self.check.timeout)));
        tokio::time::timeout_at(by, asking).await.unwrap_or_else(late)
    }

    fn request(&self) -> Request {
        let mut request = Request::new(Body::full(Bytes::new()));
        *request.uri_mut() = self.check.path.clone().into();
        request.headers_mut().insert(HOST, self.endpoint.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("Tombolo-health"));
        request
    }

    /// A probe has ended.
    pub(crate) fn probed(
        &self,
        found: Result<String, String>,
        now: Moment,
        chance: &Chance,
    ) -> Option<HealthChange> {
        let mut state = self.lock();
        state.under_way = false;
        // Not all at the same moment, or the endpoints of a service would feel every round.
        state.due = now + self.check.interval.mul_f64(0.9 + 0.2 * chance.unit());
        let healthy = state.health.probed(found.is_ok(), self.check.thresholds)?;
        self.healthy.store(healthy, Ordering::Relaxed);
        Some(HealthChange {
            endpoint: self.endpoint.text.clone(),
            path: self.check.path.to_string(),
            healthy,
            found: found.unwrap_or_else(|why| why),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
