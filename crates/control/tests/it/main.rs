//! The supervisor with real processes, at its own door. Tests wait for what shall happen, with patience,
//! and never for time.
#![expect(clippy::unwrap_used, reason = "a test ends where something can't be done")]

mod building;
mod changing;
mod running;
mod stopping;
mod world;
