//! One client of a store: the store in this process, Tombolo's HTTP API, or Message DB's functions, which Tombolo and
//! PostgreSQL both serve. Each appends one message and waits until it is durable, and reads one page.

use crate::load::{KIND, METADATA, Told};
use crate::nats::Nats;
use crate::redis::Redis;
use base::Clock;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::path::Path;
use std::time::Duration;
use store::{Append, Embedded, LogOptions, Page, Read, Scope, Store};
use tokio::time::Instant;
use tokio_postgres::{NoTls, Row, Statement};
use wire::{Body, Connection, Dialer, Origin, Request, Response, Scheme};

/// Longest wait for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client.
pub(crate) enum Client {
    Process(Store, Embedded),
    Http(Http),
    MessageDb(MessageDb),
    Redis(Redis),
    Nats(Nats),
}

/// A page as it came.
pub(crate) enum Answer {
    Page(Page),
    Json(Bytes),
    Rows(Vec<Row>),
}

impl Answer {
    /// How many messages are in it.
    pub(crate) fn messages(&self) -> usize {
        match self {
            Self::Page(page) => page.messages.len(),
            Self::Json(bytes) => {
                let page: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                page["messages"].as_array().map_or(0, Vec::len)
            }
            Self::Rows(rows) => rows.len(),
        }
    }
}

impl Client {
    /// The store in a data directory.
    pub(crate) fn in_process(folder: &Path) -> Self {
        let (embedded, _) = Embedded::open(folder, Clock::system(), LogOptions::default()).unwrap();
        Self::Process(embedded.store(), embedded)
    }

    /// A connection to a server on this machine.
    pub(crate) async fn connect(via: &str, port: u16) -> Self {
        match via {
            "http" => Self::Http(Http::connect(port).await),
            "messagedb" => Self::MessageDb(MessageDb::connect(port).await),
            "redis" => Self::Redis(Redis::connect(port).await),
            "nats" => Self::Nats(Nats::connect(port).await),
            other => panic!("`via={other}` is no way to a store"),
        }
    }

    /// Appends one message; it is durable then, as far as the store makes it so.
    pub(crate) async fn append(&mut self, stream: String, told: Told) {
        match self {
            Self::Process(store, _) => {
                let messages = vec![told.into_new()];
                let append = Append { stream, expected_version: None, messages };
                store.append(vec![append]).await.unwrap();
            }
            Self::Http(http) => http.append(&stream, &told).await,
            Self::MessageDb(messagedb) => messagedb.append(&stream, &told).await,
            Self::Redis(redis) => redis.append(&stream, &told).await,
            Self::Nats(nats) => nats.append(&stream, &told).await,
        }
    }

    /// Reads a page forward.
    pub(crate) async fn read(&mut self, read: Read) -> Answer {
        match self {
            Self::Process(store, _) => Answer::Page(store.read(read).await.unwrap()),
            Self::Http(http) => Answer::Json(http.read(&read).await),
            Self::MessageDb(messagedb) => Answer::Rows(messagedb.read(&read).await),
            Self::Redis(_) | Self::Nats(_) => panic!("pages are read from Tombolo and Message DB"),
        }
    }
}

/// A connection to the HTTP API that is kept.
pub(crate) struct Http {
    connection: Connection,
    host: HeaderValue,
}

impl Http {
    pub(crate) async fn connect(port: u16) -> Self {
        let origin = Origin { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
        let connection = Dialer::default().dial(&origin).await.unwrap();
        Self { connection, host: HeaderValue::try_from(origin.host_header()).unwrap() }
    }

    pub(crate) async fn append(&mut self, stream: &str, told: &Told) {
        let Told { id, data } = told;
        let body = format!(r#"{{"id":"{id}","type":"{KIND}","data":{data},"metadata":{METADATA}}}"#);
        let target = format!("/api/v1/streams/{stream}/messages");
        let response = self.send(Method::POST, &target, (CONTENT_TYPE, "application/json"), body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.into_body().collect(ANSWER_BYTES_MAX).await.unwrap();
    }

    async fn read(&mut self, read: &Read) -> Bytes {
        let of = match &read.scope {
            Scope::Stream(name) => format!("streams/{name}"),
            Scope::Category(name) => format!("categories/{name}"),
            Scope::All => panic!("all messages are not read here"),
        };
        let target = format!("/api/v1/{of}/messages?from={}&limit={}", read.from, read.limit);
        let response = self.send(Method::GET, &target, (ACCEPT, "application/json"), String::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect(ANSWER_BYTES_MAX).await.unwrap()
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        target: &str,
        field: (HeaderName, &'static str),
        body: String,
    ) -> Response {
        assert!(self.connection.ready().await, "the server closed the connection");
        let mut request = Request::new(if body.is_empty() { Body::empty() } else { Body::full(body) });
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(field.0, HeaderValue::from_static(field.1));
        let sent = self.connection.send(request, Instant::now() + PATIENCE).await;
        sent.map_err(|error| error.fault).unwrap()
    }
}

/// A connection with Message DB's functions, prepared.
pub(crate) struct MessageDb {
    client: tokio_postgres::Client,
    write: Statement,
    stream: Statement,
    category: Statement,
}

impl MessageDb {
    async fn connect(port: u16) -> Self {
        let config = format!("host=127.0.0.1 port={port} user=message_store dbname=message_store");
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute("SET search_path TO message_store, public").await.unwrap();
        let write = format!(
            "SELECT write_message($1::varchar, $2::varchar, '{KIND}', $3::text::jsonb, '{METADATA}', NULL)"
        );
        Self {
            write: client.prepare(&write).await.unwrap(),
            stream: client.prepare("SELECT * FROM get_stream_messages($1, $2, $3)").await.unwrap(),
            category: client.prepare("SELECT * FROM get_category_messages($1, $2, $3)").await.unwrap(),
            client,
        }
    }

    async fn append(&self, stream: &str, told: &Told) {
        let id = told.id.to_string();
        self.client.query_one(&self.write, &[&id, &stream, &told.data]).await.unwrap();
    }

    async fn read(&self, read: &Read) -> Vec<Row> {
        let (statement, name) = match &read.scope {
            Scope::Stream(name) => (&self.stream, name),
            Scope::Category(name) => (&self.category, name),
            Scope::All => panic!("all messages are not read here"),
        };
        self.client.query(statement, &[name, &read.from, &(read.limit as i64)]).await.unwrap()
    }
}
