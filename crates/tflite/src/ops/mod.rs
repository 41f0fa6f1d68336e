//! How each op stands in a file: one row in the table below, one implementation of [`Format`] each, in the file named
//! after the op, which holds both directions and the versions.

use litesmith_graph::ops::{
    Abs, Activation, Add, AddN, ArgMax, ArgMin, AssignVariable, Atan2, AveragePool2d, BatchMatmul, BatchToSpaceNd,
    Bitcast, BroadcastArgs, BroadcastTo, CallOnce, Cast, Ceil, ComplexAbs, Concatenation, Conv2d, Cos, Cumsum,
    DepthToSpace, DepthwiseConv2d, Dequantize, Div, DynamicUpdateSlice, Elu, EmbeddingLookup, Equal, Exp, ExpandDims,
    Fill, Floor, FloorDiv, FloorMod, FullyConnected, Gather, GatherNd, Gelu, Greater, GreaterEqual, HardSwish, If,
    Imag, L2Normalization, L2Pool2d, LeakyRelu, Less, LessEqual, LocalResponseNormalization, Log, LogSoftmax,
    LogicalAnd, LogicalNot, LogicalOr, Logistic, MaxPool2d, Maximum, Mean, Minimum, MirrorPad, Mul, Neg, NotEqual,
    OneHot, Pack, Pad, Padding, Padv2, Pow, Prelu, Quantize, Range, Rank, ReadVariable, Real, ReduceAll, ReduceAny,
    ReduceMax, ReduceMin, ReduceProd, Relu, Relu0To1, Relu6, ReluN1To1, Reshape, ResizeBilinear, ResizeNearestNeighbor,
    ReverseV2, Rfft2d, Round, Rsqrt, ScatterNd, Select, SelectV2, Shape, Sign, Sin, Slice, Softmax, SpaceToBatchNd,
    SpaceToDepth, SparseToDense, Split, SplitV, Sqrt, Square, SquaredDifference, Squeeze, StablehloComposite,
    StridedSlice, Sub, Sum, Tanh, Tile, TopkV2, Transpose, TransposeConv, UnidirectionalSequenceLstm, Unpack,
    VarHandle, Where, While, ZerosLike,
};
use litesmith_graph::ops::{
    BidirectionalSequenceLstm, BidirectionalSequenceRnn, Lstm, NonMaxSuppressionV4, NonMaxSuppressionV5, Rnn, Svdf,
    UnidirectionalSequenceRnn,
};
use litesmith_graph::{DType, Error, Graph, Node, Op, Result, Tensor, TensorId};

use crate::flatbuffer::{Builder, Fields, Offset, Scalar, Table};

mod activations;
mod add;
mod arithmetic;
mod average_pool_2d;
mod batch_matmul;
mod batch_space;
mod cast;
mod comparisons;
mod complex;
mod concatenation;
mod control_flow;
mod conv_2d;
mod creation;
pub(crate) mod custom;
mod depthwise_conv_2d;
mod dequantize;
mod elementwise;
mod expand_dims;
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

/// How an op stands in a file.
trait Format: Sized {
    /// Number of its options in the union `BuiltinOptions`; 0 where the op has none.
    const OPTIONS: u8;

    /// Whether that number is one of the union `BuiltinOptions2`.
    const SECOND_UNION: bool = false;

    /// For each version from 1 on, the TensorFlow release whose runtime first knew it (`runtime_version.cc` of LiteRT).
    /// Later versions are refused.
    const VERSIONS: &'static [&'static str];

    /// The op from its options; `node` are the tensors around it.
    fn read(options: &Options<'_>, node: &Tensors<'_>) -> Result<Self>;

    /// Fills the options table.
    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()>;

    /// Whether this op needs its table of options. TensorFlow leaves out one that would say nothing, and some readers, as
    /// tf2onnx, fail on a table without the vector they look for.
    fn has_options(&self) -> bool {
        true
    }

    /// Whether LiteRT, when there is no table of options, does as with a table of defaults.
    fn runs_without_options(_node: &Tensors<'_>) -> bool {
        false
    }

    /// The version that the file asks for (`op_version.cc` of LiteRT).
    fn version(&self, node: &Tensors<'_>) -> usize;
}

