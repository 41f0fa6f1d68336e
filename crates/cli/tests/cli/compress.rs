//! `compress` where it cannot do what it is asked.

use crate::common::{Workplace, root};

/// With `f32.tflite`, hardly trained.
fn trained() -> Workplace {
    let place = Workplace::with_digits();
    std::fs::copy(root().join("recipes/mnist-3.7kB/arch.toml"), place.path("arch.toml")).unwrap();
    place.run("train --arch arch.toml --data idx:digits --epochs 2 -o f32.tflite -q").ends_with(0);
    place
}

#[test]
fn a_search_gives_up_when_nothing_reaches_the_floor_and_saves_the_nearest() {
    let place = trained();
    let floor = "compress f32.tflite --data idx:digits --floor 100% --epochs 1 -o search";
    let ran = place.run(&format!("{floor} --json")).ends_with(1);
    let (json, said) = (ran.json(), ran.stderr());
    assert_eq!((&json["reached"], &json["ended"]), (&false.into(), &"finished".into()), "{json}");
    assert!(
        said.contains("warning: not reached: the smallest of at least 100.00 %; saved is the nearest found"),
        "{said}"
    );
    assert!(said.contains("search/best.tflite"), "{said}");
    // It gave up: not every share of the channels was tried.
    let tried = json["models"].as_u64().unwrap();
    assert!((9..26).contains(&tried), "{tried} models");
    // The nearest is the one of the best accuracy, and of those the smallest.
    let list: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("search/search.json")).unwrap()).unwrap();
    let key =
        |point: &serde_json::Value| (point["correct"].as_u64().unwrap(), u64::MAX - point["bytes"].as_u64().unwrap());
    let best = list["points"].as_array().unwrap().iter().max_by_key(|point| key(point)).unwrap();
    assert_eq!(best["name"], json["best"]["name"], "{list}");
    let saved = std::fs::read(place.path("search/best.tflite")).unwrap();
    assert!(saved == std::fs::read(place.path("search").join(best["file"].as_str().unwrap())).unwrap());
    // The folder is named before the model, which is not at fault.
    let again = place.run(floor).ends_with(2).stderr();
    assert!(again.starts_with("error: search: the folder holds a search"), "{again}");
}

#[test]
fn what_a_search_cannot_begin_with_is_said_and_leaves_nothing_behind() {
    let place = trained();
    place.image_folder("shades");
    place.run("quantize f32.tflite --calibrate idx:digits -o int8.tflite -q").ends_with(0);
    place.run("quantize f32.tflite --type float16 -o f16.tflite -q").ends_with(0);
    for (model, data, expected) in [
        ("int8.tflite", "idx:digits", "the model is quantized already: tensor"),
        (
            "f16.tflite",
            "idx:digits",
            "f16.tflite: op 0 DEQUANTIZE \"conv2d/kernel_float32\": the model is quantized already",
        ),
        ("f32.tflite", "images:shades", "f32.tflite: model: it gives 10 scores for an image, the data has 2 classes"),
    ] {
        let said = place.run(&format!("compress {model} --data {data} --floor 90% -o search")).ends_with(2).stderr();
        assert!(said.contains(expected), "{said}");
        assert!(!place.path("search").exists(), "{model}");
    }
}

#[test]
fn a_goal_that_only_the_validation_samples_meet_is_warned_of() {
    let place = trained();
    let floor = "compress f32.tflite --data idx:digits --floor 15% --time-limit 0.001";
    let said = place.run(&format!("{floor} -o met")).ends_with(0).stderr();
    assert!(!said.contains("warning"), "{said}");
    // Test images of a kind that no training image is of: each labelled as the next digit.
    let labels = place.path("digits/t10k-labels-idx1-ubyte");
    let mut bytes = std::fs::read(&labels).unwrap();
    bytes[8..].iter_mut().for_each(|label| *label = (*label + 1) % 10);
    std::fs::write(labels, bytes).unwrap();
    let said = place.run(&format!("{floor} -o missed")).ends_with(0).stderr();
    assert!(
        said.contains(
            "warning: met on the validation samples, missed on the test samples: the smallest of at least 15.00 %"
        ),
        "{said}"
    );
    let json = place.run(&format!("{floor} -o json --json")).ends_with(0).json();
    assert_eq!((&json["reached"], &json["reached_on_test"]), (&true.into(), &false.into()), "{json}");
}

