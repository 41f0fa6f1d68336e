//! LeNet-5 (LeCun et al., 1998) as it is built today: full connections between feature maps, softmax at the end.

use super::{Options, ZooEntry};
use crate::arch::{ActivationFunction, Architecture, AveragePooling2D, Conv2D, Dense, Flatten, Padding};

pub(super) const ENTRY: ZooEntry = ZooEntry {
    name: "lenet-5",
    description: "LeCun et al., 1998: two 5x5 convolutions with average pooling, tanh",
    input: &[28, 28, 1],
    classes: 10,
    has_width: false,
    build,
};

fn build(options: &Options) -> Architecture {
    let activation = ActivationFunction::Tanh;
    Architecture::sequential(&options.name, options.input.clone())
        .with(Conv2D { padding: Padding::Same, activation, ..Conv2D::new(6, 5) })
        .with(AveragePooling2D::default())
        .with(Conv2D { activation, ..Conv2D::new(16, 5) })
        .with(AveragePooling2D::default())
        .with(Flatten {})
        .with(Dense { activation, ..Dense::new(120) })
        .with(Dense { activation, ..Dense::new(84) })
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(options.classes) })
}
