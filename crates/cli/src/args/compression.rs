//! Arguments of what makes models smaller.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{
    DataArgs, NormalizationArgs, OutArgs, RuntimeArgs, TrainingArgs, accuracy, byte_count, explained, percent_sign,
    seconds, share, whole_share,
};

/// Find the layer that breaks a quantized model's accuracy: each layer's error against the float model, and its own share of it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith debug digits-int8.tflite --against digits.tflite --data mnist
  litesmith debug digits-int8.tflite --against digits.tflite --data mnist --html debug.html

Layers come in the order of the error that they add themselves, given inputs that are quantized already: the first breaks
most, those after it may only pass its error on. The commands printed at the end compute it more exactly.
docs/COMPRESSION.md says how to read the numbers.")]
pub(crate) struct DebugArgs {
    /// Quantized model
    #[arg(value_name = "QUANT", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// Float model that it was made from
    #[arg(long, value_name = "FLOAT", value_hint = ValueHint::FilePath)]
    pub(crate) against: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) normalization: NormalizationArgs,
    /// Training samples to run, the same number of each class
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: u32,
    /// Seed that chooses the samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write a page with histograms of values and weights, and their grids
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Replace the page if it exists
    #[arg(long, requires = "html")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// Search for the smallest model that is still good enough, or carry a recipe out
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith compress digits.tflite --data mnist --floor 99.0% -o digits-search
  litesmith compress digits.tflite --data mnist --max-drop 0.2 --time-limit 1800 -o digits-search
  litesmith compress digits.tflite --data mnist --budget 20KB -o digits-search --resume
  litesmith compress --recipe recipes/mnist-3.7kB/recipe.toml -o digits-3.7kB.tflite

A search saves every model that it makes, with its recipe, and at any time the best one so far as best.tflite. It chooses by
validation samples, which it takes from the training samples where the data set has none of its own; the test samples are looked at
in the end only, and again with --resume. Exit status 1: the goal was not reached; the nearest model is saved.")]
#[command(group = clap::ArgGroup::new("goal").args(["floor", "max_drop", "budget", "latency_us", "recipe"]).required(true))]
pub(crate) struct CompressArgs {
    /// Float model to begin with; a recipe may name an architecture instead
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, required_unless_present = "recipe")]
    pub(crate) model: Option<PathBuf>,
    /// Data set; that of the recipe when not given
    #[arg(long, value_name = "DATA", required_unless_present = "recipe")]
    pub(crate) data: Option<String>,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Folder of the search, made when missing; with a recipe, the file to write
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,
    /// Replace the file that a recipe writes
    #[arg(long, requires = "recipe")]
    pub(crate) force: bool,
    /// Carry out this recipe (.toml)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: Option<PathBuf>,
    /// Keep what each step of a recipe that trains makes in this folder, and begin with what it holds: a recipe that was broken off
    /// goes on, and recipes share teachers
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "recipe")]
    pub(crate) keep: Option<PathBuf>,
    /// Find the smallest model of at least this accuracy in percent, as 99.0%
    #[arg(long, value_name = "PERCENT", value_parser = accuracy)]
    pub(crate) floor: Option<f64>,
    /// Find the smallest model that loses at most this many percentage points
    #[arg(long, value_name = "POINTS", value_parser = percent_sign)]
    pub(crate) max_drop: Option<f64>,
    /// Find the most accurate model of at most this size, as 4000, 20KB or 1MB (1 KB is 1000 bytes)
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(crate) budget: Option<u64>,
    /// Find the most accurate model that takes at most this many microseconds for one sample
    #[arg(long, value_name = "US")]
    pub(crate) latency_us: Option<f64>,
    /// Passes over the training samples of each step that trains
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "recipe")]
    pub(crate) epochs: u32,
    /// Share of the training samples to choose by, where the data set has no validation samples of its own
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, conflicts_with = "recipe")]
    pub(crate) validation: f64,
    /// Seed of training and of the validation samples [default: that of the recipe, or 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Seconds after which the search ends with the best found so far
    #[arg(long, value_name = "S", value_parser = seconds, conflicts_with = "recipe")]
    pub(crate) time_limit: Option<f64>,
    /// Go on with the search in the folder
    #[arg(long, conflicts_with = "recipe")]
    pub(crate) resume: bool,
}

