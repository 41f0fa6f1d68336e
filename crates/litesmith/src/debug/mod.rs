//! Which layer of a quantized model breaks its accuracy: both models run on the same samples, layer by layer.

mod remedy;
mod watch;

use litesmith_compress::{LayerPair, Own, Pairing, pair_layers, selector_of};
use litesmith_data::{Batch, Loader, LoaderConfig, Preprocess, Split};
use litesmith_graph::{DType, Error, Graph, Model, Result, TensorId};
use litesmith_measure::{Accuracy, ErrorTally, LayerError, LayerErrorReport, argmax};
use litesmith_runtime::{Session, SessionOptions};

use crate::predictor::Predictor;
use crate::progress::{Progress, Stage};

use remedy::{Remedy, helpful, integer_scheme};
use watch::{Values, Watched, weights_error};

/// Suspicious layers that are tried in float.
const TRIED: usize = 3;

/// How to look for the layer that breaks a quantized model.
#[derive(Debug, Clone)]
pub struct DebugOptions {
    /// Samples to run, the same number of each class as far as there are.
    pub samples: usize,
    /// Seed that chooses them.
    pub seed: u64,
    /// How both models run.
    pub session: SessionOptions,
}

/// What the models and the data are called, in the report and in the commands that it suggests.
#[derive(Debug, Clone)]
pub struct DebugNames {
    /// File of the quantized model.
    pub quantized: String,
    /// File of the float model.
    pub float: String,
    /// The data as the command line names it, as `mnist`.
    pub data: String,
    /// The data as people call it, as `MNIST train`.
    pub data_title: String,
}

/// Runs `quantized` and the `float` model that it was made from on samples of `split`, and measures for every tensor that both
/// compute how far they are apart, and how much of that its own op adds: its result is compared with that of the float op on
/// the same dequantized inputs, so that the layer that breaks accuracy is told from those after it. With integer activations
/// and labels, the three most suspicious layers are also kept float one at a time, in a model that is otherwise quantized on
/// the same grids.
///
/// # Errors
/// [`Error::Invalid`] when the first model is not quantized or the second is, when inputs or outputs are of other sizes, or when
/// no tensor of one has a counterpart in the other; [`Error::Unsupported`] for models of several inputs; those of reading
/// samples and running models.
pub fn debug_quantized(
    quantized: &Model,
    float: &Model,
    split: &Split,
    names: &DebugNames,
    options: &DebugOptions,
    progress: &mut dyn Progress,
) -> Result<LayerErrorReport> {
    check_kinds(quantized, float, names)?;
    let side = |model: &Model, name: &str| -> Result<(Session, Predictor)> {
        let predictor = Predictor::for_split(model, options.session.clone(), split).map_err(|error| error.at(name))?;
        let session = Session::new(model, options.session.clone()).map_err(|error| error.at(name))?;
        Ok((session, predictor))
    };
    let (mut quantized_session, mut quantized_predictor) = side(quantized, &names.quantized)?;
    let (mut float_session, mut float_predictor) = side(float, &names.float)?;
    quantized_predictor.agree_on_normalization(&mut float_predictor)?;
    let mismatch = quantized_predictor.mismatch(split);
    for session in [&mut quantized_session, &mut float_session] {
        session.resize_batch(1)?;
    }
    let (quantized_graph, float_graph) = (planned(&quantized_session), planned(&float_session));
    check_ends(&quantized_graph, &float_graph, names)?;
    let pairing = pair_layers(&float_graph, &quantized_graph);
    check_pairs(&pairing, &quantized_graph, names)?;

    let samples = samples(split, [quantized_predictor.preprocess(), float_predictor.preprocess()], options)?;
    let mut watched = Watched::new(&pairing.layers, &quantized_graph, &options.session);
    let mut output = ErrorTally::default();
    let mut right = [0_u64; 2];
    let mut expected = Vec::with_capacity(samples.len());
    let classes = split.classes().len();
    let mut has_classes = classes > 1;
    progress.start(Stage::Evaluate, samples.len() as u64);
    for (done, sample) in samples.iter().enumerate() {
        let place = |error: Error, name: &str| error.at(name).at(format!("sample {done}"));
        let floats = Values::of(&mut float_session, &sample.float).map_err(|error| place(error, &names.float))?;
        let quants =
            Values::of(&mut quantized_session, &sample.quantized).map_err(|error| place(error, &names.quantized))?;
        watched.add(&floats, &quants)?;
        let ends = [&quantized_graph, &float_graph].map(|graph| graph.outputs.first().copied());
        if let [Some(quantized_end), Some(float_end)] = ends
            && let (Some(ours), Some(theirs)) = (quants.get(quantized_end), floats.get(float_end))
        {
            output.add(theirs, ours)?;
            expected.push(theirs.to_vec());
            has_classes &= ours.len() == classes;
            for (right, scores) in right.iter_mut().zip([ours, theirs]) {
                *right += u64::from(argmax(scores) == Some(sample.label));
            }
        }
        progress.advance(done as u64 + 1);
    }
    progress.finish();

    let count = samples.len().max(1) as f64;
    let mut report = LayerErrorReport {
        quantized: names.quantized.clone(),
        float: names.float.clone(),
        data: names.data_title.clone(),
        samples: samples.len() as u64,
        unmatched_quantized: pairing.unmatched_quantized,
        unmatched_float: pairing.unmatched_float,
        output: Some(output.finish()),
        accuracy: has_classes.then(|| Accuracy { quantized: right[0] as f64 / count, float: right[1] as f64 / count }),
        ..LayerErrorReport::default()
    };
    let (layers, pair_of): (Vec<_>, Vec<_>) =
        layers(&pairing, &watched, &float_graph, &quantized_graph).into_iter().unzip();
    report.layers = layers;
    report.rank();
    report.notes.extend(mismatch);
    add_notes(&mut report);
    if classes > 1 && !has_classes {
        report.notes.push(format!(
            "the data has {classes} classes, the models do not give that many numbers: accuracy is not measured"
        ));
    }
    let remedy = Remedy { quantized, float, pairing: &pairing, names, session: &options.session };
    let suspects = report.layers.iter().filter(|layer| layer.stands_out).take(TRIED);
    let suspects: Vec<_> = suspects.map(|layer| (layer.clone(), pair_of[layer.position])).collect();
    if !suspects.is_empty() && integer_scheme(&quantized_graph).is_some() {
        match remedy.try_float(&suspects, &watched, &samples, &expected, has_classes) {
            Ok(results) => report.kept_float = results,
            Err(error) => report.notes.push(format!("keeping layers float was not tried: {error}")),
        }
    }
    if helpful(&report.kept_float).is_some_and(|names| names.is_empty()) {
        report.notes.push("none of the layers that stand out helps by being kept float alone".into());
    }
    report.suggestions = remedy.suggestions(&report);
    Ok(report)
}

