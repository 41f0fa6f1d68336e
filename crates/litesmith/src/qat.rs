//! Quantization-aware training: some epochs in float32, then batch normalization becomes part of the weights and the rest
//! of the epochs sees weights and activations as the integer model will round them. That model is what comes out.

use litesmith_compress::{
    Granularity, IoType, MinMax, QuantizeOptions, QuantizeReport, Scheme, Simulation, WeightBits, calibrate,
    calibration_samples, quantize, simulate, simulated,
};
use litesmith_compress::{Rule, Selector};
use litesmith_graph::{Error, Graph, Model, Op, Result};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_train::{
    CheckpointHeader, Ended, Preserved, Qat, QatGranularity, QatMethod, QatWeights, TrainConfig, TrainData,
    TrainOptions, TrainReport, Trainer, export,
};

use std::path::Path;

use crate::training::Watch;

/// What the learning rate before is multiplied by when none is given.
const RATE: f64 = 0.1;

/// What quantization-aware training gives.
pub(crate) struct Outcome {
    pub(crate) model: Model,
    pub(crate) report: TrainReport,
    /// What was quantized; `None` when training was cancelled before.
    pub(crate) quantization: Option<QuantizeReport>,
}

/// How the model that `qat` describes is quantized, with these types of inputs and outputs.
///
/// # Errors
/// [`Error::Invalid`] for a rule that cannot be read.
pub fn qat_options(qat: &Qat, input: IoType, output: IoType) -> Result<QuantizeOptions> {
    let mut options = QuantizeOptions::new(Scheme::Int8).with_io(input, output);
    options.weights = match qat.weights {
        QatWeights::Int8 => WeightBits::Int8,
        QatWeights::Int4 => WeightBits::Int4,
    };
    options.granularity = match qat.granularity {
        QatGranularity::PerChannel => Granularity::PerChannel,
        QatGranularity::PerTensor => Granularity::PerTensor,
    };
    let rules = qat.rules.iter().map(|rule| rule.parse());
    options.rules = rules.collect::<Result<_>>().map_err(|error| error.at("qat.rules"))?;
    Ok(options)
}

/// Gives the layers of `graph`, which is exported or folded, one scale each whose weights share values across channels: with a
/// scale for each channel the same value would become another integer in each, and what was shared in float32 would no
/// longer be shared in the file. Rules that `options` has already win. Tells how many layers there are.
///
/// # Errors
/// [`Error::Malformed`] when constants are not as long as their shape.
pub fn share_scales(graph: &Graph, options: &mut QuantizeOptions) -> Result<usize> {
    let preserved = Preserved::of(graph)?;
    let across = |layer: &&litesmith_train::PreservedLayer| layer.shared.is_some_and(|shared| shared.across_channels);
    let shared: Vec<_> = preserved.layers().iter().filter(across).map(|layer| Some(layer.weights)).collect();
    // Rules count the ops of a graph without dropout.
    let nodes = graph.nodes.iter().filter(|node| !matches!(node.op, Op::Dropout(_)));
    let rules: Vec<_> = nodes
        .enumerate()
        .filter(|(_, node)| node.inputs.get(1).is_some_and(|weights| shared.contains(weights)))
        .map(|(index, _)| Rule {
            ops: Selector::Node(index),
            scheme: None,
            weights: None,
            granularity: Some(Granularity::PerTensor),
        })
        .collect();
    let count = rules.len();
    options.rules.splice(0..0, rules);
    Ok(count)
}

/// A graph for quantization-aware training: that of a float model, with batch normalization folded and fake quantization
/// wherever the integer model will hold integers. Ranges start from those of training samples.
///
/// # Errors
/// Those of [`export::fold`], of reading samples, of calibration and of [`simulate`].
pub fn qat_graph(
    graph: &Graph,
    qat: &Qat,
    options: &QuantizeOptions,
    data: &TrainData,
    session: SessionOptions,
    seed: u64,
) -> Result<Graph> {
    let folded = export::fold(graph)?;
    let mut runner = Session::from_graph(folded.clone(), session)?;
    let samples = calibration_samples(&data.train, &data.preprocess, qat.calibration_samples, seed)?;
    let ranges = calibrate(&folded, &mut runner, samples, &|| Box::new(MinMax::default()))?;
    let simulation = match qat.method {
        QatMethod::Ste => Simulation::StraightThrough { momentum: qat.range_momentum },
        QatMethod::Lsq => Simulation::LearnedStep,
    };
    simulate(&folded, options, simulation, &ranges)
}

