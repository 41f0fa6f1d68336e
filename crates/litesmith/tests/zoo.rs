//! The models of zoo/mnist: each is as large, and right on as many of the 10,000 test images, as its row in the table says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use litesmith::data::{OpenOptions, SplitKind, open};
use litesmith::progress::Silent;
use litesmith::{EvaluateOptions, Predictor, SessionOptions, evaluate, load_model};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// File, bytes, and right answers of each row of the table in the folder's README.
fn table() -> Vec<(String, u64, u64)> {
    let text = std::fs::read_to_string(root().join("zoo/mnist/README.md")).unwrap();
    let number = |cell: &str| cell.replace([',', ' '], "").parse::<u64>().unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| [")).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let file = cells[0].split(['[', ']']).nth(1).unwrap().to_owned();
        (file, number(cells[1]), number(cells[3]))
    });
    rows.collect()
}

#[test]
fn every_model_is_as_small_and_as_good_as_its_row_says() {
    let spec = format!("mnist:{}", root().join("data/mnist").display());
    let dataset = open(&spec, &OpenOptions::default()).unwrap();
    let split = dataset.require(SplitKind::Test).unwrap();
    assert_eq!(split.len(), 10_000);
    let rows = table();
    for (file, bytes, right) in &rows {
        let path = root().join("zoo/mnist").join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), *bytes, "{file}");
        let model = load_model(&path).unwrap().model;
        let mut predictor = Predictor::new(&model, SessionOptions::default(), split.shape()).unwrap();
        let (found, _) = evaluate(&mut predictor, None, split, &EvaluateOptions::default(), &mut Silent).unwrap();
        assert_eq!(found.finish().correct, *right, "{file}");
    }
    let named: BTreeSet<_> = rows.into_iter().map(|(file, _, _)| file).collect();
    let entries = std::fs::read_dir(root().join("zoo/mnist")).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<_> =
        entries.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".tflite")).collect();
    assert_eq!(there, named);
    assert!(!there.is_empty());
}
