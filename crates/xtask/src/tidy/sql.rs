//! SQL lies in files of its own: none in strings, one statement a file, every file used.

use super::rust::parts;
use super::tree::{File, Finding, Tree};

/// Packages that create databases and roles, whose names no statement takes as a parameter, or
/// that look at the system from outside with statements of their own.
const EXEMPT: &[&str] = &["testkit", "tests", "xtask"];

/// Beginnings of a statement, and a word that must follow somewhere for it to be one.
const STATEMENTS: &[(&str, &str)] = &[
    ("select ", ""),
    ("insert into ", ""),
    ("update ", " set "),
    ("delete from ", ""),
    ("merge into ", ""),
    ("with ", " as ("),
    ("create table ", ""),
    ("create index ", ""),
    ("create unique index ", ""),
    ("create function ", ""),
    ("create or replace ", ""),
    ("alter table ", ""),
    ("drop table ", ""),
    ("truncate ", ""),
    ("lock table ", ""),
];

/// Words that a statement writes in lower case.
const KEYWORDS: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "WHERE", "CREATE", "ALTER", "RETURNING"];

/// No statement stands in a string of the code.
pub(super) fn only_in_sql_files(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let exempt = tree.package_of(&file.path).is_some_and(|p| EXEMPT.contains(&p.name.as_str()));
        if exempt {
            continue;
        }
        for literal in parts(file.without_tests()).literals {
            if is_statement(&literal.text) {
                let message = "SQL belongs into queries/ or migrations/";
                findings.push(Finding::line(&file.path, literal.line, message));
            }
        }
    }
    findings
}

fn is_statement(text: &str) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let text = text.trim_start_matches(['(', ' ']);
    STATEMENTS.iter().any(|(begin, then)| {
        text.strip_prefix(begin).is_some_and(|rest| format!(" {rest} ").contains(then))
    })
}

/// Each statement and each migration is included by its own package, once.
pub(super) fn every_file_is_used_once(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sql(tree) {
        let Some(package) = tree.package_of(&file.path) else {
            findings.push(Finding::file(&file.path, "belongs to no package"));
            continue;
        };
        let folder = format!("{}/src", package.folder);
        let code = tree.below(&folder, "rs").filter(|code| !code.is_test());
        let uses = code.flat_map(|code| {
            let literals = parts(code.without_tests()).literals.into_iter();
            literals.filter(|literal| seen_from(&code.path, &literal.text) == file.path)
        });
        let uses = uses.count();
        if uses != 1 {
            findings.push(Finding::file(&file.path, format!("is included {uses} times, not once")));
        }
    }
    findings
}

/// The path that a relative path means in the file at `from`.
fn seen_from(from: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// First line says why; lower case; a query is one statement; a migration has a number.
pub(super) fn files_are_well_formed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sql(tree) {
        let first = file.text.lines().next().unwrap_or_default();
        if !first.starts_with("-- ") {
            findings.push(Finding::line(&file.path, 1, "does not begin with a `--` comment"));
        }
        let code = statement(&file.text);
        for (number, line) in (1..).zip(code.lines()) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(word) = words.find(|word| KEYWORDS.contains(word)) {
                findings.push(Finding::line(&file.path, number, format!("`{word}`: lower case")));
            }
        }
        if file.path.contains("/queries/") && code.trim().trim_end_matches(';').contains(';') {
            findings.push(Finding::file(&file.path, "has more than one statement"));
        }
        if file.path.contains("/migrations/") && !is_migration(&file.path) {
            findings.push(Finding::file(&file.path, "is not named V<number>__<name>.sql"));
        }
    }
    findings
}

fn is_migration(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let number = name.strip_prefix('V').and_then(|rest| rest.split_once("__"));
    number.is_some_and(|(number, name)| {
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && name.len() > ".sql".len()
    })
}

/// SQL without its line comments and quoted parts; line numbers stay. The body of a function
/// (between `$$`) stays too, but its semicolons end no statement.
fn statement(text: &str) -> String {
    let mut code = String::new();
    let mut quote = None;
    let mut body = false;
    for line in text.lines() {
        for (at, c) in line.char_indices() {
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if line.get(at..).is_some_and(|rest| rest.starts_with("$$")) => body = !body,
                None if body && c == ';' => {}
                None if line.get(at..).is_some_and(|rest| rest.starts_with("--")) => break,
                None if c == '\'' || c == '"' => quote = Some(c),
                None => code.push(c),
            }
        }
        code.push('\n');
    }
    code
}

fn sql(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.path.ends_with(".sql"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    fn strings(code: &str) -> usize {
        let mut tree = tree(&[("crates/outbox/src/lib.rs", code)]);
        tree.packages = vec![package("crates/outbox", &[])];
        only_in_sql_files(&tree).len()
    }

    #[test]
    fn statements_in_strings_are_found_and_prose_is_not() {
        assert_eq!(strings("let a = \"select 1\";"), 1);
        assert_eq!(strings("let a = \"\n  insert into t values (1)\";"), 1);
        assert_eq!(strings("let a = \"update t set a = 1\";"), 1);
        assert_eq!(strings("let a = \"with a as (select 1) select 2\";"), 1);
        assert_eq!(strings("let a = \"update the position\"; // select 1"), 0);
        assert_eq!(strings("let a = \"with the stream\"; let b = \"create the pool\";"), 0);
        assert_eq!(strings("#[cfg(test)]\nmod tests {\n let a = \"select 1\";\n}\n"), 0);
    }

    #[test]
    fn a_query_that_nobody_or_too_many_include_is_found() {
        let used = |code: &str| {
            let sql = ("crates/outbox/queries/seal.sql", "-- why\nselect 1");
            let mut tree = tree(&[sql, ("crates/outbox/src/lib.rs", code)]);
            tree.packages = vec![package("crates/outbox", &[])];
            every_file_is_used_once(&tree).len()
        };
        let once = "const A: &str = include_str!(\"../queries/seal.sql\");\n";
        assert_eq!(used(once), 0);
        assert_eq!(used("const A: &str = include_str!(\"../queries/unseal.sql\");"), 1);
        assert_eq!(used(&once.repeat(2)), 1);
    }

    #[test]
    fn queries_without_reason_in_capitals_or_with_two_statements_are_found() {
        let of = |text: &str| files_are_well_formed(&tree(&[("a/queries/b.sql", text)])).len();
        assert_eq!(of("-- Why; SELECT.\nselect ';', \"FROM\" -- a;\n"), 0);
        assert_eq!(of("-- Why.\ndo $$ begin perform 1; end; $$\n"), 0);
        assert_eq!(of("select 1;\n"), 1);
        assert_eq!(of("-- Why.\nSELECT 1\n"), 1);
        assert_eq!(of("-- Why.\nselect 1; select 2;\n"), 1);
    }

    #[test]
    fn a_migration_without_a_number_is_found() {
        let of = |path: &str| files_are_well_formed(&tree(&[(path, "-- Why.\n")])).len();
        assert_eq!(of("a/migrations/V12__outbox.sql"), 0);
        assert_eq!(of("a/migrations/outbox.sql"), 1);
        assert_eq!(of("a/migrations/V__outbox.sql"), 1);
    }
}
