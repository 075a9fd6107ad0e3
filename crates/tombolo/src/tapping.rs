//! What a tap is to show, as an expression says it: in the predicates of requests or in those of messages. The command
//! reads it to tell mistakes at once, and the API reads it again.

use base::{Diagnostic, Source};
use eskip::Call;
use proxy::WantedRequests;
use proxy::lookup::Options;
use proxy::predicates::{self, PredicateEnv};
use streams::tap::{self, WantedMessages};

/// Bytes of an expression.
const EXPRESSION_BYTES_MAX: usize = 8 << 10;

/// What is wanted of each kind; `None`: nothing.
pub(crate) struct Wanted {
    pub(crate) requests: Option<WantedRequests>,
    pub(crate) messages: Option<WantedMessages>,
}

/// What a predicate is asked of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Requests,
    Messages,
    Both,
}

/// Reads an expression, or says all that is wrong with it.
pub(crate) fn read(
    expression: &str,
    env: &PredicateEnv,
    options: Options,
) -> Result<Wanted, Vec<Diagnostic>> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        let message = format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes");
        return Err(vec![Diagnostic::error("expression_too_long", message)]);
    }
    let source = Source::new("expression", expression);
    let calls = eskip::parse_predicates(&source).map_err(eskip::Errors::diagnostics)?;
    let kinds: Vec<Result<Of, Diagnostic>> = calls.iter().map(|call| asked_of(call, &source)).collect();
    let unknown: Vec<Diagnostic> = kinds.iter().filter_map(|kind| kind.as_ref().err().cloned()).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let first =
        |of: Of| calls.iter().zip(&kinds).find(|(_, kind)| kind.as_ref().is_ok_and(|kind| *kind == of));
    let (request, message) = (first(Of::Requests), first(Of::Messages));
    if let (Some((request, _)), Some((message, _))) = (request, message) {
        return Err(vec![mixed(request, message, &source)]);
    }
    let (has_requests, has_messages) = (message.is_none(), request.is_none());
    let messages = has_messages
        .then(|| WantedMessages::of(&without_any(&calls), &source))
        .transpose()
        .map_err(|wrong| vec![wrong])?;
    let requests = has_requests
        .then(|| WantedRequests::of(calls, env, &options))
        .transpose()
        .map_err(|refusal| vec![refusal.diagnostic("", Some(&source))])?;
    Ok(Wanted { requests, messages })
}

fn asked_of(call: &Call, source: &Source) -> Result<Of, Diagnostic> {
    if call.name == "Any" {
        return Ok(Of::Both);
    }
    if predicates::find(&call.name).is_some() {
        return Ok(Of::Requests);
    }
    if tap::find(&call.name).is_some() {
        return Ok(Of::Messages);
    }
    let message = format!("predicate `{}` is not known", call.name);
    let known = predicates::names().chain(tap::names());
    Err(Diagnostic::error("unknown_predicate", message)
        .at(source, call.span.clone())
        .hint("`tombolo routes predicates` lists those of requests, `tombolo tap --help` those of messages")
        .suggest(&call.name, known))
}

fn without_any(calls: &[Call]) -> Vec<Call> {
    calls.iter().filter(|call| call.name != "Any").cloned().collect()
}

fn mixed(request: &Call, message: &Call, source: &Source) -> Diagnostic {
    let later = if request.span.start > message.span.start { request } else { message };
    let text = format!(
        "`{}` is asked of requests and `{}` of messages, and nothing is both",
        request.name, message.name
    );
    Diagnostic::error("mixed_predicates", text)
        .at(source, later.span.clone())
        .hint("use the ones or the others; two taps show both")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(expression: &str, expected: &Expect) {
        let told = match read(expression, &PredicateEnv::default(), Options::default()) {
            Ok(Wanted { requests, messages }) => {
                let kinds = [("requests", requests.is_some()), ("messages", messages.is_some())];
                kinds.iter().filter(|(_, is)| *is).map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ")
            }
            Err(wrong) => wrong.iter().map(|wrong| wrong.render(false)).collect::<Vec<_>>().join("\n"),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn an_expression_is_about_requests_or_messages() {
        check("*", &expect![[r#"requests, messages"#]]);
        check("", &expect![[r#"requests, messages"#]]);
        check("Any()", &expect![[r#"requests, messages"#]]);
        check(r#"Path("/cart/*rest") && Method("POST")"#, &expect![[r#"requests"#]]);
        check(r#"Category("order") && * && Type("Placed")"#, &expect![[r#"messages"#]]);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_remedy() {
        check(
            r#"Type("a") && Path("/")"#,
            &expect![[r#"
            error: `Path` is asked of requests and `Type` of messages, and nothing is both
             --> expression:1:14
              |
            1 | Type("a") && Path("/")
              |              ^^^^
              |
              = hint: use the ones or the others; two taps show both"#]],
        );
        check(
            r#"Pth("/") && Typ("a") && Banana()"#,
            &expect![[r#"
            error: predicate `Pth` is not known
             --> expression:1:1
              |
            1 | Pth("/") && Typ("a") && Banana()
              | ^^^
              |
              = hint: did you mean `Path`?
            error: predicate `Typ` is not known
             --> expression:1:13
              |
            1 | Pth("/") && Typ("a") && Banana()
              |             ^^^
              |
              = hint: did you mean `Type`?
            error: predicate `Banana` is not known
             --> expression:1:25
              |
            1 | Pth("/") && Typ("a") && Banana()
              |                         ^^^^^^
              |
              = hint: `tombolo routes predicates` lists those of requests, `tombolo tap --help` those of messages"#]],
        );
        check(
            r#"Path("/") && Methods("FETCH")"#,
            &expect![[r#"
            error: predicate `Methods`: `FETCH` is no method that `Methods` knows
             --> expression:1:22
              |
            1 | Path("/") && Methods("FETCH")
              |                      ^^^^^^^
              |
              = hint: it is written `Methods(method, ...)`"#]],
        );
        check(
            r#"Path("/") -> <shunt>"#,
            &expect![[r#"
            error: expected `&&` or the end of the predicates, found `->`
             --> expression:1:11
              |
            1 | Path("/") -> <shunt>
              |           ^^
              |
              = hint: predicates are joined by `&&`"#]],
        );
        check(
            &"x".repeat(EXPRESSION_BYTES_MAX + 1),
            &expect!["error: the expression has more than 8192 bytes"],
        );
    }
}
