//! What CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED share: weights and bias, which are packed when the
//! graph is planned if they are constant, and in each run if they are computed.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use half::f16;
use litesmith_graph::{DType, Error, Op, Quantization, Result, Tensor, ops::Activation, ops::Padding};
use litesmith_kernels::batch_matmul::hybrid::HybridBatchMatmul;
use litesmith_kernels::conv_2d::hybrid::HybridConv2d;
use litesmith_kernels::conv_2d::quantized::{Bias, QuantizedConv2d, QuantizedSpec, Weights};
use litesmith_kernels::depthwise_conv_2d::{hybrid::HybridDepthwiseConv2d, quantized::QuantizedDepthwiseConv2d};
use litesmith_kernels::fully_connected::blockwise::{BlockwiseFullyConnected, BlockwiseSpec};
use litesmith_kernels::fully_connected::wide::WideFullyConnected;
use litesmith_kernels::fully_connected::{hybrid::HybridFullyConnected, quantized::QuantizedFullyConnected};
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::{QuantParams, Quantized};
use litesmith_kernels::transpose_conv::{hybrid::HybridTransposeConv, quantized::QuantizedTransposeConv};
use litesmith_kernels::{Activation as Fused, Buffer, Context, Numerics, Unsupported};

use super::{NodeContext, fused_activation, image_shape, operand_params, quant_params, refused};
use crate::kernel::{Inputs, Io, Kernel, Part};

/// Float weights in the order in which a kernel reads them.
pub(super) enum FloatWeights {
    /// On cache lines: a vector that spans two takes two loads.
    Constant(Buffer),
    Computed {
        input: usize,
        packed: Mutex<Packed>,
    },
}

/// Computed weights, packed in each run.
#[derive(Default)]
pub(super) struct Packed {
    aligned: Buffer,
    /// Where they are packed first.
    staging: Vec<f32>,
}

impl FloatWeights {
    /// The weights, input `input`, packed by `pack` if they are constant.
    pub(super) fn new(cx: &NodeContext<'_>, input: usize, pack: impl FnOnce(&[f32], &mut Vec<f32>)) -> Result<Self> {
        if cx.input(input)?.data.is_none() {
            return Ok(Self::Computed { input, packed: Mutex::default() });
        }
        let mut weights = Vec::new();
        pack(cx.constant(input, "weights")?, &mut weights);
        Ok(Self::Constant(Buffer::from_slice(&weights)))
    }

    /// Lets `run` use the packed weights.
    pub(super) fn with<R>(
        &self,
        inputs: Inputs<'_>,
        pack: impl FnOnce(&[f32], &mut Vec<f32>),
        run: impl FnOnce(&[f32]) -> R,
    ) -> R {
        match self {
            Self::Constant(weights) => run(weights.as_slice()),
            Self::Computed { input, packed } => {
                let mut packed = packed.lock().unwrap_or_else(PoisonError::into_inner);
                let Packed { aligned, staging } = &mut *packed;
                pack(inputs.get(*input), staging);
                aligned.resize(size_of_val(staging.as_slice()));
                aligned.as_mut_slice().copy_from_slice(staging);
                run(aligned.as_slice())
            }
        }
    }

    /// The packed weights, where they are constant.
    pub(super) fn constant(&self) -> Option<&[f32]> {
        match self {
            Self::Constant(weights) => Some(weights.as_slice()),
            Self::Computed { .. } => None,
        }
    }
}

/// An optional float bias.
pub(super) struct FloatBias {
    input: usize,
    given: bool,
}

impl FloatBias {
    /// The bias, input `input`.
    pub(super) fn new(cx: &NodeContext<'_>, input: usize) -> Result<Self> {
        match cx.optional(input) {
            Some(bias) if bias.dtype != DType::F32 => {
                let message = format!("the bias (input {input}) is {}, expected float32", bias.dtype);
                Err(Error::unsupported("", message))
            }
            bias => Ok(Self { input, given: bias.is_some() }),
        }
    }

    pub(super) fn get<'a>(&self, inputs: Inputs<'a>) -> Option<&'a [f32]> {
        self.given.then(|| inputs.get(self.input))
    }
}

