//! What is kept of consumers in the small state: what each is asked to do, how far each share is, who lives. Names of
//! keys and forms of values are here and nowhere else.

use super::definition::Definition;
use super::window::Progress;
use base::{Fault, Kind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::State;
use store::state::{Change, ChangeError, Condition, Key};

/// The space of everything of consumers.
const SPACE: &str = "$consumers";
/// Tries to change a record that somebody else changes at the same time.
const TRIES_MAX: usize = 20;

/// Who wrote a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It is in a manifest.
    Manifest,
    /// Somebody put it through the API.
    Api,
}

/// A consumer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) definition: Definition,
    pub(super) source: Source,
    pub(super) paused: bool,
    pub(super) etag: i64,
}

#[derive(Serialize, Deserialize)]
struct KeptText {
    definition: serde_json::Value,
    source: Source,
    paused: bool,
}

/// How far a share is, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) progress: Progress,
    /// Nothing at this global position or behind it was ever given to a handler, since the share was last set back.
    pub(super) reach: i64,
    /// What was answered to messages before this global position may be from before the share was set back.
    pub(super) redo_until: i64,
    /// No delivery before this, in microseconds since the epoch: time for others to notice a change of shares.
    pub(super) rest_until: i64,
}

#[derive(Serialize, Deserialize)]
struct PlaceText {
    position: i64,
    frontier: i64,
    pending: Vec<i64>,
    reach: i64,
    #[serde(default)]
    redo_until: i64,
    #[serde(default)]
    rest_until: i64,
}

impl Place {
    /// Everything up to here is handled and nothing behind it.
    pub(super) fn at(position: i64) -> Self {
        Self { progress: Progress::at(position), reach: position + 1, redo_until: 0, rest_until: 0 }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let progress = &self.progress;
        let text = PlaceText {
            position: progress.position,
            frontier: progress.frontier,
            pending: progress.pending.clone(),
            reach: self.reach,
            redo_until: self.redo_until,
            rest_until: self.rest_until,
        };
        serde_json::to_vec(&text).expect("numbers are JSON")
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let text: PlaceText = serde_json::from_slice(bytes).map_err(|error| damaged("position", &error))?;
        let progress = Progress { position: text.position, frontier: text.frontier, pending: text.pending };
        let PlaceText { reach, redo_until, rest_until, .. } = text;
        Ok(Self { progress, reach, redo_until, rest_until })
    }
}

fn damaged(what: &str, error: &serde_json::Error) -> Fault {
    Fault::new(Kind::Bug, format!("the {what} of a consumer can't be read: {error}"))
}

fn definition_key(name: &str) -> Key {
    Key::new(SPACE, format!("definition/{name}"))
}

fn place_key(name: &str, share: u16) -> Key {
    Key::new(SPACE, format!("position/{name}/{share:03}"))
}

/// The key of a dead letter.
pub(super) fn dead_key(name: &str, global_position: i64) -> Key {
    Key::new(SPACE, format!("{}{global_position:019}", dead_prefix(name)))
}

/// The key of a dead letter that is to be tried again.
pub(super) fn again_key(name: &str, global_position: i64) -> Key {
    Key::new(SPACE, format!("{}{global_position:019}", again_prefix(name)))
}

pub(super) fn dead_prefix(name: &str) -> String {
    format!("dead/{name}/")
}

pub(super) fn again_prefix(name: &str) -> String {
    format!("again/{name}/")
}

/// The name of a share's lease.
pub(super) fn lease_name(name: &str, share: u16) -> String {
    format!("consumer {name} {share}")
}

/// The entries of consumers whose keys begin so.
pub(super) async fn entries(
    state: &State,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let entries = state.list(SPACE, prefix, after, limit).await?;
    Ok(entries.into_iter().map(|(key, value)| (key.key, value.bytes)).collect())
}

/// How many keys begin so, counted up to `limit`.
pub(super) async fn count(state: &State, prefix: &str, limit: usize) -> Result<usize, Fault> {
    state.count(SPACE, prefix, limit).await
}

fn read_kept(name: &str, value: &store::state::Value) -> Result<Kept, Fault> {
    let text: KeptText = serde_json::from_slice(&value.bytes).map_err(|error| damaged("settings", &error))?;
    let definition = Definition::from_json(text.definition.to_string().as_bytes())?;
    Ok(Kept { name: name.to_owned(), definition, source: text.source, paused: text.paused, etag: value.etag })
}

/// All consumers, in the order of their names.
pub(super) async fn all(state: &State) -> Result<Vec<Kept>, Fault> {
    let prefix = "definition/";
    let entries = state.list(SPACE, prefix, None, super::definition::bounds::CONSUMERS_MAX).await?;
    entries.iter().map(|(key, value)| read_kept(&key.key[prefix.len()..], value)).collect()
}

/// A consumer.
pub(super) async fn one(state: &State, name: &str) -> Result<Option<Kept>, Fault> {
    let value = state.get(definition_key(name)).await?;
    value.map(|value| read_kept(name, &value)).transpose()
}

