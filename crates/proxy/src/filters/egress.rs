//! Filters for requests that leave for services outside: secrets from files go into headers.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::secrets::Secrets;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "setRequestHeaderFromSecret",
        args: "header, file[, prefix[, suffix]]",
        docs: "Sets a header of the request to the secret in this file, with a text before and behind it. The file \
               must be one of `-credentials-paths`; it is read again every `-credentials-update-interval`. The \
               header that came in is removed in any case; without the secret there is none, and the span has the \
               tag `secret.missing`.",
        example: Example {
            filters: r#"setRequestHeaderFromSecret("X-Key", "/run/secrets/key", "key-")"#,
            request: "GET /\nx-key: mine",
            saw: "GET /\n! x-key",
            got: "200",
        },
        build: |args, env| {
            let header = args.header("header")?;
            from_secret(args, env, header, None)
        },
    },
    FilterSpec {
        name: "bearerinjector",
        args: "file",
        docs: "Like `setRequestHeaderFromSecret(\"Authorization\", file, \"Bearer \")`.",
        example: Example {
            filters: r#"bearerinjector("/run/secrets/token")"#,
            request: "GET /\nauthorization: Bearer mine",
            saw: "GET /\n! authorization",
            got: "200",
        },
        build: |args, env| from_secret(args, env, AUTHORIZATION, Some("Bearer ")),
    },
];

struct FromSecret {
    header: HeaderName,
    file: PathBuf,
    prefix: String,
    suffix: String,
    secrets: Arc<Secrets>,
}

/// Without a `prefix` the route may give one, and a suffix.
fn from_secret(
    args: &mut Args<'_>,
    env: &FilterEnv,
    header: HeaderName,
    prefix: Option<&str>,
) -> Result<Built, String> {
    let file = PathBuf::from(args.text("file")?);
    let (prefix, suffix) = match prefix {
        Some(prefix) => (prefix, ""),
        None => {
            let prefix = args.optional(|args| args.text("prefix"))?.unwrap_or_default();
            (prefix, args.optional(|args| args.text("suffix"))?.unwrap_or_default())
        }
    };
    let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
    Ok(plain(FromSecret { header, file, prefix, suffix, secrets: env.handles.secrets.clone() }))
}

impl FromSecret {
    fn value(&self) -> Option<HeaderValue> {
        let secret = self.secrets.get(&self.file)?;
        let bytes = [self.prefix.as_bytes(), &*secret, self.suffix.as_bytes()].concat();
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Filter for FromSecret {
    fn request(&self, exchange: &mut Exchange) -> Step {
        // What a caller sends must not pass for the secret.
        exchange.headers.remove(&self.header);
        match self.value() {
            Some(value) => drop(exchange.headers.insert(&self.header, value)),
            None => drop(exchange.notes.tags.set("secret.missing", &self.file.to_string_lossy())),
        }
        Step::Next
    }
}
