//! How each op is quantized: one row for each op.

use litesmith_graph::Op;

/// What an op asks of the quantization of its tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Input 1 are weights, one scale for each index along `axis`; input 2 is a bias in the scale of the products.
    Weights {
        /// The axis of the output channels.
        axis: usize,
    },
    /// Every input and the output have parameters of their own.
    Free,
    /// The outputs have the parameters of the input [`value_input`]: the op only moves or selects elements, or averages
    /// them in place.
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

/// The rule of `op`, following TensorFlow Lite's 8-bit quantization specification and what LiteRT's kernels check.
pub(super) fn rule(op: &Op) -> Rule {
    match op {
        Op::Conv2d(_) | Op::FullyConnected(_) => Rule::Weights { axis: 0 },
        Op::DepthwiseConv2d(_) => Rule::Weights { axis: 3 },
        Op::Add(_)
        | Op::Sub(_)
        | Op::Mul(_)
        | Op::Sum(_)
        | Op::Mean(_)
        | Op::Relu(_)
        | Op::ReluN1To1(_)
        | Op::Relu6(_)
        | Op::LeakyRelu(_)
        | Op::Elu(_)
        | Op::HardSwish(_)
        | Op::Relu0To1(_)
        | Op::Abs(_)
        | Op::Log(_)
        | Op::Exp(_)
        | Op::SquaredDifference(_)
        | Op::Prelu(_)
        | Op::Gelu(_) => Rule::Free,
        Op::AveragePool2d(_)
        | Op::MaxPool2d(_)
        | Op::Reshape(_)
        | Op::Pad(_)
        | Op::Squeeze(_)
        | Op::StridedSlice(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Gather(_)
        | Op::Transpose(_)
        | Op::ResizeBilinear(_)
        | Op::BatchToSpaceNd(_)
        | Op::SpaceToBatchNd(_)
        | Op::GatherNd(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Tile(_)
        | Op::Unpack(_)
        | Op::ResizeNearestNeighbor(_)
        | Op::MirrorPad(_)
        | Op::SplitV(_)
        | Op::ReverseV2(_)
        | Op::BroadcastTo(_)
        | Op::ExpandDims(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_) => Rule::SameScale,
        Op::Concatenation(_) | Op::Maximum(_) | Op::Minimum(_) | Op::Pack(_) | Op::DynamicUpdateSlice(_) => Rule::Join,
        Op::Softmax(_) | Op::Logistic(_) => Rule::Fixed { int8: (1.0 / 256.0, -128), int16: 1.0 / 32_768.0 },
        Op::LogSoftmax(_) => Rule::Fixed { int8: (1.0 / 16.0, 127), int16: 1.0 / 16.0 },
        Op::Tanh(_) => Rule::Fixed { int8: (1.0 / 128.0, 0), int16: 1.0 / 32_768.0 },
        Op::Shape(_) | Op::Rank(_) => Rule::Shape,
        Op::Quantize(_) | Op::Dequantize(_) => Rule::Converts,
        Op::Custom(_)
        | Op::EmbeddingLookup(_)
        | Op::Padv2(_)
        | Op::OneHot(_)
        | Op::ZerosLike(_)
        | Op::Fill(_)
        | Op::Range(_)
        | Op::Where(_)
        | Op::ScatterNd(_)
        | Op::BroadcastArgs(_)
        | Op::Bitcast(_)
        | Op::If(_)
        | Op::While(_)
        | Op::CallOnce(_)
        | Op::VarHandle(_)
        | Op::ReadVariable(_)
        | Op::AssignVariable(_)
        | Op::Cast(_)
        | Op::Sign(_)
        | Op::SelectV2(_)
        | Op::Round(_)
        | Op::Cos(_)
        | Op::Ceil(_)
        | Op::FloorMod(_)
        | Op::Square(_)
        | Op::FloorDiv(_)
        | Op::LogicalNot(_)
        | Op::LogicalAnd(_)
        | Op::LogicalOr(_)
        | Op::Pow(_)
        | Op::Rsqrt(_)
        | Op::Sqrt(_)
        | Op::NotEqual(_)
        | Op::Equal(_)
        | Op::Sin(_)
        | Op::Select(_)
        | Op::LessEqual(_)
        | Op::GreaterEqual(_)
        | Op::Greater(_)
        | Op::Neg(_)
        | Op::Less(_)
        | Op::Floor(_)
        | Op::Div(_)
        | Op::TransposeConv(_)
        | Op::UnidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceLstm(_)
        | Op::L2Normalization(_)
        | Op::L2Pool2d(_)
        | Op::LocalResponseNormalization(_)
        | Op::TopkV2(_)
        | Op::ArgMax(_)
        | Op::ArgMin(_)
        | Op::ReduceProd(_)
        | Op::ReduceAny(_)
        | Op::ReduceAll(_)
        | Op::BatchMatmul(_)
        | Op::Cumsum(_)
        | Op::Lstm(_)
        | Op::Rnn(_)
        | Op::UnidirectionalSequenceRnn(_)
        | Op::Svdf(_)
        | Op::NonMaxSuppressionV4(_)
        | Op::NonMaxSuppressionV5(_)
        | Op::StablehloComposite(_) => Rule::Float,
        Op::BatchNormalization(_) | Op::Dropout(_) => Rule::TrainingOnly,
    }
}

/// The input that holds the elements; the others say what to do with them.
pub(super) fn value_input(op: &Op) -> usize {
    usize::from(matches!(op, Op::Split(_)))
}

/// Whether LiteRT has a kernel of `op` for int16 activations (that of PRELU takes an int8 alpha). Every op that has one for
/// integers has one for int8.
pub(super) fn has_int16(op: &Op) -> bool {
    !matches!(
        op,
        Op::ReluN1To1(_)
            | Op::Elu(_)
            | Op::HardSwish(_)
            | Op::Relu0To1(_)
            | Op::LogSoftmax(_)
            | Op::Prelu(_)
            | Op::SquaredDifference(_)
            | Op::SpaceToDepth(_)
            | Op::DepthToSpace(_)
            | Op::Tile(_)
            | Op::BroadcastTo(_)
    )
}
