//! The reference page of all filters.

use super::absent::ABSENT;
use super::{FilterSpec, TABLE};
use std::fmt::Write as _;

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Filters\n\n\
         Filters act on the request in the order of the route, then on the response in the reverse order. A \
         filter that answers ends the way of the request: the filters behind it and the backend never see it, \
         and the answer goes back through the filter itself and those before it.\n\n\
         Names and meaning are those of Skipper's filters, where nothing else is said. Regular expressions are \
         of Go's dialect (RE2). Durations are written like `\"1m30s\"` or `\"250ms\"`. Arguments in brackets may \
         be left out.\n\n\
         Where a text may have placeholders, `${NAME}` stands for a parameter of the route's path, and these for \
         facts of the request and the response:\n\n\
         | Placeholder | Value |\n|---|---|\n\
         | `${request.method}` | the method |\n\
         | `${request.host}` | the Host that came in |\n\
         | `${request.path}` | the path, decoded |\n\
         | `${request.rawQuery}` | the query, as sent |\n\
         | `${request.source}` | the first address of `X-Forwarded-For`, else the sender's |\n\
         | `${request.sourceFromLast}` | the last address of `X-Forwarded-For`, else the sender's |\n\
         | `${request.clientIP}` | the sender's address |\n\
         | `${request.header.NAME}` | the first value of a header |\n\
         | `${request.query.NAME}` | the first value of a parameter of the query |\n\
         | `${request.cookie.NAME}` | the value of a cookie |\n\
         | `${response.header.NAME}` | the first value of a header of the response |\n\n\
         Values that clients send are put in as they are: think of who decides before one becomes a host or a \
         path.\n\n\
         This page is made from the table of filters; its examples run as tests, with a backend that answers 200 \
         and `hello`.\n",
    );
    for family in TABLE {
        let names: Vec<String> = family
            .filters
            .iter()
            .map(|spec| format!("[{0}](#{1})", spec.name, anchor(family.title, spec)))
            .collect();
        let _ = write!(page, "\n{}: {}\n", family.title, names.join(", "));
    }
    for family in TABLE {
        let _ = write!(page, "\n## {}\n", family.title);
        for spec in family.filters {
            let _ = write!(page, "\n### {0}\n\n`{0}({1})`\n\n{2}\n", spec.name, spec.args, spec.docs);
            let example = &spec.example;
            let _ = write!(page, "\n```\n* -> {} -> \"http://backend\"\n\n", example.filters);
            quote(&mut page, "request ", example.request);
            quote(&mut page, "backend ", example.saw);
            quote(&mut page, "response", example.got);
            page.push_str("```\n");
        }
    }
    page.push_str("\n## Skipper's filters that are not here\n");
    for absent in ABSENT {
        let names: Vec<String> = absent.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(page, "\n- {}: {}.\n", names.join(", "), absent.why);
    }
    page
}

/// Where a filter's section is. `tee` and `Tee` differ in case only, so the second one is numbered.
fn anchor(title: &str, spec: &FilterSpec) -> String {
    let lower = spec.name.to_lowercase();
    let before = TABLE.iter().take_while(|family| family.title != title).flat_map(|family| family.filters);
    let own = TABLE.iter().filter(|family| family.title == title).flat_map(|family| family.filters);
    let earlier = before.chain(own.take_while(|other| other.name != spec.name));
    match earlier.filter(|other| other.name.to_lowercase() == lower).count() {
        0 => lower,
        number => format!("{lower}-{number}"),
    }
}

fn quote(page: &mut String, title: &str, lines: &str) {
    if lines == "-" {
        let _ = writeln!(page, "{title}  (not asked)");
        return;
    }
    for (at, line) in lines.lines().enumerate() {
        let title = if at == 0 { title.to_owned() } else { " ".repeat(title.len()) };
        let line = line.strip_prefix("! ").map_or_else(|| line.to_owned(), |line| format!("(no {line})"));
        let _ = writeln!(page, "{title}  {line}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_page_is_fresh() {
        testkit::check_generated("docs/reference/filters.md", &super::page());
    }

    #[test]
    fn the_front_page_counts_the_filters() {
        let front = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let words = format!("[{} filters]", super::super::names().count());
        assert!(front.contains(&words), "{words}");
    }
}
