//! The command line: what can be said, in Litesmith's words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

mod compression;
mod limits;

pub(crate) use compression::*;
pub(crate) use limits::LimitArg;

/// Takes an image model from data to device: train, evaluate, quantize and run TensorFlow Lite models, without Python.
#[derive(Debug, Parser)]
#[command(name = "litesmith", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  litesmith demo
  litesmith train --arch mnist-cnn --data mnist -o digits.tflite
  litesmith quantize digits.tflite --type int8 --calibrate mnist -o digits-int8.tflite
  litesmith eval digits-int8.tflite --data mnist --against digits.tflite
  litesmith run digits-int8.tflite digit.png

Exit status: 0 done, 1 it ran and the verdict is negative, 2 it could not run, 130 interrupted.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("expected 0 or more and less than 1".into()),
    }
}

fn whole_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected 0 to 1".into()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected 0 to 100".into()),
    }
}

fn percent_sign(text: &str) -> Result<f64, String> {
    percent(text.strip_suffix('%').unwrap_or(text).trim_end())
}

/// An accuracy in percent: what is a share more likely is an error, not a floor that everything meets.
fn accuracy(text: &str) -> Result<f64, String> {
    match percent_sign(text)? {
        share if share > 0.0 && share <= 1.0 && !text.ends_with('%') => {
            Err(format!("got {share} %, which any model has: write {} for {} %", 100.0 * share, 100.0 * share))
        }
        percent => Ok(percent),
    }
}

fn byte_count(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).trim_end();
    let factor = match lower[digits.len()..].trim_start() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        unit => return Err(format!("got the unit \"{unit}\", expected B, KB, MB or GB")),
    };
    let value: f64 = digits.parse().map_err(|_| "expected a number of bytes, as 20KB".to_owned())?;
    let bytes = value * f64::from(factor);
    if (1.0..=1e12).contains(&bytes) { Ok(bytes as u64) } else { Err("expected 1 byte or more".into()) }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected 0.001 to 86400".into()),
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) json: bool,
    /// Threads to use [default: all cores]. Results do not depend on it. A list as 1,2 for `bench` and `diff`
    #[arg(long, global = true, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Common options")]
    pub(crate) threads: Vec<u16>,
    /// Say nothing but the result and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub(crate) verbose: bool,
    /// Set a limit on what a model file may ask for, as tensors=2000000; several times for several. Of the file: file-bytes,
    /// subgraphs, tensors, nodes, expansion, sparse-bytes, associated-file-bytes; of a run: call-depth, planned-nodes, stages,
    /// loop-iterations
    #[arg(long, global = true, value_name = "NAME=N", value_parser = LimitArg::parse, help_heading = "Common options")]
    pub(crate) limit: Vec<LimitArg>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Train(Box<TrainArgs>),
    Eval(EvalArgs),
    Prune(Box<PruneArgs>),
    Cluster(Box<ClusterArgs>),
    Quantize(QuantizeArgs),
    Strip(StripArgs),
    Compress(CompressArgs),
    Tune(TuneArgs),
    Run(RunArgs),
    Summary(SummaryArgs),
    Inspect(InspectArgs),
    Diff(DiffArgs),
    Debug(DebugArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Train the reference network on MNIST, convert it six ways, evaluate and time each, and write a report
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith demo
  litesmith demo --out digits --epochs 2 --seed 7")]
pub(crate) struct DemoArgs {
    /// Folder for the models and the report; its files are replaced
    #[arg(long, value_name = "DIR", default_value = "litesmith-demo", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// MNIST: `mnist`, or mnist:DIR for the folder with its four files
    #[arg(long, value_name = "DATA", default_value = "mnist")]
    pub(crate) data: String,
    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = litesmith::demo::EPOCHS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) epochs: u32,
    /// Seed of initial weights, order and validation split
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// An optimiser, with Keras's defaults
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerArg {
    /// Gradient descent
    Sgd,
    /// Adam
    Adam,
    /// Adam with weight decay apart from the gradient
    Adamw,
    /// RMSprop
    Rmsprop,
}

/// How the learning rate goes
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleArg {
    /// It stays
    Constant,
    /// A tenth after every third of the epochs
    Step,
    /// Along half a cosine to 0
    Cosine,
    /// Up to the learning rate, then down to almost 0
    OneCycle,
}

/// What training and fine-tuning have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrainingArgs {
    /// Training configuration (.toml); the options here win over it
    #[arg(long, value_name = "FILE", requires = "data", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Passes over the training samples [default: 10, or that of the configuration]
    #[arg(long, value_name = "N", requires = "data")]
    pub(crate) epochs: Option<usize>,
    /// Samples for each update
    #[arg(long, value_name = "N", requires = "data")]
    pub(crate) batch_size: Option<usize>,
    /// Learning rate [default: that of the optimiser]
    #[arg(long, value_name = "X", requires = "data", allow_negative_numbers = true)]
    pub(crate) learning_rate: Option<f64>,
    /// Float or quantized model to learn from besides the labels (distillation); several times: from the mean of their scores
    #[arg(long, value_name = "MODEL", requires = "data", value_hint = ValueHint::FilePath)]
    pub(crate) teacher: Vec<PathBuf>,
    /// Share of the training samples to choose the best epoch by, where the data set has no validation samples of its own
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, allow_negative_numbers = true, value_parser = share)]
    pub(crate) validation: f64,
    /// Seed of what is by chance: initial weights, order, augmentation, validation split [default: that of the
    /// configuration, or 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// Train a network, or go on training a model
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith train --arch mnist-cnn --data mnist -o digits.tflite
  litesmith train --arch mobilenet-v2:input=96x96x3 --data images:flowers -o flowers.tflite
  litesmith train --model flowers.tflite --data images:more --learning-rate 1e-4 -o flowers2.tflite
  litesmith train --arch my.toml --config my-run.toml --data mnist --checkpoint ckpt -o my.tflite
  litesmith train --arch my.toml --config my-run.toml --data mnist --resume ckpt -o my.tflite
  litesmith train --model digits.tflite --data mnist --qat int4 -o digits-int4.tflite