/// Ops that a file says nothing about but their name: the release of each version, and the version by the type and rank of
/// the first input. Options of such an op, if there are any, are empty.
macro_rules! without_options {
    ($($op:ident [$($release:literal),*] $version:expr;)*) => {
        $(impl Format for $op {
            const OPTIONS: u8 = 0;
            const VERSIONS: &'static [&'static str] = &[$($release),*];

            fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                Ok(Self)
            }

            fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                Ok(())
            }

            fn version(&self, node: &Tensors<'_>) -> usize {
                $version(node.input_dtype(0), node.input_shape(0).len())
            }
        })*
    };
}
pub(super) use without_options;

macro_rules! table {
    ($($variant:ident $code:literal;)*) => {
        /// The versions of the op with this number; `None` when it is not implemented.
        pub(crate) fn versions(code: i32) -> Option<&'static [&'static str]> {
            match code {
                $($code => Some(<$variant as Format>::VERSIONS),)*
                _ => None,
            }
        }

        /// Whether the op with this number has its options in the union `BuiltinOptions2`.
        pub(crate) fn has_options_2(code: i32) -> bool {
            match code {
                $($code => <$variant as Format>::SECOND_UNION,)*
                _ => false,
            }
        }

        /// The op with this number, from the table of its options.
        pub(crate) fn read(code: i32, tag: u8, options: Option<Table<'_>>, node: &Tensors<'_>) -> Result<Op> {
            match code {
                $($code => {
                    let options = Options::new(tag, <$variant as Format>::OPTIONS, options)?;
                    <$variant as Format>::read(&options, node).map(Op::from)
                })*
                _ => Err(Error::unsupported("", format!("operator code {code}"))),
            }
        }

        /// Number, version, and options of an op.
        pub(crate) fn write(op: &Op, node: &Tensors<'_>, builder: &mut Builder) -> Result<Written> {
            match op {
                $(Op::$variant(op) => write_one(op, $code, node, builder),)*
                Op::Custom(op) => Ok(custom::write(op, builder)),
                Op::BatchNormalization(_) | Op::Dropout(_) | Op::FakeQuantize(_) | Op::FakeQuantizeWeights(_) => {
                    Err(Error::invalid("", "the op exists only while training: a .tflite file cannot hold it")
                        .with_hint("export the model first, which folds batch normalization and drops dropout"))
                }
            }
        }
    };
}

