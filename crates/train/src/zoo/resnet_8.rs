//! ResNet-8 (He et al., 2015, shortened) as MLPerf Tiny uses it for image classification.

use super::{Options, ZooEntry};
use crate::Initializer;
use crate::arch::{
    Activation, ActivationFunction, Add, Architecture, BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D,
    LayerOutput, Padding,
};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "resnet-8",
    description: "He et al., 2015, as in MLPerf Tiny: three residual blocks of 16, 32 and 64 channels",
    input: &[32, 32, 3],
    classes: 10,
    has_width: false,
    build,
};

fn build(options: &Options) -> Architecture {
    let mut network = Architecture::sequential(&options.name, options.input.clone());
    let conv = |filters, kernel: usize, stride: usize| Conv2D {
        strides: stride.into(),
        padding: Padding::Same,
        kernel_initializer: Initializer::HeNormal,
        ..Conv2D::new(filters, kernel)
    };
    let relu = || Activation::new(ActivationFunction::Relu);
    network.push(conv(16, 3, 1));
    network.push(BatchNormalization::default());
    let mut x: LayerOutput = network.push(relu());
    for (filters, stride) in [(16, 1), (32, 2), (64, 2)] {
        network.apply(conv(filters, 3, stride), &[&x]);
        network.push(BatchNormalization::default());
        network.push(relu());
        network.push(conv(filters, 3, 1));
        let branch = network.push(BatchNormalization::default());
        let shortcut = if stride == 1 { x } else { network.apply(conv(filters, 1, stride), &[&x]) };
        network.apply(Add {}, &[&shortcut, &branch]);
        x = network.push(relu());
    }
    network.with(GlobalAveragePooling2D::default()).with(Dense {
        activation: ActivationFunction::Softmax,
        kernel_initializer: Initializer::HeNormal,
        ..Dense::new(options.classes)
    })
}
