//! A batch on its way through the steps that need no database: parse, gate, transform, validate.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use contracts::calls::SnapshotRow;
use contracts::{Digest, Envelope, Key, Operation, Pn, Stream, Version};
use protocol::reader::{self, Gate, Road, Stamp, State};
use serde_json::value::RawValue;

use crate::{Change, Place, Projection};

/// What is wrong with a record that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It cannot be read.
    Unreadable,
    /// A rule refuses it.
    Invalid,
    /// It cannot be stored.
    Failing,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Invalid => "invalid",
            Self::Failing => "failing",
        }
    }
}

/// One state of one entity, arriving as a change or as a row of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Arriving<'a> {
    /// Its number, where it is a change.
    pub(crate) pn: Option<Pn>,
    pub(crate) key: &'a Key,
    pub(crate) version: Version,
    /// None when the entity is deleted.
    pub(crate) payload: Option<&'a RawValue>,
    pub(crate) digest: Option<Digest>,
    pub(crate) schema: &'a str,
}

/// A record that becomes a case.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) pn: Option<Pn>,
    pub(crate) key: Option<Key>,
    pub(crate) version: Option<Version>,
    pub(crate) kind: Kind,
    pub(crate) operation: Option<Operation>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) rule: &'static str,
    pub(crate) rule_version: String,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
}

impl Refused {
    pub(crate) fn new(record: &Arriving<'_>, kind: Kind, rule: &'static str, why: String) -> Self {
        let operation =
            if record.payload.is_some() { Operation::Upsert } else { Operation::Delete };
        Self {
            pn: record.pn,
            key: Some(record.key.clone()),
            version: Some(record.version),
            kind,
            operation: Some(operation),
            payload: record.payload.map(|payload| payload.get().as_bytes().to_vec()),
            rule,
            rule_version: record.schema.to_owned(),
            reason: why,
            attempts: 1,
        }
    }
}

/// A batch in which every readable record stands by itself.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'a> {
    pub(crate) records: Vec<Arriving<'a>>,
    pub(crate) unreadable: Vec<Refused>,
    /// When the oldest of its changes was written at the source.
    pub(crate) written_at: Option<DateTime<Utc>>,
}

impl<'a> Parsed<'a> {
    /// The numbers `first..=last` of an envelope.
    pub(crate) fn changes(envelope: &'a Envelope<'_>, first: Pn, last: Pn) -> Self {
        let mut parsed = Self::default();
        let numbers = (envelope.header.first.get()..).map(|number| Pn::ZERO.plus(number));
        for (pn, change) in numbers.zip(&envelope.changes) {
            if pn < first || pn > last {
                continue;
            }
            match change {
                Ok(change) => {
                    let payload = change.payload;
                    parsed.written_at = parsed.written_at.into_iter().chain([change.at]).min();
                    parsed.records.push(Arriving {
                        pn: Some(pn),
                        key: &change.key,
                        version: change.version,
                        payload,
                        digest: payload.map(|payload| Digest::of(payload.get().as_bytes())),
                        schema: &change.schema,
                    });
                }
                Err(unreadable) => parsed.unreadable.push(Refused {
                    pn: Some(pn),
                    key: unreadable.key.clone(),
                    version: unreadable.version,
                    kind: Kind::Unreadable,
                    operation: None,
                    payload: Some(unreadable.bytes.to_vec()),
                    rule: "envelope",
                    rule_version: "1".to_owned(),
                    reason: unreadable.reason.clone(),
                    attempts: 1,
                }),
            }
        }
        parsed
    }

    /// The rows of a page.
    pub(crate) fn rows(rows: &'a [SnapshotRow]) -> Self {
        let mut parsed = Self::default();
        for row in rows {
            let payload = row.payload.as_deref().filter(|_| !row.deleted);
            let record = Arriving {
                pn: None,
                key: &row.key,
                version: row.version,
                payload,
                digest: payload.map(|payload| Digest::of(payload.get().as_bytes())),
                schema: "",
            };
            if row.deleted || payload.is_some() {
                parsed.records.push(record);
            } else {
                let reason = "it lives and has no payload".to_owned();
                let refused = Refused::new(&record, Kind::Unreadable, "snapshot", reason);
                let operation = Some(Operation::Upsert);
                parsed.unreadable.push(Refused { operation, ..refused });
            }
        }
        parsed
    }

    /// Entities that the source does not know, as if each had been deleted.
    pub(crate) fn unknown(keys: &'a [Key]) -> Self {
        let records = keys.iter().map(|key| Arriving {
            pn: None,
            key,
            version: Version::ZERO,
            payload: None,
            digest: None,
            schema: "",
        });
        Self { records: records.collect(), ..Self::default() }
    }

