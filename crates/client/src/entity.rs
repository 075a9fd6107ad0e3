//! Entities: what the messages of a stream amount to. A [`Projection`] says how each message changes one; an
//! [`EntityStore`] reads a stream once, keeps what came of it, and reads only what is new the next time.

mod cache;
mod snapshot;

use crate::{Appended, Client, Error, Message, MessageData, NewMessage, Read, Received, names};
use cache::{Cache, Cached};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snapshot::Snapshots;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Entities kept in memory if nothing is said.
const CACHED: usize = 1_000;
/// How often [`EntityStore::update`] decides in all, when others are faster.
const UPDATE_ATTEMPTS: u32 = 20;

type Apply<E> = Box<dyn Fn(&mut E, &MessageData) -> Result<(), Error> + Send + Sync>;

/// How messages change an entity, by their type. Messages of other types change nothing.
pub struct Projection<E> {
    applies: HashMap<&'static str, Apply<E>>,
}

impl<E> Default for Projection<E> {
    fn default() -> Self {
        Self { applies: HashMap::new() }
    }
}

impl<E> fmt::Debug for Projection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.applies.keys()).finish()
    }
}

impl<E> Projection<E> {
    /// Nothing changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How a message of the type that the function takes changes an entity.
    pub fn on<M: Message>(mut self, apply: impl Fn(&mut E, Received<M>) + Send + Sync + 'static) -> Self {
        let apply = move |entity: &mut E, message: &MessageData| {
            apply(entity, message.receive()?);
            Ok(())
        };
        self.applies.insert(M::TYPE, Box::new(apply));
        self
    }

    /// Changes an entity by a message.
    pub fn apply(&self, entity: &mut E, message: &MessageData) -> Result<(), Error> {
        match self.applies.get(message.kind.as_str()) {
            Some(apply) => apply(entity, message),
            None => Ok(()),
        }
    }
}

/// An entity, and the version of its stream that it is made of. What it holds can be reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity<E> {
    /// What the messages amount to.
    pub entity: E,
    /// The position of the last message it is made of, -1 for none.
    pub version: i64,
}

impl<E> std::ops::Deref for Entity<E> {
    type Target = E;
    fn deref(&self) -> &E {
        &self.entity
    }
}

/// The entities of a category. Cheap to clone; clones share what is kept in memory.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Client, EntityStore, Projection, Received, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposited {
///     cents: i64,
/// }
/// messages!(Deposited);
///
/// #[derive(Clone, Default)]
/// struct Account {
///     cents: i64,
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let projection = Projection::new()
///     .on(|account: &mut Account, deposited: Received<Deposited>| account.cents += deposited.cents);
/// let accounts = EntityStore::new(Client::in_memory(), "account", projection);
///
/// // Nobody may go below zero: who is slower decides again by what is then known.
/// let deposit = |cents| move |account: &Account| {
///     if account.cents + cents < 0 { vec![] } else { vec![Deposited { cents }.into()] }
/// };
/// accounts.update("17", deposit(500)).await?;
/// accounts.update("17", deposit(-900)).await?;
/// let account = accounts.fetch("17").await?;
/// assert_eq!((account.cents, account.version), (500, 0));
/// # Ok::<(), tombolo_client::Error>(()) }).unwrap();
/// ```
pub struct EntityStore<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Clone for EntityStore<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E> fmt::Debug for EntityStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntityStore").field(&self.shared.category).finish()
    }
}

struct Shared<E> {
    client: Client,
    category: String,
    projection: Projection<E>,
    cache: Mutex<Cache<E>>,
    snapshots: Option<Snapshots<E>>,
    page: usize,
}

/// Puts an [`EntityStore`] together.
#[derive(Debug)]
pub struct Settings<E> {
    client: Client,
    category: String,
    projection: Projection<E>,
    cached: usize,
    snapshots: Option<Snapshots<E>>,
    page: usize,
}

impl<E: Clone + Default> Settings<E> {
    /// Keeps so many entities in memory, those used last; 0 for none.
    pub fn cached(mut self, entities: usize) -> Self {
        self.cached = entities;
        self
    }

    /// Reads at most so many messages at once.
    pub fn page(mut self, messages: usize) -> Self {
        self.page = messages.max(1);
        self
    }

    /// Writes what an entity amounts to into a stream of its own, whenever at least `interval` messages were added,
    /// and begins there when it is not in memory. Snapshots of another `schema_version` are not read: raise it when
    /// the entity's fields or its projection change.
    pub fn snapshots(mut self, interval: u32, schema_version: impl Into<String>) -> Self
    where
        E: Serialize + DeserializeOwned,
    {
        self.snapshots = Some(Snapshots::new(interval, schema_version.into()));
        self
    }

