//! Messages of the PostgreSQL protocol, version 3: read strictly and borrowed from what was received, written
//! straight into what will be sent (documentation of PostgreSQL 15, 55.7).
//!
//! What the messages mean is left to `connection`.

pub(crate) mod backend;
pub(crate) mod frontend;
pub(crate) mod scram;
