//! TLS by rustls with one provider (aws-lc). Nothing else in the project names either.

use crate::server::Limits;
use base::{Fault, Kind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Makes our provider the process's own. Called first thing in `main` and in tests that use TLS: were a
/// second provider compiled in, rustls would refuse to choose.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// How a listener proves who it is.
#[derive(Clone)]
pub struct ServerTls(tokio_rustls::TlsAcceptor);

impl ServerTls {
    /// From PEM files: a certificate chain, leaf first, and its private key. Serves HTTP/2 and HTTP/1.1 by ALPN.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, Fault> {
        install_crypto();
        let wrong =
            |path: &Path, what: &str| Fault::new(Kind::Invalid, format!("`{}` {what}", path.display()));
        let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(chain, "can't be read as PEM certificates").because(error))?;
        if certificates.is_empty() {
            return Err(wrong(chain, "holds no certificate").hint("it must have a `BEGIN CERTIFICATE` block"));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| wrong(key, "can't be read as a PEM private key").because(error))?;
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, private)
            .map_err(|error| {
                wrong(chain, "and its key can't be used").hint("are they of one pair?").because(error)
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }

    /// The connection after its handshake, if that succeeds in time.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limits: &Limits,
        handshakes: &Semaphore,
    ) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
        let handshake = async {
            // Handshakes cost more than requests: a crowd of them shall not starve who is connected.
            let _place = handshakes.acquire().await.ok()?;
            self.0.accept(stream).await.ok()
        };
        tokio::time::timeout(limits.handshake_timeout, handshake).await.ok()?
    }
}

/// Whom we trust when we call out.
#[derive(Clone)]
pub struct ClientTls {
    /// Offers HTTP/2 and HTTP/1.1.
    both: tokio_rustls::TlsConnector,
    /// Offers HTTP/1.1 alone.
    http1: tokio_rustls::TlsConnector,
}

/// What a client offers to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Both,
    Http1,
}

impl ClientTls {
    /// The machine's roots, read once for the process.
    pub fn system() -> Result<Self, Fault> {
        static SHARED: OnceLock<Result<ClientTls, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                let mut roots = rustls::RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(
                        "this machine has no root certificates; install the package ca-certificates".into()
                    );
                }
                Ok(Self::trusting(roots))
            })
            .clone()
            .map_err(|why| Fault::new(Kind::Unavailable, why))
    }

    /// The roots of a PEM file and no others.
    pub fn from_file(roots: &Path) -> Result<Self, Fault> {
        let mut store = rustls::RootCertStore::empty();
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(roots).and_then(Iterator::collect);
        let (added, _) = store.add_parsable_certificates(certificates.map_err(|error| {
            Fault::new(Kind::Invalid, format!("`{}` can't be read as PEM certificates", roots.display()))
                .because(error)
        })?);
        if added == 0 {
            return Err(Fault::new(
                Kind::Invalid,
                format!("`{}` holds no root certificate", roots.display()),
            ));
        }
        Ok(Self::trusting(store))
    }

    fn trusting(roots: rustls::RootCertStore) -> Self {
        install_crypto();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = tokio_rustls::TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { both: tokio_rustls::TlsConnector::from(Arc::new(config)), http1 }
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
        offer: Offer,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::new(Kind::Invalid, format!("`{host}` is no name TLS could check")))?;
        let connector = match offer {
            Offer::Both => &self.both,
            Offer::Http1 => &self.http1,
        };
        connector.connect(name, stream).await.map_err(|error| {
            Fault::new(Kind::Unavailable, format!("no TLS connection to `{host}`")).because(error)
        })
    }
}
