//! Bounded reading of files, and reading at an offset from several threads.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use litesmith_graph::{Error, Result};

/// Reads a whole file of at most `bytes_max` bytes.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let place = path.display();
    let file = open(path)?;
    let size = size_of(&file, path)?;
    let over =
        || Error::limit(place.to_string(), format!("more than {bytes_max} bytes, the limit for a file held in memory"));
    if size > bytes_max {
        return Err(over());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size as usize).map_err(|_| over())?;
    // The file may grow while it is read; the limit holds all the same.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io(place.to_string(), e))?;
    if bytes.len() as u64 > bytes_max { Err(over()) } else { Ok(bytes) }
}

/// Opens a file for reading; a folder is an error here already, not at the first read.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
    let metadata = file.metadata().map_err(|e| Error::io(path.display(), e))?;
    if metadata.is_dir() {
        return Err(Error::invalid(path.display(), "got a folder, expected a file"));
    }
    Ok(file)
}

/// Bytes in an open file.
pub(crate) fn size_of(file: &File, path: &Path) -> Result<u64> {
    Ok(file.metadata().map_err(|e| Error::io(path.display(), e))?.len())
}

/// A file that threads read at offsets of their own at the same time.
#[derive(Debug)]
pub(crate) struct SharedFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl SharedFile {
    #[cfg(unix)]
    pub(crate) fn new(file: File) -> Self {
        Self { file }
    }

    #[cfg(unix)]
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    pub(crate) fn new(file: File) -> Self {
        Self { file: std::sync::Mutex::new(file) }
    }

    #[cfg(not(unix))]
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}
