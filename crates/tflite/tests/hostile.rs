//! Damaged files: an error or a model, never a panic.

use std::path::PathBuf;

use litesmith_graph::Error;
use litesmith_tflite::{Limits, WriteOptions, read, write};
use proptest::prelude::*;

fn goldens() -> Vec<(PathBuf, Vec<u8>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../testdata/tflite"].iter().collect();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "tflite"));
    assert!(files.len() >= 3);
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Reads, and writes again what could be read.
fn exercise(bytes: &[u8]) {
    if let Ok(loaded) = read(bytes, &Limits::default()) {
        // Whatever is accepted must be good enough to be written, unless the format has no place for it.
        if let Err(error) = write(&loaded.model, &WriteOptions::default()) {
            assert!(matches!(error, Error::Invalid(_) | Error::Unsupported(_)), "{error}");
        }
    }
}

#[test]
fn truncated_files() {
    for (path, bytes) in goldens() {
        for length in (0..bytes.len()).step_by(97).chain(0..64.min(bytes.len())) {
            exercise(&bytes[..length]);
        }
        let half = read(&bytes[..bytes.len() / 2], &Limits::default()).unwrap_err();
        assert!(matches!(half, Error::Malformed(_)), "{}: {half}", path.display());
    }
}

#[test]
fn flipped_bytes() {
    for (_, bytes) in goldens() {
        let mut damaged = bytes.clone();
        for at in (0..bytes.len()).step_by(97).chain(0..bytes.len().min(600)) {
            for value in [bytes[at] ^ 0xff, bytes[at] ^ 0x01, bytes[at] ^ 0x80] {
                damaged[at] = value;
                exercise(&damaged);
            }
            damaged[at] = bytes[at];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Offsets and counts are four bytes: several of them replaced at once.
    #[test]
    fn replaced_words(file in 0_usize..1000, damage in prop::collection::vec((any::<u32>(), -40_i32..40), 1..6)) {
        let goldens = goldens();
        let (_, bytes) = &goldens[file % goldens.len()];
        let mut bytes = bytes.clone();
        for (at, change) in damage {
            let at = at as usize % (bytes.len() / 4) * 4;
            let word = i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            // Small changes keep offsets inside the file; one in ten becomes enormous.
            let changed = if change % 10 == 0 { i32::MAX - change.abs() } else { word.wrapping_add(change) };
            bytes[at..at + 4].copy_from_slice(&changed.to_le_bytes());
        }
        exercise(&bytes);
    }
}

#[test]
fn what_is_no_tflite_file_says_so() {
    for bytes in [&b""[..], b"TFL3", b"PK\x03\x04 a zip file, not a model", &[0xff; 64]] {
        let error = read(bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Malformed(_)), "{error}");
    }
}

#[test]
fn limits_are_kept() {
    let (_, bytes) = goldens().into_iter().find(|(path, _)| path.ends_with("tiny-cnn-f32.tflite")).unwrap();
    for limits in [
        Limits { file_bytes: bytes.len() - 1, ..Limits::default() },
        Limits { tensors: 3, ..Limits::default() },
        Limits { nodes: 3, ..Limits::default() },
        Limits { subgraphs: 0, ..Limits::default() },
    ] {
        let error = read(&bytes, &limits).unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{error}");
        assert!(error.hint().unwrap().contains("Limits::"), "{error}");
    }
}
