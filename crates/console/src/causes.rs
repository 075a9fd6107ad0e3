//! One message with what caused it and what followed from it, as a tree; and the messages of a trace. The store has no
//! index of either: causes are named by position, what followed is looked for among the messages behind, as many as
//! are said.

use crate::access::Viewer;
use crate::asked::Asked;
use crate::message::{self, Said, stream_address};
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, answer, streams};
use maud::{Markup, html};
use serde::Serialize;
use std::collections::HashMap;
use store::{Message, Read, Store, Uuid};

/// Causes that are followed back.
const BACK_MAX: usize = 50;
/// Messages behind the first cause that are looked at.
const LOOKED_MAX: usize = 5_000;
/// Messages of a tree.
const TREE_MAX: usize = 200;
/// Messages of the time of a trace that are looked at.
const OF_TRACE_LOOKED_MAX: usize = 2_000;
/// Messages of one read.
const PAGE: usize = 1_000;
/// How long after a trace's last span its messages may come: clocks differ, and groups are committed.
const AFTER_US: i64 = 2_000_000;

#[derive(Serialize)]
pub(crate) struct Caused {
    message: Said,
    /// From the first cause on, each with how deep it stands.
    tree: Vec<(usize, Said)>,
    /// Messages that were looked at for it.
    looked_at: usize,
    /// Whether there are more behind those.
    more: bool,
}

/// The page.
pub(crate) async fn show(console: Console, asked: Asked) -> Result<Caused, Problem> {
    let store = &streams::of(&console)?.store;
    let text = asked.name(0);
    let id = Uuid::try_parse(text).map_err(|_| Problem::invalid(format!("the id `{text}` is no UUID")))?;
    let Some(message) = store.by_id(id).await? else {
        return Err(Problem::not_found(format!("there is no message `{id}`"))
            .hint("it may have been removed, as the manifest's `keep` says"));
    };
    let message = Said::of(&message);
    let first = first_cause(store, &message).await?;
    let (found, looked_at, more) = followers(store, first).await?;
    Ok(Caused { message, tree: tree(found), looked_at, more })
}

/// The message at a global position, if it is there.
async fn at(store: &Store, global_position: i64) -> Result<Option<Message>, Problem> {
    let page = store.read(Read::all().from(global_position).limit(1)).await?;
    Ok(page.messages.into_iter().find(|message| message.global_position == global_position))
}

/// Goes back from cause to cause.
async fn first_cause(store: &Store, message: &Said) -> Result<Said, Problem> {
    let mut first = message.clone();
    for _ in 0..BACK_MAX {
        // A cause is always before what it causes; whoever says otherwise made it up.
        let Some(cause) = first.cause.filter(|cause| *cause > 0 && *cause < first.global_position) else {
            break;
        };
        match at(store, cause).await? {
            Some(message) => first = Said::of(&message),
            None => break,
        }
    }
    Ok(first)
}

/// A message and all that followed from it, as far as is looked.
async fn followers(store: &Store, first: Said) -> Result<(Vec<Said>, usize, bool), Problem> {
    let mut read = Read::all().from(first.global_position + 1).limit(PAGE);
    let mut found = vec![first];
    let mut looked_at = 0;
    loop {
        let page = store.read(read.clone()).await?;
        looked_at += page.messages.len();
        for message in &page.messages {
            let follows = |cause| found.iter().any(|one: &Said| one.global_position == cause);
            if found.len() < TREE_MAX && message::cause(message).is_some_and(follows) {
                found.push(Said::of(message));
            }
        }
        if !page.more || looked_at >= LOOKED_MAX || found.len() >= TREE_MAX {
            return Ok((found, looked_at, page.more));
        }
        read = read.from(page.next);
    }
}

/// Puts each below its cause.
fn tree(found: Vec<Said>) -> Vec<(usize, Said)> {
    let mut below: HashMap<i64, Vec<usize>> = HashMap::new();
    for (nth, said) in found.iter().enumerate().skip(1) {
        below.entry(said.cause.unwrap_or(0)).or_default().push(nth);
    }
    let mut tree = Vec::new();
    let mut waiting = vec![(0, 0)];
    while let Some((nth, depth)) = waiting.pop() {
        let said = &found[nth];
        let next = below.get(&said.global_position).into_iter().flatten().rev();
        waiting.extend(next.map(|next| (*next, depth + 1)));
        tree.push((depth, said.clone()));
    }
    tree
}

/// The messages of a trace: those appended in its time whose metadata name it.
pub(crate) async fn of_trace(
    store: &Store,
    trace: &str,
    start_us: u64,
    end_us: u64,
) -> Result<Vec<Said>, Problem> {
    let (start, end) = (start_us.cast_signed(), end_us.cast_signed().saturating_add(AFTER_US));
    // Times never go back along the store, so that the first message of a time is found by halving.
    let (mut low, mut high) = (1, store.head().await? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.read(Read::all().from(middle).limit(1)).await?;
        match page.messages.first() {
            Some(message) if message.time < start => low = message.global_position + 1,
            _ => high = middle,
        }
    }
    let mut found = Vec::new();
    let mut read = Read::all().from(low).limit(PAGE);
    for _ in 0..OF_TRACE_LOOKED_MAX / PAGE {
        let page = store.read(read.clone()).await?;
        let in_time = page.messages.iter().take_while(|message| message.time <= end);
        // An id of 64 bits stands for one of 128 whose first half is zeros.
        let is_it = |id: String| id == trace || id.strip_prefix("0000000000000000") == Some(trace);
        let ours = in_time.filter(|message| message::trace(message).is_some_and(is_it));
        found.extend(ours.map(Said::of).take(TREE_MAX - found.len()));
        if !page.more || page.messages.last().is_some_and(|last| last.time > end) {
            break;
        }
        read = read.from(page.next);
    }
    Ok(found)
}

impl View for Caused {
    fn title(&self) -> String {
        format!("{} in {}", self.message.kind, self.message.stream)
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { (self.message.kind) }
            p { (self.message.line()) }
            p.note {
                "Message " code { (self.message.id) } " at global position " (self.message.global_position)
                @if let Some(stream) = &self.message.correlation {
                    "; belongs to " a href=(stream_address(stream)) { (stream) }
                }
            }
            (self.message.content())
            section aria-labelledby="tree-title" {
                h2 #tree-title { "What caused it, and what followed" }
                @if self.tree.len() <= 1 {
                    p.note { "No cause is named in its metadata, and nothing names it as a cause." }
                } @else {
                    ul.causes {
                        @for (depth, said) in &self.tree {
                            li class=(format!("d{}", depth.min(&9))) .here[said.id == self.message.id] {
                                (said.line())
                                @if said.id == self.message.id { " " span.tag { "this one" } }
                            }
                        }
                    }
                }
                p.note {
                    (self.looked_at) " messages behind the first cause were looked at"
                    @if self.more { "; there are more behind those" } "."
                }
            }
        }
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}
