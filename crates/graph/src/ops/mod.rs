//! The closed set of ops: one row each in the table below, one file each for attributes, shape inference and cost.

use crate::{DType, Data, Error, Result, Tensor, TensorId, elements};

mod activations;
mod add;
mod arithmetic;
mod average_pool_2d;
mod batch_matmul;
mod batch_normalization;
mod batch_space;
mod cast;
mod comparisons;
mod complex;
mod concatenation;
mod control_flow;
mod conv_2d;
mod creation;
mod custom;
mod depthwise_conv_2d;
mod dequantize;
mod dropout;
mod elementwise;
mod expand_dims;
mod fake_quantize;
mod fake_quantize_weights;
mod fully_connected;
mod indexing;
mod l2_pool_2d;
mod log_softmax;
mod lstm;
mod max_pool_2d;
mod mean;
mod mul;
mod non_max_suppression;
mod pack;
mod pad;
mod padv2;
mod quantization;
mod quantize;
mod rearrange;
mod reduce_max;
mod reduce_min;
mod reductions;
mod reshape;
mod resize_bilinear;
mod rnn;
mod shape;
mod softmax;
mod squeeze;
mod strided_slice;
mod sub;
mod svdf;
mod transpose_conv;
mod variables;
mod window;

pub use activations::{Elu, Gelu, HardSwish, LeakyRelu, Logistic, Relu, Relu0To1, Relu6, ReluN1To1, Tanh};
pub use add::{Add, broadcast_shapes};
pub use arithmetic::{AddN, Atan2, Div, FloorDiv, FloorMod, Maximum, Minimum, Pow, Prelu, SquaredDifference};
pub use average_pool_2d::AveragePool2d;
pub use batch_matmul::{BatchMatmul, BatchMatmulSizes};
pub use batch_normalization::BatchNormalization;
pub use batch_space::{BatchToSpaceNd, PaddedRearrangement, SpaceToBatchNd};
pub use cast::Cast;
pub use comparisons::{
    Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalOr, NotEqual, Select, SelectV2,
};
pub use complex::{ComplexAbs, Imag, Real, Rfft2d};
pub use concatenation::Concatenation;
pub use control_flow::{CallOnce, If, StablehloComposite, While};
pub use conv_2d::Conv2d;
pub use creation::{Bitcast, BroadcastArgs, Fill, Range, Rank, ZerosLike};
pub use custom::Custom;
pub use depthwise_conv_2d::DepthwiseConv2d;
pub use dequantize::Dequantize;
pub use dropout::Dropout;
pub use elementwise::{Abs, Ceil, Cos, Exp, Floor, Log, LogicalNot, Neg, Round, Rsqrt, Sign, Sin, Sqrt, Square};
pub use expand_dims::ExpandDims;
pub use fake_quantize::{FakeQuantize, Ties};
pub use fake_quantize_weights::FakeQuantizeWeights;
pub use fully_connected::FullyConnected;
pub use indexing::{DynamicUpdateSlice, EmbeddingLookup, Gather, GatherNd, OneHot, ScatterNd, SparseToDense, Where};
pub use l2_pool_2d::L2Pool2d;
pub use log_softmax::LogSoftmax;
pub use lstm::{BidirectionalSequenceLstm, Lstm, LstmInputs, UnidirectionalSequenceLstm};
pub use max_pool_2d::MaxPool2d;
pub use mean::Mean;
pub use mul::Mul;
pub use non_max_suppression::{NonMaxSuppressionV4, NonMaxSuppressionV5};
pub use pack::Pack;
pub use pad::Pad;
pub use padv2::Padv2;
use quantization::{
    CONVERTS, DEPTHWISE_WEIGHTS, FLOAT, FREE, JOIN, LOG_PROBABILITIES, PROBABILITIES, SAME_SCALE, SHAPE, SIGNED_UNIT,
    TRAINING, WEIGHTS,
};
pub use quantization::{OpQuantization, QuantizationRule};
pub use quantize::Quantize;
pub use rearrange::{
    BroadcastTo, DepthToSpace, MirrorPad, Rearrangement, ResizeNearestNeighbor, ReverseV2, Slice, SpaceToDepth, Split,
    SplitV, Steps, Tile, Transpose, Unpack,
};
pub use reduce_max::ReduceMax;
pub use reduce_min::ReduceMin;
pub use reductions::{
    ArgMax, ArgMin, Cumsum, L2Normalization, LocalResponseNormalization, ReduceAll, ReduceAny, ReduceProd, Sum, TopkV2,
};
pub use reshape::Reshape;
pub use resize_bilinear::ResizeBilinear;
pub use rnn::{BidirectionalSequenceRnn, Rnn, UnidirectionalSequenceRnn};
pub use shape::Shape;
pub use softmax::Softmax;
pub use squeeze::Squeeze;
pub use strided_slice::StridedSlice;
pub use sub::Sub;
pub use svdf::Svdf;
pub use transpose_conv::TransposeConv;
pub use variables::{AssignVariable, ReadVariable, VarHandle};
pub use window::{Activation, Padding, WindowSize, window};

