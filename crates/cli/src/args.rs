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
    Demo(DemoArgs),
    Train(Box<TrainArgs>),
    Eval(EvalArgs),
    Quantize(QuantizeArgs),
    Run(RunArgs),
    Summary(SummaryArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Train the reference network on MNIST, convert it six ways, evaluate and time each, and write a report
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  litesmith demo
  litesmith demo --out /tmp/digits --epochs 2 --seed 7")]
pub(crate) struct DemoArgs {
    /// Folder for the models and the report; its files are replaced
    #[arg(long, value_name = "DIR", default_value = "litesmith-demo", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// MNIST: the folder with its four files
    #[arg(long, value_name = "DATA", default_value = "mnist")]
    pub(crate) data: String,
    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = litesmith::demo::EPOCHS, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    /// Seed of initial weights, order and augmentation
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
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

/// What becomes of images before a model sees them.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Skip images that do not decode, count and list them, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
}
