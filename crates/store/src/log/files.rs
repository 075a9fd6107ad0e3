//! Open files, a bounded number of them: those used longest ago are closed.

use super::disk::DiskFile;
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that are kept open, by what they are known by.
pub(crate) struct OpenFiles<K> {
    max: usize,
    files: Mutex<Files<K>>,
}

struct Files<K> {
    open: HashMap<K, (Arc<dyn DiskFile>, u64)>,
    uses: u64,
}

impl<K: Copy + Eq + Hash> OpenFiles<K> {
    /// Keeps at most so many.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, files: Mutex::new(Files { open: HashMap::new(), uses: 0 }) }
    }

    /// The file, opened if it is not.
    pub(crate) fn get(
        &self,
        key: K,
        open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.uses += 1;
        let now = files.uses;
        if let Some((file, used)) = files.open.get_mut(&key) {
            *used = now;
            return Ok(file.clone());
        }
        let file = open()?;
        if files.open.len() >= self.max {
            let oldest = files.open.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| files.open.remove(&key));
        }
        files.open.insert(key, (file.clone(), now));
        Ok(file)
    }

    /// Puts a file in the place of the one that was open.
    pub(crate) fn replace(&self, key: K, file: Arc<dyn DiskFile>) {
        self.forget(key);
        drop(self.get(key, || Ok(file)));
    }

    /// Closes a file.
    pub(crate) fn forget(&self, key: K) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&key);
    }

    /// How many are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).open.len()
    }
}
