//! Setting consumers back and forward. A position is moved in the state, wherever the share's node is; that node
//! notices by the etag, breaks off what is under way and goes on from there.

use super::Shared;
use super::definition::Start;
use super::records::{self, Place};
use super::window::Progress;
use base::{Fault, Kind};
use store::{Read, Store};

/// What a consumer is to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Everything that there is now.
    ToEnd,
    /// Everything up to this global position, itself included.
    To(i64),
    /// The message at this global position only, which has to be one that holds up its stream.
    Message(i64),
}

/// Up to where everything counts as handled, for who begins there.
pub(super) async fn resolve(store: &Store, category: &str, start: Start) -> Result<i64, Fault> {
    match start {
        Start::Beginning => Ok(0),
        Start::End => {
            let last = store.read(Read::category(category).backward().limit(1)).await?;
            Ok(last.messages.first().map_or(0, |message| message.global_position))
        }
        Start::Position(position) => Ok(position.saturating_sub(1).max(0)),
        Start::Time(time) => {
            let mut read = Read::category(category).backward().as_at(time.saturating_sub(1)).limit(1);
            loop {
                let page = store.read(read.clone()).await?;
                if let Some(message) = page.messages.first() {
                    return Ok(message.global_position);
                }
                if !page.more {
                    return Ok(0);
                }
                read.from = page.next;
            }
        }
    }
}

pub(super) async fn replay(shared: &Shared, name: &str, from: Start) -> Result<(), Fault> {
    let kept = shared.kept(name).await?;
    let position = resolve(&shared.store, &kept.definition.category, from).await?;
    let behind_all = shared.store.head().await?.saturating_add(1);
    for share in 0..kept.definition.size {
        let set = |before: Place| {
            let redo_until = before.redo_until.max(before.reach.min(behind_all));
            Ok(Place { redo_until, rest_until: before.rest_until, ..Place::at(position) })
        };
        records::edit(&shared.state, name, share, set).await?;
    }
    shared.nudge(name);
    Ok(())
}

pub(super) async fn skip(shared: &Shared, name: &str, skip: Skip) -> Result<(), Fault> {
    let kept = shared.kept(name).await?;
    let to = match skip {
        Skip::ToEnd => resolve(&shared.store, &kept.definition.category, Start::End).await?,
        Skip::To(position) => position,
        Skip::Message(position) => return skip_message(shared, name, kept.definition.size, position).await,
    };
    for share in 0..kept.definition.size {
        let set = |place: Place| Ok(Place { progress: behind(&place.progress, to), ..place });
        records::edit(&shared.state, name, share, set).await?;
    }
    shared.nudge(name);
    Ok(())
}

async fn skip_message(shared: &Shared, name: &str, size: u16, position: i64) -> Result<(), Fault> {
    let mut found = false;
    for share in 0..size {
        let Some((place, _)) = records::place(&shared.state, name, share).await? else { continue };
        if place.progress.pending.binary_search(&position).is_err() {
            continue;
        }
        found = true;
        let set = |place: Place| Ok(Place { progress: without(&place.progress, position), ..place });
        records::edit(&shared.state, name, share, set).await?;
    }
    if !found {
        let text = format!("no message at `{position}` waits for consumer `{name}`");
        return Err(Fault::new(Kind::NotFound, text)
            .hint("only a message that was read and is not handled can be left out by itself"));
    }
    shared.nudge(name);
    Ok(())
}

/// Progress with everything up to there handled.
fn behind(progress: &Progress, to: i64) -> Progress {
    let pending: Vec<i64> = progress.pending.iter().copied().filter(|position| *position > to).collect();
    settled(pending, progress.frontier.max(to.saturating_add(1)))
}

/// Progress with one message handled.
fn without(progress: &Progress, message: i64) -> Progress {
    let pending = progress.pending.iter().copied().filter(|position| *position != message).collect();
    settled(pending, progress.frontier)
}

fn settled(pending: Vec<i64>, frontier: i64) -> Progress {
    let position = pending.first().map_or(frontier, |first| *first) - 1;
    Progress { position, frontier, pending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_handled_and_the_rest_is_not() {
        let progress = Progress { position: 10, frontier: 20, pending: vec![11, 15, 18] };
        let shown = |progress: Progress| (progress.position, progress.frontier, progress.pending);
        assert_eq!(shown(behind(&progress, 15)), (17, 20, vec![18]));
        assert_eq!(shown(behind(&progress, 30)), (30, 31, vec![]));
        assert_eq!(shown(behind(&progress, 5)), (10, 20, vec![11, 15, 18]));
        assert_eq!(shown(without(&progress, 11)), (14, 20, vec![15, 18]));
        assert_eq!(shown(without(&progress, 15)), (10, 20, vec![11, 18]));
    }
}