/// The integer model that a trainer of a [`qat_graph`] has come to: exactly what it simulates.
///
/// # Errors
/// Those of [`export::export`], [`simulated`] and [`quantize`].
pub fn qat_model(trainer: &Trainer, options: &QuantizeOptions) -> Result<(Model, QuantizeReport)> {
    let (graph, ranges) = simulated(&trainer.exported_graph()?)?;
    quantize(&Model::from_graph(graph), options, Some(&ranges))
}

/// Trains by `config`, which has a `qat`.
pub(crate) fn train(
    graph: &Graph,
    config: &TrainConfig,
    qat: &Qat,
    io: (IoType, IoType),
    options: TrainOptions,
    data: &TrainData,
    resume: Option<&Path>,
    watch: &mut Watch<'_>,
) -> Result<Outcome> {
    let mut quantize_options = qat_options(qat, io.0, io.1)?;
    // The last epoch is quantized in any case, unless somebody says otherwise.
    let delay = qat.delay_epochs.unwrap_or(config.epochs.div_ceil(2).min(config.epochs.saturating_sub(1)));
    if delay >= config.epochs {
        return Err(Error::invalid(
            "qat.delay_epochs",
            format!("got {delay} of {} epochs, which leaves none with quantization", config.epochs),
        )
        .with_hint("train for more epochs, or delay quantization for fewer"));
    }
    let resumes_quantized = match resume {
        Some(path) => CheckpointHeader::load(path)?.config.qat.is_some(),
        None => false,
    };
    let mut earlier = Vec::new();
    let mut float = graph.clone();
    if delay > 0 && !resumes_quantized {
        let config = TrainConfig { epochs: delay, qat: None, ..config.clone() };
        let mut trainer = match resume {
            Some(path) => Trainer::resume(graph, config, options.clone(), path)?,
            None => Trainer::new(graph, config, options.clone())?,
        };
        let report = trainer.train(data, watch)?;
        if report.ended == Ended::Cancelled {
            let model = Model::from_graph(trainer.exported_graph()?);
            return Ok(Outcome { model, report, quantization: None });
        }
        float = trainer.trained_graph();
        earlier = report.history;
    }
    let mut session = SessionOptions::default();
    if options.threads > 0 {
        session.threads = options.threads;
    }
    if config.preserve && share_scales(&export::fold(&float)?, &mut quantize_options)? > 0 {
        watch.note("layers whose channels share values have one scale");
    }
    // The structure is that of the graph that the checkpoint was made from; what was calibrated then is in the checkpoint.
    let graph = qat_graph(&float, qat, &quantize_options, data, session, config.seed)?;
    watch.note(&format!(
        "from here on quantized: {} weights, int8 activations",
        if qat.weights == QatWeights::Int4 { "int4" } else { "int8" }
    ));
    let rate = config.learning_rate.unwrap_or_else(|| config.optimizer.default_learning_rate());
    let config = TrainConfig {
        epochs: config.epochs - delay,
        learning_rate: Some(qat.learning_rate.unwrap_or(rate * RATE)),
        ..config.clone()
    };
    let options = TrainOptions { earlier, ..options };
    let mut trainer = match resume.filter(|_| resumes_quantized) {
        Some(path) => Trainer::resume(&graph, config, options, path)?,
        None => Trainer::new(&graph, config, options)?,
    };
    let report = trainer.train(data, watch)?;
    let (model, quantization) = qat_model(&trainer, &quantize_options)?;
    Ok(Outcome { model, report, quantization: Some(quantization) })
}