/// The folder is another one, or misspelled: to begin anew would take the time of a search to notice.
#[test]
fn a_search_does_not_go_on_where_there_is_none() {
    let place = trained();
    let said = place.run("compress f32.tflite --data idx:digits --floor 90% -o nosuch --resume").ends_with(2).stderr();
    assert!(said.contains("nosuch: there is no search to go on with") && said.contains("hint: "), "{said}");
    assert!(!place.path("nosuch").exists());
}

#[test]
fn a_recipe_that_fails_late_says_where_the_rest_is() {
    let place = Workplace::with_digits();
    std::fs::write(place.path("labels.txt"), "one\n").unwrap();
    let recipe = "arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 1\n[[step]]\ndo = \"quantize\"\nlabels = \"labels.txt\"\n";
    std::fs::write(place.path("recipe.toml"), recipe).unwrap();
    let make = "compress --recipe recipe.toml --data idx:digits -q -o out.tflite";
    let said = place.run(make).ends_with(2).stderr();
    assert!(said.contains("step 2 (quantize)") && said.contains("made is in out-after-step-1.tflite"), "{said}");
    place.run("eval out-after-step-1.tflite --data idx:digits").ends_with(0);
    let said = place.run(&format!("{make} --keep kept")).ends_with(2).stderr();
    assert!(said.contains("made is in kept, from where it goes on"), "{said}");
    // What can be known is said before any work.
    std::fs::write(place.path("recipe.toml"), recipe.replace("labels = \"labels.txt\"", "rules = [\"x=w4\"]")).unwrap();
    let said = place.run("compress --recipe recipe.toml --data idx:digits -o other.tflite").ends_with(2).stderr();
    assert!(said.contains("it selects no op") && !said.contains("epoch"), "{said}");
}

/// Their weights could not learn, and the few that are left in float would change alone.
#[test]
fn what_changes_weights_takes_no_model_that_is_quantized_already() {
    let place = Workplace::with_digits();
    place.run("train --arch lenet-5 --data idx:digits --epochs 1 -o f32.tflite -q").ends_with(0);
    let forms = [
        ("dynamic", "(dynamic range): its weights \"conv2d_1/kernel\" are int8"),
        ("float16", "(float16): its weights \"conv2d/kernel\" are float16"),
        ("weight-only", "(weight-only): its weights \"conv2d/kernel\" are int8"),
        ("int8 --calibrate idx:digits", "(integers throughout): its weights \"conv2d/kernel\" are int8"),
    ];
    for (form, expected) in forms {
        place.run(&format!("quantize f32.tflite --type {form} -o q.tflite --force -q")).ends_with(0);
        for command in [
            "train --model q.tflite --data idx:digits --epochs 1",
            "train --model q.tflite --data idx:digits --epochs 1 --qat int8",
            "prune q.tflite --data idx:digits --sparsity 0.5 --epochs 1",
            "prune q.tflite --structured 0.5",
            "prune q.tflite --sparsity 0.5",
            "cluster q.tflite --data idx:digits --epochs 1",
            "cluster q.tflite",
        ] {
            let said = place.run(&format!("{command} -o new.tflite")).ends_with(2).stderr();
            assert!(said.contains("hint: give the float32 model"), "{form}, {command}: {said}");
            assert!(said.contains(expected) && said.contains("q.tflite: op "), "{form}, {command}: {said}");
        }
        for command in ["quantize q.tflite --type dynamic", "quantize q.tflite --calibrate idx:digits"] {
            let said = place.run(&format!("{command} -o new.tflite")).ends_with(2).stderr();
            let expected = ["q.tflite: op ", "the model is quantized already", "hint: give the float32 model"];
            assert!(expected.iter().all(|part| said.contains(part)), "{form}, {command}: {said}");
        }
    }
}

