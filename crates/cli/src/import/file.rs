//! The file to import: its first lines, its digest, and its bytes as often as they are needed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Seek as _};

use anyhow::{Context as _, Result};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::refuse;

/// A header may be this long, like every line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Among so many lines one is looked for that tells what all of them are.
const HEAD_LINES_MAX: usize = 100;
/// So far it is looked for: a few lines that are too long do not hide the others.
const HEAD_BYTES_MAX: u64 = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Records in a file, which standard input becomes.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    bytes: u64,
    head: Head,
}

/// What the first lines tell.
#[derive(Debug)]
pub(crate) struct Head {
    /// The first line that is not empty.
    first: Vec<u8>,
    /// The fields of the first line that is a JSON object: those before it are for the owner to
    /// refuse, line by line.
    fields: Option<Vec<String>>,
}

/// How records are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Columns under a header.
    Csv,
}

impl Format {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "NDJSON",
            Self::Csv => "CSV",
        }
    }

    /// Its name in HTTP.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }
}

impl Input {
    /// Opens a file; `-` is standard input, which is copied to a file without a name, since it is
    /// read twice.
    pub(crate) fn open(path: &str) -> Result<Self> {
        let mut file = if path == "-" {
            if io::stdin().is_terminal() {
                eprintln!("reading records from the terminal, until Ctrl-D");
            }
            let mut copy = tempfile::tempfile().context("keeping standard input")?;
            io::copy(&mut io::stdin().lock(), &mut copy).context("reading standard input")?;
            copy
        } else {
            File::open(path).with_context(|| format!("cannot open {path}"))?
        };
        let metadata = file.metadata().with_context(|| format!("cannot open {path}"))?;
        if !metadata.is_file() {
            return refuse(&format!("{path} is no file; pipe it in: syncline import - < {path}"));
        }
        file.rewind()?;
        let head = Head::read(&file).with_context(|| format!("reading {path}"))?;
        Ok(Self { file, bytes: metadata.len(), head })
    }

    /// How long it is.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its first lines.
    pub(crate) const fn head(&self) -> &Head {
        &self.head
    }

    /// Its bytes from the beginning.
    pub(crate) fn reader(&self) -> io::Result<impl Read> {
        (&self.file).rewind()?;
        Ok(BufReader::with_capacity(64 * 1024, &self.file))
    }

    /// What its content is known by.
    pub(crate) fn digest(&self) -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut reader = self.reader()?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = reader.read(&mut chunk)?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Head {
    fn read(file: impl Read) -> io::Result<Self> {
        let mut reader = BufReader::new(file.take(HEAD_BYTES_MAX));
        let mut head = Self { first: Vec::new(), fields: None };
        let mut line = Vec::new();
        for number in 0..HEAD_LINES_MAX {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 0);
            let text = text.unwrap_or(&line).trim_ascii();
            if head.first.is_empty() {
                head.first = text.iter().copied().take(LINE_BYTES_MAX).collect();
            }
            if let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(text) {
                head.fields = Some(fields.keys().cloned().collect());
                break;
            }
        }
        Ok(head)
    }

    /// Recognised by how it begins; a line that is an object makes NDJSON of what begins oddly.
    pub(crate) fn format(&self) -> Result<Format> {
        let is_line = || serde_json::from_slice::<IgnoredAny>(&self.first).is_ok();
        match self.first.as_slice() {
            [] => refuse("the file holds no record"),
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                refuse("the file is UTF-16: convert it to UTF-8")
            }
            [0x1F, 0x8B, ..] => refuse("the file is compressed: pipe it through zcat"),
            [b'[', ..] if self.fields.is_none() || !is_line() => {
                refuse("the file is a JSON array: write one object a line, as `jq -c '.[]'` does")
            }
            [b'{', ..] => Ok(Format::Ndjson),
            _ if self.fields.is_some() => Ok(Format::Ndjson),
            _ => Ok(Format::Csv),
        }
    }

    /// The names of the fields that the first good record has, or of the columns.
    pub(crate) fn columns(&self, format: Format) -> Result<Vec<String>> {
        match (format, &self.fields, std::str::from_utf8(&self.first)) {
            (Format::Ndjson, Some(fields), _) => Ok(fields.clone()),
            (Format::Ndjson, None, _) => refuse(&format!(
                "none of the first {HEAD_LINES_MAX} lines is a JSON object, so they do not tell \
                 what the records are: give --collection"
            )),
            (Format::Csv, _, Ok(line)) => Ok(header(line)),
            (Format::Csv, _, Err(_)) => refuse("the first line is not UTF-8: convert the file"),
        }
    }
}

/// The cells of a header; a quoted one may hold commas, and two quotes stand for one.
fn header(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            character => cell.push(character),
        }
    }
    cells.push(cell);
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> String {
        let head = Head::read(text.as_bytes()).unwrap();
        match head.format().and_then(|format| head.columns(format)) {
            Ok(columns) => columns.join(" "),
            Err(error) => format!("{error}"),
        }
    }

    #[test]
    fn columns_are_those_of_the_first_line_that_is_not_empty() {
        let csv = "\u{feff}sku,\"amount\" ,\"a \"\"b\"\", c\"\r\nMH01,1,2\n";
        assert_eq!(columns(csv), "sku amount a \"b\", c");
        assert_eq!(columns("\n\n{\"sku\":\"MH01\",\"name\":\"a\"}\n"), "name sku");
    }

    #[test]
    fn bad_lines_before_the_first_good_one_do_not_hide_what_all_of_them_are() {
        let good = "{\"sku\":\"MH01\",\"name\":\"a\"}\n";
        let long = format!("{{\"sku\":\"{}\"", "x".repeat(2 << 20));
        for bad in ["{\"sku\":\"BAD\",", "[1,2]", "oops", "17", long.as_str()] {
            let start: String = bad.chars().take(9).collect();
            assert_eq!(columns(&format!("{bad}\n{good}")), "name sku", "{start}");
            let many = format!("{bad}\n").repeat(if bad.len() > 99 { 5 } else { 99 });
            assert_eq!(columns(&format!("{many}{good}")), "name sku", "{start}");
        }
        let latin = [b"{\"sku\":\"gr\xF6\"}\n", good.as_bytes()].concat();
        let head = Head::read(latin.as_slice()).unwrap();
        assert_eq!(head.columns(Format::Ndjson).unwrap(), ["name", "sku"]);
        let none = columns(&"{\"sku\":\n".repeat(100));
        assert!(none.contains("--collection"), "{none}");
    }

    #[test]
    fn what_no_import_reads_is_refused_with_what_to_do() {
        for (text, told) in [
            (" \n", "holds no record"),
            ("[{\"sku\":1}]", "jq -c"),
            ("[\n{\"sku\":1}\n]", "jq -c"),
            ("{\"sku\":", "is a JSON object"),
        ] {
            let answer = columns(text);
            assert!(answer.contains(told) && answer.contains("nothing was sent"), "{answer}");
        }
        let head = |bytes: &[u8]| Head::read(bytes).unwrap().format().unwrap_err().to_string();
        assert!(head(b"\xFF\xFEs\0k\0u\0").contains("UTF-16"));
        assert!(head(b"\x1F\x8B\x08").contains("zcat"));
        let latin = Head::read(&b"sku,gr\xF6\xDFe\n"[..]).unwrap();
        let error = latin.columns(latin.format().unwrap()).unwrap_err();
        assert!(error.to_string().contains("not UTF-8"));
    }
}
