//! How consumers come to be, change and go: by the API one by one, by a manifest all together. Their positions are
//! made with them, so that where a consumer begins is decided once.

use super::definition::{Definition, bounds, check_name};
use super::records::{self, Kept, Place, Source};
use super::{Shared, lease, lock, moves};
use base::{Fault, Kind};

/// Tries to change what somebody else changes at the same time.
const TRIES_MAX: usize = 20;

/// A consumer of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What it does.
    pub definition: Definition,
    /// The only share that this node takes; `None` for its even part.
    pub member: Option<u16>,
}

pub(super) async fn declare(shared: &Shared, list: Vec<Declared>) -> Result<(), Fault> {
    let members = list.iter().filter_map(|one| Some((one.name.clone(), one.member?))).collect();
    *lock(&shared.members) = members;
    let names: Vec<String> = list.iter().map(|one| one.name.clone()).collect();
    for one in list {
        put(shared, &one.name, one.definition, Source::Manifest).await?;
    }
    let before = std::mem::replace(&mut *lock(&shared.declared), names.clone());
    for kept in records::all(&shared.state).await? {
        // Of several nodes, each may have another manifest: then only what this one declared is its to take back.
        let was_ours = shared.is_alone || before.contains(&kept.name);
        if kept.source == Source::Manifest && was_ours && !names.contains(&kept.name) {
            records::forget(&shared.state, &kept, false).await?;
        }
    }
    shared.changed.notify_one();
    Ok(())
}

pub(super) async fn put(
    shared: &Shared,
    name: &str,
    definition: Definition,
    source: Source,
) -> Result<bool, Fault> {
    check_name(name)?;
    definition.check()?;
    for _ in 0..TRIES_MAX {
        let before = records::one(&shared.state, name).await?;
        if let Some(before) = &before {
            refuse_others(before, source)?;
            if before.definition == definition && before.source == source {
                return Ok(false);
            }
        } else if records::all(&shared.state).await?.len() >= bounds::CONSUMERS_MAX {
            let text = format!("there are `{}` consumers already", bounds::CONSUMERS_MAX);
            return Err(Fault::new(Kind::TooMuch, text).retry(base::Retry::No));
        }
        let places = records::places(&shared.state, name).await?;
        let size = definition.size;
        let new_places = if places.is_empty() {
            let position = moves::resolve(&shared.store, &definition.category, definition.start).await?;
            // Another of this name may have been here, and removed.
            let redo_until = shared.store.head().await?.saturating_add(1);
            Some(vec![Place { redo_until, ..Place::at(position) }; size.into()])
        } else if places.len() == usize::from(size) {
            None
        } else {
            Some(dealt_anew(shared, &places, size).await?)
        };
        let kept = Kept {
            name: name.to_owned(),
            definition: definition.clone(),
            source,
            paused: before.as_ref().is_some_and(|before| before.paused),
            etag: before.as_ref().map_or(0, |before| before.etag),
        };
        if records::put(&shared.state, &kept, new_places.as_deref(), places.len() as u16).await? {
            shared.nudge(name);
            return Ok(true);
        }
    }
    Err(records::busy(name))
}

/// The places of another number of shares: each begins where the furthest behind is.
async fn dealt_anew(shared: &Shared, places: &[Place], size: u16) -> Result<Vec<Place>, Fault> {
    let position = places.iter().map(|place| place.progress.position).min().unwrap_or(0);
    let reach = places.iter().map(|place| place.reach).max().unwrap_or(position + 1);
    let redo_until = places.iter().map(|place| place.redo_until).max().unwrap_or(0);
    let is_alone = records::alive(&shared.state).await?.len() <= 1;
    // A stream may move to another node, and its former one has to notice first.
    let rest = if is_alone { 0 } else { (lease::HOLD + lease::RENEW * 2).as_micros() as u64 };
    let rest_until = i64::try_from(shared.clock.unix().micros() + rest).unwrap_or(i64::MAX);
    Ok(vec![Place { reach, redo_until, rest_until, ..Place::at(position) }; size.into()])
}

/// What is in a manifest is changed there only.
pub(super) fn refuse_others(kept: &Kept, source: Source) -> Result<(), Fault> {
    if kept.source == Source::Manifest && source == Source::Api {
        let text = format!("consumer `{}` is declared in the manifest", kept.name);
        return Err(Fault::new(Kind::Conflict, text).hint("change it there"));
    }
    Ok(())
}

pub(super) async fn set_paused(shared: &Shared, name: &str, paused: bool) -> Result<(), Fault> {
    for _ in 0..TRIES_MAX {
        let kept = shared.kept(name).await?;
        if kept.paused == paused {
            return Ok(());
        }
        if records::put(&shared.state, &Kept { paused, ..kept }, None, 0).await? {
            shared.nudge(name);
            return Ok(());
        }
    }
    Err(records::busy(name))
}
