//! The command line: what can be said, in Litesmith's words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Takes an image model from data to device: train, evaluate, quantize and run TensorFlow Lite models, without Python.
#[derive(Debug, Parser)]
#[command(name = "litesmith", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  litesmith demo
  litesmith train --arch mnist-cnn --data mnist -o digits.tflite
  litesmith quantize digits.tflite --type int8 --calibrate mnist -o digits-int8.tflite
  litesmith eval digits-int8.tflite --data mnist --against digits.tflite
  litesmith run digits-int8.tflite digit.png

Exit status: 0 done, 1 it ran and the verdict is negative, 2 it could not run.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) json: bool,
    /// Threads to use [default: all cores]. Results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Common options")]
    pub(crate) threads: Option<u16>,
    /// Say nothing but the result and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Eval(EvalArgs),
    Quantize(QuantizeArgs),
    Run(RunArgs),
    Summary(SummaryArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
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
    /// Whose integer arithmetic to follow; float models are the same under both
    #[arg(long, value_enum, default_value_t = NumericsArg::Litert)]
    pub(crate) numerics: NumericsArg,
    /// Instruction set: scalar, avx2, avx512, avx512_vnni [default: the best of this CPU]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<litesmith::Isa>,
}

/// Which samples.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Data set: mnist, mnist:DIR, fashion-mnist, images:DIR, csv:FILE, npz:FILE, npy:X,Y, idx:DIR, or a path
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
    /// Skip samples that cannot be read, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
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
    /// Another model to compare with, sample by sample
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) against: Option<PathBuf>,
    /// Also count how often the true class is among the K best
    #[arg(long, value_name = "K", value_delimiter = ',')]
    pub(crate) top_k: Vec<usize>,
    /// Exit with status 1 when the accuracy is below this, in percent
    #[arg(long, value_name = "PERCENT")]
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

/// How the numbers of a quantized model are stored
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeArg {
    /// 32-bit floats: cleaned, not quantized
    Float32,
    /// Weights as 16-bit floats: half the size
    Float16,
    /// 8-bit weights, activations quantized while running: a quarter of the size, no calibration
    Dynamic,
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

/// Quantize a float model, or store its weights as float16
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith quantize digits.tflite --type int8 --calibrate mnist -o digits-int8.tflite
  litesmith quantize digits.tflite --type int8 --calibrate mnist --io uint8 --mean 0 --std 255 -o digits-u8.tflite
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
    /// Data set to measure activation ranges on; its training samples are used
    #[arg(long, value_name = "DATA")]
    pub(crate) calibrate: Option<String>,
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
    #[arg(long, value_name = "X", value_delimiter = ',', requires = "mean")]
    pub(crate) std: Vec<f32>,
    /// File with the names of the classes, one a line, to pack into the model
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) labels: Option<PathBuf>,
}

/// Run a model on images and print the best classes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith run digits-int8.tflite digit.png
  litesmith run flowers.tflite *.jpg --top 3 --json
  litesmith run digits-int8.tflite --input x.npy --output-raw y.npy --numerics reference
  litesmith run digits-int8.tflite --explain")]
pub(crate) struct RunArgs {
    /// Model to run
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) model: PathBuf,
    /// Images: PNG, JPEG, BMP, or .npy arrays
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath, required_unless_present_any = ["input", "explain"])]
    pub(crate) images: Vec<PathBuf>,
    /// Classes to print for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) top: u16,
    /// Array of the model's input: its element type as it is, or float32 to be quantized
    #[arg(long, value_name = "FILE.npy", conflicts_with = "images", requires = "output_raw", value_hint = ValueHint::FilePath)]
    pub(crate) input: Option<PathBuf>,
    /// Where to write the first output as it is, in its element type
    #[arg(long, value_name = "FILE.npy", requires = "input", value_hint = ValueHint::FilePath)]
    pub(crate) output_raw: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long, requires = "output_raw")]
    pub(crate) force: bool,
    /// Print which kernel runs each op
    #[arg(long, conflicts_with_all = ["images", "input"])]
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
