//! What an import must know of a kind of record.

use contracts::Invalid;
use deadpool_postgres::ClientWrapper;
use outbox::Tx;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_kit::Problem;
use validator::Validate;

use crate::Error;

/// A kind of record that can be imported line by line.
pub trait Collection: Send + Sync {
    /// Its topic.
    const TOPIC: &'static str;
    /// Its columns in CSV: the names of the JSON fields.
    const COLUMNS: &'static [Column];
    /// One line as it comes: the record with its names inside.
    type Body: DeserializeOwned + Validate + Send;
    /// A record that obeys its rules.
    type Record: Send + Sync;

    /// The record that a sound line describes.
    fn record(body: Self::Body) -> Result<Self::Record, Problem>;

    /// The key under which it is published.
    fn key(record: &Self::Record) -> String;

    /// How many records are written with this one, itself among them: a batch is closed where they
    /// are 1,000.
    fn weight(
        &self,
        _client: &ClientWrapper,
        _record: &Self::Record,
    ) -> impl Future<Output = Result<usize, Error>> + Send {
        std::future::ready(Ok(1))
    }

    /// Stores records of different keys, at most 1,000, and appends the changes of those that are
    /// not equal already; answers what became of each, in their order.
    ///
    /// Rows are locked in the order of their keys. A failure that blames a record (a constraint, a
    /// payload that the outbox refuses) makes the import try each record alone.
    fn store(
        &self,
        tx: &Tx<'_>,
        records: &[Self::Record],
    ) -> impl Future<Output = Result<Vec<Outcome>, Error>> + Send;
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was created or replaced.
    Stored(Reference),
    /// It was equal already, and nothing was appended.
    Unchanged(Reference),
    /// It breaks a rule that only the database could tell.
    Refused(Problem),
}

/// Whether what a record speaks of is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// It is, or the record speaks of nothing else.
    Known,
    /// Not yet: the record waits for it.
    Awaited,
}

/// A column of CSV.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub(super) name: &'static str,
    pub(super) cell: Cell,
    pub(super) presence: Presence,
}

/// How a cell becomes a JSON value; an empty one is no value, or an empty list.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// Text.
    Text,
    /// A number as it is written; what is none is taken as text, for the field's rule to refuse.
    Number,
    /// A list of texts, separated by `|`.
    List,
    /// Columns `<name>.<member>` are the members of an object, where they are not empty. Plain
    /// decimals of at most 15 digits are numbers, `true` and `false` are themselves, all else is
    /// text. No other cell may hold line ends.
    Members,
    /// Any other value.
    Value(fn(&str) -> Result<Value, Invalid>),
}

/// Whether a header must name a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

impl Column {
    /// A column that every file must have.
    pub const fn required(name: &'static str, cell: Cell) -> Self {
        Self { name, cell, presence: Presence::Required }
    }

    /// A column that a file may leave out, as if all its cells were empty.
    pub const fn optional(name: &'static str, cell: Cell) -> Self {
        Self { name, cell, presence: Presence::Optional }
    }
}
