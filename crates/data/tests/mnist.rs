//! The real MNIST of the repository, whole and broken.

use std::path::{Path, PathBuf};

use litesmith_data::{
    Augment, Batch, Fill, ImageShape, Loader, LoaderConfig, OpenOptions, Pixels, Split, SplitKind, ValidationSplit,
    open,
};

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist")
}

fn spec(folder: &Path) -> String {
    format!("mnist:{}", folder.display())
}

fn test_split() -> Split {
    let options = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
    open(&spec(&folder()), &options).unwrap().test.unwrap()
}

/// A folder with the four files, of which `name` has been replaced.
fn with_file(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in FILES {
        std::fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    std::fs::write(copy.path().join(name), bytes).unwrap();
    copy
}

fn gunzip(name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let file = std::fs::File::open(folder().join(name)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut content).unwrap();
    content
}

#[test]
fn has_sixty_and_ten_thousand_digits_with_the_known_classes() {
    let mnist = open(&spec(&folder()), &OpenOptions::default()).unwrap();
    let (train, test) = (mnist.require(SplitKind::Train).unwrap(), mnist.require(SplitKind::Test).unwrap());
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    assert_eq!(train.shape(), Some(ImageShape::new(28, 28, 1)));
    assert_eq!(mnist.classes().join(""), "0123456789");
    // The counts of the digits as published with the set.
    assert_eq!(train.class_counts(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(test.class_counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    let first: Vec<u32> = train.labels().take(10).collect();
    assert_eq!(first, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    let Pixels::U8(pixels) = train.get(0).unwrap().image.pixels().clone() else { panic!("MNIST has bytes") };
    assert_eq!(pixels.iter().map(|&p| u32::from(p)).sum::<u32>(), 27_525);
    assert!(train.get(60_000).unwrap_err().to_string().contains("index 60000"));
    assert!(mnist.require(SplitKind::Validation).unwrap_err().to_string().contains("train, test"));
}

#[test]
fn plain_and_dotted_files_give_the_same_as_gzipped() {
    let plain = tempfile::tempdir().unwrap();
    for name in [FILES[2], FILES[3]] {
        let name_plain = name.trim_end_matches(".gz").replacen("-idx", ".idx", 1);
        std::fs::write(plain.path().join(name_plain), gunzip(name)).unwrap();
    }
    let options = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
    for spec in [spec(plain.path()), format!("idx:{}", plain.path().display())] {
        let test = open(&spec, &options).unwrap().test.unwrap();
        let zipped = test_split();
        assert_eq!(test.len(), 10_000);
        for index in (0..10_000).step_by(97) {
            assert_eq!(test.get(index).unwrap(), zipped.get(index).unwrap());
        }
    }
}

#[test]
fn a_changed_file_is_named_with_both_sums_and_the_way_on() {
    use std::io::Write;
    let mut labels = gunzip(FILES[3]);
    labels[100] ^= 1;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&labels).unwrap();
    let changed = with_file(FILES[3], &encoder.finish().unwrap());
    let error = open(&spec(changed.path()), &OpenOptions::default()).unwrap_err();
    let message = error.to_string();
    for part in [FILES[3], "got SHA-256", "expected ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"] {
        assert!(message.contains(part), "{message}");
    }
    let hint = error.hint().unwrap();
    assert!(hint.contains("idx:"), "{hint}");
    let as_own = open(&format!("idx:{}", changed.path().display()), &OpenOptions::default()).unwrap();
    assert_eq!(as_own.test.unwrap().len(), 10_000);
}

#[test]
fn another_gzip_of_the_same_content_is_as_good() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&gunzip(FILES[2])).unwrap();
    let other = with_file(FILES[2], &encoder.finish().unwrap());
    let options = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
    assert_eq!(open(&spec(other.path()), &options).unwrap().test.unwrap().len(), 10_000);
}

#[test]
fn a_gzip_cut_off_anywhere_is_an_error_with_file_and_offset() {
    let whole = std::fs::read(folder().join(FILES[3])).unwrap();
    let options = OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() };
    let lengths = (0..64).chain((64..whole.len()).step_by(149)).chain(whole.len() - 12..whole.len());
    for length in lengths {
        let cut = with_file(FILES[3], &whole[..length]);
        for prefix in ["mnist", "idx"] {
            let error = open(&format!("{prefix}:{}", cut.path().display()), &options).unwrap_err();
            assert!(error.to_string().contains(FILES[3]), "{length} bytes: {error}");
            assert!(error.to_string().contains("byte"), "{length} bytes: {error}");
        }
    }
}

#[test]
fn missing_files_and_folders_say_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let error = open(&spec(empty.path()), &OpenOptions::default()).unwrap_err();
    assert!(error.to_string().contains("train-images-idx3-ubyte.gz"), "{error}");
    assert!(error.hint().unwrap().contains("mnist:DIR"));
    let error = open("mnistt", &OpenOptions::default()).unwrap_err();
    assert!(error.hint().unwrap().contains("mnist:DIR"));
}

