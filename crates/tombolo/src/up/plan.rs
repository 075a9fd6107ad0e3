//! From the manifest to what has to be there: the gateway's routes, the routes of internal calls, who may call
//! whom. Reads files but starts nothing, so that `check` and `up` say the same.

use base::{Diagnostic, Fault, Kind, Severity, Source, Span};
use eskip::{Arg, Backend, Call, Route};
use manifest::{Manifest, RoutesEntry, ServiceSource};
use proxy::{Definitions, RouteSource};
use std::path::{Path, PathBuf};
use wire::Edge;

/// Names a manifest may have, the first found counts.
const NAMES: [&str; 2] = ["tombolo.yaml", "tombolo.yml"];

/// Most bytes of a manifest; more is no manifest but a mistake.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What a manifest asks for.
pub(crate) struct Plan {
    /// The manifest's own text, for places in diagnostics.
    pub(crate) source: Source,
    /// Its folder: relative paths begin there.
    pub(crate) folder: PathBuf,
    /// Its values.
    pub(crate) manifest: Manifest,
}

/// Finds and reads the manifest that `path` names: a file, or a folder that holds one. Warnings come with it;
/// with errors there is none.
pub(crate) fn read_manifest(path: &Path) -> Result<(Option<Plan>, Vec<Diagnostic>), Fault> {
    let file = find(path)?;
    let failed = |error: std::io::Error| {
        Fault::new(Kind::Io, format!("`{}` can't be read", file.display())).because(error)
    };
    let length = std::fs::metadata(&file).map_err(failed)?.len();
    if length > MANIFEST_BYTES_MAX {
        return Err(Fault::new(Kind::TooMuch, format!("`{}` has more than 1 MiB", file.display()))
            .hint("is it a manifest? routes may stand in files of their own"));
    }
    let text = String::from_utf8(std::fs::read(&file).map_err(failed)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::new(Kind::Invalid, format!("`{}` is not UTF-8 at byte {at}", file.display()))
    })?;
    let source = Source::new(file.display().to_string(), text);
    let (manifest, diagnostics) = manifest::read(&source);
    let absolute = std::path::absolute(&file)?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((manifest.map(|manifest| Plan { source, folder, manifest }), diagnostics))
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

    /// Each declared call.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let calls = |service: &manifest::Service| {
            let caller = service.name.clone();
            let runs = matches!(service.source, ServiceSource::Run(_));
            // Who runs elsewhere has no listener here.
            let calls = if runs { service.calls.clone() } else { Vec::new() };
            calls.into_iter().map(move |callee| Edge { caller: caller.clone(), callee })
        };
        self.manifest.services.iter().flat_map(calls).collect()
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
                id: format!("to_{}", service.name.replace('-', "_")),
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
            routes.push((route, Some(self.source.clone())));
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
                            .at(&self.source, service.span.clone())
                            .hint(format!("paths begin at `{}`", self.folder.display())),
                    );
                }
            }
        }
        missing
    }
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
