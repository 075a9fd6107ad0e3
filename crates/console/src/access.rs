//! Who may see pages and who may control. Pages are for this machine's programs and for browsers on it, by `wire`'s
//! rule against pages of others. What services print, and every button, are for who has shown the API's token: in the
//! field `Authorization`, or once in the form of `/sign-in`, which a cookie then stands for.
//!
//! Cookies do not tell ports apart, so that the cookie is no token but a secret of its own, and its name has the port.
//! A form that does something carries a third secret, which a page elsewhere can't know.

use crate::answer;
use crate::problem::Problem;
use base::Kind;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE};
use maud::{Markup, html};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use wire::{Peer, RequestHead, Response, check_caller};

/// The field of a form that shows that it is ours.
pub(crate) const PROOF: &str = "proof";

/// The secrets that stand for the token.
#[derive(Debug)]
pub(crate) struct Access {
    token: Arc<str>,
    session: String,
    proof: Arc<str>,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Viewer {
    /// What forms of a viewer who may control carry.
    proof: Option<Arc<str>>,
    /// Whether it shows the token itself, as no browser does by itself.
    is_program: bool,
}

impl Viewer {
    /// Whether it may control, and see what services print.
    pub(crate) fn may_control(&self) -> bool {
        self.proof.is_some()
    }

    /// A form of one button, for who may press it; nothing for others.
    pub(crate) fn button(&self, action: &str, label: &str, fields: &[(&str, &str)]) -> Markup {
        html! {
            @if let Some(proof) = &self.proof {
                form.button method="post" action=(action) {
                    input type="hidden" name=(PROOF) value=(proof);
                    @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                    button type="submit" { (label) }
                }
            }
        }
    }

    /// What stands where buttons or lines would be, for who has not signed in.
    pub(crate) fn invitation(&self, what: &str) -> Markup {
        html! {
            @if self.proof.is_none() {
                p.note { (what) " once you have " a href="/sign-in" { "signed in" } "." }
            }
        }
    }
}

impl Access {
    /// The secrets that follow from a token.
    pub(crate) fn new(token: &Arc<str>) -> Self {
        let derived = |purpose: &str| {
            let hash = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(token.as_bytes());
            hash.finalize().iter().fold(String::new(), |mut text, byte| {
                _ = write!(text, "{byte:02x}");
                text
            })
        };
        Self { token: token.clone(), session: derived("session"), proof: derived("proof").into() }
    }

    /// Who asks, or why it may not. `shown`: it shows the token.
    pub(crate) fn viewer(&self, head: &RequestHead, shown: bool, peer: &Peer) -> Result<Viewer, Problem> {
        if shown {
            return Ok(Viewer { proof: Some(self.proof.clone()), is_program: true });
        }
        if head.headers.contains_key(AUTHORIZATION) {
            return Err(Problem::new(Kind::Refused, "that is not the token of .tombolo/run.json")
                .hint("each start of `tombolo up` writes a new one there"));
        }
        check_caller(head, |_| false).map_err(|stranger| Problem::new(Kind::Refused, stranger.why()))?;
        let has_session = cookies(head).any(|(name, value)| {
            name == cookie_name(peer) && same(value.as_bytes(), self.session.as_bytes())
        });
        Ok(Viewer { proof: has_session.then(|| self.proof.clone()), is_program: false })
    }

    /// Refuses a form that does something unless its sender may, and it is a form of ours.
    pub(crate) fn check(&self, viewer: &Viewer, proof: &str) -> Result<(), Problem> {
        if !viewer.may_control() {
            return Err(Problem::new(Kind::Refused, "only who has signed in may do that").hint(SIGN_IN));
        }
        if !viewer.is_program && !same(proof.as_bytes(), self.proof.as_bytes()) {
            return Err(Problem::new(Kind::Refused, "this form was not made by this console")
                .hint("load the page again, and press the button there"));
        }
        Ok(())
    }

    /// Signs in who knows the token.
    pub(crate) fn sign_in(&self, token: &str, peer: &Peer) -> Result<Response, Problem> {
        if !same(token.trim().as_bytes(), self.token.as_bytes()) {
            return Err(Problem::new(Kind::Refused, "that is not the token").hint(SIGN_IN));
        }
        let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie_name(peer), self.session);
        Ok(with_cookie(cookie))
    }

    /// Signs out.
    pub(crate) fn sign_out(peer: &Peer) -> Response {
        with_cookie(format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", cookie_name(peer)))
    }
}

/// How to get in.
pub(crate) const SIGN_IN: &str = "`tombolo console` prints a link that signs in";

fn with_cookie(cookie: String) -> Response {
    let mut response = answer::see("/");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn cookie_name(peer: &Peer) -> String {
    format!("tombolo_{}", peer.local.port())
}

fn cookies(head: &RequestHead) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// Compares without telling by its time how much was right.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}