`litesmith summary NAME` shows an architecture. docs/TRAINING.md has every setting of a configuration file.
Ctrl-C saves a checkpoint, with --checkpoint, and stops; the exit status is then 130.")]
pub(crate) struct TrainArgs {
    /// Name of an architecture, with options, or an architecture file (.toml)
    #[arg(long, value_name = "ARCH", required_unless_present = "model", conflicts_with = "model")]
    pub(crate) arch: Option<String>,
    /// Float model to go on training
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) out: OutArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Optimiser [default: adam]
    #[arg(long, value_enum)]
    pub(crate) optimizer: Option<OptimizerArg>,
    /// How the learning rate goes [default: constant]
    #[arg(long, value_enum)]
    pub(crate) schedule: Option<ScheduleArg>,
    /// Random changes to images: none, digits, objects
    #[arg(long, value_name = "PRESET")]
    pub(crate) augment: Option<String>,
    /// Share of the weights that each update takes away, times the learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f64>,
    /// Share of each target spread evenly over the classes
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) label_smoothing: Option<f64>,
    /// Share of an average of the weights that each update keeps; the average is exported
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) ema: Option<f64>,
    /// Let zeros and shared values of the model change, which are kept otherwise (docs/COMPRESSION.md)
    #[arg(long, conflicts_with = "arch")]
    pub(crate) no_preserve: bool,
    /// Stop after this many epochs without improvement on the validation samples
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) patience: Option<usize>,
    /// File to keep a checkpoint in, after each epoch and on Ctrl-C
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Also keep a checkpoint every N updates
    #[arg(long, value_name = "N", default_value_t = 0, requires = "checkpoint")]
    pub(crate) checkpoint_every: u64,
    /// Go on from this checkpoint, to exactly where an uninterrupted run would come
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) resume: Option<PathBuf>,
    /// Write a line of JSON for each epoch to this file
    #[arg(long, value_name = "FILE.jsonl", value_hint = ValueHint::FilePath)]
    pub(crate) metrics: Option<PathBuf>,
    /// One for each update too
    #[arg(long, requires = "metrics")]
    pub(crate) metrics_steps: bool,
    /// Write a report with the curves
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Instruction set, as avx2 or neon; scalar runs on any CPU [default: the best of this CPU]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<litesmith::Isa>,
    #[command(flatten)]
    pub(crate) qat: QatArgs,
}

