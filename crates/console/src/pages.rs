//! All pages and all that forms can do, one line each in a table; the router and the navigation follow from it.

use crate::access::{Access, PROOF, Viewer};
use crate::asked::{self, Asked, Form};
use crate::frame::{self, Frame};
use crate::problem::Problem;
use crate::{
    Console, answer, causes, charts, consumers, doctor, lines, live, overview, routes, services, streams,
    trace, traces,
};
use http::StatusCode;
use maud::{Markup, html};
use serde::Serialize;
use std::pin::Pin;
use wire::{Peer, RequestHead, Response};

/// A value that is shown as a page.
pub(crate) trait View: Send + Sync {
    /// What the window is called.
    fn title(&self) -> String;
    /// The page within its frame. Parts that change carry the ids of [`View::live`].
    fn body(&self, viewer: &Viewer) -> Markup;
    /// The parts that change while somebody looks, each whole, by their ids.
    fn live(&self, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        _ = viewer;
        Vec::new()
    }
    /// The same value for machines.
    fn json(&self) -> String;
}

type Shown = Pin<Box<dyn Future<Output = Result<Box<dyn View>, Problem>> + Send>>;
type Done = Pin<Box<dyn Future<Output = Result<String, Problem>> + Send>>;

/// A page.
pub(crate) struct Page {
    /// `{}` is any one segment.
    path: &'static str,
    /// Its name in the navigation, if it is there.
    pub(crate) label: Option<&'static str>,
    /// Whether parts of it change while somebody looks.
    is_live: bool,
    pub(crate) show: fn(Console, Asked) -> Shown,
}

/// What a form does: answers the path of the page to see next.
struct Action {
    path: &'static str,
    run: fn(Console, Asked) -> Done,
}

fn boxed<V: View + 'static>(show: impl Future<Output = Result<V, Problem>> + Send + 'static) -> Shown {
    Box::pin(async { show.await.map(|view| Box::new(view) as Box<dyn View>) })
}

/// All pages, in the order of the navigation.
pub(crate) static PAGES: &[Page] = &[
    Page {
        path: "/overview",
        label: Some("Overview"),
        is_live: true,
        show: |console, _| boxed(overview::show(console)),
    },
    Page {
        path: "/traces",
        label: Some("Traces"),
        is_live: false,
        show: |console, asked| boxed(traces::show(console, asked)),
    },
    Page {
        path: "/traces/{}",
        label: None,
        is_live: false,
        show: |console, asked| boxed(trace::show(console, asked)),
    },
    Page {
        path: "/routes",
        label: Some("Routes"),
        is_live: true,
        show: |console, asked| boxed(std::future::ready(routes::show(&console, &asked))),
    },
    Page {
        path: "/services",
        label: Some("Services"),
        is_live: true,
        show: |console, _| boxed(services::show(console)),
    },
    Page {
        path: "/services/{}",
        label: None,
        is_live: true,
        show: |console, asked| boxed(services::show_one(console, asked)),
    },
    Page {
        path: "/streams",
        label: Some("Streams"),
        is_live: true,
        show: |console, asked| boxed(streams::show(console, asked)),
    },
    Page {
        path: "/streams/{}",
        label: None,
        is_live: true,
        show: |console, asked| boxed(streams::show_one(console, asked)),
    },
    Page {
        path: "/messages/{}",
        label: None,
        is_live: false,
        show: |console, asked| boxed(causes::show(console, asked)),
    },
    Page {
        path: "/consumers",
        label: Some("Consumers"),
        is_live: true,
        show: |console, _| boxed(consumers::show(console)),
    },
    Page {
        path: "/consumers/{}",
        label: None,
        is_live: true,
        show: |console, asked| boxed(consumers::show_one(console, asked)),
    },
    Page {
        // `/metrics` is Prometheus's wherever there are metrics.
        path: "/charts",
        label: Some("Metrics"),
        is_live: true,
        show: |console, _| boxed(std::future::ready(charts::show(&console))),
    },
    Page {
        path: "/doctor",
        label: Some("Doctor"),
        is_live: false,
        show: |console, asked| boxed(doctor::show(console, asked)),
    },
    Page {
        path: "/sign-in",
        label: None,
        is_live: false,
        show: |_, _| boxed(std::future::ready(Ok(SignIn {}))),
    },
];

static ACTIONS: &[Action] = &[
    Action { path: "/services/{}/{}", run: |console, asked| Box::pin(services::order(console, asked)) },
    Action { path: "/consumers/{}/{}", run: |console, asked| Box::pin(consumers::order(console, asked)) },
    Action {
        path: "/consumers/{}/dead/{}/{}",
        run: |console, asked| Box::pin(consumers::resolve(console, asked)),
    },
];

/// What a service prints, told as it comes.
const LINES: &str = "/services/{}/lines";

impl Page {
    /// Where it is, as people see it.
    pub(crate) fn address(&self) -> &'static str {
        if self.path == "/overview" { "/" } else { self.path }
    }
}

