//! A private PostgreSQL from Debian's binaries: a directory of its own under the temporary one, a socket in it
//! and a free port. A guardian shell ends it and takes its directory away when whoever started it has gone, be
//! it killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Starts the server as its child, and ends it when the pipe to us breaks.
const GUARDIAN: &str = r#"
    trap '' INT TERM
    "$@" >>"$0/log" 2>&1 &
    read -r _
    kill -INT "$(head -n 1 "$0/data/postmaster.pid")" 2>/dev/null
    wait
    rm -rf "$0"
"#;

/// A running PostgreSQL. Dropping it stops it and takes its directory away.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    guardian: Option<Child>,
}

impl Postgres {
    /// The server that the tests of one process share; each makes a database of its own. It ends with the process.
    ///
    /// # Panics
    /// Like all of these, when PostgreSQL's programs are not there or fail: a test does not skip.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server for one test that stops it, or changes its settings.
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tombolo-postgres-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written to");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&folder));
        }
        let data = folder.join("data");
        let mut initdb = as_nobody(&program("initdb"));
        initdb.arg("-D").arg(&data);
        run(initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]));
        // A port that was free a moment ago: the server listens on it, and its socket is named after it.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("there is a free port").port();
        let mut server = Self { folder, port, guardian: None };
        server.resume();
        server
    }

    /// Starts it again, after [`Postgres::crash`] or for the first time.
    pub fn resume(&mut self) {
        let mut guarded = Command::new("sh");
        guarded.arg("-c").arg(GUARDIAN).arg(&self.folder);
        if is_root() {
            guarded.args(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        guarded.arg(program("postgres")).arg("-D").arg(self.folder.join("data"));
        guarded.arg("-k").arg(&self.folder).arg("-p").arg(self.port.to_string());
        // What is lost with the machine's power is of no interest here, but what is lost with the server's
        // processes is; and that is on the disk's cache in any case.
        for setting in
            ["fsync=off", "max_connections=200", "max_prepared_transactions=5", "log_lock_waits=on"]
        {
            guarded.args(["-c", setting]);
        }
        guarded.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.guardian = Some(guarded.spawn().expect("sh is there"));
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let begun = std::time::Instant::now();
        while !self.answers("SELECT 1") {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < crate::PATIENCE * 3, "PostgreSQL does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server as a crash would, keeping its files.
    pub fn crash(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
        let pid = pid.expect("it runs").lines().next().unwrap_or_default().to_owned();
        run(Command::new("kill").args(["-QUIT", &pid]));
        let begun = std::time::Instant::now();
        while self.folder.join("data/postmaster.pid").exists() {
            assert!(begun.elapsed() < crate::PATIENCE, "PostgreSQL does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        // The guardian's own end would take the files away.
        if let Some(mut guardian) = self.guardian.take() {
            let _ = guardian.kill();
            let _ = guardian.wait();
        }
    }

    /// An address of a database of this server, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Offers TLS from now on, with this certificate and its key (PEM).
    pub fn offer_tls(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.folder.join("data").join(name);
            std::fs::write(&path, text).expect("the server's directory can be written to");
            // It takes no key that others may read.
            let own = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, own).expect("it is ours");
            if is_root() {
                run(Command::new("chown").arg("nobody").arg(&path));
            }
        }
        self.run("postgres", "ALTER SYSTEM SET ssl = on");
        self.run("postgres", "SELECT pg_reload_conf()");
        let begun = std::time::Instant::now();
        while self.run("postgres", "SHOW ssl") != "on" {
            assert!(begun.elapsed() < crate::PATIENCE, "PostgreSQL does not offer TLS");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database of a name that was not there before, and answers it.
    pub fn database(&self) -> String {
        self.database_with("")
    }

    /// A database that orders text as people do and not by its bytes.
    pub fn database_of_people(&self) -> String {
        self.database_with("LOCALE_PROVIDER icu ICU_LOCALE 'en' TEMPLATE template0")
    }

    fn database_with(&self, options: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name} {options}"));
        name
    }

    /// Runs statements by `psql` and answers what it prints.
    pub fn run(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql).output().expect("psql is there");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn answers(&self, sql: &str) -> bool {
        self.psql("postgres", sql).output().is_ok_and(|output| output.status.success())
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.folder);
        psql.arg("-p").arg(self.port.to_string()).args(["-d", database, "-c", sql]);
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            drop(guardian.stdin.take());
            let _ = guardian.wait();
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A program of PostgreSQL: in the newest of Debian's folders, or on the PATH.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            let path = version.path().join("bin").join(name);
            path.exists().then_some((number, path))
        })
        .collect();
    found.sort();
    found.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The server refuses to run as root.
fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}; `./check --setup` installs PostgreSQL", command.get_program().to_string_lossy())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_server_keeps_what_it_has_over_a_crash_and_leaves_nothing() {
        let mut server = Postgres::start();
        let database = server.database();
        server.run(&database, "CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)");
        server.crash();
        server.resume();
        assert_eq!(server.run(&database, "SELECT number FROM kept"), "7");
        let folder = server.folder.clone();
        drop(server);
        assert!(!folder.exists());
    }
}
