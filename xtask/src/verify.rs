//! The long tier: what takes an hour, or another framework, or other CPUs. Run before a release; its record is committed.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

const CONFIG: &str = "examples/mnist-99.5.toml";
const SEEDS: [u64; 3] = [1, 2, 3];
const TOOL: &str = "target/release/litesmith";
const RECORD: &str = "benchmarks/record/verify.md";

/// Does its work, adds to its section of the record, and says whether it went well.
type Part = fn(&mut String) -> Result<(), String>;

const PARTS: [(&str, &str, Part); 4] = [
    ("accuracy", "mnist-cnn to 99.5 %", accuracy),
    ("oracle", "The oracle", oracle),
    ("aarch64", "AArch64", aarch64),
    ("wasm", "WebAssembly", wasm),
];

const TITLE: &str = "# The long tier\n\nWritten by `cargo xtask verify`; each part is of its last run.\n";

/// Runs the `wanted` parts, all by default, and writes what came of them into the record.
pub(crate) fn verify(wanted: &[String]) -> Result<(), String> {
    let known = PARTS.map(|(name, ..)| name);
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no part '{unknown}': there are {}", known.join(", ")));
    }
    let commit = run(Command::new("git").args(["describe", "--always", "--dirty"]))?;
    let compiler = run(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"))?;
    for (name, title, part) in PARTS {
        if !wanted.is_empty() && wanted.iter().all(|wanted| wanted != name) {
            continue;
        }
        let mut section = format!("Commit {}, {}; `cargo xtask verify {name}`.\n\n", commit.trim(), compiler.trim());
        let clock = Instant::now();
        let result = part(&mut section);
        section += &match &result {
            Ok(()) => format!("\n{:.0} minutes.\n", clock.elapsed().as_secs_f64() / 60.0),
            Err(message) => format!("\n**Failed.**\n\n```\n{message}\n```\n"),
        };
        // After each, so that what failed or was stopped leaves what came before.
        let before = std::fs::read_to_string(RECORD).unwrap_or_default();
        std::fs::write(RECORD, with_section(&before, title, &section)).map_err(|error| format!("{RECORD}: {error}"))?;
        eprintln!("wrote {RECORD}");
        result?;
    }
    Ok(())
}

/// The record with the section `title` in place of the one that it had; the others stay, in the order of [`PARTS`].
fn with_section(record: &str, title: &str, section: &str) -> String {
    let mut whole = TITLE.to_owned();
    for (_, part, _) in PARTS {
        let heading = format!("\n## {part}\n\n");
        let before = record.split_once(&heading).map(|(_, rest)| rest.split("\n## ").next().unwrap_or(rest));
        if let Some(text) = if part == title { Some(section) } else { before } {
            whole += &heading;
            whole += text;
        }
    }
    whole
}

fn accuracy(record: &mut String) -> Result<(), String> {
    run(Command::new("cargo").args(["build", "--release"]))?;
    *record += "The documented command, with three seeds; the test images are read once, by the final evaluation.\n\n\
                | seed | test accuracy | seconds of training |\n|---|---|---|\n";
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
        *record += &format!("| {seed} | {:.2} % | {seconds:.0} |\n", accuracy * 100.0);
        accuracies.push(accuracy);
    }
    accuracies.sort_by(f64::total_cmp);
    let median = accuracies[SEEDS.len() / 2];
    *record += &format!("\nMedian: {:.2} %.\n", median * 100.0);
    if median < 0.995 { Err(format!("the median accuracy is {median}, expected at least 0.995")) } else { Ok(()) }
}

fn oracle(record: &mut String) -> Result<(), String> {
    run(Command::new("cargo").args(["build", "--release"]))?;
    *record += "```\n";
    *record += &run(Command::new("python3").args(["oracle/run.py", "--litesmith", TOOL]))?;
    *record += "```\n";
    Ok(())
}

fn aarch64(record: &mut String) -> Result<(), String> {
    *record += "`cargo xtask aarch64`: what LiteRT computed on x86-64, and every kernel against plain loops, on CPUs that \
                QEMU emulates, with each instruction set that the CPU has.\n\n```\n";
    *record += &crate::aarch64::verify(&[])?;
    *record += "```\n";
    Ok(())
}

fn wasm(record: &mut String) -> Result<(), String> {
    *record += "`cargo xtask wasm`: each module, and what it said; scalar and simd128 in Node, relaxed_simd in Chromium.\n\n```\n";
    *record += &crate::wasm::verify(&[])?;
    *record += "```\n";
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_replaces_its_own_section_alone() {
        let arm = with_section("", "AArch64", "one\n");
        assert_eq!(arm, format!("{TITLE}\n## AArch64\n\none\n"));
        let both = with_section(&with_section(&arm, "WebAssembly", "two\n"), "The oracle", "three\n");
        assert_eq!(both, format!("{TITLE}\n## The oracle\n\nthree\n\n## AArch64\n\none\n\n## WebAssembly\n\ntwo\n"));
        assert_eq!(with_section(&both, "AArch64", "four\n"), both.replace("one", "four"));
    }
}
