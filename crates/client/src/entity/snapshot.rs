//! Snapshots: what an entity amounted to at a version, in a stream beside its own (`order:snapshot-17`), as
//! Eventide writes them. Each says the version of its form, so that those of an older program are passed over.

use super::cache::Cached;
use crate::{Client, Error, NewMessage, names, time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// The type of the messages.
const RECORDED: &str = "Recorded";

/// How often an entity is recorded and how it becomes JSON.
pub(super) struct Snapshots<E> {
    interval: u32,
    schema_version: String,
    encode: fn(&E) -> Result<Box<RawValue>, serde_json::Error>,
    decode: fn(&RawValue) -> Result<E, serde_json::Error>,
}

impl<E> fmt::Debug for Snapshots<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots({}, {})", self.interval, self.schema_version)
    }
}

/// What a snapshot says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    entity_data: Box<RawValue>,
    entity_version: i64,
    /// When it was recorded.
    #[serde(default)]
    time: Option<String>,
}

impl<E> Snapshots<E> {
    pub(super) fn new(interval: u32, schema_version: String) -> Self
    where
        E: Serialize + DeserializeOwned,
    {
        Self {
            interval: interval.max(1),
            schema_version,
            encode: |entity| serde_json::value::to_raw_value(entity),
            decode: |raw| serde_json::from_str(raw.get()),
        }
    }

    /// Whether so much has happened since the last one that another is to be written.
    pub(super) fn is_due(&self, cached: &Cached<E>) -> bool {
        cached.exists && cached.version - cached.snapshot_version >= i64::from(self.interval)
    }

    /// The last one. One that is of another form or can't be read is none: the entity is made from its messages.
    pub(super) async fn read(
        &self,
        client: &Client,
        category: &str,
        id: &str,
    ) -> Result<Option<Cached<E>>, Error> {
        let stream = names::snapshot_stream(category, id);
        let Some(message) = client.transport().last(&stream, Some(RECORDED)).await? else { return Ok(None) };
        let is_ours = message
            .metadata()
            .is_ok_and(|metadata| metadata.schema_version.as_deref() == Some(&self.schema_version));
        let recorded = message.data.filter(|_| is_ours);
        let recorded: Option<Recorded> = recorded.and_then(|data| serde_json::from_str(data.get()).ok());
        Ok(recorded.and_then(|recorded| {
            let version = recorded.entity_version;
            let entity = (self.decode)(&recorded.entity_data).ok()?;
            Some(Cached { entity, version, exists: true, snapshot_version: version })
        }))
    }

    pub(super) async fn write(
        &self,
        client: &Client,
        category: &str,
        id: &str,
        cached: &Cached<E>,
    ) -> Result<(), Error> {
        let recorded = Recorded {
            entity_data: (self.encode)(&cached.entity).map_err(Error::other)?,
            entity_version: cached.version,
            time: Some(time::format(client.clock().unix())),
        };
        let message = NewMessage::untyped(RECORDED, &recorded).schema_version(self.schema_version.as_str());
        client.write(names::snapshot_stream(category, id), message).await.map(drop)
    }
}
