//! Who answers: endpoints and what is known of them, connections kept per core, and the choice of one among
//! many.

mod endpoint;
mod health;
mod mirror;
mod pool;
mod services;
mod upstream;

pub use endpoint::Endpoint;
pub(crate) use endpoint::InFlight;
pub(crate) use health::{Due, Watched};
pub use health::{HealthChange, HealthCheck};
pub(crate) use mirror::split;
pub(crate) use pool::{LocalEndpoint, Pool, Taken};
pub use services::{Service, Services};
pub use upstream::EndpointWishes;
pub(crate) use upstream::{Choice, Chosen, Upstream, UpstreamBuilder};
