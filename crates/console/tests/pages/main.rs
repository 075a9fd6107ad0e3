//! The console as it is asked: pages and their twins, who may see and do what, what is told of changes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod access;
mod charts;
mod consumers;
mod doctor;
mod large;
mod overview;
mod routes;
mod services;
mod streams;
mod traces;
mod world;
