//! Where words go: results to standard output, talk and progress to standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use litesmith::measure::{Stopwatch, format};
use litesmith::progress::{Progress, Stage};
use litesmith::runtime::SessionLimits;
use litesmith::tflite::Limits;
use litesmith::{Error, Result};

use crate::args::Global;

/// How much a command says, and where.
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) threads: usize,
    /// Every thread count that was asked for; one unless a command takes several.
    pub(crate) thread_counts: Vec<usize>,
    /// Started when the process did.
    pub(crate) since_start: Stopwatch,
    /// What a file may hold.
    pub(crate) file_limits: Limits,
    /// What a run may take.
    pub(crate) session_limits: SessionLimits,
    quiet: bool,
    verbose: bool,
}

impl Output {
    pub(crate) fn new(global: &Global, since_start: Stopwatch) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (mut file_limits, mut session_limits) = (Limits::default(), SessionLimits::default());
        global.limit.iter().for_each(|limit| limit.apply(&mut file_limits, &mut session_limits));
        Self {
            json: global.json,
            threads: global.threads.first().copied().map_or_else(cores, usize::from),
            thread_counts: match global.threads.as_slice() {
                [] => vec![cores()],
                counts => counts.iter().copied().map(usize::from).collect(),
            },
            since_start,
            file_limits,
            session_limits,
            quiet: global.quiet,
            verbose: global.verbose,
        }
    }

    /// Prints a result. A reader that went away, as `head` does, is no error of ours.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(stdout, "{text}{end}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
            _ => Ok(()),
        }
    }

    /// Prints a result as JSON, on one line for machines.
    pub(crate) fn print_json(&self, value: &serde_json::Value) -> Result<()> {
        self.print(&value.to_string())
    }

    /// Says something about the work; not with `--quiet`.
    pub(crate) fn say(&self, message: &str) {
        if !self.quiet {
            eprintln!("{message}");
        }
    }

    /// Says something that only `--verbose` wants.
    pub(crate) fn detail(&self, message: &str) {
        if self.verbose {
            eprintln!("{message}");
        }
    }

    /// Says that something may not be what the user wants, `--quiet` or not.
    pub(crate) fn warn(&self, message: &str) {
        eprintln!("warning: {message}");
    }

    pub(crate) fn error(&self, error: &Error) {
        if self.json {
            let report = error.report();
            let _ = print_json_error(&report.place, &report.message, report.hint.as_deref());
        }
        eprintln!("error: {error}");
        if let Some(hint) = error.hint() {
            eprintln!("hint: {hint}");
        }
    }

    /// Progress on standard error: a bar on a terminal, notes only elsewhere.
    pub(crate) fn progress(&self) -> Bars {
        Bars { bar: None, draw: !self.quiet && std::io::stderr().is_terminal(), talk: !self.quiet }
    }
}

/// Prints an error as JSON. Machines read standard output; that it is no result, the exit status says.
pub(crate) fn print_json_error(place: &str, message: &str, hint: Option<&str>) -> std::io::Result<()> {
    let json = serde_json::json!({ "error": { "place": place, "message": message, "hint": hint } });
    writeln!(std::io::stdout().lock(), "{json}")
}

/// One progress bar at a time.
pub(crate) struct Bars {
    bar: Option<ProgressBar>,
    draw: bool,
    talk: bool,
}

impl Progress for Bars {
    fn start(&mut self, stage: Stage, total: u64) {
        if !self.draw {
            return;
        }
        let name = match stage {
            Stage::Train { epoch, epochs } => format!("epoch {epoch}/{epochs}"),
            Stage::Calibrate => "calibrate".into(),
            Stage::Round => "round weights".into(),
            Stage::Correct => "correct biases".into(),
            Stage::Evaluate => "evaluate".into(),
            _ => "work".into(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{prefix:>12} [{bar:32}] {human_pos}/{human_len} {rate:>8} {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            // Whole numbers: its own rate has twelve decimals.
            let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{}/s", format::count(state.per_sec() as u64));
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        bar.set_prefix(name);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn advance(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn note(&mut self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None if self.talk => eprintln!("{message}"),
            None => {}
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