/// Bounds what planning allocates for weights that are computed; constant ones are bounded by the file.
pub(super) fn check_size(cx: &NodeContext<'_>, input: usize) -> Result<()> {
    let weights = cx.input(input)?;
    let (bytes, allowed) = (weights.byte_size()?, cx.options.arena_bytes_max);
    if weights.data.is_some() || bytes <= allowed {
        return Ok(());
    }
    Err(Error::limit("", format!("computed weights (input {input}) of {bytes} bytes, allowed are {allowed}")))
}

/// Which inputs of an op are what.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) input: usize,
    pub(super) weights: usize,
    pub(super) bias: usize,
    /// Axis of the weights that their scales belong to.
    pub(super) axis: usize,
}

impl Operands {
    /// Of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.
    pub(super) fn of(op: &Op) -> Self {
        let axis = if matches!(op, Op::DepthwiseConv2d(_)) { 3 } else { 0 };
        Self { input: 0, weights: 1, bias: 2, axis }
    }
}

/// Whether LiteRT's XNNPACK delegate takes these weights and this bias.
fn is_delegated(cx: &NodeContext<'_>, operands: Operands) -> Result<bool> {
    let weights = cx.input(operands.weights)?;
    let has_bias = cx.optional(operands.bias).is_some();
    let is_constant = cx.is_file_constant(operands.weights) && (!has_bias || cx.is_file_constant(operands.bias));
    // XNNPACK takes no output rows that meet no tap.
    let takes_window = match &cx.node.op {
        Op::TransposeConv(op) if op.padding == Padding::Same => {
            let kernel = image_shape(weights)?;
            kernel[1] >= op.stride_height && kernel[2] >= op.stride_width
        }
        _ => true,
    };
    let takes_type = match (weights.dtype, &cx.node.op) {
        (DType::I8 | DType::U8, _) => true,
        (DType::I4, Op::FullyConnected(_)) => weights.shape.last().is_some_and(|depth| depth % 2 == 0),
        (DType::I2, Op::FullyConnected(_)) => weights.shape.last().is_some_and(|depth| depth % 4 == 0),
        _ => false,
    };
    let takes_scales = weights.quantization.as_ref().is_none_or(|found| found.scales.iter().all(|&scale| scale > 0.0));
    // The builtins run signed weights with a zero point, where LiteRT runs them; but of TRANSPOSE_CONV, whose single one is not
    // looked at.
    let is_ignored = |found: &Quantization| matches!(cx.node.op, Op::TransposeConv(_)) && found.scales.len() == 1;
    let takes_zero_points = weights.dtype == DType::U8
        || weights.quantization.as_ref().is_some_and(is_ignored)
        || weights.quantization.as_ref().is_none_or(|found| found.zero_points.iter().all(|&point| point == 0));
    Ok(is_constant && takes_window && takes_type && takes_scales && takes_zero_points)
}

fn weight_quantization(weights: &Tensor, axis: usize) -> Result<&Quantization> {
    let Some(quantization) = &weights.quantization else {
        return Err(Error::malformed("", format!("weights \"{}\" have no scale", weights.name)));
    };
    if quantization.scales.len() > 1 && quantization.axis != axis {
        let got = quantization.axis;
        return Err(Error::malformed(
            "",
            format!("weights quantized along axis {got}, expected that of outputs, {axis}"),
        ));
    }
    Ok(quantization)
}

