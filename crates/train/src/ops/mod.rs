//! Forward pass for training and gradient of each op, one file each.
//!
//! An op is planned once for a number of samples and then runs on slices. A shard of the batch runs on one thread, so
//! kernels here never split work themselves.

use litesmith_graph::ops::{Activation as FusedActivation, Padding};
use litesmith_graph::{Error, Graph, Node, Op, Result, ops::window};
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::movement::accumulate;
use litesmith_kernels::{Activation, Context, Isa, Pool, Real, Unsupported};

use crate::random::Stream;

mod activations;
mod average_pool_2d;
mod batch_normalization;
mod binary;
mod concatenation;
mod conv_2d;
mod depthwise_conv_2d;
mod dropout;
mod fake_quantize;
mod fake_quantize_weights;
mod fully_connected;
mod max_pool_2d;
mod pack;
mod pad;
mod prelu;
mod rearrange;
mod reduce;
mod resize_bilinear;
mod softmax;

pub(crate) use batch_normalization::{BatchNormalization, BatchStatistics, ShardStatistics};
pub(crate) use fake_quantize_weights::QuantizedWeights;

/// Where an input of a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Left out.
    None,
    /// Computed, or given by the caller: changes with each sample.
    Value(usize),
    /// Learned: a range of the trainable variables.
    Trainable {
        /// First element.
        start: usize,
        /// Elements.
        len: usize,
    },
    /// A moving average: a range of the variables that ops themselves change.
    Moving {
        /// First element.
        start: usize,
        /// Elements.
        len: usize,
    },
    /// Fixed.
    Constant(usize),
}

/// Inputs of one call.
pub(crate) struct Inputs<'a, T> {
    pub(crate) operands: &'a [Operand],
    /// The caller's tensors, which are the first values.
    pub(crate) given: &'a [&'a [T]],
    /// Samples of the shard, and the first of them in `given`.
    pub(crate) samples: std::ops::Range<usize>,
    /// Elements for one sample of each value.
    pub(crate) sizes: &'a [usize],
    pub(crate) values: &'a [Vec<T>],
    pub(crate) trainable: &'a [T],
    pub(crate) moving: &'a [T],
    pub(crate) constants: &'a [Vec<T>],
}

impl<'a, T> Inputs<'a, T> {
    /// Input `index`; empty where it is left out.
    pub(crate) fn get(&self, index: usize) -> &'a [T] {
        match self.operands.get(index).copied().unwrap_or(Operand::None) {
            Operand::None => &[],
            Operand::Value(value) => {
                let size = self.sizes[value];
                match self.given.get(value) {
                    Some(given) => &given[self.samples.start * size..self.samples.end * size],
                    None => &self.values[value][..self.samples.len() * size],
                }
            }
            Operand::Trainable { start, len } => &self.trainable[start..start + len],
            Operand::Moving { start, len } => &self.moving[start..start + len],
            Operand::Constant(constant) => &self.constants[constant],
        }
    }

    /// Input `index`, when it is given.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a [T]> {
        (self.operands.get(index).copied().unwrap_or(Operand::None) != Operand::None).then(|| self.get(index))
    }
}

/// Weights in the order in which kernels read them, made once for each step.
#[derive(Debug, Clone)]
pub(crate) struct Prepared<T> {
    pub(crate) forward: Vec<T>,
    pub(crate) backward: Vec<T>,
}

/// What a call needs besides its inputs.
pub(crate) struct Call<'a, T> {
    pub(crate) inputs: Inputs<'a, T>,
    pub(crate) prepared: &'a Prepared<T>,
    pub(crate) context: Context<'a>,
    /// Random numbers of this step; `None` outside training.
    pub(crate) random: Option<Stream>,
}

impl<T> Call<'_, T> {
    pub(crate) fn pool(&self) -> &Pool {
        self.context.pool
    }
}

/// Where the gradients of a node's inputs go.
pub(crate) struct Gradients<'a, T> {
    pub(crate) operands: &'a [Operand],
    /// For each input, whether its gradient is wanted, and whether another node has already written some of it.
    pub(crate) wanted: &'a [Wanted],
    pub(crate) samples: usize,
    pub(crate) sizes: &'a [usize],
    /// For each value, the buffer that holds its gradient.
    pub(crate) buffer_of: &'a [Option<usize>],
    pub(crate) buffers: &'a mut [Vec<T>],
    pub(crate) trainable: &'a mut [T],
    pub(crate) spare: &'a mut [T],
}

/// What the gradient of a node's input is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nobody reads it.
    No,
    /// It is the first to be written to its buffer.
    First,
    /// It adds to what is in the buffer.
    More,
}