macro_rules! op_table {
    ($($variant:ident $snake:literal $name:literal $code:expr, $quantization:expr;)*) => {
        /// An op with its attributes, in TensorFlow Lite's vocabulary. A match over it names every variant, so that a
        /// new row of the table makes the compiler point at each place that must handle it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op { $(#[doc = $name] $variant($variant),)* }

        /// Every row of the op table: `snake_case` name, schema name, builtin code (`None` for training-only ops).
        pub const OP_TABLE: &[(&str, &str, Option<i32>)] = &[$(($snake, $name, $code)),*];

        impl Op {
            /// Name in `snake_case`: the name of the files that implement the op.
            #[must_use]
            pub fn snake_name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $snake),* }
            }

            /// Name in the TensorFlow Lite schema, as `CONV_2D`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// `BuiltinOperator` number in the TensorFlow Lite schema; `None` for ops that exist only while training.
            #[must_use]
            pub fn builtin_code(&self) -> Option<i32> {
                match self { $(Self::$variant(_) => $code),* }
            }

            /// What the op asks of the quantization of its tensors.
            #[must_use]
            pub fn quantization(&self) -> OpQuantization {
                match self { $(Self::$variant(_) => $quantization),* }
            }
        }

        // By a match for each, as a table of functions for each op takes several times as much.
        impl OpSpec for Op {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                match self { $(Self::$variant(op) => op.infer(inputs)),* }
            }

            fn output_dtype(&self, first_input: DType) -> DType {
                match self { $(Self::$variant(op) => op.output_dtype(first_input)),* }
            }

            fn typed_by(&self) -> usize {
                match self { $(Self::$variant(op) => op.typed_by()),* }
            }

            fn fused_activation(&mut self) -> Option<&mut Activation> {
                match self { $(Self::$variant(op) => op.fused_activation()),* }
            }

            fn parameter(&self, index: usize) -> Parameter {
                match self { $(Self::$variant(op) => op.parameter(index)),* }
            }

            fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
                match self { $(Self::$variant(op) => op.macs(inputs, output)),* }
            }
        }

        $(impl From<$variant> for Op {
            fn from(op: $variant) -> Self {
                Self::$variant(op)
            }
        })*
    };
}

