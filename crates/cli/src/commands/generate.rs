//! `completions` and `man`: made from the same definition that parses.

use clap::CommandFactory;
use litesmith::{Error, Result};

use crate::Verdict;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::output::Output;

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "litesmith", &mut script);
    write_stdout(&script)?;
    Ok(Verdict::Good)
}

pub(crate) fn man(args: &ManArgs, output: &Output) -> Result<Verdict> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| Error::io("man page", error))?;
        write_stdout(&page)?;
        return Ok(Verdict::Good);
    };
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder.display(), error))?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| Error::io(folder.display(), error))?;
    output.say(&format!("wrote the man pages to {}", folder.display()));
    Ok(Verdict::Good)
}

fn write_stdout(bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
        _ => Ok(()),
    }
}