/// LiteRT refuses CONV_2D and crashes in DEPTHWISE_CONV_2D where they have no bias.
#[test]
fn every_file_has_a_bias_where_litert_needs_one() {
    let place = Workplace::with_digits();
    let layers = ["type = \"Conv2D\"\nfilters = 8\nuse_bias = false", "type = \"DepthwiseConv2D\"\nuse_bias = false"]
        .map(|layer| format!("[[layer]]\n{layer}\nkernel_size = 3\nstrides = 2\n"));
    let dense = "[[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Dense\"\nunits = 10\nuse_bias = false\n";
    std::fs::write(
        place.path("arch.toml"),
        format!("name = \"bare\"\ninput = [28, 28, 1]\n{}{dense}", layers.concat()),
    )
    .unwrap();
    std::fs::write(place.path("recipe.toml"), "[[step]]\ndo = \"cluster\"\n[[step]]\ndo = \"strip\"\n").unwrap();
    for (command, name) in [
        ("train --arch arch.toml --data idx:digits --epochs 1", "trained"),
        ("prune trained.tflite --structured 0.3", "channels"),
        ("prune trained.tflite --sparsity 0.5 --sparse", "weights"),
        ("cluster trained.tflite", "clustered"),
        ("strip trained.tflite --derivable", "stripped"),
        ("compress trained.tflite --data idx:digits --recipe recipe.toml", "made"),
        ("quantize trained.tflite --type dynamic", "dynamic"),
    ] {
        place.run(&format!("{command} -o {name}.tflite -q")).ends_with(0);
        let json = place.run(&format!("inspect {name}.tflite --json")).ends_with(0).json();
        let ops = json["subgraphs"][0]["ops"].as_array().unwrap();
        for (op, inputs) in [("CONV_2D", 3), ("DEPTHWISE_CONV_2D", 3), ("FULLY_CONNECTED", 2)] {
            let found = ops.iter().find(|found| found["op"] == op || found["name"] == op).unwrap();
            let inputs_found = found["inputs"].as_array().unwrap().iter().filter(|input| !input.is_null());
            assert_eq!(inputs_found.count(), inputs, "{command}: {found}");
        }
    }
}

/// Images of another size are brought to the model's, which is worth a word: it may be the wrong data.
#[test]
fn images_of_another_size_are_told_of() {
    let place = trained();
    place.run("quantize f32.tflite --calibrate idx:digits -o int8.tflite -q").ends_with(0);
    std::fs::write(place.path("other.toml"), {
        let text = std::fs::read_to_string(place.path("arch.toml")).unwrap();
        text.replace("[28, 28, 1]", "[32, 32, 3]")
    })
    .unwrap();
    place.run("train --arch other.toml --data idx:digits --epochs 1 -o other.tflite -q").ends_with(0);
    let expected = "the images of the data are 28x28x1, the model takes 32x32x3: they are brought to that";
    let quantized = place.run("quantize other.tflite --calibrate idx:digits -o other8.tflite").ends_with(0);
    for (command, status) in [
        ("eval other.tflite --data idx:digits", 0),
        ("compress other.tflite --data idx:digits --floor 100% --time-limit 0.001 -o search", 1),
    ] {
        let said = place.run(command).ends_with(status).stderr();
        assert!(said.contains(&format!("warning: {expected}")), "{command}: {said}");
    }
    assert!(quantized.stderr().contains(&format!("warning: {expected}")), "{}", quantized.stderr());
    let debug = place.run("debug other8.tflite --against other.tflite --data idx:digits --samples 10").ends_with(0);
    assert!(debug.stdout().contains(&format!("note: {expected}")), "{}", debug.stdout());
    for command in ["eval f32.tflite --data idx:digits", "debug int8.tflite --against f32.tflite --data idx:digits"] {
        let ran = place.run(command).ends_with(0);
        assert!(!(ran.stdout() + &ran.stderr()).contains("brought"), "{command}");
    }
}
