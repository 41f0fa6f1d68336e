//! Runs a `.tflite` model on raw bytes: `litesmith-minimal MODEL [INPUT ...] > OUTPUT`.
//!
//! Each INPUT is a file with the elements of one input as they lie in memory; inputs without a file are 0. The outputs go to
//! standard output, one after the other. It links only the reader and the runtime, with every op:
//! `cargo build -p litesmith-minimal --profile small`.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use litesmith_runtime::{Session, SessionOptions};
use litesmith_tflite::Limits;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("usage: litesmith-minimal MODEL [INPUT ...] > OUTPUT")?;
    let loaded = litesmith_tflite::read(&std::fs::read(path)?, &Limits::default())?;
    let mut session = Session::new(&loaded.model, SessionOptions::default())?;
    for (index, path) in arguments.enumerate() {
        let bytes = std::fs::read(&path)?;
        let input = session.input_bytes_mut(index)?;
        if bytes.len() != input.len() {
            return Err(format!("{}: got {} bytes, expected {}", path.display(), bytes.len(), input.len()).into());
        }
        input.copy_from_slice(&bytes);
    }
    session.run()?;
    let mut stdout = std::io::stdout().lock();
    for index in 0..session.output_count() {
        stdout.write_all(session.output_bytes(index)?)?;
    }
    Ok(stdout.flush()?)
}
