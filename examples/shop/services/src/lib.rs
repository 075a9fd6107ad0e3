//! What the shop's services share: serving, calling each other, knowing the user, and answering in JSON
//! when something is wrong. Only orders and payments know of Tombolo, whose streams tell them what happened; each service is a file in `bin/`.

mod caller;
mod name;
pub mod order;
pub mod page;
mod peer;
mod problem;
mod service;

pub use caller::{Caller, User};
pub use name::Name;
pub use peer::{Answer, Call, Peer};
pub use problem::Problem;
pub use service::{env_or, say, serve, trouble};

/// Why a service could not start or go on, in a sentence.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
