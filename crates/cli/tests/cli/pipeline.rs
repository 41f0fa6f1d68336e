//! The commands on real digits, as a user runs them.

use crate::common::{Workplace, root};

const TRAIN: &str = "train --arch mnist-cnn --data idx:digits --epochs 3 --batch-size 20 --seed 5";

pub(crate) fn trained() -> Workplace {
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
        ("stripped", "--type int8 --io int8 --calibrate idx:digits --strip"),
        ("int16x8", "--type int16x8 --input-type int16 --calibrate idx:digits"),
        ("weight-only", "--type weight-only --weights int4"),
        ("adaround", "--weights int4 --adaround --adaround-iterations 20 --bn-reestimation --calibrate idx:digits"),
        ("mixed", "--keep-float node:0 --rule op:FULLY_CONNECTED=w4 --calibrator kl --calibrate idx:digits"),
        ("equalized", "--granularity per-tensor --equalize --bias-correction --calibrator mse --calibrate idx:digits"),
        ("percentile", "--calibrator percentile --percentile 99.9 --calibrate idx:digits --samples 50"),
    ] {
        place.run(&format!("quantize f32.tflite {options} -o {name}.tflite")).ends_with(0);
        let accuracy = eval(&format!("{name}.tflite"))["metrics"]["accuracy"].as_f64().unwrap();
        assert!((accuracy - float).abs() < 0.03, "{name}: {accuracy}, float {float}");
        let read = place.run(&format!("run {name}.tflite seven.bmp --json --top 2")).ends_with(0).json();
        assert_eq!(read[0]["top"][0]["label"], "7", "{name}: {read}");
        assert_eq!(read[0]["top"].as_array().unwrap().len(), 2);
    }
    let size = |name: &str| std::fs::metadata(place.path(&format!("{name}.tflite"))).unwrap().len();
    assert!(size("adaround") * 100 < size("int8") * 53, "{} {}", size("adaround"), size("int8"));
    assert!(size("mixed") * 100 < size("int8") * 55, "{} {}", size("mixed"), size("int8"));
    let report = place
        .run("quantize f32.tflite --weights int4 --equalize --adaround --adaround-iterations 5 --calibrate idx:digits --json -o o.tflite")
        .ends_with(0)
        .json();
    assert_eq!(report["equalization"]["pairs"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["adaround"].as_array().unwrap().len(), 4, "{report}");
    let against = place.run("eval int8.tflite --data idx:digits --against f32.tflite").ends_with(0).stdout();
    assert!(against.contains("against f32.tflite\nsame prediction on"), "{against}");
    place.run("eval int8.tflite --data idx:digits --floor 100").ends_with(1);
    place.run("eval int8.tflite --data idx:digits --html report.html").ends_with(0);
    assert!(std::fs::read_to_string(place.path("report.html")).unwrap().starts_with("<!DOCTYPE html>"));
    let explained = place.run("run int8.tflite --explain").ends_with(0).stdout();
    assert!(explained.contains("conv_2d/i8/"), "{explained}");
}