/// A sample as each of the models takes it.
struct TwoSided {
    quantized: Vec<f32>,
    float: Vec<f32>,
    label: usize,
}

fn samples(split: &Split, preprocess: [&Preprocess; 2], options: &DebugOptions) -> Result<Vec<TwoSided>> {
    let chosen = split.sample_stratified(options.samples, options.seed);
    let loader = |preprocess: &Preprocess| {
        let config = LoaderConfig { prefetch: 0, ..LoaderConfig::evaluation(1) };
        Loader::new(chosen.clone(), preprocess.clone(), config)
    };
    let [quantized, float] = preprocess;
    let (quantized, float) = (loader(quantized)?, loader(float)?);
    let (mut ours, mut theirs) = (Batch::default(), Batch::default());
    let mut samples = Vec::with_capacity(chosen.len());
    for step in 0..quantized.steps_per_epoch() {
        quantized.fill(0, step, &mut ours)?;
        float.fill(0, step, &mut theirs)?;
        if let Some(&label) = ours.labels.first() {
            let (quantized, float) = (ours.images.clone(), theirs.images.clone());
            samples.push(TwoSided { quantized, float, label: label as usize });
        }
    }
    if samples.is_empty() {
        return Err(Error::invalid("debug", "the data has no samples").with_hint("give data with a training split"));
    }
    Ok(samples)
}

/// The graph of a session with the shapes of its plan.
fn planned(session: &Session) -> Graph {
    let mut graph = session.graph().clone();
    for index in 0..graph.tensors.len() {
        graph.tensors[index].shape.clone_from(&session.tensor(TensorId(index)).shape);
    }
    graph
}

fn is_quantized(graph: &Graph) -> bool {
    let narrow = |dtype| matches!(dtype, DType::I4 | DType::I8 | DType::U8 | DType::I16);
    graph.tensors.iter().any(|tensor| tensor.quantization.is_some() && narrow(tensor.dtype))
}

fn check_kinds(quantized: &Model, float: &Model, names: &DebugNames) -> Result<()> {
    let hint = "litesmith debug QUANT --against FLOAT: the quantized model comes first, the float32 model that it was made \
                from after --against";
    if is_quantized(float.main()?) {
        return Err(Error::invalid(&names.float, "it is quantized, expected the float model").with_hint(hint));
    }
    let graph = quantized.main()?;
    let has_halves = graph.tensors.iter().any(|tensor| tensor.dtype == DType::F16);
    if !is_quantized(graph) && !has_halves {
        return Err(Error::invalid(&names.quantized, "nothing in it is quantized").with_hint(hint));
    }
    Ok(())
}

