//! The layers, with Keras's names, parameters and defaults.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Initializer;

/// Two sizes, vertical and horizontal. In a file one number stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PairWritten", into = "PairWritten")]
pub struct Pair {
    /// Vertical.
    pub height: usize,
    /// Horizontal.
    pub width: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or two in brackets: [height, width]")]
enum PairWritten {
    Both(usize),
    Each([usize; 2]),
}

impl From<PairWritten> for Pair {
    fn from(written: PairWritten) -> Self {
        match written {
            PairWritten::Both(size) => size.into(),
            PairWritten::Each(sizes) => sizes.into(),
        }
    }
}

impl From<Pair> for PairWritten {
    fn from(pair: Pair) -> Self {
        if pair.height == pair.width { Self::Both(pair.height) } else { Self::Each([pair.height, pair.width]) }
    }
}

impl From<usize> for Pair {
    fn from(size: usize) -> Self {
        Self { height: size, width: size }
    }
}

impl From<[usize; 2]> for Pair {
    fn from([height, width]: [usize; 2]) -> Self {
        Self { height, width }
    }
}

/// How a window meets the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// No zeros: only windows that lie inside.
    #[default]
    Valid,
    /// Zeros around the input, so that the output has `ceil(input / stride)` positions.
    Same,
}

/// Activation functions by Keras's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationFunction {
    /// None.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` where positive, `0.2 x` elsewhere (Keras's slope for the name; the layer `LeakyReLU` has its own).
    LeakyRelu,
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// Along the last axis.
    Softmax,
    /// `x * Phi(x)` with the standard normal distribution function, exactly.
    Gelu,
    /// `x` where positive, `exp(x) - 1` elsewhere.
    Elu,
}

macro_rules! layer_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($field: $default,)* }
                }
            }

            impl From<$name> for Layer {
                fn from(layer: $name) -> Self {
                    Self::$name(layer)
                }
            }
        )*

        /// A layer of an architecture.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Layer { $(#[doc = concat!("`", stringify!($name), "`.")] $name($name),)* }

        impl Layer {
            /// The names of all layers.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Keras's name of the layer, as `Conv2D`.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// A layer of the type called `type_name` from its parameters.
            pub(super) fn from_table(type_name: &str, table: toml::Table) -> Result<Self> {
                let layer = match type_name {
                    $(stringify!($name) => $name::deserialize(toml::Value::Table(table)).map(Self::from),)*
                    _ => {
                        return Err(Error::invalid(
                            "",
                            format!("unknown layer type `{type_name}`, expected one of {}", Self::TYPES.join(", ")),
                        ));
                    }
                };
                layer.map_err(|error| Error::invalid("", error.message()))
            }

            /// The parameters, all of them.
            pub(super) fn to_table(&self) -> Result<toml::Table> {
                let table = match self { $(Self::$name(layer) => toml::Table::try_from(layer),)* };
                table.map_err(|error| Error::invalid(self.type_name(), error))
            }
        }
    };
}

