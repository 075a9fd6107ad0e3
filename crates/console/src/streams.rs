//! Streams: categories with the latest messages of all, changing live; one category with its streams; one stream with
//! its messages in pages.

use crate::access::Viewer;
use crate::asked::{Asked, question};
use crate::message::{Said, list, stream_address};
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, Streams, answer, units};
use base::Kind;
use maud::{Markup, html};
use serde::Serialize;
use store::{Read, StreamList, names};

/// Entries of a list of names.
const NAMES: usize = 100;
/// Messages of a page.
const MESSAGES: usize = 50;
/// Messages of a page that has more than those.
const LATEST: usize = 20;

/// The message plane, or what is said where there is none.
pub(crate) fn of(console: &Console) -> Result<&Streams, Problem> {
    console.streams.as_ref().ok_or_else(|| {
        Problem::new(Kind::NotFound, "there are no streams here")
            .hint("a manifest with `streams: {}` has them")
    })
}

#[derive(Serialize)]
pub(crate) struct Categories {
    /// Whether there are streams at all.
    has_streams: bool,
    #[serde(rename = "categories")]
    listed: Vec<Category>,
    more: bool,
    /// Of all, the latest first.
    latest: Vec<Said>,
}

#[derive(Serialize)]
struct Category {
    name: String,
    messages: u64,
}

/// The page of all.
pub(crate) async fn show(console: Console, asked: Asked) -> Result<Categories, Problem> {
    let Some(streams) = &console.streams else {
        return Ok(Categories { has_streams: false, listed: Vec::new(), more: false, latest: Vec::new() });
    };
    let after = Some(asked.text("after")).filter(|after| !after.is_empty());
    let mut categories = streams.store.categories(after, NAMES + 1).await?;
    let more = categories.len() > NAMES;
    categories.truncate(NAMES);
    let latest = streams.store.read(Read::all().backward().limit(LATEST)).await?;
    Ok(Categories {
        has_streams: true,
        listed: categories
            .into_iter()
            .map(|one| Category { name: one.category, messages: one.messages })
            .collect(),
        more,
        latest: latest.messages.iter().map(Said::of).collect(),
    })
}

impl View for Categories {
    fn title(&self) -> String {
        "Streams".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Streams" }
            @if !self.has_streams {
                div.empty {
                    p { "There are no streams here. With these lines in the manifest there are:" }
                    pre { "streams: {}" }
                    p { "Services then find the API in " code { "TOMBOLO_API_URL" } "; clients of Message DB come to port 5433." }
                }
            } @else {
                form.ask action="/streams" method="get" {
                    label.wide { "Categories behind this name" input name="after" placeholder="order"; }
                    button type="submit" { "Show" }
                }
                (self.parts())
            }
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("streams", self.parts())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Categories {
    fn parts(&self) -> Markup {
        html! {
            div #streams {
                @if self.listed.is_empty() {
                    div.empty {
                        p { "No messages so far. This writes one:" }
                        pre { "tombolo messages append order-1 Placed '{\"total\": 12}'" }
                    }
                } @else {
                    h2 { "Categories" }
                    div.scroll tabindex="0" role="region" aria-label="Categories, as a table" {
                        table {
                            thead { tr { th scope="col" { "Category" } th.number scope="col" { "Messages" } } }
                            tbody {
                                @for category in &self.listed {
                                    tr {
                                        th scope="row" { a href=(stream_address(&category.name)) { (category.name) } }
                                        td.number { (category.messages) }
                                    }
                                }
                            }
                        }
                    }
                    @if let Some(last) = self.listed.last().filter(|_| self.more) {
                        p { a href=(question("/streams", &[("after", &last.name)])) { "More" } }
                    }
                    h2 { "The latest messages" }
                    (list(&self.latest))
                }
            }
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Stream {
    name: String,
    /// For a category: its streams and the position of the last message of each.
    streams: Vec<(String, i64)>,
    is_category: bool,
    /// Whether there are more streams.
    more_streams: bool,
    /// The last position, -1 for none; of a stream only.
    version: i64,
    messages: Vec<Said>,
    /// The position of the page behind this one, further back in time.
    next: Option<i64>,
}

/// The page of a category or a stream.
pub(crate) async fn show_one(console: Console, asked: Asked) -> Result<Stream, Problem> {
    let streams = of(&console)?;
    let name = asked.name(0).to_owned();
    let is_category = names::is_category(&name);
    let before: Option<i64> = asked.number("before")?;
    let read = if is_category { Read::category(&*name) } else { Read::stream(&*name) };
    let mut read = read.backward().limit(MESSAGES);
    if let Some(before) = before {
        read = read.from(before);
    }
    let page = streams.store.read(read).await?;
    let mut listed = Vec::new();
    if is_category {
        let after = Some(asked.text("after")).filter(|after| !after.is_empty()).map(str::to_owned);
        let wanted =
            StreamList { category: Some(name.clone()), after, limit: NAMES + 1, prefix: String::new() };
        listed = streams.store.streams(wanted).await?;
    }
    let version = if is_category { -1 } else { streams.store.version(&name).await? };
    if version < 0 && listed.is_empty() && page.messages.is_empty() && before.is_none() {
        let kind = if is_category { "category" } else { "stream" };
        return Err(Problem::not_found(format!("{kind} `{name}` has no messages"))
            .hint("a stream begins with its first message"));
    }
    let more_streams = listed.len() > NAMES;
    listed.truncate(NAMES);
    Ok(Stream {
        streams: listed.into_iter().map(|one| (one.stream, one.version)).collect(),
        is_category,
        more_streams,
        version,
        messages: page.messages.iter().map(Said::of).collect(),
        next: page.more.then_some(page.next),
        name,
    })
}

impl View for Stream {
    fn title(&self) -> String {
        self.name.clone()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { (self.name) }
            p.note {
                @if self.is_category { "A category" } @else {
                    (units::count(u64::try_from(self.version + 1).unwrap_or(0), "message")) " in this stream of "
                    a href=(stream_address(names::category(&self.name))) { (names::category(&self.name)) }
                }
            }
            @if !self.streams.is_empty() {
                details {
                    summary {
                        @if self.more_streams { "The first " }
                        (units::count(self.streams.len() as u64, "stream"))
                    }
                    ul {
                        @for (stream, version) in &self.streams {
                            li { a href=(stream_address(stream)) { (stream) } " " span.note { "to " (version) } }
                        }
                    }
                    @if let Some((last, _)) = self.streams.last().filter(|_| self.more_streams) {
                        p { a href=(question(&stream_address(&self.name), &[("after", last)])) { "More streams" } }
                    }
                }
            }
            h2 { "Messages, the latest first" }
            (self.messages())
            @if let Some(next) = self.next {
                p { a href=(question(&stream_address(&self.name), &[("before", &next.to_string())])) { "Earlier" } }
            }
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("messages", self.messages())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Stream {
    fn messages(&self) -> Markup {
        html! {
            div #messages {
                @if self.messages.is_empty() { p.empty { "None further back." } } @else { (list(&self.messages)) }
            }
        }
    }
}
