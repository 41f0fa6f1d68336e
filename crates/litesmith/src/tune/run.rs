//! A search: quantizes and measures what the strategy asks for, keeps the best, and ends when it is to.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use litesmith_compress::{QuantizationConfig, Sample, calibrate, calibration_samples, quantize};
use litesmith_data::{Batch, Loader, LoaderConfig};
use litesmith_graph::{Error, Model, Result};
use litesmith_measure::{Evaluation, Stopwatch, format, time};
use litesmith_runtime::Session;
use litesmith_tflite::WriteOptions;

use super::data::with_transforms;
use super::schema::NotHonoured;
use super::space::{Candidate, Space};
use super::state::{Measured, Record, State, file_of, fingerprint};
use super::strategy::{Judge, search};
use super::{Baseline, Ended, Trial, TuneJob, TuneReport};
use crate::evaluate::check_classes;
use crate::files::{self, Existing};
use crate::predictor::Predictor;
use crate::progress::{Progress, Stage};
use crate::quantize::quantize_on;

/// Samples that the impact of an op on the output is measured on at most.
const IMPACT_SAMPLES: usize = 64;
/// Images at a time, where the file does not say.
const BATCH: usize = 64;

pub(super) struct Run<'a> {
    job: &'a TuneJob<'a>,
    /// With the normalization of the file.
    model: Model,
    space: Space,
    progress: &'a mut dyn Progress,
    clock: Stopwatch,
    /// Seconds that the run before took.
    earlier: f64,
    fingerprint: String,
    state: Option<State>,
    state_file: Option<PathBuf>,
    tried: Vec<(Candidate, Record, Trial)>,
    best: Option<usize>,
    saved: Option<usize>,
    ended: Option<Ended>,
    not_honoured: Vec<NotHonoured>,
}

impl<'a> Run<'a> {
    /// Checks everything that can be checked before any work.
    pub(super) fn new(job: &'a TuneJob<'a>, progress: &'a mut dyn Progress) -> Result<Self> {
        files::check_absent(job.out, job.existing)?;
        let config = job.config;
        let classes = job.data.evaluation.classes().len();
        if config.top_k > classes {
            return Err(Error::invalid(
                "evaluation.accuracy.metric.topk",
                format!("got {}, expected 1 to {classes}, the number of classes", config.top_k),
            ));
        }
        let (model, not_honoured) = with_transforms(job.model, config)?;
        let space = Space::new(model.main()?, config)?;
        let bytes = crate::model_bytes(&model, &WriteOptions::default())?;
        let data = &job.data;
        let samples = format!("{} {} {}", data.description, data.calibration.name(), data.calibration.len());
        let settings = format!("{} {} {:?}", config.top_k, config.seed, config.criterion.higher_is_better);
        let fingerprint = fingerprint(&[&bytes, samples.as_bytes(), settings.as_bytes()]);
        let state = config.resume.as_deref().map(|path| State::load(path, &fingerprint)).transpose()?;
        let state_file = match (&config.workspace, &config.resume) {
            (Some(folder), resume) => {
                std::fs::create_dir_all(folder).map_err(|error| Error::io(folder.display(), error))?;
                let file = file_of(folder);
                if resume.is_none() {
                    files::check_absent(&file, job.existing).map_err(|error| {
                        error.with_hint(format!(
                            "write tuning.workspace.resume: {} to go on, or pass --force",
                            folder.display()
                        ))
                    })?;
                }
                Some(file)
            }
            (None, Some(resume)) => Some(file_of(resume)),
            (None, None) => None,
        };
        let earlier = state.as_ref().and_then(|state| state.trials.last()).map_or(0.0, |record| record.seconds);
        Ok(Self {
            job,
            model,
            space,
            progress,
            clock: Stopwatch::start(),
            earlier,
            fingerprint,
            state,
            state_file,
            tried: Vec::new(),
            best: None,
            saved: None,
            ended: None,
            not_honoured,
        })
    }

    /// Searches.
    pub(super) fn finish(mut self) -> Result<TuneReport> {
        if self.state.is_none() {
            let model = self.model.clone();
            if let Some(baseline) = self.measure(&model)? {
                self.state = Some(State::new(self.fingerprint.clone(), baseline));
            }
        }
        if self.state.is_some() {
            self.note_baseline();
            let (space, config) = (self.space.clone(), self.job.config);
            search(config.strategy, &space, config.seed, &mut self)?;
            self.save_best()?;
        }
        let met = self.best.is_some_and(|best| self.tried[best].2.met);
        let ended = self.ended.unwrap_or(if met { Ended::Met } else { Ended::Exhausted });
        let baseline = self.state.as_ref().map(|state| Baseline {
            accuracy: self.accuracy(&state.baseline),
            latency_ns: state.baseline.latency_ns,
            file_bytes: state.baseline.file_bytes,
        });
        let trials = self.tried.into_iter().map(|(.., trial)| trial).collect();
        Ok(TuneReport { baseline, trials, best: self.best, met, ended, not_honoured: self.not_honoured })
    }

