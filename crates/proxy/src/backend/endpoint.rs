//! One address that answers requests, and what all cores know of it. Endpoints live in `Lasting` by their
//! text, so that what was learnt of one survives a reload.

use super::LocalEndpoint;
use crate::Lasting;
use base::{Clock, Fault, Moment, UnixTime};
use http::HeaderValue;
use rules::PeakEwma;
use rules::passive::Outcomes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use wire::Origin;

/// What is known of an endpoint that no route names any more is forgotten after so long (as Skipper does).
const IDLE: Duration = Duration::from_secs(60);

/// Counts of requests under way are kept in so many parts, so that cores do not wait for each other's.
const SHARDS: usize = 8;

/// A count in cache lines of its own: two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicUsize);

/// One address that answers requests.
#[derive(Debug)]
pub struct Endpoint {
    /// As written in the route: what `consistentHash` hashes (Skipper's ring depends on it).
    pub text: String,
    /// Where to connect.
    pub origin: Origin,
    /// Its Host header, when nobody sets another.
    pub host: HeaderValue,
    /// `host:port`: the name of its breaker and of its row in the metrics.
    pub authority: Arc<str>,
    /// When it was first seen, a [`Moment`].
    since: AtomicU64,
    /// How slow it is.
    pub(crate) latency: PeakEwma,
    /// How its requests ended.
    pub(crate) outcomes: Outcomes,
    /// Its number in this process: the key of its connections in a core's pool.
    pub(crate) number: usize,
    in_flight: [Shard; SHARDS],
}

impl Endpoint {
    /// The endpoint of this text, the same one for all who name it alike.
    pub fn of(text: &str, lasting: &Lasting, clock: &Clock) -> Result<Arc<Self>, Fault> {
        lasting.try_get(&format!("endpoint {text}"), IDLE, || Self::fleeting(text, clock.now()))
    }

    /// An endpoint that nobody else knows: whoever made it remembers it, or not.
    pub(crate) fn fleeting(text: &str, since: Moment) -> Result<Self, Fault> {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        let origin = Origin::parse(text)?;
        let host = HeaderValue::try_from(origin.host_header()).map_err(|_| {
            Fault::new(
                base::Kind::Invalid,
                format!("`{text}` is no backend address: a host has no such characters"),
            )
        })?;
        Ok(Self {
            text: text.to_owned(),
            authority: origin.authority().into(),
            origin,
            host,
            since: AtomicU64::new(since.0),
            latency: PeakEwma::new(since),
            outcomes: Outcomes::default(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            in_flight: Default::default(),
        })
    }

    /// When it was first seen, or seen anew.
    pub fn since(&self) -> Moment {
        Moment(self.since.load(Ordering::Relaxed))
    }

    /// Somebody knows that what is there now was made at this time: made after we first saw the address, it
    /// is another endpoint, seen from now on.
    pub(crate) fn made_at(&self, made: UnixTime, clock: &Clock) {
        let (now, age) = (clock.now(), clock.unix().0.checked_sub(made.0));
        if age.is_some_and(|age| age < now.since(self.since())) {
            self.since.store(now.0, Ordering::Relaxed);
        }
    }

    /// Requests under way to it, over all cores.
    pub fn in_flight(&self) -> usize {
        // A request that began before one shard was read and ended before another makes the sum too small.
        let all = self.in_flight.iter().map(|shard| shard.0.load(Ordering::Relaxed));
        all.fold(0, usize::wrapping_add)
    }
}

/// Counts a request as under way until dropped.
pub(crate) struct InFlight(Arc<LocalEndpoint>);

impl InFlight {
    pub(crate) fn begin(endpoint: &Arc<LocalEndpoint>) -> Self {
        let begun = Self(endpoint.clone());
        begun.shard().0.fetch_add(1, Ordering::Relaxed);
        begun
    }

    pub(crate) fn endpoint(&self) -> &LocalEndpoint {
        &self.0
    }

    fn shard(&self) -> &Shard {
        &self.0.in_flight[self.0.worker() % SHARDS]
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shard().0.fetch_sub(1, Ordering::Relaxed);
    }
}
