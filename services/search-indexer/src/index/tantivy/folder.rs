//! The index's files: small ones in memory and packed together, large ones mapped, and none waited
//! for until the disk has it.
//!
//! A commit makes a dozen small files and forgets as many. Each as a file of the system costs more
//! than its content, so a commit writes one pack of all that are new. To sync them would cost 10 to
//! 200 ms on a busy disk and buy nothing: all that the index holds is in the database, whose syncs
//! it would slow down. The end of the process loses no commit, since the system has the packs. The
//! end of the machine may lose or tear some; then the commit is not the one that the database
//! noted, or a checksum fails, and the index is rebuilt.

mod pack;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tantivy::Directory;
use tantivy::directory::error::{
    DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError,
};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

/// Where Tantivy lists the files that it may delete, anew for each file that it makes.
const MANAGED: &str = ".managed.json";
/// The extension of packs.
const PACK: &str = "pack";
/// A file that grows beyond this is one of the system's.
const SMALL_BYTES_MAX: usize = 128 << 10;

/// A folder of files that are never synced.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    mapped: MmapDirectory,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    /// Tantivy's list, kept here: it says no more than the folder does when it is opened.
    managed: Vec<u8>,
    small: HashMap<PathBuf, Small>,
    /// How many files of each pack are not deleted.
    packs: BTreeMap<u64, usize>,
}

#[derive(Debug)]
struct Small {
    content: OwnedBytes,
    /// None until the next commit.
    pack: Option<u64>,
}

impl Folder {
    /// Reads what small files there are. Changes nothing: somebody else may be writing here.
    pub(super) fn open(path: &Path) -> Result<Self, OpenDirectoryError> {
        let wrap = |error| OpenDirectoryError::wrap_io_error(error, path.to_owned());
        let files = Arc::new(Mutex::new(Files::read(path).map_err(wrap)?));
        Ok(Self { path: path.to_owned(), mapped: MmapDirectory::open(path)?, files })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one pack of all small files that are in none.
    fn pack(&self) -> io::Result<()> {
        let (number, new) = {
            let files = self.files();
            let new = files.small.iter().filter(|(_, small)| small.pack.is_none());
            let new: Vec<_> =
                new.map(|(name, small)| (name.clone(), small.content.clone())).collect();
            (files.packs.last_key_value().map_or(0, |(last, _)| last + 1), new)
        };
        if new.is_empty() {
            return Ok(());
        }
        fs::write(self.pack_path(number), pack::encode(&new)?)?;
        let mut files = self.files();
        let mut count = 0;
        for (name, _) in &new {
            if let Some(small) = files.small.get_mut(name) {
                small.pack = Some(number);
                count += 1;
            }
        }
        files.packs.insert(number, count);
        Ok(())
    }

    /// Deletes the packs of which nothing is left.
    fn sweep(&self) -> io::Result<()> {
        let empty: Vec<u64> = self
            .files()
            .packs
            .extract_if(.., |_, count| *count == 0)
            .map(|(pack, _)| pack)
            .collect();
        empty.into_iter().try_for_each(|pack| fs::remove_file(self.pack_path(pack)))
    }

    fn pack_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number}.{PACK}"))
    }
}

