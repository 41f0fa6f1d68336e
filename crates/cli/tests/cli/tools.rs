//! `bench`, `inspect` and `diff` on the networks of `testdata/models`.

use crate::common::{Workplace, root};

pub(crate) fn model(name: &str) -> String {
    root().join("testdata/models").join(name).to_str().unwrap().to_owned()
}

#[test]
fn bench_times_models_in_turns_and_op_by_op() {
    let place = Workplace::new();
    let (int8, float) = (model("digits-int8.tflite"), model("digits-f32.tflite"));
    let arguments = format!("bench {int8} {float} --threads 1,2 --runs 3 --batch 2 --profile --json");
    let json = place.run(&arguments).ends_with(0).json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for result in results {
        assert_eq!((&result["runs"], &result["input_shapes"][0][0]), (&3.into(), &2.into()));
        assert!(result["plan_ns"].as_u64() > Some(0) && result["weight_bytes"].as_u64() > Some(0));
        let ops = result["ops"].as_array().unwrap();
        assert!((ops.iter().map(|op| op["share"].as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
        let conv = ops.iter().find(|op| op["op"] == "CONV_2D").unwrap();
        assert_eq!(conv["macs"].as_u64(), Some(2 * 56_448));
        assert!(conv["peak_share"].as_f64() > Some(0.0) && conv["gmacs_per_s"].as_f64() > Some(0.0));
    }
    assert_eq!(json["peaks"].as_array().unwrap().len(), 2);
    let text = place.run(&format!("bench {int8} {float} --runs 2")).ends_with(0).stdout();
    assert!(text.contains("vs first") && text.contains("1.00x"), "{text}");
    place.run("bench missing.tflite").ends_with(2);
    place.run("bench").ends_with(2);
    let said = place.run(&format!("summary {int8} --threads 1,2")).ends_with(2).stderr();
    assert!(said.contains("--threads"), "{said}");
}

#[test]
fn diff_tells_structure_and_values_apart() {
    let place = Workplace::new();
    let (int8, float) = (model("digits-int8.tflite"), model("digits-f32.tflite"));
    // The same bytes for any number of threads, and not for both numerics.
    let same = place.run(&format!("diff {int8} --threads 1,3 --json")).ends_with(0).json();
    assert_eq!((&same["same"], &same["numeric"]["first_diverging"]), (&true.into(), &serde_json::Value::Null));
    let modes = place.run(&format!("diff {int8} --numerics litert,reference --seed 3 --json")).json();
    assert_eq!(modes["numeric"]["tensors"].as_array().unwrap().len(), 10);
    let text = place.run(&format!("diff {float} {int8}")).ends_with(1).stdout();
    for part in ["QUANTIZE", "scale 0.0070873965", "first beyond the tolerance: CONV_2D", "the outputs differ"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    place.run(&format!("diff {float} {int8} --tolerance 0.2")).ends_with(0);
    place.run(&format!("diff {float} {int8} --structure")).ends_with(1);
    place.run(&format!("diff {int8} {int8} --structure")).ends_with(0);
    let input = model("digits.x.npy");
    let said = place.run(&format!("diff {float} {int8} --input {input}")).ends_with(2).stderr();
    assert!(said.contains("numbers, expected 784"), "{said}");
    for (arguments, expected) in [
        (format!("diff {int8}"), "--numerics litert,reference"),
        (format!("diff {int8} --threads 1,2,3"), "--threads"),
        (format!("diff {int8} {}", model("blocks-int8.tflite")), "numbers"),
    ] {
        let said = place.run(&arguments).ends_with(2).stderr();
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

#[test]
fn inspect_writes_a_page_and_keeps_what_is_there() {
    let place = Workplace::new();
    let int8 = model("digits-int8.tflite");
    place.run(&format!("inspect {int8} --html page.html")).ends_with(0);
    assert!(std::fs::read_to_string(place.path("page.html")).unwrap().contains("<svg"));
    place.run(&format!("inspect {int8} --html page.html")).ends_with(2);
    place.run(&format!("inspect {int8} --html page.html --force -q")).ends_with(0);
    let json = place.run(&format!("inspect {int8} --json")).ends_with(0).json();
    assert_eq!(json["subgraphs"][0]["ops"].as_array().unwrap().len(), 13);
}

#[test]
fn explain_tells_of_every_op() {
    let place = Workplace::new();
    let json = place.run(&format!("run {} --explain --json", model("digits-int8.tflite"))).ends_with(0).json();
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 13);
    assert!(nodes[1]["kernel"].as_str().unwrap().starts_with("conv_2d/i8/"));
    assert!(nodes.iter().any(|node| node["folded"] == true) && nodes.iter().any(|node| node["view_of"].is_string()));
}

#[test]
fn strip_makes_a_smaller_file_with_the_same_outputs() {
    let place = Workplace::new();
    let (before, input) = (model("digits-int8.tflite"), model("digits.x.npy"));
    let said = place.run(&format!("strip {before} -o small.tflite")).ends_with(0).stdout();
    assert!(
        said.starts_with("small.tflite: ") && said.contains(" with gzip, ") && said.trim_end().ends_with(" with zstd"),
        "{said}"
    );
    place.run(&format!("strip {before} -o small.tflite")).ends_with(2);
    let json = place.run(&format!("strip {before} -o small.tflite --force --json")).ends_with(0).json();
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    let small = size(&place.path("small.tflite"));
    assert_eq!(json["file_bytes"], small);
    let (gzip, zstd) = (json["gzip_bytes"].as_u64().unwrap(), json["zstd_bytes"].as_u64().unwrap());
    assert!(zstd < gzip && gzip < small, "{json}");
    assert!(small * 10 < json["file_bytes_before"].as_u64().unwrap() * 9, "{json}");
    let outputs = [before.as_str(), "small.tflite"].map(|model| {
        place.run(&format!("run {model} --input {input} --output-raw y.npy --force -q")).ends_with(0);
        std::fs::read(place.path("y.npy")).unwrap()
    });
    assert!(outputs[0] == outputs[1], "the outputs differ");
    let text = place.run("inspect small.tflite").ends_with(0).stdout();
    assert!(text.contains("with gzip"), "{text}");
}

#[test]
fn strip_keeps_sparse_weights_sparse() {
    let place = Workplace::new();
    let before = model("digits-f32.tflite");
    place.run(&format!("prune {before} --sparsity 0.9 --sparse -o sparse.tflite -q")).ends_with(0);
    place.run("strip sparse.tflite -o small.tflite -q").ends_with(0);
    let size = |name: &str| std::fs::metadata(place.path(name)).unwrap().len();
    assert!(size("small.tflite") < size("sparse.tflite"), "{} {}", size("small.tflite"), size("sparse.tflite"));
    assert!(size("small.tflite") * 2 < std::fs::metadata(&before).unwrap().len(), "{}", size("small.tflite"));
}

/// What DENSIFY read and wrote is one tensor in the model, and nothing of the other is left in any file.
#[test]
fn a_sparse_file_does_not_grow_from_step_to_step() {
    let place = Workplace::new();
    let size = |name: &str| std::fs::metadata(place.path(name)).unwrap().len();
    let before = model("digits-f32.tflite");
    place.run(&format!("prune {before} --sparsity 0.9 --sparse -o sparse.tflite -q")).ends_with(0);
    place.run("strip sparse.tflite --sparse -o once.tflite -q").ends_with(0);
    place.run("strip once.tflite --sparse -o twice.tflite -q").ends_with(0);
    assert_eq!(size("twice.tflite"), size("once.tflite"));
    for command in ["prune sparse.tflite --sparsity 0.9", "cluster sparse.tflite --clusters 16"] {
        place.run(&format!("{command} -o next.tflite --force -q")).ends_with(0);
        assert_eq!(size("next.tflite"), size("sparse.tflite"), "{command}");
    }
    let dense = place.run(&format!("quantize {before} --type float32 -o dense.tflite -q")).ends_with(0).stdout();
    place.run("quantize sparse.tflite --type dynamic -o dynamic.tflite -q").ends_with(0);
    assert!(size("dynamic.tflite") < size("dense.tflite") * 2 / 5, "{dense}");
}

#[test]
fn the_memory_of_a_model_is_limited_as_asked() {
    let place = Workplace::new();
    let (model, input) = (model("digits-f32.tflite"), model("digits.x.npy"));
    let run = format!("run {model} --input {input} --output-raw y.npy --memory-limit");
    let said = place.run(&format!("{run} 1KB")).ends_with(2).stderr();
    assert!(said.contains("allowed are 1000") && said.contains("--memory-limit"), "{said}");
    place.run(&format!("{run} 100MB")).ends_with(0);
    assert!(place.run(&format!("{run} 1XB")).ends_with(2).stderr().contains("expected B, KB, MB or GB"));
    let diff = format!("diff {model} {model} --memory-limit");
    assert!(place.run(&format!("{diff} 1KB")).ends_with(2).stderr().contains("allowed are 1000"));
    place.run(&format!("{diff} 100MB")).ends_with(0);
}