/// Quantize as a configuration file of Intel's Neural Compressor 1.x says: try settings, fall back op by op, until enough accuracy is left
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith tune --config examples/inc-mnist.yaml --model digits.tflite --data mnist -o t.tflite
  litesmith tune --config conf.yaml --data images:flowers -o flowers-int8.tflite --json

docs/COMPRESSION.md says which keys have an effect; those without are named. The best model so far is always saved. Exit
status 1: it does not meet the accuracy criterion; 130: Ctrl-C ended the search.")]
pub(crate) struct TuneArgs {
    /// Configuration file (.yaml), with the schema of Neural Compressor 1.14
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// Float model [default: the one that the configuration names]
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: Option<PathBuf>,
    /// Data set to calibrate and evaluate with, as for `eval` [default: those that the configuration names]
    #[arg(long, value_name = "DATA", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) data: Option<String>,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
    #[command(flatten)]
    pub(crate) out: OutArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// How the numbers of a quantized model are stored
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeArg {
    /// 32-bit floats: cleaned, not quantized
    Float32,
    /// Weights as 16-bit floats: half the size
    Float16,
    /// 8-bit weights, activations quantized while running: a quarter of the size, no calibration
    Dynamic,
    /// Integer weights, made floats again before use: a quarter of the size, float arithmetic, no calibration
    WeightOnly,
    /// 8-bit weights and activations: a quarter of the size, integer arithmetic, needs calibration
    Int8,
    /// 8-bit weights, 16-bit activations: finer steps, needs calibration
    Int16x8,
}

/// Element type of a quantized model's input or output
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoArg {
    /// Real numbers, converted inside
    Float32,
    /// Signed bytes
    Int8,
    /// Bytes, as cameras give them
    Uint8,
    /// 16-bit integers, for int16x8
    Int16,
}

/// Bits of quantized weights
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsArg {
    /// One byte each
    Int8,
    /// Half a byte each
    Int4,
}

/// How many scales quantized weights have
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GranularityArg {
    /// One for each output channel: more accurate
    PerChannel,
    /// One for each layer: smaller
    PerTensor,
}

/// How many scales quantized weights have
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuantizeGranularityArg {
    /// One for each output channel: more accurate
    PerChannel,
    /// One for each layer: smaller
    PerTensor,
    /// One for each 32 inputs of each channel: int4 weights of FULLY_CONNECTED with --type dynamic; others per channel
    #[value(name = "blockwise-32")]
    Blockwise32,
    /// One for each 64 inputs
    #[value(name = "blockwise-64")]
    Blockwise64,
    /// One for each 128 inputs
    #[value(name = "blockwise-128")]
    Blockwise128,
    /// One for each 256 inputs
    #[value(name = "blockwise-256")]
    Blockwise256,
}

/// How activation values become the range that is quantized
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum CalibratorArg {
    /// Smallest to largest value: nothing is clipped
    #[value(name = "minmax")]
    MinMax,
    /// Smallest and largest value of each sample, averaged
    MovingAverage,
    /// All but the rarest values
    Percentile,
    /// What keeps most information: smallest KL divergence
    #[value(alias = "entropy")]
    Kl,
    /// Smallest squared error
    Mse,
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percentile) if percentile > 50.0 && percentile <= 100.0 => Ok(percentile),
        _ => Err("expected more than 50 and at most 100".into()),
    }
}

fn rule(text: &str) -> Result<litesmith::compress::Rule, String> {
    text.parse().map_err(explained)
}

fn selector(text: &str) -> Result<litesmith::compress::Selector, String> {
    text.parse().map_err(explained)
}

