//! The flags about TLS: whom the gateway believes, and who it is to backends.

use base::Fault;
use clap::Args;
use std::path::{Path, PathBuf};
use wire::{CertificateFiles, ClientTls, TlsVersion, Trust};

/// Flags about TLS.
#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsFlags {
    /// The oldest version of TLS that is spoken, to clients and to backends: 1.2 or 1.3
    #[arg(long, default_value = "1.2", value_parser = TlsVersion::parse, value_name = "VERSION")]
    pub(crate) tls_min_version: TlsVersion,

    /// PEM file of the roots that https backends must be vouched for by, in place of the machine's; watched for
    /// changes
    #[arg(long, value_name = "FILE")]
    backend_roots: Option<PathBuf>,

    /// Believe every https backend, whoever vouches for it
    #[arg(long, conflicts_with = "backend_roots")]
    insecure: bool,

    /// PEM file of a certificate chain, shown to https backends that ask for one; watched for changes
    #[arg(long, value_name = "FILE", requires = "client_tls_key")]
    client_tls_cert: Option<PathBuf>,

    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "client_tls_cert")]
    client_tls_key: Option<PathBuf>,
}

impl TlsFlags {
    /// Whom the gateway believes; `None` when nothing was said.
    pub(super) fn client(&self, folder: &Path) -> Result<Option<ClientTls>, Fault> {
        let [roots, chain, key] = [&self.backend_roots, &self.client_tls_cert, &self.client_tls_key]
            .map(|path| path.as_ref().map(|path| folder.join(path)));
        let trust = Trust {
            roots,
            insecure: self.insecure,
            identity: chain.zip(key).map(|(chain, key)| CertificateFiles { chain, key }),
            oldest: self.tls_min_version,
        };
        let silent = trust.roots.is_none() && !trust.insecure && trust.identity.is_none();
        if silent && trust.oldest == TlsVersion::default() {
            return Ok(None);
        }
        ClientTls::trusting(trust).map(Some)
    }
}
