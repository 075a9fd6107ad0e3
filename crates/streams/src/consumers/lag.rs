//! How far a consumer is behind: counted where that is soon done, otherwise estimated by the distance to the last
//! message of its category.

use super::Shared;
use super::definition::Definition;
use super::records::Place;
use base::Fault;
use std::time::Duration;
use store::Read;

/// Messages of a share that are counted before the lag is estimated.
pub(super) const COUNT_MAX: usize = 1_000;
/// The same, in a list of many consumers.
pub(super) const LIST_COUNT_MAX: usize = 100;
/// Shares of a group that is still counted.
const SHARES_COUNTED_MAX: usize = 16;

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lag {
    /// Messages not handled.
    pub messages: u64,
    /// Whether they were counted. Otherwise it is the distance of global positions from the consumer's to that of the
    /// last message of its category, in which messages of other categories count, too.
    pub is_exact: bool,
    /// The age of the oldest message not handled, where the lag was counted.
    pub age: Option<Duration>,
}

pub(super) async fn of(
    shared: &Shared,
    definition: &Definition,
    places: &[Place],
    count_max: usize,
) -> Result<Lag, Fault> {
    let last = shared.store.read(Read::category(definition.category.as_str()).backward().limit(1)).await?;
    let last = last.messages.first().map_or(0, |message| message.global_position);
    let position = places.iter().map(|place| place.progress.position).min().unwrap_or(0);
    let far = u64::try_from(last - position).unwrap_or(0);
    if far == 0 {
        return Ok(Lag { is_exact: true, ..Lag::default() });
    }
    let estimate = Lag { messages: far, is_exact: false, age: None };
    if places.len() > SHARES_COUNTED_MAX {
        return Ok(estimate);
    }
    let (mut messages, mut oldest) = (0, None::<(i64, i64)>);
    for (place, number) in places.iter().zip(0..) {
        let read = definition.read(number).limit(count_max);
        let page = shared.store.read(read.clone().from(place.progress.frontier)).await?;
        if page.more {
            return Ok(estimate);
        }
        messages += place.progress.pending.len() as u64;
        messages += page.messages.iter().filter(|message| definition.wants(message)).count() as u64;
        let first = match place.progress.pending.first() {
            Some(first) => shared.store.read(read.from(*first).limit(1)).await?.messages,
            None => page.messages.into_iter().filter(|message| definition.wants(message)).take(1).collect(),
        };
        let first = first.first().map(|message| (message.global_position, message.time));
        oldest = [oldest, first].into_iter().flatten().min();
    }
    let now = i64::try_from(shared.clock.unix().micros()).unwrap_or(i64::MAX);
    let age = oldest.map(|(_, time)| Duration::from_micros(u64::try_from(now - time).unwrap_or(0)));
    Ok(Lag { messages, is_exact: true, age })
}