/// Keeps a consumer as it was found or made, with these positions; its shares are those of the definition. Answers
/// whether nobody was faster.
pub(super) async fn put(
    state: &State,
    kept: &Kept,
    places: Option<&[Place]>,
    shares_before: u16,
) -> Result<bool, Fault> {
    let text = KeptText { definition: kept.definition.to_json(), source: kept.source, paused: kept.paused };
    let bytes = serde_json::to_vec(&text).expect("settings are JSON");
    let condition = if kept.etag == 0 { Condition::Absent } else { Condition::Etag(kept.etag) };
    let mut changes = vec![Change::set(definition_key(&kept.name), bytes).when(condition)];
    if let Some(places) = places {
        for (place, share) in places.iter().zip(0..) {
            changes.push(Change::set(place_key(&kept.name, share), place.to_bytes()));
        }
        for share in kept.definition.size..shares_before {
            changes.push(Change::delete(place_key(&kept.name, share)));
        }
    }
    applied(state.apply(changes).await)
}

/// Forgets a consumer; its positions too, unless it may come back.
pub(super) async fn forget(state: &State, kept: &Kept, positions: bool) -> Result<(), Fault> {
    let mut changes = vec![Change::delete(definition_key(&kept.name))];
    if positions {
        let shares = 0..kept.definition.size;
        changes.extend(shares.map(|share| Change::delete(place_key(&kept.name, share))));
    }
    state.apply(changes).await?;
    if !positions {
        return Ok(());
    }
    for prefix in [dead_prefix(&kept.name), again_prefix(&kept.name)] {
        loop {
            let keys = state.list(SPACE, &prefix, None, 500).await?;
            if keys.is_empty() {
                break;
            }
            state.apply(keys.into_iter().map(|(key, _)| Change::delete(key)).collect()).await?;
        }
    }
    Ok(())
}

/// How far a share is, and the etag of that.
pub(super) async fn place(state: &State, name: &str, share: u16) -> Result<Option<(Place, i64)>, Fault> {
    let value = state.get(place_key(name, share)).await?;
    value.map(|value| Ok((Place::from_bytes(&value.bytes)?, value.etag))).transpose()
}

/// How far the shares of a consumer are, those of a former size too.
pub(super) async fn places(state: &State, name: &str) -> Result<Vec<Place>, Fault> {
    let entries = state.list(SPACE, &format!("position/{name}/"), None, 1_000).await?;
    entries.iter().map(|(_, value)| Place::from_bytes(&value.bytes)).collect()
}

/// Moves a share, if it is where the etag says. Answers the new etag; `None` where it is not.
pub(super) async fn move_share(
    state: &State,
    name: &str,
    share: u16,
    place: &Place,
    etag: i64,
) -> Result<Option<i64>, Fault> {
    let change = Change::set(place_key(name, share), place.to_bytes()).when(Condition::Etag(etag));
    match state.apply(vec![change]).await {
        Ok(etags) => Ok(etags.first().copied()),
        Err(ChangeError::Conflict { .. }) => Ok(None),
        Err(ChangeError::Failed(fault)) => Err(fault),
    }
}

/// Moves a share wherever it is; who works on it notices by the etag.
pub(super) async fn edit(
    state: &State,
    name: &str,
    share: u16,
    change: impl Fn(Place) -> Result<Place, Fault>,
) -> Result<(), Fault> {
    for _ in 0..TRIES_MAX {
        let Some((before, etag)) = place(state, name, share).await? else { return Ok(()) };
        if move_share(state, name, share, &change(before)?, etag).await?.is_some() {
            return Ok(());
        }
    }
    Err(busy(name))
}

/// Somebody was faster, again and again.
pub(super) fn busy(name: &str) -> Fault {
    Fault::new(Kind::Conflict, format!("consumer `{name}` is being changed by somebody else"))
        .retry(base::Retry::Safe)
        .hint("try again")
}

/// A node that is alive: its name, and the consumers whose shares it takes its part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alive {
    pub(super) node: String,
    pub(super) consumers: Vec<String>,
}

/// Says that this node is alive, for so long.
pub(super) async fn heartbeat(state: &State, alive: &Alive, ttl: Duration) -> Result<(), Fault> {
    let key = Key::new(SPACE, format!("node/{}", alive.node));
    let bytes = serde_json::to_vec(&alive.consumers).expect("names are JSON");
    state.apply(vec![Change::set(key, bytes).ttl(ttl)]).await?;
    Ok(())
}

/// Says that this node is gone.
pub(super) async fn farewell(state: &State, node: &str) -> Result<(), Fault> {
    state.apply(vec![Change::delete(Key::new(SPACE, format!("node/{node}")))]).await?;
    Ok(())
}

/// The nodes that are alive, in the order of their names.
pub(super) async fn alive(state: &State) -> Result<Vec<Alive>, Fault> {
    let prefix = "node/";
    let nodes = entries(state, prefix, None, 1_000).await?;
    let read = |(key, bytes): (String, Vec<u8>)| {
        let consumers = serde_json::from_slice(&bytes).unwrap_or_default();
        Alive { node: key[prefix.len()..].to_owned(), consumers }
    };
    Ok(nodes.into_iter().map(read).collect())
}

fn applied(outcome: Result<Vec<i64>, ChangeError>) -> Result<bool, Fault> {
    match outcome {
        Ok(_) => Ok(true),
        Err(ChangeError::Conflict { .. }) => Ok(false),
        Err(ChangeError::Failed(fault)) => Err(fault),
    }
}
