//! `tombolo check`: all of a start but the starting: manifest, files it names, routes, filters of calls.

use crate::serving::Reloader;
use crate::term::{GREEN, count, err, out, paint, plural};
use crate::up::{Plan, has_errors, read_manifest};
use crate::wiring::World;
use base::{Diagnostic, Fault};
use clap::Args;
use proxy::Plane;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo check`.
#[derive(Args)]
pub(crate) struct Check {
    /// The manifest, or the folder of a tombolo.yaml
    #[arg(default_value = ".")]
    path: PathBuf,

    /// What is wrong as a JSON array
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Says what is wrong; fails if anything is.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let (plan, mut told) = read_manifest(&self.path)?;
        let mut good = String::new();
        if let Some(plan) = &plan {
            told.extend(plan.missing_files());
            let runtime = crate::wiring::runtime()?;
            let (routes, more) = runtime.block_on(routes(plan))?;
            // A routes file that is missing was said with its place in the manifest.
            told.extend(more.into_iter().filter(|diagnostic| diagnostic.code != "unreadable_routes"));
            let services = plan.manifest.services.len();
            good =
                format!("{}: {}, {}", plan.source.name, plural(services, "service"), plural(routes, "route"));
        }
        if self.json {
            let reports: Vec<_> = told.iter().map(Diagnostic::report).collect();
            out(serde_json::to_string_pretty(&reports).unwrap_or_default());
        } else {
            crate::term::diagnostics(&told);
            match count(&told) {
                Some(count) => err(format_args!("{count}")),
                None => out(format_args!("{} {good}", paint(GREEN, "good"))),
            }
        }
        Ok(if has_errors(&told) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Builds all routes and puts them nowhere: how many there are, and what is wrong.
async fn routes(plan: &Plan) -> Result<(usize, Vec<Diagnostic>), Fault> {
    let world = World::new(Some(1))?;
    world.services.declare(plan.names());
    let options = proxy::lookup::Options {
        ignore_trailing_slash: plan.manifest.gateway.ignore_trailing_slash,
        ..Default::default()
    };
    let settings = plan.flags.settings(&plan.folder)?;
    let (forward, handles) =
        (plan.flags.forward_backend_url.clone(), plan.flags.handles(&plan.folder, &settings)?);
    let plane = Plane::new(settings, world.builder(options, &plan.folder, forward, handles), None);
    let mut reloader = Reloader::new(plan.sources(), plan.flags.steps()?, false);
    let mut told = reloader.reload(&plane).await.diagnostics;
    plan.place(&mut told);
    told.extend(plan.build_calls(plane.builder()).1);
    Ok((plane.table().routes.len(), told))
}