table! {
    Add 0;
    AveragePool2d 1;
    Concatenation 2;
    Conv2d 3;
    DepthwiseConv2d 4;
    DepthToSpace 5;
    Dequantize 6;
    EmbeddingLookup 7;
    Floor 8;
    FullyConnected 9;
    L2Normalization 11;
    L2Pool2d 12;
    LocalResponseNormalization 13;
    Logistic 14;
    Lstm 16;
    MaxPool2d 17;
    Mul 18;
    Relu 19;
    ReluN1To1 20;
    Relu6 21;
    Reshape 22;
    ResizeBilinear 23;
    Rnn 24;
    Softmax 25;
    SpaceToDepth 26;
    Svdf 27;
    Tanh 28;
    Pad 34;
    UnidirectionalSequenceRnn 35;
    Gather 36;
    BatchToSpaceNd 37;
    SpaceToBatchNd 38;
    Transpose 39;
    Mean 40;
    Sub 41;
    Div 42;
    Squeeze 43;
    UnidirectionalSequenceLstm 44;
    StridedSlice 45;
    Exp 47;
    TopkV2 48;
    Split 49;
    LogSoftmax 50;
    BidirectionalSequenceLstm 52;
    BidirectionalSequenceRnn 46;
    Cast 53;
    Prelu 54;
    Maximum 55;
    ArgMax 56;
    Minimum 57;
    Less 58;
    Neg 59;
    Padv2 60;
    Greater 61;
    GreaterEqual 62;
    LessEqual 63;
    Select 64;
    Slice 65;
    Sin 66;
    TransposeConv 67;
    SparseToDense 68;
    Tile 69;
    ExpandDims 70;
    Equal 71;
    NotEqual 72;
    Log 73;
    Sum 74;
    Sqrt 75;
    Rsqrt 76;
    Shape 77;
    Pow 78;
    ArgMin 79;
    ReduceProd 81;
    ReduceMax 82;
    Pack 83;
    LogicalOr 84;
    OneHot 85;
    LogicalAnd 86;
    LogicalNot 87;
    Unpack 88;
    ReduceMin 89;
    FloorDiv 90;
    ReduceAny 91;
    Square 92;
    ZerosLike 93;
    Fill 94;
    FloorMod 95;
    Range 96;
    ResizeNearestNeighbor 97;
    LeakyRelu 98;
    SquaredDifference 99;
    MirrorPad 100;
    Abs 101;
    SplitV 102;
    Ceil 104;
    ReverseV2 105;
    AddN 106;
    GatherNd 107;
    Cos 108;
    Where 109;
    Rank 110;
    Elu 111;
    Quantize 114;
    Round 116;
    HardSwish 117;
    If 118;
    While 119;
    ScatterNd 122;
    NonMaxSuppressionV4 120;
    NonMaxSuppressionV5 121;
    SelectV2 123;
    BatchMatmul 126;
    Cumsum 128;
    CallOnce 129;
    BroadcastTo 130;
    Rfft2d 131;
    Imag 133;
    Real 134;
    ComplexAbs 135;
    ReduceAll 140;
    VarHandle 142;
    ReadVariable 143;
    AssignVariable 144;
    BroadcastArgs 145;
    Gelu 150;
    DynamicUpdateSlice 151;
    Relu0To1 152;
    Atan2 156;
    Sign 158;
    Bitcast 159;
    StablehloComposite 206;
}

/// What the writer needs to know about an op.
pub(crate) struct Written {
    pub(crate) code: i32,
    pub(crate) version: i32,
    /// The release whose runtime first knew this version.
    pub(crate) since: &'static str,
    /// Number in the union and the table; `None` for ops without options.
    pub(crate) options: Option<(u8, Offset)>,
    /// Name and option bytes of a custom op.
    pub(crate) custom: Option<(String, Option<Offset>)>,
}

fn write_one<F: Format>(op: &F, code: i32, node: &Tensors<'_>, builder: &mut Builder) -> Result<Written> {
    let version = op.version(node);
    let since = version.checked_sub(1).and_then(|index| F::VERSIONS.get(index)).copied().unwrap_or_default();
    let version = i32::try_from(version).unwrap_or(i32::MAX);
    let is_optional = builder.is_compact() && F::runs_without_options(node);
    if F::OPTIONS == 0 || !op.has_options() {
        return Ok(Written { code, version, since, options: None, custom: None });
    }
    let mut options = OptionsBuilder { builder, fields: Fields::default() };
    op.write(&mut options, node)?;
    let OptionsBuilder { fields, .. } = options;
    if is_optional && fields.is_default() {
        return Ok(Written { code, version, since, options: None, custom: None });
    }
    Ok(Written { code, version, since, options: Some((F::OPTIONS, builder.table(fields))), custom: None })
}

