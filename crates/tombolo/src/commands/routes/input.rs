//! Reads the texts that the sub-commands of `tombolo routes` are given. A file that can't be read is told like
//! any other mistake, so that one run tells of all.

use super::told::Told;
use base::{Diagnostic, Source, did_you_mean};
use std::io::{ErrorKind, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// So many files of a folder are looked at for a name like the one that is not there.
const NEIGHBOURS_MAX: usize = 1000;

/// Standard input among the files.
const STDIN: &str = "-";

/// The files, or standard input if none is named.
pub(super) fn files_or_stdin(files: &[PathBuf]) -> Vec<&Path> {
    if files.is_empty() { vec![Path::new(STDIN)] } else { files.iter().map(PathBuf::as_path).collect() }
}

/// Whether this is standard input.
pub(super) fn is_stdin(file: &Path) -> bool {
    file == Path::new(STDIN)
}

/// Reads files, or standard input if none is named; `-` is standard input too. What can't be read is told.
pub(super) fn read_all(files: &[PathBuf], told: &mut Told) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stdin_read = false;
    for file in files_or_stdin(files) {
        if is_stdin(file) && std::mem::replace(&mut stdin_read, true) {
            let twice = Diagnostic::error("unreadable_routes", "standard input is named twice");
            told.unreadable("<stdin>", twice.hint("it can be read once only: name a file in one place"));
            continue;
        }
        sources.extend(read(file, told));
    }
    sources
}

/// Reads a file, or tells why it can't be read.
pub(super) fn read(file: &Path, told: &mut Told) -> Option<Source> {
    let limit = eskip::TEXT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let (name, result) = if is_stdin(file) {
        if std::io::stdin().is_terminal() {
            crate::term::err("reading routes from the terminal; Ctrl-D ends them");
        }
        ("<stdin>".to_owned(), std::io::stdin().lock().take(limit).read_to_end(&mut bytes))
    } else {
        let read = std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes));
        (file.display().to_string(), read)
    };
    let wrong = match result {
        Err(error) => unreadable(file, &name, &error),
        Ok(_) if bytes.len() > eskip::TEXT_BYTES_MAX => {
            let message = format!("`{name}` has more than {} MiB", eskip::TEXT_BYTES_MAX >> 20);
            Diagnostic::error("text_too_large", message).hint("split it into several files")
        }
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => {
                let source = Source::new(name, text);
                told.read(&source);
                return Some(source);
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let wrong = Diagnostic::error("not_utf8", format!("`{name}` is not UTF-8 at byte {at}"));
                wrong.hint("save it as UTF-8, or name a file of eskip")
            }
        },
    };
    told.unreadable(&name, wrong);
    None
}

fn unreadable(file: &Path, name: &str, error: &std::io::Error) -> Diagnostic {
    let told = |message: String| Diagnostic::error("unreadable_routes", message);
    match error.kind() {
        ErrorKind::NotFound => {
            let told = told(format!("`{name}` is not there"));
            match neighbour(file) {
                Some(near) => told.hint(format!("did you mean `{}`?", near.display())),
                None => told.hint("name files of eskip, or `-` for standard input"),
            }
        }
        ErrorKind::IsADirectory => {
            let files = file.join("*.eskip");
            told(format!("`{name}` is a folder")).hint(format!("name its files: `{}`", files.display()))
        }
        ErrorKind::PermissionDenied => {
            told(format!("`{name}` can't be read: permission denied")).hint("may you read it? `ls -l` tells")
        }
        _ => told(format!("`{name}` can't be read: {error}")),
    }
}

/// The file beside the one meant whose name is most like it.
fn neighbour(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> =
        entries.take(NEIGHBOURS_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = did_you_mean(file.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    // A common ending makes long names of short ones: without it they must be alike as well.
    let stem = |name: &Path| Some(name.file_stem()?.to_str()?.to_owned());
    let (asked, found) = (stem(file)?, stem(Path::new(near))?);
    did_you_mean(&asked, [found.as_str()]).map(|_| file.with_file_name(near))
}