impl Files {
    fn read(path: &Path) -> io::Result<Self> {
        let (mut files, mut names, mut packs) = (Self::default(), BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(path)? {
            let file = entry?.path();
            let number = file.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            if let Some(number) = number.filter(|_| file.extension().is_some_and(|is| is == PACK)) {
                packs.insert((number, file));
            } else {
                let name = file.file_name().map(PathBuf::from);
                names.extend(name.filter(|name| !name.to_string_lossy().starts_with('.')));
            }
        }
        for (number, pack) in packs {
            // What is torn holds nothing, and goes with the next commit.
            files.unpack(number, pack::decode(&fs::read(&pack)?).unwrap_or_default(), &names);
        }
        names.extend(files.small.keys().cloned());
        files.managed = serde_json::to_vec(&names)?;
        Ok(files)
    }

    /// Takes in the files of a pack. It may still hold what was deleted since, as long as anything
    /// else in it is needed; the name may have been given again, because a commit that was broken
    /// off took its number. Then the later pack is right, and a file of the system before all.
    fn unpack(&mut self, number: u64, packed: Vec<(PathBuf, Vec<u8>)>, mapped: &BTreeSet<PathBuf>) {
        self.packs.insert(number, 0);
        for (name, content) in packed {
            if mapped.contains(&name) {
                continue;
            }
            let small = Small { content: OwnedBytes::new(content), pack: Some(number) };
            if let Some(older) = self.small.insert(name, small) {
                self.forget(&older);
            }
            self.packs.entry(number).and_modify(|count| *count += 1);
        }
    }

    /// One file less is needed of its pack.
    fn forget(&mut self, small: &Small) {
        if let Some(count) = small.pack.and_then(|pack| self.packs.get_mut(&pack)) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Directory for Folder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        if let Some(small) = self.files().small.get(path) {
            return Ok(Arc::new(small.content.clone()));
        }
        self.mapped.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut files = self.files();
        let Some(small) = files.small.remove(path) else {
            drop(files);
            return self.mapped.delete(path);
        };
        files.forget(&small);
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files().small.contains_key(path) || self.mapped.exists(path)?)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        if self.files().small.contains_key(path) {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        let folder = self.clone();
        let content = Content::Small(Vec::new());
        Ok(WritePtr::new(Box::new(Unfinished { folder, path: path.to_owned(), content })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if path == Path::new(MANAGED) {
            return Ok(self.files().managed.clone());
        }
        self.mapped.atomic_read(path)
    }

    /// The content names files, which are packed before. Readers see the old or the new content;
    /// one thread writes each of these files.
    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if path == Path::new(MANAGED) {
            data.clone_into(&mut self.files().managed);
            return Ok(());
        }
        self.pack()?;
        let path = self.path.join(path);
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, data)?;
        fs::rename(unfinished, path)?;
        // Forgets the mappings of files that are gone, which it keeps otherwise.
        self.mapped.get_cache_info();
        self.sweep()
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

/// A file that is being written.
struct Unfinished {
    folder: Folder,
    path: PathBuf,
    content: Content,
}

enum Content {
    Small(Vec<u8>),
    /// Reaches the system when it is finished, and the disk later.
    Large(WritePtr),
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Large(file) => file.write(bytes),
            Content::Small(content) if content.len() + bytes.len() <= SMALL_BYTES_MAX => {
                content.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Content::Small(content) => {
                let opened = self.folder.mapped.open_write(&self.path);
                let mut file = opened.map_err(io::Error::other)?;
                file.write_all(content)?;
                let written = file.write(bytes);
                self.content = Content::Large(file);
                written
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.content {
            Content::Small(_) => Ok(()),
            Content::Large(file) => file.flush(),
        }
    }
}

impl TerminatingWrite for Unfinished {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.flush()?;
        if let Content::Small(content) = &mut self.content {
            let content = OwnedBytes::new(std::mem::take(content));
            let path = std::mem::take(&mut self.path);
            self.folder.files().small.insert(path, Small { content, pack: None });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const META: &str = "meta.json";

    fn write(folder: &Folder, name: &str, content: &str) {
        let mut file = folder.open_write(Path::new(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.terminate().unwrap();
    }

    fn read(folder: &Folder, name: &str) -> String {
        let file = folder.open_read(Path::new(name)).unwrap();
        String::from_utf8(file.read_bytes().unwrap().to_vec()).unwrap()
    }

    fn commit(folder: &Folder) {
        folder.atomic_write(Path::new(META), b"{}").unwrap();
    }

    /// Whichever order the system lists the packs in: each name has been given several times.
    #[test]
    fn a_name_that_was_given_again_means_its_last_content_also_after_a_start() {
        let temp = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(temp.path()).unwrap();
        let mut last = BTreeMap::new();
        for round in 0..40 {
            write(&folder, &format!("kept-{round}"), "so the pack stays");
            for name in ["a.7.del".to_owned(), format!("b.{}.del", round % 3)] {
                if folder.exists(Path::new(&name)).unwrap() {
                    folder.delete(Path::new(&name)).unwrap();
                }
                let content = format!("{name} of round {round}");
                write(&folder, &name, &content);
                last.insert(name, content);
            }
            commit(&folder);
            folder = Folder::open(temp.path()).unwrap();
            for (name, content) in &last {
                assert_eq!(&read(&folder, name), content);
            }
        }
    }

    #[test]
    fn a_large_file_is_not_hidden_by_a_small_one_that_had_its_name() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        write(&folder, "kept", "so the pack stays");
        write(&folder, "a", "small");
        commit(&folder);
        folder.delete(Path::new("a")).unwrap();
        let large = "x".repeat(SMALL_BYTES_MAX + 1);
        write(&folder, "a", &large);
        commit(&folder);
        let opened = Folder::open(temp.path()).unwrap();
        assert!(read(&opened, "a") == large, "the small file is read");
    }

    #[test]
    fn a_pack_goes_when_all_of_it_is_deleted_or_given_again() {
        let temp = tempfile::tempdir().unwrap();
        let packs = || {
            let all = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().path());
            all.filter(|file| file.extension().is_some_and(|is| is == PACK)).count()
        };
        let folder = Folder::open(temp.path()).unwrap();
        for name in ["a", "b"] {
            write(&folder, name, "first");
        }
        commit(&folder);
        folder.delete(Path::new("a")).unwrap();
        write(&folder, "a", "second");
        commit(&folder);
        assert_eq!(packs(), 2);
        let folder = Folder::open(temp.path()).unwrap();
        folder.delete(Path::new("b")).unwrap();
        commit(&folder);
        assert_eq!((packs(), read(&folder, "a")), (1, "second".to_owned()));
    }
}
