//! Post-training quantization: each scheme decides on a list of edits, [`quantize`] applies them to a model.

use litesmith_graph::ops::QuantizationRule;
use litesmith_graph::{
    DType, Error, Graph, Model, Normalization, Quantization, Result, Tensor, TensorId, TensorMetadata,
};

use serde::{Deserialize, Serialize};

use crate::complete::missing_bias;
use crate::{Edit, Range, Ranges, apply};

mod dynamic_range;
mod float16;
mod full_integer;
mod groups;
mod normalization;
mod params;
mod rules;
mod simulate;
mod weight_only;
mod weights;

pub(crate) use groups::parameters_of as range_parameters;
pub(crate) use rules::Choice;
use rules::choices;
pub use rules::{Rule, Selector};
pub use simulate::{Simulation, simulate, simulated};
pub use weights::{Rounded, RoundedWeights};
pub(crate) use weights::{WeightGrid, grid, rounded_values};
use weights::{without_blocks, without_int4};

/// What becomes of a float32 model. Each integer scheme follows Jacob et al., "Quantization and Training of Neural Networks for Efficient
/// Integer-Arithmetic-Only Inference", CVPR 2018, and Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A
/// whitepaper", 2018, in the forms that TensorFlow Lite's guide and its 8-bit quantization specification give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Float32 throughout; dead ops and tensors go.
    Float32,
    /// Constants in float16, arithmetic in float32.
    Float16,
    /// Weights in int8, activations float32; kernels quantize the inputs of each run by their range.
    #[serde(rename = "dynamic")]
    DynamicRange,
    /// Integer weights, made float32 by a DEQUANTIZE before each use; arithmetic in float32.
    #[serde(rename = "weight-only")]
    WeightOnly,
    /// Weights and activations in int8. Needs calibrated ranges.
    Int8,
    /// Weights in int8, activations in int16. Needs calibrated ranges.
    Int16x8,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: &'static [Self] =
        &[Self::Float32, Self::Float16, Self::DynamicRange, Self::WeightOnly, Self::Int8, Self::Int16x8];

    /// Whether ranges of the activations must be calibrated.
    #[must_use]
    pub fn needs_ranges(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16x8)
    }

    /// Its name on the command line and in recipes.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::DynamicRange => "dynamic",
            Self::WeightOnly => "weight-only",
            Self::Int8 => "int8",
            Self::Int16x8 => "int16x8",
        }
    }
}

impl std::str::FromStr for Scheme {
    type Err = Error;

    /// [`Error::Invalid`] for a name that no scheme has.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|scheme| scheme.keyword() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scheme| scheme.keyword()).collect();
            Error::invalid("scheme", format!("got \"{text}\"")).with_hint(format!("there are {}", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::DynamicRange => "dynamic range",
            Self::WeightOnly => "weight-only",
            Self::Int8 => "int8",
            Self::Int16x8 => "int16x8",
        })
    }
}

/// Element type of the model's inputs or outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoType {
    /// Float32; converted inside the model.
    Float32,
    /// Int8 with scale and zero point; with [`Scheme::Int8`].
    Int8,
    /// Uint8 with scale and zero point; with [`Scheme::Int8`].
    Uint8,
    /// Int16 with a scale; with [`Scheme::Int16x8`].
    Int16,
}

impl IoType {
    /// The element type.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Float32 => DType::F32,
            Self::Int8 => DType::I8,
            Self::Uint8 => DType::U8,
            Self::Int16 => DType::I16,
        }
    }
}

/// How many scales the weights of an op have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// One for all.
    PerTensor,
    /// One for each output channel.
    PerChannel,
    /// One for each 32 inputs of each output channel, a float16: for int4 weights of FULLY_CONNECTED with float activations
    /// ([`Scheme::DynamicRange`]), which LiteRT runs (its XNNPACK delegate's `qd8-f32-qb4w`). All other weights have one for each
    /// output channel. The scheme is that of Dettmers and Zettlemoyer, "The case for 4-bit precision: k-bit inference scaling
    /// laws", ICML 2023, section 2: an outlier costs the precision of its own block only.
    #[serde(rename = "blockwise-32")]
    Blockwise32,
    /// The same for each 64 inputs.
    #[serde(rename = "blockwise-64")]
    Blockwise64,
    /// The same for each 128 inputs.
    #[serde(rename = "blockwise-128")]
    Blockwise128,
    /// The same for each 256 inputs.
    #[serde(rename = "blockwise-256")]
    Blockwise256,
}

