//! TLS by rustls with one provider (aws-lc). Nothing else in the project names either. How a listener proves
//! who it is lies in `server`, whom we trust when we call out in `client`.

mod client;
mod server;

pub use client::{ClientTls, Trust};
pub use server::{CertificateFiles, ServerTls};

use base::{Fault, Kind};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes our provider the process's own. Called first thing in `main` and in tests that use TLS: were a
/// second provider compiled in, rustls would refuse to choose.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    install_crypto();
    CryptoProvider::get_default().cloned().expect("it was installed just now, or before")
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// Reads `1.2`, `12`, `1.3` or `13`, as Skipper's `-tls-min-version` does. Older versions are broken and
    /// spoken by nobody here.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "1.2" | "12" => Ok(TlsVersion::V1_2),
            "1.3" | "13" => Ok(TlsVersion::V1_3),
            "1.0" | "10" | "1.1" | "11" => {
                Err(format!("TLS {text} is broken (RFC 8996) and not served; use 1.2 or 1.3"))
            }
            _ => Err(format!("`{text}` is no version of TLS; use 1.2 or 1.3")),
        }
    }

    fn and_later(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        match self {
            TlsVersion::V1_2 => vec![&rustls::version::TLS12, &rustls::version::TLS13],
            TlsVersion::V1_3 => vec![&rustls::version::TLS13],
        }
    }
}

/// What is read from files, and again when they change.
pub trait Reread: Clone + Send + Sync + 'static {
    /// The files, to be watched.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files again and puts what they hold in force for new connections, if it differs; says whether it did.
    /// All of them must be good: otherwise the old ones stay, and the fault says why.
    fn reload(&self) -> Result<bool, Fault>;
}

fn wrong(path: &Path, what: &str) -> Fault {
    Fault::new(Kind::Invalid, format!("`{}` {what}", path.display()))
}

/// A certificate chain, leaf first, and its key, which belongs to it.
fn read_pair(chain: &Path, key: &Path) -> Result<rustls::sign::CertifiedKey, Fault> {
    let certificates = read_certificates(chain)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(key, "can't be read as a PEM private key").because(error))?;
    rustls::sign::CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| {
        wrong(chain, "and its key can't be used").hint("are they of one pair?").because(error)
    })
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(file, "can't be read as PEM certificates").because(error))?;
    if certificates.is_empty() {
        return Err(wrong(file, "holds no certificate").hint("it must have a `BEGIN CERTIFICATE` block"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_skipper_writes_them() {
        assert_eq!(
            (TlsVersion::parse("1.2"), TlsVersion::parse("13")),
            (Ok(TlsVersion::V1_2), Ok(TlsVersion::V1_3))
        );
        assert!(TlsVersion::parse("1.1").unwrap_err().contains("broken"));
        assert!(TlsVersion::parse("SSLv3").unwrap_err().contains("no version"));
    }
}