    fn note_baseline(&mut self) {
        if let Some(accuracy) = self.state.as_ref().and_then(|state| self.accuracy(&state.baseline)) {
            self.progress.note(&format!("float model: {}", format::percent(accuracy)));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of samples")]
    fn accuracy(&self, measured: &Measured) -> Option<f64> {
        measured.correct.map(|correct| correct as f64 / self.job.data.evaluation.len() as f64)
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.clock.elapsed_seconds()
    }

    /// Whether work is to stop at once.
    fn is_interrupted(&mut self) -> bool {
        if self.job.cancel.is_some_and(|cancel| cancel.load(Ordering::SeqCst)) {
            self.ended = Some(Ended::Cancelled);
        } else if self.job.config.timeout.is_some_and(|timeout| self.seconds() >= timeout.as_secs_f64()) {
            self.ended = Some(Ended::Timeout);
        }
        self.ended.is_some()
    }

    /// Whether another trial is not wanted, however long it takes.
    fn is_over(&mut self) -> bool {
        let config = self.job.config;
        let met = self.best.is_some_and(|best| self.tried[best].2.met);
        self.ended = self.ended.or(match self.tried.len() {
            0 => None,
            _ if config.performance_only => Some(Ended::PerformanceOnly),
            _ if met && config.timeout.is_none() => Some(Ended::Met),
            count if count >= config.max_trials => Some(Ended::MaxTrials),
            _ => None,
        });
        self.ended.is_some()
    }

    /// Accuracy, time and size of a model; `None` when it was interrupted.
    fn measure(&mut self, model: &Model) -> Result<Option<Measured>> {
        let job = self.job;
        let mut predictor = Predictor::for_split(model, job.session.clone(), &job.data.evaluation)?;
        let correct = match job.config.performance_only {
            true => None,
            false => match self.evaluate(&mut predictor)? {
                Some(correct) => Some(correct),
                None => return Ok(None),
            },
        };
        let pixels = vec![0.0; predictor.input_len()];
        let timing = time(&job.config.timing, || predictor.predict(&pixels).map(drop))?;
        let file_bytes = crate::model_bytes(model, &WriteOptions::default())?.len() as u64;
        Ok(Some(Measured { correct, latency_ns: timing.latency_ns_p50, file_bytes }))
    }

    /// Samples whose class is among the k best; `None` when it was interrupted.
    fn evaluate(&mut self, predictor: &mut Predictor) -> Result<Option<u64>> {
        let (config, split) = (self.job.config, &self.job.data.evaluation);
        let classes = split.classes().len();
        let mut evaluation =
            Evaluation::new(split.classes().iter().cloned())?.with_top_k([config.top_k]).with_wrong_limit(0);
        let batch = LoaderConfig::evaluation(config.evaluation.batch.unwrap_or(BATCH));
        let mut epoch = Loader::new(split.clone(), predictor.preprocess().clone(), batch)?.epoch(0, 0);
        let mut batch = Batch::default();
        self.progress.start(Stage::Evaluate, split.len() as u64);
        while epoch.next_into(&mut batch)?.is_some() {
            if self.is_interrupted() {
                self.progress.finish();
                return Ok(None);
            }
            if batch.is_empty() {
                continue;
            }
            let scores = predictor.predict(&batch.images)?;
            check_classes(scores.len(), batch.len(), classes)?;
            for (row, &label) in scores.chunks_exact(classes).zip(&batch.labels) {
                evaluation.add(row, label as usize)?;
            }
            self.progress.advance(evaluation.samples());
        }
        self.progress.finish();
        let metrics = evaluation.finish();
        Ok(Some(metrics.top_k.first().map_or(metrics.correct, |top| top.correct)))
    }

    fn quantized(&mut self, config: &QuantizationConfig) -> Result<Model> {
        let job = self.job;
        let split = Some(&job.data.calibration);
        quantize_on(&self.model, split, config, Vec::new(), &job.session, self.progress).map(|(model, _)| model)
    }

    fn trial(&self, stage: &str, candidate: &Candidate, config: QuantizationConfig, measured: Measured) -> Trial {
        let criterion = self.job.config.criterion;
        let accuracy = self.accuracy(&measured);
        let baseline = self.state.as_ref().and_then(|state| self.accuracy(&state.baseline));
        let loss = accuracy.zip(baseline).map(|(accuracy, baseline)| criterion.loss(baseline, accuracy));
        Trial {
            stage: stage.into(),
            settings: self.space.describe(candidate),
            float_ops: self.space.float_ops(candidate),
            config,
            accuracy,
            loss: loss.filter(|loss| loss.is_finite()),
            met: accuracy.zip(baseline).is_some_and(|(accuracy, baseline)| criterion.is_met(baseline, accuracy)),
            latency_ns: measured.latency_ns,
            file_bytes: measured.file_bytes,
        }
    }

    /// The higher the better.
    fn score_of(&self, trial: &Trial) -> f64 {
        let accuracy = trial.accuracy.unwrap_or(0.0);
        if self.job.config.criterion.higher_is_better { accuracy } else { -accuracy }
    }

    /// Whether trial `a` is better than trial `b`.
    fn is_better(&self, a: usize, b: usize) -> bool {
        let ((first, _, one), (second, _, other)) = (&self.tried[a], &self.tried[b]);
        if one.met != other.met {
            return one.met;
        }
        let cost = |candidate, trial: &Trial| self.space.cost(candidate, self.job.config.objective, trial.file_bytes);
        let (cheap, dear) = (cost(first, one), cost(second, other));
        if one.met && cheap != dear {
            return cheap < dear;
        }
        self.score_of(one) > self.score_of(other)
    }

    /// Writes the best model, unless it is written already.
    fn save_best(&mut self) -> Result<()> {
        let Some(best) = self.best.filter(|best| self.saved != Some(*best)) else { return Ok(()) };
        let config = self.tried[best].1.config.clone();
        let model = self.quantized(&config)?;
        self.save(best, &model)
    }

    fn save(&mut self, index: usize, model: &Model) -> Result<()> {
        // Checked at the start: what stands there now is ours.
        let existing = if self.saved.is_some() { Existing::Replace } else { self.job.existing };
        crate::save_model(self.job.out, model, existing)?;
        self.saved = Some(index);
        Ok(())
    }

    fn keep(&mut self, record: &Record) -> Result<()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        state.trials.push(record.clone());
        self.state_file.as_ref().map_or(Ok(()), |path| state.save(path))
    }
}

impl Judge for Run<'_> {
    fn score(&mut self, stage: &str, candidate: &Candidate) -> Result<Option<f64>> {
        let config = self.space.quantization(self.model.main()?, candidate);
        if let Some((.., trial)) = self.tried.iter().find(|(_, record, _)| record.config == config) {
            return Ok(Some(self.score_of(trial)));
        }
        if self.is_over() {
            return Ok(None);
        }
        let known = self.state.as_ref().and_then(|state| state.trials.iter().find(|record| record.config == config));
        let (record, model) = match known.cloned() {
            Some(record) => (record, None),
            None => {
                if self.is_interrupted() {
                    return Ok(None);
                }
                let model = self.quantized(&config)?;
                let Some(measured) = self.measure(&model)? else { return Ok(None) };
                let record = Record { config: config.clone(), measured, seconds: self.seconds() };
                self.keep(&record)?;
                (record, Some(model))
            }
        };
        let trial = self.trial(stage, candidate, config, record.measured);
        let score = self.score_of(&trial);
        let index = self.tried.len();
        if let Some(accuracy) = trial.accuracy {
            let floats = match trial.float_ops.as_slice() {
                [] => String::new(),
                [op] => format!(", {op} in float32"),
                ops => format!(", {} in float32", format::plural(ops.len() as u64, "op")),
            };
            let met = if trial.met { ", which is enough" } else { "" };
            let accuracy = format::percent(accuracy);
            self.progress.note(&format!("trial {}: {}{floats}: {accuracy}{met}", index + 1, trial.settings));
        }
        self.tried.push((candidate.clone(), record, trial));
        if self.best.is_none_or(|best| self.is_better(index, best)) {
            self.best = Some(index);
        }
        match model {
            Some(model) if self.best == Some(index) => self.save(index, &model)?,
            // Trials of the run before are made again only where they stay the best.
            Some(_) => self.save_best()?,
            None => {}
        }
        Ok(Some(score))
    }