impl<T: Real> Gradients<'_, T> {
    /// Lets `write` overwrite a buffer with the gradient of input `index`, if it is wanted.
    pub(crate) fn write(&mut self, index: usize, write: impl FnOnce(&mut [T])) {
        let wanted = self.wanted.get(index).copied().unwrap_or(Wanted::No);
        match self.operands.get(index) {
            Some(&Operand::Value(value)) if wanted != Wanted::No => {
                let Some(buffer) = self.buffer_of[value] else { return };
                let len = self.samples * self.sizes[value];
                let gradient = &mut self.buffers[buffer][..len];
                if wanted == Wanted::First {
                    write(gradient);
                } else {
                    write(&mut self.spare[..len]);
                    accumulate(&self.spare[..len], gradient);
                }
            }
            Some(&Operand::Trainable { start, len }) => {
                write(&mut self.spare[..len]);
                accumulate(&self.spare[..len], &mut self.trainable[start..start + len]);
            }
            _ => {}
        }
    }

    /// Lets `add` add the gradient of input `index`, a trainable variable, to what other nodes and samples gave.
    pub(crate) fn add(&mut self, index: usize, add: impl FnOnce(&mut [T])) {
        if let Some(&Operand::Trainable { start, len }) = self.operands.get(index) {
            add(&mut self.trainable[start..start + len]);
        }
    }
}

/// An op planned for a number of samples.
pub(crate) trait TrainOp<T: Real>: Send + Sync + std::fmt::Debug {
    /// Elements of scratch that a call needs.
    fn scratch_len(&self) -> usize {
        0
    }

    /// Reorders weights after they changed. The inputs hold no values here.
    fn prepare(&self, _inputs: &Inputs<'_, T>, _prepared: &mut Prepared<T>) {}

    /// Computes the output.
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], scratch: &mut [T]);

    /// Computes the gradients of the inputs from `dy`, which it may overwrite.
    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, scratch: &mut [T]);
}

/// A node about to be planned: its op, and the graph whose shapes are those for the number of samples.
#[derive(Clone, Copy)]
pub(crate) struct PlanNode<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    pub(crate) isa: Isa,
}

impl<'a> PlanNode<'a> {
    /// The shape of input `index`; a vector of no elements when it is left out.
    fn shape(&self, index: usize) -> &'a [usize] {
        self.node.inputs.get(index).copied().flatten().map_or(&[], |id| &self.graph.tensor(id).shape)
    }

    /// The shape of input `index`, which shape inference has found to be of rank `N`.
    fn shape_of<const N: usize>(&self, index: usize) -> Result<[usize; N]> {
        let shape = self.shape(index);
        shape
            .try_into()
            .map_err(|_| Error::malformed("", format!("input {index} has shape {shape:?}, expected rank {N}")))
    }

    fn output_shape(&self) -> &'a [usize] {
        self.node.outputs.first().map_or(&[], |&id| &self.graph.tensor(id).shape)
    }

    /// The elements of constant input `index`.
    fn integers(&self, index: usize, name: &str) -> Result<Vec<i64>> {
        litesmith_graph::ops::Inputs::new(&self.node.op, self.graph.node_tensors(&self.node.inputs))
            .integers(index, name)
    }
}

/// Whether an op only gives its input another shape, so that the output is the input.
pub(crate) fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_))
}

