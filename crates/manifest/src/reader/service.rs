//! The kinds of values that only a service has: commands, variables, ports, URLs, names of other services,
//! health and restart with their short forms.

use super::{Reader, found, one_or_more, shown};
use crate::draft::{HealthDraft, Placed, Variable};
use crate::fields;
use crate::kinds::{RESTARTS, START_WHEN};
use crate::names;
use crate::values::{Check, DependsOn, Health, Restart, RestartWhen, StartWhen};
use crate::yaml::{Node, Scalar, ScalarKind, Value};
use base::Span;

impl Reader {
    /// A text for the shell, or a program and its arguments.
    pub(crate) fn command(&mut self, node: &Node) -> Option<Vec<String>> {
        let Value::List(items) = &node.value else {
            return self.text(node).map(|text| vec!["/bin/sh".to_owned(), "-c".to_owned(), text]);
        };
        if items.is_empty() {
            self.wrong(node);
            return None;
        }
        let mut words = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            match item.scalar() {
                Some(scalar)
                    if scalar.kind != ScalarKind::Null && (number > 0 || !scalar.text.is_empty()) =>
                {
                    words.push(scalar.text.clone());
                }
                _ if matches!(item.value, Value::Refused) => return None,
                _ => {
                    let message = format!(
                        "an entry of `{}`{} must be a text, found {}",
                        self.about.name,
                        self.owner,
                        found(item)
                    );
                    let hint = format!("one word each, as in `{}: [npm, start]`", self.about.name);
                    self.error("wrong_type", message, &item.span, &hint);
                    return None;
                }
            }
        }
        Some(words)
    }

    /// A port.
    pub(crate) fn port(&mut self, node: &Node) -> Option<Placed<u16>> {
        if let Some(Scalar { kind: ScalarKind::Whole(number), .. }) = node.scalar()
            && let Ok(port) = u16::try_from(*number)
            && port > 0
        {
            return Some(Placed { value: port, span: node.span.clone() });
        }
        if node.scalar().is_some_and(|scalar| scalar.kind == ScalarKind::Whole(0)) {
            let message = format!("`port`{} can't be 0", self.owner);
            self.error("wrong_type", message, &node.span, "leave `port` out: a free one is assigned then");
        } else {
            self.wrong(node);
        }
        None
    }

    /// URLs without a path.
    pub(crate) fn urls(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = one_or_more(node);
        if items.is_empty() {
            self.wrong(node);
            return None;
        }
        let mut urls = Vec::new();
        for item in items {
            let text = self.text(item)?;
            match names::service_url(&text) {
                Ok(()) => urls.push(text),
                Err((why, hint)) => {
                    let message =
                        format!("`{}`{} {why}, found `{}`", self.about.name, self.owner, shown(&text));
                    self.error("bad_url", message, &item.span, &hint);
                }
            }
        }
        (urls.len() == items.len()).then_some(urls)
    }

    /// One address, which may have a path.
    pub(crate) fn url(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let behind = text.find("://").map_or(0, |scheme| scheme + 3);
        let end = text[behind..].find('/').map_or(text.len(), |path| behind + path);
        match names::service_url(&text[..end]) {
            Ok(()) => Some(text),
            Err((why, hint)) => {
                let message = format!("`{}`{} {why}, found `{}`", self.about.name, self.owner, shown(&text));
                self.error("bad_url", message, &node.span, &hint);
                None
            }
        }
    }

    /// Variables. Their values are noted as secrets first, whatever else is wrong.
    pub(crate) fn env(&mut self, node: &Node) -> Vec<Variable> {
        self.hide_variables(node);
        let owner = self.owner.clone();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => return Vec::new(),
            Value::Refused => return Vec::new(),
            _ => {
                let what = if matches!(node.value, Value::List(_)) { "a list" } else { "something else" };
                let message = format!("`env`{owner} must be a map of variables, found {what}");
                let hint = "write `NAME: value`, each on a line of its own below `env:`";
                self.error("wrong_type", message, &node.span, hint);
                return Vec::new();
            }
        };
        let mut variables = Vec::new();
        for entry in entries {
            let (name, span) = (&entry.key, &entry.key_span);
            if let Some((name, _)) = name.split_once('=') {
                // What follows `=` is the value.
                self.secrets.push(span.start + name.len() + 1..span.end);
                let message = format!("`env`{owner} sets a variable with `=`");
                self.error("bad_variable", message, span, &format!("write `{name}: value`"));
            } else if !names::is_variable(name) {
                let message = format!("`{name}` can't be a variable's name");
                let hint = format!("write `{}`: letters, digits and `_`", names::valid_variable(name));
                self.error("bad_variable", message, span, &hint);
            } else if entry.value.is_null() {
                let message = format!("variable `{name}`{owner} has no value");
                self.error("no_value", message, span, &format!("write `{name}: \"\"` for an empty one"));
            } else if let Some(scalar) = entry.value.scalar() {
                if scalar.text.contains('\0') {
                    self.error("bad_variable", format!("variable `{name}`{owner} holds a NUL"), span, "");
                    continue;
                }
                variables.push(Variable {
                    name: name.clone(),
                    value: scalar.text.clone(),
                    span: span.clone(),
                });
            } else if !matches!(entry.value.value, Value::Refused) {
                let what = if matches!(entry.value.value, Value::List(_)) { "a list" } else { "a map" };
                let message = format!("variable `{name}`{owner} must be a text, found {what}");
                self.error("wrong_type", message, span, &format!("put quotes around it: `{name}: \"…\"`"));
            }
        }
        variables
    }

    /// Notes the values of variables as secrets, whatever stands where variables should.
    pub(crate) fn hide_variables(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else { return self.hide(node) };
        for entry in entries {
            // Between key and value may stand a tag. A value that an alias brings in stands elsewhere, and
            // nothing stands where its key does.
            let begin = entry.key_span.end + 1;
            if entry.value.span.start >= begin {
                self.secrets.push(begin..entry.value.span.end);
            }
            if entry.value.span != entry.key_span {
                self.hide(&entry.value);
            }
        }
    }

    /// Notes a node and all that is in it as secrets.
    fn hide(&mut self, node: &Node) {
        self.secrets.push(node.span.clone());
        match &node.value {
            Value::Scalar(_) | Value::Refused => {}
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(entries) => {
                for entry in entries {
                    self.secrets.push(entry.key_span.clone());
                    self.hide(&entry.value);
                }
            }
        }
    }

    /// A list of services' names. Whether they are known is checked when all services are.
    pub(crate) fn names(&mut self, node: &Node) -> Vec<Placed<String>> {
        let items = match &node.value {
            Value::List(items) => items,
            _ if node.is_null() => return Vec::new(),
            _ => {
                self.wrong(node);
                return Vec::new();
            }
        };
        items
            .iter()
            .filter_map(|item| match item.scalar() {
                Some(scalar) if scalar.kind != ScalarKind::Null => {
                    Some(Placed { value: scalar.text.clone(), span: item.span.clone() })
                }
                _ if matches!(item.value, Value::Refused) => None,
                _ => {
                    let message = format!(
                        "an entry of `{}`{} must be a service's name, found {}",
                        self.about.name,
                        self.owner,
                        found(item)
                    );
                    let hint = format!("for example {}", self.example());
                    self.error("wrong_type", message, &item.span, &hint);
                    None
                }
            })
            .collect()
    }

    /// Names, or a map of them to how far they must be.
    pub(crate) fn depends_on(&mut self, node: &Node) -> Vec<Placed<DependsOn>> {
        let Value::Map(entries) = &node.value else {
            let place = |name: Placed<String>| Placed {
                value: DependsOn { service: name.value, when: StartWhen::default() },
                span: name.span,
            };
            return self.names(node).into_iter().map(place).collect();
        };
        let mut dependencies = Vec::new();
        for entry in entries {
            let when = if entry.value.is_null() || matches!(entry.value.value, Value::Refused) {
                Some(StartWhen::default())
            } else if entry.value.scalar().is_some() {
                self.word_of(&entry.value, START_WHEN).map(|word| match word {
                    "started" => StartWhen::Started,
                    _ => StartWhen::Healthy,
                })
            } else {
                let message =
                    format!("`depends_on`{} must say `started` or `healthy` for each service", self.owner);
                let hint = format!("write `{}: healthy`", shown(&entry.key));
                self.error("wrong_type", message, &entry.value.span, &hint);
                None
            };
            dependencies.push(Placed {
                value: DependsOn { service: entry.key.clone(), when: when.unwrap_or_default() },
                span: entry.key_span.clone(),
            });
        }
        dependencies
    }

    /// A path, `tcp` or a map.
    pub(crate) fn health(&mut self, node: &Node) -> Option<Health> {
        if let Value::Map(_) = &node.value {
            let mut draft = HealthDraft::new();
            let given = self.section(&fields::HEALTH, node, &mut draft);
            let checks: Vec<_> =
                given.iter().filter(|given| matches!(given.name, "http" | "tcp" | "command")).collect();
            if let [first, second, ..] = checks[..] {
                let (message, span): (_, &Span) = (
                    format!("`health`{} has both `{}` and `{}`", self.owner, first.name, second.name),
                    &second.key,
                );
                self.error("several_checks", message, span, "keep one of them");
                return None;
            }
            let check = match (draft.http, draft.tcp, draft.command) {
                (Some(path), ..) => Check::Http(path),
                (_, Some(false), _) => {
                    let message = format!("`tcp` of `health`{} can't be `false`", self.owner);
                    self.error("wrong_type", message, &node.span, "write `tcp: true`, `http` or `command`");
                    return None;
                }
                (_, _, Some(command)) => Check::Command(command),
                _ => Check::Tcp,
            };
            return Some(Health { check, ..draft.times });
        }
        match node.scalar() {
            Some(Scalar { text, kind: ScalarKind::Text, .. }) if text == "tcp" => {
                Some(Health::of(Check::Tcp))
            }
            Some(Scalar { text, kind: ScalarKind::Text, .. }) if text.starts_with('/') => {
                self.http_path(node).map(|path| Health::of(Check::Http(path)))
            }
            Some(Scalar { text, kind: ScalarKind::Text, .. }) => {
                let message = format!(
                    "`health`{} must be a path that begins with `/`, the word `tcp`, or a map, found {}",
                    self.owner,
                    found(node)
                );
                let hint = match path_of_url(text) {
                    Some(path) => format!("write the path alone: `health: {path}`"),
                    None if text.contains(' ') => {
                        format!("a command is written `health: {{command: {}}}`", shown(text))
                    }
                    None => format!("write `health: /{}` for an HTTP path, or `health: tcp`", shown(text)),
                };
                self.error("wrong_type", message, &node.span, &hint);
                None
            }
            _ => {
                self.wrong(node);
                None
            }
        }
    }

    /// A path of HTTP.
    pub(crate) fn http_path(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let fits = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            return Some(text);
        }
        let message = format!(
            "`{}`{} must be a path that begins with `/` and holds no spaces, found {}",
            self.about.name,
            self.owner,
            found(node)
        );
        let hint = if let Some(path) = path_of_url(&text) {
            format!("write the path alone: `{path}`")
        } else {
            let path = text.trim().trim_start_matches('/').replace(' ', "%20");
            format!("write `/{}`, any sign but ASCII's percent-encoded", shown(&path))
        };
        self.error("bad_path", message, &node.span, &hint);
        None
    }

    /// A word or a map.
    pub(crate) fn restart(&mut self, node: &Node) -> Option<Restart> {
        let mut restart = Restart::default();
        match &node.value {
            Value::Map(_) => {
                let given = self.section(&fields::RESTART, node, &mut restart);
                if restart.backoff > restart.backoff_max {
                    let longest = given.iter().find(|given| given.name == "backoff_max");
                    let span =
                        longest.or(given.first()).map_or(node.span.clone(), |given| given.value.clone());
                    let message = format!(
                        "`backoff_max` of `restart`{} is shorter than `backoff`: {} and {}",
                        self.owner,
                        base::format_duration(restart.backoff_max),
                        base::format_duration(restart.backoff)
                    );
                    let longer = base::format_duration(restart.backoff);
                    self.error(
                        "bad_backoff",
                        message,
                        &span,
                        &format!("write `backoff_max: {longer}` or longer"),
                    );
                }
                Some(restart)
            }
            Value::Scalar(Scalar { kind: ScalarKind::Text | ScalarKind::Flag(_), .. }) => {
                restart.when = match self.word_of(node, RESTARTS)? {
                    "never" => RestartWhen::Never,
                    "on-failure" => RestartWhen::OnFailure,
                    _ => RestartWhen::Always,
                };
                Some(restart)
            }
            _ => {
                self.wrong(node);
                None
            }
        }
    }
}

/// The path of what looks like a URL.
fn path_of_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    Some(rest.find('/').map_or("/", |slash| &rest[slash..]))
}
