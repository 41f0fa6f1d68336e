//! MobileNetV1 (Howard et al., 2017) as in `keras.applications`.

use super::{Options, ZooEntry};
use crate::arch::{
    Activation, ActivationFunction, Architecture, BatchNormalization, Conv2D, DepthwiseConv2D, Dropout,
    GlobalAveragePooling2D, Padding, Reshape, Softmax,
};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "mobilenet-v1",
    description: "Howard et al., 2017: thirteen depthwise-separable blocks; options width and input",
    input: &[224, 224, 3],
    classes: 1000,
    has_width: true,
    build,
};

/// Channels and stride of each block.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

fn build(options: &Options) -> Architecture {
    let channels = |channels: usize| ((channels as f64 * options.width) as usize).max(1);
    let normalised = |network: Architecture| {
        network.with(BatchNormalization::default()).with(Activation::new(ActivationFunction::Relu6))
    };
    let mut network = Architecture::sequential(&options.name, options.input.clone());
    let first = Conv2D { strides: 2.into(), padding: Padding::Same, use_bias: false, ..Conv2D::new(channels(32), 3) };
    network = normalised(network.with(first));
    for (filters, stride) in BLOCKS {
        network = normalised(network.with(DepthwiseConv2D {
            strides: stride.into(),
            padding: Padding::Same,
            use_bias: false,
            ..DepthwiseConv2D::new(3)
        }));
        network = normalised(network.with(Conv2D { use_bias: false, ..Conv2D::new(channels(filters), 1) }));
    }
    network
        .with(GlobalAveragePooling2D { keepdims: true })
        .with(Dropout { rate: 1e-3 })
        .with(Conv2D::new(options.classes, 1))
        .with(Reshape { target_shape: vec![-1] })
        .with(Softmax {})
}
