//! The world's models: those under the folder that `LITESMITH_MODELS` names, when it is set.

use std::path::{Path, PathBuf};

use litesmith_graph::Error;
use litesmith_tflite::{Limits, WriteOptions, read, write};

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "tflite") {
            files.push(path);
        }
    }
}

#[test]
fn every_model_reads_and_survives_writing_or_names_its_unknown_ops() {
    let Some(folder) = std::env::var_os("LITESMITH_MODELS") else {
        return;
    };
    let mut files = Vec::new();
    find(Path::new(&folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no .tflite file under {}", Path::new(&folder).display());
    let mut readable = 0;
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let loaded = match read(&bytes, &Limits::default()) {
            Ok(loaded) => loaded,
            Err(Error::Unsupported(report)) => {
                assert!(report.message.contains("ops that are not implemented: "), "{}: {report:?}", file.display());
                continue;
            }
            Err(error) => panic!("{}: {error}", file.display()),
        };
        readable += 1;
        let written = write(&loaded.model, &WriteOptions::default()).unwrap();
        let again = read(&written, &Limits::default()).unwrap();
        assert_eq!(again.model, loaded.model, "{}", file.display());
        assert_eq!(again.warnings, Vec::<String>::new(), "{}", file.display());
        assert_eq!(write(&again.model, &WriteOptions::default()).unwrap(), written, "{}", file.display());
    }
    assert!(readable > 0);
}
