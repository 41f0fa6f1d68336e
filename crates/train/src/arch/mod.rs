//! Architectures: layers with Keras's names and defaults, chained or wired by name, from Rust or from a TOML file.
//!
//! ```
//! use litesmith_train::arch::{ActivationFunction, Architecture, Conv2D, Dense, Flatten, MaxPooling2D, Padding};
//!
//! let network = Architecture::sequential("small", [28, 28, 1])
//!     .with(Conv2D { padding: Padding::Same, activation: ActivationFunction::Relu, ..Conv2D::new(8, 3) })
//!     .with(MaxPooling2D::default())
//!     .with(Flatten {})
//!     .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) });
//! assert_eq!(network.summary()?.parameters(), 80 + 15_690);
//! let graph = network.graph(7)?;
//! assert_eq!(graph.tensor(graph.outputs[0]).to_string(), "float32[-1,10]");
//! # Ok::<(), litesmith_graph::Error>(())
//! ```

use litesmith_graph::{Error, Graph, Result};

mod file;
mod layers;
mod lower;

pub use layers::{
    Activation, ActivationFunction, Add, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, Dense,
    DepthwiseConv2D, Dropout, Flatten, GlobalAveragePooling2D, GlobalMaxPooling2D, Layer, LeakyReLU, MaxPooling2D,
    Padding, Pair, ReLU, Reshape, SeparableConv2D, Sides, Softmax, ZeroPadding2D,
};

use crate::Summary;

/// The name by which layers read the network's input.
pub const INPUT: &str = "input";

/// Layers and how they are wired.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Name of the network.
    pub name: String,
    /// Shape of one sample: `[height, width, channels]`; `[height, width]`, to which an axis of one channel is added; or
    /// `[features]`.
    pub input: Vec<usize>,
    /// Layers, each after those it reads. The last one is the output.
    pub layers: Vec<LayerSpec>,
}

/// A layer, its name, and the layers that it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Name, unlike that of any other layer and unlike [`INPUT`].
    pub name: String,
    /// The layer.
    pub layer: Layer,
    /// Names of the layers it reads, or [`INPUT`].
    pub inputs: Vec<String>,
    /// Line of the file it comes from, for messages.
    line: Option<usize>,
}

/// A layer that others can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerOutput(String);

impl LayerOutput {
    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Architecture {
    /// An architecture without layers, for samples of shape `input`.
    pub fn sequential(name: impl Into<String>, input: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), input: input.into(), layers: Vec::new() }
    }

    /// Adds a layer that reads the one before it.
    #[must_use]
    pub fn with(mut self, layer: impl Into<Layer>) -> Self {
        self.push(layer);
        self
    }

    /// Adds a layer that reads the one before it.
    pub fn push(&mut self, layer: impl Into<Layer>) -> LayerOutput {
        let last = self.last();
        self.apply(layer, &[&last])
    }

    /// Adds a layer that reads `inputs`.
    pub fn apply(&mut self, layer: impl Into<Layer>, inputs: &[&LayerOutput]) -> LayerOutput {
        let layer = layer.into();
        let name = self.free_name(&layer);
        let inputs = inputs.iter().map(|input| input.0.clone()).collect();
        self.layers.push(LayerSpec { name: name.clone(), layer, inputs, line: None });
        LayerOutput(name)
    }

    /// Adds a layer called `name` that reads `inputs`.
    pub fn apply_named(&mut self, name: &str, layer: impl Into<Layer>, inputs: &[&LayerOutput]) -> LayerOutput {
        let inputs = inputs.iter().map(|input| input.0.clone()).collect();
        self.layers.push(LayerSpec { name: name.into(), layer: layer.into(), inputs, line: None });
        LayerOutput(name.into())
    }

    /// The network's input.
    #[must_use]
    pub fn input(&self) -> LayerOutput {
        LayerOutput(INPUT.into())
    }

    /// The layer added last; the input when there is none.
    #[must_use]
    pub fn last(&self) -> LayerOutput {
        LayerOutput(self.layers.last().map_or(INPUT, |spec| &spec.name).into())
    }

    /// The graph, with weights initialised from `seed` and the name of each tensor, and a batch that may change.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the layer (and its line, when it comes from a file) whose parameters or inputs do not fit.
    pub fn graph(&self, seed: u64) -> Result<Graph> {
        lower::lower(self, seed).map(|lowered| lowered.graph)
    }

    /// What each layer computes, holds and costs.
    ///
    /// # Errors
    /// Those of [`Architecture::graph`].
    pub fn summary(&self) -> Result<Summary> {
        lower::lower(self, 0).map(|lowered| lowered.summary)
    }

    /// Keras's automatic names: the type in snake case, then `_1`, `_2` and so on.
    fn free_name(&self, layer: &Layer) -> String {
        let base = snake_case(layer.type_name());
        let taken = |name: &str| name == INPUT || self.layers.iter().any(|spec| spec.name == name);
        if !taken(&base) {
            return base;
        }
        // Of `n + 1` candidates at most `n` can be taken.
        let candidates = (1..=self.layers.len() + 1).map(|number| format!("{base}_{number}"));
        candidates.into_iter().find(|name| !taken(name)).unwrap_or(base)
    }
}