/// The tensors around a node, which decide versions and a few options. Missing ones give neutral answers: whether a
/// node is well-formed is not judged here.
pub(crate) struct Tensors<'a> {
    inputs: Vec<Option<&'a Tensor>>,
    outputs: Vec<&'a Tensor>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(graph: &'a Graph, node: &Node) -> Self {
        Self::of(graph, &node.inputs, &node.outputs)
    }

    pub(crate) fn of(graph: &'a Graph, inputs: &[Option<TensorId>], outputs: &[TensorId]) -> Self {
        Self {
            inputs: inputs.iter().map(|id| id.and_then(|id| graph.tensors.get(id.0))).collect(),
            outputs: outputs.iter().filter_map(|id| graph.tensors.get(id.0)).collect(),
        }
    }

    fn input(&self, index: usize) -> Option<&'a Tensor> {
        self.inputs.get(index).copied().flatten()
    }

    fn input_dtype(&self, index: usize) -> Option<DType> {
        self.input(index).map(|tensor| tensor.dtype)
    }

    fn output_dtype(&self) -> Option<DType> {
        self.outputs.first().map(|tensor| tensor.dtype)
    }

    fn input_shape(&self, index: usize) -> &'a [usize] {
        self.input(index).map_or(&[], |tensor| &tensor.shape)
    }

    fn is_per_channel(&self, index: usize) -> bool {
        let quantization = self.input(index).and_then(|tensor| tensor.quantization.as_ref());
        quantization.is_some_and(|quantization| quantization.scales.len() > 1)
    }

    /// Whether a float op has integer weights as its second input, so that its input is quantized while running.
    fn is_hybrid(&self) -> bool {
        self.is_hybrid_at(1)
    }

    /// Whether a float op has integer weights as input `index`.
    fn is_hybrid_at(&self, index: usize) -> bool {
        self.input_dtype(0) == Some(DType::F32)
            && self.output_dtype() == Some(DType::F32)
            && self.input_dtype(index) == Some(DType::I8)
    }

    /// The type to be stored as `quantized_bias_type`: int16 activations with an int32 bias, where int64 is the rule.
    fn quantized_bias_type(&self) -> i8 {
        match (self.input_dtype(0), self.input_dtype(2)) {
            (Some(DType::I16), Some(DType::I32)) => DType::I32.code(),
            _ => 0,
        }
    }

    /// 2 for int8, 3 for int16, else 1: what most ops answer.
    fn version_by_first_input(&self) -> usize {
        match self.input_dtype(0) {
            Some(DType::I8) => 2,
            Some(DType::I16) => 3,
            _ => 1,
        }
    }

    fn largest_rank(&self) -> usize {
        self.inputs.iter().flatten().map(|tensor| tensor.shape.len()).max().unwrap_or(0)
    }
}

/// The options table of an op, or its absence.
struct Options<'a> {
    table: Option<Table<'a>>,
}

impl<'a> Options<'a> {
    /// Options of a kind that the op does not have count as missing, as they do in LiteRT.
    fn new(tag: u8, expected: u8, table: Option<Table<'a>>) -> Result<Self> {
        if tag != 0 && expected != 0 && tag != expected {
            return Err(Error::malformed("", format!("got options of kind {tag}, expected {expected}")));
        }
        Ok(Self { table: table.filter(|_| tag == expected) })
    }

    /// Fails when there is no table: for ops whose defaults make no sense.
    fn require(&self) -> Result<&Self> {
        if self.table.is_none() {
            return Err(Error::malformed("", "the op's options are missing"));
        }
        Ok(self)
    }

    /// Fails when a field that we do not know is set: ignoring it could change what the op computes.
    fn expect_fields(&self, known: usize) -> Result<&Self> {
        match self.table.map_or(Ok(None), |table| table.unknown_field(known))? {
            None => Ok(self),
            Some(field) => Err(Error::unsupported("", format!("option number {field} of the op is unknown"))),
        }
    }

    fn scalar<T: Scalar>(&self, field: usize, default: T) -> Result<T> {
        self.table.map_or(Ok(default), |table| table.scalar(field, default))
    }

    fn scalars(&self, field: usize) -> Result<Option<Vec<i32>>> {
        self.table.map_or(Ok(None), |table| table.scalars(field))
    }

