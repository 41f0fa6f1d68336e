//! `tune` with the example of a configuration file, and with files that cannot be done.

use crate::common::{Workplace, root};
use crate::pipeline::trained;

fn example() -> String {
    std::fs::read_to_string(root().join("examples/inc-mnist.yaml")).unwrap()
}

#[test]
fn the_example_reaches_its_criterion() {
    let place = trained();
    let path = root().join("examples/inc-mnist.yaml");
    let command = format!("tune --config {} --model f32.tflite --data idx:digits", path.display());
    let ran = place.run(&format!("{command} -o int8.tflite")).ends_with(0);
    let (table, talk) = (ran.stdout(), ran.stderr());
    for expected in [
        "float model",
        "* 1",
        "int8, per-channel, minmax 100",
        "the accuracy criterion is met: relative loss of at most 1",
    ] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    assert!(talk.contains("these keys have no effect:\n  model.framework:"), "{talk}");
    assert!(talk.contains("evaluating on 60 held-back training samples of idx:digits"), "{talk}");
    let accuracy = |model: &str| {
        let report = place.run(&format!("eval {model} --data idx:digits --json")).ends_with(0).json();
        report["metrics"]["accuracy"].as_f64().unwrap()
    };
    assert!((accuracy("int8.tflite") - accuracy("f32.tflite")).abs() < 0.03);
    let json = place.run(&format!("{command} -o json.tflite --json -q")).ends_with(0).json();
    assert_eq!((&json["met"], &json["ended"], &json["samples"]), (&true.into(), &"met".into(), &60.into()), "{json}");
    assert_eq!(json["trials"][json["best"].as_u64().unwrap() as usize]["config"]["scheme"], "int8");
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(file("int8.tflite") == file("json.tflite"), "the same command gives another file");

    let yaml = |name: &str, text: String| std::fs::write(place.path(name), text).unwrap();
    // The data and the model that the file itself names; and a criterion out of reach, which costs no model.
    let own = example().replace("data/mnist", "digits").replace("name: digits", "name: f32.tflite");
    let hopeless = own.replace("relative: 0.01", "relative: -0.9").replace("max_trials: 50", "max_trials: 2");
    yaml("hopeless.yaml", hopeless);
    let missed = place.run("tune --config hopeless.yaml -o missed.tflite").ends_with(1).stdout();
    assert!(missed.contains("not met") && missed.contains("max_trials ended the search"), "{missed}");
    assert!(place.path("missed.tflite").exists());

    for (from, to, expected, hint) in [
        ("tuning:", "tunning:", "tunning", "did you mean tuning?"),
        ("name: basic", "name: sigopt", "expected basic, mse, bayesian, random, exhaustive", "basic"),
        ("relative: 0.01", "relativ: 0.01", "tuning.accuracy_criterion.relativ", "did you mean relative?"),
        ("version: 1.0", "version: [1.0", "it is no YAML", ""),
        ("name: f32.tflite", "name: digits", "it names no model that is there", "--model"),
        ("root: digits", "root: nowhere", "nowhere", ""),
        ("topk: 1", "topk: 11", "expected 1 to 10", ""),
    ] {
        yaml("bad.yaml", own.replace(from, to));
        let said = place.run("tune --config bad.yaml -o bad.tflite").ends_with(2).stderr();
        assert!(said.contains(expected) && said.contains(hint), "{said}");
        assert!(!place.path("bad.tflite").exists());
    }
    yaml("qat.yaml", own.replace("post_training_static_quant", "quant_aware_training"));
    let said = place.run("tune --config qat.yaml -o qat.tflite").ends_with(0).stderr();
    assert!(said.contains("quantization.approach: tune does not train"), "{said}");
    // What is quantized already is no float model.
    let said = place.run(&format!("{} -o again.tflite", command.replace("f32", "int8"))).ends_with(2).stderr();
    assert!(said.contains("int8.tflite: op ") && said.contains("the model is quantized already"), "{said}");
}

#[test]
fn hostile_files_end_in_an_error() {
    let place = Workplace::new();
    for (text, expected) in [("[".repeat(200), "levels"), ("\u{0}".into(), "no YAML"), ("a: *a".into(), "no YAML")] {
        std::fs::write(place.path("a.yaml"), text).unwrap();
        let said = place.run("tune --config a.yaml -o a.tflite").ends_with(2).stderr();
        assert!(said.contains(expected), "{said}");
    }
}
