//! From a spec such as `mnist` or `idx:DIR` to a data set.

use std::io::Read;
use std::path::Path;

use litesmith_graph::{Error, Result};

use crate::arrays::{CLASSES_MAX, dataset_of_arrays};
use crate::dataset::{Dataset, SplitKind};
use crate::image::ImageShape;
use crate::named::{self, FASHION_MNIST, MNIST};
use crate::{csv, files, folder, idx, npy};

/// How [`open`] opens a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// Leaves out samples that cannot be read, and lists them in [`Dataset::skipped`]; it reads all of them to find out.
    /// Otherwise the first is an error, when the data set is opened or when the sample is read.
    pub skip_bad: bool,
    /// Opens this split only.
    pub only: Option<SplitKind>,
    /// Shape of the images where the file has rows of numbers; otherwise told by their count.
    pub shape: Option<ImageShape>,
    /// Names of the classes, in the order of their indices; a label outside them is an error.
    pub classes: Option<Vec<String>>,
    /// Most bytes of one file that are held in memory (compressed files; others are read from disk as needed).
    pub memory_bytes_max: u64,
}

impl Default for OpenOptions {
    /// Nothing skipped, all splits, shapes and classes as the files say, 4 GiB a file.
    fn default() -> Self {
        Self { skip_bad: false, only: None, shape: None, classes: None, memory_bytes_max: 4 << 30 }
    }
}

impl OpenOptions {
    pub(crate) fn wants(&self, kind: SplitKind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }
}

/// Opens a data set by its spec:
///
/// | spec | what |
/// |---|---|
/// | `mnist`, `mnist:DIR` | MNIST from `data/mnist` or DIR; checksums are checked |
/// | `fashion-mnist`, `fashion-mnist:DIR` | likewise, from `data/fashion-mnist` or where Debian's package puts it |
/// | `idx:DIR`, `idx:IMAGES,LABELS[,TEST_IMAGES,TEST_LABELS]` | IDX files, plain or gzipped |
/// | `images:DIR` | image files: `DIR/train/CLASS/*` with optional `val` and `test`, or `DIR/CLASS/*` |
/// | `csv:FILE[,TEST_FILE]` | a label and pixels in each row, or a path and a label |
/// | `npy:X,Y[,X_TEST,Y_TEST]` | NumPy arrays of images and labels |
/// | `npz:FILE` | a NumPy archive with `x_train`, `y_train`, `x_test`, `y_test`, or MedMNIST's names |
/// | a path | what its content shows it to be, where that is plain |
///
/// # Errors
/// `Invalid` for a spec or options that make no sense or files that are not there; `Io`, `Malformed`, `Unsupported` and
/// `Limit`, naming file and place, for what the files hold.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Dataset> {
    if let Some(classes) = options.classes.as_ref().filter(|c| c.is_empty() || c.len() > CLASSES_MAX) {
        return Err(Error::invalid("classes", format!("got {} names, expected 1 to {CLASSES_MAX}", classes.len())));
    }
    let mut dataset = match spec.split_once(':').filter(|(_, rest)| !rest.is_empty()) {
        Some((prefix, rest)) => open_prefixed(prefix, rest, spec, options)?,
        None => None,
    };
    if dataset.is_none() {
        dataset = match spec {
            "mnist" => Some(named::open_named(&MNIST, spec, None, options)?),
            "fashion-mnist" => Some(named::open_named(&FASHION_MNIST, spec, None, options)?),
            _ => None,
        };
    }
    let mut dataset = match dataset {
        Some(dataset) => dataset,
        None => {
            let (prefix, rest) = detect(spec)?;
            let opened = open_prefixed(prefix, rest, spec, options)?;
            opened
                .ok_or_else(|| Error::invalid("data", format!("got {spec:?}, which is no data set")).with_hint(HINT))?
        }
    };
    if options.skip_bad {
        for kind in SplitKind::ALL {
            if let Some(split) = dataset.split_mut(kind) {
                let (good, skipped) = split.without_bad();
                *split = good;
                dataset.skipped.extend(skipped);
            }
        }
    }
    for kind in SplitKind::ALL {
        if let Some(split) = dataset.split(kind).filter(|split| split.is_empty()) {
            return Err(Error::invalid(split.name(), format!("the {kind} split has no samples")));
        }
    }
    if SplitKind::ALL.into_iter().all(|kind| dataset.split(kind).is_none()) {
        let what = options.only.map_or_else(|| "samples".to_string(), |kind| format!("{kind} samples"));
        return Err(Error::invalid(spec, format!("has no {what}")));
    }
    Ok(dataset)
}

