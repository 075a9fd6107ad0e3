//! SCRAM-SHA-256 (RFC 5802, RFC 7677) on the server's side, without channel binding: the client shows that it knows
//! the password and learns that the server does, and nobody who listens learns it.

use crate::messagedb::error::{Sql, SqlError};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;

/// PostgreSQL's number of rounds.
const ROUNDS: NonZeroU32 = NonZeroU32::new(4_096).expect("4,096 is not 0");
/// The one mechanism, as the list of the protocol has it.
pub(crate) const MECHANISMS: &[u8] = b"SCRAM-SHA-256\0\0";
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";

/// What is kept of a password: enough to know who knows it.
#[derive(Clone)]
pub(crate) struct Secret {
    salt: [u8; 16],
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A conversation after the client's first message.
#[derive(Debug)]
pub(crate) struct Exchange {
    secret: Secret,
    first_bare: String,
    first: String,
    nonce: String,
    /// The header that the client has to repeat.
    header: String,
}

impl Secret {
    /// Of a password, with a new salt.
    pub(crate) fn new(password: &str) -> Sql<Self> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| SqlError::fatal("XX000", "there is no randomness"))?;
        Ok(Self::salted(password, salt))
    }

    fn salted(password: &str, salt: [u8; 16]) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut salted);
        let stored_key = sha256(&mac(&salted, b"Client Key"));
        Self { salt, stored_key, server_key: mac(&salted, b"Server Key") }
    }

    /// Answers the client's first message; the answer goes out as `AuthenticationSASLContinue`.
    pub(crate) fn begin(&self, said: &[u8]) -> Sql<(Exchange, String)> {
        let mut nonce = [0; 18];
        rand::fill(&mut nonce).map_err(|_| SqlError::fatal("XX000", "there is no randomness"))?;
        self.begin_with(said, &STANDARD.encode(nonce))
    }

    fn begin_with(&self, said: &[u8], nonce: &str) -> Sql<(Exchange, String)> {
        let said = std::str::from_utf8(said).map_err(|_| malformed())?;
        // gs2-header: no channel binding, or none that the server could do; no other identity.
        let (flag, rest) = said.split_once(',').ok_or_else(malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or_else(malformed)?;
        if !matches!(flag, "n" | "y") || !(identity.is_empty() || identity.starts_with("a=")) {
            return Err(malformed());
        }
        let client = bare.split(',').find_map(|part| part.strip_prefix("r="));
        let client = client.filter(|nonce| !nonce.is_empty()).ok_or_else(malformed)?;
        let nonce = format!("{client}{nonce}");
        let first = format!("r={nonce},s={},i={ROUNDS}", STANDARD.encode(self.salt));
        let header = STANDARD.encode(format!("{flag},{identity},"));
        let exchange = Exchange {
            secret: self.clone(),
            first_bare: bare.to_owned(),
            first: first.clone(),
            nonce,
            header,
        };
        Ok((exchange, first))
    }
}

impl Exchange {
    /// Checks the client's proof; the answer goes out as `AuthenticationSASLFinal`.
    pub(crate) fn finish(&self, said: &[u8], user: &str) -> Sql<String> {
        let said = std::str::from_utf8(said).map_err(|_| malformed())?;
        let (without_proof, proof) = said.rsplit_once(",p=").ok_or_else(malformed)?;
        let mut parts = without_proof.split(',');
        let header = parts.next().and_then(|part| part.strip_prefix("c="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if header != Some(&self.header) || nonce != Some(&self.nonce) {
            return Err(malformed());
        }
        let proof: [u8; 32] =
            STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or_else(malformed)?;
        let auth = format!("{},{},{without_proof}", self.first_bare, self.first);
        let signature = mac(&self.secret.stored_key, auth.as_bytes());
        let mut client_key = [0; 32];
        for (key, (proof, signature)) in client_key.iter_mut().zip(proof.iter().zip(signature)) {
            *key = proof ^ signature;
        }
        constant_time::verify_slices_are_equal(&sha256(&client_key), &self.secret.stored_key).map_err(
            |_| SqlError::fatal("28P01", format!("password authentication failed for user \"{user}\"")),
        )?;
        Ok(format!("v={}", STANDARD.encode(mac(&self.secret.server_key, auth.as_bytes()))))
    }
}

fn malformed() -> Box<SqlError> {
    SqlError::fatal("08P01", "malformed SCRAM message")
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sha256(data: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    fn rfc() -> (Exchange, String) {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let secret = Secret::salted("pencil", salt);
        secret.begin_with(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap()
    }

    #[test]
    fn the_example_of_the_standard() {
        let (exchange, first) = rfc();
        assert_eq!(
            first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let said = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.finish(said, "user").unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_proof_and_a_wrong_nonce_are_refused() {
        let (exchange, _) = rfc();
        let said = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AAAAZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.finish(said, "user").unwrap_err().code, "28P01");
        for said in [
            "",
            "c=biws,r=other,p=AAAA",
            "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AAAA",
        ] {
            assert_eq!(exchange.finish(said.as_bytes(), "user").unwrap_err().code, "08P01", "{said}");
        }
        let secret = Secret::new("x").unwrap();
        for said in ["", "n,,", "p=tls-unique,,n=,r=x", "n,,n=,r="] {
            assert!(secret.begin(said.as_bytes()).is_err(), "{said}");
        }
    }
}
