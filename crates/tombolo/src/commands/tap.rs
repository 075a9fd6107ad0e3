//! `tombolo tap`: prints requests and messages of a running `tombolo up` as they pass, those that an expression in
//! eskip's language holds for. The API masks what is secret; here it is only laid out.

mod body;
mod shown;

use super::asking::{Ask, Client, Lines, block_on};
use super::client::Where;
use super::messages::target;
use crate::tapping;
use crate::term::{DIM, diagnostics, err, harmless, out_if_read, paint};
use base::Fault;
use clap::Args;
use proxy::lookup::Options;
use proxy::predicates::PredicateEnv;
use shown::Told;
use std::process::ExitCode;

const HELP: &str = "\
Predicates of requests are those of routes; `tombolo routes predicates` lists them.
Predicates of messages:
  Category(\"order\")  Stream(\"order-7\")  Type(\"Placed\")  Consumer(\"billing\")  Metadata(\"field\", \"value\")

Examples:
  tombolo tap 'Path(\"/cart/*rest\") && Method(\"POST\")'
  tombolo tap 'Header(\"X-Debug\", \"1\")' --headers --bodies
  tombolo tap 'Category(\"order\") && Type(\"Placed\")'
  tombolo tap --errors -n 1";

/// Arguments of `tombolo tap`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Tap {
    #[command(flatten)]
    place: Where,

    /// Predicates of requests or of messages, joined by `&&`; all if none is given
    #[arg(default_value = "*")]
    expression: String,

    /// Show the headers of requests and answers, and the metadata of messages
    #[arg(long)]
    headers: bool,

    /// Show the first 4 KiB of the bodies of requests and answers, and of the data of messages
    #[arg(long)]
    bodies: bool,

    /// Only what failed: a status of 400 or above, an answer that broke off, an append or a delivery that failed
    #[arg(long)]
    errors: bool,

    /// End after so many
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tap {
    /// Prints what passes until somebody stops it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        if let Err(wrong) = tapping::read(&self.expression, &PredicateEnv::default(), Options::default()) {
            diagnostics(&wrong);
            return Ok(ExitCode::FAILURE);
        }
        block_on(async {
            let client = Client::find(&self.place.dir)?;
            let flag = |is: bool| is.then(|| "true".to_owned());
            let target = target(
                "/api/v1/tap",
                &[
                    ("match", Some(self.expression.clone())),
                    ("headers", flag(self.headers)),
                    ("bodies", flag(self.bodies)),
                    ("errors", flag(self.errors)),
                ],
            );
            let response = client.send(Ask::get(&target).accept("text/event-stream")).await?;
            match self.follow(Lines::of(response)).await {
                // What was watched has ended, which is no error.
                Err(_) if client.has_gone() => Ok(ExitCode::SUCCESS),
                followed => followed,
            }
        })
    }

    async fn follow(&self, mut lines: Lines) -> Result<ExitCode, Fault> {
        let mut left = self.count.unwrap_or(u64::MAX);
        while let Some(line) = lines.next().await? {
            if let Some(watched) = line.strip_prefix(": ") {
                err(paint(DIM, format_args!("watching {}; Ctrl-C ends", harmless(watched))));
            }
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let told = Told::read(data);
            let is_read = match &told {
                _ if self.json => out_if_read(data),
                Told::Carried(text) => out_if_read(text),
                Told::Note(text) => {
                    err(paint(DIM, text));
                    true
                }
            };
            left -= u64::from(matches!(told, Told::Carried(_)));
            if left == 0 || !is_read {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
