//! Secrets in files, such as tokens for services outside: read at the start and again and again, so that a
//! new one counts without a restart. Filters name them by their paths.

use arc_swap::ArcSwap;
use base::{Fault, Kind};
use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that are read at most.
const FILES_MAX: usize = 1000;

/// Longest secret: more goes into no header.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// The secrets of some files and folders (Skipper's `-credentials-paths`).
#[derive(Default)]
pub struct Secrets {
    paths: Vec<PathBuf>,
    held: ArcSwap<HashMap<PathBuf, Arc<[u8]>>>,
}

impl Secrets {
    /// Reads all files of these paths; of a folder those in it, not those below. Fails if one of the paths
    /// or of the files can't be read.
    pub fn read(paths: Vec<PathBuf>) -> Result<Self, Fault> {
        let secrets = Self { paths, held: ArcSwap::default() };
        match secrets.refresh().into_iter().next() {
            None => Ok(secrets),
            Some(fault) => Err(fault),
        }
    }

    /// Reads all of them again and answers what went wrong: a file that can't be read keeps the secret it
    /// had, one that is gone has none. Blocks: not for a thread that carries requests.
    pub fn refresh(&self) -> Vec<Fault> {
        let (mut read, mut faults) = (HashMap::new(), Vec::new());
        let before = self.held.load_full();
        for file in self.files(&mut faults) {
            if read.len() == FILES_MAX {
                let why = format!("there are more than {FILES_MAX} secrets; the rest is not read");
                faults.push(Fault::new(Kind::TooMuch, why));
                break;
            }
            match read_one(&file) {
                Ok(secret) => drop(read.insert(file, secret)),
                Err(fault) if fault.kind == Kind::NotFound => {}
                Err(fault) => {
                    if let Some(known) = before.get(&file) {
                        read.insert(file, known.clone());
                    }
                    faults.push(fault);
                }
            }
        }
        self.held.store(Arc::new(read));
        faults
    }

    /// The secret in this file, if it is one of those that are read.
    pub fn get(&self, file: &Path) -> Option<Arc<[u8]>> {
        self.held.load().get(file).cloned()
    }

    /// Whether there is anything to read.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// All files, in no order.
    fn files(&self, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in &self.paths {
            let failed = |error| {
                let message = format!("secrets `{}` can't be read", path.display());
                Fault::new(Kind::Io, message).hint("check --credentials-paths").because(error)
            };
            // Followed through links: Kubernetes mounts secrets as links.
            match fs::metadata(path) {
                Ok(about) if about.is_dir() => match fs::read_dir(path) {
                    Ok(entries) => {
                        let entries = entries.flatten().map(|entry| entry.path());
                        files.extend(entries.filter(|file| file.is_file()).take(FILES_MAX + 1));
                    }
                    Err(error) => faults.push(failed(error)),
                },
                Ok(_) => files.push(path.clone()),
                Err(error) => faults.push(failed(error)),
            }
        }
        files
    }
}

fn read_one(path: &Path) -> Result<Arc<[u8]>, Fault> {
    let named = |kind, why: &str| Fault::new(kind, format!("secret `{}`: {why}", path.display()));
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX as u64 + 2).read_to_end(&mut bytes));
    if let Err(error) = read {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Io };
        return Err(named(kind, "it can't be read").because(error));
    }
    // The end of the line is the editor's, not the secret's.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(named(Kind::TooMuch, &format!("it has more than {SECRET_BYTES_MAX} bytes")));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_again_and_what_is_gone_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "one\n").unwrap();
        fs::write(path("b"), "two\n\n").unwrap();
        fs::create_dir(path("below")).unwrap();
        fs::write(path("below/c"), "three").unwrap();
        let secrets = Secrets::read(vec![folder.path().to_owned()]).unwrap();
        let get =
            |name: &str| secrets.get(&path(name)).map(|secret| String::from_utf8(secret.to_vec()).unwrap());
        assert_eq!(
            (get("a").as_deref(), get("b").as_deref(), get("below/c")),
            (Some("one"), Some("two\n"), None)
        );
        fs::write(path("a"), "new").unwrap();
        fs::write(path("d"), "x".repeat(SECRET_BYTES_MAX)).unwrap();
        fs::remove_file(path("b")).unwrap();
        assert!(secrets.refresh().is_empty());
        assert_eq!((get("a").as_deref(), get("b")), (Some("new"), None));
        assert_eq!(get("d").unwrap().len(), SECRET_BYTES_MAX);
        fs::write(path("a"), "x".repeat(SECRET_BYTES_MAX + 1)).unwrap();
        let faults: Vec<_> = secrets.refresh().iter().map(ToString::to_string).collect();
        assert!(faults.len() == 1 && faults[0].contains("more than 16384 bytes"), "{faults:?}");
        assert_eq!(get("a").as_deref(), Some("new"), "a bad one does not replace a good one");
        assert!(Secrets::read(vec![path("none")]).is_err());
    }

    #[test]
    fn there_are_no_more_than_fit() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            fs::write(folder.path().join(number.to_string()), "x").unwrap();
        }
        let refused = Secrets::read(vec![folder.path().to_owned()]).err().unwrap();
        assert_eq!(refused.kind, Kind::TooMuch);
    }
}
