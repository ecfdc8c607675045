//! The index in a folder of this machine, by Tantivy.
//!
//! Every call runs on a thread for blocking work. The commit's payload holds the id that the
//! database notes; a folder without it, with damaged files or of another schema is no index.

mod document;
mod figures;
mod folder;
mod merges;
mod page;
mod question;
mod replaced;
mod schema;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use contracts::Key;
use serde::{Deserialize, Serialize};
use tantivy::directory::error::LockError;
use tantivy::indexer::{AddOperation, IndexWriterOptions, SegmentWriter, UserOperation};
use tantivy::query::EmptyQuery;
use tantivy::schema::document::TantivyDocument;
use tantivy::{
    Directory as _, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyError, Term,
};
use tracing::{info, warn};
use uuid::Uuid;

use self::folder::Folder;
use self::merges::BySize;
use self::replaced::Batches;
use self::schema::Fields;
use super::{Batch, CommitId, Error, Index, Page, Question};

/// How many words of a text the index looks for.
pub(crate) fn count_words(text: &str) -> usize {
    schema::words(text).len()
}

/// One thread writes: it keeps up with the worker on two cores, and more would make more segments.
const WRITER_THREADS: usize = 1;
/// What the writer collects before it starts a new segment; the least that Tantivy allows.
const WRITER_BYTES: usize = 15 << 20;
/// So many documents are written as a segment at once: the writer's thread keeps room for as many
/// words as a rebuild has, and to make that room and look through it costs more than they do.
const SMALL_BATCH: usize = 500;
/// The room for the words of a small batch, to begin with.
const SMALL_BYTES: usize = 1 << 20;
/// What the process may keep of the memory that it freed, twice in each of its heaps: a segment
/// takes about 15 MB for its tables, which the system would have to clear each time anew.
const KEPT_BYTES: usize = 31 << 20;
/// While one merges large segments, for seconds, the other keeps the small ones few.
const MERGE_THREADS: usize = 2;

/// The index in a folder.
#[derive(Debug, Clone)]
pub struct Tantivy {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    fields: Fields,
    writing: Mutex<Option<Writing>>,
    /// What searches see; none until there is a commit.
    reader: RwLock<Option<IndexReader>>,
}

struct Writing {
    writer: IndexWriter<TantivyDocument>,
    reader: IndexReader,
    batches: Batches,
}

/// What a commit carries.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    schema: u32,
    commit: Uuid,
}

impl Tantivy {
    /// An index in a folder of its own below `folder`, not opened yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        keep_memory();
        let shared = Shared {
            folder: folder.into().join("tantivy"),
            fields: Fields::new(),
            writing: Mutex::new(None),
            reader: RwLock::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(Error::failed("run the index on a thread"))?
    }
}

/// Has the allocator of the GNU C library keep memory: once it has freed a block of this size, it
/// gives smaller ones back to the system only when twice as much lies idle. Others take no notice.
fn keep_memory() {
    drop(std::hint::black_box(vec![0_u8; KEPT_BYTES]));
}

impl Index for Tantivy {
    async fn open(&self) -> Result<Option<CommitId>, Error> {
        self.blocking(Shared::open).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.blocking(Shared::clear).await
    }

    async fn write(&self, batch: Batch) -> Result<(), Error> {
        self.blocking(move |shared| shared.write(&batch)).await
    }

    async fn commit(&self, id: CommitId) -> Result<(), Error> {
        self.blocking(move |shared| shared.commit(id)).await
    }

    async fn search(&self, question: Question) -> Result<Page, Error> {
        self.blocking(move |shared| shared.search(&question)).await
    }

    fn documents(&self) -> u64 {
        self.shared.reader().map_or(0, |reader| reader.searcher().num_docs())
    }

    fn segments(&self) -> usize {
        self.shared.reader().map_or(0, |reader| reader.searcher().segment_readers().len())
    }
}

impl Shared {
    fn open(&self) -> Result<Option<CommitId>, Error> {
        let mut writing = self.close();
        match self.try_open() {
            Ok(Some((opened, commit))) => {
                self.publish(Some(opened.reader.clone()));
                *writing = Some(opened);
                Ok(Some(commit))
            }
            Ok(None) => Ok(None),
            // Somebody else writes here: to clear it would destroy a good index.
            Err(TantivyError::LockFailure(cause @ LockError::LockBusy, _)) => {
                Err(Error::failed("take the writer's lock of the index folder")(cause))
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the index cannot be opened");
                Ok(None)
            }
        }
    }

    fn try_open(&self) -> tantivy::Result<Option<(Writing, CommitId)>> {
        if !self.folder.join("meta.json").exists() {
            return Ok(None);
        }
        let index = tantivy::Index::open(Folder::open(&self.folder)?)?;
        let meta = index.load_metas()?;
        let payload = meta.payload.as_deref();
        let payload = payload.and_then(|text| serde_json::from_str::<Payload>(text).ok());
        let Some(payload) = payload.filter(|payload| payload.schema == schema::VERSION) else {
            info!("the index has no commit of this version of its schema");
            return Ok(None);
        };
        for file in meta.list_segment_files() {
            // Which of them a segment has depends on its documents; what it lacks fails below.
            if index.directory().exists(&file)? && !index.directory().validate_checksum(&file)? {
                warn!(file = %file.display(), "file {} of the index is damaged", file.display());
                return Ok(None);
            }
        }
        if index.schema() != self.fields.schema {
            return Ok(None);
        }
        Ok(Some((Writing::new(&index)?, CommitId(payload.commit))))
    }

