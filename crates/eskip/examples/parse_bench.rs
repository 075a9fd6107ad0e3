//! How fast the route language is read and written, on 100,000 routes and on texts made to be slow. Prints one
//! table: `cargo run --release -p tombolo-eskip --example parse_bench`.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use base::Source;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUTES: usize = 100_000;
const SLOW_BYTES: usize = 8 * 1024 * 1024;
const RUNS: usize = 5;

fn main() {
    let text = document();
    let source = Source::new("bench.eskip", text.as_str());
    let routes = eskip::parse(&source).into_result().expect("the document is right");
    assert_eq!(routes.len(), ROUTES);
    let json = Source::new("bench.json", eskip::to_json(&routes));
    println!("{ROUTES} routes\n");
    println!("{:<34} {:>9} {:>9} {:>9}", "what", "MB", "ms", "MB/s");
    row("parse", text.len(), || eskip::parse(&source).routes.len());
    row("print", text.len(), || eskip::Printer::pretty().print(&routes).len());
    row("format", text.len(), || eskip::format(&source).map_or(0, |text| text.len()));
    row("to JSON", json.text.len(), || eskip::to_json(&routes).len());
    row("from JSON", json.text.len(), || eskip::from_json(&json).map_or(0, |routes| routes.len()));
    row("check ids", text.len(), || eskip::check_ids(&source, &routes).len());
    println!();
    for (what, unit) in [
        ("quotes", "\""),
        ("quotes after backslashes", "\\\"\n"),
        ("quotes on every other line", "a: P(\"x) -> <shunt>;\n"),
        ("brackets and slashes", "/[`\n"),
        ("missing semicolons", "a: * -> <shunt>\n"),
        ("one path after another", "Path(\"/\") && "),
        ("one header after another", "Header(\"a\", \"b\") && "),
        ("stray semicolons", ";"),
        ("words", "a "),
        ("placeholders", "${a"),
    ] {
        let text = unit.repeat(SLOW_BYTES / unit.len());
        let source = Source::new("slow.eskip", text.as_str());
        row(what, text.len(), || {
            eskip::Template::parse(text.as_str()).placeholders().count() + eskip::parse(&source).errors.len()
        });
    }
}

/// The best of some runs.
fn row(what: &str, bytes: usize, run: impl Fn() -> usize) {
    let best = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed()
        })
        .min()
        .unwrap_or(Duration::ZERO);
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what:<34} {megabytes:>9.1} {:>9.1} {:>9.0}",
        best.as_secs_f64() * 1e3,
        megabytes / best.as_secs_f64()
    );
}

fn document() -> String {
    let mut text = String::new();
    for index in 0..ROUTES {
        writeln!(
            text,
            "route{index}: Path(\"/api/{index}\") && Host(/^h{}[.]org$/)\n  -> setPath(\"/{index}\")\n  -> \"http://10.0.0.1:80\";",
            index % 100
        )
        .expect("a string takes any text");
    }
    text
}
