//! Developer tasks: `cargo xtask check` before every commit, `cargo xtask tidy` for the project's own rules.
#![forbid(unsafe_code)]

mod aarch64;
mod tidy;
mod verify;
mod wasm;

use std::process::{Command, ExitCode};

const HELP: &str = "Usage: cargo xtask TASK

  check      format, lints with warnings denied, tidy, tests, docs: what must pass before a commit
  operators  writes docs/OPERATORS.md from the op table and the planner; `check` fails when it differs
  tidy       the project's own rules: dependencies, op files, file sizes, paths of one machine
  fuzz       damaged models and random graphs through everything that reads and runs models: --minutes N, --seed N, --out DIR
  verify     the long tier, before a release, all of it or the named parts: accuracy (with three seeds), oracle, aarch64, wasm;
             writes benchmarks/record/verify.md
  aarch64    what LiteRT computed, compared on emulated AArch64 CPUs, all or those named (docs/BUILDING.md)
  wasm       the same in WebAssembly, in Node and in Chromium; `--time [MODEL.tflite ...]` says how long models take

CI runs `check`, the demo, and then the oracle suite (oracle/run.py).";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let result = match task.as_deref() {
        Some("check") => check(),
        Some("operators") => {
            cargo(&["test", "--quiet", "-p", "litesmith", "--test", "operators"], &[("LITESMITH_BLESS", "1")])
        }
        Some("tidy") => tidy::tidy(),
        Some("fuzz") => fuzz(&arguments),
        Some("aarch64") => aarch64::verify(&arguments).map(|said| print!("{said}")),
        Some("wasm") => wasm::verify(&arguments).map(|said| print!("{said}")),
        Some("verify") => verify::verify(&arguments),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    tidy::tidy()?;
    cargo(&["test", "--quiet"], &[])?;
    cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn fuzz(given: &[String]) -> Result<(), String> {
    let mut arguments = vec!["run", "--release", "--package", "litesmith-fuzz", "--example", "mutate", "--"];
    arguments.extend(given.iter().map(String::as_str));
    cargo(&arguments, &[])
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    eprintln!("$ cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo {}` failed", arguments.join(" "))) }
}
