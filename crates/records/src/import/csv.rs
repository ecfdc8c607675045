//! Records of CSV, cut from pieces of any size.
//!
//! A record may hold line ends within quotes; it counts from its first line.

use contracts::Invalid;
use csv_core::{ReadRecordResult, Reader};
use service_kit::Problem;

use super::{
    collection::Column,
    columns::Header,
    lines::{Found, LINE_BYTES_MAX, too_long, utf8},
};

/// The most columns of a header.
const COLUMNS_MAX: usize = 1000;

/// Cuts a file into records.
pub(super) struct Csv {
    columns: &'static [Column],
    header: Option<Header>,
    reader: Reader,
    lines: LineCount,
    record: Open,
}

/// The record that is being read.
struct Open {
    /// The line in which it began; none between two records.
    begun: Option<u64>,
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
            bytes: 0,
            output: vec![0; 4096],
            filled: 0,
            ends: vec![0; COLUMNS_MAX + 1],
            cells: 0,
            is_wide: false,
        };
        Self { columns, header: None, reader: Reader::new(), lines: LineCount::default(), record }
    }

    /// Takes from the input, which is not empty, up to the end of a record.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Found>), Problem> {
        let mut used = 0;
        if self.record.begun.is_none() {
            let blank = |byte: &u8| matches!(*byte, b'\r' | b'\n');
            used = input.iter().take_while(|byte| blank(byte)).count();
            self.lines.pass(input.get(..used).unwrap_or_default());
            if used == input.len() {
                return Ok((used, None));
            }
            self.record.begin(self.lines.current());
        }
        loop {
            let rest = input.get(used..).unwrap_or_default();
            // To the reader an empty piece means the end of the file.
            if rest.is_empty() {
                return Ok((used, None));
            }
            let (taken, has_ended) = self.record.read(&mut self.reader, rest);
            self.lines.pass(rest.get(..taken).unwrap_or_default());
            used += taken;
            if has_ended {
                return Ok((used, self.found(Ending::Line)?));
            }
        }
    }

    /// The record that ends with the file.
    pub(super) fn end(&mut self) -> Result<Option<Found>, Problem> {
        if self.record.begun.is_some() {
            // The line end that is missing; within quotes it is part of the cell and ends nothing.
            let ending = loop {
                match self.record.read(&mut self.reader, b"\n") {
                    (_, true) => break Ending::Line,
                    (0, false) => {}
                    (_, false) => break Ending::Quoted,
                }
            };
            return self.found(ending);
        }
        if self.header.is_none() {
            // The reason names the first column that is missing.
            Header::read(self.columns, &[])?;
        }
        Ok(None)
    }

    fn found(&mut self, ending: Ending) -> Result<Option<Found>, Problem> {
        let line = self.record.begun.take().unwrap_or_default();
        let Some(header) = &self.header else {
            let cells = self.record.cells(ending, None).map_err(|problem| whole(&problem))?;
            self.header = Some(Header::read(self.columns, &cells)?);
            return Ok(None);
        };
        let json = self.record.cells(ending, Some(header)).and_then(|cells| header.json(&cells));
        Ok(Some(Found { line, json }))
    }
}

/// How a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// With its line.
    Line,
    /// With the file, within quotes.
    Quoted,
}

impl Open {
    fn begin(&mut self, line: u64) {
        self.begun = Some(line);
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

    /// The cells, as many as the header has.
    fn cells(&self, ending: Ending, header: Option<&Header>) -> Result<Vec<&str>, Problem> {
        let refuse = |code, reason: String| Err(Problem::refused("", Invalid::new(code, reason)));
        if ending == Ending::Quoted {
            let reason = "has a quote that is not closed before the end of the file";
            return refuse("unclosed-quote", reason.to_owned());
        }
        // The line's end counts too.
        if self.bytes > LINE_BYTES_MAX + 1 {
            return Err(too_long());
        }
        let width = header.map_or(self.cells, Header::width);
        if self.is_wide {
            return refuse("number-of-fields", format!("has more than {COLUMNS_MAX} fields"));
        }
        if self.cells != width {
            let reason = format!("has {} fields, the header has {width}", self.cells);
            return refuse("number-of-fields", reason);
        }
        let mut begin = 0;
        let cell = |end: &usize| {
            let cell = self.output.get(std::mem::replace(&mut begin, *end)..*end);
            utf8(cell.unwrap_or_default())
        };
        self.ends.iter().take(self.cells).map(cell).collect()
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
