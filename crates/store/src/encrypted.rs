//! Forgets persons in a log that never changes: the data of messages whose metadata name a `subject` are encrypted
//! under a key of that subject's, and forgetting the key erases them all, wherever copies lie (crypto-shredding).
//! Stands before any engine; the keys are in the small state. Names of streams, types and metadata stay readable,
//! so that they should hold no more of a person than a number.

use crate::message::bounds;
use crate::state::{Change, ChangeError, Condition, Key};
use crate::{
    Answer, Append, AppendError, Appended, CategoryInfo, Engine, Json, Message, Page, Read, Removal, State,
    StreamInfo, StreamList, Uuid, Wakes,
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base::{Clock, Fault, Kind, Moment};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The field of metadata that names the subject.
const SUBJECT: &str = "subject";
/// The space of the keys in the small state.
const KEYS: &str = "$subject-keys";
/// How encrypted data look in the log, around base64.
const SEALED: (&str, &str) = ("{\"$sealed\": \"", "\"}");
/// What is read in the place of data whose key was forgotten.
const ERASED: &str = "{\"$erased\": true}";
/// Keys in memory. Those beyond are fetched again.
const CACHED_MAX: usize = 4_096;
/// How long a key that another node forgot may still be known to this one.
const CACHED_FOR: Duration = Duration::from_secs(5);
const KEY_BYTES: usize = 32;
/// Tells a subject's key from another that it has after it came back.
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;

/// Whether data were erased by forgetting their subject.
pub fn is_erased(message: &Message) -> bool {
    message.data.as_ref().is_some_and(|data| data.as_str() == ERASED)
}

/// An engine whose messages about a subject can be erased by forgetting the subject's key.
pub struct Encrypted {
    inner: Arc<dyn Engine>,
    state: State,
    clock: Clock,
    cached: Mutex<HashMap<String, (Option<SubjectKey>, Moment)>>,
}

impl std::fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encrypted")
    }
}

/// The key of a subject, with what tells it from the subject's other keys.
#[derive(Clone)]
struct SubjectKey {
    id: [u8; ID_BYTES],
    key: Arc<LessSafeKey>,
}

