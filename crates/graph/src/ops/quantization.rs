//! How each op is quantized, following TensorFlow Lite's 8-bit quantization specification and what LiteRT's kernels check.

/// What an op asks of the parameters of its tensors, where it computes with integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QuantizationRule {
    /// Input 1 are weights, one scale for each index along `axis`; input 2 is a bias in the scale of the products.
    Weights {
        /// The axis of the output channels.
        axis: usize,
    },
    /// Every input and the output have parameters of their own.
    Free,
    /// The outputs have the parameters of the input with the elements: the op only moves or selects them, or averages them in
    /// place.
    SameScale,
    /// Every input has the parameters of the output.
    Join,
    /// The output has these parameters, which the kernels take for granted: those of int8, and the scale of int16.
    Fixed {
        /// Scale and zero point of an int8 output.
        int8: (f32, i64),
        /// Scale of an int16 output.
        int16: f32,
    },
    /// The op looks at the shape, not at the elements.
    Shape,
    /// The op stays as it is: LiteRT has no integer form of it, or only the file's maker knows what it computes.
    Float,
    /// The op converts between forms: the graph is quantized already.
    Converts,
    /// The op exists only while training.
    TrainingOnly,
}

/// How an op is quantized: the last column of the op table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpQuantization {
    /// What it asks of its tensors' parameters.
    pub rule: QuantizationRule,
    /// Whether LiteRT has a kernel for int16 activations (that of PRELU takes an int8 alpha). Every op that has one for integers has one for int8.
    pub has_int16: bool,
}

impl OpQuantization {
    const fn new(rule: QuantizationRule) -> Self {
        Self { rule, has_int16: true }
    }

    pub(super) const fn without_int16(self) -> Self {
        Self { has_int16: false, ..self }
    }
}

pub(super) const WEIGHTS: OpQuantization = OpQuantization::new(QuantizationRule::Weights { axis: 0 });
pub(super) const DEPTHWISE_WEIGHTS: OpQuantization = OpQuantization::new(QuantizationRule::Weights { axis: 3 });
pub(super) const FREE: OpQuantization = OpQuantization::new(QuantizationRule::Free);
pub(super) const SAME_SCALE: OpQuantization = OpQuantization::new(QuantizationRule::SameScale);
pub(super) const JOIN: OpQuantization = OpQuantization::new(QuantizationRule::Join);
pub(super) const PROBABILITIES: OpQuantization =
    OpQuantization::new(QuantizationRule::Fixed { int8: (1.0 / 256.0, -128), int16: 1.0 / 32_768.0 });
pub(super) const LOG_PROBABILITIES: OpQuantization =
    OpQuantization::new(QuantizationRule::Fixed { int8: (1.0 / 16.0, 127), int16: 1.0 / 16.0 });
pub(super) const SIGNED_UNIT: OpQuantization =
    OpQuantization::new(QuantizationRule::Fixed { int8: (1.0 / 128.0, 0), int16: 1.0 / 32_768.0 });
pub(super) const SHAPE: OpQuantization = OpQuantization::new(QuantizationRule::Shape);
pub(super) const FLOAT: OpQuantization = OpQuantization::new(QuantizationRule::Float).without_int16();
pub(super) const CONVERTS: OpQuantization = OpQuantization::new(QuantizationRule::Converts);
pub(super) const TRAINING: OpQuantization = OpQuantization::new(QuantizationRule::TrainingOnly).without_int16();
