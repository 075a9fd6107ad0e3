//! The API of streams as `tombolo up` serves it, in this process: the services under test write and read there.

use std::sync::mpsc;
use streams::http::{Api, Parts};
use wire::{Drainer, Handler, Limits, Peer, Request, Response};

/// Serves on a thread of its own until dropped.
pub(crate) struct Streams {
    pub(crate) url: String,
    drainer: Drainer,
    thread: Option<std::thread::JoinHandle<()>>,
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
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = base::Clock::system();
        let options = store::LogOptions::default();
        let (embedded, _) = store::Embedded::open(folder.path(), clock.clone(), options).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let (drainer, drain) = Drainer::new();
        let api = Api::new(Parts {
            store: store::Store::of(encrypted.clone()),
            state: embedded.state(),
            encrypted,
            clock,
            drain: drain.clone(),
            keep_alive: std::time::Duration::from_secs(15),
        });
        let (told, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                wire::serve(listener, None, None, Limits::default(), Answers(api), drain).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, drainer, thread: Some(thread), _folder: folder }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.drainer.drain();
        // The services have ended by now, and their connections with them.
        self.thread.take().unwrap().join().unwrap();
    }
}