fn check_ends(quantized: &Graph, float: &Graph, names: &DebugNames) -> Result<()> {
    let sizes = |graph: &Graph, ids: &[TensorId]| -> Vec<Vec<usize>> {
        ids.iter().map(|&id| graph.tensor(id).shape.clone()).collect()
    };
    for (what, ours, theirs) in [
        ("input", sizes(quantized, &quantized.inputs), sizes(float, &float.inputs)),
        ("output", sizes(quantized, &quantized.outputs), sizes(float, &float.outputs)),
    ] {
        let elements =
            |shapes: &[Vec<usize>]| shapes.iter().map(|shape| shape.iter().product()).collect::<Vec<usize>>();
        if elements(&ours) != elements(&theirs) {
            let message = format!("its {what}s are {ours:?}, those of {} are {theirs:?}", names.float);
            return Err(Error::invalid(&names.quantized, message)
                .with_hint("compare a model with the float model that it was quantized from"));
        }
    }
    Ok(())
}

fn check_pairs(pairing: &Pairing, quantized: &Graph, names: &DebugNames) -> Result<()> {
    let matched = pairing.layers.iter().filter(|layer| !matches!(layer.own, Own::Conversion(_) | Own::Input)).count();
    // Outputs are paired by position, whatever computes them: that alone says nothing.
    let total = matched + pairing.unmatched_quantized;
    if pairing.unmatched_quantized > 0 && matched.saturating_sub(quantized.outputs.len()) * 4 < total {
        let message = format!(
            "only {matched} of its {total} tensors have a counterpart in {}, by name or by op and shape",
            names.float
        );
        return Err(Error::invalid(&names.quantized, message).with_hint(
            "compare a model with the float model that it was quantized from; litesmith diff --structure shows how the two \
             differ",
        ));
    }
    Ok(())
}

/// What was watched, as a report has it, each with the index of its pair.
fn layers(pairing: &Pairing, watched: &Watched<'_>, float: &Graph, quantized: &Graph) -> Vec<(LayerError, usize)> {
    let mut layers = Vec::new();
    for (index, (pair, tallies)) in pairing.layers.iter().zip(watched.layers()).enumerate() {
        for (&(float_id, id), tally) in pair.outputs.iter().zip(tallies) {
            let (tensor, counterpart) = (quantized.tensor(id), float.tensor(float_id));
            let error = tally.error.finish();
            if error.elements + error.not_finite == 0 {
                continue;
            }
            let weights = weights_of(pair, float, quantized);
            let others = weights.as_ref().is_some_and(|weights| weights.foreign);
            let own_unknown = tally.unknown(&pair.own).or(others.then(|| "its weights are others".into()));
            let layer = LayerError {
                position: layers.len(),
                op: pair.quantized_node.map_or_else(|| "input".into(), |node| quantized.nodes[node].op.name().into()),
                name: counterpart.name.clone(),
                quantized_name: (tensor.name != counterpart.name).then(|| tensor.name.clone()),
                kind: tensor.to_string(),
                is_output: float.outputs.contains(&float_id),
                selector: pair.float_node.map(|node| selector_of(float, node).to_string()),
                own: own_unknown.is_none().then(|| tally.own.finish_against(&tally.error)),
                own_unknown,
                error,
                grid: tally.grid.as_ref().map(litesmith_measure::GridTally::finish),
                values: tally.bins(),
                weights,
                stands_out: false,
                cause: None,
            };
            layers.push((layer, index));
        }
    }
    layers
}

fn weights_of(pair: &LayerPair, float: &Graph, quantized: &Graph) -> Option<litesmith_measure::WeightsError> {
    let (float_id, id) = pair.weights?;
    weights_error(float.tensor(float_id), quantized.tensor(id))
}

fn add_notes(report: &mut LayerErrorReport) {
    if report.unmatched_quantized > report.layers.len() {
        report.notes.push(format!(
            "{} tensors of {} have no counterpart in {}, only {} have one",
            report.unmatched_quantized,
            report.quantized,
            report.float,
            report.layers.len()
        ));
    }
    let weighted: Vec<_> = report.layers.iter().filter_map(|layer| layer.weights.as_ref()).collect();
    let foreign = weighted.iter().filter(|weights| weights.foreign).count();
    if foreign > 0 {
        report.notes.push(format!(
            "the weights of {foreign} of {} layers are not those of {} rounded: it may be another model, or quantization may \
             have rescaled or trained them; what these layers add themselves is not known",
            weighted.len(),
            report.float
        ));
    }
}
