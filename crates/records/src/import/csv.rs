//! Records of CSV, cut from pieces of any size.
//!
//! A record may hold line ends within quotes; it counts from its first line. Where a quote turns
//! out to be open by mistake, its line alone is refused, and what follows is read again from the
//! next line on.

use contracts::Invalid;
use csv_core::{ReadRecordResult, Reader};
use service_kit::Problem;

use super::{
    collection::Column,
    columns::Header,
    lines::{Found, LINE_BYTES_MAX, not_utf8, too_long},
    source::Prefix,
};

/// The most columns of a header.
const COLUMNS_MAX: usize = 1000;
/// The most bytes of a record with its line end.
const RECORD_BYTES_MAX: usize = LINE_BYTES_MAX + 1;

/// Cuts a file into records.
pub(super) struct Csv {
    columns: &'static [Column],
    header: Option<Header>,
    reader: Reader,
    lines: LineCount,
    record: Open,
    /// Whether its line is too long to be held, and only passed over.
    is_skipped: bool,
    /// What has come and is not done, and how far it is read.
    held: Vec<u8>,
    at: usize,
    /// How much of it was handed out.
    passed: usize,
    /// What was handed out as records, with the blank lines before them.
    pub(super) done: Prefix,
}

/// The record that is being read.
struct Open {
    /// The line in which it began; none between two records.
    begun: Option<u64>,
    /// Where it begins in what is held.
    begun_at: usize,
    /// How much of the file it takes so far.
    bytes: usize,
    /// Its cells without their quotes, one after the other.
    output: Vec<u8>,
    filled: usize,
    /// Where each cell ends.
    ends: Vec<usize>,
    cells: usize,
    /// Whether it has more cells than can be right.
    is_wide: bool,
}

impl Csv {
    pub(super) fn new(columns: &'static [Column]) -> Self {
        let record = Open {
            begun: None,
            begun_at: 0,
            bytes: 0,
            output: vec![0; 4096],
            filled: 0,
            ends: vec![0; COLUMNS_MAX + 1],
            cells: 0,
            is_wide: false,
        };
        let (reader, lines, done) = (Reader::new(), LineCount::default(), Prefix::default());
        Self {
            columns,
            header: None,
            reader,
            lines,
            record,
            is_skipped: false,
            held: Vec::new(),
            at: 0,
            passed: 0,
            done,
        }
    }

