//! Data sets known by name: MNIST and Fashion-MNIST, with the checksums of their files.

use std::path::{Path, PathBuf};

use litesmith_graph::{Error, Result};
use sha2::{Digest, Sha256};

use crate::arrays::{ArrayPart, Table, dataset_of_arrays};
use crate::dataset::{Dataset, SplitKind};
use crate::files;
use crate::idx;
use crate::open::OpenOptions;

/// One of the four files.
pub(crate) struct KnownFile {
    /// Name without `.gz`.
    name: &'static str,
    /// SHA-256 of the gzipped file as published, in hexadecimal. Another gzip of the same content is as good.
    gzip_sha256: &'static str,
    /// SHA-256 of the content, in hexadecimal.
    content_sha256: &'static str,
}

pub(crate) struct NamedSet {
    pub(crate) name: &'static str,
    classes: [&'static str; 10],
    /// Folders looked into when none is given.
    folders: &'static [&'static str],
    /// Training images, training labels, test images, test labels.
    files: [KnownFile; 4],
    /// How to get the files.
    hint: &'static str,
}

pub(crate) const MNIST: NamedSet = NamedSet {
    name: "mnist",
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    folders: &["data/mnist"],
    files: [
        KnownFile {
            name: "train-images-idx3-ubyte",
            gzip_sha256: "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64",
            content_sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        },
        KnownFile {
            name: "train-labels-idx1-ubyte",
            gzip_sha256: "fe03b8bd7915f70bf5aa08be480aa413fbd85afcaa58b35d230d335f284fd88e",
            content_sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        },
        KnownFile {
            name: "t10k-images-idx3-ubyte",
            gzip_sha256: "5634745efa576a17e7d4cf5cd9d09123c75e6538e5114267c2d156edaf519341",
            content_sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        },
        KnownFile {
            name: "t10k-labels-idx1-ubyte",
            gzip_sha256: "ae18e77e031ccde52407f794d123116439864147d33ac992975f85dd4dc42af6",
            content_sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ],
    hint: "run from Litesmith's repository, whose data/mnist has them, or give their folder: mnist:DIR",
};

pub(crate) const FASHION_MNIST: NamedSet = NamedSet {
    name: "fashion-mnist",
    classes: ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    folders: &["data/fashion-mnist", "/usr/share/datasets/fashion-mnist"],
    files: [
        KnownFile {
            name: "train-images-idx3-ubyte",
            gzip_sha256: "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            content_sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        },
        KnownFile {
            name: "train-labels-idx1-ubyte",
            gzip_sha256: "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            content_sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        },
        KnownFile {
            name: "t10k-images-idx3-ubyte",
            gzip_sha256: "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            content_sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        },
        KnownFile {
            name: "t10k-labels-idx1-ubyte",
            gzip_sha256: "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            content_sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ],
    hint: "on Debian and Ubuntu `apt install dataset-fashion-mnist` puts them into /usr/share/datasets/fashion-mnist; \
           or fetch them from https://github.com/zalandoresearch/fashion-mnist and give their folder: fashion-mnist:DIR",
};

/// Opens a named set from `folder`, or from the first of its usual folders that is there.
pub(crate) fn open_named(set: &NamedSet, spec: &str, folder: Option<&Path>, options: &OpenOptions) -> Result<Dataset> {
    let folder = match folder {
        Some(folder) => folder.to_path_buf(),
        None => {
            let found = set.folders.iter().map(PathBuf::from).find(|folder| folder.is_dir());
            found.ok_or_else(|| {
                Error::invalid(
                    set.folders.join(" or "),
                    format!("no such folder, expected the {} files there", set.name),
                )
                .with_hint(set.hint)
            })?
        }
    };
    let load = |kind: SplitKind| -> Result<Option<ArrayPart>> {
        if !options.wants(kind) {
            return Ok(None);
        }
        let [images, labels] = match kind {
            SplitKind::Train => [&set.files[0], &set.files[1]],
            SplitKind::Test => [&set.files[2], &set.files[3]],
            SplitKind::Validation => return Ok(None),
        };
        let load = |file: &KnownFile| load_known(set, &folder, file, options);
        Ok(Some(ArrayPart { images: Some(load(images)?), labels: load(labels)? }))
    };
    // The training images take nearly all of the time; the test files are read meanwhile.
    let (train, test) = std::thread::scope(|scope| {
        let test = scope.spawn(|| load(SplitKind::Test));
        let train = load(SplitKind::Train);
        (train, test.join())
    });
    let test = test.map_err(|_| Error::invalid(spec, "the thread that reads the test files panicked"))?;
    dataset_of_arrays(spec, parts_of(train?, test?), Some(set.classes.map(String::from).to_vec()), options)
}

/// The path of `name` in `folder`: plain or `.gz`, and with a dot in place of the last hyphen but one, as some archives
/// spell it (`train-images.idx3-ubyte`).
pub(crate) fn find_idx(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    [format!("{name}.gz"), name.to_string(), format!("{dotted}.gz"), dotted]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

fn load_known(set: &NamedSet, folder: &Path, file: &KnownFile, options: &OpenOptions) -> Result<Table> {
    let Some(path) = find_idx(folder, file.name) else {
        return Err(
            Error::invalid(folder.display(), format!("has no {0} and no {0}.gz", file.name)).with_hint(set.hint)
        );
    };
    let place = path.display();
    let bytes = files::read_bounded(&path, options.memory_bytes_max)?;
    if !idx::is_gzip(&bytes) {
        drop(bytes);
        return load_plain(set, &path, file, options);
    }
    // The sum of the compressed file is the cheaper one; it runs beside the decompression.
    let (published, content) = std::thread::scope(|scope| {
        let sum = scope.spawn(|| sha256(&bytes));
        let content = idx::read_gzipped(&bytes, options.memory_bytes_max);
        (sum.join().is_ok_and(|sum| sum == file.gzip_sha256), content)
    });
    let content = content.map_err(|e| e.at(&place))?;
    if !published {
        check_sum(set, &path, file, &sha256(&content))?;
    }
    idx::table_in_memory(&path, content).map_err(|e| e.at(&place))
}

/// A plain file stays on disk; it is read once for its sum.
fn load_plain(set: &NamedSet, path: &Path, file: &KnownFile, options: &OpenOptions) -> Result<Table> {
    let table = idx::open_idx(path, options.memory_bytes_max)?;
    let mut hasher = Sha256::new();
    let mut reader = files::open(path)?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut reader, &mut chunk) {
            Ok(0) => break,
            Ok(n) => hasher.update(chunk.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io(path.display(), e)),
        }
    }
    check_sum(set, path, file, &hex(&hasher.finalize()))?;
    Ok(table)
}

fn check_sum(set: &NamedSet, path: &Path, file: &KnownFile, got: &str) -> Result<()> {
    if got == file.content_sha256 {
        return Ok(());
    }
    let expected = file.content_sha256;
    Err(Error::malformed(
        path.display(),
        format!("this is not {}'s {}: got SHA-256 {got} of its content, expected {expected}", set.name, file.name),
    )
    .with_hint(format!(
        "fetch the file again; or, if these are data of your own, open them as idx:{}, which checks no sums",
        path.parent().unwrap_or(Path::new("DIR")).display()
    )))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a folder of four IDX files with MNIST's names, without knowing what they should contain; the test files may
/// be missing.
pub(crate) fn open_idx_folder(spec: &str, folder: &Path, options: &OpenOptions) -> Result<Dataset> {
    let part = |kind: SplitKind, images: &KnownFile, labels: &KnownFile| -> Result<Option<ArrayPart>> {
        let (images, labels) = (find_idx(folder, images.name), find_idx(folder, labels.name));
        match (images, labels) {
            (Some(images), Some(labels)) => idx_part(kind, &images, &labels, options).map(Some),
            (None, None) => Ok(None),
            (Some(path), None) => {
                Err(Error::invalid(folder.display(), format!("has {}, but not its labels", path.display())))
            }
            (None, Some(path)) => {
                Err(Error::invalid(folder.display(), format!("has {}, but not its images", path.display())))
            }
        }
    };
    let [train_images, train_labels, test_images, test_labels] = &MNIST.files;
    let train = part(SplitKind::Train, train_images, train_labels)?;
    let test = part(SplitKind::Test, test_images, test_labels)?;
    if train.is_none() && test.is_none() {
        let names: Vec<&str> = MNIST.files.iter().map(|file| file.name).collect();
        return Err(Error::invalid(folder.display(), format!("has none of the files {}", names.join(", ")))
            .with_hint("or name two files: idx:IMAGES,LABELS"));
    }
    dataset_of_arrays(spec, parts_of(train, test), None, options)
}

/// Whether a folder has any of the files with MNIST's names.
pub(crate) fn has_idx_files(folder: &Path) -> bool {
    MNIST.files.iter().any(|file| find_idx(folder, file.name).is_some())
}

/// Images and labels from two IDX files; the images only where that split is wanted.
pub(crate) fn idx_part(kind: SplitKind, images: &Path, labels: &Path, options: &OpenOptions) -> Result<ArrayPart> {
    Ok(ArrayPart {
        images: options.wants(kind).then(|| idx::open_idx(images, options.memory_bytes_max)).transpose()?,
        labels: idx::open_idx(labels, options.memory_bytes_max)?,
    })
}

pub(crate) fn parts_of(train: Option<ArrayPart>, test: Option<ArrayPart>) -> Vec<(SplitKind, ArrayPart)> {
    let train = train.map(|part| (SplitKind::Train, part));
    train.into_iter().chain(test.map(|part| (SplitKind::Test, part))).collect()
}
