//! docs/CLI.md holds the help of every command, and the examples in it run.

use std::fmt::Write;

use crate::common::{Workplace, root};

const COMMANDS: [&str; 19] = [
    "",
    "demo",
    "train",
    "eval",
    "prune",
    "cluster",
    "quantize",
    "strip",
    "compress",
    "tune",
    "run",
    "summary",
    "inspect",
    "diff",
    "debug",
    "bench",
    "bench train",
    "completions",
    "man",
];

fn help(command: &str) -> String {
    let place = Workplace::new();
    place.run(&format!("{command} --help")).ends_with(0).stdout()
}

/// `LITESMITH_BLESS=1 cargo test -p litesmith-cli reference` writes the file.
#[test]
fn the_reference_is_what_help_prints() {
    let mut text = String::from(
        "# Command line\n\nWhat `--help` prints. This file is written by `LITESMITH_BLESS=1 cargo test -p litesmith-cli \
         reference`.\n\nResults go to standard output, everything else to standard error. With `--json` a result is one line \
         of JSON, and an\nerror is `{\"error\": {\"place\", \"message\", \"hint\"}}`. Files are written whole or not at all, and \
         an existing one is replaced\nonly with `--force`.\n",
    );
    for command in COMMANDS {
        let title = ["litesmith", command].join(" ");
        let lines: Vec<_> = help(command).lines().map(|line| line.trim_end().to_owned()).collect();
        write!(text, "\n## {}\n\n```text\n{}\n```\n", title.trim_end(), lines.join("\n")).unwrap();
    }
    let path = root().join("docs/CLI.md");
    if std::env::var_os("LITESMITH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = written.lines().zip(text.lines()).find(|(written, now)| written != now);
    assert!(
        written == text,
        "docs/CLI.md is not what --help prints, first at {differ:?}: run `LITESMITH_BLESS=1 cargo test -p litesmith-cli reference`"
    );
}

/// On a few digits instead of MNIST, with a small network and for one epoch: what is tested is that each example is a command that
/// works.
#[test]
fn the_examples_of_help_run() {
    let place = Workplace::with_digits();
    place.image_folder("flowers");
    place.image_folder("more");
    std::fs::rename(place.path("seven.bmp"), place.path("digit.png")).unwrap();
    std::fs::copy(place.path("digit.png"), place.path("photo.jpg")).unwrap();
    std::fs::write(place.path("x.npy"), crate::common::npy(2)).unwrap();
    std::fs::write(place.path("my-run.toml"), "epochs = 1\naugment = \"digits\"\n").unwrap();
    let guide = std::fs::read_to_string(root().join("docs/TRAINING.md")).unwrap();
    let (_, rest) = guide.split_once("```toml arch\n").unwrap();
    std::fs::write(place.path("my.toml"), rest.split_once("```").unwrap().0).unwrap();
    for file in ["examples/inc-mnist.yaml", "recipes/mnist-3.7kB/recipe.toml", "recipes/mnist-3.7kB/arch.toml"] {
        std::fs::create_dir_all(place.path(file).parent().unwrap()).unwrap();
        std::fs::copy(root().join(file), place.path(file)).unwrap();
    }
    let conf = "model: {name: flowers.tflite}\ntuning: {exit_policy: {performance_only: True}}\n";
    std::fs::write(place.path("conf.yaml"), conf).unwrap();
    // A checkpoint to resume and a model of flowers are what earlier examples leave behind.
    let order = [
        "train",
        "prune",
        "cluster",
        "quantize",
        "compress",
        "tune",
        "strip",
        "eval",
        "run",
        "summary",
        "inspect",
        "diff",
        "debug",
        "bench",
        "completions",
        "man",
        "demo",
    ];
    let mut ran = 0;
    for command in order {
        for example in help(command).lines().filter_map(|line| line.strip_prefix("  litesmith ")) {
            let words = example.split(['|', '>']).next().unwrap();
            let mut words = words
                .replace(" mnist ", " idx:digits ")
                .replace("--arch mnist-cnn", "--arch lenet-5")
                .replace("--top-k 3,5 --floor 92.5", "--top-k 1,2 --floor 0")
                .replace("input=96x96x3", "input=32x32x3")
                .replace("*.jpg", "photo.jpg")
                .replace("/usr/local/share/man/man1", "man1");
            if words.ends_with(" mnist") {
                words.replace_range(words.len() - 5.., "idx:digits");
            }
            if words.contains("--recipe") {
                words += " --data idx:digits";
            } else if command == "compress" {
                // Searches that are over at once: what was given meets their goals.
                words = words.replace("99.0%", "1%").replace("20KB", "20MB").replace("--time-limit 1800", "");
                words += " --time-limit 0.001";
                if !words.contains("--resume") && place.path("digits-search").exists() {
                    std::fs::remove_dir_all(place.path("digits-search")).unwrap();
                }
            }
            if command == "demo" {
                words = words.replace(" --epochs 2", "") + " --data idx:digits --epochs 1";
            }
            // Examples write where others have written; only the last two of `train` belong together.
            let writes = words.contains(" -o ") || words.contains("--html") || words.contains("--output-raw");
            let searches = words.contains("digits-search");
            let force = if writes && !searches { " --force" } else { "" };
            let tunes = matches!(command, "prune" | "cluster") && words.contains("--data");
            let epochs = if (tunes || command == "train") && !words.contains("--epochs") && !words.contains("--config")
            {
                " --epochs 1"
            } else {
                ""
            };
            place.run(&format!("{words}{force}{epochs} -q")).ends_with(0);
            ran += 1;
        }
    }
    assert!(ran > 20, "{ran} examples");
}
