//! How close to the true result each op's float arithmetic is promised to be.
//!
//! The bounds are derived from how the result is computed, not fitted to what was seen (N. J. Higham, "Accuracy and
//! Stability of Numerical Algorithms", chapters 3 and 4). `eps` is [`f32::EPSILON`], twice the unit roundoff.

use litesmith_graph::Op;

/// The bound of an op's float results. Integer results have none: they are exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exactness {
    /// The correctly rounded result, or only a copy of inputs: the same bits everywhere.
    Exact,
    /// At most this many `eps` times the magnitude of the result.
    Relative(f32),
    /// At most `n / 2 * eps` times the sum of the absolute values of the `n` terms, however they are grouped, plus this many
    /// `eps` times the result for what follows the sum. A convolution by Winograd's F(2x2, 3x3) has the terms of that form: those of
    /// a tile of four results, with the absolute values of its transforms, which round 8 times beside the sum over channels.
    Sum(f32),
    /// At most `n / 2 * eps` for the sum of `n` terms below a share `e^-d / sum`, plus this many `eps`, plus `d` of them, all times the
    /// share: the distance `d` of an operand from the largest one is rounded twice, and its error becomes a factor. It is at most
    /// `-ln` of the share, as the sum is at least 1.
    Share(f32),
    /// A power of a sum of positive terms: at most `terms / 2 + 1` `eps` for the sum, as often as the exponent says, and two more for
    /// what follows.
    Power {
        /// The exponent.
        exponent: f32,
        /// Terms of the sum.
        terms: f32,
    },
    /// At most `n / 2 * eps` for a sum of `n` terms that is at least 1 and of which the logarithm is taken, plus this many
    /// `eps` of one and of the result: near 1 the error of the sum is that of its small logarithm.
    LogSum(f32),
}

impl Exactness {
    /// The largest difference between a result and the true value, when that is `value`, the sum of the absolute values of its
    /// terms is `magnitude` and there are `terms` of them.
    #[must_use]
    pub fn bound(self, value: f32, magnitude: f32, terms: u64) -> f32 {
        // Below the normal range rounding is absolute.
        let relative = |k: f32| k * (f32::EPSILON * value.abs() + f32::MIN_POSITIVE);
        match self {
            Self::Exact => 0.0,
            Self::Relative(k) => relative(k),
            Self::Share(k) => relative(terms as f32 / 2.0 + k + if value > 0.0 { -value.min(1.0).ln() } else { 0.0 }),
            Self::Power { exponent, terms } => relative(exponent.abs() * (terms / 2.0 + 1.0) + 2.0),
            Self::LogSum(k) => (terms as f32 / 2.0 + k) * f32::EPSILON * (1.0 + value.abs()),
            Self::Sum(k) => terms as f32 / 2.0 * f32::EPSILON * magnitude + relative(k),
        }
    }
}

