//! Which constants of a graph learn.

use litesmith_graph::{DType, Op, Tensor};

/// What a constant is to training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Changed by the optimiser.
    Trainable,
    /// Changed by the op itself: a moving mean or variance.
    Moving,
    /// Never changed.
    Constant,
}

/// The role of `tensor` as input `index` of an op.
pub(crate) fn role(op: &Op, index: usize, tensor: &Tensor) -> Role {
    if tensor.data.is_none() || tensor.dtype != DType::F32 {
        return Role::Constant;
    }
    match op {
        Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) if index > 0 => Role::Trainable,
        Op::BatchNormalization(_) if index > 2 => Role::Moving,
        Op::BatchNormalization(_) if index > 0 => Role::Trainable,
        Op::Add(_) | Op::Mul(_) | Op::Sub(_) => Role::Trainable,
        Op::Prelu(_) if index > 0 => Role::Trainable,
        Op::Conv2d(_)
        | Op::DepthwiseConv2d(_)
        | Op::FullyConnected(_)
        | Op::BatchNormalization(_)
        | Op::AveragePool2d(_)
        | Op::Concatenation(_)
        | Op::Dequantize(_)
        | Op::Logistic(_)
        | Op::MaxPool2d(_)
        | Op::Relu(_)
        | Op::ReluN1To1(_)
        | Op::Relu6(_)
        | Op::Reshape(_)
        | Op::Softmax(_)
        | Op::Tanh(_)
        | Op::Pad(_)
        | Op::Sign(_)
        | Op::Relu0To1(_)
        | Op::SelectV2(_)
        | Op::Round(_)
        | Op::Cos(_)
        | Op::Ceil(_)
        | Op::Abs(_)
        | Op::FloorMod(_)
        | Op::Square(_)
        | Op::FloorDiv(_)
        | Op::LogicalNot(_)
        | Op::LogicalAnd(_)
        | Op::LogicalOr(_)
        | Op::Pow(_)
        | Op::Rsqrt(_)
        | Op::Sqrt(_)
        | Op::Log(_)
        | Op::NotEqual(_)
        | Op::Equal(_)
        | Op::Sin(_)
        | Op::Select(_)
        | Op::LessEqual(_)
        | Op::GreaterEqual(_)
        | Op::Greater(_)
        | Op::Neg(_)
        | Op::Less(_)
        | Op::Exp(_)
        | Op::Floor(_)
        | Op::SquaredDifference(_)
        | Op::Minimum(_)
        | Op::Maximum(_)
        | Op::Div(_)
        | Op::Prelu(_)
        | Op::Mean(_)
        | Op::Squeeze(_)
        | Op::StridedSlice(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Gather(_)
        | Op::Transpose(_)
        | Op::ResizeBilinear(_)
        | Op::BatchToSpaceNd(_)
        | Op::SpaceToBatchNd(_)
        | Op::EmbeddingLookup(_)
        | Op::Padv2(_)
        | Op::OneHot(_)
        | Op::ZerosLike(_)
        | Op::Fill(_)
        | Op::Range(_)
        | Op::GatherNd(_)
        | Op::Where(_)
        | Op::Rank(_)
        | Op::ScatterNd(_)
        | Op::BroadcastArgs(_)
        | Op::DynamicUpdateSlice(_)
        | Op::Bitcast(_)
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
        | Op::Shape(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_)
        | Op::Pack(_)
        | Op::LeakyRelu(_)
        | Op::Elu(_)
        | Op::Quantize(_)
        | Op::HardSwish(_)
        | Op::Custom(_)
        | Op::If(_)
        | Op::While(_)
        | Op::CallOnce(_)
        | Op::VarHandle(_)
        | Op::ReadVariable(_)
        | Op::AssignVariable(_)
        | Op::TransposeConv(_)
        | Op::UnidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceLstm(_)
        | Op::L2Normalization(_)
        | Op::L2Pool2d(_)
        | Op::LocalResponseNormalization(_)
        | Op::TopkV2(_)
        | Op::ArgMax(_)
        | Op::Sum(_)
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
        | Op::StablehloComposite(_)
        | Op::Gelu(_)
        | Op::Dropout(_) => Role::Constant,
    }
}