#[test]
fn validation_splits_are_stratified_disjoint_and_repeatable() {
    let split = test_split();
    let by = |seed| split.split_validation(ValidationSplit::Fraction { fraction: 0.1, seed }).unwrap();
    let (train, validation) = by(1);
    assert_eq!((train.len(), validation.len()), (9_000, 1_000));
    for (class, (&part, &all)) in validation.class_counts().iter().zip(&split.class_counts()).enumerate() {
        assert!((part as f64 - all as f64 * 0.1).abs() <= 1.0, "class {class}: {part} of {all}");
    }
    let images = |split: &Split| (0..split.len()).map(|i| split.get(i).unwrap().image).collect::<Vec<_>>();
    assert_eq!(images(&validation), images(&by(1).1));
    assert_ne!(images(&validation), images(&by(2).1));
    let counts = |split: &Split| split.class_counts();
    let both: Vec<usize> = counts(&train).iter().zip(counts(&validation)).map(|(a, b)| a + b).collect();
    assert_eq!(both, split.class_counts());

    let (train, last) = split.split_validation(ValidationSplit::Last(1000)).unwrap();
    assert_eq!(train.len(), 9000);
    assert_eq!(last.get(0).unwrap(), split.get(9000).unwrap());
    for bad in [ValidationSplit::Last(0), ValidationSplit::Last(10_000)] {
        assert!(split.split_validation(bad).is_err());
    }
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 1e-9] {
        assert!(split.split_validation(ValidationSplit::Fraction { fraction, seed: 0 }).is_err());
    }
    let few = split.sample_stratified(100, 3);
    assert_eq!(few.len(), 100);
    assert!(few.class_counts().iter().all(|&n| (8..=12).contains(&n)), "{:?}", few.class_counts());
}

fn augmented(split: &Split, change: impl FnOnce(&mut LoaderConfig)) -> Loader {
    let augment =
        Augment { brightness: 0.1, cutout: 0.2, fill: Fill::Constant(0.0), ..Augment::preset("digits").unwrap() };
    let mut config = LoaderConfig { augment, ..LoaderConfig::training(64, 5) };
    change(&mut config);
    Loader::new(split.clone(), split.default_preprocess().unwrap(), config).unwrap()
}

fn all_batches(loader: &Loader, epoch: u64, first_step: usize) -> Vec<Batch> {
    let mut epoch = loader.epoch(epoch, first_step);
    let (mut batches, mut batch) = (Vec::new(), Batch::default());
    while let Some(step) = epoch.next_into(&mut batch).unwrap() {
        assert_eq!(step, first_step + batches.len());
        batches.push(batch.clone());
    }
    batches
}