impl Granularity {
    /// Every granularity.
    pub const ALL: &'static [Self] = &[
        Self::PerTensor,
        Self::PerChannel,
        Self::Blockwise32,
        Self::Blockwise64,
        Self::Blockwise128,
        Self::Blockwise256,
    ];

    /// Its name on the command line and in recipes.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::PerTensor => "per-tensor",
            Self::PerChannel => "per-channel",
            Self::Blockwise32 => "blockwise-32",
            Self::Blockwise64 => "blockwise-64",
            Self::Blockwise128 => "blockwise-128",
            Self::Blockwise256 => "blockwise-256",
        }
    }

    /// How many inputs share a scale; `None` where all of a channel do.
    #[must_use]
    pub fn block_size(self) -> Option<usize> {
        match self {
            Self::PerTensor | Self::PerChannel => None,
            Self::Blockwise32 => Some(32),
            Self::Blockwise64 => Some(64),
            Self::Blockwise128 => Some(128),
            Self::Blockwise256 => Some(256),
        }
    }

    /// That of weights which are quantized so; `None` for blocks of a size that it has no name for.
    #[must_use]
    pub fn of(quantization: &Quantization) -> Option<Self> {
        match (quantization.block_size, quantization.scales.len()) {
            (None, 1) => Some(Self::PerTensor),
            (None, _) => Some(Self::PerChannel),
            (size, _) => Self::ALL.iter().copied().find(|granularity| granularity.block_size() == size),
        }
    }
}

/// How many bits the weights of an op have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightBits {
    /// Eight: -127 to 127.
    Int8,
    /// Four: -7 to 7, two to a byte.
    Int4,
}

impl WeightBits {
    /// The element type.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::I8,
            Self::Int4 => DType::I4,
        }
    }

    /// Largest magnitude.
    #[must_use]
    pub fn limit(self) -> f32 {
        match self {
            Self::Int8 => 127.0,
            Self::Int4 => 7.0,
        }
    }
}

/// What to do and how; [`QuantizeOptions::new`] has the defaults, which docs/QUANTIZATION.md gives reasons for.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// What becomes of the model.
    pub scheme: Scheme,
    /// Type of every float32 input.
    pub input_type: IoType,
    /// Type of every float32 output.
    pub output_type: IoType,
    /// Normalization of each graph input, or empty. Sets the parameters of int8 and uint8 inputs, and is written into
    /// the metadata in any case.
    pub normalization: Vec<Option<Normalization>>,
    /// Bits of the weights, where they are integers.
    pub weights: WeightBits,
    /// Scales of the weights, where they are integers.
    pub granularity: Granularity,
    /// What single ops become instead.
    pub rules: Vec<Rule>,
    /// Constants of fewer elements stay float32 (float16, dynamic range and weight-only): the ops and parameters around
    /// them would take more room than they save. `None` for the default of the scheme; ops that a rule names have no limit.
    pub min_elements: Option<usize>,
    /// Weights whose rounding was decided by [`crate::adaround`] for these same options.
    pub rounded: Rounded,
}

impl QuantizeOptions {
    /// The defaults of `scheme`: float32 inputs and outputs, no normalization, 8-bit weights with a scale for each
    /// channel; constants under 1024 (dynamic range), 128 (weight-only) or 64 (float16) elements stay float32.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            input_type: IoType::Float32,
            output_type: IoType::Float32,
            normalization: Vec::new(),
            weights: WeightBits::Int8,
            granularity: Granularity::PerChannel,
            rules: Vec::new(),
            min_elements: None,
            rounded: Rounded::new(),
        }
    }

    /// Whether ranges of the activations must be calibrated: for the scheme, or for that of a rule.
    #[must_use]
    pub fn needs_ranges(&self) -> bool {
        let mut schemes = self.rules.iter().filter_map(|rule| rule.scheme);
        self.scheme.needs_ranges() || schemes.any(Scheme::needs_ranges)
    }

    /// Constants of fewer elements stay float32.
    fn min_elements(&self, choice: &Choice) -> usize {
        match (self.min_elements, choice.scheme) {
            _ if choice.explicit => 0,
            (Some(limit), _) => limit,
            (None, Scheme::DynamicRange) => dynamic_range::MIN_ELEMENTS,
            (None, Scheme::WeightOnly) => weight_only::MIN_ELEMENTS,
            (None, Scheme::Float16) => float16::MIN_ELEMENTS,
            (None, Scheme::Float32 | Scheme::Int8 | Scheme::Int16x8) => 0,
        }
    }

    /// The same with these types of inputs and outputs.
    #[must_use]
    pub fn with_io(mut self, input_type: IoType, output_type: IoType) -> Self {
        (self.input_type, self.output_type) = (input_type, output_type);
        self
    }

    /// The same with a normalization for each input.
    #[must_use]
    pub fn with_normalization(mut self, normalization: Vec<Option<Normalization>>) -> Self {
        self.normalization = normalization;
        self
    }
}

