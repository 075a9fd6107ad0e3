//! A route as a value: what the text, the JSON form and the programs that build routes agree on.

use base::Span;

/// One route: predicates choose it, filters act on the request and the response, a backend answers.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The route's name; empty for a lone route without one.
    pub id: String,
    /// All must hold. In source order; `*` is the empty list.
    pub predicates: Vec<Call>,
    /// Run on the request in this order, on the response in the reverse one.
    pub filters: Vec<Call>,
    /// Who answers.
    pub backend: Backend,
    /// Where the route's id stands in its source; `0..0` if it did not come from a text.
    pub span: Span,
    /// Where the backend stands in its source.
    pub backend_span: Span,
}

/// A predicate or filter with its arguments.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
    /// Where the name stands in its source, and each argument behind it.
    pub span: Span,
    /// Where each argument stands; as many as `args`, or none if the call did not come from a text.
    pub arg_spans: Vec<Span>,
}

/// An argument. Regular expressions are strings, as in the original.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A number; the language knows only 64-bit floating point.
    Number(f64),
    /// A string or a regular expression.
    Text(String),
}

/// Who answers the request. The default is a network backend without an address: a route for which nobody
/// has named one yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One address: scheme and host.
    Network(String),
    /// The filters answer.
    Shunt,
    /// The changed request is routed again.
    Loopback,
    /// The filters decide on the address.
    Dynamic,
    /// The address given to the whole gateway; all filters are removed.
    Forward,
    /// One of many addresses.
    Balanced {
        /// How one is chosen.
        algorithm: Algorithm,
        /// At least one, all of one scheme.
        endpoints: Vec<Endpoint>,
    },
}

/// How a balanced backend chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// None was written; the default (round robin) serves.
    #[default]
    Unset,
    /// The one written, checked when the table is built.
    Named(String),
}

/// One address of a balanced backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As written, without the zone query.
    pub address: String,
    /// The value of the `zone` query, if there was one.
    pub zone: Option<String>,
}

impl Default for Backend {
    fn default() -> Self {
        Backend::Network(String::new())
    }
}

impl Call {
    /// A call that did not come from a text.
    pub fn new(name: impl Into<String>, args: impl IntoIterator<Item = Arg>) -> Self {
        Self { name: name.into(), args: args.into_iter().collect(), ..Self::default() }
    }

    /// Where an argument stands in the source, or else the name.
    pub fn arg_span(&self, index: usize) -> Span {
        self.arg_spans.get(index).unwrap_or(&self.span).clone()
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::Text(text.to_owned())
    }
}

impl From<f64> for Arg {
    fn from(number: f64) -> Self {
        Arg::Number(number)
    }
}

impl Algorithm {
    /// The name, if one was written.
    pub fn name(&self) -> Option<&str> {
        match self {
            Algorithm::Named(name) => Some(name),
            Algorithm::Unset => None,
        }
    }
}

impl Arg {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Arg::Text(text) => Some(text),
            Arg::Number(_) => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Arg::Number(number) => Some(*number),
            Arg::Text(_) => None,
        }
    }
}
