//! Predicates of the path. `Path` and `PathSubtree` are not checked one by one: they are places in the
//! path tree of `lookup`.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Regexp, Unfit, check};
use crate::args::Args;
use crate::lookup::Pattern;
use crate::question::Question;
use std::sync::Arc;

pub(super) static PATH: PredicateSpec = PredicateSpec {
    name: "Path",
    args: "path",
    docs: "Matches one path. `:name` stands for one segment, `*name` at the end for all that follow (at least \
           one); filters find what they stood for under the name. A route has at most one `Path` or \
           `PathSubtree`, and any matching one beats all routes without; among them, segment by segment, a \
           fixed segment beats `:name` and that beats `*name`. The path is decoded and cleaned (`/a/../b` is \
           `/b`) before. `Path(\"/a\")` and `Path(\"/a/\")` differ, unless trailing slashes are ignored.",
    example: r#"Path("/orders/:id/items")"#,
    matches: &["GET /orders/17/items", "GET /orders/../orders/17//items?x=1"],
    refuses: &["GET /orders/17", "GET /orders/17/items/", "GET /orders//items"],
    weight_extra: 0,
    build: |args, _| pattern(args, Pattern::path),
};

pub(super) static PATH_SUBTREE: PredicateSpec = PredicateSpec {
    name: "PathSubtree",
    args: "path",
    docs: "Matches a path and everything below it, with or without a trailing slash. What is below is the \
           parameter `*`, or the name of a wildcard at the end of the path.",
    example: r#"PathSubtree("/assets")"#,
    matches: &["GET /assets", "GET /assets/", "GET /assets/css/main.css"],
    refuses: &["GET /", "GET /assets2"],
    weight_extra: 0,
    build: |args, _| pattern(args, Pattern::subtree),
};

pub(super) static PATH_REGEXP: PredicateSpec = PredicateSpec {
    name: "PathRegexp",
    args: "regexp",
    docs: "Matches if the expression matches somewhere in the decoded and cleaned path. It sees a trailing \
           slash even where routes ignore it. May be repeated, and joined with `Path`.",
    example: r"PathRegexp(/[.]html$/)",
    matches: &["GET /shop/index.html"],
    refuses: &["GET /shop/index.html/"],
    weight_extra: 0,
    build: path_regexp,
};

fn pattern(args: &mut Args<'_>, read: fn(&str) -> Result<Pattern, String>) -> Result<Built, Unfit> {
    let path = args.text("path")?;
    args.end()?;
    Ok(Built::Path(read(path)?))
}

struct PathRegexp(Arc<Regexp>);

fn path_regexp(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let regexp = env.regexp(args.text("regular expression")?)?;
    args.end()?;
    Ok(check(PathRegexp(regexp)))
}

impl Predicate for PathRegexp {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.0.matches(question.path())
    }
}
