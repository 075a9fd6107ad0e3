//! The route language of Skipper: text, JSON and values, with diagnostics. Usable without the rest of
//! Tombolo. It knows no predicate or filter by name, but for those whose shape the language itself checks.
#![doc = include_str!("../README.md")]

mod canonical;
mod check;
mod edit;
mod endpoint;
mod errors;
mod expected;
mod explain;
mod format;
mod json;
mod lexer;
mod parser;
mod print;
mod route;
mod template;

pub use canonical::{canonical, equal, equal_lists};
pub use check::{ALGORITHMS, check_algorithm, check_ids, host_pattern};
pub use edit::{DefaultFilters, DisabledFilters, EDIT_REGEXP_BYTES_MAX, Edit};
pub use errors::{Error, Errors};
pub use format::format;
pub use json::{from_json, to_json};
pub use parser::{ERRORS_MAX, Parsed, TEXT_BYTES_MAX, parse, parse_filters, parse_predicates, parse_text};
pub use print::Printer;
pub use route::{Algorithm, Arg, Backend, Call, Endpoint, Route};
pub use template::{Context, Filled, Placeholder, Template};
