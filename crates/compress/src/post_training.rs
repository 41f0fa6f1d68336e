//! Post-training quantization as a whole: equalize, round, correct, calibrate, quantize.

use litesmith_graph::{Error, Model, Normalization, Result};
use litesmith_runtime::{Session, SessionOptions};
use serde::{Deserialize, Serialize};

use crate::equalize::Moved;
use crate::layers::Sample;
use crate::{
    AdaRoundConfig, AdaRoundLayer, BatchNormConfig, CalibrationConfig, ChannelPeaks, EqualizationConfig,
    EqualizationReport, Granularity, IoType, QuantizeOptions, QuantizeReport, Rule, Scheme, WeightBits, adaround,
    amend, batch_norm_reestimation, bias_correction, calibrate, equalize, quantize,
};

/// What becomes of a float32 model and by which algorithms: the `[quantization]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizationConfig {
    /// What becomes of the model.
    pub scheme: Scheme,
    /// Type of every float32 input.
    pub input_type: IoType,
    /// Type of every float32 output.
    pub output_type: IoType,
    /// Bits of the weights, where they are integers.
    pub weights: WeightBits,
    /// Scales of the weights, where they are integers.
    pub granularity: Granularity,
    /// What single ops become instead, as `dense*=int16x8`.
    pub rules: Vec<Rule>,
    /// Constants of fewer elements stay float32; the scheme's default when left out.
    pub min_elements: Option<usize>,
    /// How activation ranges are measured.
    pub calibration: CalibrationConfig,
    /// Cross-layer equalization, if it is to be done.
    pub equalization: Option<EqualizationConfig>,
    /// AdaRound, if it is to be done.
    pub adaround: Option<AdaRoundConfig>,
    /// Batch-norm re-estimation, if it is to be done.
    pub batch_norm: Option<BatchNormConfig>,
    /// Whether biases are corrected; when left out, where the activations are seen anyway. Batch-norm re-estimation does it too, so
    /// that nothing is left to correct behind it.
    pub bias_correction: Option<bool>,
}

impl Default for QuantizationConfig {
    /// Int8 with float32 inputs and outputs, a scale for each channel, ranges of the smallest squared error over 200 samples, corrected
    /// biases.
    fn default() -> Self {
        Self {
            scheme: Scheme::Int8,
            input_type: IoType::Float32,
            output_type: IoType::Float32,
            weights: WeightBits::Int8,
            granularity: Granularity::PerChannel,
            rules: Vec::new(),
            min_elements: None,
            calibration: CalibrationConfig::default(),
            equalization: None,
            adaround: None,
            batch_norm: None,
            bias_correction: None,
        }
    }
}

impl QuantizationConfig {
    /// The options that [`quantize`] takes, with the normalization of each graph input.
    #[must_use]
    pub fn options(&self, normalization: Vec<Option<Normalization>>) -> QuantizeOptions {
        QuantizeOptions {
            weights: self.weights,
            granularity: self.granularity,
            rules: self.rules.clone(),
            min_elements: self.min_elements,
            ..QuantizeOptions::new(self.scheme)
                .with_io(self.input_type, self.output_type)
                .with_normalization(normalization)
        }
    }

    /// Whether any step looks at samples.
    #[must_use]
    pub fn needs_samples(&self) -> bool {
        self.options(Vec::new()).needs_ranges()
            || self.adaround.is_some()
            || self.batch_norm.is_some()
            || self.corrects_biases()
    }

    /// Whether biases are corrected as a step of its own.
    #[must_use]
    pub fn corrects_biases(&self) -> bool {
        // Behind re-estimation the float graph has weights that are right when rounded: its means are no longer those to restore.
        self.batch_norm.is_none() && self.bias_correction.unwrap_or_else(|| self.options(Vec::new()).needs_ranges())
    }

    /// Checks the settings that do not depend on the model.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the one that is out of its range.
    pub fn check(&self) -> Result<()> {
        self.calibration.check()?;
        if let Some(config) = &self.adaround {
            config.check()?;
        }
        if let Some(BatchNormConfig { largest_factor }) = self.batch_norm
            && !(largest_factor.is_finite() && largest_factor >= 1.0)
        {
            return Err(Error::invalid(
                "batch_norm: largest_factor",
                format!("got {largest_factor}, expected a number of at least 1"),
            ));
        }
        // Halves have no scale to choose, and are near enough to leave nothing to make up for.
        let idle = [
            ("adaround", self.adaround.is_some()),
            ("batch_norm", self.batch_norm.is_some()),
            ("bias_correction", self.bias_correction == Some(true)),
            ("granularity", self.granularity != Granularity::PerChannel),
        ];
        if self.scheme == Scheme::Float16
            && self.rules.is_empty()
            && let Some((key, _)) = idle.into_iter().find(|(_, is_set)| *is_set)
        {
            return Err(Error::invalid(key, "it does nothing for float16, which rounds weights to the nearest")
                .with_hint("leave it out, or choose int8, dynamic range or another scheme with integers"));
        }
        if self.batch_norm.is_some() && self.bias_correction == Some(true) {
            return Err(Error::invalid(
                "bias_correction",
                "got true beside batch-norm re-estimation, which corrects biases along with scales",
            )
            .with_hint("leave one of the two out"));
        }
        Ok(())
    }
}

