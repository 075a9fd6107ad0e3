//! Facts of Zipkin's own tests, as data: what spans become, which traces are found, which services call which. Every
//! case that differs is printed, not the first.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod facts;
mod pure;
mod stored;