/// What was decided about one tensor that is now held in another form.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Scales: one, or one for each channel or block; none for float16.
    pub scales: Vec<f32>,
    /// Zero point; 0 for weights and biases.
    pub zero_point: i64,
    /// The real values that it is to express, for activations: calibrated, and widened where tensors share parameters.
    pub range: Option<Range>,
}

impl TensorReport {
    fn of_constant(tensor: &Tensor) -> Self {
        let quantization = tensor.quantization.as_ref();
        Self {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            scales: quantization.map(|quantization| quantization.scales.clone()).unwrap_or_default(),
            zero_point: quantization.and_then(|quantization| quantization.zero_points.first().copied()).unwrap_or(0),
            range: None,
        }
    }
}

/// An op that still computes in float32 although the scheme is an integer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFloat {
    /// Index in the float graph.
    pub node: usize,
    /// The op, as `op 3 CONV_2D "name"`.
    pub op: String,
    /// Why.
    pub reason: String,
}

/// What quantization did and did not do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantizeReport {
    /// Tensors that changed their form: activations in graph order, then constants in the order of the ops.
    pub tensors: Vec<TensorReport>,
    /// Ops that stay float32 for lack of an integer form.
    pub kept_float: Vec<KeptFloat>,
    /// What the user should know: inputs that will be clipped, tensors that were always 0.
    pub warnings: Vec<String>,
}

/// The edits that quantize a graph, and the report on them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// For [`apply`].
    pub edits: Vec<Edit>,
    /// What they do and do not do.
    pub report: QuantizeReport,
}

impl Decision {
    /// `constant` in place of what the node reads; constants that several nodes share are told once.
    fn constant(&mut self, node: usize, input: usize, constant: Tensor) {
        let report = TensorReport::of_constant(&constant);
        if !self.report.tensors.contains(&report) {
            self.report.tensors.push(report);
        }
        self.edits.push(Edit::Constant { node, input, constant });
    }
}

/// Decides how to quantize `graph`; changes nothing. `ranges` are those of [`crate::calibrate`] on the same graph.
///
/// # Errors
/// [`Error::Invalid`] when the graph is quantized already or holds training-only ops, when weights are not finite, when
/// ranges are missing, or when the options contradict each other or cannot be expressed.
pub fn decide(graph: &Graph, options: &QuantizeOptions, ranges: Option<&Ranges>) -> Result<Decision> {
    check(graph, options)?;
    let mut decision = Decision::default();
    let (choices, warnings) = supported_choices(graph, options)?;
    decision.report.warnings = warnings;
    float16::decide(graph, options, &choices, &mut decision)?;
    weight_only::decide(graph, options, &choices, &mut decision)?;
    dynamic_range::decide(graph, options, &choices, &mut decision)?;
    let mut integer = vec![false; graph.nodes.len()];
    if choices.iter().any(|choice| choice.scheme.needs_ranges()) {
        let ranges = ranges.ok_or_else(|| {
            Error::invalid("quantize", "full integer quantization needs calibrated ranges")
                .with_hint("calibrate with a few hundred samples, or choose float16 or dynamic range")
        })?;
        integer = full_integer::decide(graph, options, &choices, ranges, &mut decision)?;
    }
    if decision.edits.is_empty() && options.scheme != Scheme::Float32 {
        let few = options.min_elements.map_or(String::new(), |least| format!(" of {least} or more elements"));
        decision
            .report
            .warnings
            .push(format!("no op has weights{few} that {} stores smaller: the model stays as it is", options.scheme));
    }
    for node in (0..graph.nodes.len()).filter(|&node| !integer[node]) {
        if let Some(constant) = missing_bias(graph, node) {
            decision.edits.push(Edit::Constant { node, input: 2, constant });
        }
    }
    Ok(decision)
}

