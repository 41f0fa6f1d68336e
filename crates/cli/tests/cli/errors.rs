//! What the tool says when it cannot do what it was asked for: place, what was got and expected, what to do.

use crate::common::{Workplace, root};
use crate::tools::model;

#[test]
fn every_command_has_help_with_an_example() {
    let place = Workplace::new();
    for command in [
        "demo",
        "train",
        "eval",
        "prune",
        "cluster",
        "quantize",
        "quantize",
        "tune",
        "run",
        "summary",
        "inspect",
        "diff",
        "debug",
        "bench",
        "completions",
        "man",
    ] {
        let help = place.run(&format!("{command} --help")).ends_with(0).stdout();
        assert!(help.contains(&format!("litesmith {command}")) && help.contains("Example"), "{help}");
    }
    assert!(place.run("--version").ends_with(0).stdout().starts_with("litesmith "));
    place.run("").ends_with(2);
    place.run("tain").ends_with(2);
}

#[test]
fn completions_and_man_pages_are_made() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.run(&format!("completions {shell}")).ends_with(0).stdout().contains("quantize"), "{shell}");
    }
    assert!(place.run("man").ends_with(0).stdout().starts_with(".ie") || place.run("man").stdout().contains(".TH"));
    place.run("man --out pages").ends_with(0);
    assert!(place.path("pages/litesmith-quantize.1").exists());
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = Workplace::with_digits();
    std::fs::write(place.path("text.tflite"), "this is no model").unwrap();
    std::fs::create_dir(place.path("folder.tflite")).unwrap();
    let model = root().join("testdata/tflite/tf-activations-f32.tflite");
    let model = model.to_str().unwrap();
    for (arguments, expected) in [
        ("run missing.tflite x.png".to_owned(), "missing.tflite"),
        ("run text.tflite x.png".to_owned(), "text.tflite"),
        ("run folder.tflite x.png".to_owned(), "folder.tflite"),
        (format!("run {model} missing.png"), "missing.png"),
        (format!("run {model} text.tflite"), "text.tflite"),
        (format!("eval {model} --data nothing:here"), "nothing"),
        (format!("eval {model} --data idx:nowhere"), "nowhere"),
        ("summary no-such-net".to_owned(), "no-such-net"),
        ("summary missing.toml".to_owned(), "missing.toml"),
        ("inspect missing.tflite".to_owned(), "missing.tflite"),
        ("inspect text.tflite".to_owned(), "text.tflite"),
        (format!("inspect {model} --html text.tflite"), "text.tflite"),
        ("train --arch mnist-cnn --data idx:digits --augment wild -o m.tflite".to_owned(), "wild"),
        ("train --arch mnist-cnn --data idx:digits --epochs 0 -o m.tflite".to_owned(), "epochs"),
        ("train --arch mnist-cnn --data idx:digits -o nowhere/m.tflite --epochs 1".to_owned(), "nowhere"),
        (format!("quantize {model} --type int8 -o m.tflite"), "--calibrate"),
        (format!("quantize {model} --type float16 --io uint8 -o m.tflite"), "uint8"),
        (format!("quantize {model} --type float16 --bias-correction -o m.tflite"), "--calibrate"),
        (format!("quantize {model} --type float16 --weights int4 -o m.tflite"), "int4 weights"),
        (format!("quantize {model} --type weight-only --keep-float nothing* -o m.tflite"), "selects no op"),
        (format!("quantize {model} --type weight-only --rule x=int9 -o m.tflite"), "int9"),
        (format!("quantize {model} --percentile 99 --calibrate idx:digits -o m.tflite"), "--calibrator percentile"),
        (format!("quantize {model} --replace-relu6 --type weight-only -o m.tflite"), "--equalize"),
        ("bench train --data idx:digits --isa neon9".to_owned(), "neon9"),
    ] {
        let ran = place.run(&arguments).ends_with(2);
        let (said, printed) = (ran.stderr(), ran.stdout());
        assert!(said.starts_with("error: ") && said.contains(expected), "litesmith {arguments}\n{said}");
        assert!(printed.is_empty(), "litesmith {arguments}\n{printed}");
        assert!(!said.contains("panicked"), "litesmith {arguments}\n{said}");
    }
    assert!(!place.path("m.tflite").exists());
}

