//! Makes the small program a seventh smaller: without what only unwinding reads, as a panic ends it, with one copy of functions that
//! have the same code, and with packed relocations.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no_unwinding.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Cargo does not tell a build script how panics end; only the profile `small` optimises for size.
    if is("OPT_LEVEL", "s") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("no_unwinding.ld");
        let script = script.to_string_lossy();
        let mut arguments = vec!["-T", &script, "--no-eh-frame-hdr"];
        // GNU's linker, which Rust calls elsewhere, does not know it.
        if is("CARGO_CFG_TARGET_ARCH", "x86_64") && brings_lld().unwrap_or(false) {
            arguments.push("--icf=all");
            if packs_relocations().unwrap_or(false) {
                arguments.extend(["-z", "pack-relative-relocs"]);
            }
        }
        for argument in arguments {
            println!("cargo::rustc-link-arg-bins=-Xlinker");
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

/// Whether the compiler has LLVM's linker with it, which it then calls for x86-64 Linux; one of a distribution may have been built
/// without.
fn brings_lld() -> Option<bool> {
    let found = Command::new(env::var_os("RUSTC")?).args(["--print", "target-libdir"]).output().ok()?;
    let libraries = String::from_utf8(found.stdout).ok()?;
    Some(Path::new(libraries.trim()).parent()?.join("bin/gcc-ld/ld.lld").is_file())
}

/// Whether the C library of this machine, for which the program is made, starts programs with packed relocations: glibc does from 2.36
/// on.
fn packs_relocations() -> Option<bool> {
    if env::var_os("HOST")? != env::var_os("TARGET")? {
        return None;
    }
    let found = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let version = String::from_utf8(found.stdout).ok()?;
    let mut numbers = version.trim().strip_prefix("glibc ")?.split('.').map_while(|number| number.parse::<u32>().ok());
    Some((numbers.next()?, numbers.next()?) >= (2, 36))
}