/// What is subtracted from integer weights before they are multiplied.
///
/// TensorFlow Lite's 8-bit specification has none but 0 for signed weights. Where LiteRT runs others, its bytes are what counts:
/// FULLY_CONNECTED subtracts the zero point of all weights and reads no zero points of channels, DEPTHWISE_CONV_2D and
/// TRANSPOSE_CONV read none. It refuses such a CONV_2D, and a FULLY_CONNECTED whose weights have less than 8 bits.
fn weight_zero_point(op: &Op, weights: &Tensor, quantization: &Quantization) -> Result<i32> {
    let unsigned = weights.dtype == DType::U8;
    let (low, high) = if unsigned { (0, 255) } else { (-128, 127) };
    let malformed = |found: i64, what: &str| {
        Err(Error::malformed("", format!("weights \"{}\" have zero point {found}, {what}", weights.name)))
    };
    if let Some(&outside) = quantization.zero_points.iter().find(|found| !(low..=high).contains(*found)) {
        return malformed(outside, &format!("which is outside {}", weights.dtype));
    }
    let first = quantization.zero_points.first().copied().unwrap_or(0);
    let several = quantization.zero_points.iter().any(|&other| other != first);
    match (op, quantization.zero_points.iter().find(|&&found| found != 0)) {
        (_, None) => Ok(0),
        _ if unsigned && several => Err(Error::unsupported("", "weights with several zero points")),
        _ if unsigned => Ok(first as i32),
        (Op::DepthwiseConv2d(_) | Op::TransposeConv(_), _) => Ok(0),
        (Op::FullyConnected(_), _) if weights.dtype == DType::I8 => {
            Ok(if quantization.scales.len() == 1 { first as i32 } else { 0 })
        }
        (_, Some(&found)) => malformed(found, &format!("expected 0 for {}", weights.dtype)),
    }
}

/// Signed weights of at most 8 bits as they are, unpacked where they are narrower; zeros where they are computed. Beside float
/// activations uint8 ones are signed bytes too: so they were written before TensorFlow Lite had the type int8, and so LiteRT reads them.
fn signed_weights(weights: &Tensor) -> Result<Cow<'_, [i8]>> {
    match (&weights.data, weights.dtype) {
        (Some(data), DType::I8 | DType::U8) => Ok(Cow::Borrowed(data.elements()?)),
        (Some(data), dtype) => Ok(Cow::Owned(data.narrow_integers(dtype, weights.elements()?)?)),
        (None, DType::I8 | DType::U8) => Ok(Cow::Owned(vec![0; weights.elements()?])),
        (None, dtype) => Err(Error::unsupported("", format!("computed weights of type {dtype}"))),
    }
}

/// An integer bias, or what stands for one that is computed.
enum IntegerBias {
    None,
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl IntegerBias {
    fn new(bias: Option<&Tensor>) -> Result<Self> {
        let Some(bias) = bias else { return Ok(Self::None) };
        let elements = bias.elements()?;
        match (bias.dtype, &bias.data) {
            (DType::I32, Some(data)) => Ok(Self::I32(data.elements()?.to_vec())),
            (DType::I64, Some(data)) => Ok(Self::I64(data.elements()?.to_vec())),
            (DType::I32, None) => Ok(Self::I32(vec![0; elements])),
            (DType::I64, None) => Ok(Self::I64(vec![0; elements])),
            (other, _) => Err(Error::unsupported("", format!("a bias of type {other}, expected int32 or int64"))),
        }
    }

    fn view(&self) -> Bias<'_> {
        match self {
            Self::None => Bias::None,
            Self::I32(bias) => Bias::I32(bias),
            Self::I64(bias) => Bias::I64(bias),
        }
    }

    /// The elements of this run.
    fn of_run<'a>(&self, input: usize, inputs: Inputs<'a>) -> Bias<'a> {
        match self {
            Self::None => Bias::None,
            Self::I32(_) => Bias::I32(inputs.get(input)),
            Self::I64(_) => Bias::I64(inputs.get(input)),
        }
    }
}

/// A planned kernel of any types: its scratch, and how it runs.
pub(super) trait Planned: Send {
    fn scratch_bytes(&self) -> usize;

    /// How it can do the work of others along: a [`Part::Producer`] does then what a run is given.
    fn part(&self) -> Part {
        Part::None
    }

    /// Computes the first output from input `input`, in `scratch_bytes` of scratch.
    fn run(&self, context: Context<'_>, io: Io<'_>, input: usize, scratch_bytes: usize);
}

