//! Keeps the wished state of services: builds them, starts them in order, watches their health, begins
//! them anew when they end, keeps their last lines, and stops them so that nothing is left behind.
//!
//! The decisions are pure and stand apart: `machine` for one instance, `rollout` for the instances of one
//! service, `order` between services. The [`Supervisor`] acts on them. What a user sees of it (colours,
//! tables, the HTTP API) and watching files for changes is left to the binary.

mod builds;
mod descriptors;
mod engine;
mod feed;
mod group;
pub mod guard;
mod instance;
mod logs;
mod machine;
mod order;
mod ports;
mod probe;
mod process;
mod rollout;
mod served;
mod spec;
mod status;
mod supervisor;
mod text;

pub use descriptors::raise_descriptors;
pub use feed::{Heard, Subscriber};
pub use logs::{Line, Stream};
pub use ports::{check_port, who_listens};
pub use status::{Event, InstanceStatus, ServiceStatus, State, Trouble, What};
pub use supervisor::{Applied, Ended, Setup, Supervisor, Wanted};
