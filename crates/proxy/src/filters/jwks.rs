//! The keys that tokens are checked with (RFC 7517): where they come from, when they are asked for again, and
//! which of them may have signed a token. What a token must say is the filters' business.

use crate::exchange::Claims;
use crate::fetch::{self, Fetched, Wanted};
use base::{Fault, Kind, Moment};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::Dialer;

/// Most bytes of a set of keys.
const BYTES_MAX: usize = 256 << 10;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 100;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Keys are asked for again after so long, beside the traffic (Skipper's).
const FRESH: Duration = Duration::from_secs(3600);

/// Likewise, those in a file.
const FILE_FRESH: Duration = Duration::from_secs(10);

/// A token of an unknown key has them asked for again, but not before this has passed (Skipper's).
const PAUSE: Duration = Duration::from_secs(300);

/// After a failure they are asked for again this soon.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// A file costs little to look at.
const FILE_PAUSE: Duration = Duration::from_secs(1);

/// Where keys come from.
#[derive(Clone, Debug)]
enum Source {
    /// They stand in the route and never change.
    Inline,
    File(PathBuf),
    Url(String),
    /// An `OpenID` provider, whose configuration says where its keys are.
    Issuer(String),
}

/// The keys of one source, shared by all cores and by all filters that name it.
pub(super) struct Keys {
    source: Source,
    dialer: Dialer,
    state: Mutex<State>,
}

struct State {
    keys: Arc<[Key]>,
    /// When they were got, if ever.
    got: Option<Moment>,
    /// Not to be asked for again before.
    not_before: Moment,
    /// Ends when the fetch that is under way has.
    under_way: Option<watch::Receiver<()>>,
    /// Why the last fetch failed.
    failure: Option<String>,
}

struct Key {
    id: Option<String>,
    public: DecodingKey,
    /// What it signs with; the token does not choose.
    algorithms: Vec<Algorithm>,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) String);

/// What the keys say of a token.
pub(super) enum Verdict {
    /// Its signature is right; these are its claims.
    Signed(Claims),
    Unfit(Unfit),
    /// Its key is not known and asking for more failed; why is no caller's business.
    NoKeys(String),
    /// Its key is not known yet: ask again when this has ended.
    After(watch::Receiver<()>),
}

impl Keys {
    /// Keys that stand in the route.
    pub(super) fn inline(text: &str) -> Result<Self, String> {
        Ok(Self::new(Source::Inline, Dialer::default(), read(text.as_bytes())?))
    }

    /// Keys in a file, read now and again when a token names a key it does not have.
    pub(super) fn file(path: PathBuf) -> Result<Self, String> {
        let keys = read_file(&path).map_err(|fault| fault.to_string())?;
        Ok(Self::new(Source::File(path), Dialer::default(), keys))
    }

    /// Keys at an address, asked for when the first token comes.
    pub(super) fn url(url: &str, dialer: &Dialer) -> Self {
        Self::new(Source::Url(url.to_owned()), dialer.clone(), Vec::new())
    }

    /// The keys of an `OpenID` provider.
    pub(super) fn issuer(url: &str, dialer: &Dialer) -> Self {
        Self::new(Source::Issuer(url.to_owned()), dialer.clone(), Vec::new())
    }

    fn new(source: Source, dialer: Dialer, keys: Vec<Key>) -> Self {
        let state = State {
            keys: keys.into(),
            got: None,
            not_before: Moment::default(),
            under_way: None,
            failure: None,
        };
        Self { source, dialer, state: Mutex::new(state) }
    }