op_table! {
    Add "add" "ADD" Some(0), FREE;
    AveragePool2d "average_pool_2d" "AVERAGE_POOL_2D" Some(1), SAME_SCALE;
    Concatenation "concatenation" "CONCATENATION" Some(2), JOIN;
    Conv2d "conv_2d" "CONV_2D" Some(3), WEIGHTS;
    DepthwiseConv2d "depthwise_conv_2d" "DEPTHWISE_CONV_2D" Some(4), DEPTHWISE_WEIGHTS;
    DepthToSpace "depth_to_space" "DEPTH_TO_SPACE" Some(5), SAME_SCALE.without_int16();
    Dequantize "dequantize" "DEQUANTIZE" Some(6), CONVERTS;
    EmbeddingLookup "embedding_lookup" "EMBEDDING_LOOKUP" Some(7), FLOAT;
    Floor "floor" "FLOOR" Some(8), FLOAT;
    FullyConnected "fully_connected" "FULLY_CONNECTED" Some(9), WEIGHTS;
    L2Normalization "l2_normalization" "L2_NORMALIZATION" Some(11), FLOAT;
    L2Pool2d "l2_pool_2d" "L2_POOL_2D" Some(12), FLOAT;
    LocalResponseNormalization "local_response_normalization" "LOCAL_RESPONSE_NORMALIZATION" Some(13), FLOAT;
    Logistic "logistic" "LOGISTIC" Some(14), PROBABILITIES;
    Lstm "lstm" "LSTM" Some(16), FLOAT;
    MaxPool2d "max_pool_2d" "MAX_POOL_2D" Some(17), SAME_SCALE;
    Mul "mul" "MUL" Some(18), FREE;
    Relu "relu" "RELU" Some(19), FREE;
    ReluN1To1 "relu_n1_to_1" "RELU_N1_TO_1" Some(20), FREE.without_int16();
    Relu6 "relu6" "RELU6" Some(21), FREE;
    Reshape "reshape" "RESHAPE" Some(22), SAME_SCALE;
    ResizeBilinear "resize_bilinear" "RESIZE_BILINEAR" Some(23), SAME_SCALE;
    Rnn "rnn" "RNN" Some(24), FLOAT;
    Softmax "softmax" "SOFTMAX" Some(25), PROBABILITIES;
    SpaceToDepth "space_to_depth" "SPACE_TO_DEPTH" Some(26), SAME_SCALE.without_int16();
    Svdf "svdf" "SVDF" Some(27), FLOAT;
    Tanh "tanh" "TANH" Some(28), SIGNED_UNIT;
    Custom "custom" "CUSTOM" Some(32), FLOAT;
    Pad "pad" "PAD" Some(34), SAME_SCALE;
    UnidirectionalSequenceRnn "unidirectional_sequence_rnn" "UNIDIRECTIONAL_SEQUENCE_RNN" Some(35), FLOAT;
    Gather "gather" "GATHER" Some(36), SAME_SCALE;
    BatchToSpaceNd "batch_to_space_nd" "BATCH_TO_SPACE_ND" Some(37), SAME_SCALE;
    SpaceToBatchNd "space_to_batch_nd" "SPACE_TO_BATCH_ND" Some(38), SAME_SCALE;
    Transpose "transpose" "TRANSPOSE" Some(39), SAME_SCALE;
    Mean "mean" "MEAN" Some(40), FREE;
    Sub "sub" "SUB" Some(41), FREE;
    Div "div" "DIV" Some(42), FLOAT;
    Squeeze "squeeze" "SQUEEZE" Some(43), SAME_SCALE;
    UnidirectionalSequenceLstm "unidirectional_sequence_lstm" "UNIDIRECTIONAL_SEQUENCE_LSTM" Some(44), FLOAT;
    StridedSlice "strided_slice" "STRIDED_SLICE" Some(45), SAME_SCALE;
    BidirectionalSequenceRnn "bidirectional_sequence_rnn" "BIDIRECTIONAL_SEQUENCE_RNN" Some(46), FLOAT;
    Exp "exp" "EXP" Some(47), FREE;
    TopkV2 "topk_v2" "TOPK_V2" Some(48), FLOAT;
    Split "split" "SPLIT" Some(49), SAME_SCALE;
    LogSoftmax "log_softmax" "LOG_SOFTMAX" Some(50), LOG_PROBABILITIES.without_int16();
    BidirectionalSequenceLstm "bidirectional_sequence_lstm" "BIDIRECTIONAL_SEQUENCE_LSTM" Some(52), FLOAT;
    Cast "cast" "CAST" Some(53), FLOAT;
    Prelu "prelu" "PRELU" Some(54), FREE.without_int16();
    Maximum "maximum" "MAXIMUM" Some(55), JOIN;
    ArgMax "arg_max" "ARG_MAX" Some(56), FLOAT;
    Minimum "minimum" "MINIMUM" Some(57), JOIN;
    Less "less" "LESS" Some(58), FLOAT;
    Neg "neg" "NEG" Some(59), FLOAT;
    Padv2 "padv2" "PADV2" Some(60), FLOAT;
    Greater "greater" "GREATER" Some(61), FLOAT;
    GreaterEqual "greater_equal" "GREATER_EQUAL" Some(62), FLOAT;
    LessEqual "less_equal" "LESS_EQUAL" Some(63), FLOAT;
    Select "select" "SELECT" Some(64), FLOAT;
    Slice "slice" "SLICE" Some(65), SAME_SCALE;
    Sin "sin" "SIN" Some(66), FLOAT;
    TransposeConv "transpose_conv" "TRANSPOSE_CONV" Some(67), FLOAT;
    SparseToDense "sparse_to_dense" "SPARSE_TO_DENSE" Some(68), FLOAT;
    Tile "tile" "TILE" Some(69), SAME_SCALE.without_int16();
    ExpandDims "expand_dims" "EXPAND_DIMS" Some(70), SAME_SCALE;
    Equal "equal" "EQUAL" Some(71), FLOAT;
    NotEqual "not_equal" "NOT_EQUAL" Some(72), FLOAT;
    Log "log" "LOG" Some(73), FREE;
    Sum "sum" "SUM" Some(74), FREE;
    Sqrt "sqrt" "SQRT" Some(75), FLOAT;
    Rsqrt "rsqrt" "RSQRT" Some(76), FLOAT;
    Shape "shape" "SHAPE" Some(77), SHAPE;
    Pow "pow" "POW" Some(78), FLOAT;
    ArgMin "arg_min" "ARG_MIN" Some(79), FLOAT;
    ReduceProd "reduce_prod" "REDUCE_PROD" Some(81), FLOAT;
    ReduceMax "reduce_max" "REDUCE_MAX" Some(82), SAME_SCALE;
    Pack "pack" "PACK" Some(83), JOIN;
    LogicalOr "logical_or" "LOGICAL_OR" Some(84), FLOAT;
    OneHot "one_hot" "ONE_HOT" Some(85), FLOAT;
    LogicalAnd "logical_and" "LOGICAL_AND" Some(86), FLOAT;
    LogicalNot "logical_not" "LOGICAL_NOT" Some(87), FLOAT;
    Unpack "unpack" "UNPACK" Some(88), SAME_SCALE;
    ReduceMin "reduce_min" "REDUCE_MIN" Some(89), SAME_SCALE;
    FloorDiv "floor_div" "FLOOR_DIV" Some(90), FLOAT;
    ReduceAny "reduce_any" "REDUCE_ANY" Some(91), FLOAT;
    Square "square" "SQUARE" Some(92), FLOAT;
    ZerosLike "zeros_like" "ZEROS_LIKE" Some(93), FLOAT;
    Fill "fill" "FILL" Some(94), FLOAT;
    FloorMod "floor_mod" "FLOOR_MOD" Some(95), FLOAT;
    Range "range" "RANGE" Some(96), FLOAT;
    ResizeNearestNeighbor "resize_nearest_neighbor" "RESIZE_NEAREST_NEIGHBOR" Some(97), SAME_SCALE;
    LeakyRelu "leaky_relu" "LEAKY_RELU" Some(98), FREE;
    SquaredDifference "squared_difference" "SQUARED_DIFFERENCE" Some(99), FREE.without_int16();
    MirrorPad "mirror_pad" "MIRROR_PAD" Some(100), SAME_SCALE;
    Abs "abs" "ABS" Some(101), FREE;
    SplitV "split_v" "SPLIT_V" Some(102), SAME_SCALE;
    Ceil "ceil" "CEIL" Some(104), FLOAT;
    ReverseV2 "reverse_v2" "REVERSE_V2" Some(105), SAME_SCALE;
    AddN "add_n" "ADD_N" Some(106), FLOAT;
    GatherNd "gather_nd" "GATHER_ND" Some(107), SAME_SCALE;
    Cos "cos" "COS" Some(108), FLOAT;
    Where "where" "WHERE" Some(109), FLOAT;
    Rank "rank" "RANK" Some(110), SHAPE;
    Elu "elu" "ELU" Some(111), FREE.without_int16();
    Quantize "quantize" "QUANTIZE" Some(114), CONVERTS;
    Round "round" "ROUND" Some(116), FLOAT;
    HardSwish "hard_swish" "HARD_SWISH" Some(117), FREE.without_int16();
    If "if" "IF" Some(118), FLOAT;
    While "while" "WHILE" Some(119), FLOAT;
    NonMaxSuppressionV4 "non_max_suppression_v4" "NON_MAX_SUPPRESSION_V4" Some(120), FLOAT;
    NonMaxSuppressionV5 "non_max_suppression_v5" "NON_MAX_SUPPRESSION_V5" Some(121), FLOAT;
    ScatterNd "scatter_nd" "SCATTER_ND" Some(122), FLOAT;
    SelectV2 "select_v2" "SELECT_V2" Some(123), FLOAT;
    BatchMatmul "batch_matmul" "BATCH_MATMUL" Some(126), FLOAT;
    Cumsum "cumsum" "CUMSUM" Some(128), FLOAT;
    CallOnce "call_once" "CALL_ONCE" Some(129), FLOAT;
    BroadcastTo "broadcast_to" "BROADCAST_TO" Some(130), SAME_SCALE.without_int16();
    Rfft2d "rfft2d" "RFFT2D" Some(131), FLOAT;
    Imag "imag" "IMAG" Some(133), FLOAT;
    Real "real" "REAL" Some(134), FLOAT;
    ComplexAbs "complex_abs" "COMPLEX_ABS" Some(135), FLOAT;
    ReduceAll "reduce_all" "REDUCE_ALL" Some(140), FLOAT;
    VarHandle "var_handle" "VAR_HANDLE" Some(142), FLOAT;
    ReadVariable "read_variable" "READ_VARIABLE" Some(143), FLOAT;
    AssignVariable "assign_variable" "ASSIGN_VARIABLE" Some(144), FLOAT;
    BroadcastArgs "broadcast_args" "BROADCAST_ARGS" Some(145), FLOAT;
    Gelu "gelu" "GELU" Some(150), FREE;
    DynamicUpdateSlice "dynamic_update_slice" "DYNAMIC_UPDATE_SLICE" Some(151), JOIN;
    Relu0To1 "relu_0_to_1" "RELU_0_TO_1" Some(152), FREE.without_int16();
    Atan2 "atan2" "ATAN2" Some(156), FLOAT;
    Sign "sign" "SIGN" Some(158), FLOAT;
    Bitcast "bitcast" "BITCAST" Some(159), FLOAT;
    StablehloComposite "stablehlo_composite" "STABLEHLO_COMPOSITE" Some(206), FLOAT;
    BatchNormalization "batch_normalization" "BATCH_NORMALIZATION" None, TRAINING;
    Dropout "dropout" "DROPOUT" None, TRAINING;
    FakeQuantize "fake_quantize" "FAKE_QUANTIZE" None, TRAINING;
    FakeQuantizeWeights "fake_quantize_weights" "FAKE_QUANTIZE_WEIGHTS" None, TRAINING;
}

