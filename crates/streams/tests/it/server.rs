//! A server of Message DB's interface over an embedded store of its own.

use base::{Clock, Scope};
use std::time::Duration;
use store::{Log, LogOptions, Store};
use streams::messagedb::{Settings, serve};
use tempfile::TempDir;
use testkit::PATIENCE;

/// Serves until it is dropped.
#[allow(dead_code, reason = "each of those who share this file uses a part of it")]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) store: Store,
    stop: Scope,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: TempDir,
}

#[allow(dead_code, reason = "each of those who share this file uses a part of it")]
impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(folder.path(), Clock::system(), LogOptions::default()).unwrap();
        let store = Store::new(log);
        let stop = Scope::new(Clock::system(), |end| panic!("{end:?}"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (of_server, stopped) = (store.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, of_server, settings, Clock::system(), stopped).await.unwrap();
            });
        });
        Self { port, store, stop, thread: Some(thread), _folder: folder }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let begun = std::time::Instant::now();
            while !thread.is_finished() {
                assert!(begun.elapsed() < PATIENCE, "the server does not stop");
                std::thread::sleep(Duration::from_millis(2));
            }
            thread.join().unwrap();
        }
    }

    /// Asks it to stop and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.ask_to_stop();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
