//! From the manifest to what has to be there: the gateway's routes, the routes of internal calls, who may call
//! whom. Reads files but starts nothing, so that `check` and `up` say the same.

use super::consumers;
use crate::flags::CarryFlags;
use base::{Diagnostic, Fault, Kind, Severity, Source, Span};
use eskip::{Arg, Backend, Call, Route};
use manifest::{Manifest, RoutesEntry, ServiceSource};
use proxy::{Builder, Definitions, RouteSource, Table};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Edge;

/// Names a manifest may have, the first found counts.
const NAMES: [&str; 2] = ["tombolo.yaml", "tombolo.yml"];

/// Most bytes of a manifest; more is no manifest but a mistake.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// What a manifest asks for.
pub(crate) struct Plan {
    /// The manifest's own text, for places in diagnostics.
    pub(crate) source: Source,
    /// Its folder: relative paths begin there.
    pub(crate) folder: PathBuf,
    /// Its values.
    pub(crate) manifest: Manifest,
    /// What its `gateway.flags` say.
    pub(crate) flags: CarryFlags,
}

/// Finds and reads the manifest that `path` names: a file, or a folder that holds one. Warnings come with it;
/// with errors there is none.
pub(crate) fn read_manifest(path: &Path) -> Result<(Option<Plan>, Vec<Diagnostic>), Fault> {
    let file = find(path)?;
    let text = base::read_text(&format!("`{}`", file.display()), &file, MANIFEST_BYTES_MAX)?;
    let source = Source::new(file.display().to_string(), text);
    let (manifest, mut diagnostics) = manifest::read(&source);
    let Some(manifest) = manifest else { return Ok((None, diagnostics)) };
    let absolute = std::path::absolute(&file)?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let (flags, told) = crate::flags::read(&manifest.gateway.flags, &folder, &source);
    diagnostics.extend(told);
    Ok((flags.map(|flags| Plan { source, folder, manifest, flags }), diagnostics))
}

fn find(path: &Path) -> Result<PathBuf, Fault> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if path.is_dir() {
        let shown = |name: &str| if path == Path::new(".") { PathBuf::from(name) } else { path.join(name) };
        return NAMES.iter().map(|name| shown(name)).find(|file| file.is_file()).ok_or_else(|| {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            Fault::new(Kind::NotFound, format!("no tombolo.yaml in `{}`", absolute.display()))
                .hint("`tombolo init` writes a first one; `tombolo up DIR` takes another folder")
        });
    }
    Err(Fault::new(Kind::NotFound, format!("`{}` is not there", path.display()))
        .hint("give the folder of a tombolo.yaml, or the file itself"))
}

impl Plan {
    /// The manifest's name for people: its own, or its folder's.
    pub(crate) fn name(&self) -> String {
        self.manifest.name.clone().unwrap_or_else(|| {
            self.folder
                .file_name()
                .map_or_else(|| "tombolo".to_owned(), |name| name.to_string_lossy().into_owned())
        })
    }

    /// Where the gateway's routes come from. An inline text is padded so that its places are those in the
    /// manifest: see [`Plan::place`].
    pub(crate) fn sources(&self) -> Vec<RouteSource> {
        let manifest = &self.manifest;
        manifest
            .routes
            .iter()
            .enumerate()
            .map(|(at, entry)| match entry {
                RoutesEntry::Inline { text, .. } => {
                    RouteSource::Text(Source::new(self.inline_name(at), text.as_str()))
                }
                RoutesEntry::File { path, .. } => RouteSource::File(shown(&self.folder.join(path))),
            })
            .collect()
    }

    fn inline_name(&self, at: usize) -> String {
        format!("{} (routes {})", self.source.name, at + 1)
    }

    /// Lets diagnostics about inline texts point into the manifest.
    pub(crate) fn place(&self, diagnostics: &mut [Diagnostic]) {
        for diagnostic in diagnostics {
            diagnostic.message = self.placed(&diagnostic.message);
            let Some(place) = &mut diagnostic.place else { continue };
            for (at, entry) in self.manifest.routes.iter().enumerate() {
                if let RoutesEntry::Inline { span, .. } = entry
                    && *place.source.name == *self.inline_name(at)
                {
                    place.span = self.manifest.place_of(span, place.span.clone());
                    place.source = self.source.clone();
                    break;
                }
            }
        }
    }

