//! Where routes come from: texts, files and addresses. Each source keeps its last good state, so that a bad
//! file or an address that does not answer never takes a route away.

use crate::fetch::{self, Fetched, Wanted};
use crate::table::{Builder, Definitions, Table};
use base::{Diagnostic, Fault, Kind, Severity, Source};
use http::header::HeaderValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Dialer;

/// Where routes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// A text that somebody else read.
    Text(Source),
    /// A file of eskip.
    File(PathBuf),
    /// An address that serves eskip, asked again and again (ETag-aware).
    Url(String),
}

impl RouteSource {
    /// Whether both are the same place, though what is written there may have changed.
    fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.name == other.name,
            _ => self == other,
        }
    }
}

/// Changes of every table on its way from the sources.
#[derive(Clone)]
pub enum Step {
    /// Changes predicates and filters in place (Skipper's `-edit-route`).
    Edit(eskip::Edit),
    /// Adds a changed copy of each route it changes (`-clone-route`).
    Clone(eskip::Edit),
    /// Puts filters around those of each route (`-default-filters-prepend`, `-append`).
    Around(eskip::DefaultFilters),
    /// Takes out routes that use one of these filters (`-disabled-filters`).
    Without(eskip::DisabledFilters),
}

/// All sources of one table.
pub struct RouteSources {
    entries: Vec<Entry>,
    steps: Vec<Step>,
}

struct Entry {
    source: RouteSource,
    /// What was read last, good or not: the same again is no news.
    seen: Option<Seen>,
    good: Definitions,
    /// The tag of the last answer of an address, and that answer.
    tagged: Option<(HeaderValue, Source)>,
}

impl Entry {
    fn new(source: RouteSource) -> Self {
        Self { source, seen: None, good: Definitions::default(), tagged: None }
    }
}

#[derive(PartialEq)]
enum Seen {
    Text(Arc<str>),
    Failed(String),
}

/// What reading the sources gave.
#[derive(Default)]
pub struct Refreshed {
    /// Whether any source has another state than before.
    pub changed: bool,
    /// What is wrong, of the sources that changed.
    pub diagnostics: Vec<Diagnostic>,
}

impl Refreshed {
    /// Whether something is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl RouteSources {
    /// These sources, none read yet.
    pub fn new(sources: Vec<RouteSource>, steps: Vec<Step>) -> Self {
        Self { entries: sources.into_iter().map(Entry::new).collect(), steps }
    }

    /// Takes these sources from now on. Those that were there before keep what they read.
    pub fn replace(&mut self, sources: Vec<RouteSource>) {
        let mut before = std::mem::take(&mut self.entries);
        self.entries = sources
            .into_iter()
            .map(|source| match before.iter().position(|entry| entry.source.is_same_place(&source)) {
                Some(at) => Entry { source, ..before.swap_remove(at) },
                None => Entry::new(source),
            })
            .collect();
    }

    /// The files among the sources.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|entry| match &entry.source {
            RouteSource::File(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Whether an address is among the sources, so that asking again makes sense.
    pub fn has_urls(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.source, RouteSource::Url(_)))
    }

    /// Reads all sources again. A source that can't be read or parsed keeps its last good state.
    pub async fn refresh(&mut self, dialer: &Dialer) -> Refreshed {
        let mut refreshed = Refreshed::default();
        for entry in &mut self.entries {
            let read = match &entry.source {
                RouteSource::Text(source) => Ok(source.clone()),
                RouteSource::File(path) => read_file(path).await,
                RouteSource::Url(url) => fetch(url, dialer, &mut entry.tagged).await,
            };
            match read {
                Ok(source) => {
                    let seen = Some(Seen::Text(source.text.clone()));
                    if entry.seen == seen {
                        continue;
                    }
                    entry.seen = seen;
                    refreshed.changed = true;
                    let parsed = eskip::parse(&source);
                    if parsed.errors.is_empty() {
                        entry.good = Definitions::from_source(&source, parsed.routes);
                    }
                    refreshed.diagnostics.extend(parsed.errors.into_iter().map(|error| error.diagnostic));
                }
                Err(fault) => {
                    let seen = Some(Seen::Failed(fault.to_string()));
                    if entry.seen == seen {
                        continue;
                    }
                    entry.seen = seen;
                    let mut diagnostic = Diagnostic::error("unreadable_routes", fault.to_string());
                    diagnostic.hint.clone_from(&fault.hint);
                    refreshed.diagnostics.push(diagnostic);
                }
            }
        }
        refreshed
    }

    /// The good routes of all sources, in the order of the sources, and what their preprocessing told.
    pub fn definitions(&self) -> (Definitions, Vec<Diagnostic>) {
        let mut all = Definitions::default();
        let mut told = Vec::new();
        for entry in &self.entries {
            let (routes, more) = entry.stepped(&self.steps);
            all.extend(routes);
            told.extend(more);
        }
        (all, told)
    }

    /// Builds the table of all good routes, and tells what is wrong with the others.
    pub fn build(&self, builder: &Builder) -> (Table, Vec<Diagnostic>) {
        let (definitions, mut told) = self.definitions();
        let table = builder.build(&definitions);
        told.extend(table.invalid.iter().map(|invalid| invalid.diagnostic.clone()));
        (table, told)
    }
}

