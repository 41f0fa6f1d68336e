//! Looking into every model of the repository, and of the folder `LITESMITH_MODELS`, whether or not it runs here.

use std::path::{Path, PathBuf};

use litesmith::inspect_model;
use litesmith::measure::{inspection_html, inspection_json, inspection_text};

fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            models(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "tflite") {
            found.push(path);
        }
    }
}

#[test]
fn every_model_can_be_looked_into() {
    let mut all = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    models(&root.join("models"), &mut all);
    models(&root.join("tflite"), &mut all);
    let own = all.len();
    assert!(own > 10, "{own} models");
    if let Some(folder) = std::env::var_os("LITESMITH_MODELS") {
        models(Path::new(&folder), &mut all);
        assert!(all.len() > own, "no model in the folder LITESMITH_MODELS");
    }
    for path in &all {
        let found = inspect_model(path).unwrap();
        let ops: usize = found.subgraphs.iter().map(|graph| graph.ops.len()).sum();
        assert!(ops > 0, "{}", path.display());
        let text = inspection_text(&found, true);
        let html = inspection_html(&found, "model");
        assert_eq!(html.matches("<details").count(), {
            let ends = found.subgraphs.iter().map(|graph| graph.inputs.len() + graph.outputs.len());
            ops + ends.sum::<usize>()
        });
        assert!(!text.contains("options=of kind"), "{}: options that have no name", path.display());
        let json = inspection_json(&found);
        let counted: u64 = json["operators"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
        assert_eq!(counted, ops as u64, "{}", path.display());
    }
}