/// Quantization-aware training.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Quantization-aware training")]
pub(crate) struct QatArgs {
    /// Train weights of this type, with int8 activations, and write the integer model
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) qat: Option<WeightsArg>,
    /// How scales come about [default: ste]
    #[arg(long, value_enum)]
    pub(crate) qat_method: Option<QatMethodArg>,
    /// Epochs in float32 before [default: half of all, never the last; none with --model]
    #[arg(long, value_name = "N")]
    pub(crate) qat_delay_epochs: Option<usize>,
    /// Learning rate of the quantized epochs [default: a tenth of that before; with --model that of --learning-rate]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) qat_learning_rate: Option<f64>,
    /// Scales of the weights [default: per-channel]
    #[arg(long, value_enum)]
    pub(crate) granularity: Option<GranularityArg>,
    /// Type of inputs and outputs of the integer model [default: float32]
    #[arg(long, value_enum)]
    pub(crate) io: Option<IoArg>,
    /// Type of inputs alone
    #[arg(long, value_enum)]
    pub(crate) input_type: Option<IoArg>,
    /// Type of outputs alone
    #[arg(long, value_enum)]
    pub(crate) output_type: Option<IoArg>,
}

/// How scales come about while training
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QatMethodArg {
    /// They follow the largest weights, and moving averages of smallest and largest activations
    Ste,
    /// They are learned
    Lsq,
}

/// Time models on this machine: latency, memory, cold start, each op
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  litesmith bench digits-int8.tflite --profile
  litesmith bench digits.tflite digits-int8.tflite --threads 1,2 --seconds 0.5
  litesmith bench digits-int8.tflite --batch 16 --runs 20 --json
  litesmith bench train --arch mnist-cnn --data mnist --batch 128 --threads 2 --json

Several models, and several thread counts, run in turns, so that what else the machine does meets all of them.")]
pub(crate) struct BenchArgs {
    /// Models to time
    #[arg(value_name = "MODEL", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) models: Vec<PathBuf>,
    /// Time this signature instead of the main graph
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// First size of every input [default: that of the model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Option<u32>,
    /// Array of an input, as it is or float32 to be quantized: in order, or by name. Sizes that the model leaves open follow it.
    /// Other inputs are made up
    #[arg(long, value_name = "[NAME=]FILE.npy", conflicts_with = "batch", value_hint = ValueHint::FilePath)]
    pub(crate) input: Vec<String>,
    /// Runs before the clock counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) warmup: u64,
    /// Runs to time at most, of each
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,
    /// Time to spend at most, on each
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Also time each op, and hold it against what the machine can do
    #[arg(long)]
    pub(crate) profile: bool,
    /// Seed of the made-up inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
    #[command(subcommand)]
    pub(crate) what: Option<BenchWhat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// Images a second in training, against the machine's measured peak
    Train(BenchTrainArgs),
}

/// Training to time.
#[derive(Debug, Args)]
pub(crate) struct BenchTrainArgs {
    /// Name of an architecture, with options, or an architecture file (.toml)
    #[arg(long, value_name = "ARCH", default_value = "mnist-cnn")]
    pub(crate) arch: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Samples for each update
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch: usize,
    /// Epochs to time; the median counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) epochs: usize,
    /// Samples of an epoch [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) images: Option<usize>,
    /// Learning rate [default: that of Adam]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) learning_rate: Option<f64>,
    /// Stop when this accuracy, in percent, is reached on the test set, and tell the seconds of training it took
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = accuracy)]
    pub(crate) to_accuracy: Option<f64>,
    /// Instruction set, as avx2 or neon; scalar runs on any CPU [default: the best of this CPU]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<litesmith::Isa>,
}

/// Whose integer arithmetic to follow
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumericsArg {
    /// What LiteRT computes by default (XNNPACK where it takes the op)
    Litert,
    /// What LiteRT's reference kernels compute
    Reference,
}

impl From<NumericsArg> for litesmith::Numerics {
    fn from(numerics: NumericsArg) -> Self {
        match numerics {
            NumericsArg::Litert => Self::Litert,
            NumericsArg::Reference => Self::Reference,
        }
    }
}

