//! Leaves out of the program what only unwinding reads, where a panic ends it: a tenth of its size.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no_unwinding.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let elf = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !elf || !is("CARGO_CFG_PANIC", "abort") {
        return;
    }
    let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("no_unwinding.ld");
    for argument in ["-T", &script.to_string_lossy(), "--no-eh-frame-hdr", "-z", "pack-relative-relocs"] {
        println!("cargo::rustc-link-arg-bins=-Xlinker");
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
