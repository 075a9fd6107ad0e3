//! The API of streams as `tombolo up` serves it, over files of its own and in this process: what clients and services
//! under test write and read.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Embedded, LogOptions, Store};
use streams::http::{Api, Parts};
use wire::{Drainer, Handler, Limits, Peer, Request, Response};

/// Serves on a thread of its own until dropped.
pub struct Streams {
    url: String,
    drainer: Drainer,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

#[derive(Clone)]
struct Answers(Api);

impl Handler for Answers {
    async fn handle(&self, request: Request, _: &Peer) -> Response {
        self.0.answer(request, false).await
    }
}

impl Streams {
    /// Starts with empty streams, on a free port of this machine.
    ///
    /// # Panics
    /// When this machine has no free port, or no room for temporary files.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = base::Clock::system();
        let (embedded, _) = Embedded::open(folder.path(), clock.clone(), LogOptions::default())
            .expect("a store in a new folder");
        let encrypted = embedded.encrypted(clock.clone());
        let (drainer, drain) = Drainer::new();
        let api = Api::new(Parts {
            store: Store::of(encrypted.clone()),
            state: embedded.state(),
            encrypted,
            clock,
            drain: drain.clone(),
            keep_alive: Duration::from_secs(15),
            spans: None,
        });
        let listener = wire::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a listener of this runtime");
                wire::serve(listener, None, None, Limits::default(), Answers(api), drain)
                    .await
                    .expect("serving ends");
            });
        });
        Self { url, drainer, thread: Some(thread), _folder: folder }
    }

    /// Where the API is: what services have as `TOMBOLO_API_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.drainer.drain();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