/// Quantize a float model, or store its weights as float16
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith quantize digits.tflite --type int8 --calibrate mnist -o digits-int8.tflite
  litesmith quantize digits.tflite --calibrate mnist --weights int4 -o digits-int4.tflite
  litesmith quantize digits.tflite --calibrate mnist --keep-float node:0 -o mixed.tflite
  litesmith quantize digits.tflite --io uint8 --calibrate mnist --mean 0 --std 255 -o u8.tflite
  litesmith quantize digits.tflite --type dynamic -o digits-dynamic.tflite

docs/QUANTIZATION.md says what each type stores and how to choose.")]
pub(crate) struct QuantizeArgs {
    /// Float model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// How to store numbers
    #[arg(long = "type", value_enum, default_value_t = SchemeArg::Int8)]
    pub(crate) scheme: SchemeArg,
    #[command(flatten)]
    pub(crate) out: OutArgs,
    /// Bits of the weights
    #[arg(long, value_enum, default_value_t = WeightsArg::Int8)]
    pub(crate) weights: WeightsArg,
    /// Scales of the weights
    #[arg(long, value_enum, default_value_t = QuantizeGranularityArg::PerChannel)]
    pub(crate) granularity: QuantizeGranularityArg,
    /// Ops that stay float32: by name as 'dense*', by type as op:CONV_2D, by index as node:3. May be repeated
    #[arg(long, value_name = "OPS", value_parser = selector)]
    pub(crate) keep_float: Vec<litesmith::compress::Selector>,
    /// What single ops become, as 'dense*=int16x8' or op:CONV_2D=w4,per-tensor. May be repeated; later ones add to earlier
    /// ones
    #[arg(long, value_name = "OPS=WHAT", value_parser = rule)]
    pub(crate) rule: Vec<litesmith::compress::Rule>,
    /// Data set to measure activation ranges on; its training samples are used
    #[arg(long, value_name = "DATA")]
    pub(crate) calibrate: Option<String>,
    /// From values to ranges
    #[arg(long, value_enum, default_value_t = CalibratorArg::Mse)]
    pub(crate) calibrator: CalibratorArg,
    /// Percentage of the values that the percentile calibrator keeps [default: 99.99]
    #[arg(long, value_name = "PERCENT", value_parser = percentile)]
    pub(crate) percentile: Option<f64>,
    /// Cross-layer equalization: give the channels between two layers like ranges
    #[arg(long)]
    pub(crate) equalize: bool,
    /// Equalize across RELU6 too, which becomes RELU
    #[arg(long, requires = "equalize")]
    pub(crate) replace_relu6: bool,
    /// AdaRound: learn for each weight whether to round it up or down
    #[arg(long)]
    pub(crate) adaround: bool,
    /// Steps of AdaRound for each layer [default: 1000]
    #[arg(long, value_name = "N", requires = "adaround", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) adaround_iterations: Option<u32>,
    /// Re-estimate mean and variance of each channel behind rounded weights
    #[arg(long)]
    pub(crate) bn_reestimation: bool,
    /// Correct biases for the mean error of rounded weights, or do not [default: with --calibrate, where ranges are measured]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) bias_correction: Option<bool>,
    /// Samples to calibrate with, the same number of each class
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: u32,
    /// Seed that chooses the samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Element type of input and output [default: float32]
    #[arg(long, value_enum)]
    pub(crate) io: Option<IoArg>,
    /// Element type of the input
    #[arg(long, value_enum, conflicts_with = "io")]
    pub(crate) input_type: Option<IoArg>,
    /// Element type of the output
    #[arg(long, value_enum, conflicts_with = "io")]
    pub(crate) output_type: Option<IoArg>,
    /// Mean of the input normalisation, real = (q - mean) / std, one value or one for each channel
    #[arg(long, value_name = "X", value_delimiter = ',', allow_negative_numbers = true, requires = "std")]
    pub(crate) mean: Vec<f32>,
    /// Standard deviation of the input normalisation
    #[arg(long, value_name = "X", value_delimiter = ',', allow_negative_numbers = true, requires = "mean")]
    pub(crate) std: Vec<f32>,
    /// File with the names of the classes, one a line, to pack into the model
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) labels: Option<PathBuf>,
    /// Write what running the model needs only, in as few bytes as possible, as `litesmith strip` does
    #[arg(long, conflicts_with = "labels")]
    pub(crate) strip: bool,
    /// Store float weights sparse (SparsityParameters and DENSIFY) where the file gets smaller by it; those of a sparse file
    /// stay so without being asked
    #[arg(long)]
    pub(crate) sparse: bool,
}

