//! The file to import: its first line, its digest, and its bytes as often as they are needed.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Seek as _};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::refuse;

/// A first line may be this long, like every line.
const LINE_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Records in a file, which standard input becomes.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    bytes: u64,
    head: Head,
}

/// The first line that is not empty.
#[derive(Debug)]
pub(crate) struct Head(Vec<u8>);

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

    /// Its first line.
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
    fn read(file: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(limit).read_to_end(&mut text)?;
        Ok(Self::of(&text))
    }

    fn of(text: &[u8]) -> Self {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let line = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        Self(line.into_iter().find(|line| !line.is_empty()).unwrap_or_default().to_vec())
    }

    /// Recognised by how it begins.
    pub(crate) fn format(&self) -> Result<Format> {
        match self.0.as_slice() {
            [] => refuse("the file holds no record"),
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                refuse("the file is UTF-16: convert it to UTF-8")
            }
            [0x1F, 0x8B, ..] => refuse("the file is compressed: pipe it through zcat"),
            [b'[', ..] => {
                refuse("the file is a JSON array: write one object a line, as `jq -c '.[]'` does")
            }
            [b'{', ..] => Ok(Format::Ndjson),
            _ => Ok(Format::Csv),
        }
    }

    /// The names of the fields that the first record has, or of the columns.
    pub(crate) fn columns(&self, format: Format) -> Result<Vec<String>> {
        let Ok(line) = std::str::from_utf8(&self.0) else {
            return refuse("the first line is not UTF-8: convert the file");
        };
        match format {
            Format::Ndjson => match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(fields) => Ok(fields.keys().cloned().collect()),
                Err(error) => refuse(&format!("the first line is not a JSON object: {error}")),
            },
            Format::Csv => Ok(header(line)),
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
        let head = Head::of(text.as_bytes());
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
    fn what_no_import_reads_is_refused_with_what_to_do() {
        for (text, told) in [
            (" \n", "holds no record"),
            ("[{\"sku\":1}]", "jq -c"),
            ("{\"sku\":", "not a JSON object"),
        ] {
            let answer = columns(text);
            assert!(answer.contains(told) && answer.contains("nothing was sent"), "{answer}");
        }
        let head = |bytes: &[u8]| Head::of(bytes).format().unwrap_err().to_string();
        assert!(head(b"\xFF\xFEs\0k\0u\0").contains("UTF-16"));
        assert!(head(b"\x1F\x8B\x08").contains("zcat"));
        let latin = Head::of(b"sku,gr\xF6\xDFe\n");
        let error = latin.columns(latin.format().unwrap()).unwrap_err();
        assert!(error.to_string().contains("not UTF-8"));
    }
}
