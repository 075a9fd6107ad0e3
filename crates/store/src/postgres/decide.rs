//! What becomes of calls of append that go into one transaction: pure, given how the streams stand while their
//! categories are locked. A call that is refused leaves nothing for those behind it.

use crate::{Append, AppendError, Appended, Uuid};
use std::collections::{HashMap, HashSet};

/// A message that is there, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) stream: String,
    pub(super) position: i64,
    pub(super) global_position: i64,
    pub(super) time: i64,
}

/// How things stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Of each stream the position of its last message, -1 for none.
    pub(super) versions: HashMap<String, i64>,
    /// The messages of the calls that are there already.
    pub(super) kept: HashMap<Uuid, Kept>,
}

/// What becomes of one call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is written: of each append the position of its first message.
    Write(Vec<i64>),
    /// It was written by an attempt that nobody heard the end of.
    Kept(Vec<Appended>),
    /// Nothing of it is written.
    Refuse(AppendError),
}

/// Decides for each call in turn. `tried` says that an attempt before may have kept it.
pub(super) fn decide<'a>(
    calls: impl Iterator<Item = (&'a [Append], bool)>,
    standing: &mut Standing,
) -> Vec<Verdict> {
    let mut ids = HashSet::new();
    calls
        .map(|(appends, tried)| match tried.then(|| found(appends, standing)).flatten() {
            Some(appended) => Verdict::Kept(appended),
            None => write(appends, standing, &mut ids),
        })
        .collect()
}

/// Where an attempt before kept the messages of a call; `None` where it did not.
fn found(appends: &[Append], standing: &Standing) -> Option<Vec<Appended>> {
    let one = |append: &Append| {
        let places = append.messages.iter().map(|message| standing.kept.get(&message.id));
        let places: Option<Vec<&Kept>> = places.collect();
        let places = places?;
        let (first, last) = (places.first()?, places.last()?);
        places.iter().all(|kept| kept.stream == append.stream).then_some(Appended {
            first_position: first.position,
            last_position: last.position,
            first_global_position: first.global_position,
            last_global_position: last.global_position,
            time: last.time,
        })
    };
    appends.iter().map(one).collect()
}

fn write(appends: &[Append], standing: &mut Standing, taken: &mut HashSet<Uuid>) -> Verdict {
    let mut versions: HashMap<&str, i64> = HashMap::new();
    let (mut firsts, mut ids) = (Vec::with_capacity(appends.len()), HashSet::new());
    for append in appends {
        let before = || standing.versions.get(&append.stream).copied().unwrap_or(-1);
        let version = versions.entry(&append.stream).or_insert_with(before);
        if let Some(expected) = append.expected_version.filter(|expected| expected != version) {
            let stream = append.stream.clone();
            return Verdict::Refuse(AppendError::WrongVersion { stream, expected, actual: *version });
        }
        firsts.push(*version + 1);
        *version += append.messages.len() as i64;
        for message in &append.messages {
            let is_new = !standing.kept.contains_key(&message.id) && !taken.contains(&message.id);
            if !is_new || !ids.insert(message.id) {
                return Verdict::Refuse(AppendError::DuplicateId { id: message.id });
            }
        }
    }
    taken.extend(ids);
    standing.versions.extend(versions.into_iter().map(|(stream, version)| (stream.to_owned(), version)));
    Verdict::Write(firsts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewMessage;
    use expect_test::{Expect, expect};

    fn append(stream: &str, expected_version: Option<i64>, ids: &[u128]) -> Append {
        let message =
            |&id: &u128| NewMessage { id: Uuid::from_u128(id), kind: "T".into(), data: None, metadata: None };
        Append { stream: stream.into(), expected_version, messages: ids.iter().map(message).collect() }
    }

    fn check(calls: &[(Vec<Append>, bool)], expected: Expect) {
        let kept = Kept { stream: "a-1".into(), position: 4, global_position: 9, time: 1 };
        let mut standing = Standing {
            versions: HashMap::from([("a-1".into(), 4)]),
            kept: HashMap::from([(Uuid::from_u128(9), kept)]),
        };
        let calls = calls.iter().map(|(appends, tried)| (appends.as_slice(), *tried));
        let verdicts = decide(calls, &mut standing).into_iter().map(|verdict| match verdict {
            Verdict::Write(firsts) => format!("write at {firsts:?}\n"),
            Verdict::Kept(appended) => format!("kept at {}\n", appended[0].first_position),
            Verdict::Refuse(error) => format!("{error}\n"),
        });
        expected.assert_eq(&verdicts.collect::<String>());
    }

    #[test]
    fn calls_stand_behind_each_other_and_who_is_refused_leaves_nothing() {
        check(
            &[
                (vec![append("a-1", Some(4), &[1]), append("a-1", Some(5), &[2, 3])], false),
                (vec![append("a-1", None, &[4]), append("a-2", Some(0), &[5])], false),
                (vec![append("a-1", Some(7), &[4]), append("a-2", Some(-1), &[5])], false),
            ],
            expect![[r#"
                write at [5, 6]
                stream `a-2` is at version `-1`, expected was `0`
                write at [8, 0]
            "#]],
        );
    }

    #[test]
    fn an_id_goes_once() {
        check(
            &[
                (vec![append("a-1", None, &[1, 1])], false),
                (vec![append("a-1", None, &[1])], false),
                (vec![append("a-1", None, &[1])], false),
                (vec![append("a-1", None, &[9])], false),
            ],
            expect![[r#"
                a message of id `00000000-0000-0000-0000-000000000001` is there already
                write at [5]
                a message of id `00000000-0000-0000-0000-000000000001` is there already
                a message of id `00000000-0000-0000-0000-000000000009` is there already
            "#]],
        );
    }

    #[test]
    fn what_an_attempt_before_kept_is_found() {
        check(
            &[(vec![append("a-1", Some(3), &[9])], true), (vec![append("a-1", Some(4), &[1])], true)],
            expect![[r#"
                kept at 4
                write at [5]
            "#]],
        );
    }
}
