//! What every other crate stands on: time and chance that come from outside, long-lived tasks with a
//! name and a policy, bounded queues, ids, and the two ways to say that something is wrong: a
//! [`Diagnostic`] about what somebody wrote, a [`Fault`] about what happened.
//!
//! Nothing here knows of requests, messages or spans.

mod chance;
mod clock;
mod diagnostic;
mod duration;
mod fault;
mod ids;
#[cfg(feature = "tasks")]
pub mod queue;
mod suggest;
#[cfg(feature = "tasks")]
mod tasks;
mod text_file;

pub use chance::Chance;
pub use clock::{Clock, ClockHand, Moment, UnixTime};
pub use diagnostic::{Diagnostic, Place, Report, Severity, Source, Span};
pub use duration::{format_duration, parse_bytes, parse_duration};
pub use fault::{Blame, Fault, Kind, Retry};
pub use ids::{Instance, SpanId, TraceId};
pub use suggest::did_you_mean;
#[cfg(feature = "tasks")]
pub use tasks::{OnError, Scope, TaskEnd};
pub use text_file::read_text;
