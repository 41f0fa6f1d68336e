//! Looking into every model of the repository, and of the folder `LITESMITH_MODELS`, whether or not it runs here.

use std::path::Path;

use litesmith::inspect_model;
use litesmith::measure::{inspection_html, inspection_json, inspection_text};
use litesmith::tflite::Limits;
use litesmith_testkit::files_below;

#[test]
fn every_model_can_be_looked_into() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let models = |folder: &Path| files_below(folder, "tflite").unwrap();
    let mut all = [models(&root.join("models")), models(&root.join("tflite"))].concat();
    let own = all.len();
    assert!(own > 10, "{own} models");
    if let Some(folder) = std::env::var_os("LITESMITH_MODELS") {
        all.extend(models(Path::new(&folder)));
        assert!(all.len() > own, "no model in the folder LITESMITH_MODELS");
    }
    for path in &all {
        let found = inspect_model(path, &Limits::default()).unwrap();
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