/// What each step did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostTrainingReport {
    /// Of quantization itself.
    pub quantization: QuantizeReport,
    /// Of cross-layer equalization, if it was done.
    pub equalization: Option<EqualizationReport>,
    /// Of AdaRound, layer by layer.
    pub adaround: Vec<AdaRoundLayer>,
}

/// A step that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Measuring activation ranges, sample by sample.
    Calibrate,
    /// Learning how weights are rounded, layer by layer.
    Round,
    /// Correcting biases, layer by layer.
    Correct,
}

/// Quantizes a float32 model as `config` says. In this order: cross-layer equalization; calibration; AdaRound; batch-norm
/// re-estimation; bias correction; quantization. `samples` are inputs of the training data as the model takes them; none are
/// needed where [`QuantizationConfig::needs_samples`] is false. `progress` is called with a step, and how many of how many of its
/// parts are done.
///
/// # Errors
/// Those of the single steps.
pub fn post_training(
    model: &Model,
    config: &QuantizationConfig,
    normalization: Vec<Option<Normalization>>,
    samples: &[Sample],
    session: &SessionOptions,
    progress: &mut dyn FnMut(Step, usize, usize),
) -> Result<(Model, PostTrainingReport)> {
    config.check()?;
    let mut options = config.options(normalization);
    let mut report = PostTrainingReport::default();
    let mut model = model.clone();
    // What cannot be done is said before any work.
    crate::quantize::check(model.main()?, &options)?;
    if config.needs_samples() && samples.is_empty() {
        return Err(Error::invalid("quantize", "got no samples, expected at least one")
            .with_hint("give a data set with at least one sample; 100 to 500 are usual"));
    }
    let mut moved: Option<String> = None;
    if let Some(config) = &config.equalization {
        let graph = model.main()?;
        let peaks = if samples.is_empty() {
            None
        } else {
            let mut runner = Session::from_graph(graph.clone(), session.clone())?;
            Some(ChannelPeaks::measure(graph, &mut runner, samples)?)
        };
        let (edits, equalization) = equalize(graph, config, peaks.as_ref())?;
        let amended = amend(model.main()?, &edits)?;
        if !equalization.replaced_relu6.is_empty() {
            moved = Some(match samples {
                [] => "how far its outputs moved is not known without samples".to_owned(),
                samples => Moved::measure(graph, &amended, samples, session)?.warning().unwrap_or_default(),
            });
        }
        *model.main_mut()? = amended;
        report.equalization = Some(equalization);
    }
    let mut ranges = None;
    if options.needs_ranges() {
        // Before biases are corrected: what the float network computes is what the corrected one is to compute.
        let graph = model.main()?;
        let mut runner = Session::from_graph(graph.clone(), session.clone())?;
        let counted = samples.iter().enumerate().map(|(done, sample)| {
            progress(Step::Calibrate, done + 1, samples.len());
            Ok(sample.clone())
        });
        ranges = Some(calibrate(graph, &mut runner, counted, &|| config.calibration.calibrator())?);
    }
    if let Some(config) = &config.adaround {
        let mut part = |done: usize, of: usize| progress(Step::Round, done, of);
        let (rounded, layers) = adaround(model.main()?, &options, config, samples, session, &mut part)?;
        (options.rounded, report.adaround) = (rounded, layers);
    }
    if let Some(config) = &config.batch_norm {
        let (edits, rounded) = batch_norm_reestimation(model.main()?, &options, config, samples, session)?;
        *model.main_mut()? = amend(model.main()?, &edits)?;
        options.rounded = rounded;
    }
    if config.corrects_biases() {
        let mut part = |done: usize, of: usize| progress(Step::Correct, done, of);
        let edits = bias_correction(model.main()?, &options, samples, session, &mut part)?;
        *model.main_mut()? = amend(model.main()?, &edits)?;
    }
    let (quantized, quantization) = quantize(&model, &options, ranges.as_ref())?;
    report.quantization = quantization;
    if let Some(moved) = moved.filter(|moved| !moved.is_empty()) {
        report.quantization.warnings.push(format!("RELU6 became RELU, which changes the float model: {moved}"));
    }
    Ok((quantized, report))
}
