//! The tests of arithmetic on AArch64, under QEMU: the same cases must give the same bytes. docs/BUILDING.md has the setup.

use std::path::PathBuf;
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// NEON only; with the dot product; with everything that QEMU knows, matrix products of int8 among it.
const CPUS: [&str; 3] = ["cortex-a53", "cortex-a76", "max"];
/// Tests that compare with what LiteRT computed on another machine, then those of every kernel against the plain loops.
const TESTS: [(&str, &[&str]); 9] = [
    ("litesmith", &["--test", "op_grid"]),
    ("litesmith", &["--test", "models"]),
    ("litesmith-kernels", &["--test", "goldens"]),
    ("litesmith-runtime", &["--test", "control_flow"]),
    ("litesmith-simd", &["--lib"]),
    ("litesmith-kernels", &["--lib"]),
    ("litesmith-kernels", &["--test", "float_conv_2d"]),
    ("litesmith-kernels", &["--test", "float_depthwise_and_pool"]),
    ("litesmith-kernels", &["--test", "float_fully_connected"]),
];

/// Builds the tests once and runs them on each CPU.
pub(crate) fn verify() -> Result<(), String> {
    let sysroot = std::env::var("QEMU_LD_PREFIX").unwrap_or_else(|_| "/usr/aarch64-linux-gnu".to_owned());
    for (tool, package) in [("qemu-aarch64", "qemu-user"), ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")] {
        if Command::new(tool).arg("--version").output().is_err() {
            return Err(format!("{tool} is missing: on Debian it is in {package} (see docs/BUILDING.md)"));
        }
    }
    let mut binaries = Vec::new();
    for (package, test) in TESTS {
        binaries.push((package, test, build(package, test)?));
    }
    for cpu in CPUS {
        for (package, test, binary) in &binaries {
            let test = test.join(" ");
            eprintln!("$ qemu-aarch64 -cpu {cpu} {package} {test}");
            let folder = format!("crates/{}", package.trim_start_matches("litesmith-"));
            let status = Command::new("qemu-aarch64")
                .args(["-cpu", cpu, "-L", &sysroot])
                .arg(binary)
                .current_dir(folder)
                .status()
                .map_err(|error| format!("qemu-aarch64 did not start: {error}"))?;
            if !status.success() {
                return Err(format!("{package} {test} failed on {cpu}"));
            }
        }
    }
    println!("AArch64: {} tests passed on {}", TESTS.len(), CPUS.join(", "));
    Ok(())
}

/// Compiles the tests that `test` chooses, of one executable; where it lies.
fn build(package: &str, test: &[&str]) -> Result<PathBuf, String> {
    let named = test.join(" ");
    eprintln!("$ cargo test --target {TARGET} --package {package} {named} --no-run");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--target", TARGET, "--package", package, "--no-run"])
        .args(test)
        .args(["--message-format", "json-render-diagnostics"])
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{package} does not build for {TARGET} (is `rustup target add {TARGET}` done?)"));
    }
    // Of the messages, only the test's own names an executable.
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().rev().find_map(|line| {
        let rest = line.split("\"executable\":\"").nth(1)?;
        rest.split('"').next().map(PathBuf::from)
    });
    let path = path.ok_or_else(|| format!("cargo named no executable for {package} {named}"))?;
    std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))
}
