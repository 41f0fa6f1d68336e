//! The tests of arithmetic on AArch64, under QEMU: the same cases must give the same bytes. docs/BUILDING.md has the setup.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// NEON only; with the dot product; with everything that QEMU knows, matrix products of int8 among it.
const CPUS: [&str; 3] = ["cortex-a53", "cortex-a76", "max"];
/// Tests that compare with what LiteRT computed on another machine, then those of every kernel against the plain loops.
const TESTS: [(&str, &[&str]); 9] = [
    ("litesmith-conformance", &["--test", "op_grid"]),
    ("litesmith-conformance", &["--test", "models"]),
    ("litesmith-kernels", &["--test", "goldens"]),
    ("litesmith-runtime", &["--test", "control_flow"]),
    ("litesmith-simd", &["--lib"]),
    ("litesmith-kernels", &["--lib"]),
    ("litesmith-kernels", &["--test", "float_conv_2d"]),
    ("litesmith-kernels", &["--test", "float_depthwise_and_pool"]),
    ("litesmith-kernels", &["--test", "float_fully_connected"]),
];

/// Builds the tests once and runs them on each of `cpus`, all by default. Gives how many there were and what they compared.
pub(crate) fn verify(cpus: &[String]) -> Result<String, String> {
    if let Some(unknown) = cpus.iter().find(|cpu| !CPUS.contains(&cpu.as_str())) {
        return Err(format!("no CPU '{unknown}': there are {}", CPUS.join(", ")));
    }
    let sysroot = std::env::var("QEMU_LD_PREFIX").unwrap_or_else(|_| "/usr/aarch64-linux-gnu".to_owned());
    for (tool, package) in [("qemu-aarch64", "qemu-user"), ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")] {
        if Command::new(tool).arg("--version").output().is_err() {
            return Err(format!("{tool} is missing: on Debian it is in {package} (see docs/BUILDING.md)"));
        }
    }
    let mut binaries = Vec::new();
    for (package, test) in TESTS {
        binaries.push((package, test.join(" "), build(package, test)?));
    }
    let mut said = String::new();
    for cpu in CPUS.into_iter().filter(|cpu| cpus.is_empty() || cpus.iter().any(|wanted| wanted == cpu)) {
        said += &format!("{cpu}\n");
        for (package, test, binary) in &binaries {
            eprintln!("$ qemu-aarch64 -cpu {cpu} {package} {test}");
            let clock = Instant::now();
            let report = run(cpu, &sysroot, package, binary)
                .map_err(|output| format!("{package} {test} failed on {cpu}\n{output}"))?;
            eprintln!("{report} ({:.0} s)", clock.elapsed().as_secs_f64());
            said += &format!("  {package} {test}: {report}\n");
        }
    }
    Ok(said)
}

/// Runs an executable of tests on a CPU and sums up what it said; all that it said if it failed.
fn run(cpu: &str, sysroot: &str, package: &str, binary: &Path) -> Result<String, String> {
    let output = Command::new("qemu-aarch64")
        .args(["-cpu", cpu, "-L", sysroot])
        .arg(binary)
        // Tests say how much they compared.
        .arg("--show-output")
        .current_dir(format!("crates/{}", package.trim_start_matches("litesmith-")))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("qemu-aarch64 did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(text.into_owned());
    }
    summary(&text).ok_or_else(|| format!("no test ran\n{text}"))
}

/// From the words of a test executable: tests that passed, and the lines of those that counted what they compared.
fn summary(text: &str) -> Option<String> {
    let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. "))?;
    let passed: usize = result.split(' ').next()?.parse().ok()?;
    let compared = text.lines().filter(|line| line.ends_with(" runs")).map(|line| format!("; {line}"));
    (passed > 0).then(|| format!("{passed} passed{}", compared.collect::<String>()))
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

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_summary_has_the_tests_and_what_they_compared() {
        let text = "running 2 tests\n\nsuccesses:\n\n---- a stdout ----\n[Scalar]: 12 cases in 48 runs\n\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(summary(text).as_deref(), Some("2 passed; [Scalar]: 12 cases in 48 runs"));
        assert_eq!(summary("test result: ok. 0 passed; 0 failed; 0 ignored"), None);
        assert_eq!(summary("test result: FAILED. 1 passed; 1 failed"), None);
    }
}
