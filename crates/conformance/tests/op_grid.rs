//! Every archive of `testdata/grid` (see `oracle/grid/__init__.py`), on every instruction set of this CPU, in both modes:
//! integers must be the bytes that LiteRT computed, floats within the bound of the op.

use std::path::{Path, PathBuf};

use litesmith_conformance::{Report, grid};
use litesmith_runtime::Isa;

/// `LITESMITH_OP_GRID` names another folder, of cases with other seeds.
fn archives() -> Vec<PathBuf> {
    let folder = std::env::var_os("LITESMITH_OP_GRID")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/grid"), PathBuf::from);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zip"));
    paths.sort();
    paths
}

#[test]
fn every_case_agrees_with_litert() {
    let isas: Vec<_> = Isa::available().collect();
    let mut report = Report::default();
    for path in archives() {
        let op = path.file_stem().unwrap().to_string_lossy();
        report.merge(grid::replay(&op, &std::fs::read(&path).unwrap(), &isas));
    }
    let Report { cases, runs, failures } = report;
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 144, "only {cases} cases");
    println!("{isas:?}: {cases} cases in {runs} runs");
}