    /// A message that names a place in an inline text (`tombolo.yaml (routes 1):2:1`) with that place in the
    /// manifest.
    fn placed(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for (at, entry) in self.manifest.routes.iter().enumerate() {
            let RoutesEntry::Inline { text, span } = entry else { continue };
            let name = format!("{}:", self.inline_name(at));
            let Some(found) = message.find(&name) else { continue };
            let mut numbers = message[found + name.len()..].splitn(2, ':');
            let line = numbers.next().and_then(|number| number.parse::<usize>().ok());
            let digits =
                |rest: &str| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let rest = numbers.next().unwrap_or_default();
            let column = rest[..digits(rest)].parse::<usize>().ok();
            let (Some(line), Some(column)) = (line, column) else { continue };
            let end = found + name.len() + line.to_string().len() + 1 + digits(rest);
            let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
            let within =
                text[start..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
            let place = self.manifest.place_of(span, start + within..start + within);
            let (line, column) = self.source.position(place.start);
            message.replace_range(found..end, &format!("{}:{line}:{column}", self.source.name));
        }
        message
    }

    /// What is wrong with the syntax of routes: all inline ones, and files that `before` did not name. What was
    /// there before keeps its last good state, but what is new has none.
    pub(crate) fn new_syntax_errors(&self, before: &Self) -> Vec<Diagnostic> {
        let old = before.sources();
        let mut errors = Vec::new();
        for source in self.sources().into_iter().filter(|source| !old.contains(source)) {
            let source = match source {
                RouteSource::Text(source) => source,
                RouteSource::File(path) => {
                    let name = path.display().to_string();
                    match base::read_text(&name, &path, eskip::TEXT_BYTES_MAX) {
                        Ok(text) => Source::new(name, text),
                        // That it is missing is said elsewhere.
                        Err(_) => continue,
                    }
                }
                RouteSource::Url(_) => continue,
            };
            errors.extend(eskip::parse(&source).errors.into_iter().map(|error| error.diagnostic));
        }
        self.place(&mut errors);
        errors
    }

    /// Whether a service reads its variables from this file.
    pub(crate) fn is_env_file(&self, changed: &Path) -> bool {
        self.manifest.services.iter().any(|service| match &service.source {
            ServiceSource::Run(command) => {
                command.env_file.iter().any(|path| self.folder.join(path) == changed)
            }
            ServiceSource::At(_) => false,
        })
    }

    /// Each declared call.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let calls = |service: &manifest::Service| {
            let caller = service.name.clone();
            let runs = matches!(service.source, ServiceSource::Run(_));
            // Who runs elsewhere has no listener here.
            let calls = if runs { service.calls.clone() } else { Vec::new() };
            calls.into_iter().map(move |callee| Edge { caller: caller.clone(), callee })
        };
        let calls = self.manifest.services.iter().flat_map(calls);
        let handlers = self.manifest.consumers.iter().filter_map(|consumer| {
            let callee = consumer.handler.as_ref()?.service.clone();
            Some(Edge { caller: consumers::caller(&consumer.name), callee })
        });
        // Consumers that are declared over the API may name any service.
        let any = self.manifest.services.iter().filter(|_| self.manifest.streams.is_some());
        let any = any.map(|service| Edge { caller: consumers::ANY.to_owned(), callee: service.name.clone() });
        calls.chain(handlers).chain(any).collect()
    }

    /// The table of internal calls, and what is wrong with the `filters` of services.
    pub(crate) fn build_calls(&self, builder: &Builder) -> (Table, Vec<Diagnostic>) {
        let (definitions, mut diagnostics) = self.calls();
        let table = builder.build(&definitions);
        diagnostics.extend(table.invalid.iter().map(|invalid| {
            let mut diagnostic = invalid.diagnostic.clone();
            // Nobody wrote that route: what was written are the filters of a service.
            for service in &self.manifest.services {
                if let Some(rest) =
                    diagnostic.message.strip_prefix(&format!("route `{}`: ", call_id(&service.name)))
                {
                    diagnostic.message = format!("`filters` of service `{}`: {rest}", service.name);
                    break;
                }
            }
            diagnostic
        }));
        (table, diagnostics)
    }

    /// The routes of internal calls, one for each service: its `filters`, then the service. The host of an
    /// internal call is the name of the service it is for.
    pub(crate) fn calls(&self) -> (Definitions, Vec<Diagnostic>) {
        let mut routes = Vec::new();
        let mut diagnostics = Vec::new();
        for service in &self.manifest.services {
            let text = Source::new(
                format!("{} (filters of {})", self.source.name, service.name),
                service.filters.as_str(),
            );
            let place = |bytes: Span| self.manifest.place_of(&service.filters_span, bytes);
            let mut filters = match eskip::parse_filters(&text) {
                Ok(filters) => filters,
                Err(errors) => {
                    diagnostics.extend(errors.diagnostics().into_iter().map(|diagnostic| {
                        let span = diagnostic.place.as_ref().map_or(0..0, |place| place.span.clone());
                        Diagnostic { place: None, ..diagnostic }.at(&self.source, place(span))
                    }));
                    continue;
                }
            };
            for filter in &mut filters {
                filter.span = place(filter.span.clone());
                for span in &mut filter.arg_spans {
                    *span = place(span.clone());
                }
            }
            let host = format!("^{}$", service.name);
            let route = Route {
                id: call_id(&service.name),
                predicates: vec![Call {
                    name: "Host".into(),
                    args: vec![Arg::Text(host)],
                    ..Call::default()
                }],
                filters,
                backend: Backend::Network(format!("service://{}", service.name)),
                span: service.span.clone(),
                ..Route::default()
            };
            routes.push((Arc::new(route), Some(self.source.clone())));
        }
        (Definitions { routes }, diagnostics)
    }

    /// The services' names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.manifest.services.iter().map(|service| service.name.as_str()).collect()
    }

    /// Services that somebody else runs, as the API shows them.
    pub(crate) fn outside(&self) -> serde_json::Value {
        let outside = |service: &manifest::Service| match &service.source {
            ServiceSource::At(at) => Some(serde_json::json!({ "name": service.name, "at": at })),
            ServiceSource::Run(_) => None,
        };
        self.manifest.services.iter().filter_map(outside).collect()
    }

    /// The names of services that run elsewhere.
    pub(crate) fn outside_names(&self) -> Vec<String> {
        let outside = self.manifest.services.iter().filter(|one| matches!(one.source, ServiceSource::At(_)));
        outside.map(|service| service.name.clone()).collect()
    }

    /// Files and folders whose change matters: the manifest, route files, and what services watch.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        let mut paths = vec![PathBuf::from(&*self.source.name)];
        for entry in &self.manifest.routes {
            if let RoutesEntry::File { path, .. } = entry {
                paths.push(self.folder.join(path));
            }
        }
        for service in &self.manifest.services {
            if let ServiceSource::Run(command) = &service.source {
                paths
                    .extend(command.watch.iter().chain(&command.env_file).map(|path| self.folder.join(path)));
            }
        }
        paths
    }

    /// The services that watch this path.
    pub(crate) fn watchers(&self, changed: &Path) -> Vec<&str> {
        let watches = |service: &&manifest::Service| match &service.source {
            ServiceSource::Run(command) => command.watch.iter().any(|path| self.folder.join(path) == changed),
            ServiceSource::At(_) => false,
        };
        self.manifest.services.iter().filter(watches).map(|service| service.name.as_str()).collect()
    }

    /// Where a service's key names a path; the service's name where that can't be told, as with anchors.
    fn place_of_path(&self, service: &manifest::Service, key: &str, path: &Path) -> Span {
        let after_name = service.span.end.min(self.source.text.len());
        let found = || {
            let text = self.source.text.get(after_name..)?;
            // Up to where the next service begins.
            let others = self.manifest.services.iter().map(|other| other.span.start);
            let end =
                others.filter(|start| *start > after_name).min().map_or(text.len(), |end| end - after_name);
            let text = text.get(..end)?;
            let at = text.find(&format!("{key}:"))? + key.len() + 1;
            let path = path.to_str()?;
            let at = at + text.get(at..)?.find(path)? + after_name;
            Some(at..at + path.len())
        };
        found().unwrap_or_else(|| service.span.clone())
    }

    /// Files the manifest names that are not there, each with its place.
    pub(crate) fn missing_files(&self) -> Vec<Diagnostic> {
        let mut missing = Vec::new();
        for entry in &self.manifest.routes {
            if let RoutesEntry::File { path, span } = entry
                && !self.folder.join(path).is_file()
            {
                missing.push(
                    Diagnostic::error(
                        "missing_file",
                        format!("routes file `{}` is not there", path.display()),
                    )
                    .at(&self.source, span.clone())
                    .hint(format!("paths begin at `{}`", self.folder.display())),
                );
            }
        }
        for service in &self.manifest.services {
            let ServiceSource::Run(command) = &service.source else { continue };
            let named =
                command.env_file.iter().map(|file| ("env_file", file, self.folder.join(file).is_file()));
            let dir = command.dir.iter().map(|dir| ("dir", dir, self.folder.join(dir).is_dir()));
            for (key, path, there) in named.chain(dir) {
                if !there {
                    let message = format!(
                        "`{key}` of service `{}` names `{}`, which is not there",
                        service.name,
                        path.display()
                    );
                    missing.push(
                        Diagnostic::error("missing_file", message)
                            .at(&self.source, self.place_of_path(service, key, path))
                            .hint(format!("paths begin at `{}`", self.folder.display())),
                    );
                }
            }
        }
        missing
    }
}

/// The id of the route of calls to a service. Two names never have the same: a name has no underscore.
fn call_id(service: &str) -> String {
    format!("to_{}", service.replace('-', "_"))
}

/// Whether any of them is an error.
pub(crate) fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// A path as people would write it: relative where it lies below the current folder.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.to_owned(), Path::to_owned)
}
