//! Whole networks, as TensorFlow's converter writes them, against what LiteRT computed for them (`testdata/models`, made by
//! `oracle/make_model_goldens.py`): byte for byte for integers, under both numerics modes, with 1, 2 and 3 threads and every
//! instruction set of this CPU.

use std::path::Path;

use litesmith_conformance::networks;
use litesmith_runtime::Isa;

fn compare(wanted: impl Fn(&str, bool) -> bool, runs_min: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    let isas: Vec<_> = Isa::available().collect();
    let report = networks::replay(&|name| std::fs::read(folder.join(name)).ok(), wanted, &[1, 2, 3], &isas).unwrap();
    assert!(report.runs >= runs_min, "only {} comparisons were made", report.runs);
    assert!(report.failures.is_empty(), "\n{}", report.failures.join("\n"));
    println!("{isas:?}: {} networks in {} runs", report.cases, report.runs);
}

#[test]
fn the_reference_network_computes_what_litert_computes() {
    compare(|name, _| name.starts_with("digits"), 24);
}

#[test]
fn float_and_dynamic_networks_compute_what_litert_computes() {
    compare(|name, exact| !name.starts_with("digits") && !exact, 24);
}

#[test]
fn integer_networks_compute_what_litert_computes() {
    compare(|name, exact| !name.starts_with("digits") && exact, 20);
}
