//! How a listener proves who it is: certificates by name, read again when their files change.

use super::{Reread, TlsVersion, provider, read_pair};
use crate::server::Limits;
use arc_swap::ArcSwap;
use base::{Fault, Kind};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// PEM files of a certificate chain, leaf first, and of its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Both, to be watched.
    pub(super) fn both(&self) -> [PathBuf; 2] {
        [self.chain.clone(), self.key.clone()]
    }
}

/// How a listener proves who it is. Serves HTTP/2 and HTTP/1.1 by ALPN; sessions are resumed by tickets, on
/// whichever core the client comes back to.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

/// The certificates in force and where they come from.
#[derive(Debug)]
struct Certificates {
    files: Vec<CertificateFiles>,
    current: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl ServerTls {
    /// One certificate for whatever name a client calls.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, Fault> {
        let files = CertificateFiles { chain: chain.to_owned(), key: key.to_owned() };
        Self::from_pairs(vec![files], TlsVersion::default())
    }

    /// Several certificates: the first whose names a client calls (SNI) and whose key it understands, or
    /// simply the first. Fails when one of them can't be used.
    pub fn from_pairs(files: Vec<CertificateFiles>, oldest: TlsVersion) -> Result<Self, Fault> {
        let certificates = read_all(&files)?;
        if certificates.is_empty() {
            return Err(Fault::new(Kind::Invalid, "TLS needs a certificate"));
        }
        let certificates = Arc::new(Certificates { files, current: ArcSwap::from_pointee(certificates) });
        let bug = |error| Fault::new(Kind::Bug, "the provider lacks a version of TLS").because(error);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&oldest.and_later())
            .map_err(bug)?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(bug)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates })
    }

    /// The connection after its handshake, if that succeeds in time.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limits: &Limits,
        handshakes: &Semaphore,
    ) -> Option<TlsStream<TcpStream>> {
        let handshake = async {
            // Handshakes cost more than requests: a crowd of them shall not starve who is connected.
            let _place = handshakes.acquire().await.ok()?;
            self.acceptor.accept(stream).await.ok()
        };
        tokio::time::timeout(limits.handshake_timeout, handshake).await.ok()?
    }
}

impl Reread for ServerTls {
    fn files(&self) -> Vec<PathBuf> {
        self.certificates.files.iter().flat_map(CertificateFiles::both).collect()
    }

    fn reload(&self) -> Result<bool, Fault> {
        let certificates = read_all(&self.certificates.files)?;
        let current = self.certificates.current.load();
        let same = |(new, old): (&Arc<CertifiedKey>, &Arc<CertifiedKey>)| new.cert == old.cert;
        if certificates.iter().zip(current.iter()).all(same) {
            return Ok(false);
        }
        self.certificates.current.store(Arc::new(certificates));
        Ok(true)
    }
}

fn read_all(files: &[CertificateFiles]) -> Result<Vec<Arc<CertifiedKey>>, Fault> {
    files.iter().map(|files| read_pair(&files.chain, &files.key).map(Arc::new)).collect()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        if let [only] = current.as_slice() {
            return Some(only.clone());
        }
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let called =
            |certificate: &&Arc<CertifiedKey>| name.as_ref().is_none_or(|name| is_for(certificate, name));
        let understood = |certificate: &&Arc<CertifiedKey>| {
            certificate.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let find = |wanted: &dyn Fn(&&Arc<CertifiedKey>) -> bool| current.iter().find(|one| wanted(one));
        let best = find(&|one| called(one) && understood(one)).or_else(|| find(&called));
        best.or_else(|| find(&understood)).or(current.first()).cloned()
    }
}

