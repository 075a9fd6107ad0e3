//! The files that pages need beside themselves: the style, the script, the icon. Their addresses change with what they
//! hold, so that browsers may keep them.

use crate::answer;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use sha2::{Digest as _, Sha256};
use wire::{Body, Response};

/// Where they are.
const FOLDER: &str = "/console/";

/// A file.
pub(crate) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// How pages look.
pub(crate) static STYLE: Asset = Asset {
    name: "console.css",
    kind: "text/css; charset=utf-8",
    text: include_str!("../assets/console.css"),
};
/// What brings what changes.
pub(crate) static SCRIPT: Asset = Asset {
    name: "console.js",
    kind: "text/javascript; charset=utf-8",
    text: include_str!("../assets/console.js"),
};
/// What stands beside the title.
pub(crate) static ICON: Asset =
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("../assets/icon.svg") };

impl Asset {
    /// Its address, which changes with it.
    pub(crate) fn address(&self) -> String {
        let hash = Sha256::digest(self.text);
        format!("{FOLDER}{}?v={:02x}{:02x}{:02x}{:02x}", self.name, hash[0], hash[1], hash[2], hash[3])
    }

    pub(crate) fn response(&self) -> Response {
        let mut response = answer::typed(StatusCode::OK, self.kind, Body::full(self.text));
        let kept = HeaderValue::from_static("max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, kept);
        response
    }
}

/// The file of a path.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    if path == "/favicon.ico" {
        return Some(&ICON);
    }
    let name = path.strip_prefix(FOLDER)?;
    [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name)
}
