//! From a node to a kernel: one file an op, each choosing by the types of its tensors.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Graph, Node, Op, Result, Tensor, ops as graph_ops};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::comparison::Comparison;
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::dequantize::Channels;
use litesmith_kernels::elementwise::Unary;
use litesmith_kernels::integer::IntegerUnary;
use litesmith_kernels::numerics::QuantParams;
use litesmith_kernels::reduce::Reduction;
use litesmith_kernels::{Activation, Isa, Numerics, Unsupported};

use crate::SessionOptions;
use crate::kernel::Kernel;

mod activations;
mod average_pool_2d;
mod batch_matmul;
mod binary;
mod cast;
mod comparisons;
mod complex;
mod concatenation;
mod conv_2d;
mod converted;
mod creation;
pub(crate) mod custom;
mod depthwise_conv_2d;
mod dequantize;
mod fully_connected;
mod indexing;
mod l2_pool_2d;
mod log_softmax;
mod lstm;
mod max_pool_2d;
mod non_max_suppression;
mod normalization;
mod pack;
mod pad;
mod power;
mod prelu;
mod quantize;
mod rearrange;
mod reduce;
mod reshape;
mod resize_bilinear;
mod rnn;
mod selection;
mod shape;
mod softmax;
mod svdf;
mod transpose_conv;
mod weights;

/// What a planning function sees of its node.
pub(crate) struct NodeContext<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    pub(crate) options: &'a SessionOptions,
    pub(crate) isa: Isa,
    /// The graph before constants were folded; that of the node alone has none.
    pub(crate) unfolded: Option<&'a Graph>,
}

/// Chooses and plans the kernel of a node whose shapes are known.
pub(crate) fn plan_node(cx: &NodeContext<'_>) -> Result<Kernel> {
    check_blocks(cx)?;
    match plan_native(cx) {
        Err(error @ Error::Unsupported(_)) if error.needed_input().is_none() => match converted::plan(cx) {
            Ok(Some(kernel)) => Ok(kernel),
            // What the node itself misses says more than what it would miss in other types.
            Ok(None) | Err(Error::Unsupported(_)) => Err(error),
            Err(other) => Err(other),
        },
        planned => planned,
    }
}

/// Refuses scales of blocks but for the weights of a FULLY_CONNECTED of float activations: other kernels would take them for
/// those of an axis.
fn check_blocks(cx: &NodeContext<'_>) -> Result<()> {
    let inputs = cx.graph.node_tensors(&cx.node.inputs).into_iter();
    let outputs = cx.node.outputs.iter().map(|&id| Some(cx.graph.tensor(id)));
    let is_float = cx.optional(0).is_some_and(|input| matches!(input.dtype, DType::F32 | DType::F16));
    let is_taken = |index: usize| matches!(cx.node.op, Op::FullyConnected(_)) && index == 1 && is_float;
    let has_blocks = |tensor: &Tensor| tensor.quantization.as_ref().is_some_and(|found| found.block_size.is_some());
    let mut found =
        inputs.chain(outputs).enumerate().filter(|&(index, tensor)| tensor.is_some_and(has_blocks) && !is_taken(index));
    match found.find_map(|(_, tensor)| tensor) {
        None => Ok(()),
        Some(tensor) => Err(Error::unsupported("", format!("blockwise quantization of \"{}\"", tensor.name))
            .with_hint("LiteRT runs it for the weights of FULLY_CONNECTED with float activations only")),
    }
}

