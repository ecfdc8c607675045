//! Records of a file in the order of its lines, whatever their format.

use std::str::{self, Utf8Error};

use contracts::Invalid;
use service_kit::Problem;

use super::{collection::Column, csv::Csv, ndjson::Ndjson, source::Prefix};

/// The longest line that is looked at.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// How the records of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Ndjson,
    Csv,
}

impl Format {
    /// As it is stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// One record of a file.
#[derive(Debug)]
pub(super) struct Found {
    /// The line in which it begins, counted from 1.
    pub(super) line: u64,
    /// The record as JSON, or why it cannot be read.
    pub(super) json: Result<Vec<u8>, Problem>,
}

/// Finds records in the pieces of a file, holding one line at most.
#[derive(Debug)]
pub(super) enum Lines {
    Ndjson(Ndjson),
    Csv(Box<Csv>),
}

impl Lines {
    pub(super) fn new(format: Format, columns: &'static [Column]) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson(Ndjson::default()),
            Format::Csv => Self::Csv(Box::new(Csv::new(columns))),
        }
    }

    /// Takes from the input; answers how much, and the next record if one ended. It must be asked
    /// again with the rest until there is neither. An error refuses the whole file.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Found>), Problem> {
        match self {
            Self::Ndjson(lines) => Ok(lines.next(input)),
            Self::Csv(lines) => lines.next(input),
        }
    }

    /// What was read up to the record that was answered last, and at the end all.
    pub(super) fn done(&mut self) -> &mut Prefix {
        match self {
            Self::Ndjson(lines) => &mut lines.done,
            Self::Csv(lines) => &mut lines.done,
        }
    }

    /// The records that are left at the end of the file, one at each call.
    pub(super) fn end(&mut self) -> Result<Option<Found>, Problem> {
        match self {
            Self::Ndjson(lines) => Ok(lines.end()),
            Self::Csv(lines) => lines.end(),
        }
    }
}

pub(super) fn too_long() -> Problem {
    let reason = format!("is longer than {LINE_BYTES_MAX} bytes");
    Problem::refused("", Invalid::new("line-too-long", reason))
}

/// The bytes as text, which JSON and CSV must be.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(bytes).map_err(|error| not_utf8("", error))
}

pub(super) fn not_utf8(pointer: &str, error: Utf8Error) -> Problem {
    let reason = format!("is not UTF-8 from its byte {} on", error.valid_up_to() + 1);
    Problem::refused(pointer, Invalid::new("not-utf8", reason))
}