layer_structs! {
    /// A convolution over height and width.
    Conv2D {
        /// Output channels.
        filters: usize = 0,
        /// Size of the window.
        kernel_size: Pair = Pair { height: 0, width: 0 },
        /// Steps of the window.
        strides: Pair = 1.into(),
        /// How the window meets the border.
        padding: Padding = Padding::Valid,
        /// Steps between the taps of the window.
        dilation_rate: Pair = 1.into(),
        /// Groups of channels that are convolved apart.
        groups: usize = 1,
        /// Applied to the result.
        activation: ActivationFunction = ActivationFunction::Linear,
        /// Whether a bias is added.
        use_bias: bool = true,
        /// How the filter starts.
        kernel_initializer: Initializer = Initializer::GlorotUniform,
        /// How the bias starts.
        bias_initializer: Initializer = Initializer::Zeros,
    }

    /// A convolution of each channel by itself.
    DepthwiseConv2D {
        /// Size of the window.
        kernel_size: Pair = Pair { height: 0, width: 0 },
        /// Steps of the window.
        strides: Pair = 1.into(),
        /// How the window meets the border.
        padding: Padding = Padding::Valid,
        /// Output channels for each input channel.
        depth_multiplier: usize = 1,
        /// Steps between the taps of the window.
        dilation_rate: Pair = 1.into(),
        /// Applied to the result.
        activation: ActivationFunction = ActivationFunction::Linear,
        /// Whether a bias is added.
        use_bias: bool = true,
        /// How the filter starts.
        depthwise_initializer: Initializer = Initializer::GlorotUniform,
        /// How the bias starts.
        bias_initializer: Initializer = Initializer::Zeros,
    }

    /// A depthwise convolution without bias, then a pointwise one.
    SeparableConv2D {
        /// Output channels.
        filters: usize = 0,
        /// Size of the window.
        kernel_size: Pair = Pair { height: 0, width: 0 },
        /// Steps of the window.
        strides: Pair = 1.into(),
        /// How the window meets the border.
        padding: Padding = Padding::Valid,
        /// Steps between the taps of the window.
        dilation_rate: Pair = 1.into(),
        /// Channels between the two for each input channel.
        depth_multiplier: usize = 1,
        /// Applied to the result.
        activation: ActivationFunction = ActivationFunction::Linear,
        /// Whether a bias is added.
        use_bias: bool = true,
        /// How the depthwise filter starts.
        depthwise_initializer: Initializer = Initializer::GlorotUniform,
        /// How the pointwise filter starts.
        pointwise_initializer: Initializer = Initializer::GlorotUniform,
        /// How the bias starts.
        bias_initializer: Initializer = Initializer::Zeros,
    }

    /// A fully connected layer over the last axis.
    Dense {
        /// Outputs.
        units: usize = 0,
        /// Applied to the result.
        activation: ActivationFunction = ActivationFunction::Linear,
        /// Whether a bias is added.
        use_bias: bool = true,
        /// How the weights start.
        kernel_initializer: Initializer = Initializer::GlorotUniform,
        /// How the bias starts.
        bias_initializer: Initializer = Initializer::Zeros,
    }

    /// The largest element of each window.
    MaxPooling2D {
        /// Size of the window.
        pool_size: Pair = 2.into(),
        /// Steps of the window; those of `pool_size` when not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        strides: Option<Pair> = None,
        /// How the window meets the border.
        padding: Padding = Padding::Valid,
    }

    /// The mean of each window; padding does not count.
    AveragePooling2D {
        /// Size of the window.
        pool_size: Pair = 2.into(),
        /// Steps of the window; those of `pool_size` when not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        strides: Option<Pair> = None,
        /// How the window meets the border.
        padding: Padding = Padding::Valid,
    }

    /// The mean over height and width.
    GlobalAveragePooling2D {
        /// Whether height and width stay, with size 1.
        keepdims: bool = false,
    }

    /// The largest element over height and width.
    GlobalMaxPooling2D {
        /// Whether height and width stay, with size 1.
        keepdims: bool = false,
    }

    /// Normalises each channel over the batch, then scales and shifts it (Ioffe and Szegedy, 2015).
    BatchNormalization {
        /// Share of the old moving mean and variance that each step keeps.
        momentum: f32 = 0.99,
        /// Added to the variance.
        epsilon: f32 = 1e-3,
        /// How the shift starts.
        beta_initializer: Initializer = Initializer::Zeros,
        /// How the scale starts.
        gamma_initializer: Initializer = Initializer::Ones,
        /// How the moving mean starts.
        moving_mean_initializer: Initializer = Initializer::Zeros,
        /// How the moving variance starts.
        moving_variance_initializer: Initializer = Initializer::Ones,
    }

    /// Zeroes elements at random while training.
    Dropout {
        /// Share of the elements.
        rate: f32 = 0.5,
    }

    /// One axis after the batch.
    Flatten {}

    /// Another shape.
    Reshape {
        /// Sizes after the batch; one may be -1 for what is left over.
        target_shape: Vec<i32> = Vec::new(),
    }

    /// Zeros around height and width.
    ZeroPadding2D {
        /// One number for all sides, `[vertical, horizontal]`, or `[[top, bottom], [left, right]]`.
        padding: Sides = Sides::All(1),
    }

    /// The sum of two or more inputs.
    Add {}

    /// Inputs one after the other along an axis.
    Concatenate {
        /// The axis, counted with the batch; may count from the end.
        axis: i32 = -1,
    }

    /// An activation function.
    Activation {
        /// Which.
        activation: ActivationFunction = ActivationFunction::Linear,
    }

    /// `max(x, 0)`, with an upper bound if given.
    ReLU {
        /// Upper bound: 6, or none.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_value: Option<f32> = None,
    }

    /// `x` where positive, `negative_slope * x` elsewhere.
    LeakyReLU {
        /// Slope where `x` is negative.
        negative_slope: f32 = 0.3,
    }

    /// Softmax along the last axis.
    Softmax {}
}

/// Padding of the four sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, [vertical, horizontal], or [[top, bottom], [left, right]]")]
pub enum Sides {
    /// The same on every side.
    All(usize),
    /// Vertical and horizontal.
    Axes([usize; 2]),
    /// `[[top, bottom], [left, right]]`.
    Each([[usize; 2]; 2]),
}

impl Sides {
    /// `[[top, bottom], [left, right]]`.
    #[must_use]
    pub fn each(self) -> [[usize; 2]; 2] {
        match self {
            Self::All(size) => [[size; 2]; 2],
            Self::Axes([vertical, horizontal]) => [[vertical; 2], [horizontal; 2]],
            Self::Each(sides) => sides,
        }
    }
}
