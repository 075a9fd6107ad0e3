//! Passwords in a file of Apache's `htpasswd`: reads it again when it has changed, and checks a password
//! beside the traffic, as its hash is slow on purpose. Who was right before is known by a salted hash.

use base::Moment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Passwords that are checked, or wait to be, at most.
const CHECKING_MAX: usize = 64;

/// Credentials remembered as right.
const KNOWN_MAX: usize = 1024;

/// A file with more bytes is none of passwords.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The passwords of one file.
pub(super) struct Passwords {
    path: PathBuf,
    users: Mutex<Users>,
    /// When the file is to be looked at again, a [`Moment`].
    look_at: AtomicU64,
    known: Mutex<Known>,
    salt: [u8; 32],
    checking: Arc<Semaphore>,
}

/// What is known of a password at once.
pub(super) enum Answer {
    Right,
    Wrong,
    /// It will be known soon.
    Checking(JoinHandle<bool>),
    /// Too many are being checked.
    Busy,
}

/// The file as it was read last.
struct Users {
    version: (SystemTime, u64),
    secrets: Arc<HashMap<Vec<u8>, Vec<u8>>>,
}

/// Credentials that were right, the oldest first to go.
#[derive(Default)]
struct Known {
    prints: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Passwords {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        // The salt need only be unknown: the keys of the standard library's hasher come from the system.
        let mut salt = [0; 32];
        for (at, part) in salt.chunks_mut(8).enumerate() {
            part.copy_from_slice(&RandomState::new().hash_one(at).to_le_bytes());
        }
        Ok(Self {
            path: path.to_owned(),
            users: Mutex::new(Users::read(path)?),
            look_at: AtomicU64::new(0),
            known: Mutex::default(),
            salt,
            checking: Arc::new(Semaphore::new(CHECKING_MAX)),
        })
    }

    /// Asks whether the password is the user's.
    pub(super) fn ask(this: &Arc<Self>, user: &[u8], password: &[u8], now: Moment) -> Answer {
        let look = this.is_time_to_look(now);
        if !look {
            let Some(print) = this.print(user, password) else { return Answer::Wrong };
            if this.known.lock().unwrap_or_else(PoisonError::into_inner).prints.contains(&print) {
                return Answer::Right;
            }
        }
        let Ok(place) = this.checking.clone().try_acquire_owned() else { return Answer::Busy };
        let (this, user, password) = (this.clone(), user.to_vec(), password.to_vec());
        Answer::Checking(tokio::task::spawn_blocking(move || {
            let _place = place;
            if look {
                this.look();
            }
            this.check(&user, &password)
        }))
    }

    /// Whether this call is the one that looks at the file.
    fn is_time_to_look(&self, now: Moment) -> bool {
        let due = self.look_at.load(Ordering::Relaxed);
        now.0 >= due
            && self
                .look_at
                .compare_exchange(due, (now + LOOK_EVERY).0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Reads the file again if it has changed. One that can't be read leaves what was known in force.
    fn look(&self) {
        let version = self.users.lock().unwrap_or_else(PoisonError::into_inner).version;
        if version_of(&self.path).is_ok_and(|now| now != version)
            && let Ok(users) = Users::read(&self.path)
        {
            *self.users.lock().unwrap_or_else(PoisonError::into_inner) = users;
        }
    }

    fn check(&self, user: &[u8], password: &[u8]) -> bool {
        // The secret is read once, so that a file that changes meanwhile can't lend its print.
        let Some(secret) = self.secret(user) else { return false };
        let print = self.print_of(user, password, &secret);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known().prints.contains(&print) {
            return true;
        }
        let right = verify(&secret, password);
        if right {
            known().add(print);
        }
        right
    }

    fn secret(&self, user: &[u8]) -> Option<Vec<u8>> {
        let secrets = self.users.lock().unwrap_or_else(PoisonError::into_inner).secrets.clone();
        secrets.get(user).cloned()
    }

    /// Stands for a user, a password and the secret it was compared with; `None` if there is no such user.
    fn print(&self, user: &[u8], password: &[u8]) -> Option<[u8; 32]> {
        self.secret(user).map(|secret| self.print_of(user, password, &secret))
    }

    fn print_of(&self, user: &[u8], password: &[u8], secret: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.salt);
        for part in [user, password, secret] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl Known {
    fn add(&mut self, print: [u8; 32]) {
        if self.prints.insert(print) {
            self.order.push_back(print);
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.prints.remove(&oldest);
            }
        }
    }
}

impl Users {
    fn read(path: &Path) -> io::Result<Self> {
        // Before the content: a change in between is then seen at the next look.
        let version = version_of(path)?;
        if version.1 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let content = std::fs::read(path)?;
        let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let secrets = lines.filter(|line| !line.starts_with(b"#")).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            Some((fields.next()?.to_vec(), fields.next()?.to_vec()))
        });
        Ok(Self { version, secrets: Arc::new(secrets.collect()) })
    }
}

fn version_of(path: &Path) -> io::Result<(SystemTime, u64)> {
    let about = std::fs::metadata(path)?;
    Ok((about.modified()?, about.len()))
}