#[test]
fn errors_are_json_when_results_are() {
    let place = Workplace::new();
    let error = place.run("summary no-such-net --json").ends_with(2).json();
    assert!(error["error"]["message"].as_str().unwrap().contains("mnist-cnn"), "{error}");
    let summary = place.run("summary mnist-cnn --json").ends_with(0).json();
    let parameters = |row: &serde_json::Value| row["parameters_trainable"].as_u64().unwrap();
    assert_eq!(summary["rows"].as_array().unwrap().iter().map(parameters).sum::<u64>(), 421_642);
}

#[test]
fn a_key_that_is_misspelt_is_told_the_nearest() {
    let place = Workplace::with_digits();
    std::fs::write(place.path("conf.toml"), "epcohs = 3\n").unwrap();
    std::fs::write(
        place.path("arch.toml"),
        "name = \"a\"\ninput = [28, 28, 1]\n[[layer]]\ntype = \"Dense\"\nunit = 3\n",
    )
    .unwrap();
    for (options, near) in [("--arch mnist-cnn --config conf.toml", "epochs"), ("--arch arch.toml", "units")] {
        let said = place.run(&format!("train {options} --data idx:digits -o m.tflite")).ends_with(2).stderr();
        assert!(said.contains(&format!("did you mean \"{near}\"?")), "{said}");
    }
}

#[test]
fn an_architecture_file_says_the_same_as_a_name() {
    let place = Workplace::new();
    std::fs::write(place.path("bad.toml"), "name = \"x\"\ninput = [28, 28, 1]\n[[layer]]\ntype = \"Conv3D\"\n")
        .unwrap();
    let error = place.run("summary bad.toml").ends_with(2).stderr();
    assert!(error.contains("bad.toml") && error.contains("Conv3D"), "{error}");
}

#[test]
fn an_existing_file_is_kept() {
    let place = Workplace::with_digits();
    std::fs::write(place.path("m.tflite"), "mine").unwrap();
    let error = place.run("train --arch mnist-cnn --data idx:digits -o m.tflite").ends_with(2).stderr();
    assert!(error.contains("m.tflite: the file exists") && error.contains("hint: pass --force"), "{error}");
    assert_eq!(std::fs::read(place.path("m.tflite")).unwrap(), b"mine");
}

#[test]
fn a_changed_mnist_is_refused() {
    let place = Workplace::with_digits();
    let error = place.run("train --arch mnist-cnn --data mnist:digits -o m.tflite").ends_with(2).stderr();
    assert!(error.contains("train-images") && error.contains("hint:"), "{error}");
}

