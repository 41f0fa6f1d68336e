//! Trains a network of the zoo on MNIST and prints its speed.
//!
//! `cargo run --release -p litesmith-train --example train_mnist -- [SPEC] [EPOCHS] [BATCH] [THREADS]`

use std::time::Instant;

use litesmith_data::{OpenOptions, SplitKind, ValidationSplit, open};
use litesmith_train::{EpochRecord, StepRecord, TrainConfig, TrainData, TrainObserver, TrainOptions, Trainer, zoo};

struct Printer {
    start: Instant,
    epoch: Instant,
    samples: usize,
    first_step_ms: Option<u128>,
}

impl TrainObserver for Printer {
    fn on_step(&mut self, record: &StepRecord) {
        self.first_step_ms.get_or_insert(self.start.elapsed().as_millis());
        self.samples += record.samples;
        if record.step == record.steps_per_epoch {
            let rate = self.samples as f64 / self.epoch.elapsed().as_secs_f64();
            println!("epoch {}: {rate:.0} images/s", record.epoch);
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        println!("{record:?}");
        (self.epoch, self.samples) = (Instant::now(), 0);
    }
}

fn main() -> litesmith_graph::Result<()> {
    let start = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| arguments.get(index).and_then(|a| a.parse().ok()).unwrap_or(default);
    let spec = arguments.first().map_or("mnist-cnn", String::as_str);
    let mnist = open("mnist", &OpenOptions::default())?;
    let (train, validation) = mnist.require(SplitKind::Train)?.split_validation(ValidationSplit::Last(5000))?;
    let preprocess = train.default_preprocess()?;
    let data = TrainData { train, validation: Some(validation), preprocess: preprocess.clone() };
    let graph = zoo::architecture(spec)?.graph(1)?;
    let config = TrainConfig { epochs: number(1, 1), batch: number(2, 128), seed: 1, ..TrainConfig::default() };
    let options = TrainOptions { threads: number(3, 2), ..TrainOptions::default() };
    let mut trainer = Trainer::new(&graph, config, options)?;
    let mut printer = Printer { start, epoch: Instant::now(), samples: 0, first_step_ms: None };
    let report = trainer.train(&data, &mut printer)?;
    println!("first step after {:?} ms, best epoch {:?}", printer.first_step_ms, report.best_epoch);
    let test = trainer.evaluate(mnist.require(SplitKind::Test)?, &preprocess)?;
    println!("test: {test:?}, {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
