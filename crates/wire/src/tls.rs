//! TLS by rustls with one provider (aws-lc). Nothing else in the project names either.

use base::{Fault, Kind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;

/// Makes our provider the process's own. Called first thing in `main` and in tests that use TLS: were a
/// second provider compiled in, rustls would refuse to choose.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// How a listener proves who it is.
#[derive(Clone)]
pub struct ServerTls(pub(crate) tokio_rustls::TlsAcceptor);

impl ServerTls {
    /// From PEM files: a certificate chain, leaf first, and its private key. Serves HTTP/1.1 by ALPN.
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
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }
}

/// Whom we trust when we call out.
#[derive(Clone)]
pub struct ClientTls(tokio_rustls::TlsConnector);

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
        Self(tokio_rustls::TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::new(Kind::Invalid, format!("`{host}` is no name TLS could check")))?;
        self.0.connect(name, stream).await.map_err(|error| {
            Fault::new(Kind::Unavailable, format!("no TLS connection to `{host}`")).because(error)
        })
    }
}