/// Whether the password is the one that a line of the file was made of.
fn verify(secret: &[u8], password: &[u8]) -> bool {
    if let Some(code) = secret.strip_prefix(b"{SHA}") {
        return is_same(code, STANDARD.encode(Sha1::digest(password)).as_bytes());
    }
    if [b"$2a$", b"$2b$", b"$2x$", b"$2y$"].iter().any(|prefix| secret.starts_with(*prefix)) {
        return std::str::from_utf8(secret)
            .is_ok_and(|secret| bcrypt::verify(password, secret).unwrap_or(false));
    }
    let mut parts = secret.splitn(4, |byte| *byte == b'$');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(b""), Some(kind @ (b"apr1" | b"1")), Some(salt), Some(code)) => {
            is_same(code, &md5_crypt(kind, salt, password))
        }
        _ => false,
    }
}

/// Compares in a time that does not tell where the two differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

/// The MD5 crypt of FreeBSD (`$1$`) and Apache (`$apr1$`), without its prefix and salt.
fn md5_crypt(kind: &[u8], salt: &[u8], password: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut mix = Md5::new();
    for part in [password, b"$", kind, b"$", salt] {
        mix.update(part);
    }
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    for chunk in password.chunks(16) {
        mix.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        mix.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut hash = mix.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let (first, last): (&[u8], &[u8]) =
            if round % 2 == 1 { (password, &hash) } else { (&hash, password) };
        next.update(first);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(last);
        hash = next.finalize();
    }
    // Three bytes become four characters of 6 bits, the lowest first; the order is the algorithm's own.
    let mut code = Vec::with_capacity(22);
    let mut letters = |bits: u32, count: usize| {
        code.extend((0..count).map(|at| LETTERS[(bits >> (6 * at)) as usize & 63]));
    };
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        letters(u32::from(hash[high]) << 16 | u32::from(hash[middle]) << 8 | u32::from(hash[low]), 4);
    }
    letters(u32::from(hash[11]), 2);
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn every_kind_of_hash_knows_its_password() {
        // Made by `openssl passwd` and `openssl sha1`.
        for (secret, password) in [
            ("$apr1$ZjTqBB3f$vX2yS7We8n3.QXwkPVpXD1", "secret"),
            ("$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "secret"),
            ("$apr1$a$p/g0wYsZLpabueylz/EjM.", "a longer password than 16 bytes"),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
        ] {
            assert!(verify(secret.as_bytes(), password.as_bytes()), "{secret}");
            assert!(!verify(secret.as_bytes(), b"Secret"), "{secret}");
        }
        let hashed = bcrypt::hash("secret", 4).unwrap();
        for prefix in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let secret = format!("{prefix}{}", &hashed[4..]);
            assert!(verify(secret.as_bytes(), b"secret"), "{secret}");
            assert!(!verify(secret.as_bytes(), b"Secret"), "{secret}");
        }
        for other in ["", "secret", "$5$salt$x", "$apr1$salt", "{SHA}"] {
            assert!(!verify(other.as_bytes(), b"secret"), "{other}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_the_next_look_and_an_old_password_no_more() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# people\nann:{}\n", bcrypt::hash("one", 4).unwrap()).unwrap();
        let passwords = Arc::new(Passwords::read(file.path()).unwrap());
        let at = |ms: u64| Moment::default() + Duration::from_millis(ms);
        let ask = async |password: &str, ms| match Passwords::ask(
            &passwords,
            b"ann",
            password.as_bytes(),
            at(ms),
        ) {
            Answer::Right => "known",
            Answer::Wrong => "no such user",
            Answer::Busy => "busy",
            Answer::Checking(check) => {
                if check.await.unwrap() {
                    "checked"
                } else {
                    "wrong"
                }
            }
        };
        assert_eq!(ask("one", 1).await, "checked");
        assert_eq!([ask("one", 2).await, ask("two", 3).await], ["known", "wrong"]);

        writeln!(file.as_file_mut(), "ann:{}", bcrypt::hash("two", 4).unwrap()).unwrap();
        assert_eq!(ask("two", 900).await, "wrong", "not looked at yet");
        assert_eq!(ask("one", 1002).await, "wrong");
        assert_eq!([ask("one", 1003).await, ask("two", 1004).await], ["wrong", "checked"]);
        assert_eq!(ask("two", 1005).await, "known");
    }

    #[tokio::test]
    async fn only_so_many_passwords_are_checked_at_once_and_remembered() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "ann:{{SHA}}x").unwrap();
        let passwords = Arc::new(Passwords::read(file.path()).unwrap());
        let places = passwords.checking.clone().acquire_many_owned(CHECKING_MAX as u32).await.unwrap();
        assert!(matches!(Passwords::ask(&passwords, b"ann", b"a", Moment(1)), Answer::Busy));
        drop(places);
        let mut known = Known::default();
        for number in 0..KNOWN_MAX as u64 + 5 {
            known.add(Sha256::digest(number.to_le_bytes()).into());
        }
        assert_eq!((known.prints.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
    }

    #[test]
    fn a_file_too_large_for_passwords_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(Passwords::read(file.path()).is_err());
    }
}