    /// Checks the signature of a token. `patient` callers are told to wait when its key may come.
    pub(super) fn check(self: &Arc<Self>, token: &str, now: Moment, patient: bool) -> Verdict {
        let unfit = |why: &str| Verdict::Unfit(Unfit(why.to_owned()));
        if token.len() > TOKEN_BYTES_MAX {
            return unfit("the token is too long");
        }
        let Ok(header) = decode_header(token) else { return unfit("the token can't be read") };
        if header.crit.is_some() {
            // RFC 7515 section 4.1.11: whoever does not understand all of these must refuse.
            return unfit("the token names extensions that must be understood");
        }
        let mut state = self.lock();
        let keys = state.keys.clone();
        let Some(key) = choose(&keys, header.kid.as_deref()) else {
            let why = state.failure.clone();
            return match (self.refresh(&mut state, now).filter(|_| patient), why) {
                (Some(end), _) => Verdict::After(end),
                (None, Some(why)) => Verdict::NoKeys(why),
                (None, None) => unfit("the token's key is not known"),
            };
        };
        let fresh = if matches!(self.source, Source::File(_)) { FILE_FRESH } else { FRESH };
        if state.got.is_none_or(|got| now.since(got) >= fresh) {
            // Nobody waits: those that are known are still good.
            drop(self.refresh(&mut state, now));
        }
        drop(state);
        key.claims_of(token, header.alg)
    }

    /// Has the keys fetched, if it is time to; answers when the fetch that is under way has ended.
    fn refresh(self: &Arc<Self>, state: &mut State, now: Moment) -> Option<watch::Receiver<()>> {
        if matches!(self.source, Source::Inline) {
            return None;
        }
        if let Some(under_way) = &state.under_way {
            return Some(under_way.clone());
        }
        if now < state.not_before {
            return None;
        }
        let (done, end) = watch::channel(());
        state.under_way = Some(end.clone());
        let this = self.clone();
        // A task of its own: it goes on when the client that caused it leaves, and fails for all or none.
        tokio::spawn(async move {
            let got = this.fetch().await;
            this.put(got, now);
            drop(done);
        });
        Some(end)
    }

