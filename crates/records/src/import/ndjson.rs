//! Lines of JSON, cut from pieces of any size.

use super::{
    lines::{Found, LINE_BYTES_MAX, too_long},
    source::Prefix,
};

/// Cuts a file into lines.
#[derive(Debug, Default)]
pub(super) struct Ndjson {
    /// What has come of the current line, up to the limit.
    line: Vec<u8>,
    /// How much of it has come.
    bytes: usize,
    /// How many lines have ended.
    ended: u64,
    /// What was read.
    pub(super) done: Prefix,
}

impl Ndjson {
    /// Takes from the input up to the end of the line; answers how much, and the line if it ended
    /// and is not blank.
    pub(super) fn next(&mut self, input: &[u8]) -> (usize, Option<Found>) {
        let end = input.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(input.len(), |end| end + 1);
        let piece = input.get(..end.unwrap_or(used)).unwrap_or_default();
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes <= LINE_BYTES_MAX {
            self.line.extend_from_slice(piece);
        }
        self.done.pass(input.get(..used).unwrap_or_default());
        (used, end.and_then(|_| self.line()))
    }

    /// The line that the file ends with, if it is open.
    pub(super) fn end(&mut self) -> Option<Found> {
        if self.bytes > 0 { self.line() } else { None }
    }

    /// The line that is open, which ends here.
    fn line(&mut self) -> Option<Found> {
        self.ended += 1;
        let is_long = std::mem::take(&mut self.bytes) > LINE_BYTES_MAX;
        let line = std::mem::take(&mut self.line);
        if !is_long && line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let json = if is_long { Err(too_long()) } else { Ok(line) };
        Some(Found { line: self.ended, json })
    }
}