/// Most axes that the result of an op may have: a chain of ops that each add one must not cost its length squared.
pub const RANK_MAX: usize = 32;

/// What one run of a node costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of constants read (weights, biases).
    pub constant_bytes: u64,
    /// Bytes of activations read and written.
    pub activation_bytes: u64,
}

/// What a constant input of an op is to training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// Changed by the optimiser.
    Trainable,
    /// Changed by the op itself: a moving mean or variance.
    Moving,
    /// Never changed.
    Constant,
}

/// Attributes of one op: shapes and cost, and what only some ops have.
trait OpSpec {
    /// Shapes of the outputs, from the inputs and, where they decide the shape, their constant elements.
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>>;

    /// Element type of the outputs, when it is not that of the first input.
    fn output_dtype(&self, first_input: DType) -> DType {
        first_input
    }

    /// The input whose element type decides that of the outputs.
    fn typed_by(&self) -> usize {
        0
    }

    /// The activation applied to the result, of ops that have the attribute.
    fn fused_activation(&mut self) -> Option<&mut Activation> {
        None
    }

    /// What a float constant in place of input `index` is to training.
    fn parameter(&self, index: usize) -> Parameter {
        let _ = index;
        Parameter::Constant
    }

    /// Multiply-accumulates of one run; 0 for ops that do not multiply and accumulate.
    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        let _ = (inputs, output);
        0
    }
}

