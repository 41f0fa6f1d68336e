//! MobileNetV2 (Sandler et al., 2018) as in `keras.applications`.

use super::{Options, ZooEntry, scaled_channels};
use crate::arch::{
    Activation, ActivationFunction, Add, Architecture, BatchNormalization, Conv2D, Dense, DepthwiseConv2D,
    GlobalAveragePooling2D, LayerOutput, Padding,
};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "mobilenet-v2",
    description: "Sandler et al., 2018: seventeen inverted residual blocks; options width and input",
    input: &[224, 224, 3],
    classes: 1000,
    has_width: true,
    build,
};

/// Expansion, channels, repetitions and first stride of each group of blocks (table 2 of the paper).
const GROUPS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

fn build(options: &Options) -> Architecture {
    let mut network = Architecture::sequential(&options.name, options.input.clone());
    let width = |channels| scaled_channels(channels, options.width, 8);
    let pointwise = |filters| Conv2D { use_bias: false, ..Conv2D::new(filters, 1) };
    let mut channels = width(32);
    network.push(Conv2D { strides: 2.into(), padding: Padding::Same, use_bias: false, ..Conv2D::new(channels, 3) });
    let mut x = normalised_relu6(&mut network);
    for (expansion, filters, repetitions, first_stride) in GROUPS {
        for repetition in 0..repetitions {
            let stride = if repetition == 0 { first_stride } else { 1 };
            let filters = width(filters);
            let mut inner = x.clone();
            if expansion != 1 {
                network.apply(pointwise(expansion * channels), &[&inner]);
                inner = normalised_relu6(&mut network);
            }
            let depthwise = DepthwiseConv2D {
                strides: stride.into(),
                padding: Padding::Same,
                use_bias: false,
                ..DepthwiseConv2D::new(3)
            };
            network.apply(depthwise, &[&inner]);
            normalised_relu6(&mut network);
            network.push(pointwise(filters));
            let projected = network.push(normalisation());
            x = if stride == 1 && filters == channels { network.apply(Add {}, &[&x, &projected]) } else { projected };
            channels = filters;
        }
    }
    // The last convolution is never thinned, only widened.
    let last = scaled_channels(1280, options.width.max(1.0), 8);
    network.apply(pointwise(last), &[&x]);
    normalised_relu6(&mut network);
    network
        .with(GlobalAveragePooling2D::default())
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(options.classes) })
}

fn normalisation() -> BatchNormalization {
    BatchNormalization { momentum: 0.999, ..BatchNormalization::default() }
}

fn normalised_relu6(network: &mut Architecture) -> LayerOutput {
    network.push(normalisation());
    network.push(Activation::new(ActivationFunction::Relu6))
}