/// Whether a certificate is for this name; wildcards stand for one label.
fn is_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = certificate.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    leaf.is_some_and(|leaf| verify_server_name(&leaf, name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientTls, Trust};
    use rustls::HandshakeKind;
    use tokio::net::TcpListener;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// Writes a pair for these names.
        fn pair(&self, file: &str, names: &[&str]) -> CertificateFiles {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let files = self.files(file);
            std::fs::write(&files.chain, made.cert.pem()).unwrap();
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            files
        }

        fn files(&self, file: &str) -> CertificateFiles {
            CertificateFiles {
                chain: self.0.path().join(format!("{file}.pem")),
                key: self.0.path().join(format!("{file}.key")),
            }
        }
    }

    /// A handshake by this name: what the server showed, and of what kind it was.
    async fn shake(
        tls: &ServerTls,
        client: &ClientTls,
        name: &str,
    ) -> Result<(rustls::pki_types::CertificateDer<'static>, HandshakeKind), Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = tls.clone();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tls.accept(stream, &Limits::default(), &Semaphore::new(1)).await?;
            // Tickets come with the first bytes.
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.ok()
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = client.connect(name, stream, crate::Speak::Either).await?;
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
        served.await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
        let shown = connection.peer_certificates().unwrap()[0].clone().into_owned();
        Ok((shown, connection.handshake_kind().unwrap()))
    }

    fn believer() -> ClientTls {
        ClientTls::trusting(Trust { insecure: true, ..Trust::default() }).unwrap()
    }

    fn leaf(files: &CertificateFiles) -> rustls::pki_types::CertificateDer<'static> {
        super::super::read_certificates(&files.chain).unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_client_is_shown_the_certificate_of_the_name_it_calls() {
        let folder = Folder::new();
        let files = vec![
            folder.pair("first", &["first.example"]),
            folder.pair("wild", &["*.shop.example"]),
            folder.pair("cart", &["cart.shop.example", "cart.example"]),
        ];
        let tls = ServerTls::from_pairs(files.clone(), TlsVersion::default()).unwrap();
        for (name, expected) in [
            ("first.example", 0),
            ("any.shop.example", 1),
            ("cart.shop.example", 1),
            ("CART.example", 2),
            ("a.b.shop.example", 0),
            ("other.example", 0),
            ("127.0.0.1", 0),
        ] {
            let (shown, _) = shake(&tls, &believer(), name).await.unwrap();
            assert_eq!(shown, leaf(&files[expected]), "{name}");
        }
    }

    #[tokio::test]
    async fn new_files_are_put_in_force_and_bad_ones_are_not() {
        let folder = Folder::new();
        let files = folder.pair("a", &["localhost"]);
        let tls = ServerTls::from_files(&files.chain, &files.key).unwrap();
        assert!(!tls.reload().unwrap(), "nothing has changed");
        let old = leaf(&files);
        folder.pair("a", &["localhost"]);
        assert!(tls.reload().unwrap());
        let new = leaf(&files);
        assert_ne!(old, new);
        assert_eq!(shake(&tls, &believer(), "localhost").await.unwrap().0, new);
        // Half of another pair, then no certificate at all.
        let other = folder.pair("b", &["localhost"]);
        std::fs::copy(&other.chain, &files.chain).unwrap();
        let fault = tls.reload().unwrap_err();
        assert!(fault.to_string().contains("and its key can't be used"), "{fault}");
        std::fs::write(&files.chain, "").unwrap();
        assert!(tls.reload().unwrap_err().message.contains("holds no certificate"));
        std::fs::remove_file(&files.key).unwrap();
        assert!(tls.reload().is_err());
        assert_eq!(shake(&tls, &believer(), "localhost").await.unwrap().0, new, "the last good one stays");
    }

    #[tokio::test]
    async fn sessions_are_resumed() {
        let folder = Folder::new();
        let files = folder.pair("a", &["localhost"]);
        for oldest in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let tls = ServerTls::from_pairs(vec![files.clone()], oldest).unwrap();
            let client = ClientTls::from_file(&files.chain).unwrap();
            assert_eq!(shake(&tls, &client, "localhost").await.unwrap().1, HandshakeKind::Full);
            assert_eq!(shake(&tls, &client, "localhost").await.unwrap().1, HandshakeKind::Resumed);
        }
    }

    #[tokio::test]
    async fn only_who_is_vouched_for_is_believed_unless_nobody_need_be() {
        let folder = Folder::new();
        let (files, others) = (folder.pair("a", &["localhost"]), folder.pair("b", &["localhost"]));
        let tls = ServerTls::from_files(&files.chain, &files.key).unwrap();
        assert!(shake(&tls, &ClientTls::from_file(&files.chain).unwrap(), "localhost").await.is_ok());
        assert!(shake(&tls, &ClientTls::from_file(&files.chain).unwrap(), "other.example").await.is_err());
        assert!(shake(&tls, &ClientTls::from_file(&others.chain).unwrap(), "localhost").await.is_err());
        assert!(shake(&tls, &believer(), "other.example").await.is_ok());
    }

    #[tokio::test]
    async fn new_roots_are_believed_and_bad_ones_change_nothing() {
        let folder = Folder::new();
        let (files, others) = (folder.pair("a", &["localhost"]), folder.pair("b", &["localhost"]));
        let tls = ServerTls::from_files(&files.chain, &files.key).unwrap();
        let roots = others.chain.with_file_name("roots.pem");
        std::fs::copy(&others.chain, &roots).unwrap();
        let client = ClientTls::from_file(&roots).unwrap();
        assert_eq!(client.files(), std::slice::from_ref(&roots));
        assert!(!client.reload().unwrap(), "nothing has changed");
        assert!(shake(&tls, &client, "localhost").await.is_err());
        std::fs::copy(&files.chain, &roots).unwrap();
        assert!(client.reload().unwrap());
        assert!(shake(&tls, &client, "localhost").await.is_ok());
        std::fs::write(&roots, "").unwrap();
        assert!(client.reload().unwrap_err().message.contains("holds no certificate"));
        assert!(shake(&tls, &client, "localhost").await.is_ok(), "the last good ones stay");
        // What we are ourselves is read again, too.
        let identity = Some(others.clone());
        let client = ClientTls::trusting(Trust { insecure: true, identity, ..Trust::default() }).unwrap();
        assert_eq!(client.files(), [others.chain.clone(), others.key.clone()]);
        assert!(!client.reload().unwrap());
        folder.pair("b", &["localhost"]);
        assert!(client.reload().unwrap());
    }

    #[tokio::test]
    async fn versions_older_than_told_are_not_spoken() {
        let folder = Folder::new();
        let files = folder.pair("a", &["localhost"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (oldest, spoken) in [(TlsVersion::V1_2, true), (TlsVersion::V1_3, false)] {
            let tls = ServerTls::from_pairs(vec![files.clone()], oldest).unwrap();
            let old = rustls::ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS12])
                .unwrap();
            let mut roots = rustls::RootCertStore::empty();
            roots.add(leaf(&files)).unwrap();
            let old = old.with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(old));
            let (limits, handshakes) = (Limits::default(), Semaphore::new(1));
            let serving =
                async { tls.accept(listener.accept().await.unwrap().0, &limits, &handshakes).await };
            let calling = async { connector.connect(name, TcpStream::connect(address).await.unwrap()).await };
            let (served, called) = tokio::join!(serving, calling);
            assert_eq!((served.is_some(), called.is_ok()), (spoken, spoken), "{oldest:?}");
        }
    }
}
