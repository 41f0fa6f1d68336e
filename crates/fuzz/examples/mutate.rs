//! Looks for models that make Litesmith panic, hang or take too much memory, with random damage instead of coverage, on any
//! compiler.
//!
//! ```text
//! cargo xtask fuzz [--minutes N] [--seed N] [--out DIR] [MODEL.tflite ..]
//! ```
//!
//! Damaged copies of the models (those of `fuzz/corpus` and `testdata` when none is named), put through every target, and
//! random graphs. Cases that panic or take longer than two seconds are written to the folder. To catch what allocates without
//! bound, run it under `ulimit -v`.
#![expect(clippy::expect_used, reason = "a tool for developers")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use litesmith_fuzz::{TARGETS, exercise_bytes, exercise_graph};
use litesmith_graph::Model;
use litesmith_testkit::{Random, damage, random_graph};
use litesmith_tflite::WriteOptions;

fn main() -> ExitCode {
    let (mut minutes, mut seed, mut out) = (1.0, 0_u64, PathBuf::from("target/fuzz"));
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the option has a value");
        match argument.as_str() {
            "--minutes" => minutes = value().parse().expect("--minutes is a number"),
            "--seed" => seed = value().parse().expect("--seed is a number"),
            "--out" => out = value().into(),
            path => files.push(PathBuf::from(path)),
        }
    }
    if files.is_empty() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in ["fuzz/corpus/models", "testdata/models", "testdata/tflite", "testdata/attacks"] {
            let entries = std::fs::read_dir(root.join(folder)).expect("the folder is there");
            files.extend(entries.map(|entry| entry.expect("the folder can be read").path()));
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "tflite"));
    files.sort();
    std::fs::create_dir_all(&out).expect("the folder can be made");
    let models: Vec<_> = files.iter().map(|path| std::fs::read(path).expect("the model can be read")).collect();
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut found = 0;
    for case in seed.. {
        if Instant::now() > end {
            break;
        }
        let mut random = Random::new(case);
        let began = Instant::now();
        let (bytes, result) = if !models.is_empty() && case % 3 != 0 {
            let bytes = damage(&models[random.below(models.len())], &mut random);
            std::fs::write(out.join("current.tflite"), &bytes).expect("the folder can be written");
            let result = catch_unwind(AssertUnwindSafe(|| {
                if case % 3 == 1 {
                    return format!("run: {:?}", exercise_bytes(&bytes, case));
                }
                let (name, target) = TARGETS[random.below(TARGETS.len())];
                target(&bytes);
                name.to_owned()
            }));
            (Some(bytes), result)
        } else {
            let graph = random_graph(&mut random);
            let result = catch_unwind(AssertUnwindSafe(|| format!("graph: {:?}", exercise_graph(&graph, case))));
            let write = || litesmith_tflite::write(&Model::from_graph(graph), &WriteOptions::default());
            let bytes = if result.is_err() { write().ok() } else { None };
            (bytes, result)
        };
        let slow = began.elapsed() > Duration::from_secs(2);
        if result.is_err() || slow {
            found += 1;
            println!("case {case}: {}", if slow { format!("{:?}", began.elapsed()) } else { "panic".into() });
            if let Some(bytes) = bytes {
                std::fs::write(out.join(format!("{case}.tflite")), bytes).expect("the folder can be written");
            }
        }
        if let Ok(key) = result {
            *counts.entry(key).or_default() += 1;
        }
    }
    println!("{counts:?}, {found} found");
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
