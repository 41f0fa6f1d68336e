//! The command line: parses, calls the library, prints. Data goes to standard output, talk to standard error.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser;
use litesmith::measure::Stopwatch;
use litesmith::{Error, Result};

use args::{Cli, Command};
use output::Output;

fn main() -> ExitCode {
    let since_start = Stopwatch::start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors: clap knows which stream and which status.
            let _ = error.print();
            // What was said could not be parsed, so whether it asks for JSON is looked up in the words themselves.
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                let words = error.render().to_string();
                let lines = words.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
                let message = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
                let message = message.strip_prefix("error: ").unwrap_or(&message);
                let _ = output::print_json_error("arguments", message, Some("litesmith --help says what is possible"));
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let output = Output::new(&cli.global, since_start);
    match run(cli.command, &output) {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            output.error(&error);
            ExitCode::from(2)
        }
    }
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Done.
    Good,
    /// It ran, and the answer is no.
    Bad,
    /// Ctrl-C ended it, in order.
    Interrupted,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Good => 0,
            Verdict::Bad => 1,
            // 128 and the number of SIGINT: what shells report of a process that Ctrl-C ends.
            Verdict::Interrupted => 130,
        })
    }
}

fn run(command: Command, output: &Output) -> Result<Verdict> {
    let takes_several = matches!(&command, Command::Diff(_) | Command::Bench(args::BenchArgs { what: None, .. }));
    if output.thread_counts.len() > 1 && !takes_several {
        return Err(Error::invalid("--threads", "got several numbers, expected one")
            .with_hint("only `bench` and `diff` take a list"));
    }
    match command {
        Command::Demo(args) => commands::demo::run(&args, output),
        Command::Train(args) => commands::train::run(&args, output),
        Command::Bench(args) => commands::bench::run(&args, output),
        Command::Eval(args) => commands::eval::run(&args, output),
        Command::Prune(args) => commands::prune::run(&args, output),
        Command::Cluster(args) => commands::cluster::run(&args, output),
        Command::Quantize(args) => commands::quantize::run(&args, output),
        Command::Strip(args) => commands::strip::run(&args, output),
        Command::Compress(args) => commands::compress::run(&args, output),
        Command::Tune(args) => commands::tune::run(&args, output),
        Command::Run(args) => commands::run::run(&args, output),
        Command::Diff(args) => commands::diff::run(&args, output),
        Command::Debug(args) => commands::debug::run(&args, output),
        Command::Inspect(args) => commands::inspect::run(&args, output),
        Command::Summary(args) => commands::summary::run(&args, output),
        Command::Completions(args) => commands::generate::completions(&args),
        Command::Man(args) => commands::generate::man(&args, output),
    }
}
