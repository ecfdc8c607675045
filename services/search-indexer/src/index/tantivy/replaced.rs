//! What a batch takes out of the index: every document with one of its keys that was there before.
//!
//! One question for all keys, since every segment is asked it: a segment's dictionary is opened
//! once in a commit and not once for each key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tantivy::index::SegmentId;
use tantivy::query::{
    BitSetDocSet, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{BitSet, DocId, DocSet as _, Score, SegmentReader, TERMINATED, TantivyError, Term};

/// Which batch wrote which segment, until a commit takes it in.
///
/// A segment that is added to the index is asked what to delete by batches before it too: by its
/// own, and by those that no segment was asked by yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    last: u64,
    segments: HashMap<SegmentId, u64>,
}

impl Batches {
    /// What the next batch replaces, which writes this segment if it writes one itself.
    pub(super) fn replace(&self, keys: Vec<Term>, segment: Option<SegmentId>) -> Replaced {
        let mut written = self.written();
        written.last += 1;
        let batch = written.last;
        written.segments.extend(segment.map(|segment| (segment, batch)));
        drop(written);
        Replaced { keys: keys.into(), batch, batches: self.clone() }
    }

    /// Everything written so far has been asked by all batches so far.
    pub(super) fn committed(&self) {
        self.written().segments.clear();
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The documents with these keys in every segment that no later batch, nor this one, has written.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    /// Of one field.
    keys: Arc<[Term]>,
    batch: u64,
    batches: Batches,
}

impl Query for Replaced {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Replaced {
    fn scorer(&self, reader: &SegmentReader, _: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let writer = self.batches.written().segments.get(&reader.segment_id()).copied();
        let is_older = writer.is_none_or(|writer| writer < self.batch);
        let Some(first) = self.keys.first().filter(|_| is_older) else {
            return Ok(Box::new(EmptyScorer));
        };
        let index = reader.inverted_index(first.field())?;
        let mut found = BitSet::with_max_value(reader.max_doc());
        for key in self.keys.iter() {
            let documents = index.read_postings(key, IndexRecordOption::Basic)?;
            let Some(mut documents) = documents else { continue };
            while documents.doc() != TERMINATED {
                found.insert(documents.doc());
                documents.advance();
            }
        }
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(found), 1.0)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument("no search asks this".to_owned()))
    }
}
