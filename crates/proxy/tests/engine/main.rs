//! The engine end to end: every request goes through real sockets on this machine, from a raw client by a
//! served plane to a fake application and back.
#![expect(
    clippy::format_push_string,
    clippy::naive_bytecount,
    clippy::large_stack_arrays,
    clippy::redundant_closure_for_method_calls,
    clippy::format_collect,
    reason = "a test is read more often than it runs"
)]
#![expect(clippy::unwrap_used, reason = "what is not as set up must fail the test")]

mod backends;
mod balancing;
mod bodies;
mod caching;
mod compression;
mod conformance;
mod edges;
mod editing;
mod egress;
mod faults;
mod faults_slow;
mod files;
mod forwarding;
mod grpc;
mod hardship;
mod health;
mod http2_in;
mod http2_out;
mod limits;
mod load;
mod loopback;
mod mirrors;
mod proxy_protocol;
mod queues;
mod records;
mod retries;
mod shedding;
mod smuggling;
mod sources;
mod spans;
mod streams;
mod support;
mod taps;
mod timeouts;
mod tls;
mod tokens;
mod upgrades;
mod usage;
mod world;
