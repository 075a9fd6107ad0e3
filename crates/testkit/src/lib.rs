//! For tests only: data taken from the systems we stand in for, fake applications and raw peers. No other
//! crate may depend on it but as a dev-dependency.

mod conformance;
mod generated;

pub use conformance::{Differences, conformance};
pub use generated::check_generated;