impl Entry {
    /// The good routes after the steps.
    fn stepped(&self, steps: &[Step]) -> (Definitions, Vec<Diagnostic>) {
        if steps.is_empty() {
            return (self.good.clone(), Vec::new());
        }
        let source = self.good.routes.iter().find_map(|(_, source)| source.clone());
        let mut routes: Vec<_> =
            self.good.routes.iter().map(|(route, _)| eskip::Route::clone(route)).collect();
        let mut told = Vec::new();
        for step in steps {
            match step {
                Step::Edit(edit) => told.extend(edit.apply(&mut routes)),
                Step::Clone(edit) => told.extend(edit.clone_into(&mut routes)),
                Step::Around(filters) => filters.apply(&mut routes),
                Step::Without(filters) => {
                    let source = source.clone().unwrap_or_else(|| Source::new("", ""));
                    told.extend(filters.apply(&source, &mut routes));
                }
            }
        }
        // What a step wrote has no place in the text; what it left alone keeps its own.
        let place = |route| (Arc::new(route), source.clone());
        (Definitions { routes: routes.into_iter().map(place).collect() }, told)
    }
}

async fn read_file(path: &Path) -> Result<Source, Fault> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let name = path.display().to_string();
        let text = base::read_text(&format!("routes file `{name}`"), &path, eskip::TEXT_BYTES_MAX)?;
        Ok(Source::new(name, text))
    });
    read.await.unwrap_or_else(|_| Err(Fault::new(Kind::Bug, "reading a routes file panicked")))
}

/// Asks a routes URL. Its text is compared as a whole, so that a server without ETags costs a transfer but
/// no new table.
async fn fetch(
    url: &str,
    dialer: &Dialer,
    tagged: &mut Option<(HeaderValue, Source)>,
) -> Result<Source, Fault> {
    let wanted = Wanted {
        url,
        accept: "application/eskip, text/plain",
        known: tagged.as_ref().map(|(tag, _)| tag),
        bytes_max: eskip::TEXT_BYTES_MAX,
    };
    let read = fetch::fetch(wanted, dialer).await.and_then(|fetched| match (fetched, &*tagged) {
        (Fetched::AsKnown, Some((_, source))) => Ok((source.clone(), tagged.clone())),
        (Fetched::AsKnown, None) => {
            Err(Fault::new(Kind::Invalid, "nothing was known that could be unchanged"))
        }
        (Fetched::Document(bytes, tag), _) => {
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| Fault::new(Kind::Invalid, "the answer is not UTF-8"))?;
            let source = Source::new(url, text);
            Ok((source.clone(), tag.map(|tag| (tag, source))))
        }
    });
    match read {
        Ok((source, tag)) => {
            *tagged = tag;
            Ok(source)
        }
        Err(fault) => Err(Fault::new(fault.kind, format!("routes of `{url}` can't be fetched"))
            .hint("the last good routes of this address stay in force")
            .because(fault)),
    }
}
