//! Times opening MNIST, preprocessing and augmentation: `cargo run --release -p litesmith-data --example bench_loader`.
use std::time::Instant;

use litesmith_data::{Augment, Batch, Loader, LoaderConfig, OpenOptions, SplitKind, open};

fn main() -> litesmith_graph::Result<()> {
    let start = Instant::now();
    let mnist = open("mnist", &OpenOptions::default())?;
    println!("open_mnist_ms {:.1}", start.elapsed().as_secs_f64() * 1e3);
    let train = mnist.require(SplitKind::Train)?;
    let everything = Augment { brightness: 0.1, contrast: 0.1, cutout: 0.3, ..Augment::preset("digits")? };
    for (name, augment) in [
        ("none", Augment::default()),
        ("digits", Augment::preset("digits")?),
        ("objects", Augment::preset("objects")?),
        ("digits_brightness_contrast_cutout", everything),
        ("digits_mixup", Augment { mixup_alpha: 0.2, ..Augment::preset("digits")? }),
    ] {
        let config = LoaderConfig { augment, prefetch: 0, ..LoaderConfig::training(128, 1) };
        let loader = Loader::new(train.clone(), train.default_preprocess()?, config)?;
        let mut batch = Batch::default();
        let mut epoch = loader.epoch(0, 0);
        let start = Instant::now();
        let mut images = 0;
        while epoch.next_into(&mut batch)?.is_some() {
            images += batch.len();
        }
        println!("{name}_us_per_image {:.2}", start.elapsed().as_secs_f64() * 1e6 / images as f64);
    }
    Ok(())
}