/// The bound of `op` in float32.
#[must_use]
pub fn exactness(op: &Op) -> Exactness {
    match op {
        // One operation of IEEE 754, or none; what runs other subgraphs adds nothing to theirs.
        Op::Add(_)
        | Op::AssignVariable(_)
        | Op::CallOnce(_)
        | Op::If(_)
        | Op::ReadVariable(_)
        | Op::StablehloComposite(_)
        | Op::VarHandle(_)
        | Op::While(_)
        | Op::Concatenation(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Gather(_)
        | Op::Transpose(_)
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
        | Op::SparseToDense(_)
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
        | Op::Dequantize(_)
        | Op::Dropout(_)
        | Op::ExpandDims(_)
        | Op::FakeQuantize(_)
        | Op::FakeQuantizeWeights(_)
        | Op::MaxPool2d(_)
        | Op::Mul(_)
        | Op::Cast(_)
        | Op::Sign(_)
        | Op::Relu0To1(_)
        | Op::SelectV2(_)
        | Op::Round(_)
        | Op::Ceil(_)
        | Op::Abs(_)
        | Op::FloorMod(_)
        | Op::Square(_)
        | Op::FloorDiv(_)
        | Op::LogicalNot(_)
        | Op::LogicalAnd(_)
        | Op::LogicalOr(_)
        | Op::NotEqual(_)
        | Op::Equal(_)
        | Op::Select(_)
        | Op::LessEqual(_)
        | Op::GreaterEqual(_)
        | Op::Greater(_)
        | Op::Neg(_)
        | Op::Less(_)
        | Op::Floor(_)
        | Op::Minimum(_)
        | Op::Maximum(_)
        | Op::Prelu(_)
        | Op::Div(_)
        | Op::Pack(_)
        | Op::Pad(_)
        | Op::Quantize(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_)
        | Op::Relu(_)
        | Op::Relu6(_)
        | Op::ReluN1To1(_)
        | Op::Reshape(_)
        | Op::Shape(_)
        | Op::Squeeze(_)
        | Op::StridedSlice(_)
        | Op::TopkV2(_)
        | Op::ArgMax(_)
        | Op::ArgMin(_)
        | Op::ReduceAny(_)
        | Op::ReduceAll(_)
        | Op::Real(_)
        | Op::Imag(_)
        | Op::Sub(_)
        | Op::LeakyRelu(_) => Exactness::Exact,
        // Up to three operations: x * relu6(x + 3) / 6 with a rounded 1/6; a square root (which vectors of LiteRT round to one
        // of the two nearest) and a division; the square of a difference.
        Op::HardSwish(_) | Op::Rsqrt(_) | Op::Sqrt(_) | Op::SquaredDifference(_) => Exactness::Relative(2.0),
        // Polynomials of our own, and divisions, checked against f64 to 4 units in the last place.
        Op::Exp(_)
        | Op::Sin(_)
        | Op::Log(_)
        | Op::Pow(_)
        | Op::Atan2(_)
        | Op::Cos(_)
        | Op::Elu(_)
        | Op::Logistic(_)
        | Op::Tanh(_) => Exactness::Relative(4.0),
        // A reciprocal (1.5 eps), a polynomial of it (2.5), an exponential function (2), three products and what is left of 1.
        Op::Gelu(_) => Exactness::Relative(8.0),
        // Sums, then logistic functions and tanh of slope at most 1, for each step.
        Op::UnidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceRnn(_)
        | Op::Lstm(_)
        | Op::Rnn(_)
        | Op::UnidirectionalSequenceRnn(_) => Exactness::Sum(8.0),
        // Two sums, one of the other's results.
        Op::Svdf(_) => Exactness::Sum(2.0),
        // Scores are copied, or lowered by exponential functions.
        Op::NonMaxSuppressionV4(_) | Op::NonMaxSuppressionV5(_) => Exactness::Relative(4.0),
        // Not ours to promise; those that are built in are sums or one operation.
        Op::Custom(_) => Exactness::Sum(8.0),
        Op::LocalResponseNormalization(op) => {
            Exactness::Power { exponent: op.beta, terms: 2.0 * op.radius as f32 + 1.0 }
        }
        // Interpolations `a + w (b - a)` of four pixels, the terms: a difference, a product and a sum round by half an eps each of both
        // numbers, twice along a row and once along a column, which is 2.5 eps of the four: n is 5. The coordinates of the input are
        // float32 by definition, LiteRT's and ours.
        Op::ResizeBilinear(_) => Exactness::Sum(4.0),
        // In float64, rounded once.
        Op::ComplexAbs(_) => Exactness::Relative(1.0),
        // In float64, rounded once for each axis: those of the first axis are terms of the second.
        Op::Rfft2d(_) => Exactness::Sum(1.0),
        // exp, a sum of positive terms, a division.
        Op::Softmax(_) => Exactness::Share(8.0),
        Op::LogSoftmax(_) => Exactness::LogSum(8.0),
        Op::AddN(_)
        | Op::AveragePool2d(_)
        | Op::BatchNormalization(_)
        | Op::Conv2d(_)
        | Op::DepthwiseConv2d(_)
        | Op::FullyConnected(_)
        | Op::Cumsum(_)
        | Op::BatchMatmul(_)
        | Op::ReduceProd(_)
        | Op::Sum(_)
        | Op::L2Pool2d(_)
        | Op::L2Normalization(_)
        | Op::Mean(_)
        | Op::TransposeConv(_) => Exactness::Sum(1.0),
    }
}
