//! Predicates of messages, the table of all of them, and its reference page. They are asked when a message is watched,
//! and nowhere else.

use base::{Diagnostic, Source};
use eskip::{Arg, Call};
use std::fmt::Write as _;
use store::{Json, names as stream_names};

/// All predicates, in the order of the reference page.
pub static PREDICATES: &[PredicateSpec] = &[
    PredicateSpec {
        name: "Category",
        args: "category, ...",
        docs: "Messages of streams of one of these categories: `order-7` is of category `order`.",
        example: r#"Category("order")"#,
        build: |texts| some(texts).map(Test::Category),
    },
    PredicateSpec {
        name: "Stream",
        args: "stream, ...",
        docs: "Messages of one of these streams.",
        example: r#"Stream("order-7")"#,
        build: |texts| some(texts).map(Test::Stream),
    },
    PredicateSpec {
        name: "Type",
        args: "type, ...",
        docs: "Messages of one of these types.",
        example: r#"Type("Placed", "Cancelled")"#,
        build: |texts| some(texts).map(Test::Type),
    },
    PredicateSpec {
        name: "Consumer",
        args: "consumer, ...",
        docs: "Deliveries to one of these consumers, and no append.",
        example: r#"Consumer("billing") && Type("Placed")"#,
        build: |texts| some(texts).map(Test::Consumer),
    },
    PredicateSpec {
        name: "Metadata",
        args: "field, value",
        docs: "Messages whose metadata has this field of this value: the content of a string, the JSON of any other.",
        example: r#"Metadata("correlationStreamName", "cart-3")"#,
        build: |texts| match texts {
            [field, value] => Ok(Test::Metadata { field: field.clone(), value: value.clone() }),
            _ => Err(format!("takes 2 arguments, got {}", texts.len())),
        },
    },
];

/// What there is to know of a predicate: its entry in the table, the reference page and the help.
pub struct PredicateSpec {
    /// Its name.
    pub name: &'static str,
    /// Its arguments as a signature.
    pub args: &'static str,
    /// Which messages it holds for; the first sentence stands alone.
    pub docs: &'static str,
    /// One use of it.
    pub example: &'static str,
    /// Checks the arguments. The error is one sentence without the predicate's name.
    build: fn(&[String]) -> Result<Test, String>,
}

/// A predicate that was built.
enum Test {
    Category(Vec<String>),
    Stream(Vec<String>),
    Type(Vec<String>),
    Consumer(Vec<String>),
    Metadata { field: String, value: String },
}

/// A message as predicates see it.
pub struct Asked<'a> {
    /// Its stream.
    pub stream: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its metadata.
    pub metadata: Option<&'a Json>,
    /// To whom it is delivered, if it is.
    pub consumer: Option<&'a str>,
}

/// Which messages somebody wants to see: those that all of these predicates hold for.
pub struct WantedMessages(Vec<Test>);

impl WantedMessages {
    /// Those of an expression from this text.
    pub fn of(predicates: &[Call], source: &Source) -> Result<Self, Diagnostic> {
        predicates.iter().map(|call| build(call, source)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a message is one of them.
    pub fn hold(&self, asked: &Asked<'_>) -> bool {
        self.0.iter().all(|test| test.holds(asked))
    }
}

impl Test {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        let among = |names: &[String], name: &str| names.iter().any(|known| known == name);
        match self {
            Test::Category(names) => among(names, stream_names::category(asked.stream)),
            Test::Stream(names) => among(names, asked.stream),
            Test::Type(names) => among(names, asked.kind),
            Test::Consumer(names) => asked.consumer.is_some_and(|consumer| among(names, consumer)),
            Test::Metadata { field, value } => {
                asked.metadata.and_then(|metadata| metadata.field(field)).is_some_and(|known| known == *value)
            }
        }
    }
}

fn build(call: &Call, source: &Source) -> Result<Test, Diagnostic> {
    let Some(spec) = find(&call.name) else {
        let message = format!("predicate `{}` is not known", call.name);
        return Err(Diagnostic::error("unknown_predicate", message)
            .at(source, call.span.clone())
            .suggest(&call.name, names()));
    };
    let wrong = |why: &str, at: usize| {
        Diagnostic::error("invalid_predicate_params", format!("predicate `{}`: {why}", spec.name))
            .at(source, call.arg_span(at))
            .hint(format!("it is written `{}({})`", spec.name, spec.args))
    };
    let mut texts = Vec::with_capacity(call.args.len());
    for (at, arg) in call.args.iter().enumerate() {
        match arg {
            Arg::Text(text) => texts.push(text.clone()),
            Arg::Number(number) => {
                let why = format!("argument {} must be a string, not the number {number}", at + 1);
                return Err(wrong(&why, at));
            }
        }
    }
    (spec.build)(&texts).map_err(|why| wrong(&why, usize::MAX))
}

fn some(texts: &[String]) -> Result<Vec<String>, String> {
    if texts.is_empty() { Err("argument 1 is missing".to_owned()) } else { Ok(texts.to_vec()) }
}

/// The predicate of this name, of exactly this spelling.
pub fn find(name: &str) -> Option<&'static PredicateSpec> {
    PREDICATES.iter().find(|spec| spec.name == name)
}

