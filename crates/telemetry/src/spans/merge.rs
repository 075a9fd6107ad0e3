//! The spans of a trace as they were reported, made one of each: reports in pieces are put together, and what some
//! instrumentation leaves out (the shared flag, the parent of a shared span) is filled from the other side.

use super::{Endpoint, Kind, Span};

/// What tells pieces of one span from those of another.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) kind: Option<Kind>,
    pub(super) shared: bool,
}

impl Mark {
    fn is_server(self) -> bool {
        self.kind == Some(Kind::Server)
    }
}

/// A report of a span, or what is left of one.
pub(super) trait Piece {
    fn mark(&self) -> Mark;
    /// Fills in what the other side tells.
    fn complete(&mut self, parent: u64, shared: bool);
    /// Whether both may be the same place.
    fn may_be_at(&self, other: &Self) -> bool;
    /// Whether one service reports both.
    fn is_of_same_service(&self, other: &Self) -> bool;
    fn merge(&mut self, other: Self);
}

/// Pieces of one id that another may belong to: those that were kept last.
pub(super) const ALIKE_MAX: usize = 64;

/// One of each span, the side of the client before that of the server; otherwise as they came.
pub(super) fn merge_pieces<P: Piece>(mut pieces: Vec<P>) -> Vec<P> {
    pieces.sort_by_key(|piece| {
        let mark = piece.mark();
        (mark.id, mark.shared, mark.is_server())
    });
    let mut kept: Vec<P> = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        let mut mark = piece.mark();
        let alike =
            kept.iter().rev().take(ALIKE_MAX).take_while(|before| before.mark().id == mark.id).count();
        let alike = kept.len() - alike;
        let Some(last) = kept[alike..].last().map(P::mark) else {
            kept.push(piece);
            continue;
        };
        // Not all servers say that they share the id of their client.
        mark.shared |= mark.is_server() && (last.kind == Some(Kind::Client) || last.shared);
        if mark.parent == 0 {
            mark.parent = last.parent;
        }
        piece.complete(mark.parent, mark.shared);
        let same = |before: &&mut P| before.mark().shared == mark.shared && before.may_be_at(&piece);
        match kept[alike..].iter_mut().find(same) {
            Some(same) => same.merge(piece),
            None => kept.push(piece),
        }
    }
    kept
}

/// The spans of a trace, each once. The longest id of the trace becomes that of all.
pub fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    if spans.len() > 1 {
        let trace = spans.iter().map(|span| span.trace).max_by_key(|trace| trace.high != 0);
        for span in &mut spans {
            span.trace = trace.unwrap_or(span.trace);
        }
    }
    merge_pieces(spans)
}

impl Piece for Span {
    fn mark(&self) -> Mark {
        Mark { id: self.id, parent: self.parent, kind: self.kind, shared: self.shared }
    }

    fn complete(&mut self, parent: u64, shared: bool) {
        (self.parent, self.shared) = (parent, shared);
    }

    fn may_be_at(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        let (mine, theirs) = (&self.local, &other.local);
        let named = |endpoint: &Endpoint| (!endpoint.service.is_empty()).then(|| endpoint.service.clone());
        let port = |endpoint: &Endpoint| (endpoint.port != 0).then_some(endpoint.port);
        agree(named(mine), named(theirs))
            && agree(mine.ipv4, theirs.ipv4)
            && agree(mine.ipv6, theirs.ipv6)
            && agree(port(mine), port(theirs))
    }

    fn is_of_same_service(&self, other: &Self) -> bool {
        self.local.service == other.local.service
    }

    fn merge(&mut self, other: Self) {
        Span::merge(self, other);
    }
}
