//! From a spec such as `mnist` or `idx:DIR` to a data set.

use std::path::Path;

use litesmith_graph::{Error, Result};

use crate::arrays::{CLASSES_MAX, dataset_of_arrays};
use crate::dataset::{Dataset, SplitKind};
use crate::image::ImageShape;
use crate::named::{self, FASHION_MNIST, MNIST};

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

/// Opens a data set by its spec:
///
/// | spec | what |
/// |---|---|
/// | `mnist`, `mnist:DIR` | MNIST from `data/mnist` or DIR; checksums are checked |
/// | `fashion-mnist`, `fashion-mnist:DIR` | likewise, from `data/fashion-mnist` or where Debian's package puts it |
/// | `idx:DIR`, `idx:IMAGES,LABELS[,TEST_IMAGES,TEST_LABELS]` | IDX files, plain or gzipped |
///
/// # Errors
/// `Invalid` for a spec or options that make no sense or files that are not there; `Io`, `Malformed`, `Unsupported` and
/// `Limit`, naming file and place, for what the files hold.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Dataset> {
    if let Some(classes) = &options.classes {
        if classes.is_empty() || classes.len() > CLASSES_MAX {
            return Err(Error::invalid("classes", format!("got {} names, expected 1 to {CLASSES_MAX}", classes.len())));
        }
    }
    let (prefix, rest) = match spec.split_once(':') {
        Some((prefix, rest)) if !rest.is_empty() => (prefix, Some(rest)),
        _ => (spec, None),
    };
    let mut dataset = match (prefix, rest) {
        ("mnist", folder) => named::open_named(&MNIST, spec, folder.map(Path::new), options)?,
        ("fashion-mnist", folder) => named::open_named(&FASHION_MNIST, spec, folder.map(Path::new), options)?,
        ("idx", Some(rest)) => open_idx(spec, rest, options)?,
        _ => return Err(Error::invalid("data", format!("got {spec:?}, which is no data set")).with_hint(HINT)),
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
    if let (Some(kind), true) = (options.only, SplitKind::ALL.into_iter().all(|kind| dataset.split(kind).is_none())) {
        return Err(Error::invalid(spec, format!("has no {kind} samples")));
    }
    Ok(dataset)
}

const HINT: &str = "give one of: mnist, mnist:DIR, idx:DIR, idx:IMAGES,LABELS";

fn open_idx(spec: &str, rest: &str, options: &OpenOptions) -> Result<Dataset> {
    let paths: Vec<&Path> = rest.split(',').map(Path::new).collect();
    let part = |kind, images, labels| named::idx_part(kind, images, labels, options).map(Some);
    match *paths {
        [folder] => named::open_idx_folder(spec, folder, options),
        [images, labels] => dataset_of_arrays(spec, part(SplitKind::Train, images, labels)?, None, None, options),
        [images, labels, test_images, test_labels] => {
            let train = part(SplitKind::Train, images, labels)?;
            dataset_of_arrays(spec, train, part(SplitKind::Test, test_images, test_labels)?, None, options)
        }
        _ => Err(Error::invalid("data", format!("got {} paths in {spec:?}, expected 1, 2 or 4", paths.len()))
            .with_hint(HINT)),
    }
}
