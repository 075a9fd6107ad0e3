//! Who may use a route, by name and password. What is in the file and what it says of a password is in
//! [`super::htpasswd`].

use super::htpasswd::{Answer, Passwords};
use super::values::value;
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::exchange::Exchange;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use std::sync::Arc;

/// The realm if the route names none (Skipper's).
const REALM: &str = "Basic Realm";

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "basicAuth",
    args: "htpasswdFile[, realm]",
    docs: "Lets requests through that bring a name and a password of this file (RFC 7617); answers others with \
           401 and a challenge for the realm. Passwords in the file may be hashed by bcrypt (`$2a$`, `$2b$`, \
           `$2x$`, `$2y$`), MD5 (`$apr1$`, `$1$`) or SHA-1 (`{SHA}`). A changed file counts within a second. \
           Passwords are checked beside the traffic, 64 at a time; when more are waiting, the answer is 503. The \
           access log shows the name, which can be handed on by \
           `setContextRequestHeader(\"X-User\", \"auth-user\")`.",
    example: Example {
        filters: r#"basicAuth("users.htpasswd", "Back office")"#,
        request: "GET /\nauthorization: Basic bm9ib2R5Ondyb25n",
        saw: "-",
        got: "401\nwww-authenticate: Basic realm=\"Back office\"",
    },
    build: basic_auth,
}];

struct BasicAuth {
    passwords: Arc<Passwords>,
    challenge: HeaderValue,
}

fn basic_auth(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let file = args.text("file")?;
    let path = env.folder.join(file);
    let passwords = Passwords::read(&path)
        .map_err(|error| args.refuse("file", &format!("`{file}` can't be read: {error}")))?;
    let passwords = env.lasting.get(&format!("htpasswd {}", path.display()), || passwords);
    let realm = args.optional(|args| args.text("realm"))?.unwrap_or(REALM);
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = value(&format!("Basic realm=\"{quoted}\"")).map_err(|why| args.refuse("realm", &why))?;
    Ok(plain(BasicAuth { passwords, challenge }))
}

impl Filter for BasicAuth {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let credentials = exchange.headers.get(AUTHORIZATION).and_then(|value| credentials(value.as_bytes()));
        let Some((name, password)) = credentials else { return deny(exchange, &self.challenge) };
        match Passwords::ask(&self.passwords, &name, &password, exchange.clock.now()) {
            Answer::Right => admit(exchange, &name),
            Answer::Wrong => deny(exchange, &self.challenge),
            Answer::Busy => busy(exchange),
            Answer::Checking(check) => {
                let challenge = self.challenge.clone();
                let later: Later = Box::pin(async move {
                    let right = check.await.unwrap_or(false);
                    let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> =
                        Box::new(
                            move |exchange| {
                                if right { admit(exchange, &name) } else { deny(exchange, &challenge) }
                            },
                        );
                    decide
                });
                Step::Wait(later)
            }
        }
    }
}

/// Lets the request through; filters behind know who sent it.
fn admit(exchange: &mut Exchange, name: &[u8]) -> Step {
    exchange.notes.user = Some(String::from_utf8_lossy(name).into());
    Step::Next
}

/// Name and password of RFC 7617 section 2: base64 of both, parted by the first colon.
fn credentials(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, code) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut name = STANDARD.decode(code.trim_ascii()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

fn deny(exchange: &mut Exchange, challenge: &HeaderValue) -> Step {
    exchange.notes.reason = Some(Reason::of(Cause::DENIED).by("basicAuth"));
    let mut response = answer(StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    Step::Reply(response)
}

fn busy(exchange: &mut Exchange) -> Step {
    let reason = Reason::of(Cause::DENIED).by("basicAuth").because("too many passwords are being checked");
    exchange.notes.reason = Some(reason);
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    Step::Reply(response)
}

#[cfg(test)]
mod tests {
    use super::credentials;

    #[test]
    fn credentials_are_parted_by_the_first_colon() {
        let check = |header: &str, expected: Option<(&str, &str)>| {
            let found = credentials(header.as_bytes());
            let expected = expected.map(|(name, word)| (name.as_bytes().to_vec(), word.as_bytes().to_vec()));
            assert_eq!(found, expected, "{header}");
        };
        check("Basic YW5uOmE6Yg==", Some(("ann", "a:b")));
        check("basic  YW5uOg==", Some(("ann", "")));
        for bad in ["", "Basic", "Basic YW5u", "Bearer YW5uOmE=", "Basic ann:a"] {
            check(bad, None);
        }
    }
}
