//! Files that only their owner may read, written as a whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf, absolute},
};

/// The permissions: only the owner may read and write.
const PRIVATE_MODE: u32 = 0o600;

/// A file that takes its place only when it is complete.
#[derive(Debug)]
pub(crate) struct StagedFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl StagedFile {
    /// Creates the file under a temporary name beside its place.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        // The target of a link is replaced, not the link.
        let path = fs::canonicalize(path).or_else(|_| absolute(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{:016x}", fastrand::u64(..)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(PRIVATE_MODE);
        let file = options.open(&temporary)?;
        Ok(Self {
            path,
            temporary,
            file,
        })
    }

    /// The place.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the text, and moves the file to its place.
    pub(crate) fn save(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for StagedFile {
    /// Removes the temporary file. After it took its place there is none.
    fn drop(&mut self) {
        drop(fs::remove_file(&self.temporary));
    }
}
