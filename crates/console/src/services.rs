//! Services: how each does, and one of them with its instances, what it prints as it prints it, and buttons for who may
//! press them.

use crate::access::{SIGN_IN, Viewer};
use crate::asked::{Asked, segment};
use crate::lines::{self, Printed};
use crate::map::{Edge, Flow, Map};
use crate::overview::{latency, state_class};
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, answer, map, units};
use base::{Kind, UnixTime};
use control::{InstanceStatus, ServiceStatus, State, Trouble};
use maud::{Markup, html};
use serde::Serialize;
use std::sync::Arc;

/// Lines of what a service printed that its page begins with.
const LINES: usize = 300;

#[derive(Serialize)]
pub(crate) struct Services {
    services: Vec<Known>,
    /// Those that run elsewhere.
    outside: Vec<String>,
}

/// A service without what it printed.
#[derive(Clone, Serialize)]
struct Known {
    name: String,
    state: State,
    rolling: bool,
    waiting_for: Vec<String>,
    trouble: Option<Trouble>,
    instances: Vec<Instance>,
    asked: Option<Flow>,
}

#[derive(Clone, Serialize)]
struct Instance {
    number: u32,
    state: State,
    pid: Option<u32>,
    port: Option<u16>,
    restarts: u32,
    started_us: Option<u64>,
    health: Option<String>,
    trouble: Option<Trouble>,
}

/// The page of all.
pub(crate) async fn show(console: Console) -> Result<Services, Problem> {
    let map = map::now(&console).await?;
    let status = console.supervisor.status();
    Ok(Services {
        services: status.iter().map(|service| known(service, &map)).collect(),
        outside: console.about().outside,
    })
}

fn known(service: &ServiceStatus, map: &Map) -> Known {
    let node = map.nodes.iter().find(|node| node.name == service.name);
    Known {
        name: service.name.clone(),
        state: service.state,
        rolling: service.rolling,
        waiting_for: service.waiting_for.clone(),
        trouble: service.trouble.clone(),
        instances: service.replicas.iter().map(instance).collect(),
        asked: node.and_then(|node| node.asked),
    }
}

fn instance(status: &InstanceStatus) -> Instance {
    Instance {
        number: status.instance,
        state: status.state,
        pid: status.pid,
        port: status.port,
        restarts: status.restarts,
        started_us: status.started_at.map(UnixTime::micros),
        health: status.health.clone(),
        trouble: status.trouble.clone(),
    }
}

impl View for Services {
    fn title(&self) -> String {
        "Services".to_owned()
    }

    fn body(&self, viewer: &Viewer) -> Markup {
        html! {
            h1 { "Services" }
            (viewer.invitation("Services can be restarted, and what they print is shown,"))
            @if self.services.is_empty() && self.outside.is_empty() {
                p.empty {
                    "The manifest has no services. With these lines one would run here:"
                    pre { "services:\n  web:\n    run: exec ./web\n    health: /health" }
                }
            } @else {
                (self.table(viewer))
            }
        }
    }