    /// Takes the input where all that came before is read; answers how much it took, and the next
    /// record. It must be asked again with the rest until there is neither.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Found>), Problem> {
        if self.at < self.held.len() {
            return Ok((0, self.read()?));
        }
        // Only the record that is open stays.
        self.held.drain(..self.passed);
        self.at -= self.passed;
        self.record.begun_at = self.record.begun_at.saturating_sub(self.passed);
        self.passed = 0;
        self.held.extend_from_slice(input);
        Ok((input.len(), self.read()?))
    }

    /// The records that are left at the end of the file, one at each call.
    pub(super) fn end(&mut self) -> Result<Option<Found>, Problem> {
        if let Some(found) = self.read()? {
            return Ok(Some(found));
        }
        if self.record.begun.is_some() {
            if self.is_skipped {
                return self.refuse_line(too_long()).map(Some);
            }
            // The line end that is missing; within quotes it is part of the cell and ends nothing.
            let has_ended = loop {
                match self.record.read(&mut self.reader, b"\n") {
                    (_, true) => break true,
                    (0, false) => {}
                    (_, false) => break false,
                }
            };
            let found = if has_ended { self.found()? } else { Some(self.refuse_line(unclosed())?) };
            if found.is_some() {
                return Ok(found);
            }
        }
        if self.header.is_none() {
            // The reason names the first column that is missing.
            Header::read(self.columns, &[])?;
        }
        self.pass();
        Ok(None)
    }

    /// Reads what is held, up to the end of a record.
    fn read(&mut self) -> Result<Option<Found>, Problem> {
        loop {
            if self.record.begun.is_none() {
                let blank = |byte: &&u8| matches!(**byte, b'\r' | b'\n');
                let blanks = self.rest().iter().take_while(blank).count();
                self.take(blanks);
                if self.rest().is_empty() {
                    self.pass();
                    return Ok(None);
                }
                self.record.begin(self.lines.current(), self.at);
                self.is_skipped = false;
            }
            // To the reader an empty piece means the end of the file.
            if self.rest().is_empty() {
                return Ok(None);
            }
            if self.is_skipped {
                let end = line_end(self.rest());
                self.take(end.unwrap_or(self.rest().len()));
                if end.is_some() {
                    return self.refuse_line(too_long()).map(Some);
                }
                self.pass();
                self.record.begun_at = 0;
                continue;
            }
            let left = (RECORD_BYTES_MAX + 1).saturating_sub(self.record.bytes);
            let rest = self.held.get(self.at..).unwrap_or_default();
            let rest = rest.get(..left).unwrap_or(rest);
            let (taken, has_ended) = self.record.read(&mut self.reader, rest);
            self.take(taken);
            let found = if self.record.bytes > RECORD_BYTES_MAX {
                self.give_up()?
            } else if has_ended {
                self.found()?
            } else {
                None
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) {
        let taken = self.held.get(self.at..self.at + bytes).unwrap_or_default();
        self.lines.pass(taken);
        self.at += bytes;
    }

    /// What was read is done. What is held beyond it moves only now and then, since it may be much.
    fn pass(&mut self) {
        self.done.pass(self.held.get(self.passed..self.at).unwrap_or_default());
        self.passed = self.at;
        if self.at == self.held.len() {
            self.held.clear();
            (self.at, self.passed) = (0, 0);
        }
    }

    /// The bytes of the record that is open.
    fn open(&self) -> &[u8] {
        self.held.get(self.record.begun_at..self.at).unwrap_or_default()
    }

    /// A record that is too long: by its line, or because a quote is open.
    fn give_up(&mut self) -> Result<Option<Found>, Problem> {
        match line_end(self.open()) {
            Some(bytes) if bytes <= RECORD_BYTES_MAX => self.refuse_line(unclosed()).map(Some),
            Some(_) => self.refuse_line(too_long()).map(Some),
            None => {
                self.is_skipped = true;
                Ok(None)
            }
        }
    }

    /// Refuses the first line of the open record; what follows is read again.
    fn refuse_line(&mut self, problem: Problem) -> Result<Found, Problem> {
        if self.header.is_none() {
            return Err(whole(&problem));
        }
        let line = self.record.begun.take().unwrap_or_default();
        let bytes = line_end(self.open()).unwrap_or(self.open().len());
        let after_cr = self.open().get(..bytes).is_some_and(|line| line.ends_with(b"\r"));
        self.at = self.record.begun_at + bytes;
        self.lines = LineCount { ended: line, after_cr };
        self.reader.reset();
        self.pass();
        Ok(Found { line, json: Err(problem) })
    }

    fn found(&mut self) -> Result<Option<Found>, Problem> {
        let spans_lines = line_end(self.open()).is_some_and(|bytes| bytes < self.open().len());
        let Some(header) = &self.header else {
            let cells = self.record.shape(None).and_then(|()| self.record.cells(None));
            let cells = cells.map_err(|problem| whole(&problem))?;
            self.header = Some(Header::read(self.columns, &cells)?);
            self.record.begun = None;
            self.pass();
            return Ok(None);
        };
        let shape = self.record.shape(Some(header));
        if spans_lines && let Err(problem) = shape.and_then(|()| self.record.one_line(header)) {
            // A quote that was open by mistake closed at the next one.
            return self.refuse_line(problem).map(Some);
        }
        if let Err(problem) = self.record.shape(Some(header)) {
            let line = self.record.begun.take().unwrap_or_default();
            self.pass();
            return Ok(Some(Found { line, json: Err(problem) }));
        }
        let json = self.record.cells(Some(header)).and_then(|cells| header.json(&cells));
        let line = self.record.begun.take().unwrap_or_default();
        self.pass();
        Ok(Some(Found { line, json }))
    }
}

/// Where the first line ends.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| matches!(*byte, b'\r' | b'\n')).map(|at| at + 1)
}

fn refused(code: &'static str, reason: String) -> Problem {
    Problem::refused("", Invalid::new(code, reason))
}

