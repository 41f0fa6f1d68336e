//! Searching for the smallest model that is still good enough: recipes are tried, each model made is kept, and those that
//! no other beats in size, accuracy and speed at once are the front (Pareto).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith_data::{Dataset, Split};
use litesmith_graph::{Error, Model, Result};
use litesmith_measure::{
    Comparison, Fact, Machine, ModelKind, ModelResult, Report, Stopwatch, TimingOptions, format, render_html, time,
};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_tflite::{Limits, WriteOptions};

use crate::evaluate::like_guessing;
use crate::files::{self, Existing};
use crate::predictor::Predictor;
use crate::progress::{Progress, Stage};
use crate::recipe::{Made, Recipe, RecipeRun, State, Step, run_step, train_split};
use crate::{EvaluateOptions, evaluate};

mod candidates;
mod goal;
mod saved;

pub use goal::Goal;
pub use saved::{Found, Point};

use candidates::Candidates;
use saved::Saved;

/// Intermediate models that several candidates begin with, at most.
const KEPT: usize = 4;

/// How to search.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// What is looked for.
    pub goal: Goal,
    /// What messages call the model given: its file.
    pub model_name: String,
    /// Folder for what is found: made when missing.
    pub out: PathBuf,
    /// Whether what an earlier search with the same options left in the folder is taken up.
    pub resume: bool,
    /// Seed of training and of the validation samples.
    pub seed: u64,
    /// Passes over the training samples of each step that trains.
    pub epochs: usize,
    /// Share of the training samples that models are chosen by, where the data set has no validation samples.
    pub validation: f64,
    /// Seconds after which no candidate is begun, and the one at hand is broken off.
    pub seconds_max: Option<f64>,
    /// How models run, and the number of threads.
    pub session: SessionOptions,
    /// When set, the search ends as if its time were over.
    pub cancel: Arc<AtomicBool>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchEnded {
    /// Everything worth trying was tried.
    Finished,
    /// Its time was over.
    TimeLimit,
    /// It was cancelled.
    Cancelled,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct SearchReport {
    /// Every model made, in order, the one given first.
    pub points: Vec<Point>,
    /// Indices of those that no other beats, by size.
    pub front: Vec<usize>,
    /// Index of the best: that meets the goal, or else comes nearest.
    pub best: usize,
    /// Whether it meets the goal.
    pub reached: bool,
    /// Why it ended.
    pub ended: SearchEnded,
    /// Accuracy of the model given and of the best on the test samples, if there are any: they are looked at once, in the end.
    pub test_accuracy: Option<[f64; 2]>,
    /// Whether the best meets the goal on the test samples too, by which nothing was chosen; `None` where there are none, or where
    /// the goal is not one of accuracy.
    pub reached_on_test: Option<bool>,
}

/// Searches. Each model is saved when it is made (`points/NNN-name.tflite`, its recipe beside it), the best so far as
/// `best.tflite` with `best.toml`, and the list of all as `search.json`; in the end come `report.html` and `report.json`. Choices
/// are made by validation samples alone.
///
/// # Errors
/// [`Error::Invalid`] when the folder holds another search or the goal makes no sense; those of reading samples, of the model
/// given, and of writing files. A candidate that fails is noted and left out.
pub fn search(
    model: &Model,
    dataset: &Dataset,
    options: &SearchOptions,
    progress: &mut dyn Progress,
) -> Result<SearchReport> {
    let clock = Stopwatch::start();
    litesmith_compress::check_float(model.main()?).map_err(|error| {
        error
            .at(&options.model_name)
            .with_hint("give the float32 model that it was made from: what the search tries begins with floats")
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let run = RecipeRun {
        dataset,
        model: Some(model),
        session: options.session.clone(),
        cancel: Some(Arc::clone(&stop)),
        keep: None,
        rescue: None,
    };
    let recipe = |steps: Vec<Step>| Recipe {
        name: model.metadata.name.clone(),
        data: Some(dataset.name.clone()),
        validation: options.validation,
        seed: options.seed,
        steps,
        ..Recipe::default()
    };
    let of_model = |error: Error| error.at(&options.model_name);
    let data = train_split(&recipe(Vec::new()), &run, model).map_err(of_model)?;
    let Some(validation) = data.validation else {
        return Err(Error::invalid("validation", "there are no samples to choose by")
            .with_hint("give a share of the training samples, as --validation 0.1"));
    };
    let original = crate::model_bytes(model, &WriteOptions::default())?;
    let mut saved = Saved::open(options, &original, dataset)?;
    let job = Job { options, validation: &validation, clock: &clock };
    if saved.points.is_empty() {
        progress.note("the model given");
        let predictor = Predictor::for_split(model, options.session.clone(), &validation).map_err(of_model)?;
        if let Some(mismatch) = predictor.mismatch(&validation) {
            progress.note(&format!("warning: {mismatch}"));
        }
        let point = job.measure("given", &original, 0.0, progress).map_err(of_model)?;
        saved.add(point, &original, None)?;
    }
    let float = saved.points[0].accuracy;
    if let Some(warning) = like_guessing(float, saved.points[0].samples, validation.classes().len()) {
        progress.note(&format!("warning: {warning}"));
    }
    options.goal.check(&saved.points[0])?;
    let mut candidates = Candidates::new(options);
    let mut kept: Vec<(Vec<Step>, State)> = Vec::new();
    let ended = loop {
        if job.is_cancelled() {
            break SearchEnded::Cancelled;
        }
        if job.is_over() {
            break SearchEnded::TimeLimit;
        }
        let Some(candidate) = candidates.next(&saved.found, &options.goal, float) else { break SearchEnded::Finished };
        if saved.has(&candidate.name) {
            continue;
        }
        progress.note(&format!("{}: {}", saved.points.len(), candidate.name));
        let recipe = recipe(candidate.steps.clone());
        let watch = Stopwatch::start();
        let mut watched = Watched { job, stop: &stop, progress: &mut *progress };
        let made = job.make(&recipe, &run, &mut kept, &mut watched);
        let made = match made {
            Ok(Some(made)) => made,
            Ok(None) => continue,
            Err(error) => {
                progress.note(&format!("warning: {}: {error}", candidate.name));
                saved.skip(&candidate.name, &error)?;
                continue;
            }
        };
        let point = job.measure(&candidate.name, &made.bytes, watch.elapsed_seconds(), progress)?;
        progress.note(&format!(
            "  {}, accuracy {} ({}), {}",
            format::bytes(point.bytes),
            format::percent(point.accuracy),
            format::points(point.accuracy - float),
            format::duration_ns((point.latency_us * 1000.0) as u64),
        ));
        saved.add(point, &made.bytes, Some(&recipe.to_toml()?))?;
    };
    finish(model, dataset, &saved, options, ended, &clock, progress)
}

/// Stops what is being made when the time is over, or the caller cancels.
struct Watched<'a> {
    job: Job<'a>,
    stop: &'a AtomicBool,
    progress: &'a mut dyn Progress,
}

impl Progress for Watched<'_> {
    fn start(&mut self, stage: Stage, total: u64) {
        self.progress.start(stage, total);
    }

    fn advance(&mut self, done: u64) {
        if self.job.is_cancelled() || self.job.is_over() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.progress.advance(done);
    }

    fn note(&mut self, message: &str) {
        self.progress.note(message);
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    options: &'a SearchOptions,
    validation: &'a Split,
    clock: &'a Stopwatch,
}

impl Job<'_> {
    fn is_cancelled(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.options.seconds_max.is_some_and(|most| self.clock.elapsed_seconds() >= most)
    }

    /// Carries a recipe out, from the longest beginning that an earlier candidate shares with it.
    fn make(
        self,
        recipe: &Recipe,
        run: &RecipeRun<'_>,
        kept: &mut Vec<(Vec<Step>, State)>,
        progress: &mut dyn Progress,
    ) -> Result<Option<Made>> {
        let shared =
            kept.iter().filter(|(steps, _)| recipe.steps.starts_with(steps)).max_by_key(|(steps, _)| steps.len());
        let (mut done, mut state) =
            shared.map_or_else(|| (0, State::new(run.model)), |(steps, state)| (steps.len(), state.clone()));
        while done < recipe.steps.len() {
            match run_step(recipe, done, state, run, progress)? {
                Some(next) => state = next,
                None => return Ok(None),
            }
            done += 1;
            // What took training may be the beginning of others.
            if done < recipe.steps.len() && recipe.steps[done - 1].trains() {
                if kept.len() == KEPT {
                    kept.remove(0);
                }
                kept.push((recipe.steps[..done].to_vec(), state.clone()));
            }
        }
        state.finish().map(Some)
    }

    /// What a file is worth, as anybody would load it.
    fn measure(self, name: &str, bytes: &[u8], seconds: f64, progress: &mut dyn Progress) -> Result<Point> {
        let model = litesmith_tflite::read(bytes, &Limits::default())?.model;
        let mut predictor = Predictor::for_split(&model, self.options.session.clone(), self.validation)?;
        let evaluation =
            evaluate(&mut predictor, None, self.validation, &EvaluateOptions::default(), progress)?.0.finish();
        let mut session = Session::new(&model, self.options.session.clone())?;
        let timing = TimingOptions { warmup_runs: 20, runs: 500, ..TimingOptions::default() };
        let timing = time(&timing, || session.run())?;
        let packed = litesmith_tflite::Packed::of(bytes);
        Ok(Point {
            name: name.into(),
            file: String::new(),
            bytes: bytes.len() as u64,
            gzip_bytes: packed.gzip,
            zstd_bytes: packed.zstd,
            samples: evaluation.samples,
            correct: evaluation.correct,
            accuracy: evaluation.accuracy,
            latency_us: timing.latency_ns_p50 as f64 / 1000.0,
            timing,
            seconds,
        })
    }
}

/// The last word: the test samples, and the report.
fn finish(
    model: &Model,
    dataset: &Dataset,
    saved: &Saved,
    options: &SearchOptions,
    ended: SearchEnded,
    clock: &Stopwatch,
    progress: &mut dyn Progress,
) -> Result<SearchReport> {
    let given = saved.points[0].accuracy;
    let best = saved.best(&options.goal);
    let reached = options.goal.is_met(&saved.points[best], given);
    let front = saved.front();
    let test_accuracy = match &dataset.test {
        Some(test) => {
            progress.note("the test samples, which no choice looks at: the model given and the best");
            let mut right = |model: &Model| -> Result<f64> {
                let mut predictor = Predictor::for_split(model, options.session.clone(), test)?;
                let options = EvaluateOptions::default();
                Ok(evaluate(&mut predictor, None, test, &options, progress)?.0.finish().accuracy)
            };
            let found = crate::load_model(&options.out.join(&saved.points[best].file))?.model;
            Some([right(model)?, right(&found)?])
        }
        None => None,
    };
    let reached_on_test =
        test_accuracy.and_then(|[given, found]| Some(found >= options.goal.floor(given)? - f64::EPSILON));
    let points = saved.points.clone();
    let report = SearchReport { points, front, best, reached, ended, test_accuracy, reached_on_test };
    let page = page(&report, dataset, options, clock);
    let save = |name: &str, text: &str| files::save(&options.out.join(name), text.as_bytes(), Existing::Replace);
    save("report.json", &page.write_json()?)?;
    save("report.html", &render_html(&page))?;
    Ok(report)
}

fn page(report: &SearchReport, dataset: &Dataset, options: &SearchOptions, clock: &Stopwatch) -> Report {
    let shown = report.front.iter().copied().filter(|&index| index != 0);
    let models = std::iter::once(0).chain(shown).map(|index| {
        let point = &report.points[index];
        ModelResult {
            name: format!("{}{}", point.name, if index == report.best { " (best)" } else { "" }),
            file: point.file.clone(),
            kind: ModelKind::Other,
            file_bytes: point.bytes,
            samples: point.samples,
            correct: point.correct,
            agreement: None,
            timing: Some(point.timing.clone()),
        }
    });
    let best = &report.points[report.best];
    let mut facts = vec![
        Fact::new("looked for", options.goal),
        Fact::new(
            "best",
            format!(
                "{}, {}",
                best.name,
                match (report.reached, report.reached_on_test) {
                    (true, Some(false)) => "meets the goal on the validation samples, not on the test samples",
                    (true, _) => "meets the goal",
                    (false, _) => "comes nearest",
                }
            ),
        ),
        Fact::new("models made", report.points.len() - 1),
        Fact::new("seed", options.seed),
        Fact::new("epochs of a step that trains", options.epochs),
        Fact::new("threads", options.session.threads),
        Fact::new("seconds", format!("{:.0}", clock.elapsed_seconds())),
        Fact::new("Litesmith", env!("CARGO_PKG_VERSION")),
    ];
    if let Some([given, found]) = report.test_accuracy {
        facts.insert(2, Fact::new("test accuracy of the model given", format::percent(given)));
        facts.insert(3, Fact::new("test accuracy of the best", format::percent(found)));
    }
    Report {
        title: format!("Compression on {}", dataset.name),
        subtitle: format!(
            "Of {} models made, those that no other beats in size, accuracy and speed at once. Chosen by validation samples; \
             the test samples were looked at in the end, after all choices.",
            report.points.len() - 1
        ),
        comparison: Some(Comparison {
            data: "the validation samples".into(),
            sample_noun: "sample".into(),
            reference: 0,
            models: models.collect(),
        }),
        machine: Some(Machine::detect()),
        facts,
        ..Report::default()
    }
}
