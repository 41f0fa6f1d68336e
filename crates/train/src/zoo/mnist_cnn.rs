//! The reference network for MNIST: two convolutions, two pools, two fully connected layers.

use super::{Options, ZooEntry};
use crate::arch::{ActivationFunction, Architecture, Conv2D, Dense, Flatten, MaxPooling2D, Padding};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "mnist-cnn",
    description: "two 3x3 convolutions with max pooling, then 128 units: 421,642 parameters",
    input: &[28, 28, 1],
    classes: 10,
    has_width: false,
    build,
};

fn build(options: &Options) -> Architecture {
    let conv =
        |filters| Conv2D { padding: Padding::Same, activation: ActivationFunction::Relu, ..Conv2D::new(filters, 3) };
    Architecture::sequential(&options.name, options.input.clone())
        .with(conv(32))
        .with(MaxPooling2D::default())
        .with(conv(64))
        .with(MaxPooling2D::default())
        .with(Flatten {})
        .with(Dense { activation: ActivationFunction::Relu, ..Dense::new(128) })
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(options.classes) })
}