    /// The store.
    pub fn build(self) -> EntityStore<E> {
        let Self { client, category, projection, cached, snapshots, page } = self;
        let cache = Mutex::new(Cache::new(cached));
        EntityStore { shared: Arc::new(Shared { client, category, projection, cache, snapshots, page }) }
    }
}

impl<E: Clone + Default> EntityStore<E> {
    /// The entities of a category, a thousand of which are kept in memory, without snapshots.
    pub fn new(client: Client, category: impl Into<String>, projection: Projection<E>) -> Self {
        Self::settings(client, category, projection).build()
    }

    /// The same with other settings.
    pub fn settings(client: Client, category: impl Into<String>, projection: Projection<E>) -> Settings<E> {
        let category = category.into();
        Settings { client, category, projection, cached: CACHED, snapshots: None, page: 1000 }
    }

    /// The stream of an entity.
    pub fn stream(&self, id: &str) -> String {
        names::stream(&self.shared.category, id)
    }

    /// The entity; a new one of version -1 if there is none.
    pub async fn fetch(&self, id: &str) -> Result<Entity<E>, Error> {
        self.current(id).await.map(|cached| Entity { entity: cached.entity, version: cached.version })
    }

    /// The entity, if there is one.
    pub async fn get(&self, id: &str) -> Result<Option<Entity<E>>, Error> {
        let cached = self.current(id).await?;
        let Cached { entity, version, exists, .. } = cached;
        Ok(exists.then_some(Entity { entity, version }))
    }

    /// The version of the entity's stream, -1 if there is none.
    pub async fn version(&self, id: &str) -> Result<i64, Error> {
        Ok(self.fetch(id).await?.version)
    }

    /// Writes what `decide` makes of the entity into its stream; nothing, if that is nothing. If another writer was
    /// faster it is decided again by what the entity has become.
    pub async fn update<F>(&self, id: &str, mut decide: F) -> Result<Option<Appended>, Error>
    where
        F: FnMut(&E) -> Vec<NewMessage>,
    {
        self.try_update(id, |entity| Ok(decide(&entity.entity))).await
    }

    /// The same for a decision that is given the version, and may refuse.
    pub async fn try_update<F>(&self, id: &str, mut decide: F) -> Result<Option<Appended>, Error>
    where
        F: FnMut(&Entity<E>) -> Result<Vec<NewMessage>, Error>,
    {
        let mut attempt = 1;
        loop {
            let entity = self.fetch(id).await?;
            let messages = decide(&entity)?;
            if messages.is_empty() {
                return Ok(None);
            }
            let write = self.shared.client.write_batch(self.stream(id), messages);
            match write.expected_version(entity.version).await {
                Err(error) if error.is_wrong_version() && attempt < UPDATE_ATTEMPTS => attempt += 1,
                written => return written.map(Some),
            }
        }
    }

    /// Takes an entity away for good, with its snapshots. Its version stays.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.shared.client.delete(&self.stream(id)).await?;
        self.shared.client.delete(&names::snapshot_stream(&self.shared.category, id)).await?;
        self.cache(|cache| cache.remove(id));
        Ok(())
    }

    fn cache<T>(&self, act: impl FnOnce(&mut Cache<E>) -> T) -> T {
        act(&mut self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entity with all that is in its stream now.
    async fn current(&self, id: &str) -> Result<Cached<E>, Error> {
        let Shared { client, category, projection, snapshots, page, .. } = &*self.shared;
        let mut cached = match (self.cache(|cache| cache.get(id)), snapshots) {
            (Some(cached), _) => cached,
            (None, Some(snapshots)) => snapshots.read(client, category, id).await?.unwrap_or_default(),
            (None, None) => Cached::default(),
        };
        let before = cached.version;
        let read = Read::stream(self.stream(id)).from(before + 1).limit(*page);
        let mut messages = client.read(read);
        while let Some(message) = messages.next().await? {
            if message.is_tombstone() {
                (cached.entity, cached.exists) = (E::default(), false);
            } else {
                projection.apply(&mut cached.entity, &message)?;
                cached.exists = true;
            }
            cached.version = message.position;
        }
        if let Some(snapshots) = snapshots.as_ref().filter(|snapshots| snapshots.is_due(&cached)) {
            // The entity is right without it: what could not be written now is written the next time.
            if snapshots.write(client, category, id, &cached).await.is_ok() {
                cached.snapshot_version = cached.version;
            }
        }
        if cached.version >= 0 {
            self.cache(|cache| cache.put(id, cached.clone()));
        }
        Ok(cached)
    }
}
