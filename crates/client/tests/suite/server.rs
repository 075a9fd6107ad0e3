//! The API of streams over a store of its own, served on a socket of this process.

use base::Clock;
use store::{Embedded, LogOptions, Store};
use streams::http::{Api, Parts};
use tombolo_client::Client;
use wire::{Drainer, Handler, Limits, Peer, Request, Response};

/// Serves until dropped.
pub(crate) struct Server {
    url: String,
    _drainer: Drainer,
    _folder: tempfile::TempDir,
}

#[derive(Clone)]
struct Answers(Api);

impl Handler for Answers {
    async fn handle(&self, request: Request, _: &Peer) -> Response {
        self.0.answer(request, false).await
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let (embedded, _) = Embedded::open(folder.path(), clock.clone(), LogOptions::default()).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let (drainer, drain) = Drainer::new();
        let api = Api::new(Parts {
            store: Store::of(encrypted.clone()),
            state: embedded.state(),
            encrypted,
            clock,
            drain: drain.clone(),
            keep_alive: std::time::Duration::from_secs(15),
        });
        let listener = wire::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(wire::serve(listener, None, None, Limits::default(), Answers(api), drain));
        Self { url, _drainer: drainer, _folder: folder }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url).unwrap()
    }
}
