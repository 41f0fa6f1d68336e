//! The commands on real digits, as a user runs them.

use crate::common::Workplace;

const TRAIN: &str = "train --arch mnist-cnn --data idx:digits --epochs 3 --batch-size 20 --seed 5";

fn trained() -> Workplace {
    let place = Workplace::with_digits();
    place.run(&format!("{TRAIN} -o f32.tflite -q")).ends_with(0);
    place
}

#[test]
fn from_digits_to_an_integer_model_that_reads_a_picture() {
    let place = trained();
    let eval = |model: &str| place.run(&format!("eval {model} --data idx:digits --json")).ends_with(0).json();
    let float = eval("f32.tflite")["metrics"]["accuracy"].as_f64().unwrap();
    assert!(float > 0.7, "600 digits teach more than {float}");
    for (name, options) in [
        ("float16", "--type float16"),
        ("dynamic", "--type dynamic"),
        ("int8", "--type int8 --calibrate idx:digits --samples 100"),
        ("uint8", "--type int8 --io uint8 --mean 0 --std 255 --calibrate idx:digits"),
        ("int16x8", "--type int16x8 --input-type int16 --calibrate idx:digits"),
    ] {
        place.run(&format!("quantize f32.tflite {options} -o {name}.tflite")).ends_with(0);
        let accuracy = eval(&format!("{name}.tflite"))["metrics"]["accuracy"].as_f64().unwrap();
        assert!((accuracy - float).abs() < 0.03, "{name}: {accuracy}, float {float}");
        let read = place.run(&format!("run {name}.tflite seven.bmp --json --top 2")).ends_with(0).json();
        assert_eq!(read[0]["top"][0]["label"], "7", "{name}: {read}");
        assert_eq!(read[0]["top"].as_array().unwrap().len(), 2);
    }
    let against = place.run("eval int8.tflite --data idx:digits --against f32.tflite").ends_with(0).stdout();
    assert!(against.contains("against f32.tflite\nsame prediction on"), "{against}");
    place.run("eval int8.tflite --data idx:digits --floor 100").ends_with(1);
    place.run("eval int8.tflite --data idx:digits --html report.html").ends_with(0);
    assert!(std::fs::read_to_string(place.path("report.html")).unwrap().starts_with("<!DOCTYPE html>"));
    let explained = place.run("run int8.tflite --explain").ends_with(0).stdout();
    assert!(explained.contains("conv_2d/i8/"), "{explained}");
}

#[test]
fn threads_change_no_byte_and_a_resumed_run_ends_where_the_uninterrupted_one_does() {
    let place = trained();
    place.run(&format!("{TRAIN} -o one.tflite --threads 1 -q")).ends_with(0);
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(file("f32.tflite") == file("one.tflite"), "threads matter");
    let first = TRAIN.replace("--epochs 3", "--epochs 1");
    place.run(&format!("{first} -o first.tflite --checkpoint run.ckpt -q")).ends_with(0);
    place.run(&format!("{TRAIN} -o resumed.tflite --resume run.ckpt -q --metrics m.jsonl")).ends_with(0);
    let lines = std::fs::read_to_string(place.path("m.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(file("f32.tflite") == file("resumed.tflite"), "resuming differs");
    let kept = place.run(&format!("{TRAIN} -o other.tflite --checkpoint run.ckpt -q")).ends_with(2).stderr();
    assert!(kept.contains("--resume run.ckpt"), "{kept}");
}

#[test]
fn a_model_goes_on_training() {
    let place = trained();
    let again = "train --model f32.tflite --data idx:digits --epochs 1 --learning-rate 1e-4 -o tuned.tflite --json -q";
    let report = place.run(again).ends_with(0).json();
    assert_eq!(report["history"].as_array().unwrap().len(), 1);
    let accuracy = report["history"][0]["training"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.8, "it starts from what it knows: {accuracy}");
}

#[test]
fn a_loss_that_is_not_finite_stops_with_its_place() {
    let place = Workplace::with_digits();
    let error = place
        .run("train --arch mnist-cnn --data idx:digits --optimizer sgd --learning-rate 1e30 -o m.tflite -q")
        .ends_with(2)
        .stderr();
    assert!(error.contains("epoch 1") && error.contains("hint:"), "{error}");
    assert!(!place.path("m.tflite").exists());
}

#[test]
fn arrays_go_in_and_come_out() {
    let place = trained();
    let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 28, 28), }\n";
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    array.extend(header);
    array.resize(array.len() + 2 * 784 * 4, 0);
    std::fs::write(place.path("x.npy"), array).unwrap();
    place.run("run f32.tflite --input x.npy --output-raw y.npy").ends_with(0);
    let bytes = std::fs::read(place.path("y.npy")).unwrap();
    assert!(bytes.windows(8).any(|window| window == b"(2, 10,)"), "{}", String::from_utf8_lossy(&bytes[..80]));
    place.run("run f32.tflite --input x.npy --output-raw y.npy").ends_with(2);
    place.run("run f32.tflite --input x.npy --output-raw y.npy --force --numerics reference --isa scalar").ends_with(0);
    place.run("run f32.tflite x.npy --top 1").ends_with(0);
}

#[test]
fn the_demo_writes_six_models_and_a_report() {
    let place = Workplace::with_digits();
    let ran = place.run("demo --data idx:digits --epochs 1 --out out").ends_with(0);
    assert!(ran.stdout().lines().count() == 8, "a header and six rows: {}", ran.stdout());
    assert!(!ran.stderr().contains('\r'), "no progress bar where there is no terminal");
    for name in ["f32", "f16", "dynamic", "int8", "int8-uint8io", "int16x8"] {
        assert!(place.path(&format!("out/mnist-cnn-{name}.tflite")).exists(), "{name}");
    }
    assert!(place.path("out/report.html").exists());
    place.run("demo --data idx:digits --epochs 1 --out out -q").ends_with(0);
}