/// The kernel for the elements as they are.
fn plan_native(cx: &NodeContext<'_>) -> Result<Kernel> {
    match &cx.node.op {
        Op::Add(op) => binary::plan_sum(cx, Binary::Add, op.activation, op.pot_scale_int16),
        Op::AveragePool2d(op) => average_pool_2d::plan(cx, op),
        Op::Concatenation(op) => concatenation::plan(cx, op),
        Op::Conv2d(op) => conv_2d::plan(cx, op),
        Op::DepthwiseConv2d(op) => depthwise_conv_2d::plan(cx, op),
        Op::Dequantize(_) => dequantize::plan(cx),
        Op::FullyConnected(op) => fully_connected::plan(cx, op),
        Op::MaxPool2d(op) => max_pool_2d::plan(cx, op),
        Op::Mul(op) => binary::plan(cx, Binary::Mul, op.activation),
        Op::Softmax(op) => softmax::plan(cx, op),
        Op::Pad(_) => pad::plan(cx, None),
        Op::Padv2(_) => pad::plan(cx, Some(2)),
        Op::SpaceToBatchNd(op) => pad::plan_space_to_batch_nd(cx, op),
        Op::LogSoftmax(_) => log_softmax::plan(cx),
        Op::Cast(_) => cast::plan(cx),
        Op::Mean(_) => reduce::plan(cx, Reduction::Mean),
        Op::Sub(op) => binary::plan_sum(cx, Binary::Sub, op.activation, op.pot_scale_int16),
        Op::Div(op) => binary::plan(cx, Binary::Div, op.activation),
        Op::Prelu(_) => prelu::plan(cx),
        Op::AddN(_) => binary::plan_add_n(cx),
        Op::Maximum(_) => binary::plan(cx, Binary::Maximum, graph_ops::Activation::None),
        Op::Minimum(_) => binary::plan(cx, Binary::Minimum, graph_ops::Activation::None),
        Op::SquaredDifference(_) => binary::plan(cx, Binary::SquaredDifference, graph_ops::Activation::None),
        Op::TransposeConv(op) => transpose_conv::plan(cx, op),
        Op::Pow(_) => power::plan_pow(cx),
        Op::Atan2(_) => power::plan_atan2(cx),
        Op::FloorDiv(_) => power::plan_floor_div(cx),
        Op::FloorMod(_) => power::plan_floor_mod(cx),
        Op::Equal(_) => comparisons::plan(cx, Comparison::Equal),
        Op::NotEqual(_) => comparisons::plan(cx, Comparison::NotEqual),
        Op::Less(_) => comparisons::plan(cx, Comparison::Less),
        Op::LessEqual(_) => comparisons::plan(cx, Comparison::LessEqual),
        Op::Greater(_) => comparisons::plan(cx, Comparison::Greater),
        Op::GreaterEqual(_) => comparisons::plan(cx, Comparison::GreaterEqual),
        Op::LogicalAnd(_) => comparisons::plan_logical(cx, true),
        Op::LogicalOr(_) => comparisons::plan_logical(cx, false),
        Op::LogicalNot(_) => activations::plan_logical_not(cx),
        Op::Select(_) => comparisons::plan_select(cx, true),
        Op::SelectV2(_) => comparisons::plan_select(cx, false),
        Op::Abs(_) => activations::plan_signed(cx, IntegerUnary::Abs),
        Op::Neg(_) => activations::plan_signed(cx, IntegerUnary::Neg),
        Op::Sign(_) => activations::plan_signed(cx, IntegerUnary::Sign),
        Op::Exp(_) => activations::plan(cx, Unary::Exp),
        Op::Log(_) => activations::plan(cx, Unary::Log),
        Op::Sqrt(_) => activations::plan(cx, Unary::Sqrt),
        Op::Rsqrt(_) => activations::plan(cx, Unary::Rsqrt),
        Op::Square(_) => activations::plan(cx, Unary::Square),
        Op::Sin(_) => activations::plan(cx, Unary::Sin),
        Op::Cos(_) => activations::plan(cx, Unary::Cos),
        Op::Floor(_) => activations::plan(cx, Unary::Floor),
        Op::Ceil(_) => activations::plan(cx, Unary::Ceil),
        Op::Round(_) => activations::plan(cx, Unary::Round),
        Op::UnidirectionalSequenceLstm(op) => lstm::plan_unidirectional(cx, op),
        Op::L2Normalization(_) => normalization::plan_l2(cx),
        Op::L2Pool2d(op) => l2_pool_2d::plan(cx, op),
        Op::LocalResponseNormalization(op) => normalization::plan_local_response(cx, op),
        Op::TopkV2(_) => selection::plan_top_k(cx),
        Op::ArgMax(_) => selection::plan_position(cx, true),
        Op::Sum(_) => reduce::plan(cx, Reduction::Sum),
        Op::ArgMin(_) => selection::plan_position(cx, false),
        Op::ReduceProd(_) => reduce::plan_product(cx),
        Op::ReduceAny(_) | Op::ReduceAll(_) => reduce::plan_truth(cx),
        Op::BatchMatmul(op) => batch_matmul::plan(cx, op),
        Op::Cumsum(op) => selection::plan_cumsum(cx, op),
        Op::Rfft2d(_) => complex::plan_rfft2d(cx),
        Op::Real(_) => complex::plan_part(cx, |x| x.re),
        Op::Imag(_) => complex::plan_part(cx, |x| x.im),
        Op::ComplexAbs(_) => complex::plan_part(cx, complex::Complex64::abs),
        Op::Lstm(op) => lstm::plan_step(cx, op),
        Op::BidirectionalSequenceLstm(op) => lstm::plan_bidirectional(cx, op),
        Op::BidirectionalSequenceRnn(op) => rnn::plan_bidirectional(cx, op),
        Op::Rnn(op) => rnn::plan_step(cx, op),
        Op::UnidirectionalSequenceRnn(op) => rnn::plan_unidirectional(cx, op),
        Op::Svdf(op) => svdf::plan(cx, op),
        Op::NonMaxSuppressionV4(_) | Op::NonMaxSuppressionV5(_) => non_max_suppression::plan(cx),
        Op::Shape(op) => shape::plan(cx, op),
        Op::ReduceMax(_) => reduce::plan(cx, Reduction::Max),
        Op::ReduceMin(_) => reduce::plan(cx, Reduction::Min),
        Op::Pack(op) => pack::plan(cx, op),
        Op::Quantize(_) => quantize::plan(cx),
        Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) | Op::Dropout(_) => reshape::plan(cx),
        Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::BatchToSpaceNd(_)
        | Op::Transpose(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Tile(_)
        | Op::Unpack(_)
        | Op::ResizeNearestNeighbor(_)
        | Op::MirrorPad(_)
        | Op::SplitV(_)
        | Op::ReverseV2(_)
        | Op::StridedSlice(_)
        | Op::BroadcastTo(_) => rearrange::plan(cx),
        Op::ResizeBilinear(op) => resize_bilinear::plan(cx, op),
        Op::Gather(op) => indexing::plan_gather(cx, op),
        Op::GatherNd(_) => indexing::plan_gather_nd(cx),
        Op::ScatterNd(_) => indexing::plan_scatter_nd(cx),
        Op::SparseToDense(_) => indexing::plan_sparse_to_dense(cx),
        Op::EmbeddingLookup(_) => indexing::plan_embedding_lookup(cx),
        Op::OneHot(op) => indexing::plan_one_hot(cx, op),
        Op::Where(_) => indexing::plan_where(cx),
        Op::DynamicUpdateSlice(_) => indexing::plan_dynamic_update_slice(cx),
        Op::Fill(_) => creation::plan_fill(cx),
        Op::ZerosLike(_) => creation::plan_zeros_like(cx),
        Op::Range(_) => creation::plan_range(cx),
        Op::Rank(_) => creation::plan_rank(cx),
        Op::BroadcastArgs(_) => creation::plan_broadcast_args(cx),
        Op::Bitcast(_) => creation::plan_bitcast(cx),
        Op::Relu(_) => activations::plan(cx, Unary::Relu),
        Op::ReluN1To1(_) => activations::plan(cx, Unary::ReluN1To1),
        Op::Relu0To1(_) => activations::plan(cx, Unary::Relu0To1),
        Op::Relu6(_) => activations::plan(cx, Unary::Relu6),
        Op::LeakyRelu(op) => activations::plan(cx, Unary::LeakyRelu { alpha: op.alpha }),
        Op::Elu(_) => activations::plan(cx, Unary::Elu),
        Op::Gelu(op) => activations::plan(cx, Unary::Gelu { approximate: op.approximate }),
        Op::HardSwish(_) => activations::plan(cx, Unary::HardSwish),
        Op::Logistic(_) => activations::plan(cx, Unary::Logistic),
        Op::Tanh(_) => activations::plan(cx, Unary::Tanh),
        Op::Custom(op) => custom::plan(cx, op),
        Op::If(_)
        | Op::While(_)
        | Op::CallOnce(_)
        | Op::VarHandle(_)
        | Op::ReadVariable(_)
        | Op::AssignVariable(_)
        | Op::StablehloComposite(_) => Err(cx.no_kernel()),
        Op::BatchNormalization(_) => Err(Error::invalid("", "batch normalization exists only while training")
            .with_hint("export the model first, which folds it away")),
        Op::FakeQuantize(_) | Op::FakeQuantizeWeights(_) => {
            Err(Error::invalid("", "fake quantization exists only while training")
                .with_hint("export the model first, which quantizes it"))
        }
    }
}