/// Plans a node.
///
/// # Errors
/// [`Error::Unsupported`] for ops through which no gradient can be taken.
pub(crate) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    match &node.node.op {
        Op::Conv2d(op) => conv_2d::plan(op, node),
        Op::DepthwiseConv2d(op) => depthwise_conv_2d::plan(op, node),
        Op::FullyConnected(op) => fully_connected::plan(op, node),
        Op::MaxPool2d(op) => max_pool_2d::plan(op, node),
        Op::AveragePool2d(op) => average_pool_2d::plan(op, node),
        Op::Add(_)
        | Op::Sub(_)
        | Op::Div(_)
        | Op::Maximum(_)
        | Op::Minimum(_)
        | Op::SquaredDifference(_)
        | Op::Mul(_) => binary::plan(node),
        Op::Prelu(_) => prelu::plan(node),
        Op::Concatenation(op) => concatenation::plan(op, node),
        Op::Pack(op) => pack::plan(*op, node),
        Op::Pad(_) => pad::plan(node),
        Op::Mean(_) | Op::Sum(_) | Op::ReduceMax(_) | Op::ReduceMin(_) => reduce::plan(node),
        Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Gather(_)
        | Op::Transpose(_)
        | Op::BatchToSpaceNd(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Tile(_)
        | Op::Unpack(_)
        | Op::ResizeNearestNeighbor(_)
        | Op::MirrorPad(_)
        | Op::SplitV(_)
        | Op::ReverseV2(_)
        | Op::StridedSlice(_)
        | Op::BroadcastTo(_) => rearrange::plan(node),
        Op::ResizeBilinear(op) => resize_bilinear::plan(*op, node),
        Op::Softmax(op) => softmax::plan(*op, node),
        Op::LogSoftmax(_) => Ok(softmax::plan_log(node)),
        Op::BatchNormalization(op) => {
            let channels = node.shape(0).last().copied().unwrap_or(1);
            Ok(Box::new(BatchNormalization::new(*op, channels)))
        }
        Op::Dropout(op) => dropout::plan(*op, node),
        Op::FakeQuantize(op) => fake_quantize::plan(*op, node),
        Op::FakeQuantizeWeights(_) => {
            Err(Error::unsupported("", "it quantizes constants that learn, and nothing else"))
        }
        Op::Logistic(_)
        | Op::Relu(_)
        | Op::ReluN1To1(_)
        | Op::Relu6(_)
        | Op::Tanh(_)
        | Op::LeakyRelu(_)
        | Op::Elu(_)
        | Op::HardSwish(_)
        | Op::Exp(_)
        | Op::Neg(_)
        | Op::Sin(_)
        | Op::Log(_)
        | Op::Sqrt(_)
        | Op::Rsqrt(_)
        | Op::Square(_)
        | Op::Abs(_)
        | Op::Cos(_)
        | Op::Relu0To1(_)
        | Op::Gelu(_) => activations::plan(&node.node.op),
        Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) => Ok(Box::new(View)),
        Op::Dequantize(_) | Op::Quantize(_) => Err(Error::unsupported("", "integers cannot be trained through")
            .with_hint("train the float model and quantize it afterwards")),
        Op::Custom(_)
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
        | Op::Atan2(_)
        | Op::BroadcastArgs(_)
        | Op::DynamicUpdateSlice(_)
        | Op::Bitcast(_)
        | Op::If(_)
        | Op::While(_)
        | Op::CallOnce(_)
        | Op::VarHandle(_)
        | Op::ReadVariable(_)
        | Op::AssignVariable(_)
        | Op::Cast(_)
        | Op::TransposeConv(_)
        | Op::Sign(_)
        | Op::SelectV2(_)
        | Op::Round(_)
        | Op::Ceil(_)
        | Op::FloorMod(_)
        | Op::FloorDiv(_)
        | Op::LogicalNot(_)
        | Op::LogicalAnd(_)
        | Op::LogicalOr(_)
        | Op::Pow(_)
        | Op::NotEqual(_)
        | Op::Equal(_)
        | Op::Select(_)
        | Op::LessEqual(_)
        | Op::GreaterEqual(_)
        | Op::Greater(_)
        | Op::Less(_)
        | Op::Floor(_)
        | Op::UnidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceLstm(_)
        | Op::BidirectionalSequenceRnn(_)
        | Op::AddN(_)
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
        | Op::Rfft2d(_)
        | Op::Real(_)
        | Op::Imag(_)
        | Op::ComplexAbs(_)
        | Op::Lstm(_)
        | Op::Rnn(_)
        | Op::UnidirectionalSequenceRnn(_)
        | Op::Svdf(_)
        | Op::NonMaxSuppressionV4(_)
        | Op::NonMaxSuppressionV5(_)
        | Op::StablehloComposite(_) => Err(Error::unsupported("", "it has no gradient")),
        Op::Shape(_) => Err(Error::unsupported("", "a computed shape cannot be trained through")
            .with_hint("give the model a fixed shape except for the batch")),
    }
}

/// An op that the executor never runs, since its output is its input.
#[derive(Debug)]
struct View;

impl<T: Real> TrainOp<T> for View {
    fn forward(&self, _: &Call<'_, T>, _: &mut [T], _: &mut [T]) {}
    fn backward(&self, _: &Call<'_, T>, _: &[T], _: &mut [T], _: &mut Gradients<'_, T>, _: &mut [T]) {}
}

/// The kernels' name for a fused activation.
fn fused(activation: FusedActivation) -> Result<Activation> {
    match activation {
        FusedActivation::None => Ok(Activation::None),
        FusedActivation::Relu => Ok(Activation::Relu),
        FusedActivation::ReluN1To1 => Ok(Activation::ReluN1To1),
        FusedActivation::Relu6 => Ok(Activation::Relu6),
        FusedActivation::Tanh => Ok(Activation::Tanh),
        FusedActivation::SignBit => Err(Error::unsupported("", "the fused activation SIGN_BIT has no gradient")),
    }
}

/// One axis of a window, as the kernels describe it.
fn axis(op: &str, padding: Padding, input: usize, kernel: usize, stride: usize, dilation: usize) -> Result<Window> {
    let size = window(op, padding, input, kernel, stride, dilation)?;
    Ok(Window { input, output: size.output, kernel, stride, dilation, pad_before: size.pad_before })
}

fn unsupported(error: Unsupported) -> Error {
    Error::unsupported("", error)
}