/// The names in a path, if it fits a pattern.
fn names(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut names = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(names),
            (Some("{}"), Some(name)) if !name.is_empty() => names.push(asked::name_of(name)),
            (Some(one), Some(other)) if one == other => {}
            _ => return None,
        }
    }
}

fn plain(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/overview",
        path => path,
    }
}

/// Shows a page in the form that the path says.
pub(crate) async fn show(
    console: &Console,
    head: &RequestHead,
    viewer: Viewer,
    peer: &Peer,
) -> Result<Response, Problem> {
    let (path, form) = asked::path_and_form(head.uri.path());
    let (path, query) = (plain(path), head.uri.query().unwrap_or_default());
    if path == "/sign-in" {
        // The link that `tombolo console` prints.
        let token = asked::fields(query).into_iter().find(|(name, _)| name == "token");
        if let Some((_, token)) = token {
            return console.0.access.sign_in(&token, peer);
        }
    }
    if form == Form::Live
        && let Some(names) = names(LINES, path)
    {
        return lines::follow(console, &Asked::new(names, viewer, query), head);
    }
    let found = PAGES.iter().find_map(|page| Some((page, names(page.path, path)?)));
    let Some((page, names)) = found else {
        let hint = "the pages are in the navigation; the API is under /api/v1";
        return Err(Problem::not_found(format!("there is no page `{path}`")).hint(hint));
    };
    let asked = Asked::new(names, viewer.clone(), query).in_form(form);
    if form == Form::Live {
        if !page.is_live {
            return Err(Problem::not_found("nothing changes on this page"));
        }
        return live::parts(console, page, asked);
    }
    let view = (page.show)(console.clone(), asked).await?;
    if form == Form::Json {
        return Ok(answer::json(StatusCode::OK, view.json()));
    }
    let twin = |ending: &str| match query {
        "" => format!("{path}{ending}"),
        query => format!("{path}{ending}?{query}"),
    };
    let frame = Frame {
        name: &console.about().name,
        title: &view.title(),
        at: path,
        twin: Some(twin(".json")),
        live: page.is_live.then(|| twin(".sse")),
        viewer: Some(&viewer),
    };
    Ok(answer::html(StatusCode::OK, frame::page(&frame, &view.body(&viewer))))
}

/// Does what a form asks for.
pub(crate) async fn act(
    console: &Console,
    head: &RequestHead,
    viewer: Viewer,
    body: &[u8],
    peer: &Peer,
) -> Result<Response, Problem> {
    let path = plain(head.uri.path());
    let asked = |names| Asked::new(names, viewer.clone(), &String::from_utf8_lossy(body));
    let access = &console.0.access;
    if path == "/sign-in" {
        return access.sign_in(asked(Vec::new()).text("token"), peer);
    }
    let found = ACTIONS.iter().find_map(|action| Some((action, names(action.path, path)?)));
    let names = found.as_ref().map(|(_, names)| names.clone()).unwrap_or_default();
    let asked = asked(names);
    access.check(&viewer, asked.text(PROOF))?;
    if path == "/sign-out" {
        return Ok(Access::sign_out(peer));
    }
    match found {
        Some((action, _)) => Ok(answer::see(&(action.run)(console.clone(), asked).await?)),
        None => Err(Problem::not_found(format!("no form is sent to `{path}`"))),
    }
}

/// Where the token is given.
#[derive(Serialize)]
struct SignIn {}

impl View for SignIn {
    fn title(&self) -> String {
        "Sign in".to_owned()
    }

    fn body(&self, viewer: &Viewer) -> Markup {
        html! {
            h1 { "Sign in" }
            @if viewer.may_control() {
                p { "You are signed in." }
                (viewer.button("/sign-out", "Sign out", &[]))
            } @else {
                p {
                    "What services print, and every button that changes something, are for who may read the \
                     manifest's folder. " code { "tombolo console" } " prints a link that signs in; or give the \
                     token of " code { ".tombolo/run.json" } " here."
                }
                form.ask method="post" action="/sign-in" {
                    label { "Token" input type="password" name="token" autocomplete="off" required; }
                    button type="submit" { "Sign in" }
                }
            }
        }
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_segment_by_segment() {
        assert_eq!(names("/services/{}", "/services/a%20b"), Some(vec!["a b".to_owned()]));
        assert_eq!(names("/services", "/services"), Some(Vec::new()));
        for other in ["/services/", "/services/a/b", "/service/a", "/"] {
            assert_eq!(names("/services/{}", other), None, "{other}");
        }
    }

    #[test]
    fn each_page_is_found_by_its_own_path() {
        for (at, page) in PAGES.iter().enumerate() {
            let path = page.path.replace("{}", "x");
            let found = PAGES.iter().position(|page| names(page.path, &path).is_some());
            assert_eq!(found, Some(at), "{path}");
        }
    }

    #[test]
    fn each_page_is_in_the_guide() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/console.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        for page in PAGES {
            assert!(guide.contains(&format!("\n| `{}` |", page.address())), "{}", page.address());
        }
    }
}