/// How a model is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct RuntimeArgs {
    /// Whose integer arithmetic to follow; floats are the same under both but where RESIZE_BILINEAR places pixels
    #[arg(long, value_enum, default_value_t = NumericsArg::Litert)]
    pub(crate) numerics: NumericsArg,
    /// Instruction set, as avx2 or neon; scalar runs on any CPU [default: the best of this CPU]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<litesmith::Isa>,
    /// Most memory that a model may take for activations and variables, as 500MB [default: 4 GiB]
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    pub(crate) memory_limit: Option<u64>,
}

/// Which samples.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Data set: mnist, mnist:DIR, fashion-mnist, images:DIR, csv:FILE, npz:FILE, npy:X,Y, idx:DIR, or a path
    #[arg(long, value_name = "DATA", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) data: String,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

/// How pixels become numbers, for models that do not say so.
#[derive(Debug, Clone, Args)]
pub(crate) struct NormalizationArgs {
    /// What is subtracted from pixels where the model does not say it, one value or one for each channel; 0 with --std 1 leaves
    /// them as they are
    #[arg(long, value_name = "X", value_delimiter = ',', allow_negative_numbers = true, requires = "std")]
    pub(crate) mean: Vec<f32>,
    /// What they are divided by then
    #[arg(long, value_name = "X", value_delimiter = ',', allow_negative_numbers = true, requires = "mean")]
    pub(crate) std: Vec<f32>,
}

/// Which file a result goes to.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutArgs {
    /// File to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// A part of a data set
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitArg {
    /// What the model learns from
    Train,
    /// What choices look at
    Validation,
    /// What the final number is measured on
    Test,
}

impl From<SplitArg> for litesmith::data::SplitKind {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Validation => Self::Validation,
            SplitArg::Test => Self::Test,
        }
    }
}

/// Measure a model on a data set: accuracy, precision and recall of each class, confusion matrix
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith eval digits-int8.tflite --data mnist
  litesmith eval digits-int8.tflite --data mnist --against digits.tflite --html report.html
  litesmith eval flowers.tflite --data images:flowers --top-k 3,5 --floor 92.5")]
pub(crate) struct EvalArgs {
    /// Model to evaluate
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Part of the data set [default: test, or the only one there is]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitArg>,
    #[command(flatten)]
    pub(crate) normalization: NormalizationArgs,
    /// Names of the model's classes in its order, where the data set has samples of some of them only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) classes: Vec<String>,
    /// Another model to compare with, sample by sample
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) against: Option<PathBuf>,
    /// Also count how often the true class is among the K best
    #[arg(long, value_name = "K", value_delimiter = ',')]
    pub(crate) top_k: Vec<usize>,
    /// Exit with status 1 when the accuracy is below this, in percent
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = accuracy)]
    pub(crate) floor: Option<f64>,
    /// Write a report with charts and the wrong samples as pictures
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Replace the report if it exists
    #[arg(long, requires = "html")]
    pub(crate) force: bool,
    /// Samples at a time; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch_size: u32,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

