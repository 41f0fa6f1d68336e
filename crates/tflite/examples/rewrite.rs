//! Reads `.tflite` files and writes each anew into a folder: `cargo run --example rewrite -- OUT FILE...`.

use std::path::Path;
use std::process::ExitCode;

use litesmith_graph::{Error, Result};
use litesmith_tflite::{Limits, WriteOptions};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(out) = arguments.next() else {
        eprintln!("usage: rewrite OUT FILE...");
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for file in arguments {
        let (file, out) = (Path::new(&file), Path::new(&out));
        match rewrite(file, out) {
            Ok((before, after)) => println!("{}: {before} bytes, written anew {after}", file.display()),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                code = ExitCode::from(1);
            }
        }
    }
    code
}

fn rewrite(file: &Path, out: &Path) -> Result<(usize, usize)> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file.display(), error))?;
    let loaded = litesmith_tflite::read(&bytes, &Limits::default())?;
    for warning in &loaded.warnings {
        eprintln!("{}: {warning}", file.display());
    }
    let written = litesmith_tflite::write(&loaded.model, &WriteOptions::default())?;
    let target = out.join(file.file_name().unwrap_or_default());
    std::fs::write(&target, &written).map_err(|error| Error::io(target.display(), error))?;
    Ok((bytes.len(), written.len()))
}