/// Make a .tflite file as small as the format allows: without names, description, signatures and metadata
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith strip digits-int8.tflite -o digits-small.tflite
  litesmith strip digits-int8.tflite --derivable -o digits-tiny.tflite

The new file computes the same, here and in LiteRT. Labels and the normalisation of the input are
gone from it: keep the old one for them. docs/SIZE.md says what else goes.")]
pub(crate) struct StripArgs {
    /// Model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// Also leave out shapes and scales that LiteRT derives, where no result changes: around convolutions with int4
    /// weights. TensorFlow Lite for Microcontrollers does not run such files
    #[arg(long)]
    pub(crate) derivable: bool,
    /// Store float weights sparse (SparsityParameters and DENSIFY) where the file gets smaller by it; those of a sparse file
    /// stay so without being asked
    #[arg(long)]
    pub(crate) sparse: bool,
    #[command(flatten)]
    pub(crate) out: OutArgs,
}

/// What `prune` and `cluster` have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChangeArgs {
    /// Leave layers whose name begins so as they are; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,
    /// Store float weights sparse (SparsityParameters and DENSIFY) where the file gets smaller by it; those of a sparse file
    /// stay so without being asked
    #[arg(long)]
    pub(crate) sparse: bool,
    #[command(flatten)]
    pub(crate) tune: FineTuneArgs,
}

/// Fine-tuning after a change.
#[derive(Debug, Clone, Args)]
#[command(mut_arg("epochs", |arg| {
    arg.help("Passes over the training samples, in all [default: 3, or that of the configuration]")
}))]
#[command(mut_arg("learning_rate", |arg| {
    arg.help("Learning rate, which goes along half a cosine to 0 [default: that of the optimiser]")
}))]
pub(crate) struct FineTuneArgs {
    /// Data set to fine-tune with, as for `train`; without it nothing is learned
    #[arg(long, value_name = "DATA", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) data: Option<String>,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long, requires = "data")]
    pub(crate) skip_bad: bool,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
}

/// By what channels are ranked
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportanceArg {
    /// Absolute weights of their filters, relative to their layer
    L1,
    /// Squared weights of their filters, relative to their layer
    L2,
    /// What the loss changes by when they go, by gradients; needs --data
    Taylor,
    /// By chance, to compare with
    Random,
}

/// Which channels are ranked together
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Those of a layer: each layer loses the same share
    Layer,
    /// All
    Global,
}

/// Make a float model smaller by removing channels, or sparse by setting weights to zero
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["structured", "sparsity", "pattern"]))]
#[command(after_help = "Examples:
  litesmith prune digits.tflite --structured 0.5 --data mnist --steps 3 -o digits-half.tflite
  litesmith prune digits.tflite --structured 0.5 --scope layer --multiple-of 8 -o half.tflite
  litesmith prune digits.tflite --sparsity 0.8 --data mnist --sparse -o digits-sparse.tflite
  litesmith prune digits.tflite --sparsity 0.9 --begin 0.1 --end 0.5 --data mnist -o few.tflite
  litesmith prune digits.tflite --pattern 2:4 --data mnist -o digits-24.tflite

