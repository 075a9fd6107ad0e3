//! Up to which global position everything is settled: a message that everybody sees, or none for ever. Readers in
//! the order of global positions go no further, so that they skip nothing.
//!
//! Global positions come from a sequence, and a transaction that took 5 may commit after one that took 6: who reads
//! 6 and moves on has skipped 5 for ever. Who may still fill a gap shows in the server's locks: a transaction
//! that inserts holds `RowExclusiveLock` on the table from before it takes a position until after what it did is
//! visible or gone. It is so for every writer, whatever client it is, and none of them has to help.
//!
//! A look asks, each question after the answer to the one before: (1) for the last position that the sequence
//! gave, (2) for the transactions that hold the lock, (3) for the positions that are seen. Then of a position up to
//! (1) that is not seen: whoever took it did so before (1), so held the lock before (1). If that transaction does
//! not hold it in (2), it had ended before (3), and its message would be seen: the position is empty for ever.
//! Otherwise it is one of those in (2), and the gap stays open until all of them have gone.
//!
//! Never beyond the last message that is seen: that one was made durable, and the sequence with it, so that not
//! even a server that crashes gives a settled position again. The sequence must not be cached by sessions
//! (`CACHE 1`, as Message DB has it), and a position must come from it in the statement that inserts.

use std::collections::BTreeSet;

/// What one look at the database showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The last position that the sequence gave.
    pub(super) given: i64,
    /// The transactions that may be inserting, by the server's names for them.
    pub(super) inserting: BTreeSet<String>,
    /// Whether one of them is prepared for two-phase commit. It has another name from then on.
    pub(super) prepared: bool,
    /// The last position that was seen, out of those up to `given`; `None` where none was behind the settled.
    pub(super) seen: Option<i64>,
    /// Ranges in between that were not seen, ends included, in their order.
    pub(super) gaps: Vec<(i64, i64)>,
}

/// Up to where everything is settled, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    position: i64,
    gaps: Vec<Gap>,
}

/// Positions that nobody sees, and the transactions that may fill them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    first: i64,
    last: i64,
    inserting: BTreeSet<String>,
}

impl Settled {
    /// Everything up to here, as somebody else found out.
    pub(super) fn at(position: i64) -> Self {
        Self { position, gaps: Vec::new() }
    }

    /// Up to here.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether somebody may still fill a gap that holds others up.
    pub(super) fn waits(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Takes a look into account.
    pub(super) fn look(&mut self, look: &Look) {
        if look.given < self.position {
            // Somebody emptied the table and began again.
            *self = Self::default();
            return;
        }
        let Some(seen) = look.seen else { return };
        let known = std::mem::take(&mut self.gaps);
        let open = look.gaps.iter().filter_map(|&(first, last)| {
            let older = known.iter().find(|gap| gap.first <= first && last <= gap.last);
            // A prepared transaction may be any of those that were there before, under another name.
            let inserting = match older {
                Some(gap) if !look.prepared => gap.inserting.intersection(&look.inserting).cloned().collect(),
                Some(gap) => gap.inserting.clone(),
                None => look.inserting.clone(),
            };
            (!inserting.is_empty()).then_some(Gap { first, last, inserting })
        });
        self.gaps = open.collect();
        self.position = self.gaps.first().map_or(seen, |gap| gap.first - 1).max(self.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(given: i64, inserting: &[&str], seen: i64, gaps: &[(i64, i64)]) -> Look {
        let inserting = inserting.iter().map(|&name| name.to_owned()).collect();
        Look { given, inserting, prepared: false, seen: Some(seen), gaps: gaps.to_vec() }
    }

    fn check(looks: &[Look], expected: &[i64]) {
        let mut settled = Settled::default();
        let positions: Vec<i64> = looks
            .iter()
            .map(|look| {
                settled.look(look);
                settled.position()
            })
            .collect();
        assert_eq!(positions, expected);
    }

    #[test]
    fn a_gap_holds_up_while_who_may_fill_it_is_there() {
        check(
            &[
                look(6, &["a"], 6, &[(5, 5)]),
                // Others come and go; they took later positions.
                look(9, &["a", "b"], 8, &[(5, 5), (7, 7)]),
                look(9, &["b"], 8, &[(5, 5), (7, 7)]),
                look(9, &[], 9, &[(5, 5), (7, 7)]),
            ],
            &[4, 4, 6, 9],
        );
    }

    #[test]
    fn a_gap_that_is_filled_or_that_nobody_can_fill_is_passed() {
        check(&[look(6, &["a"], 6, &[(5, 5)]), look(6, &["b"], 6, &[])], &[4, 6]);
        check(&[look(6, &[], 6, &[(1, 1), (5, 5)])], &[6]);
    }

    #[test]
    fn a_gap_is_filled_piece_by_piece() {
        check(
            &[
                look(9, &["a", "b"], 9, &[(2, 8)]),
                look(9, &["a"], 9, &[(2, 4), (6, 8)]),
                look(9, &[], 9, &[(6, 8)]),
            ],
            &[1, 1, 9],
        );
    }

    #[test]
    fn what_was_given_and_not_seen_is_not_passed() {
        check(&[look(9, &[], 7, &[])], &[7]);
        let mut settled = Settled::at(7);
        settled.look(&Look { given: 9, ..Look::default() });
        assert_eq!(settled.position(), 7);
    }

    #[test]
    fn a_transaction_that_is_prepared_may_be_any_of_those_before() {
        let prepared = Look { prepared: true, ..look(6, &["-1/7"], 6, &[(5, 5)]) };
        check(&[look(6, &["a"], 6, &[(5, 5)]), prepared, look(6, &[], 6, &[])], &[4, 4, 6]);
    }

    #[test]
    fn a_table_that_was_emptied_begins_again() {
        check(&[look(6, &[], 6, &[]), look(2, &[], 2, &[]), look(2, &["a"], 2, &[(1, 1)])], &[6, 0, 0]);
    }
}