fn unclosed() -> Problem {
    let reason = format!("has a quote that is not closed within {LINE_BYTES_MAX} bytes");
    refused("unclosed-quote", reason)
}

impl Open {
    fn begin(&mut self, line: u64, at: usize) {
        self.begun = Some(line);
        self.begun_at = at;
        (self.bytes, self.filled, self.cells, self.is_wide) = (0, 0, 0, false);
    }

    /// Reads on; answers how much was taken, and whether the record has ended.
    fn read(&mut self, reader: &mut Reader, input: &[u8]) -> (usize, bool) {
        let output = self.output.get_mut(self.filled..).unwrap_or_default();
        let ends = self.ends.get_mut(self.cells..).unwrap_or_default();
        let (result, taken, written, ended) = reader.read_record(input, output, ends);
        self.bytes = self.bytes.saturating_add(taken);
        self.filled += written;
        self.cells += ended;
        match result {
            ReadRecordResult::InputEmpty => (taken, false),
            ReadRecordResult::OutputFull => {
                // Cells are never longer than what they are read from: beyond the limit the record
                // is refused already, and what comes is only passed over.
                if self.output.len() <= LINE_BYTES_MAX {
                    self.output.resize(self.output.len() * 2, 0);
                } else {
                    self.filled = 0;
                }
                (taken, false)
            }
            ReadRecordResult::OutputEndsFull => {
                (self.is_wide, self.cells) = (true, 0);
                (taken, false)
            }
            ReadRecordResult::Record | ReadRecordResult::End => (taken, true),
        }
    }

    /// Whether it has as many cells as the header.
    fn shape(&self, header: Option<&Header>) -> Result<(), Problem> {
        let width = header.map_or(self.cells, Header::width);
        if self.is_wide {
            let reason = format!("has more than {COLUMNS_MAX} fields");
            return Err(refused("number-of-fields", reason));
        }
        if self.cells != width {
            let reason = format!("has {} fields, the header has {width}", self.cells);
            return Err(refused("number-of-fields", reason));
        }
        Ok(())
    }

    /// Whether no cell holds a line end that may hold none.
    fn one_line(&self, header: &Header) -> Result<(), Problem> {
        let mut begin = 0;
        for (place, end) in self.ends.iter().take(self.cells).enumerate() {
            let cell = self.output.get(std::mem::replace(&mut begin, *end)..*end);
            if !header.may_hold_lines(place) && line_end(cell.unwrap_or_default()).is_some() {
                let reason = "has a quote that is not closed before the end of the line";
                let invalid = Invalid::new("unclosed-quote", reason.to_owned());
                return Err(Problem::refused(&header.pointer(place), invalid));
            }
        }
        Ok(())
    }

    /// The cells as text.
    fn cells(&self, header: Option<&Header>) -> Result<Vec<&str>, Problem> {
        let mut begin = 0;
        let cell = |(place, end): (usize, &usize)| {
            let cell = self.output.get(std::mem::replace(&mut begin, *end)..*end);
            str::from_utf8(cell.unwrap_or_default()).map_err(|error| {
                let pointer = header.map_or_else(String::new, |header| header.pointer(place));
                not_utf8(&pointer, error)
            })
        };
        self.ends.iter().take(self.cells).enumerate().map(cell).collect()
    }
}

/// Without a header nothing that follows has a meaning.
fn whole(problem: &Problem) -> Problem {
    let broken = problem.body().errors.first().cloned();
    let (code, reason) = broken.map_or_else(Default::default, |one| (one.code, one.message));
    let reason = format!("the header {reason}");
    Problem::invalid(format!("line 1: {reason}; nothing was stored")).field("", code, reason)
}

/// Counts lines, whatever ends them.
#[derive(Debug, Default)]
struct LineCount {
    ended: u64,
    after_cr: bool,
}

impl LineCount {
    fn current(&self) -> u64 {
        self.ended + 1
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\r' || (*byte == b'\n' && !self.after_cr) {
                self.ended += 1;
            }
            self.after_cr = *byte == b'\r';
        }
    }
}

impl std::fmt::Debug for Csv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Csv").field("lines", &self.lines).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