/// A Rust type and the element type that it stands for.
pub(crate) trait Element: Pod {
    const DTYPE: DType;
}

macro_rules! elements {
    ($($type:ty: $dtype:ident),*) => { $(impl Element for $type { const DTYPE: DType = DType::$dtype; })* };
}

elements!(f32: F32, i8: I8, u8: U8, i16: I16, i32: I32, i64: I64);

impl<'a> NodeContext<'a> {
    /// Input `index`, which the op's shape inference has made sure is there.
    pub(crate) fn input(&self, index: usize) -> Result<&'a Tensor> {
        self.optional(index).ok_or_else(|| Error::malformed("", format!("input {index} is missing")))
    }

    pub(crate) fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.node.inputs.get(index).copied().flatten().map(|id| self.graph.tensor(id))
    }

    /// Whether input `index` is a constant of the file. LiteRT folds nothing: what follows from constants is computed there, and
    /// its delegate does not take it for a constant.
    pub(crate) fn is_file_constant(&self, index: usize) -> bool {
        let Some(id) = self.node.inputs.get(index).copied().flatten() else { return false };
        let unfolded = self.unfolded.and_then(|graph| graph.tensors.get(id.0));
        unfolded.unwrap_or_else(|| self.graph.tensor(id)).data.is_some()
    }

    pub(crate) fn output(&self) -> Result<&'a Tensor> {
        let id = self.node.outputs.first().ok_or_else(|| Error::malformed("", "it has no output"))?;
        Ok(self.graph.tensor(*id))
    }

    pub(crate) fn numerics(&self) -> Numerics {
        self.options.numerics
    }

    /// The elements of constant input `index`.
    pub(crate) fn constant<T: Element>(&self, index: usize, name: &str) -> Result<&'a [T]> {
        let tensor = self.input(index)?;
        if tensor.dtype != T::DTYPE {
            let message = format!("the {name} (input {index}) is {}, expected {}", tensor.dtype, T::DTYPE);
            return Err(Error::unsupported("", message));
        }
        match &tensor.data {
            Some(data) => data.elements(),
            None => Err(Error::unsupported("", format!("the {name} (input {index}) is computed, expected a constant"))
                .with_needed_input(index)),
        }
    }

    /// The integers of constant input `index`, int32 or int64.
    pub(crate) fn integers(&self, index: usize, name: &str) -> Result<Vec<i64>> {
        graph_ops::Inputs::new(&self.node.op, self.graph.node_tensors(&self.node.inputs)).integers(index, name)
    }

    /// The error for types that no kernel takes: lists those of all tensors.
    pub(crate) fn no_kernel(&self) -> Error {
        let list = |ids: Vec<Option<&Tensor>>| {
            let types = ids.into_iter().map(|tensor| tensor.map_or("none".into(), |tensor| tensor.dtype.to_string()));
            types.collect::<Vec<_>>().join(", ")
        };
        let inputs = list(self.graph.node_tensors(&self.node.inputs));
        let outputs = list(self.node.outputs.iter().map(|&id| Some(self.graph.tensor(id))).collect());
        Error::unsupported("", format!("no kernel takes ({inputs}) to ({outputs})"))
    }

    /// The name of a kernel for elements of this type: op, type, instruction set.
    pub(crate) fn kernel_name(&self, dtype: DType) -> String {
        self.name_on(dtype, self.isa)
    }

    /// The same of a kernel that has no code for AVX-512 and takes that for AVX2 instead.
    pub(crate) fn avx2_name(&self, dtype: DType) -> String {
        self.name_on(dtype, self.isa.up_to_avx2())
    }

    /// The same of a kernel that is compiled for no instruction set in particular.
    pub(crate) fn scalar_name(&self, dtype: DType) -> String {
        self.name_on(dtype, Isa::Scalar)
    }

    fn name_on(&self, dtype: DType, isa: Isa) -> String {
        let short = match dtype {
            DType::F32 => "f32",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::I16 => "i16",
            other => other.name(),
        };
        format!("{}/{short}/{isa}", self.node.op.snake_name())
    }

    /// The name of a kernel of float activations and int8 weights.
    pub(crate) fn hybrid_name(&self) -> String {
        format!("{}/f32_i8/{}", self.node.op.snake_name(), self.isa)
    }

    /// The name of a kernel that only moves elements.
    pub(crate) fn copy_name(&self) -> String {
        format!("{}/copy", self.node.op.snake_name())
    }
}

