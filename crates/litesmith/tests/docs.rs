//! docs/TRAINING.md says what the code does.

use litesmith::train::arch::{Architecture, Layer};
use litesmith::train::zoo::ZOO;
use litesmith::train::{TrainConfig, zoo};

fn guide() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/TRAINING.md")).unwrap()
}

fn block(kind: &str) -> String {
    let guide = guide();
    let (_, rest) = guide.split_once(&format!("```toml {kind}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_architecture_of_the_guide_builds() {
    let graph = Architecture::from_toml(&block("arch")).unwrap().graph(1).unwrap();
    assert_eq!(graph.tensor(graph.outputs[0]).to_string(), "float32[-1,10]");
}

#[test]
fn the_defaults_of_the_guide_are_the_defaults() {
    assert_eq!(TrainConfig::from_toml(&block("config")).unwrap(), TrainConfig::default());
    let fields = |config: &TrainConfig| serde_json::to_value(config).unwrap().as_object().unwrap().len();
    let more = TrainConfig::from_toml(&block("config-more")).unwrap();
    let all = block("config").lines().take_while(|line| !line.is_empty()).count() + 3;
    assert_eq!(fields(&TrainConfig::default()), all, "a setting is missing from the guide, or one too many");
    assert_eq!(fields(&more) - fields(&TrainConfig::default()), block("config-more").lines().count());
}

#[test]
fn the_zoo_and_the_layers_of_the_guide_are_all_there_are() {
    let guide = guide();
    for entry in ZOO {
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{}` |", entry.name)));
        let row = row.unwrap_or_else(|| panic!("{} is not in the guide", entry.name));
        let parameters = zoo::architecture(entry.name).unwrap().summary().unwrap().parameters();
        assert!(row.contains(&litesmith::measure::format::count(parameters as u64)), "{row}: {parameters}");
        let sizes: Vec<_> = entry.input.iter().map(ToString::to_string).collect();
        assert!(row.contains(&sizes.join("x")), "{row}: {sizes:?}");
    }
    for layer in Layer::TYPES {
        assert!(guide.contains(&format!("`{layer}`")), "{layer} is not in the guide");
    }
}