#[test]
fn debug_names_the_layer_that_breaks_a_model_and_its_commands_can_be_pasted() {
    let place = trained();
    let coarse = "quantize f32.tflite --calibrate idx:digits --rule dense=w4,per-tensor -o int8.tflite";
    place.run(coarse).ends_with(0);
    let debug = |model: &str| format!("debug {model} --against f32.tflite --data idx:digits --samples 30");
    let json = place.run(&format!("{} --json --html page.html -q", debug("int8.tflite"))).ends_with(0).json();
    let report = &json["report"];
    let worst = &report["layers"][0];
    assert_eq!((&worst["name"], &worst["cause"]), (&"dense".into(), &"weights".into()), "{worst}");
    assert!(json["verdict"].as_str().unwrap().starts_with("FULLY_CONNECTED \"dense\" breaks most"), "{json}");
    assert!(report["accuracy"]["float"].as_f64() > Some(0.7), "{report}");
    let kept: Vec<_> = report["kept_float"].as_array().unwrap().iter().map(|kept| &kept["name"]).collect();
    assert_eq!(kept, [&serde_json::Value::Null, &"dense".into()]);
    let suggestions = report["suggestions"].as_array().unwrap();
    assert_eq!(suggestions.len(), 2, "{suggestions:?}");
    for (suggestion, part) in suggestions.iter().zip(["--keep-float dense", "dense=w8,per-channel"]) {
        let command = suggestion["command"].as_str().unwrap().strip_prefix("litesmith ").unwrap().replace('\'', "");
        assert!(command.contains(part), "{command}");
        place.run(&format!("{command} --force")).ends_with(0);
        let better = place.run(&format!("{} --json", debug("int8-mixed.tflite"))).ends_with(0).json();
        let layers = better["report"]["layers"].as_array().unwrap();
        assert!(layers.iter().all(|layer| layer["stands_out"] == false), "{command}: {better}");
        // The recipe makes the same model.
        std::fs::write(place.path("mixed.toml"), suggestion["recipe"].as_str().unwrap()).unwrap();
        place.run("compress f32.tflite --recipe mixed.toml -o by-recipe.tflite --force").ends_with(0);
        let (by_command, by_recipe) = (place.path("int8-mixed.tflite"), place.path("by-recipe.tflite"));
        assert!(std::fs::read(by_command).unwrap() == std::fs::read(by_recipe).unwrap(), "{suggestion}");
    }
    // Where keeping the layer float was measured not to help, it is not suggested.
    place.run("quantize f32.tflite --calibrate idx:digits --rule conv2d=w4,per-tensor -o first.tflite -q").ends_with(0);
    let text = place.run(&debug("first.tflite")).ends_with(0).stdout();
    assert!(text.contains("CONV_2D \"conv2d\" breaks most") && text.contains("none of the layers"), "{text}");
    assert!(!text.contains("--keep-float") && !text.contains("int16x8"), "{text}");
    // Weights that were scaled are others: what their layers add is not known, and none is accused.
    place.run("quantize f32.tflite --calibrate idx:digits --equalize -o equal.tflite").ends_with(0);
    let equal = place.run(&debug("equal.tflite")).ends_with(0).stdout();
    assert!(equal.contains("not those of f32.tflite rounded") && !equal.contains("breaks most"), "{equal}");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("class=\"edge\""), "{}", page.len());
    let text = place.run(&debug("int8.tflite")).ends_with(0).stdout();
    assert!(text.contains("own dB") && text.contains("  litesmith quantize f32.tflite --type int8"), "{text}");

    std::fs::write(place.path("points.csv"), "label,a,b\n0,1,2\n1,3,4\n").unwrap();
    for (arguments, expected) in [
        ("debug f32.tflite --against int8.tflite --data idx:digits".to_owned(), "the float32 model that it was made"),
        ("debug f32.tflite --against f32.tflite --data idx:digits".to_owned(), "nothing in it is quantized"),
        ("debug int8.tflite --against f32.tflite --data csv:points.csv".to_owned(), "points.csv"),
        ("debug int8.tflite --against f32.tflite --data idx:nowhere".to_owned(), "nowhere"),
        ("debug int8.tflite --against missing.tflite --data idx:digits".to_owned(), "missing.tflite"),
        (format!("{} --html page.html", debug("int8.tflite")), "the file exists"),
    ] {
        let said = place.run(&arguments).ends_with(2).stderr();
        assert!(said.starts_with("error: ") && said.contains(expected), "litesmith {arguments}\n{said}");
    }
}

