//! The spans of a trace as they were reported, made one of each: reports in pieces are put together, and what some
//! instrumentation leaves out (the shared flag, the parent of a shared span) is filled from the other side.

use super::{Endpoint, Kind, Span};

/// What tells pieces of one span from another, of a span or of what is left of it.
pub(super) trait Piece {
    fn id(&self) -> u64;
    fn parent(&self) -> u64;
    fn set_parent(&mut self, parent: u64);
    fn kind(&self) -> Option<Kind>;
    fn shared(&self) -> bool;
    fn set_shared(&mut self);
    /// Whether both may be the same place.
    fn may_be_at(&self, other: &Self) -> bool;
    fn merge(&mut self, other: Self);
}

/// Pieces of one id that another may belong to: those that were kept last.
const ALIKE_MAX: usize = 64;

/// One of each span, the side of the client before that of the server; otherwise as they came.
pub(super) fn merge_pieces<P: Piece>(mut pieces: Vec<P>) -> Vec<P> {
    pieces.sort_by_key(|piece| (piece.id(), piece.shared(), is_server(piece)));
    let mut kept: Vec<P> = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        let alike = kept.iter().rev().take(ALIKE_MAX).take_while(|before| before.id() == piece.id()).count();
        let alike = kept.len() - alike;
        let Some(last) = kept[alike..].last() else {
            kept.push(piece);
            continue;
        };
        // Not all servers say that they share the id of their client.
        if is_server(&piece) && !piece.shared() && (last.kind() == Some(Kind::Client) || last.shared()) {
            piece.set_shared();
        }
        if piece.parent() == 0 {
            piece.set_parent(last.parent());
        }
        let same = |before: &&mut P| before.shared() == piece.shared() && before.may_be_at(&piece);
        match kept[alike..].iter_mut().find(same) {
            Some(same) => same.merge(piece),
            None => kept.push(piece),
        }
    }
    kept
}

fn is_server<P: Piece>(piece: &P) -> bool {
    piece.kind() == Some(Kind::Server)
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
    fn id(&self) -> u64 {
        self.id
    }

    fn parent(&self) -> u64 {
        self.parent
    }

    fn set_parent(&mut self, parent: u64) {
        self.parent = parent;
    }

    fn kind(&self) -> Option<Kind> {
        self.kind
    }

    fn shared(&self) -> bool {
        self.shared
    }

    fn set_shared(&mut self) {
        self.shared = true;
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

    fn merge(&mut self, other: Self) {
        Span::merge(self, other);
    }
}
