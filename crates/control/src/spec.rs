//! From what the manifest says of a service to what a process of it sees: command line, folder, variables.
//! Two specs that are equal need no restart.

use crate::supervisor::Wanted;
use base::{Fault, Kind, Severity, Source};
use manifest::Command;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file of variables.
const ENV_FILE_BYTES_MAX: usize = 1 << 20;

/// What a process of a service sees. Not `Debug`: values of variables may be secrets.
#[derive(PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) argv: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) port: Option<u16>,
}

/// What a build sees. Without the variables given by the binary, so that services that share a build command
/// share the build.
#[derive(PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) argv: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
}

/// Both of them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) spec: Arc<Spec>,
    pub(crate) recipe: Option<Arc<Recipe>>,
}

/// Reads the service's files of variables and puts all together. `folder` is the manifest's.
pub(crate) fn plan(wanted: &Wanted, command: &Command, folder: &Path) -> Result<Plan, Fault> {
    let dir = command.dir.as_ref().map_or_else(|| folder.to_owned(), |dir| folder.join(dir));
    // Some shells export the machine's name as HOST: a service must not listen there by accident.
    let mut env = BTreeMap::from([("HOST".to_owned(), "127.0.0.1".to_owned())]);
    for file in &command.env_file {
        env.extend(read_env_file(&wanted.service.name, &folder.join(file), file)?);
    }
    env.extend(command.env.clone());
    let recipe = command.build.as_ref().map(|argv| {
        let env = env.iter().filter(|(name, _)| *name != "HOST" || command.env.contains_key("HOST"));
        Arc::new(Recipe {
            argv: argv.clone(),
            dir: dir.clone(),
            env: env.map(|(name, value)| (name.clone(), value.clone())).collect(),
        })
    });
    let mut all = wanted.usual.clone();
    all.extend(env);
    all.extend(wanted.env.clone());
    let env = all;
    Ok(Plan { spec: Arc::new(Spec { argv: command.run.clone(), dir, env, port: command.port }), recipe })
}

fn read_env_file(service: &str, path: &Path, written: &Path) -> Result<Vec<(String, String)>, Fault> {
    let written = written.display();
    let fails =
        |kind, why: &str| Fault::new(kind, format!("env_file `{written}` of service `{service}` {why}"));
    // A pipe would keep us waiting for whoever writes to it.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(fails(Kind::Invalid, "is not a file"));
    }
    let called = format!("env_file `{written}` of service `{service}`");
    let text = base::read_text(&called, path, ENV_FILE_BYTES_MAX)?;
    let source = Source::new(written.to_string(), text);
    let (variables, diagnostics) = manifest::env_file(&source);
    match diagnostics.into_iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        Some(diagnostic) => {
            let line = diagnostic.place.as_ref().map_or(1, |place| source.position(place.span.start).0);
            let fault = fails(Kind::Invalid, &format!("is wrong in line {line}: {}", diagnostic.message));
            Err(match diagnostic.hint {
                Some(hint) => fault.hint(hint),
                None => fault,
            })
        }
        None => Ok(variables),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::{Service, ServiceSource};

    fn wanted(command: Command, given: &[(&str, &str)]) -> (Wanted, Command) {
        let service = Service {
            name: "web".to_owned(),
            span: 0..0,
            source: ServiceSource::Run(Box::new(command.clone())),
            calls: Vec::new(),
            filters: String::new(),
            filters_span: 0..0,
        };
        let env = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        (Wanted { service, env, usual: BTreeMap::new() }, command)
    }

    #[test]
    fn later_words_about_a_variable_win() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.env"), "A=file\nB=file\nC=file\nD=file\n").unwrap();
        std::fs::write(folder.path().join("b.env"), "B=second\nC=second\nD=second\n").unwrap();
        let mut command = Command::of(vec!["app".to_owned()]);
        command.env_file = vec!["a.env".into(), "b.env".into()];
        command.env = BTreeMap::from([("C", "env"), ("D", "env")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        command.build = Some(vec!["make".to_owned()]);
        command.dir = Some("sub".into());
        let (mut wanted, command) = wanted(command, &[("D", "given")]);
        wanted.usual =
            BTreeMap::from([("A", "usual"), ("U", "usual")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let plan = plan(&wanted, &command, folder.path()).ok().unwrap();
        let told = |env: &BTreeMap<String, String>| {
            env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&plan.spec.env), "A=file B=second C=env D=given HOST=127.0.0.1 U=usual");
        assert_eq!(told(&plan.recipe.as_ref().unwrap().env), "A=file B=second C=env D=env");
        assert_eq!(plan.spec.dir, folder.path().join("sub"));
    }

    #[test]
    fn a_mistake_in_a_file_of_variables_is_named_with_its_line_and_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("web.env"), "A=1\nsecret-word\n").unwrap();
        let mut command = Command::of(vec!["app".to_owned()]);
        command.env_file = vec!["web.env".into()];
        let (wanted, command) = wanted(command, &[]);
        let fault = plan(&wanted, &command, folder.path()).err().unwrap();
        assert_eq!(
            fault.to_string(),
            "env_file `web.env` of service `web` is wrong in line 2: this line is no `NAME=value`"
        );
        assert!(fault.hint.is_some_and(|hint| !hint.contains("secret-word")));
    }

    #[test]
    fn a_file_of_variables_that_is_not_there_is_named() {
        let mut command = Command::of(vec!["app".to_owned()]);
        command.env_file = vec!["absent.env".into()];
        let (wanted, command) = wanted(command, &[]);
        let fault = plan(&wanted, &command, Path::new("/nowhere")).err().unwrap();
        assert_eq!(
            fault.to_string(),
            "env_file `absent.env` of service `web` can't be read: No such file or directory (os error 2)"
        );
    }
}
