//! `cargo x sql`: every statement is prepared by a real PostgreSQL on a really migrated database.
//!
//! What each statement takes and gives is recorded beside it, in `queries/types.txt`, so that a
//! change of a type is a line of a review and not a surprise in production.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    install::Consent,
    postgres,
    servers::{ConsentArgs, FOR_TESTS, Postgres, Scratch},
    settings::Settings,
    workspace::{self, Kind, Package},
};

/// What `cargo x sql` may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write down the types as they are now
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    consent: ConsentArgs,
}

/// What becomes of the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    Compare,
    Record,
}

const RECORD: &str = "queries/types.txt";
const RECORD_HEAD: &str =
    "-- What each statement takes and gives; written by `cargo x sql --record`.";

/// Statements that PostgreSQL can name and describe the parameters of.
const NAMEABLE: &[&str] = &["select", "insert", "update", "delete", "merge", "values", "with"];

/// Runs the command.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<ExitCode> {
    let types = if args.record { Types::Record } else { Types::Compare };
    println!("sql: {}", prepare_all(settings, args.consent.consent(settings), types)?);
    Ok(ExitCode::SUCCESS)
}

/// Prepares every statement and compares its types with the record.
pub(crate) fn check(settings: &Settings, consent: Consent) -> Result<String> {
    prepare_all(settings, consent, Types::Compare)
}

fn prepare_all(settings: &Settings, consent: Consent, types: Types) -> Result<String> {
    let root = workspace::root();
    let packages = workspace::packages(&settings.cargo, &root)?;
    let scratch = Scratch::create()?;
    let postgres = Postgres::start(settings, &scratch, consent, FOR_TESTS)?;
    ask(&mut postgres.psql(), postgres::GROUPS).context("making the groups")?;
    let (mut statements, mut complaints) = (0, 0);
    for package in &packages {
        let files = sql_files(&root.join(&package.folder).join("queries"))?;
        if files.is_empty() {
            continue;
        }
        let database = Database { postgres: &postgres, name: &package.name };
        let found = database.migrate(&root, &packages, package).and_then(|()| {
            let folder = root.join(&package.folder);
            database.prepare(&folder, &files, types)
        });
        statements += files.len();
        for complaint in found.unwrap_or_else(|error| vec![format!("{error:#}")]) {
            println!("{}: {complaint}", package.folder);
            complaints += 1;
        }
    }
    if complaints > 0 {
        bail!("{complaints} complaints about {statements} statements");
    }
    Ok(format!("{statements} statements prepared"))
}

/// One database for one package: its own tables and those of the packages it builds on.
struct Database<'a> {
    postgres: &'a Postgres,
    name: &'a str,
}

impl Database<'_> {
    fn psql(&self) -> Command {
        let mut psql = self.postgres.psql();
        psql.args(["-d", self.name]);
        psql
    }

    fn migrate(&self, root: &Path, packages: &[Package], package: &Package) -> Result<()> {
        let create = format!("create database \"{}\";\n", self.name);
        ask(&mut self.postgres.psql(), &create).context("making the database")?;
        for below in foundations(packages, package) {
            for file in migrations(&root.join(&below.folder))? {
                let text = read(&file)?;
                let mut script = String::new();
                for schema in schemas(&text) {
                    writeln!(script, "create schema if not exists {schema};")?;
                }
                script.push_str(&text);
                ask(&mut self.psql(), &script)
                    .with_context(|| format!("migrating with {}", shown(root, &file)))?;
            }
        }
        Ok(())
    }

    /// Prepares the statements and answers what is wrong with them.
    fn prepare(&self, folder: &Path, files: &[PathBuf], types: Types) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut record = format!("{RECORD_HEAD}\n");
        for file in files {
            match self.types(&read(file)?) {
                Ok(types) => {
                    let name = file.file_stem().unwrap_or_default().to_string_lossy();
                    writeln!(record, "{name}: {types}")?;
                }
                Err(error) => complaints.push(format!("{}: {error:#}", shown(folder, file))),
            }
        }
        let path = folder.join(RECORD);
        if types == Types::Record && complaints.is_empty() {
            fs::write(&path, record).with_context(|| format!("writing {}", path.display()))?;
        } else if complaints.is_empty() {
            let recorded = fs::read_to_string(&path).unwrap_or_default();
            complaints.extend(differences(&recorded, &record));
        }
        Ok(complaints)
    }

    /// What a statement takes and gives, as `text, bigint -> version bigint`.
    fn types(&self, text: &str) -> Result<String> {
        let statement = text.trim_end().trim_end_matches(';');
        let mut script = format!("{statement}\n\\gdesc\n\\echo --\n");
        if NAMEABLE.contains(&first_word(statement).as_str()) {
            write!(
                script,
                "prepare statement as {statement}\n;\n\
                 select array_to_string(parameter_types, ', ') from pg_prepared_statements;\n"
            )?;
        }
        let answer = ask(&mut self.psql(), &script)?;
        let (gives, takes) = answer.split_once("--\n").unwrap_or((answer.as_str(), ""));
        let gives = gives.lines().filter(|line| line.contains('|'));
        let gives: Vec<String> = gives.map(|line| line.replace('|', " ")).collect();
        Ok(format!("{} -> {}", takes.trim(), gives.join(", ")).trim().to_owned())
    }
}

