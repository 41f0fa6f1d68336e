//! Data sets far larger than what may be held in memory. A process of its own, because its peak is looked at.
#![cfg(target_os = "linux")]

use std::io::Write;

use litesmith_data::{Batch, ImageShape, Loader, LoaderConfig, OpenOptions, Preprocess, Resize, open};

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A file of zeros after `start`, which takes no room on the disk.
fn sparse(path: &std::path::Path, start: &[u8], data_bytes: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(start).unwrap();
    file.set_len(start.len() as u64 + data_bytes).unwrap();
}

#[test]
fn four_gigabytes_of_images_are_loaded_within_a_hundred_megabytes() {
    let folder = tempfile::tempdir().unwrap();
    let (count, side) = (4096u32, 1024u32);
    let mut start = vec![0, 0, 8, 3];
    for dim in [count, side, side] {
        start.extend(dim.to_be_bytes());
    }
    let images = folder.path().join("images");
    sparse(&images, &start, u64::from(count) * 1024 * 1024);
    let labels = folder.path().join("labels");
    sparse(&labels, &[&[0, 0, 8, 1][..], &count.to_be_bytes()].concat(), count.into());

    let spec = format!("idx:{},{}", images.display(), labels.display());
    let train = open(&spec, &OpenOptions::default()).unwrap().train.unwrap();
    assert_eq!(train.len(), 4096);
    let preprocess = Preprocess { resize: Resize::Area, ..Preprocess::unit(ImageShape::new(28, 28, 1)) };
    let loader = Loader::new(train, preprocess, LoaderConfig::training(4, 0)).unwrap();
    let (mut epoch, mut batch) = (loader.epoch(0, 0), Batch::default());
    for _ in 0..8 {
        epoch.next_into(&mut batch).unwrap();
        assert_eq!(batch.images.len(), 4 * 784);
    }

    // Headers that promise more than there is: nothing may be set aside for it.
    let hostile = folder.path().join("hostile.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&hostile).unwrap(), flate2::Compression::best());
    encoder.write_all(&start).unwrap();
    encoder.write_all(&vec![0; 5 << 20]).unwrap();
    encoder.finish().unwrap();
    let error = open(&format!("idx:{},{}", hostile.display(), labels.display()), &OpenOptions::default()).unwrap_err();
    assert!(error.to_string().contains("can hold"), "{error}");

    let peak = peak_kib();
    assert!(peak < 100 * 1024, "peak of {peak} KiB");
}