/// Quantizes a float32 model: decides, applies, and carries signatures and metadata over.
///
/// # Errors
/// Those of [`decide`] and [`apply`]; [`Error::Unsupported`] for a model of several graphs.
pub fn quantize(model: &Model, options: &QuantizeOptions, ranges: Option<&Ranges>) -> Result<(Model, QuantizeReport)> {
    let graph = model.only_graph().map_err(|error| error.at("quantize"))?;
    let decision = decide(graph, options, ranges)?;
    let quantized = apply(graph, &decision.edits)?;
    let mut result = model.clone();
    if options.scheme != Scheme::Float32 {
        // It tells how the converter of the float model optimized it, which is no longer true.
        result.extra_metadata.retain(|(name, _)| name != "CONVERSION_METADATA");
    }
    result.replace_graph(0, quantized)?;
    if options.normalization.iter().any(Option::is_some) {
        let inputs = &mut result.metadata.inputs;
        for &id in graph.inputs.iter().skip(inputs.len()) {
            inputs.push(TensorMetadata { name: graph.tensor(id).name.clone(), ..TensorMetadata::default() });
        }
        for (input, normalization) in inputs.iter_mut().zip(&options.normalization) {
            if normalization.is_some() {
                input.normalization.clone_from(normalization);
            }
        }
    }
    result.check()?;
    Ok((result, decision.report))
}

/// Checks what can be checked before any work: options, rules that select nothing, and that nobody has quantized the graph.
///
/// # Errors
/// [`Error::Invalid`] for what does not go together or is not there, and those of [`check_float`].
pub fn check(graph: &Graph, options: &QuantizeOptions) -> Result<()> {
    check_options(graph, options)?;
    check_float(graph)?;
    choices(graph, options).map(drop)
}

fn check_options(graph: &Graph, options: &QuantizeOptions) -> Result<()> {
    for (what, io) in [("inputs", options.input_type), ("outputs", options.output_type)] {
        let fits = match io {
            IoType::Float32 => true,
            IoType::Int8 | IoType::Uint8 => options.scheme == Scheme::Int8,
            IoType::Int16 => options.scheme == Scheme::Int16x8,
        };
        if !fits {
            return Err(Error::invalid("quantize", format!("{} {what} do not go with {}", io.dtype(), options.scheme))
                .with_hint("int8 and uint8 go with int8, int16 with int16x8, float32 with everything"));
        }
    }
    let has_weights = !matches!(options.scheme, Scheme::Float32 | Scheme::Float16);
    if options.weights == WeightBits::Int4 && !has_weights && options.rules.is_empty() {
        return Err(Error::invalid("quantize", format!("int4 weights do not go with {}", options.scheme))
            .with_hint("choose weight-only, dynamic range, int8 or int16x8"));
    }
    let takes_blocks = options.scheme == Scheme::DynamicRange && options.weights == WeightBits::Int4;
    if options.granularity.block_size().is_some() && !takes_blocks && options.rules.is_empty() {
        let (bits, scheme) = (options.weights.dtype(), options.scheme);
        return Err(Error::invalid("quantize", format!("blockwise scales do not go with {bits} weights and {scheme}"))
            .with_hint(
                "LiteRT runs blocks of int4 weights with float activations: choose int4 weights and dynamic range",
            ));
    }
    if options.normalization.len() > graph.inputs.len() {
        return Err(Error::invalid(
            "normalization",
            format!("got {} entries, the graph has {} inputs", options.normalization.len(), graph.inputs.len()),
        ));
    }
    for (index, normalization) in options.normalization.iter().enumerate() {
        let Some(Normalization { mean, std }) = normalization else { continue };
        let place = || format!("normalization of input \"{}\"", graph.tensor(graph.inputs[index]).name);
        if mean.is_empty() || std.is_empty() || (mean.len() != std.len() && mean.len() != 1 && std.len() != 1) {
            return Err(Error::invalid(
                place(),
                format!(
                    "got {} means and {} stds, expected one of each, or one for each channel",
                    mean.len(),
                    std.len()
                ),
            ));
        }
        if let Some(std) = std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            return Err(Error::invalid(place(), format!("got std {std}, expected a positive finite number"))
                .with_hint("std is what raw - mean is divided by"));
        }
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::invalid(place(), format!("got mean {mean}, expected a finite number")));
        }
    }
    Ok(())
}