    fn string(&self, field: usize) -> Result<String> {
        self.table.map_or(Ok(String::new()), |table| table.string(field))
    }

    fn bytes(&self, field: usize) -> Result<&'a [u8]> {
        Ok(self.table.map_or(Ok(None), |table| table.bytes(field))?.unwrap_or_default())
    }

    fn activation(&self, field: usize) -> Result<Activation> {
        let code = self.scalar(field, 0_i8)?;
        Activation::from_code(code)
            .ok_or_else(|| Error::malformed("", format!("got activation {code}, expected 0 to 5")))
    }

    /// The limit of a recurrent layer; 0 for none.
    fn clip(&self, field: usize) -> Result<f32> {
        match self.scalar(field, 0.0_f32)? {
            clip if clip >= 0.0 => Ok(clip),
            clip => Err(Error::malformed("", format!("got the limit {clip}, expected at least 0"))),
        }
    }

    fn padding(&self, field: usize) -> Result<Padding> {
        match self.scalar(field, 0_i8)? {
            0 => Ok(Padding::Same),
            1 => Ok(Padding::Valid),
            code => Err(Error::malformed("", format!("got padding {code}, expected 0 (SAME) or 1 (VALID)"))),
        }
    }

    /// A stride, dilation or window size.
    fn positive(&self, field: usize, default: i32, name: &str) -> Result<usize> {
        let value = self.scalar(field, default)?;
        usize::try_from(value)
            .ok()
            .filter(|&value| value > 0)
            .ok_or_else(|| Error::malformed("", format!("got {name} {value}, expected at least 1")))
    }
}

/// The options table being written.
struct OptionsBuilder<'a> {
    builder: &'a mut Builder,
    fields: Fields,
}