    fn put(&self, got: Result<Vec<Key>, Fault>, now: Moment) {
        let mut state = self.lock();
        state.under_way = None;
        let pause = match (&got, &self.source) {
            (_, Source::File(_)) => FILE_PAUSE,
            (Ok(_), _) => PAUSE,
            (Err(_), _) => PAUSE_AFTER_FAILURE,
        };
        state.not_before = now + pause;
        match got {
            Ok(keys) => {
                state.keys = keys.into();
                state.got = Some(now);
                state.failure = None;
            }
            // Those that are known stay in force.
            Err(fault) => state.failure = Some(fault.to_string()),
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, Fault> {
        match &self.source {
            Source::Inline => Err(Fault::new(Kind::Bug, "keys in the route are never fetched")),
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path));
                read.await.unwrap_or_else(|_| Err(Fault::new(Kind::Bug, "reading keys panicked")))
            }
            Source::Url(url) => self.fetch_url(url).await,
            Source::Issuer(issuer) => {
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let configuration: Value = serde_json::from_slice(&self.document(&url).await?)
                    .map_err(|_| Fault::new(Kind::Invalid, format!("`{url}` is no JSON")))?;
                let keys = configuration["jwks_uri"]
                    .as_str()
                    .ok_or_else(|| Fault::new(Kind::Invalid, format!("`{url}` names no `jwks_uri`")))?;
                self.fetch_url(keys).await
            }
        }
    }

    async fn fetch_url(&self, url: &str) -> Result<Vec<Key>, Fault> {
        let bytes = self.document(url).await?;
        read(&bytes).map_err(|why| Fault::new(Kind::Invalid, format!("`{url}`: {why}")))
    }

    async fn document(&self, url: &str) -> Result<bytes::Bytes, Fault> {
        let wanted = Wanted { url, accept: "application/json", known: None, bytes_max: BYTES_MAX };
        match fetch::fetch(wanted, &self.dialer).await {
            Ok(Fetched::Document(bytes, _)) => Ok(bytes),
            Ok(Fetched::AsKnown) => Err(Fault::new(Kind::Invalid, format!("`{url}` has no answer"))),
            Err(fault) => Err(Fault::new(fault.kind, format!("`{url}`: {fault}"))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of this id; of a token without one, the only key there is.
fn choose<'k>(keys: &'k [Key], id: Option<&str>) -> Option<&'k Key> {
    match (id, keys) {
        (Some(id), _) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

impl Key {
    fn claims_of(&self, token: &str, algorithm: Algorithm) -> Verdict {
        if !self.algorithms.contains(&algorithm) {
            return Verdict::Unfit(Unfit(format!("its key does not sign with {algorithm:?}")));
        }
        let mut validation = Validation::new(algorithm);
        // Times are checked by our own clock, the rest by filters.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        match decode::<Claims>(token, &self.public, &validation) {
            Ok(token) => Verdict::Signed(token.claims),
            Err(_) => Verdict::Unfit(Unfit("the signature is wrong".to_owned())),
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<Vec<Key>, Fault> {
    let name = path.display();
    let text = base::read_text(&format!("keys `{name}`"), path, BYTES_MAX)?;
    read(text.as_bytes()).map_err(|why| Fault::new(Kind::Invalid, format!("keys `{name}`: {why}")))
}

/// Reads a set of keys. Those that can't check a signature are left out, as RFC 7517 section 5 asks.
fn read(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let keys = set["keys"].as_array().ok_or("it is no set of keys: `keys` is missing")?;
    if keys.len() > KEYS_MAX {
        return Err(format!("it has {} keys, more than {KEYS_MAX}", keys.len()));
    }
    let usable: Vec<Key> = keys.iter().filter_map(|key| Key::read(key.clone())).collect();
    if usable.is_empty() {
        return Err("none of its keys can check a signature".to_owned());
    }
    Ok(usable)
}

impl Key {
    fn read(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let family: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
            // Whoever can check with a shared secret can sign with it: that is no public key.
            _ => return None,
        };
        let named = jwk.common.key_algorithm;
        let fits = |algorithm: &Algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(*algorithm));
        let algorithms: Vec<Algorithm> = family.iter().copied().filter(fits).collect();
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then_some(Self { id: jwk.common.key_id, public, algorithms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = r#"{"kty":"RSA","kid":"r","n":"xjlbVg","e":"AQAB"}"#;
    const EC: &str = r#"{"kty":"EC","kid":"e","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

    fn check(keys: &str, expected: Result<&[(&str, usize)], &str>) {
        let read = read(format!("{{\"keys\":[{keys}]}}").as_bytes());
        let told = read.map(|keys| {
            keys.iter()
                .map(|key| (key.id.clone().unwrap_or_default(), key.algorithms.len()))
                .collect::<Vec<_>>()
        });
        let expected = expected
            .map(|keys| keys.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(told, expected, "{keys}");
    }

    #[test]
    fn a_key_says_what_it_signs_with() {
        check(&format!("{RSA},{EC}"), Ok(&[("r", 6), ("e", 1)]));
        check(&RSA.replace("\"kid\"", "\"alg\":\"RS256\",\"use\":\"sig\",\"kid\""), Ok(&[("r", 1)]));
        let none = Err("none of its keys can check a signature");
        check(&RSA.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\""), none);
        check(&RSA.replace("\"kid\"", "\"use\":\"enc\",\"kid\""), none);
        check(r#"{"kty":"oct","kid":"s","k":"c2VjcmV0"}"#, none);
        check(&format!(r#"{{"kty":"new"}},7,{EC}"#), Ok(&[("e", 1)]));
        check("", none);
        check(&vec![EC; KEYS_MAX + 1].join(","), Err("it has 101 keys, more than 100"));
        assert!(read(b"[]").is_err() && read(b"keys").is_err());
    }

    #[test]
    fn a_token_without_an_id_fits_the_only_key() {
        let keys = read(format!("{{\"keys\":[{RSA},{EC}]}}").as_bytes()).unwrap_or_default();
        let id = |keys: &[Key], id| choose(keys, id).and_then(|key| key.id.clone());
        assert_eq!(id(&keys, Some("e")).as_deref(), Some("e"));
        assert_eq!((id(&keys, Some("x")), id(&keys, None)), (None, None));
        assert_eq!(id(&keys[..1], None).as_deref(), Some("r"));
    }
}