/// Inputs of a node, with accessors that turn what is missing or wrong into errors.
#[derive(Clone)]
pub struct Inputs<'a> {
    op: &'static str,
    tensors: Vec<Option<&'a Tensor>>,
}

impl<'a> Inputs<'a> {
    /// Inputs of an op; `None` where an optional input is left out.
    #[must_use]
    pub fn new(op: &Op, tensors: Vec<Option<&'a Tensor>>) -> Self {
        Self { op: op.name(), tensors }
    }

    /// How many, left-out ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Checks how many there are.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the number is outside `range`.
    pub fn expect_count(&self, range: std::ops::RangeInclusive<usize>) -> Result<()> {
        if range.contains(&self.len()) {
            return Ok(());
        }
        let expected = if range.start() == range.end() {
            format!("{}", range.start())
        } else {
            format!("{} to {}", range.start(), range.end())
        };
        Err(self.malformed(format!("got {} inputs, expected {expected}", self.len())))
    }

    /// Input `index`, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is missing.
    pub fn get(&self, index: usize, name: &str) -> Result<&'a Tensor> {
        self.optional(index).ok_or_else(|| self.malformed(format!("{name} (input {index}) is missing")))
    }

    /// Input `index`, when it is given.
    #[must_use]
    pub fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.tensors.get(index).copied().flatten()
    }

    /// The shape of input `index`, which must have rank `N`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is missing or has another rank.
    pub fn shape<const N: usize>(&self, index: usize, name: &str) -> Result<[usize; N]> {
        let tensor = self.get(index, name)?;
        tensor.shape.as_slice().try_into().map_err(|_| {
            self.malformed(format!("{name} (input {index}) has shape {:?}, expected rank {N}", tensor.shape))
        })
    }

    /// The elements of constant input `index` of type int32 or int64.
    ///
    /// # Errors
    /// [`Error::Unsupported`] that asks for the input ([`Error::needed_input`]) when it is not constant, [`Error::Malformed`] when it is not of an integer type.
    pub fn integers(&self, index: usize, name: &str) -> Result<Vec<i64>> {
        let tensor = self.get(index, name)?;
        let Some(data) = &tensor.data else {
            return Err(self.needs(index, name));
        };
        match tensor.dtype {
            DType::I32 => Ok(data.elements::<i32>()?.iter().map(|&value| i64::from(value)).collect()),
            DType::I64 => Ok(data.elements::<i64>()?.to_vec()),
            other => Err(self.malformed(format!("{name} (input {index}) is {other}, expected int32 or int64"))),
        }
    }

    /// The bytes of constant input `index`, for ops whose shape depends on them.
    ///
    /// # Errors
    /// As [`Inputs::integers`].
    pub fn data(&self, index: usize, name: &str) -> Result<&'a Data> {
        self.get(index, name)?.data.as_ref().ok_or_else(|| self.needs(index, name))
    }

    fn needs(&self, index: usize, name: &str) -> Error {
        Error::unsupported(self.op, format!("{name} (input {index}) is computed, expected a constant"))
            .with_needed_input(index)
    }

    /// Whether input `index` is given, constant or not needed to be known.
    #[must_use]
    pub fn is_constant(&self, index: usize) -> bool {
        self.optional(index).is_some_and(|tensor| tensor.data.is_some())
    }

    /// An error about this node: the file is wrong.
    #[must_use]
    pub fn malformed(&self, message: impl std::fmt::Display) -> Error {
        Error::malformed(self.op, message)
    }
}

