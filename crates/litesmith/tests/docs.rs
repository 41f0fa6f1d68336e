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
    let qat = TrainConfig::from_toml(&block("config-qat")).unwrap().qat.unwrap();
    let shown = litesmith::train::Qat {
        rules: qat.rules.clone(),
        delay_epochs: Some(5),
        learning_rate: Some(1e-4),
        ..Default::default()
    };
    assert_eq!(qat, shown, "what is shown beside those that are off by default are the defaults");
    assert_eq!(serde_json::to_value(&qat).unwrap().as_object().unwrap().len(), block("config-qat").lines().count() - 1);
    let distill = TrainConfig::from_toml(&block("config-distill")).unwrap().distill.unwrap();
    let shown = litesmith::train::Distill {
        teacher: distill.teacher.clone(),
        hints: distill.hints.clone(),
        ..Default::default()
    };
    assert_eq!(distill, shown, "what is shown are the defaults");
    let all = serde_json::to_value(&distill).unwrap().as_object().unwrap().len();
    assert_eq!(all, block("config-distill").lines().count() - 1);
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

#[test]
fn optimizers_and_losses_of_the_guide_are_those_there_are() {
    let guide = guide();
    for name in ["sgd", "adam", "adamw", "rmsprop"] {
        let config = TrainConfig::from_toml(&format!("[optimizer]\nname = \"{name}\"")).unwrap();
        let rate = config.optimizer.default_learning_rate();
        let decay = config.optimizer.default_weight_decay();
        let row = format!("| `{name}` | {rate} | {decay} | ");
        let row = guide.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row {row}"));
        let parameters = serde_json::to_value(config.optimizer).unwrap();
        for (key, value) in parameters.as_object().unwrap().iter().filter(|(key, _)| *key != "name") {
            let number = value.as_f64().map_or(value.to_string(), |number| format!("{number:?}"));
            assert!(row.contains(&format!("`{key}` {number}")), "{row}: {key} {number}");
        }
    }
    let losses = guide.split_once("| loss |").unwrap().1.split("\n\n").next().unwrap();
    let rows: Vec<_> = losses.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows.len(), 4);
    for loss in rows {
        TrainConfig::from_toml(&format!("loss = \"{loss}\"")).unwrap();
    }
}

#[test]
fn a_file_names_a_preset_of_augmentation() {
    let config = TrainConfig::from_toml("augment = \"digits\"").unwrap();
    assert_eq!(config.augment, litesmith::data::Augment::preset("digits").unwrap());
    let error = TrainConfig::from_toml("augment = \"cats\"").unwrap_err().to_string();
    assert!(error.contains("digits, objects"), "{error}");
    let error = TrainConfig::from_toml("[augment]\nshifty = 1.0").unwrap_err().to_string();
    assert!(error.contains("shifty"), "{error}");
}

#[test]
fn the_defaults_of_the_compression_guide_are_the_defaults() {
    use litesmith::compress::{ChannelPruning, Clustering, WeightPruning};
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/COMPRESSION.md")).unwrap();
    fn check<T: serde::de::DeserializeOwned + serde::Serialize + Default + PartialEq + std::fmt::Debug>(
        guide: &str,
        kind: &str,
    ) {
        let (_, rest) = guide.split_once(&format!("```toml {kind}\n")).unwrap();
        let block = rest.split_once("```").unwrap().0;
        assert_eq!(toml::from_str::<T>(block).unwrap(), T::default(), "{kind}");
        let fields = toml::to_string(&T::default()).unwrap().lines().count();
        assert_eq!(block.lines().count(), fields, "{kind}: a setting is missing from the guide, or one too many");
    }
    check::<ChannelPruning>(&guide, "channels");
    check::<WeightPruning>(&guide, "weights");
    check::<Clustering>(&guide, "clusters");
}

#[test]
fn every_key_of_a_step_is_in_the_compression_guide() {
    use litesmith::compress::{
        AdaRoundConfig, BatchNormConfig, CalibrationConfig, ChannelPruning, Clustering, EqualizationConfig,
        QuantizationConfig, WeightPruning,
    };
    fn table<T: serde::Serialize>(config: &T) -> toml::Table {
        toml::Table::try_from(config).unwrap()
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/COMPRESSION.md")).unwrap();
    let row = |name: &str| {
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        row.unwrap_or_else(|| panic!("no row of {name}")).to_owned()
    };
    for (step, keys) in [
        ("prune_channels", table(&ChannelPruning::default())),
        ("prune_weights", table(&WeightPruning { sparsity: Some(0.5), ..WeightPruning::default() })),
        ("cluster", table(&Clustering::default())),
        ("strip", table(&litesmith::recipe::StripConfig::default())),
        (
            "quantize",
            table(&QuantizationConfig {
                min_elements: Some(1),
                bias_correction: Some(true),
                ..QuantizationConfig::default()
            }),
        ),
    ] {
        let row = row(step);
        // What is a table of its own has a row of its own.
        for (key, _) in keys.iter().filter(|(_, value)| !value.is_table()) {
            assert!(row.contains(&format!("`{key}`")), "{key}: {row}");
        }
    }
    for (name, keys) in [
        ("calibration", table(&CalibrationConfig::default())),
        ("equalization", table(&EqualizationConfig::default())),
        ("adaround", table(&AdaRoundConfig::default())),
        ("batch_norm", table(&BatchNormConfig::default())),
    ] {
        let row = row(&format!("[step.{name}]"));
        for (key, value) in keys {
            // Floats of 32 bits are longer as 64.
            let shown = value.as_float().map_or(value.to_string(), |float| format!("{:?}", float as f32));
            assert!(row.contains(&format!("`{key} = {shown}`")), "{key} = {shown}: {row}");
        }
    }
}
