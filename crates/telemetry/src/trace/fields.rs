//! The fields that name a span to whoever is called: which of them there are, and their values, made without asking
//! for memory, since every request that is carried has some.

use super::{TRACEPARENT_BYTES, Told, TraceContext, b3};
use http::HeaderName;

static TRACEPARENT: HeaderName = super::TRACEPARENT;

/// The forms in which spans are named to others, beside those in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and the single `b3`.
    Both,
    /// `traceparent`.
    #[default]
    W3c,
    /// The single `b3`.
    B3,
    /// `X-B3-TraceId` and its kin.
    B3Multi,
}

/// The fields that name one span.
pub struct Fields {
    traceparent: Option<[u8; TRACEPARENT_BYTES]>,
    b3: ([u8; b3::BYTES_MAX], usize),
    single: bool,
    multi: bool,
}

/// Names and values of some fields.
pub struct List<'a> {
    fields: [(&'a HeaderName, &'a [u8]); FIELDS_MAX],
    count: usize,
}

/// As many as there can be: one of W3C, one of the single form of B3, four of the other.
const FIELDS_MAX: usize = 6;

impl Fields {
    pub(super) fn new(context: &TraceContext, told: Told, how: Propagation) -> Self {
        let single = told.b3 || matches!(how, Propagation::Both | Propagation::B3);
        let multi = told.b3_multi || how == Propagation::B3Multi;
        let w3c = told.parent || matches!(how, Propagation::Both | Propagation::W3c);
        Self {
            traceparent: w3c.then(|| context.traceparent()),
            b3: if single || multi { b3::single(context) } else { ([0; b3::BYTES_MAX], 0) },
            single,
            multi,
        }
    }

    /// Them, in the order in which they are written.
    pub fn list(&self) -> List<'_> {
        let mut list = List { fields: [(&TRACEPARENT, &[]); FIELDS_MAX], count: 0 };
        let (b3, length) = (&self.b3.0, self.b3.1);
        if let Some(traceparent) = &self.traceparent {
            list.push(&TRACEPARENT, traceparent);
        }
        if self.single {
            list.push(&b3::SINGLE, &b3[..length]);
        }
        if self.multi {
            list.push(&b3::TRACE, &b3[..32]);
            list.push(&b3::SPAN, &b3[33..49]);
            list.push(&b3::SAMPLED, &b3[50..51]);
            if length > 52 {
                list.push(&b3::PARENT, &b3[52..length]);
            }
        }
        list
    }
}

impl<'a> List<'a> {
    fn push(&mut self, name: &'a HeaderName, value: &'a [u8]) {
        self.fields[self.count] = (name, value);
        self.count += 1;
    }

    /// Them as a slice.
    pub fn as_slice(&self) -> &[(&'a HeaderName, &'a [u8])] {
        &self.fields[..self.count]
    }
}