/// Scales and zero points of an integer tensor, one for all or one for each index along an axis.
pub(crate) fn channels(tensor: &Tensor) -> Result<Channels> {
    let fail = |message: &str| Error::malformed(format!("tensor \"{}\"", tensor.name), message);
    let Some(quantization) = &tensor.quantization else { return Err(fail("its elements need scales")) };
    quantization.check(&tensor.shape)?;
    let zero_points = quantization.zero_points.iter().map(|&zero_point| i32::try_from(zero_point));
    let zero_points =
        zero_points.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| fail("a zero point is too large"))?;
    let after = tensor.shape.get(quantization.axis.saturating_add(1)..).unwrap_or(&[]);
    Ok(Channels { scales: quantization.scales.clone(), zero_points, stride: after.iter().product::<usize>().max(1) })
}

/// The one scale, above 0, and zero point of an integer tensor.
pub(crate) fn quant_params(tensor: &Tensor) -> Result<QuantParams> {
    let params = operand_params(tensor)?;
    if params.scale == 0.0 {
        return Err(Error::unsupported(format!("tensor \"{}\"", tensor.name), "a scale of 0"));
    }
    Ok(params)
}

/// The one scale, which may be 0, and zero point of an operand of a product or sum.
pub(crate) fn operand_params(tensor: &Tensor) -> Result<QuantParams> {
    let found = tensor.quantization.as_ref().and_then(litesmith_graph::Quantization::as_per_tensor);
    let Some((scale, zero_point)) = found else {
        return Err(Error::malformed(
            format!("tensor \"{}\"", tensor.name),
            format!("{} activations need one scale and zero point", tensor.dtype),
        ));
    };
    let range = match tensor.dtype {
        DType::I8 => i8::MIN.into()..=i8::MAX.into(),
        DType::U8 => u8::MIN.into()..=u8::MAX.into(),
        DType::I16 => i16::MIN.into()..=i16::MAX.into(),
        _ => i32::MIN..=i32::MAX,
    };
    match i32::try_from(zero_point) {
        Ok(zero_point) if range.contains(&zero_point) => Ok(QuantParams { scale, zero_point }),
        _ => Err(Error::malformed(
            format!("tensor \"{}\"", tensor.name),
            format!("zero point {zero_point} outside {}", tensor.dtype),
        )),
    }
}