impl SubjectKey {
    /// The key of these bytes, as they are in the state.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, key) = bytes.split_first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self { id: *id, key: Arc::new(LessSafeKey::new(key)) })
    }

    /// Encrypts the data of a message; they can't be moved to another.
    fn seal(&self, id: Uuid, data: &Json) -> Result<Json, Fault> {
        let failed = |_| Fault::new(Kind::Bug, "cannot encrypt the data of a message");
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(failed)?;
        let mut sealed = data.as_str().as_bytes().to_vec();
        let (nonce, public) = (Nonce::assume_unique_for_key(nonce), nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(id.as_bytes()), &mut sealed).map_err(failed)?;
        let bytes = [&self.id[..], &public, &sealed].concat();
        Ok(Json::trusted(&format!("{}{}{}", SEALED.0, BASE64.encode(bytes), SEALED.1)))
    }

    /// Decrypts what [`SubjectKey::seal`] made; `None` where this is not its key.
    fn open(&self, id: Uuid, bytes: &[u8]) -> Option<Json> {
        let (key_id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *key_id != self.id {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let data = self.key.open_in_place(nonce, Aad::from(id.as_bytes()), &mut sealed).ok()?;
        std::str::from_utf8(data).ok().map(Json::trusted)
    }
}

impl Encrypted {
    /// Stands before an engine, with the keys in this state.
    pub fn new(inner: Arc<dyn Engine>, state: State, clock: Clock) -> Self {
        Self { inner, state, clock, cached: Mutex::default() }
    }

    /// Forgets the key of a subject: the data of all its messages so far are erased. Answers whether there was a
    /// key. Backups that hold the key have to go, too.
    pub async fn forget(&self, subject: &str) -> Result<bool, Fault> {
        let key = Key::new(KEYS, subject);
        let there = self.state.get(key.clone()).await?.is_some();
        self.state.apply(vec![Change::delete(key)]).await?;
        self.state.scrub().await?;
        self.cached().remove(subject);
        Ok(there)
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<String, (Option<SubjectKey>, Moment)>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a subject; `None` where it has none.
    async fn key(&self, subject: &str) -> Result<Option<SubjectKey>, Fault> {
        let now = self.clock.now();
        if let Some((key, since)) = self.cached().get(subject)
            && now.since(*since) < CACHED_FOR
        {
            return Ok(key.clone());
        }
        let value = self.state.get(Key::new(KEYS, subject)).await?;
        let key = value.and_then(|value| SubjectKey::read(&value.bytes));
        self.remember(subject, key.clone(), now);
        Ok(key)
    }

    fn remember(&self, subject: &str, key: Option<SubjectKey>, now: Moment) {
        let mut cached = self.cached();
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(subject.to_owned(), (key, now));
    }

    /// The key of a subject, made if it has none.
    async fn key_made(&self, subject: &str) -> Result<SubjectKey, Fault> {
        if let Some(key) = self.key(subject).await? {
            return Ok(key);
        }
        let mut bytes = [0; ID_BYTES + KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_| Fault::new(Kind::Bug, "there is no randomness for a key"))?;
        let change = Change::set(Key::new(KEYS, subject), bytes).when(Condition::Absent);
        match self.state.apply(vec![change]).await {
            // Somebody made one meanwhile, and that one holds.
            Ok(_) | Err(ChangeError::Conflict { .. }) => {}
            Err(ChangeError::Failed(fault)) => return Err(fault),
        }
        self.cached().remove(subject);
        let key = self.key(subject).await?;
        key.ok_or_else(|| Fault::new(Kind::Conflict, format!("subject `{subject}` was just forgotten")))
    }

    async fn sealed(&self, mut appends: Vec<Append>) -> Result<Vec<Append>, AppendError> {
        for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
            let (Some(data), Some(subject)) = (&message.data, subject_of(message.metadata.as_ref())) else {
                continue;
            };
            let key = self.key_made(&subject).await.map_err(AppendError::Failed)?;
            let sealed = key.seal(message.id, data).map_err(AppendError::Failed)?;
            if sealed.as_str().len() > bounds::JSON_BYTES_MAX {
                let text = format!(
                    "encrypted data have `{}` bytes, at most `{}` go",
                    sealed.as_str().len(),
                    bounds::JSON_BYTES_MAX
                );
                return Err(AppendError::Refused(Fault::new(Kind::TooMuch, text).retry(base::Retry::No)));
            }
            message.data = Some(sealed);
        }
        Ok(appends)
    }

    async fn opened(&self, mut message: Message) -> Result<Message, Fault> {
        let sealed = message.data.as_ref().and_then(|data| {
            let base64 = data.as_str().strip_prefix(SEALED.0)?.strip_suffix(SEALED.1)?;
            BASE64.decode(base64).ok()
        });
        if let (Some(sealed), Some(subject)) = (sealed, subject_of(message.metadata.as_ref())) {
            let key = self.key(&subject).await?;
            let data = key.and_then(|key| key.open(message.id, &sealed));
            message.data = Some(data.unwrap_or_else(|| Json::trusted(ERASED)));
        }
        Ok(message)
    }
}

fn subject_of(metadata: Option<&Json>) -> Option<String> {
    Some(metadata?.field(SUBJECT)?.into_owned())
}

impl Engine for Encrypted {
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError> {
        Box::pin(async move { self.inner.append(self.sealed(appends).await?).await })
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(async move {
            let mut page = self.inner.read(read).await?;
            for message in &mut page.messages {
                if message.data.as_ref().is_some_and(|data| data.as_str().starts_with(SEALED.0)) {
                    *message = self.opened(message.clone()).await?;
                }
            }
            Ok(page)
        })
    }

    fn remove(&self, removal: Removal) -> Answer<'_, u64> {
        self.inner.remove(removal)
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        self.inner.version(stream)
    }

    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>> {
        Box::pin(async move {
            match self.inner.by_id(id).await? {
                Some(message) => self.opened(message).await.map(Some),
                None => Ok(None),
            }
        })
    }

    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>> {
        self.inner.streams(list)
    }

    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>> {
        self.inner.categories(after, limit)
    }

    fn head(&self) -> Answer<'_, i64> {
        self.inner.head()
    }

    fn wakes(&self) -> &Wakes {
        self.inner.wakes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Sqlite;
    use crate::{Memory, NewMessage, Store};

    struct World {
        encrypted: Arc<Encrypted>,
        store: Store,
        raw: Store,
        folder: tempfile::TempDir,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let raw: Arc<dyn Engine> = Arc::new(Memory::new(Clock::system()));
        let state = State::new(Sqlite::open(folder.path(), Clock::system()).unwrap());
        let encrypted = Arc::new(Encrypted::new(raw.clone(), state, Clock::system()));
        World { store: Store::of(encrypted.clone()), raw: Store::of(raw), encrypted, folder }
    }

    async fn append(store: &Store, id: u128, metadata: &str) {
        let message = NewMessage {
            id: Uuid::from_u128(id),
            kind: "T".into(),
            data: Some(Json::parse("{\"name\":\"Ann\"}").unwrap()),
            metadata: Some(Json::parse(metadata).unwrap()),
        };
        let append = Append { stream: "a-1".into(), expected_version: None, messages: vec![message] };
        store.append(vec![append]).await.unwrap();
    }

    async fn data(store: &Store) -> Vec<String> {
        let messages = store.read(Read::stream("a-1")).await.unwrap().messages;
        messages.iter().map(|message| message.data.as_ref().unwrap().to_string()).collect()
    }

    const PLAIN: &str = "{\"name\": \"Ann\"}";

    #[tokio::test]
    async fn who_is_forgotten_is_erased_and_others_are_not() {
        let world = world();
        append(&world.store, 1, "{\"subject\":\"ann\"}").await;
        append(&world.store, 2, "{\"subject\":\"bob\"}").await;
        append(&world.store, 3, "{}").await;
        assert_eq!(data(&world.store).await, [PLAIN; 3]);
        let raw = data(&world.raw).await;
        assert!(raw[0].starts_with("{\"$sealed\"") && raw[1].starts_with("{\"$sealed\"") && raw[2] == PLAIN);
        assert!(raw[..2].iter().all(|data| Json::parse(data).unwrap().as_str() == data), "it is canonical");
        assert!(world.encrypted.forget("ann").await.unwrap());
        assert!(!world.encrypted.forget("ann").await.unwrap());
        assert_eq!(data(&world.store).await, [ERASED, PLAIN, PLAIN]);
        assert!(is_erased(&world.store.by_id(Uuid::from_u128(1)).await.unwrap().unwrap()));
        // Ann comes back: a key of her own again, and what is erased stays so.
        append(&world.store, 4, "{\"subject\":\"ann\"}").await;
        assert_eq!(data(&world.store).await, [ERASED, PLAIN, PLAIN, PLAIN]);
    }

    #[tokio::test]
    async fn a_forgotten_key_is_in_no_file_any_more() {
        let world = world();
        append(&world.store, 1, "{\"subject\":\"ann\"}").await;
        let key = world.encrypted.state.get(Key::new(KEYS, "ann")).await.unwrap().unwrap().bytes;
        let in_files = || {
            std::fs::read_dir(world.folder.path()).unwrap().any(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                bytes.windows(key.len()).any(|window| window == key)
            })
        };
        assert!(in_files());
        world.encrypted.forget("ann").await.unwrap();
        assert!(!in_files());
    }

    #[tokio::test]
    async fn data_of_one_message_can_not_be_shown_as_anothers() {
        let world = world();
        append(&world.store, 1, "{\"subject\":\"ann\"}").await;
        let stolen = world.raw.by_id(Uuid::from_u128(1)).await.unwrap().unwrap();
        let message = NewMessage {
            id: Uuid::from_u128(2),
            kind: stolen.kind,
            data: stolen.data,
            metadata: stolen.metadata,
        };
        let append = Append { stream: "a-1".into(), expected_version: None, messages: vec![message] };
        world.raw.append(vec![append]).await.unwrap();
        assert_eq!(data(&world.store).await, [PLAIN, ERASED]);
    }
}
