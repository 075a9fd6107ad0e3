//! Passwords that need not stand in an address: the variable `PGPASSWORD`, then the password file, as libpq has them
//! (PostgreSQL manual, "The Password File").

use base::{Fault, Kind};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// Bytes of a password file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The password for a database whose address has none.
pub(super) fn of(host: &str, port: u16, database: &str, user: Option<&str>) -> Result<Option<String>, Fault> {
    if let Ok(password) = std::env::var("PGPASSWORD") {
        return Ok(Some(password));
    }
    let of_home = || std::env::home_dir().map(|home| home.join(".pgpass"));
    let Some(path) = std::env::var_os("PGPASSFILE").map(PathBuf::from).or_else(of_home) else {
        return Ok(None);
    };
    let Some(text) = read(&path)? else { return Ok(None) };
    Ok(find(&text, [host, &port.to_string(), database, user.unwrap_or_default()]))
}

/// What a password file says, unless there is none. Others must not read it.
fn read(path: &Path) -> Result<Option<String>, Fault> {
    let Ok(about) = std::fs::metadata(path) else { return Ok(None) };
    let refused = |text: &str, hint: String| {
        Err(Fault::new(Kind::Refused, format!("the password file `{}` {text}", path.display())).hint(hint))
    };
    if is_open_to_others(&about) {
        return refused("may be read by others", format!("`chmod 600 {}`", path.display()));
    }
    if about.len() > FILE_BYTES_MAX {
        return refused(
            &format!("has more than {FILE_BYTES_MAX} bytes"),
            "set `PGPASSFILE` to another".to_owned(),
        );
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            Err(Fault::new(Kind::Io, format!("the password file `{}` can't be read", path.display()))
                .because(error))
        }
    }
}

#[cfg(unix)]
fn is_open_to_others(about: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.is_file() && about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Metadata) -> bool {
    false
}

/// The password of the first line that fits host, port, database and user, of which `*` fits any.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, named) = fields.split_last()?;
        let fits = |(named, wanted): (&String, &str)| {
            named == "*" || named == wanted || (wanted.starts_with('/') && named == "localhost")
        };
        (named.len() == wanted.len() && named.iter().zip(wanted).all(fits)).then(|| password.clone())
    })
}

/// The fields of a line: `\:` and `\\` stand for themselves.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let taken = match character {
            ':' => {
                fields.push(String::new());
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(last) = fields.last_mut() {
            last.push(taken);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text =
            "# ours\nlocalhost:5432:shop:ann:one\nlocalhost:5432:*:ann:t\\:w\\\\o\nshort:line\n*:*:*:*:any\n";
        let password = |wanted| find(text, wanted).unwrap();
        assert_eq!(password(["localhost", "5432", "shop", "ann"]), "one");
        assert_eq!(password(["localhost", "5432", "billing", "ann"]), "t:w\\o");
        assert_eq!(password(["/run/postgresql", "5432", "shop", "ann"]), "one", "a socket is `localhost`");
        assert_eq!(password(["db", "5432", "shop", "ann"]), "any");
        assert_eq!(find("db:5432:shop:ann:one", ["db", "5433", "shop", "ann"]), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_that_others_may_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, "*:*:*:*:s3cret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let fault = read(&path).unwrap_err();
        assert!(fault.to_string().ends_with("may be read by others"), "{fault}");
        assert_eq!(fault.hint.unwrap(), format!("`chmod 600 {}`", path.display()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), "*:*:*:*:s3cret\n");
    }
}
