//! Looks for models that make Litesmith panic, hang or take too much memory.
//!
//! ```text
//! cargo run --release -p litesmith-runtime --example fuzz -- SECONDS SEED OUT [MODEL.tflite ..]
//! ```
//!
//! Damaged copies of the models, and random graphs, in turn. Cases that panic or take longer than two seconds are written
//! to the folder OUT. To catch what allocates without bound, run it under `ulimit -v`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use litesmith_graph::Model;
use litesmith_testkit::{Random, damage, random_graph};

#[path = "../tests/common/mod.rs"]
mod common;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("SECONDS SEED OUT [MODEL.tflite ..]");
    let seconds: u64 = next().parse().expect("SECONDS is a number");
    let seed: u64 = next().parse().expect("SEED is a number");
    let out = std::path::PathBuf::from(next());
    std::fs::create_dir_all(&out).expect("OUT can be made");
    let files: Vec<_> = arguments.map(|path| std::fs::read(path).expect("the model can be read")).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    let mut found = 0;
    for case in seed.. {
        if Instant::now() > end {
            break;
        }
        let mut random = Random::new(case);
        let began = Instant::now();
        let (bytes, result) = if !files.is_empty() && case % 2 == 0 {
            let bytes = damage(&files[random.below(files.len())], &mut random);
            std::fs::write(out.join("current.tflite"), &bytes).expect("OUT can be written");
            let result = catch_unwind(AssertUnwindSafe(|| ("file", common::exercise_bytes(&bytes, case))));
            (Some(bytes), result)
        } else {
            std::fs::write(out.join("current.txt"), case.to_string()).expect("OUT can be written");
            let graph = random_graph(&mut random);
            let result = catch_unwind(AssertUnwindSafe(|| ("graph", common::exercise_graph(&graph, case))));
            let write =
                || litesmith_tflite::write(&Model::from_graph(graph), &litesmith_tflite::WriteOptions::default());
            let bytes = if result.is_err() { write().ok() } else { None };
            (bytes, result)
        };
        let slow = began.elapsed() > Duration::from_secs(2);
        if result.is_err() || slow {
            found += 1;
            println!("case {case}: {}", if slow { format!("{:?}", began.elapsed()) } else { "panic".into() });
            if let Some(bytes) = bytes {
                std::fs::write(out.join(format!("{case}.tflite")), bytes).expect("OUT can be written");
            }
        }
        if let Ok(key) = result {
            *counts.entry(key).or_default() += 1;
        }
    }
    println!("{counts:?}, {found} found");
}
