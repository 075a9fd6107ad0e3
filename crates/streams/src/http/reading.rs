//! Pages of messages: what a call asks for as a [`Read`], one page of it, and the wait for one.

use super::answer::{Answered, Problem, json_answer};
use super::call::{Call, wrong};
use super::following::{self, Form};
use super::{Api, bounds, json};
use base::Kind;
use http::StatusCode;
use store::{Member, Page, Read, Scope, bounds as of_store};

/// `GET /streams/{stream}/messages`.
pub(crate) async fn stream(api: Api, call: Call) -> Answered {
    let scope = Scope::Stream(call.name(0).to_owned());
    messages(api, &call, scope).await
}

/// `GET /categories/{category}/messages`.
pub(crate) async fn category(api: Api, call: Call) -> Answered {
    let name = call.name(0);
    if !store::names::is_category(name) {
        let category = store::names::category(name);
        return Err(Problem::invalid(format!("`{name}` is a stream, not a category"))
            .hint(format!("its category is `{category}`, its messages are `/streams/{name}/messages`")));
    }
    let scope = Scope::Category(name.to_owned());
    messages(api, &call, scope).await
}

/// `GET /messages`.
pub(crate) async fn all(api: Api, call: Call) -> Answered {
    messages(api, &call, Scope::All).await
}

async fn messages(api: Api, call: &Call, scope: Scope) -> Answered {
    let read = wanted(call, scope)?;
    if call.accepts("text/event-stream") {
        return following::answer(api, call, read, Form::Events);
    }
    if call.accepts("application/x-ndjson") {
        return following::answer(api, call, read, Form::Lines);
    }
    let page = match call.seconds("wait", bounds::WAIT_MAX)? {
        None => api.store.read(read).await?,
        Some(wait) => {
            let _permit = following::permit(&api)?;
            // Watched before the first look, so that nothing falls between look and wait.
            let mut watch = api.store.watch(read.scope.clone());
            let mut drain = api.drain.clone();
            let end = api.clock.sleep(wait);
            tokio::pin!(end);
            let mut read = read;
            loop {
                let page = api.store.read(read.clone()).await?;
                if !page.messages.is_empty() {
                    break page;
                }
                // What was passed over is not looked at again.
                read.from = page.next;
                if page.more {
                    continue;
                }
                tokio::select! {
                    () = watch.changed() => {}
                    () = &mut end => break page,
                    () = drain.begun() => break page,
                }
            }
        }
    };
    Ok(json_answer(StatusCode::OK, text(&page)))
}

fn text(page: &Page) -> Vec<u8> {
    let mut out = b"{\"messages\":[".to_vec();
    for (nth, message) in page.messages.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        json::write_message(&mut out, message);
    }
    out.extend_from_slice(format!("],\"next\":{},\"more\":{}}}", page.next, page.more).as_bytes());
    out
}

/// What a call asks for.
fn wanted(call: &Call, scope: Scope) -> Result<Read, Problem> {
    let mut read = match scope {
        Scope::Stream(name) => Read::stream(name),
        Scope::Category(name) => Read::category(name),
        Scope::All => Read::all(),
    };
    if call.flag("backward")? {
        if call.text("wait").is_some() {
            return Err(Problem::invalid(
                "nothing new comes backward: `wait` and `backward` don't go together",
            ));
        }
        read = read.backward();
    }
    if let Some(from) = call.number("from", 0)? {
        read.from = from;
    }
    read.limit = call.limit(read.limit, of_store::PAGE_MESSAGES_MAX)?;
    read.kind = call.text("type").map(str::to_owned);
    read.correlation = call.text("correlation").map(str::to_owned);
    read.as_at = call.time("as_at")?;
    read.until = call.number("until", 0)?;
    read.member = match (call.number("member", 0)?, call.number("size", 1)?) {
        (None, None) => None,
        (Some(member), Some(size)) => Some(group_member(member, size)?),
        _ => return Err(Problem::invalid("`member` and `size` of a consumer group go together")),
    };
    Ok(read)
}

fn group_member(member: i64, size: i64) -> Result<Member, Problem> {
    let of = |number: i64| u16::try_from(number).ok().filter(|number| i16::try_from(*number).is_ok());
    let Some(size) = of(size) else {
        return Err(wrong("size", &size.to_string(), "a whole number from 1 to 32767"));
    };
    of(member).and_then(|member| Member::new(member, size)).ok_or_else(|| {
        Problem::new(Kind::Invalid, format!("member `{member}` of a group of `{size}`: they count from 0"))
    })
}
