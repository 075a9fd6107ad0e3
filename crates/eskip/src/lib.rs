//! The route language of Skipper: text, JSON and values, with diagnostics. Usable without the rest of
//! Tombolo. It knows no predicate or filter by name, but for those whose shape the language itself checks.

mod route;

pub use route::{Algorithm, Arg, Backend, Call, Endpoint, Route};
