//! Routes made ready for look-up: predicates built, weight summed, place in the path tree read.

use super::Options;
use super::pattern::Pattern;
use super::refusal::Refusal;
use crate::args::Args;
use crate::predicates::{self, Built, Predicate, PredicateEnv, PredicateSpec};
use crate::question::Question;
use base::Span;
use eskip::{Call, Route};
use std::sync::Arc;

/// What of a route decides whether it serves a request. Made by [`compile`].
pub struct Rule {
    pub(super) id: Arc<str>,
    /// Where it stands in the path tree; `None` for a route without path.
    pub(super) pattern: Option<Pattern>,
    /// The predicate that says so.
    pub(super) place: Option<Said>,
    pub(super) weight: i64,
    /// All must hold. One that lists hosts stands first, so that who found the route by its host can pass
    /// it over.
    pub(super) clauses: Box<[Clause]>,
}

/// A predicate that is checked, and how it was written.
pub(super) struct Clause {
    pub(super) check: Box<dyn Predicate>,
    pub(super) said: Said,
}

/// How something was written, and where in the source.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) text: Box<str>,
    pub(super) span: Span,
}

/// Makes a route ready for look-up, or says why it can't be.
pub fn compile(route: &Route, env: &PredicateEnv, options: &Options) -> Result<Rule, Refusal> {
    let mut rule =
        Rule { id: route.id.as_str().into(), pattern: None, place: None, weight: 0, clauses: Box::default() };
    let mut clauses = Vec::with_capacity(route.predicates.len());
    let mut weighed: Vec<(&str, String)> = Vec::new();
    for call in &route.predicates {
        let (spec, built) = build(call, env)?;
        let said = || Said { text: call.to_string().into(), span: call.span.clone() };
        match built {
            Built::Any => {}
            Built::Weight(weight) => rule.weight = rule.weight.saturating_add(weight),
            Built::Path(pattern) => {
                if rule.place.is_some() {
                    let sentence =
                        format!("multiple tree predicates (Path, PathSubtree) in the route: {}", route.id);
                    return Err(Refusal::new(
                        "invalid_matcher",
                        format!("`{call}` is a second path of the route"),
                    )
                    .at(call.span.clone())
                    .hint(
                        "a route has at most one `Path` or `PathSubtree`; write two routes, or `PathRegexp`",
                    )
                    .skipper(sentence));
                }
                rule.place = Some(said());
                rule.pattern = Some(if options.ignore_trailing_slash {
                    pattern.without_trailing_slash()
                } else {
                    pattern
                });
            }
            Built::Check(check) => {
                let clause = Clause { check, said: said() };
                if clause.check.hosts().is_some() && !first_lists_hosts(&clauses) {
                    clauses.insert(0, clause);
                } else {
                    clauses.push(clause);
                }
                if counts(call, &mut weighed) {
                    rule.weight = rule.weight.saturating_add(1 + spec.weight_extra);
                }
            }
        }
    }
    rule.clauses = clauses.into();
    Ok(rule)
}

fn first_lists_hosts(clauses: &[Clause]) -> bool {
    clauses.first().is_some_and(|clause| clause.check.hosts().is_some())
}

/// Conditions on one header weigh once per kind, however many there are.
fn counts<'a>(call: &'a Call, weighed: &mut Vec<(&'a str, String)>) -> bool {
    if !matches!(call.name.as_str(), "Header" | "HeaderRegexp") {
        return true;
    }
    let header = call.args.first().and_then(|arg| arg.text()).unwrap_or_default().to_ascii_lowercase();
    let new = !weighed.iter().any(|(kind, known)| *kind == call.name && *known == header);
    if new {
        weighed.push((&call.name, header));
    }
    new
}

fn build(call: &Call, env: &PredicateEnv) -> Result<(&'static PredicateSpec, Built), Refusal> {
    let Some(spec) = predicates::find(&call.name) else {
        return Err(Refusal::new("unknown_predicate", format!("predicate `{}` is not known", call.name))
            .at(call.span.clone())
            .suggest(&call.name, predicates::names())
            .skipper(format!("predicate \"{}\" not found", call.name)));
    };
    let mut args = Args::new(&call.args);
    (spec.build)(&mut args, env).map(|built| (spec, built)).map_err(|unfit| {
        let span = call.arg_spans.get(args.last()).unwrap_or(&call.span);
        let hint = format!("it is written `{}({})`", spec.name, spec.args);
        let is_path =
            matches!(spec.name, "Path" | "PathSubtree") && matches!(call.args[..], [eskip::Arg::Text(_)]);
        // The original finds bad paths when it builds the tree, all else when it makes the predicate.
        let (code, sentence) = match (is_path, spec.name) {
            (true, _) => ("invalid_matcher", unfit.why.clone()),
            (false, "Weight") => {
                ("invalid_predicate_params", "invalid argument for the Weight predicate".to_owned())
            }
            (false, _) => {
                let extra = if unfit.original.is_empty() { "" } else { ": " };
                let original = unfit.original;
                (
                    "invalid_predicate_params",
                    format!(
                        "failed to create predicate {call}: invalid predicate parameters{extra}{original}"
                    ),
                )
            }
        };
        let why = format!("predicate `{}`: {}", spec.name, unfit.why);
        Refusal::new(code, why).at(span.clone()).hint(hint).skipper(sentence)
    })
}

impl Rule {
    /// The route's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its precedence among the routes of its place.
    pub fn weight(&self) -> i64 {
        self.weight
    }

    /// The predicate that refuses a request, if one does.
    pub(super) fn refused_by(&self, question: &Question<'_>) -> Option<&Said> {
        self.clauses.iter().find(|clause| !clause.check.matches(question)).map(|clause| &clause.said)
    }
}
