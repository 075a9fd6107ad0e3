//! What stands around every page: the navigation, and where the same is for machines.

use crate::access::Viewer;
use crate::assets;
use crate::pages::PAGES;
use maud::{DOCTYPE, Markup, html};

/// What is said around a page.
#[derive(Default)]
pub(crate) struct Frame<'a> {
    /// The manifest's name.
    pub(crate) name: &'a str,
    /// What the window is called.
    pub(crate) title: &'a str,
    /// The page's path.
    pub(crate) at: &'a str,
    /// Where the same is for machines.
    pub(crate) twin: Option<String>,
    /// Where what changes is told.
    pub(crate) live: Option<String>,
    /// Who looks.
    pub(crate) viewer: Option<&'a Viewer>,
}

/// A whole page.
pub(crate) fn page(frame: &Frame, body: &Markup) -> Markup {
    let is_here = |path: &str| {
        let here = if path == "/" { "/overview" } else { path };
        frame.at.strip_prefix(here).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · " (frame.name) " · Tombolo" }
                link rel="stylesheet" href=(assets::STYLE.address());
                link rel="icon" type="image/svg+xml" href=(assets::ICON.address());
                script src=(assets::SCRIPT.address()) defer {}
            }
            body data-live=[frame.live.as_deref()] {
                a.skip href="#main" { "Skip to the page" }
                header {
                    a.brand href="/" { "Tombolo" @if !frame.name.is_empty() { span { (frame.name) } } }
                    nav aria-label="Pages" {
                        ul {
                            @for page in PAGES.iter() {
                                @if let Some(label) = page.label {
                                    li {
                                        a href=(page.address())
                                          aria-current=[is_here(page.address()).then_some("page")] { (label) }
                                    }
                                }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                footer {
                    p #live-state role="status" {}
                    @if let Some(twin) = &frame.twin { a href=(twin) { "This page as JSON" } }
                    @if let Some(viewer) = frame.viewer {
                        @if viewer.may_control() {
                            (viewer.button("/sign-out", "Sign out", &[]))
                        } @else {
                            a href="/sign-in" { "Sign in" }
                        }
                    }
                }
            }
        }
    }
}