#[test]
fn words_that_make_no_sense_are_refused_before_the_work() {
    let place = Workplace::with_digits();
    let train = "train --arch mnist-cnn --data idx:digits -o m.tflite";
    for (arguments, expected) in [
        (format!("{train} --learning-rate -1"), "learning_rate: got -1"),
        (format!("{train} --validation 1.5"), "less than 1"),
        (format!("{train} --label-smoothing 2"), "label_smoothing"),
        (format!("{train} --checkpoint nowhere/c"), "nowhere"),
        (format!("{train} --resume missing.ckpt"), "missing.ckpt"),
        (format!("{train} --resume digits/train-labels-idx1-ubyte"), "train-labels"),
        (format!("{train} --config missing.toml"), "missing.toml"),
        (format!("{train} --qat int2"), "int8, int4"),
        (format!("{train} --qat-method lsq"), "quantization-aware training"),
        (format!("{train} --qat int8 --epochs 2 --qat-delay-epochs 2"), "got 2 of 2 epochs"),
        (format!("{train} --qat int8 --qat-learning-rate 0"), "qat.learning_rate"),
        ("prune m.tflite -o n.tflite".to_owned(), "required"),
        ("prune m.tflite --structured 0.5 --sparsity 0.5 -o n.tflite".to_owned(), "cannot be used with"),
        ("prune m.tflite --structured 0.5 --begin 0.5 --data idx:d -o n.tflite".to_owned(), "cannot be used with"),
        ("prune m.tflite --sparsity 0.5 --frequency 5 -o n.tflite".to_owned(), "--data"),
        ("prune m.tflite --sparsity 0.5 --steps 4 -o n.tflite".to_owned(), "cannot be used with"),
        (
            format!(
                "quantize {} --type float16 --adaround --calibrate idx:digits -o n.tflite",
                model("digits-f32.tflite")
            ),
            "does nothing",
        ),
        (format!("prune {} --sparsity 0.5 --exclude nothing -o n.tflite", model("digits-f32.tflite")), "nothing"),
        ("prune m.tflite --sparsity 0.5 --end 1.5 --data idx:d -o n.tflite".to_owned(), "expected 0 to 1"),
        ("prune m.tflite --structured 1 -o n.tflite".to_owned(), "less than 1"),
        ("prune m.tflite --pattern 4:2 -o n.tflite".to_owned(), "2:4"),
        ("prune m.tflite --structured 0.5 --epochs 2 -o n.tflite".to_owned(), "--data"),
        ("cluster m.tflite --clusters 1 -o n.tflite".to_owned(), "--clusters"),
        (format!("{train} --teacher missing.tflite"), "missing.tflite"),
        ("eval m.tflite --data idx:digits --floor 101".to_owned(), "0 to 100"),
        ("eval m.tflite --data idx:digits --floor 0.99".to_owned(), "write 99 for 99 %"),
        ("run m.tflite a.png --top 0".to_owned(), "--top"),
        ("train --arch mnist-cnn --model m.tflite --data idx:digits -o m.tflite".to_owned(), "cannot be used with"),
    ] {
        let said = place.run(&arguments).ends_with(2).stderr();
        assert!(said.starts_with("error: ") && said.contains(expected), "litesmith {arguments}\n{said}");
    }
    std::fs::write(place.path("typo.toml"), "epochs = 1\nlearning_rat = 0.1\n").unwrap();
    let said = place.run(&format!("{train} --config typo.toml")).ends_with(2).stderr();
    assert!(said.contains("typo.toml: line 2") && said.contains("`learning_rate`"), "{said}");
    std::fs::write(place.path("preset.toml"), "augment = \"cats\"\n").unwrap();
    let said = place.run(&format!("{train} --config preset.toml")).ends_with(2).stderr();
    assert!(said.contains("preset.toml: line 1") && said.contains("digits, objects"), "{said}");
    let usage = place.run("eval --json --bogus").ends_with(2).json();
    assert!(usage["error"]["message"].as_str().unwrap().contains("--bogus"), "{usage}");
    assert!(!place.path("m.tflite").exists());
}

/// What a reader of the report of an accuracy relies on.
#[test]
fn a_report_for_machines_has_these_fields() {
    let place = Workplace::with_digits();
    place.run("train --arch lenet-5 --data idx:digits --epochs 1 -o m.tflite -q").ends_with(0);
    let eval = place.run("eval m.tflite --data idx:digits --json --top-k 3 --floor 2 -q").ends_with(0).json();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(fields(&eval), "agreement data floor_percent metrics model passed skipped_samples split");
    assert_eq!(fields(&eval["metrics"]["classes"][0]), "correct f1 name precision predicted recall support");
    assert_eq!(eval["metrics"]["confusion"].as_array().unwrap().len(), 10);
    for k in ["0", "11"] {
        let error = place.run(&format!("eval m.tflite --data idx:digits --top-k {k}")).ends_with(2).stderr();
        assert!(error.contains("expected 1 to 10"), "{error}");
    }
    let failed = place.run("eval m.tflite --data idx:digits --floor 100 --json").ends_with(1).json();
    assert_eq!(failed["passed"], false);
}
