//! Reading ahead: lines are read and checked while those before them are stored.

use std::cmp::Ordering;

use axum::body::Bytes;
use service_kit::Problem;

use super::{
    batch::{Parsed, parse},
    collection::Collection,
    lines::{Format, Found, Lines},
    progress::{Progress, State},
    source::{Prefix, Source},
};
use crate::Error;

/// The most lines that are read at a time, and so of a batch: its keys stay locked until all of it
/// is stored.
const LINES_MAX: usize = 1_000;
/// What they may hold together, beyond which no more are read.
const BYTES_MAX: usize = 2 << 20;
/// After so many lines the storing of those before them gets its turn.
const LINES_AT_A_STRETCH: usize = 32;

/// Reads the records of a file that an earlier try has not done.
pub(super) struct Reader {
    lines: Lines,
    /// What an earlier try has done of the file, until that is passed; all of a finished one.
    mark: Option<Mark>,
    earlier: State,
    /// What has come and was not read yet.
    rest: Bytes,
    is_ended: bool,
}

/// A prefix that is done already.
#[derive(Debug)]
struct Mark {
    bytes: u64,
    digest: Vec<u8>,
}

/// Some lines of a file.
pub(super) struct Read<C: Collection> {
    pub(super) lines: Vec<Line<C>>,
    pub(super) end: End,
    bytes: usize,
}

/// A line, and the file up to its end.
pub(super) struct Line<C: Collection> {
    pub(super) parsed: Parsed<C>,
    pub(super) prefix: Prefix,
}

/// What follows the lines that were read.
pub(super) enum End {
    /// More of them, perhaps.
    More,
    /// A failure of the upload.
    Broken(Problem),
    /// Nothing; this is the whole file.
    Finished(Prefix),
    /// Nothing, and an earlier try has stored it all.
    FinishedBefore,
}

impl Reader {
    pub(super) fn new<C: Collection>(format: Format, progress: &Progress) -> Self {
        let bytes = progress.bytes.unsigned_abs();
        let is_new = progress.state == State::Open && bytes == 0;
        Self {
            lines: Lines::new(format, C::COLUMNS),
            mark: (!is_new).then(|| Mark { bytes, digest: progress.digest.clone() }),
            earlier: progress.state,
            rest: Bytes::new(),
            is_ended: false,
        }
    }

    /// Reads as much as is stored at a time; an error refuses the whole file.
    pub(super) async fn read<C: Collection>(
        &mut self,
        source: &mut Source,
    ) -> Result<Read<C>, Problem> {
        let mut read = Read { lines: Vec::new(), end: End::More, bytes: 0 };
        while !read.is_full() {
            if let Some(found) = self.next()? {
                self.add(found, &mut read)?;
                if read.lines.len() % LINES_AT_A_STRETCH == 0 {
                    tokio::task::yield_now().await;
                }
            } else if self.is_ended {
                read.end = self.end()?;
                break;
            } else {
                match source.next().await {
                    Some(Ok(mut piece)) => {
                        self.lines.done().pass_mark(&mut piece);
                        self.rest = piece;
                    }
                    Some(Err(problem)) => {
                        read.end = End::Broken(problem);
                        break;
                    }
                    None => self.is_ended = true,
                }
            }
        }
        Ok(read)
    }

    /// The next record of what has come.
    fn next(&mut self) -> Result<Option<Found>, Problem> {
        if self.is_ended {
            return self.lines.end();
        }
        loop {
            let (used, found) = self.lines.next(&self.rest)?;
            drop(self.rest.split_to(used));
            if found.is_some() || self.rest.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Adds a record to those that were read, unless an earlier try has done it.
    fn add<C: Collection>(&mut self, found: Found, read: &mut Read<C>) -> Result<(), Error> {
        if !self.was_done()? {
            let (parsed, prefix) = (parse(found), self.lines.done().clone());
            read.bytes += parsed.bytes;
            read.lines.push(Line { parsed, prefix });
        }
        Ok(())
    }

    /// Whether an earlier try has done the record that was just read; it must have read the same.
    fn was_done(&mut self) -> Result<bool, Error> {
        let Some(mark) = &self.mark else { return Ok(false) };
        let done = self.lines.done();
        match done.bytes().cmp(&mark.bytes) {
            Ordering::Less => Ok(true),
            Ordering::Equal if mark.is(done) => {
                if self.earlier == State::Open {
                    self.mark = None;
                }
                Ok(true)
            }
            Ordering::Equal | Ordering::Greater => Err(Error::KeyReused),
        }
    }

    /// What the end of the file means.
    fn end(&mut self) -> Result<End, Error> {
        let done = self.lines.done();
        match &self.mark {
            None => Ok(End::Finished(done.clone())),
            Some(mark) if self.earlier == State::Finished && mark.is(done) => {
                Ok(End::FinishedBefore)
            }
            Some(_) => Err(Error::KeyReused),
        }
    }
}

impl<C: Collection> Read<C> {
    fn is_full(&self) -> bool {
        self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX
    }
}

impl Mark {
    fn is(&self, prefix: &Prefix) -> bool {
        self.bytes == prefix.bytes() && self.digest == prefix.digest().as_bytes()
    }
}
