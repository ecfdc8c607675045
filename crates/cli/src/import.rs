//! `syncline import`: loads a file into the collection that its columns name.

mod file;
mod guess;
mod upload;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use self::file::Input;
use self::guess::{Collection, guess};
use self::upload::{STILL_MAX, Upload};
use crate::services::{self, GATEWAY, Place};
use crate::table::{Column, Table};
use crate::{Form, Outcome};

/// What `import` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  syncline import prices.csv
  syncline import products.ndjson --collection products
  zcat stock.ndjson.gz | syncline import -

The file is sent under a key made from its content: an import that broke off goes on after the last
stored line when the same command is given again, and one that was finished within 24 hours answers
the same totals without storing anything again; --again stores it once more.

Exit codes: 0 every line is stored, 1 the import failed, 3 some lines were refused.")]
pub(crate) struct Args {
    /// NDJSON (one record a line) or CSV (columns are the field names); - reads standard input.
    file: String,
    /// What the records are; guessed from the columns, or the first good record, unless given.
    #[arg(long, value_enum, value_name = "COLLECTION")]
    collection: Option<Collection>,
    /// Stores the file again although it was imported before.
    #[arg(long)]
    again: bool,
}

/// What became of the lines, as the owner answers it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct Totals {
    lines: u64,
    stored: u64,
    unchanged: u64,
    refused: u64,
    waiting: u64,
    refusals: Vec<Refusal>,
}

/// Why a line was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct Refusal {
    line: u64,
    #[serde(default)]
    field: String,
    code: String,
    reason: String,
}

/// What was imported.
#[derive(Debug, Serialize)]
struct Imported {
    collection: String,
    idempotency_key: String,
    #[serde(flatten)]
    totals: Totals,
}

/// Sends the file and prints what became of its lines.
pub(crate) fn run(args: &Args, places: &[Place], form: Form) -> Result<Outcome> {
    let input = Input::open(&args.file)?;
    let format = input.head().format()?;
    let collection = match args.collection {
        Some(collection) => collection,
        None => guess(&input.head().columns(format)?)?,
    };
    let name = collection.name();
    let digest = input.digest().with_context(|| format!("reading {}", args.file))?;
    let mut key = format!("import-{name}-{digest}");
    if args.again {
        let now = chrono::Utc::now().timestamp_micros();
        key = format!("{key}-{now}");
    }
    eprintln!("{}: {} as {name}, {} bytes", args.file, format.name(), input.bytes());
    let gateway = services::find(places, GATEWAY);
    let upload =
        Upload { url: &gateway.url, collection: name, format, key: &key, still_max: STILL_MAX };
    let totals = upload.send(&input)?;
    let outcome = if totals.refused == 0 { Outcome::Well } else { Outcome::InPart };
    let text = totals.text(&args.file, name);
    let imported = Imported { collection: name.to_owned(), idempotency_key: key, totals };
    form.print(&imported, &text)?;
    Ok(outcome)
}

impl Collection {
    fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Categories => "categories",
            Self::Prices => "prices",
            Self::Promotions => "promotions",
            Self::Stock => "stock",
            Self::Locations => "locations",
        }
    }
}

impl Totals {
    /// The totals and every refusal, for people.
    fn text(&self, file: &str, collection: &str) -> String {
        let Self { lines, stored, unchanged, refused, waiting, .. } = self;
        let mut text = format!(
            "{file}: {lines} lines into {collection}: {stored} stored, {unchanged} unchanged, \
             {refused} refused\n"
        );
        if *waiting > 0 {
            text.push_str(&format!("{waiting} of them wait for what they speak of to arrive\n"));
        }
        if !self.refusals.is_empty() {
            let mut table = Table::new([
                Column::Right("line"),
                Column::Left("field"),
                Column::Left("code"),
                Column::Left("reason"),
            ]);
            for Refusal { line, field, code, reason } in &self.refusals {
                table.row([line.to_string(), field.clone(), code.clone(), reason.clone()]);
            }
            text.push('\n');
            text.push_str(&table.text());
        }
        text
    }
}

/// Refuses what no format is, before anything is sent.
fn refuse<T>(why: &str) -> Result<T> {
    bail!("{why}; nothing was sent")
}

/// All collections by name, for messages.
fn names() -> String {
    let names: Vec<_> = Collection::value_variants().iter().map(|it| it.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
