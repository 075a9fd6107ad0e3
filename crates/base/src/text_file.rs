//! Reads a text file that somebody named: bounded, so that a device or a file of another kind by mistake
//! costs no memory, and every way it can fail told in one voice.

use crate::{Fault, Kind};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// The text of a file of at most `bytes_max` bytes; `called` is what messages call it.
///
/// Fails with `NotFound` when it is not there, `TooMuch` past the bound, `Invalid` when it is not UTF-8 and
/// `Io` when it can't be read.
pub fn read_text(called: &str, path: &Path, bytes_max: usize) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let (kind, hint) = match error.kind() {
            ErrorKind::NotFound => (
                Kind::NotFound,
                "check the path; a relative one begins at the current folder or the manifest's",
            ),
            ErrorKind::IsADirectory => (Kind::Invalid, "it is a folder: name a file in it"),
            _ => (Kind::Io, "may you read it? `ls -l` tells"),
        };
        return Err(Fault::new(kind, format!("{called} can't be read")).hint(hint).because(error));
    }
    if bytes.len() > bytes_max {
        let most = match bytes_max >> 20 {
            0 => format!("{bytes_max} bytes"),
            mebibytes => format!("{mebibytes} MiB"),
        };
        return Err(Fault::new(Kind::TooMuch, format!("{called} has more than {most}"))
            .hint("is it the file you mean?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::new(Kind::Invalid, format!("{called} is not UTF-8 at byte {at}")).hint("save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_not_be_used_is_told_and_never_read_past_its_bound() {
        let folder = std::env::temp_dir().join(format!("read-text-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.eskip");
        let told = |path: &Path, most| read_text("it", path, most).unwrap_err().to_string();
        assert!(told(&file, 5).starts_with("it can't be read: No such file"));
        assert!(told(&folder, 5).starts_with("it can't be read: Is a directory"));
        std::fs::write(&file, "hello").unwrap();
        assert_eq!(read_text("it", &file, 5).unwrap(), "hello");
        assert_eq!(told(&file, 4), "it has more than 4 bytes");
        std::fs::write(&file, b"ab\xff").unwrap();
        assert_eq!(told(&file, 5), "it is not UTF-8 at byte 2");
        assert_eq!(told(Path::new("/dev/zero"), 3 << 20), "it has more than 3 MiB");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
