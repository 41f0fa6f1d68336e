//! Image files: folders with a subfolder for each class, and lists of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use litesmith_graph::{Error, Result};

use crate::arrays::CLASSES_MAX;
use crate::dataset::{Dataset, Sample, SkippedSample, Source, Split, SplitKind, Target};
use crate::image::{ImageShape, load_image};
use crate::open::OpenOptions;

/// Names of image files end so, in any case.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];
/// Folders within a class folder, one in the other.
const DEPTH_MAX: usize = 16;

/// Image files and their classes; each is decoded when asked for.
#[derive(Debug)]
pub(crate) struct ImageFileSource {
    pub(crate) files: Vec<(PathBuf, u32)>,
}

impl Source for ImageFileSource {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> Option<ImageShape> {
        None
    }

    fn is_bytes(&self) -> bool {
        true
    }

    fn label(&self, index: usize) -> u32 {
        self.files.get(index).map_or(0, |(_, label)| *label)
    }

    fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()> {
        let (path, label) =
            self.files.get(index).ok_or_else(|| Error::invalid("image files", format!("got index {index}")))?;
        sample.image = load_image(path)?;
        sample.target = Target::Class(*label);
        Ok(())
    }
}

/// The split that a folder of that name holds.
fn split_of(name: &str) -> Option<SplitKind> {
    match name {
        "train" => Some(SplitKind::Train),
        "val" | "valid" | "validation" => Some(SplitKind::Validation),
        "test" => Some(SplitKind::Test),
        _ => None,
    }
}

/// Names of what is in a folder, folders apart from files, sorted; names that begin with a dot are left out.
fn list(folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder.display(), e))? {
        let entry = entry.map_err(|e| Error::io(folder.display(), e))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::unsupported(entry.path().display(), "the name is not UTF-8").with_hint("rename it"));
        };
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = std::fs::metadata(&path).map_err(|e| Error::io(path.display(), e))?;
        if kind.is_dir() { folders.push(name) } else { files.push(name) }
    }
    folders.sort_unstable();
    files.sort_unstable();
    Ok((folders, files))
}

/// Whether a folder looks like one of image classes: a folder in it has an image, or again a folder that has.
pub(crate) fn looks_like_images(folder: &Path) -> bool {
    let has_image = |folder: &Path| list(folder).is_ok_and(|(_, files)| files.iter().any(|name| is_image(name)));
    let Ok((folders, _)) = list(folder) else { return false };
    folders.iter().map(|name| folder.join(name)).any(|inner| {
        has_image(&inner)
            || list(&inner).is_ok_and(|(deeper, _)| deeper.iter().any(|name| has_image(&inner.join(name))))
    })
}

fn is_image(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|have| EXTENSIONS.iter().any(|e| have.eq_ignore_ascii_case(e)))
}

/// Opens `DIR/train/CLASS/*` with optional `val` and `test`, or `DIR/CLASS/*`.
pub(crate) fn open_images(spec: &str, folder: &Path, options: &OpenOptions) -> Result<Dataset> {
    let (folders, files) = list(folder)?;
    let has_train = folders.iter().any(|name| name == "train");
    let by_split = has_train || (!folders.is_empty() && folders.iter().all(|name| split_of(name).is_some()));
    let mut dataset = Dataset::empty(spec);
    let mut parts: Vec<(SplitKind, PathBuf)> = Vec::new();
    if by_split {
        for (kind, name) in folders.iter().filter_map(|name| Some((split_of(name)?, name))) {
            if parts.iter().any(|(have, _)| *have == kind) {
                return Err(Error::invalid(
                    folder.display(),
                    format!("has two folders of {kind} images, one of them {name}"),
                ));
            }
            parts.push((kind, folder.join(name)));
        }
        // The training folder says what classes there are.
        parts.sort_by_key(|(kind, _)| *kind as u8);
    } else if folders.is_empty() {
        let what = if files.is_empty() { "is an empty folder" } else { "has no folders" };
        return Err(Error::invalid(folder.display(), format!("{what}, expected one for each class"))
            .with_hint("put images into DIR/train/CLASS/ or DIR/CLASS/, or list them in a CSV file: csv:FILE"));
    } else {
        parts.push((SplitKind::Train, folder.to_path_buf()));
    }
    let mut classes: Option<Arc<[String]>> = options.classes.clone().map(Into::into);
    for (kind, part) in parts {
        let (names, _) = list(&part)?;
        if names.is_empty() {
            return Err(Error::invalid(part.display(), "has no folders, expected one for each class"));
        }
        if names.len() > CLASSES_MAX {
            return Err(Error::limit(
                part.display(),
                format!("got {} classes, the limit is {CLASSES_MAX}", names.len()),
            ));
        }
        let classes = classes.get_or_insert_with(|| names.clone().into()).clone();
        if !options.wants(kind) {
            continue;
        }
        let split_name = part.display().to_string();
        let mut files = Vec::new();
        for name in names {
            let class_folder = part.join(&name);
            let Some(class) = classes.iter().position(|have| *have == name) else {
                let have = classes.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(Error::invalid(class_folder.display(), format!("{name:?} is none of the classes: {have}"))
                    .with_hint("the folders of the training images name the classes"));
            };
            let (before, mut bad) = (files.len(), Vec::new());
            collect(&class_folder, class as u32, DEPTH_MAX, &mut files, &mut bad)?;
            if files.len() == before && bad.is_empty() {
                bad.push(Error::invalid(
                    class_folder.display(),
                    "has no images, expected .png, .jpg, .jpeg or .bmp files",
                ));
            }
            for error in bad {
                if !options.skip_bad {
                    return Err(error);
                }
                dataset.skipped.push(SkippedSample { split: split_name.clone(), error });
            }
        }
        let source = Arc::new(ImageFileSource { files });
        *dataset.split_mut(kind) = Some(Split::new(split_name, source, classes)?);
    }
    Ok(dataset)
}

/// Image files in a folder and the folders in it; `bad` are the files that are none.
fn collect(
    folder: &Path,
    class: u32,
    depth: usize,
    files: &mut Vec<(PathBuf, u32)>,
    bad: &mut Vec<Error>,
) -> Result<()> {
    let (folders, names) = list(folder)?;
    for name in names {
        let path = folder.join(&name);
        if is_image(&name) {
            files.push((path, class));
        } else {
            bad.push(
                Error::unsupported(path.display(), "is no .png, .jpg, .jpeg or .bmp file")
                    .with_hint("move it elsewhere, or leave such files out with skip-bad"),
            );
        }
    }
    for name in folders {
        let path = folder.join(&name);
        // A link to a folder could lead back up.
        let link = std::fs::symlink_metadata(&path).map_err(|e| Error::io(path.display(), e))?.is_symlink();
        if link || depth == 0 {
            return Err(Error::unsupported(path.display(), "is a link to a folder, or too many folders deep"));
        }
        collect(&path, class, depth - 1, files, bad)?;
    }
    Ok(())
}