/// Checks that an op that keeps values as they are keeps their scale too.
pub(crate) fn same_quantization(input: &Tensor, output: &Tensor) -> Result<()> {
    if input.quantization == output.quantization {
        return Ok(());
    }
    Err(Error::unsupported("", "input and output of different scale or zero point"))
}

/// The error of a kernel that refuses a plan, with the op as place added by the planner.
pub(crate) fn refused(error: Unsupported) -> Error {
    Error::unsupported("", error)
}

/// The fused activation, in the kernels' words.
pub(crate) fn fused_activation(activation: graph_ops::Activation) -> Result<Activation> {
    match activation {
        graph_ops::Activation::None => Ok(Activation::None),
        graph_ops::Activation::Relu => Ok(Activation::Relu),
        graph_ops::Activation::ReluN1To1 => Ok(Activation::ReluN1To1),
        graph_ops::Activation::Relu6 => Ok(Activation::Relu6),
        graph_ops::Activation::Tanh => Ok(Activation::Tanh),
        graph_ops::Activation::SignBit => Err(Error::unsupported("", "the fused activation SIGN_BIT")),
    }
}

/// The window along one axis of an op whose shapes are known.
pub(crate) fn window(
    op: &str,
    padding: graph_ops::Padding,
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> Result<Window> {
    let size = graph_ops::window(op, padding, input, kernel, stride, dilation)?;
    // Steps that are never taken may be of any size in the file; as 1 they cannot overflow.
    let stride = if size.output <= 1 { 1 } else { stride };
    let dilation = if kernel == 1 { 1 } else { dilation };
    Ok(Window { input, output: size.output, kernel, stride, dilation, pad_before: size.pad_before })
}

/// The four sizes of an image tensor.
pub(crate) fn image_shape(tensor: &Tensor) -> Result<[usize; 4]> {
    tensor.shape.as_slice().try_into().map_err(|_| {
        Error::malformed("", format!("tensor \"{}\" has shape {:?}, expected rank 4", tensor.name, tensor.shape))
    })
}