    /// Its keys, sorted, each once.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        let mut keys: Vec<_> = self.records.iter().map(|record| record.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Every record a candidate, whatever is stored.
    pub(crate) fn ungated(self) -> Gated<'a> {
        let candidates = self.records.into_iter().map(|record| vec![record]).collect();
        Gated { candidates, ..Gated::default() }
    }

    /// Leaves the records that beat what is stored, by key in key order, the newest first.
    pub(crate) fn gate(
        self,
        road: Road,
        history: i64,
        stored: &BTreeMap<String, State>,
    ) -> Gated<'a> {
        let mut gated = Gated { cases: self.unreadable, ..Gated::default() };
        let named = self.records.iter().map(|record| (record.key, record.version));
        for (key, places) in reader::newest_first(named) {
            let stored = stored.get(key.as_str());
            let mut candidates: Vec<Arriving<'a>> = Vec::new();
            for record in places.into_iter().filter_map(|place| self.records.get(place)) {
                let state = record.state(history);
                let verdict = match candidates.last().map(|newer| newer.state(history)) {
                    Some(twin) if twin.stamp == state.stamp => {
                        reader::gate(Road::Change, &state, Some(&twin))
                    }
                    _ => reader::gate(road, &state, stored),
                };
                match verdict {
                    Gate::Wins => candidates.push(record.clone()),
                    Gate::Repairs => {
                        gated.repairs += 1;
                        candidates.push(record.clone());
                    }
                    Gate::Stale => gated.stale.extend(record.pn),
                    Gate::Contradicts => gated.contradict(record),
                }
            }
            if !candidates.is_empty() {
                gated.candidates.push(candidates);
            }
        }
        gated
    }
}

impl Arriving<'_> {
    fn state(&self, history: i64) -> State {
        State { stamp: Stamp { history, version: self.version }, digest: self.digest }
    }
}

/// A batch that went through the gate.
#[derive(Debug, Default)]
pub(crate) struct Gated<'a> {
    /// Of each key what may be applied, the newest first; never empty.
    pub(crate) candidates: Vec<Vec<Arriving<'a>>>,
    pub(crate) stale: Vec<Pn>,
    pub(crate) cases: Vec<Refused>,
    /// Changes of a stored version with another content; each is a case too.
    pub(crate) contradictions: u32,
    /// Rows of a page that replace a stored state of their own version.
    pub(crate) repairs: u32,
}

impl Gated<'_> {
    fn contradict(&mut self, record: &Arriving<'_>) {
        let reason = format!("version {} is stored with another content", record.version);
        self.contradictions += 1;
        self.cases.push(Refused::new(record, Kind::Invalid, "one-content-per-version", reason));
    }
}

/// The candidate of one key that is fit to be applied, and what became of the others.
pub(crate) struct Chosen<E> {
    /// It and its place among the candidates.
    pub(crate) fit: Option<(usize, Change<E>)>,
    /// Newer ones that are not fit.
    pub(crate) cases: Vec<Refused>,
}

/// Transforms and validates the candidates of one key until one is fit.
pub(crate) fn choose<P: Projection>(
    projection: &P,
    stream: Option<&Stream>,
    candidates: &[Arriving<'_>],
) -> Chosen<P::Entity> {
    let mut cases = Vec::new();
    for (index, record) in candidates.iter().enumerate() {
        match transform(projection, record) {
            Ok(entity) => {
                let place = stream.zip(record.pn);
                let place = place.map(|(stream, pn)| Place { stream: stream.clone(), pn });
                let (key, version) = (record.key.clone(), record.version);
                let change = Change { key, version, entity, place };
                return Chosen { fit: Some((index, change)), cases };
            }
            Err(refused) => cases.push(*refused),
        }
    }
    Chosen { fit: None, cases }
}

fn transform<P: Projection>(
    projection: &P,
    record: &Arriving<'_>,
) -> Result<Option<P::Entity>, Box<Refused>> {
    let Some(payload) = record.payload else { return Ok(None) };
    let refuse = |kind, rule, why| Box::new(Refused::new(record, kind, rule, why));
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let entity: P::Entity = serde_json::from_str(payload.get())
            .map_err(|error| refuse(Kind::Unreadable, "entity", error.to_string()))?;
        match projection.validate(&entity) {
            Ok(()) => Ok(Some(entity)),
            Err(reason) => Err(refuse(Kind::Invalid, "validate", reason)),
        }
    }));
    let panicked = |_| Err(refuse(Kind::Failing, "entity", "reading it panicked".to_owned()));
    tried.unwrap_or_else(panicked)
}