macro_rules! planned {
    ($($type:ident$(<$element:ident>)?, $in:ty;)*) => {$(
        impl$(<$element: Quantized>)? Planned for $type$(<$element>)? {
            fn scratch_bytes(&self) -> usize {
                self.scratch_bytes()
            }

            fn run(&self, context: Context<'_>, mut io: Io<'_>, input: usize, scratch_bytes: usize) {
                let (inputs, y, scratch) = io.split_scratch();
                self.run(context, inputs.get::<$in>(input), y, &mut scratch.as_mut_slice()[..scratch_bytes]);
            }
        }
    )*};
}

planned! {
    HybridConv2d, f32;
    HybridDepthwiseConv2d, f32;
    HybridFullyConnected, f32;
    BlockwiseFullyConnected, f32;
    QuantizedTransposeConv<T>, T;
    HybridTransposeConv, f32;
    HybridBatchMatmul, f32;
}

/// Those that produce bytes, which other ops may replace.
macro_rules! planned_producers {
    ($($type:ident)*) => {$(
        impl<T: Quantized> Planned for $type<T> {
            fn scratch_bytes(&self) -> usize {
                self.scratch_bytes()
            }

            fn part(&self) -> Part {
                if self.takes_then() { Part::Producer } else { Part::None }
            }

            fn run(&self, context: Context<'_>, mut io: Io<'_>, input: usize, scratch_bytes: usize) {
                let then = io.then;
                let (inputs, y, scratch) = io.split_scratch();
                self.run_then(context, inputs.get::<T>(input), y, &mut scratch.as_mut_slice()[..scratch_bytes], then);
            }
        }
    )*};
}

planned_producers!(QuantizedConv2d QuantizedDepthwiseConv2d QuantizedFullyConnected);

