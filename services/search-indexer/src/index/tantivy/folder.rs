//! The index's files, written without waiting for the disk.
//!
//! A commit costs about a dozen syncs, 10 to 200 ms on a busy disk, and they would buy nothing: all
//! that the index holds is in the database, whose syncs it would slow down. The end of the process
//! loses no file, since the system has them. The end of the machine may lose or tear some; then the
//! commit is not the one that the database noted, or a checksum fails, and the index is rebuilt.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::Directory;
use tantivy::directory::error::{
    DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError,
};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

/// Where Tantivy lists the files that it may delete, anew for each file that it makes.
const MANAGED: &str = ".managed.json";

/// A folder of mapped files that are never synced.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    mapped: MmapDirectory,
    /// The list of files, in memory: it would be the most of what a commit writes, and says no more
    /// than the folder does when it is opened.
    managed: Arc<Mutex<Vec<u8>>>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, OpenDirectoryError> {
        let wrap = |error| OpenDirectoryError::wrap_io_error(error, path.to_owned());
        let managed = Arc::new(Mutex::new(managed(path).map_err(wrap)?));
        Ok(Self { path: path.to_owned(), mapped: MmapDirectory::open(path)?, managed })
    }
}

/// The names of all files, of which Tantivy deletes what its next commit does not use.
fn managed(path: &Path) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
    }
    Ok(serde_json::to_vec(&names)?)
}

impl Directory for Folder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.mapped.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.mapped.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.mapped.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file: Box<dyn TerminatingWrite + Send + Sync> =
            Box::new(Unsynced(self.mapped.open_write(path)?));
        Ok(WritePtr::new(file))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if path == Path::new(MANAGED) {
            return Ok(self.managed.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        self.mapped.atomic_read(path)
    }

    /// Readers see the old or the new content; one thread writes each of these files.
    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if path == Path::new(MANAGED) {
            data.clone_into(&mut self.managed.lock().unwrap_or_else(PoisonError::into_inner));
            return Ok(());
        }
        // Once in a commit: forgets the mappings of files that are gone, which it keeps otherwise.
        self.mapped.get_cache_info();
        let path = self.path.join(path);
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, data)?;
        fs::rename(unfinished, path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.mapped.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.mapped.watch(callback)
    }
}

/// A file that reaches the system when it is finished, and the disk later.
struct Unsynced(WritePtr);

impl Write for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for Unsynced {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.flush()
    }
}