/// The names of all predicates.
pub fn names() -> impl Iterator<Item = &'static str> {
    PREDICATES.iter().map(|spec| spec.name)
}

/// The reference page, as Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Predicates of messages\n\n\
         `tombolo tap` shows messages as they are appended and delivered, those that all predicates of an expression \
         hold for. These are written like the [predicates](predicates.md) of routes, which tap takes for requests; an \
         expression has those of the one kind or of the other, as nothing is both a request and a message. The \
         [guide](../guides/tap.md) shows how they are used.\n\n\
         This page is made from the table of predicates.\n",
    );
    for spec in PREDICATES {
        // Writing to memory does not fail.
        let _ = write!(
            page,
            "\n## {}\n\n`{}({})`\n\n{}\n\n```\n{}\n```\n",
            spec.name, spec.name, spec.args, spec.docs, spec.example
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn wanted(expression: &str) -> Result<WantedMessages, Diagnostic> {
        let source = Source::new("expression", expression);
        WantedMessages::of(&eskip::parse_predicates(&source).unwrap(), &source)
    }

    /// Which of these an expression holds for.
    fn check(expression: &str, expected: &str) {
        let wanted = wanted(expression).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
        let metadata = Json::parse(r#"{"userId":7,"from":"cart-3"}"#).unwrap();
        let asked = |stream, kind, metadata, consumer| Asked { stream, kind, metadata, consumer };
        let all = [
            ("placed", asked("order-7", "Placed", Some(&metadata), None)),
            ("cancelled", asked("order-8", "Cancelled", None, None)),
            ("delivered", asked("order-7", "Placed", Some(&metadata), Some("billing"))),
            ("other", asked("orders-7", "Placed", None, Some("mail"))),
        ];
        let holding: Vec<_> =
            all.iter().filter(|(_, asked)| wanted.hold(asked)).map(|(name, _)| *name).collect();
        assert_eq!(holding.join(" "), expected, "{expression}");
    }

    #[test]
    fn predicates_hold_for_what_they_name() {
        check("*", "placed cancelled delivered other");
        check(r#"Category("order")"#, "placed cancelled delivered");
        check(r#"Stream("order-7", "orders-7")"#, "placed delivered other");
        check(r#"Type("Placed") && Category("order")"#, "placed delivered");
        check(r#"Consumer("billing", "mail")"#, "delivered other");
        check(r#"Metadata("userId", "7") && Metadata("from", "cart-3")"#, "placed delivered");
        for spec in PREDICATES {
            assert!(wanted(spec.example).is_ok() && spec.docs.ends_with('.'), "{}", spec.name);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_remedy() {
        let told = |expression: &str, expected: &Expect| {
            let wrong = wanted(expression).err().map(|wrong| wrong.render(false));
            expected.assert_eq(&wrong.unwrap_or_default());
        };
        told(
            r#"Type("a") && Categroy("order")"#,
            &expect![[r#"
            error: predicate `Categroy` is not known
             --> expression:1:14
              |
            1 | Type("a") && Categroy("order")
              |              ^^^^^^^^
              |
              = hint: did you mean `Category`?"#]],
        );
        told(
            r#"Type("a", 2)"#,
            &expect![[r#"
            error: predicate `Type`: argument 2 must be a string, not the number 2
             --> expression:1:11
              |
            1 | Type("a", 2)
              |           ^
              |
              = hint: it is written `Type(type, ...)`"#]],
        );
        told(
            "Stream()",
            &expect![[r#"
            error: predicate `Stream`: argument 1 is missing
             --> expression:1:1
              |
            1 | Stream()
              | ^^^^^^
              |
              = hint: it is written `Stream(stream, ...)`"#]],
        );
        told(
            r#"Metadata("a")"#,
            &expect![[r#"
            error: predicate `Metadata`: takes 2 arguments, got 1
             --> expression:1:1
              |
            1 | Metadata("a")
              | ^^^^^^^^
              |
              = hint: it is written `Metadata(field, value)`"#]],
        );
    }
}
