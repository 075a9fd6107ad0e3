//! The flags about TLS: how the gateway proves who it is, and whom it believes.

use base::{Fault, Kind};
use clap::Args;
use std::path::PathBuf;
use wire::{CertificateFiles, ClientTls, ServerTls, TlsVersion, Trust};

/// Flags about TLS.
#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsFlags {
    /// PEM files of certificate chains, watched for changes; with --tls-key, HTTPS is served, each client shown
    /// the first whose names it calls, or the first
    #[arg(long, value_delimiter = ',', value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// PEM files of the private keys, in the order of the certificates
    #[arg(long, value_delimiter = ',', value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// The oldest version of TLS that is spoken, to clients and to backends: 1.2 or 1.3
    #[arg(long, default_value = "1.2", value_parser = TlsVersion::parse, value_name = "VERSION")]
    tls_min_version: TlsVersion,

    /// PEM file of the roots that https backends must be vouched for by, in place of the machine's
    #[arg(long, value_name = "FILE")]
    backend_roots: Option<PathBuf>,

    /// Believe every https backend, whoever vouches for it
    #[arg(long, conflicts_with = "backend_roots")]
    insecure: bool,

    /// PEM file of a certificate chain, shown to https backends that ask for one
    #[arg(long, value_name = "FILE", requires = "client_tls_key")]
    client_tls_cert: Option<PathBuf>,

    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "client_tls_cert")]
    client_tls_key: Option<PathBuf>,
}

impl TlsFlags {
    /// How the gateway proves who it is, if it serves HTTPS.
    pub(super) fn server(&self) -> Result<Option<ServerTls>, Fault> {
        if self.tls_cert.len() != self.tls_key.len() {
            let (chains, keys) = (self.tls_cert.len(), self.tls_key.len());
            let fault = Fault::new(Kind::Invalid, format!("--tls-cert names {chains}, --tls-key {keys}"));
            return Err(fault.hint("give a key for each certificate, in the same order"));
        }
        if self.tls_cert.is_empty() {
            return Ok(None);
        }
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let files = pairs.map(|(chain, key)| CertificateFiles { chain: chain.clone(), key: key.clone() });
        ServerTls::from_pairs(files.collect(), self.tls_min_version).map(Some)
    }

    /// Whom the gateway believes; `None` when nothing was said.
    pub(super) fn client(&self) -> Result<Option<ClientTls>, Fault> {
        let trust = Trust {
            roots: self.backend_roots.as_deref(),
            insecure: self.insecure,
            identity: self.client_tls_cert.as_deref().zip(self.client_tls_key.as_deref()),
            oldest: self.tls_min_version,
        };
        let silent = trust.roots.is_none() && !trust.insecure && trust.identity.is_none();
        if silent && trust.oldest == TlsVersion::default() {
            return Ok(None);
        }
        ClientTls::trusting(&trust).map(Some)
    }
}
