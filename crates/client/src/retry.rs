//! Deciding again when another writer was faster: read, decide, write at the version read, and from the start if
//! that was not the version any more.

use crate::Error;

/// Runs `act` until it does not fail for a wrong version, at most `attempts` times in all. Each time it has to read
/// anew what it decides by.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Client, messages, retry};
///
/// #[derive(Serialize, Deserialize)]
/// struct Noted {}
/// messages!(Noted);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::in_memory();
/// let note = async || {
///     retry(5, || async {
///         let version = client.version("note-1").await?;
///         // Here it is decided what to write.
///         client.write("note-1", Noted {}).expected_version(version).await
///     })
///     .await
/// };
/// let (one, other) = tokio::try_join!(note(), note())?;
/// assert_eq!(one.last_position + other.last_position, 1);
/// # Ok::<(), tombolo_client::Error>(()) }).unwrap();
/// ```
pub async fn retry<T, F>(attempts: u32, mut act: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..attempts {
        match act().await {
            Err(error) if error.is_wrong_version() => {}
            other => return other,
        }
    }
    act().await
}