Channels that depend on each other go together: those that are added, joined or made by depthwise convolutions.
docs/COMPRESSION.md says how, and what cannot go.")]
pub(crate) struct PruneArgs {
    /// Float model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) out: OutArgs,
    /// Remove this share of the channels
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = share, conflicts_with_all = ["sparsity", "pattern"])]
    pub(crate) structured: Option<f64>,
    /// By what channels are ranked [default: taylor with --data, else l1]
    #[arg(long, value_enum, requires = "structured", conflicts_with_all = ["sparsity", "pattern"])]
    pub(crate) importance: Option<ImportanceArg>,
    /// Which channels are ranked together [default: global]
    #[arg(long, value_enum, requires = "structured", conflicts_with_all = ["sparsity", "pattern"])]
    pub(crate) scope: Option<ScopeArg>,
    /// Remove them in N steps, each followed by its part of the fine-tuning
    #[arg(long, value_name = "N", default_value_t = 1, requires = "structured", conflicts_with_all = ["sparsity", "pattern"], value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) steps: u32,
    /// Channels that each layer keeps at least
    #[arg(long, value_name = "N", default_value_t = 1, requires = "structured", conflicts_with_all = ["sparsity", "pattern"], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) min_channels: u32,
    /// Keep a multiple of N channels in each layer that has one
    #[arg(long, value_name = "N", default_value_t = 1, requires = "structured", conflicts_with_all = ["sparsity", "pattern"], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) multiple_of: u32,
    /// Set this share of each layer's weights to zero
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = share)]
    pub(crate) sparsity: Option<f64>,
    /// Which weights become zero together: unstructured, 2:4 (or another N:M), block:1x4 (or others) [default: unstructured]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Option<litesmith::compress::Pattern>,
    /// Share that becomes zero at once when sparsity begins to grow [default: 0]
    #[arg(long, value_name = "SHARE", requires = "data", conflicts_with = "structured", value_parser = share)]
    pub(crate) initial_sparsity: Option<f64>,
    /// When sparsity begins to grow, as a share of all updates [default: 0]
    #[arg(long, value_name = "SHARE", requires = "data", conflicts_with = "structured", value_parser = whole_share)]
    pub(crate) begin: Option<f64>,
    /// When it has grown; the rest is training with what is left [default: 0.6]
    #[arg(long, value_name = "SHARE", requires = "data", conflicts_with = "structured", value_parser = whole_share)]
    pub(crate) end: Option<f64>,
    /// Exponent by which it grows: the larger, the more at first [default: 3]
    #[arg(long, value_name = "X", requires = "data", conflicts_with = "structured")]
    pub(crate) power: Option<f64>,
    /// Updates from one choice of weights to the next; less where there would be fewer than 20 [default: 10]
    #[arg(long, value_name = "N", requires = "data", conflicts_with = "structured", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) frequency: Option<u64>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// What shares values
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClusterScopeArg {
    /// All weights of a layer
    Layer,
    /// The weights of each output channel
    Channel,
}

/// Where k-means begins
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitialArg {
    /// Evenly between the least and the largest weight
    Linear,
    /// Evenly along the weights in ascending order
    Density,
    /// Far from each other, by chance
    #[value(name = "kmeans++")]
    KMeansPlusPlus,
}

/// Let the weights of a float model share few values, so that it compresses well
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith cluster digits.tflite --clusters 16 --data mnist --epochs 2 -o digits-16.tflite
  litesmith cluster digits-sparse.tflite --clusters 8 --scope channel -o digits-8.tflite

The file stays as large; gzip, zstd or an app store's compression makes it small. Weights that are zero stay zero.")]
pub(crate) struct ClusterArgs {
    /// Float model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) out: OutArgs,
    /// Different values that weights may have
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub(crate) clusters: u32,
    /// What shares values
    #[arg(long, value_enum, default_value_t = ClusterScopeArg::Layer)]
    pub(crate) scope: ClusterScopeArg,
    /// Where k-means begins
    #[arg(long, value_enum, default_value_t = InitialArg::Linear)]
    pub(crate) init: InitialArg,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}
