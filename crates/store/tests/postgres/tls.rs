//! A store whose connections are encrypted (`sslmode=require`): with a server that its machine's authorities vouch for,
//! and with those that it must not believe. The authorities are read from the environment, so that each store is opened
//! by a process of its own.

use crate::{append, ids};
use base::Clock;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::process::Command;
use store::{Postgres, PostgresOptions, Read};
use testkit::Postgres as Server;

/// Tells the process that opens a store its address.
const ADDRESS: &str = "TOMBOLO_TEST_ADDRESS";

/// Somebody who vouches for servers.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Gives a server a certificate for this name.
    fn vouch(&self, server: &Server, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        server.offer_tls(&params.signed_by(&key, &self.issuer).unwrap().pem(), &key.serialize_pem());
    }

    /// What becomes of a store that is opened where this is the only authority.
    fn opens(&self, url: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorities.pem");
        fs::write(&file, &self.pem).unwrap();
        let mut client = Command::new(std::env::current_exe().unwrap());
        client.args(["--exact", "tls::whoever_opens_it", "--ignored", "--nocapture"]);
        client.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", file).env(ADDRESS, url);
        let said = String::from_utf8(client.output().unwrap().stdout).unwrap();
        let told = said.lines().find_map(|line| line.split_once("told: "));
        told.unwrap_or_else(|| panic!("it says nothing:\n{said}")).1.to_owned()
    }
}

#[tokio::test]
#[ignore = "the other process of the tests beside it"]
async fn whoever_opens_it() {
    let url = std::env::var(ADDRESS).expect("the tests beside it say the address");
    println!("told: {}", told(&url).await);
}

async fn told(url: &str) -> String {
    match Postgres::open(url, Clock::system(), PostgresOptions::default()).await {
        Ok(opened) => {
            let store = opened.store();
            store.append(vec![append("a-1", [1, 2])]).await.unwrap();
            let read = ids(&store, Read::all()).await;
            let sql = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl
                JOIN pg_stat_activity USING (pid) WHERE application_name = 'tombolo'";
            let counts = crate::foreign(&url.replace("require", "disable")).await;
            let counts = counts.query_one(sql, &[]).await.unwrap();
            let (all, encrypted): (i64, i64) = (counts.get(0), counts.get(1));
            format!("read {read:?}, {} connections, {} in the clear", all > 1, all - encrypted)
        }
        Err(fault) => format!("{:?}, {fault}; {}", fault.kind, fault.hint.as_deref().unwrap_or_default()),
    }
}

/// The server and an address of it that asks for TLS.
fn server() -> (Server, String) {
    let server = Server::start();
    let url = format!("{}?sslmode=require", server.url(&server.database()));
    (server, url)
}

#[test]
fn every_connection_to_a_server_that_is_vouched_for_is_encrypted() {
    let (server, url) = server();
    let authority = Authority::new("one");
    authority.vouch(&server, "127.0.0.1");
    assert_eq!(authority.opens(&url), "read [1, 2], true connections, 0 in the clear");
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_with_a_remedy() {
    let (server, url) = server();
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let check = |cause: &str, remedy: &str| {
        let opens = authority.opens(&url);
        let (place, why) = opens.split_once(": error performing TLS handshake: ").expect(&opens);
        assert!(place.starts_with("Refused, cannot connect to database `"), "{opens}");
        assert!(why.starts_with(cause) && why.ends_with(remedy), "{opens}");
    };
    check(
        "server does not support TLS; ",
        "set `ssl = on` at the server, or leave `sslmode=require` out of the address",
    );
    let remedy = "; the server's certificate has to be for the host of the address, and from an authority of this \
        machine; `SSL_CERT_FILE` may name a file of others";
    other.vouch(&server, "127.0.0.1");
    check("invalid peer certificate: UnknownIssuer", remedy);
    authority.vouch(&server, "db.example");
    check("invalid peer certificate: certificate not valid for name \"127.0.0.1\"", remedy);
}
