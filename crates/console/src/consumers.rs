//! Consumers: how far each is behind, now and over the last hour, and what it gave up, to be tried again or skipped by
//! who may.

use crate::access::Viewer;
use crate::asked::{Asked, segment};
use crate::bounds::LAGS_MAX;
use crate::message::stream_address;
use crate::pages::View;
use crate::plot::{Plot, plot};
use crate::problem::Problem;
use crate::streams::of;
use crate::{Console, answer, units};
use ::streams::consumers::{DeadLetter, Lag, Status, Wish};
use maud::{Markup, html};
use serde::Serialize;

/// Dead letters of a page.
const LETTERS: usize = 100;

#[derive(Serialize)]
pub(crate) struct Consumers {
    has_streams: bool,
    consumers: Vec<Known>,
}

#[derive(Serialize)]
struct Known {
    name: String,
    category: String,
    handler: Option<String>,
    is_paused: bool,
    position: i64,
    lag: u64,
    /// Whether the lag was counted; otherwise it is the distance of positions.
    is_exact: bool,
    /// Seconds since the oldest message not handled.
    age_s: Option<f64>,
    dead_letters: usize,
    more_dead_letters: bool,
    in_flight: usize,
    handled: u64,
    failed: u64,
    error: Option<String>,
    shares: Vec<Share>,
    /// Lags over the last hour, from old to new.
    lags: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Share {
    number: u16,
    node: Option<String>,
    position: i64,
    pending: usize,
}

fn known(console: &Console, status: Status) -> Known {
    let Lag { messages, is_exact, age } = status.lag;
    let counted = || status.shares.iter().map(|share| &share.counted);
    Known {
        lags: console.history().lags(&status.name),
        category: status.definition.category.clone(),
        handler: status.definition.handler.as_ref().map(ToString::to_string),
        is_paused: status.is_paused,
        position: status.position,
        lag: messages,
        is_exact,
        age_s: age.map(|age| age.as_secs_f64()),
        dead_letters: status.dead_letters,
        more_dead_letters: status.more_dead_letters,
        in_flight: counted().map(|counted| counted.in_flight).sum(),
        handled: counted().map(|counted| counted.handled).sum(),
        failed: counted().map(|counted| counted.failed).sum(),
        shares: status
            .shares
            .iter()
            .map(|share| Share {
                number: share.number,
                node: share.node.clone(),
                position: share.position,
                pending: share.pending,
            })
            .collect(),
        error: status.error,
        name: status.name,
    }
}

/// The page of all.
pub(crate) async fn show(console: Console) -> Result<Consumers, Problem> {
    let Some(streams) = &console.streams else {
        return Ok(Consumers { has_streams: false, consumers: Vec::new() });
    };
    let list = streams.consumers.list().await?;
    let consumers = list.into_iter().map(|status| known(&console, status)).collect();
    Ok(Consumers { has_streams: true, consumers })
}

impl View for Consumers {
    fn title(&self) -> String {
        "Consumers".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Consumers" }
            @if self.consumers.is_empty() {
                div.empty {
                    p { "No messages are brought to anybody. With these lines in the manifest those of `order` are:" }
                    pre {
                        @if !self.has_streams { "streams: {}\n" }
                        "consumers:\n  billing:\n    category: order\n    handler: billing/orders"
                    }
                }
            } @else {
                (self.table())
            }
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("consumers", self.table())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Consumers {
    fn table(&self) -> Markup {
        html! {
            div #consumers.scroll tabindex="0" role="region" aria-label="Consumers, as a table" {
                table {
                    thead { tr {
                        th scope="col" { "Consumer" } th scope="col" { "Category" } th scope="col" { "Handler" }
                        th.number scope="col" { "Behind" } th.number scope="col" { "Dead letters" }
                        th.number scope="col" { "Handled" } th.number scope="col" { "Failed" } th scope="col" { "State" }
                    } }
                    tbody {
                        @for one in &self.consumers {
                            tr {
                                th scope="row" { a href=(address(&one.name)) { (one.name) } }
                                td { a href=(stream_address(&one.category)) { (one.category) } }
                                td { @if let Some(handler) = &one.handler { code { (handler) } } @else { "whoever asks" } }
                                td.number { (behind(one)) }
                                td.number .bad[one.dead_letters > 0] { (letters(one)) }
                                td.number { (one.handled) }
                                td.number { (one.failed) }
                                td { (state(one)) @if let Some(error) = &one.error { " " span.bad { (error) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn address(name: &str) -> String {
    format!("/consumers/{}", segment(name))
}

fn behind(one: &Known) -> String {
    if one.is_exact { one.lag.to_string() } else { format!("about {}", one.lag) }
}

fn letters(one: &Known) -> String {
    format!("{}{}", one.dead_letters, if one.more_dead_letters { "+" } else { "" })
}

fn state(one: &Known) -> Markup {
    html! {
        @if one.is_paused { span.tag.busy { "paused" } } @else { span.tag.good { "at work" } }
    }
}

#[derive(Serialize)]
pub(crate) struct Consumer {
    #[serde(flatten)]
    known: Known,
    #[serde(rename = "letters")]
    dead: Vec<DeadLetter>,
    more: bool,
}

/// The page of one.
pub(crate) async fn show_one(console: Console, asked: Asked) -> Result<Consumer, Problem> {
    let consumers = &of(&console)?.consumers;
    let name = asked.name(0);
    let status = consumers.show(name).await?;
    let after = asked.number("after")?.unwrap_or(0);
    let mut dead = consumers.dead_letters(name, after, LETTERS + 1).await?;
    let more = dead.len() > LETTERS;
    dead.truncate(LETTERS);
    Ok(Consumer { known: known(&console, status), dead, more })
}

/// Pauses, resumes, or has all dead letters tried again.
pub(crate) async fn order(console: Console, asked: Asked) -> Result<String, Problem> {
    let consumers = &of(&console)?.consumers;
    let name = asked.name(0);
    match asked.name(1) {
        "pause" => consumers.pause(name).await?,
        "resume" => consumers.resume(name).await?,
        "retry" => _ = consumers.retry_all(name).await?,
        _ => return Err(Problem::not_found("a consumer can be asked to pause, resume or retry")),
    }
    Ok(address(name))
}

/// Has a dead letter tried again, or skips it.
pub(crate) async fn resolve(console: Console, asked: Asked) -> Result<String, Problem> {
    let name = asked.name(0);
    let wish = match asked.name(2) {
        "retry" => Wish::Retry,
        "skip" => Wish::Discard,
        _ => {
            return Err(Problem::not_found("a dead letter can be tried again (`retry`) or skipped (`skip`)"));
        }
    };
    let text = asked.name(1);
    let position = text
        .parse()
        .map_err(|_| Problem::invalid(format!("`{text}` is no global position of a dead letter")))?;
    of(&console)?.consumers.resolve(name, position, wish).await?;
    Ok(address(name))
}

impl View for Consumer {
    fn title(&self) -> String {
        self.known.name.clone()
    }

    fn body(&self, viewer: &Viewer) -> Markup {
        html! {
            h1 { (self.known.name) }
            (self.state(viewer))
            section aria-labelledby="dead-title" {
                h2 #dead-title { "Dead letters" }
                (viewer.invitation("They can be tried again or skipped"))
                (self.dead(viewer))
            }
        }
    }

    fn live(&self, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("state", self.state(viewer)), ("dead", self.dead(viewer))]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Consumer {
    fn state(&self, viewer: &Viewer) -> Markup {
        let one = &self.known;
        let to = |verb: &str| format!("{}/{verb}", address(&one.name));
        html! {
            div #state {
                p {
                    (state(one)) " brings messages of " a href=(stream_address(&one.category)) { (one.category) } " to "
                    @if let Some(handler) = &one.handler { code { (handler) } } @else { "whoever asks for them" }
                    "; behind by " strong { (behind(one)) }
                    @if let Some(age) = one.age_s { ", the oldest for " (units::duration(age * 1e6)) }
                }
                @if let Some(error) = &one.error { p { "What went wrong last: " span.bad { (error) } } }
                p {
                    @if one.is_paused { (viewer.button(&to("resume"), "Resume", &[])) }
                    @else { (viewer.button(&to("pause"), "Pause deliveries", &[])) }
                }
                (plot(&Plot {
                    name: "Behind",
                    points: &one.lags,
                    hour: LAGS_MAX,
                    unit: |number| format!("{number:.0}"),
                    is_bad: false,
                }))
                div.scroll tabindex="0" role="region" aria-label="Shares, as a table" {
                    table {
                        thead { tr {
                            th.number scope="col" { "Share" } th scope="col" { "Node" } th.number scope="col" { "Position" }
                            th.number scope="col" { "Read, not handled" }
                        } }
                        tbody {
                            @for share in &one.shares {
                                tr {
                                    td.number { (share.number) }
                                    td { (share.node.as_deref().unwrap_or("nobody")) }
                                    td.number { (share.position) }
                                    td.number { (share.pending) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn dead(&self, viewer: &Viewer) -> Markup {
        let of = address(&self.known.name);
        html! {
            div #dead {
                @if self.dead.is_empty() { p.note { "None: what was tried was handled in the end." } }
                @else {
                    (viewer.button(&format!("{of}/retry"), "Try all again", &[]))
                    ol.found {
                        @for letter in &self.dead {
                            li.failed {
                                div.head {
                                    span {
                                        a href=(format!("/messages/{}", segment(&letter.id))) { strong { (letter.kind) } }
                                        " in " a href=(stream_address(&letter.stream_name)) { (letter.stream_name) }
                                        " at " (letter.position)
                                    }
                                    span.number { "#" (letter.global_position) }
                                }
                                p.bad { (letter.reason) }
                                div.foot {
                                    (units::count(u64::from(letter.attempts), "attempt")) ", given up " (letter.time)
                                    @if letter.before > 0 { "; given up " (letter.before + 1) " times by now" }
                                }
                                (viewer.button(&format!("{of}/dead/{}/retry", letter.global_position), "Try again", &[]))
                                (viewer.button(&format!("{of}/dead/{}/skip", letter.global_position), "Skip", &[]))
                            }
                        }
                    }
                    @if let Some(last) = self.dead.last().filter(|_| self.more) {
                        p { a href=(format!("{of}?after={}", last.global_position)) { "More" } }
                    }
                }
            }
        }
    }
}
