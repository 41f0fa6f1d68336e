//! Files to test with.

use std::path::{Path, PathBuf};

/// The files of `folder` and all folders in it whose name ends in `.extension`, sorted.
///
/// # Errors
/// Those of reading a folder.
pub fn files_below(folder: &Path, extension: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files_below(&path, extension)?);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    Ok(found)
}