impl LayerSpec {
    /// `line 12: layer "conv2d" (Conv2D)`: the place in messages.
    #[must_use]
    pub fn place(&self) -> String {
        let layer = format!("layer \"{}\" ({})", self.name, self.layer.type_name());
        self.line.map_or(layer.clone(), |line| format!("line {line}: {layer}"))
    }
}

/// `Conv2D` to `conv2d`, `MaxPooling2D` to `max_pooling2d`, as Keras does.
fn snake_case(type_name: &str) -> String {
    let letters: Vec<char> = type_name.chars().collect();
    let mut name = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && letters[index - 1].is_lowercase();
        let before_lower = index > 1 && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        let starts_word = letter.is_uppercase() && (after_lower || (before_lower && letters[index - 1].is_uppercase()));
        if starts_word {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

impl Conv2D {
    /// A convolution with Keras's defaults.
    pub fn new(filters: usize, kernel_size: impl Into<Pair>) -> Self {
        Self { filters, kernel_size: kernel_size.into(), ..Self::default() }
    }
}

impl DepthwiseConv2D {
    /// A depthwise convolution with Keras's defaults.
    pub fn new(kernel_size: impl Into<Pair>) -> Self {
        Self { kernel_size: kernel_size.into(), ..Self::default() }
    }
}

impl SeparableConv2D {
    /// A separable convolution with Keras's defaults.
    pub fn new(filters: usize, kernel_size: impl Into<Pair>) -> Self {
        Self { filters, kernel_size: kernel_size.into(), ..Self::default() }
    }
}

impl Dense {
    /// A fully connected layer with Keras's defaults.
    #[must_use]
    pub fn new(units: usize) -> Self {
        Self { units, ..Self::default() }
    }
}

impl Activation {
    /// The function as a layer of its own.
    #[must_use]
    pub fn new(activation: ActivationFunction) -> Self {
        Self { activation }
    }
}

fn invalid(message: impl std::fmt::Display) -> Error {
    Error::invalid("", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_keras() {
        let names: Vec<_> = Layer::TYPES.iter().map(|name| snake_case(name)).collect();
        assert_eq!(
            names,
            [
                "conv2d",
                "depthwise_conv2d",
                "separable_conv2d",
                "dense",
                "max_pooling2d",
                "average_pooling2d",
                "global_average_pooling2d",
                "global_max_pooling2d",
                "batch_normalization",
                "dropout",
                "flatten",
                "reshape",
                "zero_padding2d",
                "add",
                "concatenate",
                "activation",
                "re_lu",
                "leaky_re_lu",
                "softmax",
            ]
        );
        let network = Architecture::sequential("n", [8, 8, 1]).with(Conv2D::new(2, 3)).with(Conv2D::new(2, 3));
        assert_eq!(network.layers[1].name, "conv2d_1");
        assert_eq!(network.layers[1].inputs, ["conv2d"]);
    }
}