#[test]
fn batches_depend_on_seed_epoch_and_step_alone() {
    let split = test_split().take(1000);
    let inline = augmented(&split, |c| c.prefetch = 0);
    let reference = all_batches(&inline, 3, 0);
    assert_eq!(reference.len(), 16);
    assert_eq!(reference.iter().map(Batch::len).sum::<usize>(), 1000);
    assert_eq!(reference[15].len(), 1000 - 15 * 64);
    for threads in [1, 2, 5, 40] {
        for prefetch in [1, 2, 7] {
            let loader = augmented(&split, |c| (c.threads, c.prefetch) = (threads, prefetch));
            assert_eq!(all_batches(&loader, 3, 0), reference);
            assert_eq!(all_batches(&loader, 3, 11), reference[11..], "resumed at step 11");
        }
    }
    let mut batch = Batch::default();
    inline.fill(3, 7, &mut batch).unwrap();
    assert_eq!(batch, reference[7]);
    assert!(inline.fill(3, 16, &mut batch).is_err());
    assert!(inline.fill(3, usize::MAX, &mut batch).is_err());
    assert_ne!(all_batches(&inline, 4, 0), reference, "another epoch");
    assert_ne!(all_batches(&augmented(&split, |c| c.seed = 6), 3, 0), reference, "another seed");
    let mut seen: Vec<u32> = reference.iter().flat_map(|b| b.indices.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    assert_eq!(all_batches(&augmented(&split, |c| c.drop_last = true), 3, 0), reference[..15]);
}

#[test]
fn an_epoch_given_up_early_ends_its_threads() {
    let loader = augmented(&test_split(), |c| c.threads = 3);
    let mut epoch = loader.epoch(0, 0);
    let mut batch = Batch::default();
    assert_eq!(epoch.next_into(&mut batch).unwrap(), Some(0));
    drop(epoch);
    assert!(loader.epoch(0, 10_000).next_into(&mut batch).unwrap().is_none());
}

#[test]
fn evaluation_gives_every_image_in_order_divided_by_255() {
    let split = test_split();
    let loader =
        Loader::new(split.clone(), split.default_preprocess().unwrap(), LoaderConfig::evaluation(333)).unwrap();
    let batches = all_batches(&loader, 0, 0);
    let labels: Vec<u32> = batches.iter().flat_map(|b| b.labels.clone()).collect();
    assert_eq!(labels, split.labels().collect::<Vec<_>>());
    let Pixels::U8(pixels) = split.get(334).unwrap().image.pixels().clone() else { panic!("MNIST has bytes") };
    let expected: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 255.0).collect();
    assert_eq!(batches[1].images[784..2 * 784], expected);
    assert!(!loader.is_dense() && batches[0].targets.is_empty());
}

#[test]
fn mixup_mixes_images_and_targets_by_the_same_weight() {
    let split = test_split().take(200);
    let loader = augmented(&split, |c| c.augment = Augment { mixup_alpha: 1.0, ..Augment::default() });
    assert!(loader.is_dense());
    let mut mixed = 0;
    for batch in all_batches(&loader, 0, 0) {
        assert_eq!(batch.targets.len(), batch.len() * 10);
        for (i, target) in batch.targets.chunks(10).enumerate() {
            assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(target[batch.labels[i] as usize] >= 0.5);
            mixed += u32::from(target.iter().all(|&t| t < 0.99));
            let own = split.get(batch.indices[i] as usize).unwrap();
            let Pixels::U8(pixels) = own.image.pixels() else { panic!("MNIST has bytes") };
            // What is left after taking the sample's own share out is another image: nowhere negative.
            let own_class = own.target.class() as usize;
            let partner_differs = target.iter().filter(|&&t| t > 0.0).count() == 2;
            if partner_differs {
                for (m, &p) in batch.images[i * 784..(i + 1) * 784].iter().zip(pixels) {
                    assert!(m - target[own_class] * f32::from(p) / 255.0 > -1e-5);
                }
            }
        }
    }
    assert!(mixed > 100, "{mixed} of 200 mixed");
}
