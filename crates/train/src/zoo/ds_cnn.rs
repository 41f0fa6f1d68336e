//! DS-CNN (Zhang et al., 2017) in the size that MLPerf Tiny uses for keyword spotting.

use super::{Options, ZooEntry};
use crate::arch::{
    Activation, ActivationFunction, Architecture, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Dropout,
    GlobalAveragePooling2D, Padding,
};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "ds-cnn",
    description: "Zhang et al., 2017, as in MLPerf Tiny: four depthwise-separable blocks of 64 channels",
    input: &[49, 10, 1],
    classes: 12,
    has_width: false,
    build,
};

fn build(options: &Options) -> Architecture {
    let mut network = Architecture::sequential(&options.name, options.input.clone());
    let normalised = |network: Architecture| {
        network.with(BatchNormalization::default()).with(Activation::new(ActivationFunction::Relu))
    };
    let first = Conv2D { strides: 2.into(), padding: Padding::Same, ..Conv2D::new(64, [10, 4]) };
    network = normalised(network.with(first)).with(Dropout { rate: 0.2 });
    for _ in 0..4 {
        network = normalised(network.with(DepthwiseConv2D { padding: Padding::Same, ..DepthwiseConv2D::new(3) }));
        network = normalised(network.with(Conv2D::new(64, 1)));
    }
    network
        .with(Dropout { rate: 0.4 })
        .with(GlobalAveragePooling2D::default())
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(options.classes) })
}
