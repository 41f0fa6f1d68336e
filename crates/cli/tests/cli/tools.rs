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
    // Sizes that both leave open follow the array.
    let json = place.run(&format!("diff {float} {int8} --input {input} --json")).ends_with(1).json();
    assert!(json["numeric"]["tensors"][0]["elements"].as_u64() > Some(28 * 28), "{json}");
    for (arguments, expected) in [
        (format!("diff {int8}"), "--numerics litert,reference"),
        (format!("diff {int8} --threads 1,2,3"), "--threads"),
        (format!("diff {int8} {}", model("blocks-int8.tflite")), "--structure"),
    ] {
        let said = place.run(&arguments).ends_with(2).stderr();
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

/// A reshape whose input has two open sizes, and whose shape is an input too: [0, 0] where it is made up.
fn open_shapes(path: &std::path::Path) {
    use litesmith::graph::{DType, Graph, Model, Tensor, ops::Reshape};
    let mut graph = Graph::new("main");
    let mut x = Tensor::new("x", DType::F32, [1, 1]);
    x.signature = Some(vec![-1, -1]);
    let x = graph.add_input(x);
    let shape = graph.add_input(Tensor::new("shape", DType::I32, [2]));
    let y = graph.add_tensor(Tensor::new("y", DType::F32, [0, 0]));
    let op = Reshape::default().into();
    graph.nodes.push(litesmith::graph::Node { op, inputs: vec![Some(x), Some(shape)], outputs: vec![y] });
    graph.outputs = vec![y];
    litesmith::save_model(path, &Model::from_graph(graph), litesmith::files::Existing::Keep).unwrap();
}

#[test]
fn arrays_set_open_sizes_and_shapes_for_every_tool() {
    let place = Workplace::new();
    open_shapes(&place.path("open.tflite"));
    let npy = |name: &str, kind: &str, shape: &str, bytes: Vec<u8>| {
        let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
        header.extend(std::iter::repeat_n(' ', 117 - header.len()));
        let head = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), header.as_bytes(), b"\n"].concat();
        std::fs::write(place.path(name), [head, bytes].concat()).unwrap();
    };
    npy("x.npy", "<f4", "(2, 6)", [1.0_f32; 12].map(f32::to_le_bytes).concat());
    npy("shape.npy", "<i4", "(2,)", [3_i32, 4].map(i32::to_le_bytes).concat());
    let inputs = "--input x.npy --input shape=shape.npy";
    let json = place.run(&format!("bench open.tflite --runs 2 {inputs} --json")).ends_with(0).json();
    assert_eq!(json["results"][0]["input_shapes"][0], serde_json::json!([2, 6]));
    let json = place.run(&format!("diff open.tflite --threads 1,2 {inputs} --json")).ends_with(0).json();
    assert_eq!(json["same"], true);
    let text = place.run(&format!("run open.tflite --explain {inputs}")).ends_with(0).stdout();
    assert!(text.contains("float32[3,4]"), "{text}");
    for tool in ["bench open.tflite --input x.npy", "diff open.tflite --threads 1,2 --input x.npy"] {
        let said = place.run(tool).ends_with(2).stderr();
        assert!(said.contains("\"shape=FILE.npy\""), "{tool}: {said}");
    }
    let said = place.run("run open.tflite").ends_with(2).stderr();
    assert!(said.contains("nothing to run the model on") && said.contains("--explain"), "{said}");
    assert!(place.run("run missing.tflite").ends_with(2).stderr().contains("No such file"));
}

#[test]
fn limits_on_files_are_set_as_asked() {
    let place = Workplace::new();
    let model = model("digits-int8.tflite");
    for tool in ["inspect", "bench --runs 1", "run --explain"] {
        let said = place.run(&format!("{tool} {model} --limit nodes=2")).ends_with(2).stderr();
        assert!(said.contains("the limit is 2") && said.contains("--limit nodes=N"), "{said}");
        place.run(&format!("{tool} {model} --limit nodes=20 --limit tensors=100")).ends_with(0);
    }
    let said = place.run(&format!("inspect {model} --limit knots=2")).ends_with(2).stderr();
    assert!(said.contains("unknown limit \"knots\", expected one of file-bytes"), "{said}");
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
fn explain_tells_of_the_subgraphs_that_an_op_runs() {
    use litesmith::graph::{DType, Graph, Model, Tensor, ops};
    let place = Workplace::new();
    let branch = |name: &str, doubled: bool| {
        let mut graph = Graph::new(name);
        let x = graph.add_input(Tensor::new("x", DType::F32, [4]));
        let y = match doubled {
            true => graph.add_node(ops::Add::default(), &[Some(x), Some(x)], "y"),
            false => graph.add_node(ops::Neg, &[Some(x)], "y"),
        };
        graph.outputs = vec![y.unwrap()];
        graph
    };
    let mut main = Graph::new("main");
    let flag = main.add_input(Tensor::new("flag", DType::Bool, [1]));
    let x = main.add_input(Tensor::new("x", DType::F32, [4]));
    let y = main.add_tensor(Tensor::new("y", DType::F32, [4]));
    let op = ops::If { then_graph: 1, else_graph: 2 }.into();
    main.nodes.push(litesmith::graph::Node { op, inputs: vec![Some(flag), Some(x)], outputs: vec![y] });
    main.outputs = vec![y];
    let mut model = Model::from_graph(main);
    model.graphs.extend([branch("twice", true), branch("minus", false)]);
    litesmith::save_model(&place.path("if.tflite"), &model, litesmith::files::Existing::Keep).unwrap();
    let text = place.run("run if.tflite --explain").ends_with(0).stdout();
    for part in
        ["subgraph \"twice\", which op 0 IF \"y\" runs", "add/f32", "subgraph \"minus\"", "neg/f32", "3 ops for"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = place.run("run if.tflite --explain --json").ends_with(0).json();
    assert_eq!(json["nodes"][0]["subgraphs"][1]["nodes"][0]["output"], "float32[4]");
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