const HINT: &str = "give one of: mnist, mnist:DIR, fashion-mnist, fashion-mnist:DIR, idx:DIR, idx:IMAGES,LABELS, \
                    images:DIR, csv:FILE, npz:FILE, npy:X.npy,Y.npy";

fn open_prefixed(prefix: &str, rest: &str, spec: &str, options: &OpenOptions) -> Result<Option<Dataset>> {
    let path = Path::new(rest);
    Ok(Some(match prefix {
        "mnist" => named::open_named(&MNIST, spec, Some(path), options)?,
        "fashion-mnist" => named::open_named(&FASHION_MNIST, spec, Some(path), options)?,
        "idx" => open_idx(spec, rest, options)?,
        "images" => folder::open_images(spec, path, options)?,
        "csv" => csv::open_csv(spec, rest, options)?,
        "npy" => npy::open_npy_files(spec, rest, options)?,
        "npz" => npy::open_npz(spec, path, options)?,
        _ => return Ok(None),
    }))
}

/// The prefix for a path, from what is there.
fn detect(spec: &str) -> Result<(&'static str, &str)> {
    let path = Path::new(spec);
    let unclear = |what: &str, hint: &str| Err(Error::invalid(spec, what).with_hint(hint));
    if !path.exists() {
        return unclear("is no data set, and no file or folder of that name is there", HINT);
    }
    if path.is_dir() {
        return match (named::has_idx_files(path), folder::looks_like_images(path)) {
            (true, false) => Ok(("idx", spec)),
            (false, true) => Ok(("images", spec)),
            (true, true) => unclear("has IDX files and folders of images", "say which: idx:DIR or images:DIR"),
            (false, false) => unclear("has neither MNIST's IDX files nor folders of images", HINT),
        };
    }
    let mut start = Vec::new();
    let file = files::open(path)?;
    file.take(1024).read_to_end(&mut start).map_err(|e| Error::io(path.display(), e))?;
    if start.starts_with(b"PK\x03\x04") {
        Ok(("npz", spec))
    } else if start.starts_with(b"\x93NUMPY") {
        unclear("is one array, a data set needs two", "give npy:X.npy,Y.npy")
    } else if start.starts_with(&[0, 0]) || idx::is_gzip(&start) {
        unclear("is one IDX or gzip file, a data set needs two", "give idx:IMAGES,LABELS")
    } else if !start.contains(&0) && start.contains(&b',') {
        Ok(("csv", spec))
    } else {
        unclear("is neither an npz archive nor a CSV file", HINT)
    }
}

fn open_idx(spec: &str, rest: &str, options: &OpenOptions) -> Result<Dataset> {
    let paths: Vec<&Path> = rest.split(',').map(Path::new).collect();
    let part = |kind, images, labels| named::idx_part(kind, images, labels, options).map(|part| (kind, part));
    let parts = match *paths {
        [folder] => return named::open_idx_folder(spec, folder, options),
        [images, labels] => vec![part(SplitKind::Train, images, labels)?],
        [images, labels, test_images, test_labels] => {
            vec![part(SplitKind::Train, images, labels)?, part(SplitKind::Test, test_images, test_labels)?]
        }
        _ => {
            return Err(Error::invalid("data", format!("got {} paths in {spec:?}, expected 1, 2 or 4", paths.len()))
                .with_hint("give idx:DIR, idx:IMAGES,LABELS or idx:IMAGES,LABELS,TEST_IMAGES,TEST_LABELS"));
        }
    };
    dataset_of_arrays(spec, parts, None, options)
}