fn explained(error: litesmith::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// Run a model on images and print the best classes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith run digits-int8.tflite digit.png
  litesmith run flowers.tflite *.jpg --top 3 --json
  litesmith run digits-int8.tflite --input x.npy --output-raw y.npy --numerics reference
  litesmith run digits-int8.tflite --signature serving_default --input x.npy --output-raw y.npy
  litesmith run digits-int8.tflite --explain")]
pub(crate) struct RunArgs {
    /// Model to run
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// Images: PNG, JPEG, BMP, or .npy arrays
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) images: Vec<PathBuf>,
    /// Classes to print for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) top: u16,
    /// Array of an input, as it is or float32 to be quantized: in order, or by name
    #[arg(long, value_name = "[NAME=]FILE.npy", conflicts_with = "images", value_hint = ValueHint::FilePath)]
    pub(crate) input: Vec<String>,
    /// Where to write an output as it is, in its element type: in order, or by name
    #[arg(long, value_name = "[NAME=]FILE.npy", conflicts_with = "images", value_hint = ValueHint::FilePath)]
    pub(crate) output_raw: Vec<String>,
    /// Run this signature instead of the main graph
    #[arg(long, value_name = "NAME", conflicts_with = "images")]
    pub(crate) signature: Option<String>,
    /// Replace the output if it exists
    #[arg(long, requires = "output_raw")]
    pub(crate) force: bool,
    /// Print what runs for each op: kernel, instruction set, memory; ops that fold away or that no kernel takes. After a run on
    /// the arrays of --input, where there are any
    #[arg(long, conflicts_with_all = ["images", "output_raw"])]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// Print the layers of a model or architecture: shapes, parameters, multiply-accumulates
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith summary mnist-cnn
  litesmith summary mobilenet-v2:width=0.35,input=96x96x3,classes=10
  litesmith summary my.toml
  litesmith summary digits-int8.tflite")]
pub(crate) struct SummaryArgs {
    /// A .tflite file, an architecture file (.toml), or the name of an architecture
    #[arg(value_name = "WHAT")]
    pub(crate) what: String,
}

/// Show what a .tflite file holds, whether or not it runs here: ops, tensors, quantization, metadata
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith inspect digits-int8.tflite
  litesmith inspect digits-int8.tflite --tensors
  litesmith inspect digits-int8.tflite --html digits-int8.html

--html draws the graph: one file that a browser shows without a network.")]
pub(crate) struct InspectArgs {
    /// Model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// List every tensor with its quantization too
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Write a page that draws the graph
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Replace the page if it exists
    #[arg(long, requires = "html")]
    pub(crate) force: bool,
}

/// Compare two models, or one model run in two ways: structure, and every layer's values
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith diff digits.tflite digits-int8.tflite --tolerance 0.2
  litesmith diff digits-int8.tflite --numerics litert,reference --tolerance 0.1
  litesmith diff digits-int8.tflite --threads 1,2
  litesmith diff digits-int8.tflite digits-int8.tflite --structure

Both run on the same input, made up or given. Exit status 1: an output differs by more than the tolerance; with
--structure, anything differs.")]
pub(crate) struct DiffArgs {
    /// First model
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub(crate) a: PathBuf,
    /// Second model; without it the first runs in two ways, by a list of two for --numerics, --isa or --threads
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub(crate) b: Option<PathBuf>,
    /// Largest difference of an output, as a share of the range of its values, that counts as the same
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = tolerance)]
    pub(crate) tolerance: f64,
    /// Compare only what the files hold; nothing runs
    #[arg(long, requires = "b", conflicts_with_all = ["input", "tolerance"])]
    pub(crate) structure: bool,
    /// Array of an input, as it is or float32 to be quantized: in order, or by name. Sizes that the model leaves open follow it
    #[arg(long, value_name = "[NAME=]FILE.npy", value_hint = ValueHint::FilePath)]
    pub(crate) input: Vec<String>,
    /// Run this signature instead of the main graph
    #[arg(long, value_name = "NAME", conflicts_with = "structure")]
    pub(crate) signature: Option<String>,
    /// Seed of the made-up input
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// List the tensors that agree too
    #[arg(long)]
    pub(crate) all: bool,
    /// Whose integer arithmetic to follow, one for both or one for each
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1, default_values_t = [NumericsArg::Litert])]
    pub(crate) numerics: Vec<NumericsArg>,
    /// Instruction set, one for both or one for each, as avx2 or neon; scalar runs on any CPU [default: the best of this CPU]
    #[arg(long, value_name = "ISA", value_delimiter = ',')]
    pub(crate) isa: Vec<litesmith::Isa>,
    /// Most memory that each may take for activations and variables, as 500MB [default: 4 GiB]
    #[arg(long, value_name = "BYTES", value_parser = byte_count, conflicts_with = "structure")]
    pub(crate) memory_limit: Option<u64>,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1e9).contains(&share) => Ok(share),
        _ => Err("expected 0 or more".into()),
    }
}

/// Shell to complete for
#[derive(Debug, Args)]
#[command(
    about = "Print shell completions",
    after_help = "Example:
  litesmith completions bash > ~/.local/share/bash-completion/completions/litesmith"
)]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith man | man -l -
  litesmith man --out /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder for one page for each command
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}