/// Runs a script and answers what it printed; its first error ends it.
fn ask(psql: &mut Command, script: &str) -> Result<String> {
    let mut child = psql
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting psql")?;
    let mut input = child.stdin.take().context("psql has no input")?;
    let script = script.to_owned();
    // Whoever writes more than a pipe holds must not be the one who reads.
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = child.wait_with_output().context("waiting for psql")?;
    let written = writer.join().is_ok_and(|result| result.is_ok());
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if !written {
        bail!("psql did not read to the end");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A package and all that it builds on, the lowest first; outbox comes before inbox by name order
/// reversed, which is how a service migrates them.
fn foundations<'a>(packages: &'a [Package], package: &'a Package) -> Vec<&'a Package> {
    let mut order: Vec<&Package> = Vec::new();
    let mut below: Vec<&Package> = package
        .uses(Kind::Normal)
        .filter_map(|name| packages.iter().find(|other| other.name == name))
        .collect();
    below.sort_by(|a, b| b.name.cmp(&a.name));
    for one in below.into_iter().flat_map(|one| foundations(packages, one)).chain([package]) {
        if !order.iter().any(|known| known.name == one.name) {
            order.push(one);
        }
    }
    order
}

/// The `V<number>__<name>.sql` files of a package, by number.
fn migrations(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = sql_files(&folder.join("migrations"))?;
    files.sort_by_key(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.trim_start_matches('V').split("__").next().unwrap_or_default();
        number.parse::<u32>().unwrap_or(u32::MAX)
    });
    Ok(files)
}

/// The SQL files of a folder, by name; none if there is no folder.
fn sql_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let mut files: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "sql")).collect();
    files.sort();
    Ok(files)
}

/// The schemas that a migration makes tables in; the one who migrates has made them before.
fn schemas(migration: &str) -> BTreeSet<&str> {
    let tables = migration.match_indices("create table ").filter_map(|(at, found)| {
        let name = migration.get(at + found.len()..)?.trim_start_matches("if not exists ");
        name.split(|c: char| c.is_whitespace() || c == '(').next()?.split_once('.')
    });
    tables.map(|(schema, _)| schema).collect()
}

/// The first word of a statement, behind its comments.
fn first_word(statement: &str) -> String {
    let code = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    let word = code.flat_map(str::split_whitespace).next().unwrap_or_default();
    word.trim_start_matches('(').to_lowercase()
}

/// Where the record and the truth differ.
fn differences(recorded: &str, found: &str) -> Vec<String> {
    let only_in = |a: &str, b: &str| -> Vec<String> {
        let lines = a.lines().filter(|line| !line.starts_with("--"));
        lines.filter(|line| !b.lines().any(|known| known == *line)).map(str::to_owned).collect()
    };
    let fresh = only_in(found, recorded).into_iter();
    let mut complaints: Vec<String> =
        fresh.map(|line| format!("{RECORD} does not say `{line}`")).collect();
    let stale = only_in(recorded, found).into_iter();
    complaints.extend(stale.map(|line| format!("{RECORD} still says `{line}`")));
    if !complaints.is_empty() {
        complaints.push("if that is meant: cargo x sql --record".to_owned());
    }
    complaints
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, uses: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), kind: Kind::Normal };
        Package {
            name: name.to_owned(),
            dependencies: uses.iter().map(dependency).collect(),
            ..Package::default()
        }
    }

    #[test]
    fn a_service_is_migrated_after_what_it_builds_on() {
        let packages = [
            package("bus", &["contracts"]),
            package("catalog", &["bus", "inbox", "outbox", "serde"]),
            package("contracts", &[]),
            package("inbox", &["bus"]),
            package("outbox", &["bus"]),
        ];
        let order = foundations(&packages, &packages[1]);
        let names: Vec<&str> = order.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["contracts", "bus", "outbox", "inbox", "catalog"]);
    }

    #[test]
    fn schemas_are_read_from_the_tables() {
        let text = "create table a.b (c int);\ncreate table if not exists d.e(f int); -- g.h\n";
        assert_eq!(schemas(text).into_iter().collect::<Vec<_>>(), ["a", "d"]);
    }

    #[test]
    fn the_first_word_stands_behind_the_comments() {
        assert_eq!(first_word("-- Select nothing.\n(select 1)"), "select");
        assert_eq!(first_word("-- Why.\nlock table a"), "lock");
    }

    #[test]
    fn a_changed_a_new_and_a_forgotten_statement_are_all_told() {
        let record = format!("{RECORD_HEAD}\na: text ->\nb: ->\n");
        assert_eq!(differences(&record, &record), Vec::<String>::new());
        let found = format!("{RECORD_HEAD}\na: bigint ->\nc: ->\n");
        assert_eq!(differences(&record, &found).len(), 5);
    }
}