    fn clear(&self) -> Result<(), Error> {
        let doing = "make the index folder anew";
        let mut writing = self.close();
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(doing)(error));
            }
            Ok(()) | Err(_) => fs::create_dir_all(&self.folder).map_err(Error::failed(doing))?,
        }
        let folder = Folder::open(&self.folder).map_err(Error::failed(doing))?;
        // A thread for each segment's store costs a small segment more than it saves.
        let settings =
            IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        let index = tantivy::Index::create(folder, self.fields.schema.clone(), settings)
            .map_err(Error::failed("create the index"))?;
        *writing = Some(Writing::new(&index).map_err(Error::failed("open the new index"))?);
        Ok(())
    }

    /// Ends the writer and whatever it merges, so that nothing touches the folder any more.
    fn close(&self) -> MutexGuard<'_, Option<Writing>> {
        self.publish(None);
        let mut writing = self.writing();
        if let Some(Err(error)) = writing.take().map(|old| old.writer.wait_merging_threads()) {
            warn!(error = &error as &dyn std::error::Error, "the index's writer had failed");
        }
        writing
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let writing = self.writing();
        let writing = writing.as_ref().ok_or(Error::Closed)?;
        let replaced = batch.documents.iter().map(|document| &document.sku);
        let term = |key: &Key| Term::from_field_text(self.fields.key, key.as_str());
        let keys = batch.gone.iter().chain(replaced).map(term).collect();
        let documents = batch.documents.iter().map(|document| self.fields.document(document));
        let written = if batch.documents.len() <= SMALL_BATCH {
            writing.write_segment(keys, documents)
        } else {
            writing.write_many(keys, documents)
        };
        written.map_err(Error::failed("add documents to the index"))
    }

    fn commit(&self, id: CommitId) -> Result<(), Error> {
        let doing = "commit the index";
        let payload = Payload { schema: schema::VERSION, commit: id.0 };
        let payload = serde_json::to_string(&payload).map_err(Error::failed(doing))?;
        let mut writing = self.writing();
        let Writing { writer, reader, batches } = writing.as_mut().ok_or(Error::Closed)?;
        let mut prepared = writer.prepare_commit().map_err(Error::failed(doing))?;
        prepared.set_payload(&payload);
        prepared.commit().map_err(Error::failed(doing))?;
        batches.committed();
        reader.reload().map_err(Error::failed("see the new commit of the index"))?;
        self.publish(Some(reader.clone()));
        Ok(())
    }

    fn search(&self, question: &Question) -> Result<Page, Error> {
        let searcher = self.reader().ok_or(Error::Closed)?.searcher();
        let query = self.fields.query(question);
        page::find(&searcher, &self.fields, query.as_ref(), question)
            .map_err(Error::failed("search the index"))
    }

    fn writing(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Option<IndexReader> {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, reader: Option<IndexReader>) {
        *self.reader.write().unwrap_or_else(PoisonError::into_inner) = reader;
    }
}

impl Writing {
    fn new(index: &tantivy::Index) -> tantivy::Result<Self> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(WRITER_THREADS)
            .memory_budget_per_thread(WRITER_BYTES)
            .num_merge_threads(MERGE_THREADS)
            .build();
        let writer = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(BySize));
        // A commit that was broken off before its description may have left files under the names
        // that the next one gives its own, which would then fail for ever.
        writer.garbage_collect_files().wait()?;
        // The next change gets the last commit's number. A merge takes changes up to that number
        // into some of its segments and not into others, which would lose a deletion; nothing is
        // lost of one that deletes nothing.
        writer.delete_query(Box::new(EmptyQuery))?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { writer, reader, batches: Batches::default() })
    }

    /// Writes a segment of these documents on this thread; the next commit takes it in.
    fn write_segment(
        &self,
        keys: Vec<Term>,
        documents: impl ExactSizeIterator<Item = TantivyDocument>,
    ) -> tantivy::Result<()> {
        let segment = self.writer.new_segment();
        let replaced = self.batches.replace(keys, Some(segment.id()));
        self.writer.delete_query(Box::new(replaced))?;
        if documents.len() == 0 {
            return Ok(());
        }
        let mut own = SegmentWriter::for_segment(SMALL_BYTES, segment.clone())?;
        for document in documents {
            // The number orders additions and deletions in segments of the writer's thread alone.
            own.add_document(AddOperation { opstamp: 0, document })?;
        }
        let count = own.max_doc();
        own.finalize()?;
        let segment = segment.with_max_doc(count);
        segment.meta().untrack_temp_docstore();
        self.writer.add_segment(segment.meta().clone())
    }

    /// Hands documents to the writer's thread, which makes segments of what it has room for.
    fn write_many(
        &self,
        keys: Vec<Term>,
        documents: impl ExactSizeIterator<Item = TantivyDocument>,
    ) -> tantivy::Result<()> {
        // What is deleted comes first, so that the new segment need not be searched for it.
        self.writer.delete_query(Box::new(self.batches.replace(keys, None)))?;
        self.writer.run(documents.map(UserOperation::Add))?;
        Ok(())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