    fn impacts(&mut self, candidate: &Candidate, ops: &[usize]) -> Result<Option<Vec<f64>>> {
        if self.is_over() {
            return Ok(None);
        }
        let job = self.job;
        let session = || job.session.clone();
        let graph = self.model.main()?;
        let whole = self.space.quantization(graph, candidate);
        let split = &job.data.calibration;
        let mut float = Predictor::for_split(&self.model, session(), split)?;
        let calibration = &whole.calibration;
        let samples = calibration_samples(split, float.preprocess(), calibration.samples, calibration.seed)?;
        let samples = samples.collect::<Result<Vec<Sample>>>()?;
        let mut runner = Session::new(&self.model, session())?;
        let ranges = calibrate(graph, &mut runner, samples.iter().cloned().map(Ok), &|| calibration.calibrator())?;
        let looked_at: Vec<_> = samples.iter().take(IMPACT_SAMPLES).filter_map(|sample| sample.first()).collect();
        let outputs = looked_at.iter().map(|image| float.predict(image).map(<[f32]>::to_vec));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let alone: Vec<_> = ops.iter().map(|&op| self.space.alone(graph, candidate, op)).collect();
        let mut impacts = Vec::with_capacity(ops.len());
        for config in alone {
            if self.is_interrupted() {
                return Ok(None);
            }
            let (quantized, _) = quantize(&self.model, &config.options(Vec::new()), Some(&ranges))?;
            let mut predictor = Predictor::for_split(&quantized, session(), split)?;
            let mut sum = 0.0;
            for (image, expected) in looked_at.iter().zip(&outputs) {
                let got = predictor.predict(image)?;
                sum += got.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
            impacts.push(sum);
        }
        Ok(Some(impacts))
    }
}
