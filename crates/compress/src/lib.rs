//! Makes models smaller and faster: post-training quantization, and what makes it more accurate.
//!
//! Every algorithm *decides* without changing anything: a pure function from a graph to a list of [`Edit`]s and a
//! report. [`apply`] carries edits out. What was decided can so be shown, tested and combined before it is done.
//!
//! ```
//! # use litesmith_graph::{Data, DType, Graph, Model, Tensor, ops::FullyConnected};
//! use litesmith_compress::{IoType, QuantizeOptions, Range, Ranges, Scheme, quantize};
//!
//! # let mut graph = Graph::new("main");
//! # let x = graph.add_input(Tensor::new("x", DType::F32, [1, 2]));
//! # let w = graph.add_tensor(Tensor::constant("w", DType::F32, [3, 2], Data::from_slice(&[0.5_f32; 6])));
//! # let b = graph.add_tensor(Tensor::constant("b", DType::F32, [3], Data::from_slice(&[0.25_f32; 3])));
//! # let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(w), Some(b)], "y")?;
//! # graph.outputs = vec![y];
//! # let model = Model::from_graph(graph);
//! # let mut ranges = Ranges::default();
//! # ranges.insert(x, Range::new(0.0, 1.0));
//! # ranges.insert(y, Range::new(-0.5, 1.5));
//! // `ranges` comes from `calibrate`; `model` is a float32 model.
//! let options = QuantizeOptions::new(Scheme::Int8).with_io(IoType::Uint8, IoType::Uint8);
//! let (quantized, report) = quantize(&model, &options, Some(&ranges))?;
//! assert!(report.kept_float.is_empty());
//! assert_eq!(quantized.main()?.tensor(quantized.main()?.inputs[0]).dtype, DType::U8);
//! # Ok::<(), litesmith_graph::Error>(())
//! ```
#![forbid(unsafe_code)]

mod adaround;
mod batch_norm;
mod bias_correction;
mod calibrate;
mod cluster;
mod complete;
mod edit;
mod equalize;
mod fine_tune;
mod layers;
mod pairing;
mod post_training;
mod prune;
mod quantize;
mod simplify;

pub use adaround::{AdaRoundConfig, AdaRoundLayer, adaround};
pub use batch_norm::{BatchNormConfig, batch_norm_reestimation};
pub use bias_correction::bias_correction;
pub use calibrate::{
    CalibrationConfig, Calibrator, CalibratorKind, FloatRunner, Grid, Histogram, Kl, MinMax, MovingAverage, Mse,
    Percentile, Range, Ranges, calibrate, calibration_samples,
};
pub use cluster::{ClusterReport, ClusterScope, Clustering, Initial, LayerClusters, WeightClusters, cluster_weights};
pub use complete::complete;
pub use edit::{Edit, Form, amend, apply};
pub use equalize::{ChannelPeaks, EqualizationConfig, EqualizationReport, equalize};
pub use fine_tune::FineTune;
pub use layers::Sample;
pub use pairing::{Computed, LayerPair, Own, Pairing, match_computed, pair_layers, selector_of};
pub use post_training::{PostTrainingReport, QuantizationConfig, Step, post_training};
pub use prune::{
    ChannelPruning, ChannelReport, Channels, Group, GroupReport, Importance, LayerSparsity, Originals, Pattern, Scope,
    SparsityReport, Taylor, Unit, WeightMasks, WeightPruning, check_excluded, choose_channels, magnitude,
    prune_channels, prune_weights,
};
pub use quantize::{
    Decision, Granularity, IoType, KeptFloat, QuantizeOptions, QuantizeReport, Rounded, RoundedWeights, Rule, Scheme,
    Selector, Simulation, TensorReport, WeightBits, check as check_quantization, check_float, decide, quantize,
    simulate, simulated,
};
pub use simplify::simplify;