    fn live(&self, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("services", self.table(viewer))]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Services {
    fn table(&self, viewer: &Viewer) -> Markup {
        html! {
            div #services.scroll tabindex="0" role="region" aria-label="Services, as a table" {
                table {
                    thead { tr {
                        th scope="col" { "Service" } th scope="col" { "State" } th.number scope="col" { "Instances" }
                        th.number scope="col" { "Restarts" } th.number scope="col" { "Asked" }
                        th.number scope="col" { "Errors" } th.number scope="col" { "p99" }
                        @if viewer.may_control() { th scope="col" { "Do" } }
                    } }
                    tbody {
                        @for service in &self.services {
                            tr {
                                th scope="row" { a href=(address(&service.name)) { (service.name) } }
                                td { (state(service)) }
                                td.number { (service.instances.len()) }
                                td.number { (service.instances.iter().map(|one| one.restarts).sum::<u32>()) }
                                (flow(service.asked))
                                @if viewer.may_control() { td { (buttons(viewer, service)) } }
                            }
                        }
                        @for name in &self.outside {
                            tr {
                                th scope="row" { (name) }
                                td { span.tag { "runs elsewhere" } }
                                td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" }
                                @if viewer.may_control() { td {} }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn address(name: &str) -> String {
    format!("/services/{}", segment(name))
}

fn flow(flow: Option<Flow>) -> Markup {
    html! {
        @match flow {
            Some(flow) => {
                td.number { (units::rate(flow.rate_per_s)) }
                td.number .bad[flow.error_share > 0.0] { (units::share(flow.error_share)) }
                td.number { (latency(flow, flow.p99_ms)) }
            }
            None => { td.number { "–" } td.number { "–" } td.number { "–" } }
        }
    }
}

/// How a service does, in words and not by colour alone.
fn state(service: &Known) -> Markup {
    html! {
        span class=(format!("tag {}", state_class(service.state))) { (service.state) }
        @if service.rolling { " " span.tag.busy { "rolling out" } }
        @if !service.waiting_for.is_empty() { " for " (service.waiting_for.join(", ")) }
        @if let Some(trouble) = &service.trouble { " " (trouble_of(trouble)) }
    }
}

fn trouble_of(trouble: &Trouble) -> Markup {
    html! {
        span.bad { (trouble.message) }
        @if let Some(hint) = &trouble.hint { " " span.note { "hint: " (hint) } }
    }
}

fn buttons(viewer: &Viewer, service: &Known) -> Markup {
    let to = |verb: &str| format!("{}/{verb}", address(&service.name));
    html! {
        @if matches!(service.state, State::Stopped | State::Done) {
            (viewer.button(&to("start"), "Start", &[]))
        } @else {
            (viewer.button(&to("restart"), "Restart", &[]))
            (viewer.button(&to("stop"), "Stop", &[]))
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Service {
    #[serde(rename = "service")]
    known: Known,
    /// Calls to it and from it.
    edges: Vec<Edge>,
    has_traces: bool,
    /// Only for who may control: what services print may be secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Printed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    last_lines: Vec<String>,
    /// The number of the last line.
    #[serde(skip)]
    seen: u64,
}

/// The page of one.
pub(crate) async fn show_one(console: Console, asked: Asked) -> Result<Service, Problem> {
    let status = find(&console, asked.name(0))?;
    let map: Arc<Map> = map::now(&console).await?;
    let name = &status.name;
    let edges = map.edges.iter().filter(|edge| edge.from == *name || edge.to == *name).cloned().collect();
    let mut page = Service {
        known: known(&status, &map),
        edges,
        has_traces: map.has_traces,
        lines: Vec::new(),
        last_lines: Vec::new(),
        seen: 0,
    };
    if asked.viewer.may_control() {
        let printed = console.supervisor.logs(Some(name), LINES);
        page.seen = printed.last().map_or(0, |line| line.number + 1);
        page.lines = printed.iter().map(|line| lines::printed(line)).collect();
        let instances = status.replicas.iter().find(|one| !one.last_lines.is_empty());
        page.last_lines = instances.map_or_else(|| status.last_lines.clone(), |one| one.last_lines.clone());
    }
    Ok(page)
}

/// A service by its name, or what may have been meant.
pub(crate) fn find(console: &Console, name: &str) -> Result<ServiceStatus, Problem> {
    let status = console.supervisor.status();
    if let Some(service) = status.iter().find(|service| service.name == name) {
        return Ok(service.clone());
    }
    let known = status.iter().map(|service| service.name.as_str());
    let hint = match base::did_you_mean(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if status.is_empty() => "the manifest has no services".to_owned(),
        None => format!("the services are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(Problem::not_found(format!("`{name}` is no service that runs here")).hint(hint))
}

/// Does what a button asks for.
pub(crate) async fn order(console: Console, asked: Asked) -> Result<String, Problem> {
    let (name, verb) = (asked.name(0), asked.name(1));
    find(&console, name)?;
    match verb {
        "restart" => console.supervisor.restart(name).await?,
        "stop" => console.supervisor.stop(name).await?,
        "start" => console.supervisor.start_service(name).await?,
        _ => return Err(Problem::not_found("a service can be asked to restart, stop or start")),
    }
    Ok(address(name))
}

/// Only who may control sees what services print.
pub(crate) fn may_read(viewer: &Viewer) -> Result<(), Problem> {
    if viewer.may_control() {
        return Ok(());
    }
    Err(Problem::new(Kind::Refused, "what services print is for who has signed in").hint(SIGN_IN))
}

impl View for Service {
    fn title(&self) -> String {
        self.known.name.clone()
    }

    fn body(&self, viewer: &Viewer) -> Markup {
        let name = &self.known.name;
        html! {
            h1 { (name) }
            (self.instances(viewer))
            (self.calls())
            @if self.has_traces {
                p { a href=(crate::asked::question("/traces", &[("serviceName", name)])) { "Traces of " (name) } }
            }
            section aria-labelledby="lines-title" {
                h2 #lines-title { "What it prints" }
                (viewer.invitation("What a service prints is shown"))
                @if viewer.may_control() {
                    @if self.lines.is_empty() { p.note { "Nothing so far." } }
                    div.lines tabindex="0" role="region" aria-label=(format!("What {name} prints")) {
                        ol #lines data-lines=(format!("{}/lines.sse?from={}", address(name), self.seen)) {
                            @for line in &self.lines { (lines::line(line)) }
                        }
                    }
                }
            }
        }
    }

    fn live(&self, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("instances", self.instances(viewer)), ("calls", self.calls())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Service {
    fn instances(&self, viewer: &Viewer) -> Markup {
        html! {
            div #instances {
                p { (state(&self.known)) " " (buttons(viewer, &self.known)) }
                @if !self.last_lines.is_empty() {
                    details open { summary { "The last lines before it ended" } pre { (self.last_lines.join("\n")) } }
                }
                div.scroll tabindex="0" role="region" aria-label="Instances, as a table" {
                    table {
                        thead { tr {
                            th scope="col" { "Instance" } th scope="col" { "State" } th scope="col" { "Address" }
                            th.number scope="col" { "Process" } th.number scope="col" { "Restarts" }
                            th scope="col" { "Since" }
                        } }
                        tbody { @for instance in &self.known.instances { (instance_row(instance)) } }
                    }
                }
            }
        }
    }

    fn calls(&self) -> Markup {
        html! {
            div #calls.scroll tabindex="0" role="region" aria-label="Calls, as a table" {
                @if !self.edges.is_empty() {
                    table {
                        caption { "Calls to and from it, in the last minutes" }
                        thead { tr {
                            th scope="col" { "From" } th scope="col" { "To" } th.number scope="col" { "Rate" }
                            th.number scope="col" { "Errors" } th.number scope="col" { "p99" }
                        } }
                        tbody {
                            @for edge in &self.edges {
                                tr {
                                    td { (edge.from) } td { (edge.to) }
                                    (flow(edge.flow))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn instance_row(instance: &Instance) -> Markup {
    html! {
        tr {
            th scope="row" { (instance.number) }
            td {
                span class=(format!("tag {}", state_class(instance.state))) { (instance.state) }
                @if let Some(why) = &instance.health { " " span.bad { (why) } }
                @if let Some(trouble) = &instance.trouble { " " (trouble_of(trouble)) }
            }
            td { @if let Some(port) = instance.port { code { "127.0.0.1:" (port) } } @else { "–" } }
            td.number { @if let Some(pid) = instance.pid { (pid) } @else { "–" } }
            td.number { (instance.restarts) }
            td { @if let Some(us) = instance.started_us { (units::time(us)) } @else { "–" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_as_exactly_as_it_was_counted() {
        let told = |is_bucketed| {
            let flow_of =
                Flow { rate_per_s: 1.0, error_share: 0.0, p50_ms: None, p99_ms: Some(3.0), is_bucketed };
            flow(Some(flow_of)).into_string()
        };
        assert!(told(true).contains("≤ 5.00 ms"), "{}", told(true));
        assert!(told(false).contains(">3.00 ms"), "{}", told(false));
    }
}
