//! What LiteRT computed, compared in WebAssembly: without vectors and with simd128 in Node, with the relaxed instructions in
//! Chromium. docs/BUILDING.md has the setup.

use std::path::PathBuf;
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-unknown-unknown";
/// A module each, as an engine refuses one for a single instruction that it does not know.
const VARIANTS: [(&str, &str, Engine); 3] = [
    ("scalar", "", Engine::Node),
    ("simd128", "-C target-feature=+simd128", Engine::Node),
    ("relaxed_simd", "-C target-feature=+simd128,+relaxed-simd", Engine::Chromium),
];
const DRIVER: &str = "crates/conformance/wasm/driver.mjs";
const FOLDERS: [&str; 2] = ["testdata/grid", "testdata/models"];
/// Models that `--time` times.
const MODELS: [&str; 2] = ["testdata/models/digits-int8.tflite", "testdata/models/digits-f32.tflite"];

#[derive(Clone, Copy)]
enum Engine {
    Node,
    /// Node 20 computes the relaxed dot product wrongly before it optimises.
    Chromium,
}

/// Builds each module and has it judge itself; with `--time`, says how long models take in Node instead. Other arguments are
/// variants, all by default, or models to time. Gives what the modules said.
pub(crate) fn verify(arguments: &[String]) -> Result<String, String> {
    let time = arguments.iter().any(|argument| argument == "--time");
    let (models, variants): (Vec<_>, Vec<_>) =
        arguments.iter().filter(|argument| *argument != "--time").partition(|argument| argument.ends_with(".tflite"));
    if let Some(unknown) = variants.iter().find(|name| VARIANTS.iter().all(|(known, ..)| known != **name)) {
        return Err(format!("no variant '{unknown}': there are scalar, simd128 and relaxed_simd"));
    }
    let mut said = String::new();
    for (name, flags, engine) in VARIANTS {
        if !variants.is_empty() && variants.iter().all(|wanted| *wanted != name) {
            continue;
        }
        let module = build(name, flags)?;
        let mut driver = Command::new("node");
        driver.arg(DRIVER);
        match (time, engine) {
            (true, _) => driver.arg("time"),
            (false, Engine::Node) => driver.arg("node"),
            (false, Engine::Chromium) => driver.arg(chromium()?),
        };
        driver.arg(&module);
        match (time, models.is_empty()) {
            (true, true) => driver.args(MODELS),
            (true, false) => driver.args(&models),
            (false, _) => driver.args(FOLDERS),
        };
        driver.stderr(Stdio::inherit());
        let output = driver.output().map_err(|error| format!("node did not start: {error} (see docs/BUILDING.md)"))?;
        let report = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("the module for {name} failed\n{report}"));
        }
        said += &format!("{name}\n{report}");
    }
    Ok(said)
}

/// Compiles the module of a variant, in its own folder, as the standard flags of one would rebuild the other; where it lies.
fn build(name: &str, flags: &str) -> Result<PathBuf, String> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = folder.join("wasm").join(name);
    eprintln!("$ {flags} cargo build --release --target {TARGET} --package litesmith-conformance --example wasm");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--target", TARGET, "--package", "litesmith-conformance", "--example", "wasm"])
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags)
        // A standard library that somebody compiled for the target may have come without bitcode.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !status.success() {
        return Err(format!("no module for {name} (is `rustup target add {TARGET}` done? see docs/BUILDING.md)"));
    }
    Ok(folder.join(TARGET).join("release/examples/wasm.wasm"))
}

/// The browser: `CHROMIUM`, or the first of its usual names that starts.
fn chromium() -> Result<String, String> {
    if let Ok(named) = std::env::var("CHROMIUM") {
        return Ok(named);
    }
    let starts =
        |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(starts)
        .map(str::to_owned)
        .ok_or_else(|| "no Chromium: install it, or name it in CHROMIUM (see docs/BUILDING.md)".to_owned())
}