impl Op {
    /// Shapes of the outputs.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the inputs do not fit the op, [`Error::Unsupported`] when the shape depends on values
    /// that are computed, [`Error::Limit`] when a result has more than [`RANK_MAX`] axes or too many elements.
    pub fn infer_shapes(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Vec<usize>>> {
        let shapes = OpSpec::infer(self, &Inputs::new(self, inputs.to_vec()))?;
        for shape in &shapes {
            if shape.len() > RANK_MAX {
                let message = format!("the result has {} axes, at most {RANK_MAX} can be", shape.len());
                return Err(Error::limit(self.name(), message));
            }
            elements(shape).map_err(|error| error.without_place().at(self.name()))?;
        }
        Ok(shapes)
    }

    /// Element type of the outputs as built from scratch, from that of input [`Op::typed_by`]; quantizing ops may choose
    /// another.
    #[must_use]
    pub fn output_dtype(&self, input: DType) -> DType {
        OpSpec::output_dtype(self, input)
    }

    /// The input whose element type decides that of the outputs.
    #[must_use]
    pub fn typed_by(&self) -> usize {
        OpSpec::typed_by(self)
    }

    /// The activation applied to the result, to change; `None` for ops without the attribute.
    pub fn fused_activation_mut(&mut self) -> Option<&mut Activation> {
        OpSpec::fused_activation(self)
    }

    /// The activation applied to the result; `None` for ops without the attribute.
    #[must_use]
    pub fn fused_activation(&self) -> Option<Activation> {
        self.clone().fused_activation_mut().copied()
    }

    /// What a float32 constant in place of input `index` is to training.
    #[must_use]
    pub fn parameter(&self, index: usize) -> Parameter {
        OpSpec::parameter(self, index)
    }

    /// What one run costs, given its inputs and outputs.
    #[must_use]
    pub fn cost(&self, inputs: &[Option<&Tensor>], outputs: &[&Tensor]) -> Cost {
        let bytes = |tensor: &Tensor| tensor.byte_size().map_or(0, |bytes| bytes as u64);
        let mut cost = Cost::default();
        for tensor in inputs.iter().flatten() {
            match tensor.data {
                Some(_) => cost.constant_bytes += bytes(tensor),
                None => cost.activation_bytes += bytes(tensor),
            }
        }
        cost.activation_bytes += outputs.iter().map(|tensor| bytes(tensor)).sum::<u64>();
        if let Some(output) = outputs.first() {
            cost.macs = OpSpec::macs(self, &Inputs::new(self, inputs.to_vec()), &output.shape);
        }
        cost
    }

    /// Whether running the op does more than compute its outputs, so that it must run though nobody reads them. What runs
    /// other subgraphs may.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        matches!(self, Self::AssignVariable(_) | Self::CallOnce(_) | Self::If(_) | Self::While(_) | Self::Custom(_))
    }

