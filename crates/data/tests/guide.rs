//! docs/DATA.md says what the code does.

use litesmith_data::{Augment, Fill, OpenOptions, open};

const GUIDE: &str = include_str!("../../../docs/DATA.md");

#[test]
fn every_spec_of_the_error_message_is_in_the_guide_and_is_known() {
    let error = open("no such thing", &OpenOptions::default()).unwrap_err();
    let hint = error.hint().unwrap().trim_start_matches("give one of: ").replace(".npy", "");
    let specs = hint.replace("idx:IMAGES,LABELS", "idx:IMAGES;LABELS").replace("X,Y", "X;Y");
    for spec in specs.split(", ").map(|spec| spec.replace(';', ",")) {
        assert!(GUIDE.contains(&format!("| `{spec}` |")), "the guide lacks {spec}");
        // An unknown prefix would fail as this does.
        if let Err(failed) = open(&spec, &OpenOptions::default()) {
            assert_ne!(failed.hint(), error.hint(), "{spec} is not known: {failed}");
        }
    }
}

#[test]
fn the_first_error_of_the_guide_is_what_a_gzip_cut_off_gives() {
    let mnist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(mnist.join("t10k-labels-idx1-ubyte.gz")).unwrap();
    let labels = folder.path().join("labels.gz");
    std::fs::write(&labels, &whole[..4096]).unwrap();
    let images = mnist.join("t10k-images-idx3-ubyte.gz");
    let error = open(&format!("idx:{},{}", images.display(), labels.display()), &OpenOptions::default()).unwrap_err();
    let message = error.to_string().replace(&format!("{}/", folder.path().display()), "");
    assert!(GUIDE.contains(&format!("`{message}`")), "{message}");
}

#[test]
fn every_preset_and_field_of_augmentation_is_in_the_guide() {
    for preset in Augment::PRESETS {
        assert!(GUIDE.contains(&format!("`{preset}`")), "the guide lacks {preset}");
    }
    let digits = Augment::preset("digits").unwrap();
    let said = format!(
        "`digits` (shift {}, rotate {}, scale {}, shear {})",
        digits.shift, digits.rotate_degrees, digits.scale, digits.shear_degrees
    );
    assert!(GUIDE.contains(&said), "{said}");
    let table = toml::to_string(&Augment::default()).unwrap();
    for field in table.lines().filter_map(|line| line.split_once(" = ")).map(|(field, _)| field) {
        let field = if field == "constant" { "fill" } else { field };
        assert!(GUIDE.contains(&format!("`{field}`")), "the guide lacks {field}");
    }
    let edge: Augment = toml::from_str("fill = \"edge\"\nrotate_degrees = 5").unwrap();
    assert_eq!(edge, Augment { fill: Fill::Edge, rotate_degrees: 5.0, ..Augment::default() });
    let constant: Augment = toml::from_str("fill = { constant = 0.0 }").unwrap();
    assert_eq!(constant, Augment::default());
    assert!(toml::from_str::<Augment>("rotate = 5").is_err());
}
