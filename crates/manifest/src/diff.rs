//! What is different between two manifests, by what has to be done about it. Places in the file are no
//! difference: a new comment changes nothing.

use crate::consumers::Consumer;
use crate::values::{Command, Gateway, Manifest, RoutesEntry, Service, Source};

/// What has to be done to get from one manifest to another. Names of services, in the order of the new file
/// (those removed in the order of the old). A service may stand in several lists, but one that is to be
/// restarted does not stand in `resized` or `tended`, for a restart takes up those changes too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says on its own whether one part has something to do"
)]
pub struct Changes {
    /// New, or run by us now and by somebody else before.
    pub added: Vec<String>,
    /// Gone, or run by somebody else now and by us before.
    pub removed: Vec<String>,
    /// What runs is another: `run`, `build`, `dir`, `env`, `env_file` or `port`.
    pub restart: Vec<String>,
    /// `replicas` alone.
    pub resized: Vec<String>,
    /// How it is looked after: `health`, `restart`, `stop_grace`, `depends_on` or `watch`. Nothing restarts.
    pub tended: Vec<String>,
    /// `calls`: its routes change at once; the URL of a service it did not call before reaches its environment
    /// with its next start.
    pub calls: Vec<String>,
    /// How it is reached: `filters` or `at`. Only routes change.
    pub rerouted: Vec<String>,
    /// `routes` of the gateway. The contents of files are not looked at.
    pub routes: bool,
    /// `address`, `api`, `support`, `workers`, `flags` or the TLS files of the gateway, `streams` or `traces`: listeners open anew.
    pub rebind: bool,
    /// `strict` or `ignore_trailing_slash` of the gateway: the route table is built anew.
    pub lookup: bool,
    /// `consumers`: they change while they work.
    pub consumers: bool,
    /// `log`.
    pub log: bool,
    /// `limits`.
    pub limits: bool,
}

impl Changes {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What has to be done to get from `old` to `new`.
pub fn diff(old: &Manifest, new: &Manifest) -> Changes {
    let mut changes = Changes {
        routes: !same_routes(&old.routes, &new.routes),
        rebind: listeners(&old.gateway) != listeners(&new.gateway)
            || (&old.streams, &old.traces) != (&new.streams, &new.traces),
        lookup: (old.gateway.strict, old.gateway.ignore_trailing_slash)
            != (new.gateway.strict, new.gateway.ignore_trailing_slash),
        consumers: !same_consumers(&old.consumers, &new.consumers),
        log: old.log != new.log,
        limits: old.limits != new.limits,
        ..Changes::default()
    };
    let find = |manifest: &'_ Manifest, name: &str| manifest.services.iter().position(|s| s.name == name);
    for before in &old.services {
        let after = find(new, &before.name).map(|at| &new.services[at]);
        let runs = |service: &Service| matches!(service.source, Source::Run(_));
        if after.is_none_or(|after| runs(before) != runs(after)) {
            changes.removed.push(before.name.clone());
        }
    }
    for after in &new.services {
        match find(old, &after.name).map(|at| &old.services[at]) {
            Some(before) => compare(before, after, &mut changes),
            None => changes.added.push(after.name.clone()),
        }
    }
    changes
}

fn compare(before: &Service, after: &Service, changes: &mut Changes) {
    let name = || after.name.clone();
    match (&before.source, &after.source) {
        (Source::Run(before), Source::Run(after)) => {
            if process(before) == process(after) {
                if before.replicas != after.replicas {
                    changes.resized.push(name());
                }
                // Whatever else is different is how it is looked after.
                let like_before = Command { replicas: before.replicas, ..(**after).clone() };
                if **before != like_before {
                    changes.tended.push(name());
                }
            } else {
                changes.restart.push(name());
            }
        }
        (Source::At(before), Source::At(after)) if before == after => {}
        (Source::At(_), Source::At(_)) => changes.rerouted.push(name()),
        _ => changes.added.push(name()),
    }
    if before.calls != after.calls {
        changes.calls.push(name());
    }
    if before.filters != after.filters && changes.rerouted.last() != Some(&after.name) {
        changes.rerouted.push(name());
    }
}

fn process(command: &Command) -> impl PartialEq {
    let Command { run, build, dir, env, env_file, port, .. } = command;
    (run, build, dir, env, env_file, port)
}

fn listeners(gateway: &Gateway) -> impl PartialEq {
    let Gateway { address, support, api, workers, tls_cert, tls_key, flags, .. } = gateway;
    let flags: Vec<_> = flags.iter().map(|flag| &flag.text).collect();
    (address, support, api, workers, tls_cert, tls_key, flags)
}

fn same_consumers(old: &[Consumer], new: &[Consumer]) -> bool {
    let same =
        |(old, new): (&Consumer, &Consumer)| Consumer { span: new.span.clone(), ..old.clone() } == *new;
    old.len() == new.len() && old.iter().zip(new).all(same)
}

fn same_routes(old: &[RoutesEntry], new: &[RoutesEntry]) -> bool {
    let same = |(old, new): (&RoutesEntry, &RoutesEntry)| match (old, new) {
        (RoutesEntry::Inline { text: old, .. }, RoutesEntry::Inline { text: new, .. }) => old == new,
        (RoutesEntry::File { path: old, .. }, RoutesEntry::File { path: new, .. }) => old == new,
        _ => false,
    };
    old.len() == new.len() && old.iter().zip(new).all(same)
}