    /// The inputs that are states: variables, one each, which the op changes.
    #[must_use]
    pub fn state_inputs(&self) -> &'static [usize] {
        match self {
            Self::Lstm(op) if op.is_basic => &[Lstm::BASIC_OUTPUT_STATE, Lstm::BASIC_CELL_STATE],
            Self::Lstm(_) | Self::UnidirectionalSequenceLstm(_) => &[18, 19],
            Self::BidirectionalSequenceLstm(_) => &[35, 36, 37, 38],
            Self::BidirectionalSequenceRnn(_) => &[4, 8],
            Self::Rnn(_) | Self::UnidirectionalSequenceRnn(_) | Self::Svdf(_) => &[4],
            _ => &[],
        }
    }

    /// The tensors that stand for values inside the op; none for ops that have no such.
    #[must_use]
    pub fn intermediates(&self) -> &[TensorId] {
        match self {
            Self::UnidirectionalSequenceLstm(op) => &op.intermediates,
            Self::Lstm(op) => &op.intermediates,
            _ => &[],
        }
    }

    /// [`Op::intermediates`], to change; `None` for ops that have no such.
    pub fn intermediates_mut(&mut self) -> Option<&mut Vec<TensorId>> {
        match self {
            Self::UnidirectionalSequenceLstm(op) => Some(&mut op.intermediates),
            Self::Lstm(op) => Some(&mut op.intermediates),
            _ => None,
        }
    }

    /// The subgraphs that the op runs.
    #[must_use]
    pub fn subgraphs(&self) -> Vec<usize> {
        match self {
            Self::If(op) => vec![op.then_graph, op.else_graph],
            Self::While(op) => vec![op.condition_graph, op.body_graph],
            Self::CallOnce(op) => vec![op.init_graph],
            Self::StablehloComposite(op) => vec![op.decomposition_graph],
            _ => Vec::new(),
        }
    }

    /// Whether the op exists only while training and is folded away on export.
    #[must_use]
    pub fn is_training_only(&self) -> bool {
        self.builtin_code().is_none()
    }
}

fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(size as u64))
}

/// Resolves axes that may count from the end; duplicates are dropped, the result is ascending.
///
/// # Errors
/// [`Error::Malformed`] when an axis is outside `-rank..rank`.
pub fn resolve_axes(op: &str, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let resolved = axes.iter().map(|&axis| resolve_axis(op, axis, rank)).collect::<Result<Vec<_>>>()?;
    Ok((0..rank).filter(|axis| resolved.contains(axis)).collect())
}

/// Resolves one axis that may count from the end.
///
/// # Errors
/// [`Error::Malformed`] when the axis is outside `-rank..rank`.
pub fn resolve_axis(op: &str, axis: i64, rank: usize) -> Result<usize> {
    let size = i64::try_from(rank).unwrap_or(i64::MAX);
    let positive = if axis < 0 { axis.checked_add(size) } else { Some(axis) };
    positive
        .filter(|axis| (0..size).contains(axis))
        .and_then(|axis| usize::try_from(axis).ok())
        .ok_or_else(|| Error::malformed(op, format!("axis {axis} of a tensor of rank {rank}")))
}
