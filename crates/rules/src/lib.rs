//! Decisions as pure state machines given the time: whether a caller may come, whether a backend is
//! trusted, how long to wait, whether to try again, which endpoint is next, how long an answer may be kept.
//!
//! Nothing here reads a clock, sleeps or opens a socket: every call is given the [`base::Moment`] it
//! happens at, and [`base::Chance`] where chance decides. All of it may be shared by the cores of the data
//! path; a decision takes an atomic or one short lock, and memory only while a caller is new.

pub mod admission;
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod crowd;
pub mod fade;
pub mod freshness;
pub mod health;
pub mod latency;
pub mod leak;
pub mod limit;
pub mod passive;
pub mod queue;
mod sampler;

pub use admission::Admission;
pub use backoff::Backoff;
pub use balance::{Algorithm, Ask, Balancer, Candidates};
pub use breaker::{Breaker, Breakers, Permit};
pub use budget::RetryBudget;
pub use health::Health;
pub use latency::PeakEwma;
pub use leak::{ClientBuckets, Leak, LeakyBucket};
pub use limit::{ClientLimit, Limit, Rate, Verdict};
pub use queue::Queue;
pub use sampler::Sampler;
