//! Leaves out of the small program what only unwinding reads, as a panic ends it: a tenth of its size.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no_unwinding.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Cargo does not tell a build script how panics end; only the profile `small` optimises for size.
    if is("OPT_LEVEL", "s") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("no_unwinding.ld");
        for argument in ["-T", &script.to_string_lossy(), "--no-eh-frame-hdr"] {
            println!("cargo::rustc-link-arg-bins=-Xlinker");
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