/// What makes a kernel from its spec, when the graph is planned or in each run. Behind pointers, so that what calls it is compiled
/// once for all kernels.
pub(super) type MakeInteger = Box<dyn Fn(&QuantizedSpec<'_>) -> Made + Send>;

/// The same of a kernel of floats and integer weights.
pub(super) type MakeHybrid = Box<dyn Fn(&HybridSpec<'_>) -> Made + Send>;

/// A kernel, or why there is none.
pub(super) type Made = std::result::Result<Box<dyn Planned>, Unsupported>;

/// Any of them.
pub(super) fn made<P: Planned + 'static>(planned: std::result::Result<P, Unsupported>) -> Made {
    Ok(Box::new(planned?))
}

/// Plans an integer op whose kernel `make` makes from its quantization, weights and bias.
pub(super) fn plan_integer(
    cx: &NodeContext<'_>,
    operands: Operands,
    activation: Activation,
    make: MakeInteger,
) -> Result<Kernel> {
    check_size(cx, operands.weights)?;
    let weights = cx.input(operands.weights)?;
    let quantization = weight_quantization(weights, operands.axis)?;
    let weight_zero_point = weight_zero_point(&cx.node.op, weights, quantization)?;
    let bias = IntegerBias::new(cx.optional(operands.bias))?;
    let unsigned = weights.dtype == DType::U8;
    let (signed, zeros);
    let view = if unsigned {
        zeros = match &weights.data {
            Some(data) => Cow::Borrowed(data.elements()?),
            None => Cow::Owned(vec![0_u8; weights.elements()?]),
        };
        Weights::U8(&zeros)
    } else {
        signed = signed_weights(weights)?;
        Weights::I8(&signed)
    };
    let parts = IntegerParts {
        input: operand_params(cx.input(operands.input)?)?,
        weight_scales: quantization.scales.clone(),
        weight_zero_point,
        output: quant_params(cx.output()?)?,
        activation: fused_activation(activation)?,
        numerics: cx.numerics(),
        delegated: is_delegated(cx, operands)?,
    };
    let planned = make(&parts.spec(view, bias.view())).map_err(refused)?;
    let bytes = planned.scratch_bytes();
    let name = cx.kernel_name(cx.output()?.dtype);
    if is_constant(cx, operands)? {
        return Ok(kernel_of(name, planned, operands.input));
    }
    let kernel = Kernel::new(name, move |context, io| {
        let inputs = io.inputs;
        let weights = match unsigned {
            true => Weights::U8(inputs.get(operands.weights)),
            false => Weights::I8(inputs.get(operands.weights)),
        };
        let planned = make(&parts.spec(weights, bias.of_run(operands.bias, inputs))).map_err(refused)?;
        planned.run(context, io, operands.input, bytes);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

/// Plans an op of int16 by int16, whose kernel `make` makes from the parameters of the input, the scales of the weights, the
/// parameters of the output and the activation.
pub(super) fn plan_wide(
    cx: &NodeContext<'_>,
    operands: Operands,
    activation: Activation,
    make: impl FnOnce(QuantParams, &[f32], QuantParams, Fused) -> Result<WideFullyConnected, Unsupported>,
) -> Result<Kernel> {
    let quantization = weight_quantization(cx.input(operands.weights)?, operands.axis)?;
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(Error::unsupported("", "int16 weights with a zero point other than 0"));
    }
    let bias = IntegerBias::new(cx.optional(operands.bias))?;
    let input = quant_params(cx.input(operands.input)?)?;
    let output = quant_params(cx.output()?)?;
    let planned = make(input, &quantization.scales, output, fused_activation(activation)?).map_err(refused)?;
    let elements = cx.optional(operands.bias).map(Tensor::elements).transpose()?;
    planned.check_bias(elements).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(DType::I16), move |context, mut io| {
        let (inputs, y) = io.split();
        let bias = bias.of_run(operands.bias, inputs);
        planned.run(context, inputs.get(operands.input), inputs.get(operands.weights), bias, y);
        Ok(())
    }))
}

/// A kernel that needs nothing but its input.
fn kernel_of(name: String, planned: Box<dyn Planned>, input: usize) -> Kernel {
    let (bytes, part) = (planned.scratch_bytes(), planned.part());
    let kernel = Kernel::new(name, move |context, io| {
        planned.run(context, io, input, bytes);
        Ok(())
    });
    kernel.with_scratch(bytes).with_part(part)
}

/// An integer spec without its weights and bias.
struct IntegerParts {
    input: QuantParams,
    weight_scales: Vec<f32>,
    weight_zero_point: i32,
    output: QuantParams,
    activation: Fused,
    numerics: Numerics,
    delegated: bool,
}

impl IntegerParts {
    fn spec<'a>(&'a self, weights: Weights<'a>, bias: Bias<'a>) -> QuantizedSpec<'a> {
        QuantizedSpec {
            input: self.input,
            weights,
            weight_scales: &self.weight_scales,
            weight_zero_point: self.weight_zero_point,
            bias,
            output: self.output,
            activation: self.activation,
            numerics: self.numerics,
            delegated: self.delegated,
        }
    }
}

fn is_constant(cx: &NodeContext<'_>, operands: Operands) -> Result<bool> {
    let weights = cx.input(operands.weights)?;
    let bias = cx.optional(operands.bias);
    if weights.data.is_some() && bias.is_some_and(|bias| bias.data.is_none()) && weights.dtype.bits() < 8 {
        return Err(Error::unsupported("", format!("{} weights with a computed bias", weights.dtype)));
    }
    Ok(weights.data.is_some() && bias.is_none_or(|bias| bias.data.is_some()))
}

/// Whether XNNPACK takes such weights beside float activations: no uint8, and of two bits only those with scales of channels.
fn takes_xnnpack(weights: &Tensor, quantization: &Quantization) -> bool {
    match weights.dtype {
        DType::U8 => false,
        DType::I2 => quantization.scales.len() > 1,
        _ => true,
    }
}