/// Checks that nobody has quantized the graph, nor stored its weights as float16.
///
/// # Errors
/// [`Error::Invalid`] for one that somebody has, and for one with ops that exist only while training.
pub fn check_float(graph: &Graph) -> Result<()> {
    for (index, node) in graph.nodes.iter().enumerate() {
        let quantized = node.inputs.iter().flatten().chain(&node.outputs).map(|&id| graph.tensor(id)).find(|tensor| {
            tensor.quantization.is_some() || matches!(tensor.dtype, DType::I4 | DType::I8 | DType::U8 | DType::I16)
        });
        match node.op.quantization().rule {
            QuantizationRule::TrainingOnly => {
                return Err(Error::invalid(graph.place(index), "this op exists only while training")
                    .with_hint("export the model first, which folds batch normalization and dropout away"));
            }
            QuantizationRule::Converts => {}
            _ if quantized.is_none() => continue,
            _ => {}
        }
        let tensor = quantized.map(|tensor| match tensor.name.as_str() {
            "" => format!(": a tensor is {}", tensor.dtype),
            name => format!(": tensor \"{name}\" is {}", tensor.dtype),
        });
        return Err(Error::invalid(
            graph.place(index),
            format!("the model is quantized already{}", tensor.unwrap_or_default()),
        )
        .with_hint("give the float32 model"));
    }
    Ok(())
}

/// The weights that `op` of node `index` reads as a float32 constant, and the axis of their channels.
pub(crate) fn constant_weights(graph: &Graph, index: usize) -> Option<(TensorId, usize)> {
    let node = &graph.nodes[index];
    let QuantizationRule::Weights { axis } = node.op.quantization().rule else { return None };
    let id = node.inputs.get(1).copied().flatten()?;
    let tensor = graph.tensor(id);
    (tensor.dtype == DType::F32 && tensor.data.is_some()).then_some((id, axis))
}

/// The bias that the op of node `index` reads, if any; `None` where it is no float32 constant.
pub(crate) fn constant_bias(graph: &Graph, index: usize) -> Option<Option<TensorId>> {
    let bias = graph.nodes[index].inputs.get(2).copied().flatten();
    let is_constant = |id: TensorId| graph.tensor(id).dtype == DType::F32 && graph.tensor(id).data.is_some();
    bias.is_none_or(is_constant).then_some(bias)
}

/// What each op of `graph` becomes, with the bits that LiteRT has a kernel for, and what the user should know about it.
pub(crate) fn supported_choices(graph: &Graph, options: &QuantizeOptions) -> Result<(Vec<Choice>, Vec<String>)> {
    let mut choices = choices(graph, options)?;
    let mut warnings = Vec::new();
    for (index, choice) in choices.iter_mut().enumerate() {
        if let Some(without) = without_int4(&graph.nodes[index].op, choice) {
            let place = graph.place(index);
            warnings.push(format!("{place}: LiteRT has no int4 weights with {without}: they are int8"));
            choice.weights = WeightBits::Int8;
        }
        if let Some(reason) = without_blocks(graph, index, choice)? {
            if becomes_integers(graph, index, options, choice)? {
                warnings.push(format!("{}: {reason}: its weights have a scale for each channel", graph.place(index)));
            }
            choice.granularity = Granularity::PerChannel;
        }
    }
    Ok((choices, warnings))
}

/// Whether the weights of a node, which are constant, are large enough to become integers under `choice`.
fn becomes_integers(graph: &Graph, index: usize, options: &QuantizeOptions, choice: &Choice) -> Result<bool> {
    let Some((id, _)) = constant_weights(graph, index) else { return Ok(false) };
    let is_integer = !matches!(choice.scheme, Scheme::Float32 | Scheme::Float16);
    Ok(is_integer && graph.tensor(id).elements()? >= options.min_elements(choice))
}

/// What the ops of `graph` become whose weights are to be integers; `None` for the others.
pub(crate) fn weighted_choices(graph: &Graph, options: &QuantizeOptions) -> Result<Vec<Option<Choice>>> {
    let (choices, _) = supported_choices(graph, options)?;
    let integer = full_integer::integer_nodes(graph, &choices);
    let mut result = Vec::with_capacity(choices.len());
    for (index, choice) in choices.into_iter().enumerate() {
        let becomes = match choice.scheme {
            Scheme::Int8 | Scheme::Int16x8 => constant_weights(graph, index).is_some() && integer[index],
            _ => becomes_integers(graph, index, options, &choice)?,
        };
        result.push(becomes.then_some(choice));
    }
    Ok(result)
}
