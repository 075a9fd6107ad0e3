//! Whom we trust when we call out, and what we offer to speak.

use super::{CertificateFiles, Reread, TlsVersion, provider, read_certificates, read_pair, wrong};
use crate::Speak;
use arc_swap::ArcSwap;
use base::{Fault, Kind};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom we trust when we call out. Sessions are resumed where the other end lets us.
#[derive(Clone)]
pub struct ClientTls(Arc<Trusting>);

/// Who is trusted now, and by what.
struct Trusting {
    trust: Trust,
    current: ArcSwap<Believed>,
}

/// What the files said when they were read last.
struct Believed {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
    http1: TlsConnector,
    http2: TlsConnector,
    either: TlsConnector,
}

/// Who must vouch for the other end, and how we prove who we are.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file of the roots; the machine's own without it.
    pub roots: Option<PathBuf>,
    /// Nobody need vouch for anybody (Skipper's `-insecure`): whoever answers is believed.
    pub insecure: bool,
    /// Our own chain and key, for those who ask for them (Skipper's `-client-tls-cert` and `-client-tls-key`).
    pub identity: Option<CertificateFiles>,
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
}

impl ClientTls {
    /// The machine's roots, read once for the process.
    pub fn system() -> Result<Self, Fault> {
        static SHARED: OnceLock<Result<ClientTls, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::trusting(Trust::default()).map_err(|fault| fault.to_string()))
            .clone()
            .map_err(|why| Fault::new(Kind::Unavailable, why))
    }

    /// The roots of a PEM file and no others.
    pub fn from_file(roots: &Path) -> Result<Self, Fault> {
        Self::trusting(Trust { roots: Some(roots.to_owned()), ..Trust::default() })
    }

    /// As told. Fails when a file can't be used or this machine has no roots.
    pub fn trusting(trust: Trust) -> Result<Self, Fault> {
        let current = ArcSwap::from_pointee(trust.read()?);
        Ok(Self(Arc::new(Trusting { trust, current })))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
        speak: Speak,
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::new(Kind::Invalid, format!("`{host}` is no name TLS could check")))?;
        let believed = self.0.current.load_full();
        let connector = match speak {
            Speak::Http1 => &believed.http1,
            Speak::Http2 => &believed.http2,
            Speak::Either => &believed.either,
        };
        connector.connect(name, stream).await.map_err(|error| {
            Fault::new(Kind::Unavailable, format!("no TLS connection to `{host}`")).because(error)
        })
    }
}

impl Reread for ClientTls {
    fn files(&self) -> Vec<PathBuf> {
        let Trust { roots, identity, .. } = &self.0.trust;
        roots.iter().cloned().chain(identity.iter().flat_map(CertificateFiles::both)).collect()
    }

    fn reload(&self) -> Result<bool, Fault> {
        let (new, old) = (self.0.trust.read()?, self.0.current.load());
        let shown = |believed: &Believed| believed.identity.as_ref().map(|pair| pair.cert.clone());
        if new.roots == old.roots && shown(&new) == shown(&old) {
            return Ok(false);
        }
        self.0.current.store(Arc::new(new));
        Ok(true)
    }
}

impl Trust {
    fn read(&self) -> Result<Believed, Fault> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.oldest.and_later())
            .map_err(|error| Fault::new(Kind::Bug, "the provider lacks a version of TLS").because(error))?;
        let roots = self.roots.as_ref().map(|file| read_certificates(file)).transpose()?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Believer(provider)))
        } else {
            builder.with_root_certificates(match (&self.roots, &roots) {
                (Some(file), Some(roots)) => roots_of(file, roots)?,
                _ => machine_roots()?,
            })
        };
        let pair = |files: &CertificateFiles| read_pair(&files.chain, &files.key).map(Arc::new);
        let identity = self.identity.as_ref().map(pair).transpose()?;
        let mut config = match identity.clone() {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(pair));
                builder.with_client_cert_resolver(shown)
            }
        };
        let mut offering = |protocols: &[&[u8]]| {
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config.clone()))
        };
        Ok(Believed {
            http1: offering(&[b"http/1.1"]),
            http2: offering(&[b"h2"]),
            either: offering(&[b"h2", b"http/1.1"]),
            roots: roots.unwrap_or_default(),
            identity,
        })
    }
}

fn machine_roots() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Fault::new(Kind::Unavailable, "this machine has no root certificates")
            .hint("install the package ca-certificates, or name a file of roots"));
    }
    Ok(roots)
}

fn roots_of(file: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        return Err(wrong(file, "holds no root certificate"));
    }
    Ok(roots)
}

/// Believes whoever answers to be who was called. That the handshake was not tampered with is still checked.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
