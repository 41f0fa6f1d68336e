//! The long tier: what takes an hour, or another framework. Run before a release; its record is committed.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

const CONFIG: &str = "examples/mnist-99.5.toml";
const SEEDS: [u64; 3] = [1, 2, 3];
const TOOL: &str = "target/release/litesmith";
const RECORD: &str = "benchmarks/record/verify.md";

/// Runs every long check and writes the record.
pub(crate) fn verify() -> Result<(), String> {
    run(Command::new("cargo").args(["build", "--release"]))?;
    let mut record = String::from(
        "# The long tier\n\nWritten by `cargo xtask verify`.\n\n## mnist-cnn to 99.5 %\n\nThe documented command, with three \
         seeds; the test images are read once, by the final evaluation.\n\n| seed | test accuracy | seconds of training |\n|---|---|---|\n",
    );
    let folder = Path::new("target/verify");
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut accuracies = Vec::new();
    for seed in SEEDS {
        let model = folder.join(format!("mnist-99.5-seed-{seed}.tflite"));
        let clock = Instant::now();
        run(Command::new(TOOL)
            .args(["train", "--arch", "mnist-cnn", "--data", "mnist", "--config", CONFIG, "--force", "--seed"])
            .arg(seed.to_string())
            .arg("-o")
            .arg(&model))?;
        let seconds = clock.elapsed().as_secs_f64();
        let json = run(Command::new(TOOL).arg("eval").arg(&model).args(["--data", "mnist", "--json"]))?;
        let accuracy = number_after(&json, "\"accuracy\":").ok_or("eval printed no accuracy")?;
        record += &format!("| {seed} | {:.2} % | {seconds:.0} |\n", accuracy * 100.0);
        accuracies.push(accuracy);
    }
    accuracies.sort_by(f64::total_cmp);
    let median = accuracies[SEEDS.len() / 2];
    record += &format!("\nMedian: {:.2} %.\n", median * 100.0);
    record += "\n## The oracle\n\n```\n";
    record += &run(Command::new("python3").args(["oracle/run.py", "--litesmith", TOOL]))?;
    record += "```\n\n## WebAssembly\n\n`cargo xtask wasm`: each module, and what it said.\n\n```\n";
    record += &crate::wasm::verify(&[])?;
    record += "```\n";
    std::fs::write(RECORD, record).map_err(|error| format!("{RECORD}: {error}"))?;
    eprintln!("wrote {RECORD}");
    if median < 0.995 { Err(format!("the median accuracy is {median}, expected at least 0.995")) } else { Ok(()) }
}

/// Runs a command to its end, its talk shown, and gives what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    eprintln!("$ {command:?}");
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?} did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number_after(text: &str, key: &str) -> Option<f64> {
    let rest = &text[text.find(key)? + key.len()..];
    rest[..rest.find([',', '}'])?].trim().parse().ok()
}