/// Plans a dynamic-range op, floats outside and integer weights, whose kernel `make` makes from its weights and bias.
pub(super) fn plan_hybrid(
    cx: &NodeContext<'_>,
    operands: Operands,
    activation: Activation,
    asymmetric_inputs: bool,
    make: MakeHybrid,
) -> Result<Kernel> {
    check_size(cx, operands.weights)?;
    let weights = cx.input(operands.weights)?;
    let quantization = weight_quantization(weights, operands.axis)?;
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(Error::unsupported("", "integer weights with a zero point other than 0 and float activations"));
    }
    if weights.dtype == DType::U8 && quantization.scales.len() > 1 {
        let message = "uint8 weights with a scale for each channel beside float activations";
        return Err(Error::unsupported("", message)
            .with_hint("LiteRT computes with none of the scales; int8 weights have them"));
    }
    let signed = signed_weights(weights)?;
    let zeros;
    let bias = match cx.optional(operands.bias) {
        None => None,
        Some(bias) if bias.dtype != DType::F32 => return Err(cx.no_kernel()),
        Some(bias) => match &bias.data {
            Some(data) => Some(data.elements()?),
            None => {
                zeros = vec![0.0; bias.elements()?];
                Some(zeros.as_slice())
            }
        },
    };
    let parts = HybridParts {
        weight_scales: quantization.scales.clone(),
        activation: fused_activation(activation)?,
        asymmetric_inputs,
        numerics: cx.numerics(),
        delegated: takes_xnnpack(weights, quantization) && is_delegated(cx, operands)?,
    };
    let planned = make(&parts.spec(&signed, bias)).map_err(refused)?;
    let bytes = planned.scratch_bytes();
    if is_constant(cx, operands)? {
        return Ok(kernel_of(cx.hybrid_name(), planned, operands.input));
    }
    let has_bias = bias.is_some();
    let kernel = Kernel::new(cx.hybrid_name(), move |context, io| {
        let inputs = io.inputs;
        let bias = has_bias.then(|| inputs.get(operands.bias));
        let planned = make(&parts.spec(inputs.get(operands.weights), bias)).map_err(refused)?;
        planned.run(context, io, operands.input, bytes);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

/// How many elements share a scale of input `index`, where it is quantized in blocks.
pub(super) fn block_size(cx: &NodeContext<'_>, index: usize) -> Result<Option<usize>> {
    Ok(cx.input(index)?.quantization.as_ref().and_then(|found| found.block_size))
}

/// Plans a dynamic-range op whose weights have a scale for each block of a row, and whose kernel `make` makes.
pub(super) fn plan_blockwise(
    cx: &NodeContext<'_>,
    operands: Operands,
    activation: Activation,
    make: impl FnOnce(&BlockwiseSpec<'_>) -> Made,
) -> Result<Kernel> {
    let weights = cx.input(operands.weights)?;
    let (Some(quantization), Some(block_size)) = (&weights.quantization, block_size(cx, operands.weights)?) else {
        return Err(cx.no_kernel());
    };
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(Error::unsupported("", "blocks of weights with a zero point other than 0"));
    }
    if !is_constant(cx, operands)? {
        return Err(Error::unsupported("", "computed weights that are quantized in blocks"));
    }
    let bias = match cx.optional(operands.bias) {
        None => None,
        Some(bias) if bias.dtype == DType::F32 => Some(cx.constant(operands.bias, "bias")?),
        Some(_) => return Err(cx.no_kernel()),
    };
    // XNNPACK takes no scale below the normal range of float16.
    let are_normal = quantization.scales.iter().all(|&scale| scale >= f16::MIN_POSITIVE.to_f32());
    let planned = make(&BlockwiseSpec {
        weights: &signed_weights(weights)?,
        block_size,
        scales: &quantization.scales,
        bias,
        activation: fused_activation(activation)?,
        numerics: cx.numerics(),
        delegated: are_normal && is_delegated(cx, operands)?,
    });
    Ok(kernel_of(cx.hybrid_name(), planned.map_err(refused)?, operands.input))
}

/// A dynamic-range spec without its weights and bias.
struct HybridParts {
    weight_scales: Vec<f32>,
    activation: Fused,
    asymmetric_inputs: bool,
    numerics: Numerics,
    delegated: bool,
}

impl HybridParts {
    fn spec<'a>(&'a self, weights: &'a [i8], bias: Option<&'a [f32]>) -> HybridSpec<'a> {
        HybridSpec {
            weights,
            weight_scales: &self.weight_scales,
            bias,
            activation: self.activation,
            asymmetric_inputs: self.asymmetric_inputs,
            numerics: self.numerics,
            delegated: self.delegated,
        }
    }
}
