//! From the instances a service has to those it shall have, one step at a time. Pure; `engine` acts on it.
//!
//! A generation is one definition of the service: every change that a process would notice makes a new one.

/// What a service shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) generation: u64,
    pub(crate) replicas: u32,
    /// A new instance proves itself healthy before the old one of its slot stops. Only where each has a
    /// port of its own.
    pub(crate) start_first: bool,
    /// Whether the generation can be started yet: it is built.
    pub(crate) startable: bool,
}

/// An instance the service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    /// Which of the replicas it is, from 1.
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) phase: Phase,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves, or its work is done.
    Ready,
    /// Not yet, or no longer.
    NotReady,
    /// It was asked to stop and is still there.
    Stopping,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start an instance of the wished generation.
    Start { slot: u32 },
    /// Ask this one to stop.
    Stop { id: u64 },
}

/// The steps that bring what is seen nearer to the wish; none when it is fulfilled or something must happen
/// first. `None` wishes for no instances at all.
pub(crate) fn steps(wish: Option<Wish>, seen: &[Seen]) -> Vec<Step> {
    let there = |one: &&Seen| one.phase != Phase::Stopping;
    let Some(wish) = wish else {
        return seen.iter().filter(there).map(|one| Step::Stop { id: one.id }).collect();
    };
    let is_new = |one: &Seen| one.generation == wish.generation;
    let mut steps = Vec::new();
    // One slot at a time has both an old and a new instance.
    let mut rolling = (1..=wish.replicas).any(|slot| {
        let mut of_slot = seen.iter().filter(|one| one.slot == slot);
        of_slot.clone().any(is_new) && of_slot.any(|one| !is_new(one))
    });
    for one in seen.iter().filter(there) {
        let useless =
            one.slot > wish.replicas || (wish.startable && !is_new(one) && one.phase == Phase::NotReady);
        let replaced = !is_new(one)
            && seen
                .iter()
                .any(|other| other.slot == one.slot && is_new(other) && other.phase == Phase::Ready);
        if useless || replaced {
            steps.push(Step::Stop { id: one.id });
        }
    }
    if !wish.startable {
        return steps;
    }
    for slot in 1..=wish.replicas {
        let mut of_slot = seen.iter().filter(|one| one.slot == slot);
        if of_slot.clone().any(|one| is_new(one) && one.phase != Phase::Stopping) {
            continue;
        }
        let old_ready = of_slot.clone().find(|one| one.phase == Phase::Ready);
        match (old_ready, of_slot.next().is_some()) {
            // Nobody is in the way.
            (None, false) => steps.push(Step::Start { slot }),
            // Whoever is in the way does not serve: start beside it where both can be, otherwise after it.
            (None, true) if wish.start_first => steps.push(Step::Start { slot }),
            (None, true) => {}
            (Some(_), _) if rolling => {}
            (Some(old), _) => {
                rolling = true;
                steps.push(if wish.start_first { Step::Start { slot } } else { Step::Stop { id: old.id } });
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    /// Instances as `slot.generation` with `+` ready, `-` not ready, `x` stopping; their ids count from 0.
    fn read(text: &str) -> Vec<Seen> {
        text.split_whitespace()
            .enumerate()
            .map(|(id, word)| {
                let (slot, rest) = word.split_once('.').expect("slot.generation");
                let (generation, phase) = rest.split_at(rest.len() - 1);
                let phase = match phase {
                    "+" => Phase::Ready,
                    "-" => Phase::NotReady,
                    _ => Phase::Stopping,
                };
                Seen {
                    id: id as u64,
                    slot: slot.parse().expect("a slot"),
                    generation: generation.parse().expect("a generation"),
                    phase,
                }
            })
            .collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a call reads as a sentence")]
    #[track_caller]
    fn check(wish: Wish, seen: &str, expected: Expect) {
        expected.assert_eq(&format!("{:?}", steps(Some(wish), &read(seen))));
    }

    const ROLL: Wish = Wish { generation: 2, replicas: 2, start_first: true, startable: true };
    const SWAP: Wish = Wish { replicas: 1, start_first: false, ..ROLL };

    #[test]
    fn from_nothing_all_start_at_once() {
        check(ROLL, "", expect!["[Start { slot: 1 }, Start { slot: 2 }]"]);
    }

    #[test]
    fn replicas_roll_one_at_a_time_new_before_old() {
        check(ROLL, "1.1+ 2.1+", expect!["[Start { slot: 1 }]"]);
        check(ROLL, "1.1+ 2.1+ 1.2-", expect!["[]"]);
        check(ROLL, "1.1+ 2.1+ 1.2+", expect!["[Stop { id: 0 }]"]);
        check(ROLL, "1.1x 2.1+ 1.2+", expect!["[]"]);
        check(ROLL, "2.1+ 1.2+", expect!["[Start { slot: 2 }]"]);
        check(ROLL, "1.2+ 2.2+", expect!["[]"]);
    }

    #[test]
    fn a_fixed_port_is_left_before_it_is_taken() {
        check(SWAP, "1.1+", expect!["[Stop { id: 0 }]"]);
        check(SWAP, "1.1x", expect!["[]"]);
        check(SWAP, "", expect!["[Start { slot: 1 }]"]);
    }

    #[test]
    fn until_it_is_built_the_old_one_serves_on() {
        check(Wish { startable: false, ..SWAP }, "1.1+", expect!["[]"]);
        check(Wish { startable: false, ..ROLL }, "1.1+ 2.1-", expect!["[]"]);
    }

    #[test]
    fn an_old_one_that_does_not_serve_is_replaced_at_once() {
        check(ROLL, "1.1- 2.1+", expect!["[Stop { id: 0 }, Start { slot: 1 }, Start { slot: 2 }]"]);
        check(SWAP, "1.1-", expect!["[Stop { id: 0 }]"]);
    }

    #[test]
    fn fewer_replicas_stop_the_last_ones() {
        check(Wish { replicas: 1, ..ROLL }, "1.2+ 2.2+ 3.2-", expect!["[Stop { id: 1 }, Stop { id: 2 }]"]);
    }

    proptest! {
        /// Whatever there is in the beginning: if new instances become healthy, the wish is fulfilled in
        /// bounded time; with `start_first` no slot that served ever stops serving on the way.
        #[test]
        fn every_rollout_ends_and_keeps_serving(
            slots in proptest::collection::vec((1u32..5, 1u64..3, 0u8..3), 0..8),
            replicas in 1u32..5,
            start_first in any::<bool>(),
        ) {
            let wish = Wish { generation: 2, replicas, start_first, startable: true };
            let mut seen: Vec<Seen> = Vec::new();
            for (slot, generation, phase) in slots {
                // The world has at most one of a slot and generation that is not stopping.
                let phase = [Phase::Ready, Phase::NotReady, Phase::Stopping][usize::from(phase)];
                if !seen.iter().any(|one| (one.slot, one.generation) == (slot, generation)) {
                    seen.push(Seen { id: seen.len() as u64, slot, generation, phase });
                }
            }
            let mut next_id = 100;
            let served: Vec<u32> =
                seen.iter().filter(|one| one.phase == Phase::Ready).map(|one| one.slot).collect();
            for _ in 0..50 {
                for step in steps(Some(wish), &seen) {
                    match step {
                        Step::Start { slot } => {
                            let twin = seen.iter().any(|one| {
                                one.slot == slot && one.generation == 2 && one.phase != Phase::Stopping
                            });
                            prop_assert!(!twin, "never two of one slot and generation");
                            prop_assert!(start_first || !seen.iter().any(|one| one.slot == slot));
                            seen.push(Seen { id: next_id, slot, generation: 2, phase: Phase::NotReady });
                            next_id += 1;
                        }
                        Step::Stop { id } => {
                            for one in seen.iter_mut().filter(|one| one.id == id) {
                                one.phase = Phase::Stopping;
                            }
                        }
                    }
                    if start_first {
                        for slot in served.iter().filter(|slot| **slot <= replicas) {
                            prop_assert!(
                                seen.iter().any(|one| one.slot == *slot && one.phase == Phase::Ready)
                            );
                        }
                    }
                }
                // The world moves on: what stops is gone, what is new becomes healthy.
                seen.retain(|one| one.phase != Phase::Stopping);
                for one in seen.iter_mut().filter(|one| one.generation == 2) {
                    one.phase = Phase::Ready;
                }
            }
            let mut ends: Vec<(u32, u64)> = seen.iter().map(|one| (one.slot, one.generation)).collect();
            ends.sort_unstable();
            prop_assert_eq!(ends, (1..=replicas).map(|slot| (slot, 2)).collect::<Vec<_>>());
        }
    }
}