#[test]
fn a_model_that_does_not_say_how_pixels_become_numbers_is_told() {
    let place = trained();
    place.run("strip f32.tflite -o bare.tflite -q").ends_with(0);
    let accuracy = |options: &str| {
        let json = place.run(&format!("eval bare.tflite --data idx:digits {options} --json")).ends_with(0).json();
        json["metrics"]["accuracy"].as_f64().unwrap()
    };
    assert_eq!(accuracy("--mean 0 --std 255"), accuracy(""));
    assert!(accuracy("--mean 255 --std=-255") < accuracy("") - 0.1, "dark digits on bright ground");
    let says = place.run("eval f32.tflite --data idx:digits --mean 0 --std 1").ends_with(2).stderr();
    assert!(says.contains("the model says how pixels become numbers"), "{says}");
    place.run("quantize f32.tflite --calibrate idx:digits --strip -o int8.tflite -q").ends_with(0);
    let debug = "debug int8.tflite --against bare.tflite --data idx:digits --samples 20 --json";
    let snr = |options: &str| {
        let json = place.run(&format!("{debug} {options}")).ends_with(0).json();
        json["report"]["layers"].to_string()
    };
    assert!(snr("--mean 0 --std 255") != snr("--mean 0 --std 1"), "the pixels are others");
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
fn training_with_quantization_writes_integer_models() {
    let place = trained();
    let right = |model: &str| {
        let report = place.run(&format!("eval {model} --data idx:digits --json")).ends_with(0).json();
        report["metrics"]["accuracy"].as_f64().unwrap()
    };
    let float = right("f32.tflite");
    let tune =
        "train --model f32.tflite --data idx:digits --epochs 1 --qat int4 --qat-method lsq --io uint8 -o int4.tflite";
    let report = place.run(&format!("{tune} --json -q")).ends_with(0).json();
    assert_eq!(report["history"].as_array().unwrap().len(), 1);
    assert!((right("int4.tflite") - float).abs() < 0.05, "{} {float}", right("int4.tflite"));
    let inside = place.run("inspect int4.tflite").ends_with(0).stdout();
    assert!(inside.contains("input uint8[-1,28,28,1]"), "{inside}");
    // Of 421,408 weights.
    let bytes = std::fs::metadata(place.path("int4.tflite")).unwrap().len();
    assert!((210_704..225_000).contains(&bytes), "{bytes} bytes");
    std::fs::write(place.path("qat.toml"), "epochs = 3\nbatch = 20\n[qat]\ndelay_epochs = 2\n").unwrap();
    let train = "train --arch mnist-cnn --data idx:digits --config qat.toml --seed 5 --granularity per-tensor";
    let report = place.run(&format!("{train} -o int8.tflite --json -q --metrics m.jsonl")).ends_with(0).json();
    let epochs: Vec<_> = report["history"].as_array().unwrap().iter().map(|epoch| epoch["epoch"].as_u64()).collect();
    assert_eq!(epochs, [Some(1), Some(2), Some(3)]);
    assert_eq!(std::fs::read_to_string(place.path("m.jsonl")).unwrap().lines().count(), 3);
    assert!((right("int8.tflite") - float).abs() < 0.05);
    // A single epoch is one with quantization.
    place.run("train --arch lenet-5 --data idx:digits --epochs 1 --qat int8 -o one.tflite -q").ends_with(0);
    assert!(place.run("inspect one.tflite").ends_with(0).stdout().contains("int8["));
}

#[test]
fn a_model_is_pruned_and_its_weights_shared() {
    let place = trained();
    let accuracy = |model: &str| {
        let eval = place.run(&format!("eval {model} --data idx:digits --json")).ends_with(0).json();
        eval["metrics"]["accuracy"].as_f64().unwrap()
    };
    let float = accuracy("f32.tflite");
    let tune = "--data idx:digits --epochs 4 --batch-size 20 --json -q";
    let half =
        place.run(&format!("prune f32.tflite --structured 0.5 --steps 2 {tune} -o half.tflite")).ends_with(0).json();
    assert!(half["file_bytes"].as_u64().unwrap() * 2 < half["file_bytes_before"].as_u64().unwrap(), "{half}");
    assert!(half["macs"].as_u64().unwrap() < half["macs_before"].as_u64().unwrap(), "{half}");
    assert!(accuracy("half.tflite") > float - 0.06, "{} after {float}", accuracy("half.tflite"));
    let few = place.run(&format!("prune f32.tflite --sparsity 0.9 {tune} --sparse -o few.tflite")).ends_with(0).json();
    assert!((few["sparsity"].as_f64().unwrap() - 0.9).abs() < 1e-3, "{few}");
    assert!(few["file_bytes"].as_u64().unwrap() * 5 < few["file_bytes_before"].as_u64().unwrap(), "{few}");
    let size = |model: &str| std::fs::metadata(place.path(model)).unwrap().len();
    for (command, bytes) in [("strip", size("few.tflite")), ("quantize --type float16", size("few.tflite"))] {
        place.run(&format!("{command} few.tflite --sparse -o again.tflite --force")).ends_with(0);
        assert!(size("again.tflite") < bytes, "{command}: {}", size("again.tflite"));
        assert!(accuracy("again.tflite") > accuracy("few.tflite") - 0.02, "{command}");
    }
    assert!(accuracy("few.tflite") > float - 0.06, "{} after {float}", accuracy("few.tflite"));
    let shared = place.run(&format!("cluster few.tflite --clusters 8 {tune} -o shared.tflite")).ends_with(0).json();
    for layer in shared["layers"].as_array().unwrap() {
        assert!(layer["values"].as_u64().unwrap() <= 8 && layer["bits"].as_f64().unwrap() < 1.7, "{layer}");
    }
    assert!(accuracy("shared.tflite") > float - 0.08, "{} after {float}", accuracy("shared.tflite"));
    // The same weights at once, so that nothing is left to learn with all of them zero, is worse.
    let late = "--begin 1 --end 1 --initial-sparsity 0.5 --power 1 --frequency 100";
    let last = place.run(&format!("prune f32.tflite --sparsity 0.9 {late} {tune} -o late.tflite")).ends_with(0).json();
    assert_eq!(last["sparsity"], few["sparsity"]);
    assert!(accuracy("late.tflite") < accuracy("few.tflite") - 0.2, "{}", accuracy("late.tflite"));
    // Zeros and shared values are still there after quantization-aware training, unless they are given up.
    let train = "train --model shared.tflite --data idx:digits --epochs 1 --batch-size 20 --qat int8";
    let said = place.run(&format!("{train} -o kept.tflite")).ends_with(0).stderr();
    assert!(
        said.contains("keeps the zeros of 4 layers (90.0 % of their weights) and the shared values of 4"),
        "{said}"
    );
    assert!(said.contains("have one scale"), "{said}");
    let said = place.run(&format!("{train} --no-preserve -o lost.tflite")).ends_with(0).stderr();
    assert!(!said.contains("keeps") && !said.contains("have one scale"), "{said}");
    let packed = |model: &str| litesmith::tflite::Packed::of(&std::fs::read(place.path(model)).unwrap()).gzip.unwrap();
    assert!(
        packed("kept.tflite") * 3 < packed("lost.tflite") * 2,
        "{} {}",
        packed("kept.tflite"),
        packed("lost.tflite")
    );
    assert!(accuracy("kept.tflite") > float - 0.08, "{} after {float}", accuracy("kept.tflite"));
    place.run("quantize f32.tflite --type int8 --calibrate idx:digits -o int8.tflite").ends_with(0);
    let refused = place.run("prune int8.tflite --structured 0.5 -o never.tflite").ends_with(2).stderr();
    assert!(refused.contains("float32") && refused.contains("before quantizing"), "{refused}");
}

#[test]
fn a_student_learns_from_a_teacher_that_the_command_line_or_a_file_names() {
    let place = trained();
    std::fs::create_dir(place.path("runs")).unwrap();
    let distill = "epochs = 2\nbatch = 20\n[distill]\nteacher = \"../f32.tflite\"\ntemperature = 3.0\nalpha = 1.0\n";
    std::fs::write(place.path("runs/student.toml"), distill).unwrap();
    let train = "train --arch lenet-5 --data idx:digits --seed 5 -q";
    place.run(&format!("{train} --config runs/student.toml -o taught.tflite")).ends_with(0);
    let eval = place.run("eval taught.tflite --data idx:digits --against f32.tflite --json").ends_with(0).json();
    assert!(eval["agreement"]["top1_agreement"].as_f64().unwrap() > 0.6, "{eval}");
    // With alpha 1 labels count for nothing, smoothed or not.
    place.run(&format!("{train} --config runs/student.toml --label-smoothing 0.2 -o same.tflite")).ends_with(0);
    assert_eq!(std::fs::read(place.path("taught.tflite")).unwrap(), std::fs::read(place.path("same.tflite")).unwrap());
    // The command line's teacher wins, and a teacher alone has the defaults of the rest.
    let config = format!("{train} --config runs/student.toml --teacher no.tflite -o m.tflite");
    assert!(place.run(&config).ends_with(2).stderr().contains("no.tflite"));
    let options = format!("{train} --teacher f32.tflite --epochs 1");
    place.run(&format!("{options} -o a.tflite")).ends_with(0);
    place.run(&format!("{train} --epochs 1 -o b.tflite")).ends_with(0);
    assert_ne!(std::fs::read(place.path("a.tflite")).unwrap(), std::fs::read(place.path("b.tflite")).unwrap());
}

#[test]
fn fine_tuning_learns_from_a_teacher_too() {
    let place = Workplace::with_digits();
    place.run("train --arch lenet-5 --data idx:digits --epochs 2 --batch-size 20 -o f32.tflite -q").ends_with(0);
    std::fs::create_dir(place.path("runs")).unwrap();
    for (name, smoothing) in [("plain", 0.0), ("smooth", 0.2)] {
        let text = format!(
            "epochs = 1\nbatch = 20\nlabel_smoothing = {smoothing}\n[distill]\nteacher = \"../f32.tflite\"\nalpha = 1.0\n"
        );
        std::fs::write(place.path(&format!("runs/{name}.toml")), text).unwrap();
    }
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    for command in ["prune f32.tflite --structured 0.5", "prune f32.tflite --sparsity 0.5", "cluster f32.tflite"] {
        let tune = |options: &str, out: &str| {
            place.run(&format!("{command} --data idx:digits {options} -o {out}.tflite --force -q"))
        };
        // With alpha 1 labels count for nothing, smoothed or not.
        tune("--config runs/plain.toml", "taught").ends_with(0);
        tune("--config runs/smooth.toml", "same").ends_with(0);
        assert!(file("taught.tflite") == file("same.tflite"), "{command}");
        // The command line's teacher wins, and a teacher alone has the defaults of the rest.
        assert!(tune("--config runs/plain.toml --teacher no.tflite", "m").ends_with(2).stderr().contains("no.tflite"));
        tune("--epochs 1 --batch-size 20", "alone").ends_with(0);
        tune("--epochs 1 --batch-size 20 --teacher f32.tflite", "taught").ends_with(0);
        assert!(file("taught.tflite") != file("alone.tflite"), "{command}");
    }
}

#[test]
fn a_recipe_makes_what_its_steps_make_as_commands() {
    let place = Workplace::with_digits();
    std::fs::create_dir(place.path("tiny")).unwrap();
    let recipe = root().join("recipes/mnist-3.7kB");
    std::fs::copy(recipe.join("arch.toml"), place.path("tiny/arch.toml")).unwrap();
    let text = std::fs::read_to_string(recipe.join("recipe.toml")).unwrap();
    let short = |line: &str| if line.starts_with("epochs") { "epochs = 2".into() } else { line.to_owned() };
    let text = text.lines().map(short).collect::<Vec<_>>().join("\n");
    std::fs::write(place.path("tiny/recipe.toml"), &text).unwrap();
    let made =
        place.run("compress --recipe tiny/recipe.toml --data idx:digits -o made.tflite --json -q").ends_with(0).json();
    let steps: Vec<_> = made["steps"].as_array().unwrap().iter().map(|step| &step["do"]).collect();
    assert_eq!(steps, ["train", "train", "strip"], "{made}");
    // The keys of a step that trains are those of a training configuration.
    for (number, step) in text.split("[[step]]").enumerate() {
        let keys = step.lines().filter(|line| !line.starts_with("do =") && !line.starts_with("io ="));
        let keys = keys.collect::<Vec<_>>().join("\n").replace("[step.", "[");
        std::fs::write(place.path(&format!("{number}.toml")), keys).unwrap();
    }
    for command in [
        "train --arch tiny/arch.toml --config 1.toml --data idx:digits --seed 1 -o float.tflite -q",
        "train --model float.tflite --config 2.toml --data idx:digits --seed 1 --io int8 -o int4.tflite -q",
        "strip int4.tflite --derivable -o small.tflite -q",
    ] {
        place.run(command).ends_with(0);
    }
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(file("made.tflite") == file("small.tflite"), "{made}: {}", file("small.tflite").len());
    assert_eq!(made["file_bytes"], file("small.tflite").len());
    let kept =
        place.run("compress --recipe tiny/recipe.toml --data idx:digits -o made.tflite -q").ends_with(2).stderr();
    assert!(kept.contains("made.tflite: the file exists"), "{kept}");
    // What is kept of it makes the same file again, without training.
    let again = "compress --recipe tiny/recipe.toml --data idx:digits -o again.tflite --force --keep kept/steps";
    for has in [0, 2] {
        let said = place.run(again).ends_with(0).stderr();
        assert_eq!(said.matches(" has it").count(), has, "{said}");
        assert!(file("again.tflite") == file("made.tflite"));
    }
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
    std::fs::write(place.path("x.npy"), crate::common::npy(2)).unwrap();
    place.run("run f32.tflite --input x.npy --output-raw y.npy").ends_with(0);
    let bytes = std::fs::read(place.path("y.npy")).unwrap();
    assert!(bytes.windows(8).any(|window| window == b"(2, 10,)"), "{}", String::from_utf8_lossy(&bytes[..80]));
    place.run("run f32.tflite --input x.npy --output-raw y.npy").ends_with(2);
    place.run("run f32.tflite --input x.npy --output-raw y.npy --force --numerics reference --isa scalar").ends_with(0);
    place.run("run f32.tflite x.npy --top 1").ends_with(0);
    place.run("run f32.tflite --signature serving_default --input x.npy --output-raw z.npy").ends_with(0);
    assert_eq!(std::fs::read(place.path("z.npy")).unwrap().len(), bytes.len());
    let ran = place.run("run f32.tflite --input other=x.npy --output-raw w.npy").ends_with(2);
    assert!(ran.stderr().contains("input \"other\": the model has none of that name"), "{}", ran.stderr());
    place.run("diff f32.tflite --threads 1,2 --signature serving_default --tolerance 1e-5").ends_with(0);
    place.run("bench f32.tflite --signature serving_default --seconds 0.01 --threads 1").ends_with(0);
    for arguments in ["bench f32.tflite --signature other", "diff f32.tflite --threads 1,2 --signature other"] {
        let said = place.run(arguments).ends_with(2).stderr();
        assert!(said.contains("f32.tflite") && said.contains("serving_default"), "{said}");
    }
    let ran = place.run("run f32.tflite --signature other --input x.npy --output-raw w.npy").ends_with(2);
    assert!(ran.stderr().contains("hint: it has serving_default"), "{}", ran.stderr());
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

#[test]
fn image_folders_train_a_network_with_their_classes() {
    let place = Workplace::new();
    place.image_folder("lamps");
    place.run("train --arch lenet-5 --data images:lamps --epochs 20 --batch-size 4 -o m.tflite -q").ends_with(0);
    let eval = place.run("eval m.tflite --data images:lamps --json").ends_with(0).json();
    let classes = eval["metrics"]["classes"].as_array().unwrap();
    assert_eq!(classes.iter().map(|class| class["name"].as_str().unwrap()).collect::<Vec<_>>(), ["dark", "light"]);
    assert_eq!(eval["metrics"]["accuracy"], 1.0, "{eval}");
    let read = place.run("run m.tflite lamps/test/light/3.bmp --json --top 1").ends_with(0).json();
    assert_eq!(read[0]["top"][0]["label"], "light");

    // Samples of one class only: which of the model's it is must be said.
    std::fs::create_dir_all(place.path("half/light")).unwrap();
    std::fs::copy(place.path("lamps/test/light/3.bmp"), place.path("half/light/3.bmp")).unwrap();
    let few = place.run("eval m.tflite --data images:half").ends_with(2).stderr();
    assert!(few.contains("gives 2 scores") && few.contains("--classes"), "{few}");
    let half = place.run("eval m.tflite --data images:half --classes dark,light --json").ends_with(0).json();
    assert_eq!((&half["metrics"]["samples"], &half["metrics"]["accuracy"]), (&1.into(), &1.0.into()), "{half}");
    place.run("eval m.tflite --data images:half --classes dark,bright").ends_with(2);

    std::fs::write(place.path("lamps/train/dark/broken.png"), "no picture").unwrap();
    let train = "train --arch lenet-5 --data images:lamps --epochs 1 -o n.tflite --json";
    let error = place.run(train).ends_with(2);
    assert!(error.stderr().contains("broken.png") && !place.path("n.tflite").exists(), "{}", error.stderr());
    let skipped = place.run(&format!("{train} --skip-bad")).ends_with(0);
    assert!(skipped.stderr().contains("broken.png"), "{}", skipped.stderr());
    assert_eq!(skipped.json()["skipped_samples"], 1);

    let few =
        place.run("train --arch lenet-5:classes=1 --data images:lamps -o o.tflite --skip-bad").ends_with(2).stderr();
    assert!(few.contains("1 outputs, the data 2 classes") && few.contains("classes=2"), "{few}");
}

/// The bytes of a model say nothing about where it was written.
#[test]
fn names_of_files_are_not_in_the_model() {
    let place = trained();
    place.run(&format!("{TRAIN} -o another-name.tflite -q")).ends_with(0);
    std::fs::write(
        place.path("arch.toml"),
        "name = \"tiny\"\ninput = [28, 28]\n[[layer]]\ntype = \"Flatten\"\n\
        [[layer]]\ntype = \"Dense\"\nunits = 10\nactivation = \"softmax\"\n",
    )
    .unwrap();
    place.run("train --arch arch.toml --data idx:digits --epochs 1 -o tiny.tflite -q").ends_with(0);
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(file("f32.tflite") == file("another-name.tflite"));
    assert!(!file("tiny.tflite").windows(9).any(|window| window == b"arch.toml"));
    place.run("eval tiny.tflite --data idx:digits --top-k 2").ends_with(0);
    place.run("run tiny.tflite seven.bmp").ends_with(0);
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_is_resumed_and_its_metrics_go_on() {
    let place = Workplace::with_digits();
    let train = "train --arch mnist-cnn --data idx:digits --epochs 8 --batch-size 20 --metrics m.jsonl -q";
    let arguments = format!("{train} -o m.tflite --checkpoint run.ckpt --json");
    let child = crate::common::tool()
        .args(arguments.split(' '))
        .current_dir(place.path("."))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !place.path("run.ckpt").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["ended"], &said["model"]), (&"cancelled".into(), &serde_json::Value::Null));
    assert!(!place.path("m.tflite").exists(), "an interrupted run writes no model");

    place.run(&format!("{train} -o m.tflite --resume run.ckpt")).ends_with(0);
    let epochs = std::fs::read_to_string(place.path("m.jsonl")).unwrap().lines().count();
    assert_eq!(epochs, 8, "each epoch has one line, those before the interruption too");
    place.run(&format!("{} -o whole.tflite", train.replace(" --metrics m.jsonl", ""))).ends_with(0);
    let file = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(file("m.tflite") == file("whole.tflite"), "resuming differs");
}