impl OptionsBuilder<'_> {
    fn scalar<T: Scalar>(&mut self, field: usize, value: T, default: T) -> &mut Self {
        self.fields.scalar(field, value, default);
        self
    }

    fn scalars(&mut self, field: usize, elements: &[i32]) -> &mut Self {
        let elements = self.builder.scalars(elements);
        self.fields.offset(field, elements);
        self
    }

    fn string(&mut self, field: usize, text: &str) -> &mut Self {
        let text = self.builder.optional_string(text);
        self.fields.offset(field, text);
        self
    }

    fn bytes(&mut self, field: usize, bytes: &[u8]) -> &mut Self {
        let bytes = self.builder.scalars(bytes);
        self.fields.offset(field, bytes);
        self
    }

    fn activation(&mut self, field: usize, activation: Activation) -> &mut Self {
        self.scalar(field, activation.code(), 0)
    }

    fn padding(&mut self, field: usize, padding: Padding) -> &mut Self {
        self.scalar(field, i8::from(padding == Padding::Valid), 0)
    }

    fn positive(&mut self, field: usize, value: usize, default: i32, name: &str) -> Result<&mut Self> {
        let value = i32::try_from(value)
            .map_err(|_| Error::invalid("", format!("{name} {value} is larger than a file can hold")))?;
        Ok(self.scalar(field, value, default))
    }
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{OP_TABLE, Quantization};

    use super::*;

    #[test]
    fn every_op_of_the_graph_that_a_file_can_hold_has_a_row() {
        for (name, schema_name, code) in OP_TABLE {
            // A custom op has any version.
            let Some(code) = code.filter(|&code| code != crate::schema::operator_code::CUSTOM) else { continue };
            assert!(super::versions(code).is_some(), "{name}");
            assert_eq!(crate::builtin_operators::NAMES[usize::try_from(code).unwrap()], *schema_name);
        }
    }

    /// Versions as LiteRT's `op_version.cc` and TensorFlow 2.21's converter give them.
    #[test]
    fn versions_follow_types() {
        use DType::{F16, F32, I4, I8, I16, I32, I64, U8};
        let dense = || Op::from(FullyConnected::default());
        let kept = || Op::from(FullyConnected { keep_num_dims: true, ..FullyConnected::default() });
        let asymmetric = || Op::from(FullyConnected { asymmetric_quantize_inputs: true, ..FullyConnected::default() });
        let conv = || Op::from(Conv2d::default());
        let dilated = || Op::from(DepthwiseConv2d { dilation_width: 2, ..DepthwiseConv2d::default() });
        let depthwise = || Op::from(DepthwiseConv2d::default());
        // Input types, output type, scales of the second input, version.
        let cases: [(Op, &[DType], DType, usize, i32); 36] = [
            (conv(), &[F32, F32, F32], F32, 0, 1),
            (conv(), &[F32, I8, F32], F32, 1, 2),
            (conv(), &[F32, I8, F32], F32, 2, 5),
            (conv(), &[I8, I8, I32], I8, 2, 3),
            (conv(), &[I8, I4, I32], I8, 2, 7),
            (conv(), &[I16, I8, I64], I16, 2, 3),
            (conv(), &[I16, I8, I32], I16, 2, 8),
            (depthwise(), &[F32, F32, F32], F32, 0, 1),
            (dilated(), &[F32, F32, F32], F32, 0, 2),
            (dilated(), &[I8, I8, I32], I8, 2, 3),
            (depthwise(), &[F32, I8, F32], F32, 1, 4),
            (depthwise(), &[F32, I8, F32], F32, 2, 6),
            (depthwise(), &[I16, I8, I64], I16, 2, 3),
            (dense(), &[F32, F32, F32], F32, 0, 1),
            (dense(), &[U8, U8, I32], U8, 1, 1),
            (dense(), &[F32, F32], F32, 0, 6),
            (kept(), &[F32, F32, F32], F32, 0, 5),
            (dense(), &[F32, I8, F32], F32, 1, 3),
            (asymmetric(), &[F32, I8, F32], F32, 1, 9),
            (asymmetric(), &[F32, I8, F32], F32, 2, 12),
            (dense(), &[I8, I8, I32], I8, 2, 4),
            (dense(), &[I8, I4, I32], I8, 2, 10),
            (dense(), &[I16, I8, I64], I16, 2, 4),
            (dense(), &[I16, I8, I32], I16, 2, 11),
            (Dequantize.into(), &[F16], F32, 0, 3),
            (Dequantize.into(), &[I8], F32, 0, 2),
            (Quantize.into(), &[F32], I8, 0, 1),
            (Quantize.into(), &[F32], I16, 0, 2),
            (Add::default().into(), &[I8, I8], I8, 1, 2),
            (Add::default().into(), &[I16, I16], I16, 1, 5),
            (Mul::default().into(), &[F32, F32], F32, 0, 1),
            (Softmax::default().into(), &[I16], I16, 0, 3),
            (Mean::default().into(), &[I8, I32], I8, 0, 2),
            (Pad.into(), &[I16, I32], I16, 0, 3),
            (Relu.into(), &[U8], U8, 0, 2),
            (Gelu::default().into(), &[I8], I8, 0, 2),
        ];
        for (op, inputs, output, scales, expected) in cases {
            let mut graph = Graph::new("");
            let ids: Vec<_> = inputs
                .iter()
                .enumerate()
                .map(|(index, &dtype)| {
                    let mut tensor = Tensor::new("", dtype, [1, 1, 1, 2]);
                    if index == 1 && scales > 0 {
                        tensor.quantization = Some(Quantization::per_channel(vec![0.5; scales], 3));
                    }
                    Some(graph.add_tensor(tensor))
                })
                .collect();
            let output = graph.add_tensor(Tensor::new("", output, [1, 1, 1, 2]));
            let written = write(&op, &Tensors::of(&graph, &ids, &[output]), &mut Builder::default()).unwrap();
            assert_eq!(written.version, expected, "{op:?} of {inputs:?}, {scales} scales");
            assert!(!written.since.is_empty());
        }
    }
}
