//! Loading and saving files: whole, bounded, atomic.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// What to do when an output file exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse to write.
    Keep,
    /// Replace it.
    Replace,
}

/// Writes `bytes` to `path` so that a reader sees the old file or the whole new one, never a part: a temporary file in
/// the same folder, flushed to disk, renamed over the name.
///
/// # Errors
/// [`Error::Invalid`] when the file exists and is to be kept, [`Error::Io`] when the system refuses.
pub fn save(path: &Path, bytes: &[u8], existing: Existing) -> Result<()> {
    let io = |error| Error::io(path.display(), error);
    check_name(path, existing)?;
    let mut file = temporary_beside(path)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    match existing {
        Existing::Replace => file.persist(path).map_err(|error| io(error.error))?,
        Existing::Keep => match file.persist_noclobber(path) {
            Ok(file) => file,
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists(path)),
            Err(error) => return Err(io(error.error)),
        },
    };
    Ok(())
}

/// Refuses early, before the work, what [`save`] would refuse after it.
///
/// # Errors
/// [`Error::Invalid`] when the file exists and is to be kept, when `path` is a folder, or when its folder is missing;
/// [`Error::Io`] when nothing can be written there.
pub fn check_absent(path: &Path, existing: Existing) -> Result<()> {
    check_name(path, existing)?;
    // Made and gone again: whether a folder can be written to, only writing tells.
    temporary_beside(path).map(drop)
}

fn check_name(path: &Path, existing: Existing) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::invalid(path.display(), format!("there is no folder {}", folder.display()))
            .with_hint(format!("make the folder {} first", folder.display())));
    }
    if path.is_dir() {
        return Err(Error::invalid(path.display(), "it is a folder").with_hint("name a file in it"));
    }
    match existing {
        Existing::Keep if path.exists() => Err(exists(path)),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".litesmith-").suffix(".tmp");
    // Temporary files are private by default; this one becomes an ordinary file, so the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Only the kind: the rest of the message names the temporary file.
    builder.tempfile_in(folder_of(path)).map_err(|error| Error::io(path.display(), error.kind().into()))
}

fn exists(path: &Path) -> Error {
    Error::invalid(path.display(), "the file exists").with_hint("pass --force to replace it")
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// [`Error::Io`] when the system refuses, [`Error::Limit`] when the file is larger.
pub fn load(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let io = |error| Error::io(path.display(), error);
    let file = std::fs::File::open(path).map_err(io)?;
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_char_device(&file.metadata().map_err(io)?.file_type()) {
        return Err(Error::invalid(path.display(), "it is a device, not a file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large; its length is not asked, for pipes have none.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::limit(path.display(), format!("the file is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The FNV-1a hash (Fowler, Noll and Vo): enough to tell one file from another by chance, not by intent.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tflite");
        save(&path, b"one", Existing::Keep).unwrap();
        let error = save(&path, b"two", Existing::Keep).unwrap_err();
        assert!(error.hint().unwrap().contains("--force"), "{error}");
        assert_eq!(load(&path, 10).unwrap(), b"one");
        #[cfg(unix)]
        assert!(load(Path::new("/dev/zero"), 1 << 40).unwrap_err().to_string().contains("a device"));
        save(&path, b"three", Existing::Replace).unwrap();
        assert_eq!(load(&path, 10).unwrap(), b"three");
        assert!(matches!(load(&path, 4), Err(Error::Limit(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = save(&folder.path().join("no/m.tflite"), b"", Existing::Keep).unwrap_err();
        assert!(error.hint().unwrap().contains("make the folder"), "{error}");
    }
}
