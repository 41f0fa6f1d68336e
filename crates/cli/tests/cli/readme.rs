//! Every `litesmith` command of the README runs, in its order, in one folder, on a few digits instead of MNIST.

use crate::common::{Workplace, root};

/// Trains for minutes; `cargo xtask verify` runs it.
const LONG: &str = "examples/mnist-99.5.toml";

#[test]
fn the_commands_of_the_readme_run() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let place = Workplace::with_digits();
    std::fs::rename(place.path("seven.bmp"), place.path("digit.bmp")).unwrap();
    let mut ran = Vec::new();
    for block in readme.split("```sh\n").skip(1) {
        let (commands, _) = block.split_once("```").unwrap();
        for command in commands.lines().filter_map(|line| line.strip_prefix("litesmith ")) {
            if command.contains(LONG) {
                assert!(root().join(LONG).exists());
                continue;
            }
            let words = command.split(' ').map(|word| match word {
                "mnist" => "idx:digits",
                "digit.png" => "digit.bmp",
                word => word,
            });
            place.run_args(&words.collect::<Vec<_>>()).ends_with(0);
            ran.push(command.split(' ').next().unwrap().to_owned());
        }
    }
    assert_eq!(ran, ["summary", "train", "eval", "quantize", "eval", "run", "inspect", "bench", "diff", "debug"]);
}
