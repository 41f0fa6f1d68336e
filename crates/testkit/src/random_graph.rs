//! Small random graphs, of which most are nearly right: each op gets inputs that fit it, then some of what was chosen is
//! spoiled. Nothing is inferred or checked, so that whoever plans such a graph must find what is wrong.

use litesmith_graph::ops::{
    Activation, Add, AveragePool2d, Concatenation, Conv2d, DepthwiseConv2d, Dequantize, Elu, ExpandDims,
    FullyConnected, Gelu, HardSwish, LeakyRelu, Logistic, MaxPool2d, Mean, Mul, Pack, Pad, Padding, Quantize,
    ReduceMax, Relu, Relu6, ReluN1To1, Reshape, Shape, Softmax, Squeeze, StridedSlice, Sub, Tanh,
};
use litesmith_graph::{DType, Data, Graph, Node, Op, Quantization, Tensor, TensorId};

use crate::Random;

/// A graph of one to four nodes.
#[must_use]
pub fn random_graph(random: &mut Random) -> Graph {
    let mut maker = Maker { graph: Graph::new("main"), spoil: random.pick(&[0, 0, 12, 30, 60]), random };
    let dtype = maker.activation_dtype();
    let shape = maker.image();
    let mut last = maker.input("x", dtype, &shape);
    for _ in 0..=maker.random.below(3) {
        last = maker.node(last);
    }
    maker.graph.outputs = vec![last];
    if maker.random.once_in(20) {
        maker.graph.outputs.push(last);
    }
    if maker.random.once_in(40) {
        let any = TensorId(maker.random.below(maker.graph.tensors.len()));
        maker.graph.outputs.push(any);
    }
    if maker.spoils() {
        let at = maker.random.below(maker.graph.tensors.len());
        let (dtype, is_variable) = (maker.any_dtype(), maker.random.once_in(8));
        let tensor = &mut maker.graph.tensors[at];
        if tensor.data.is_none() {
            tensor.dtype = dtype;
            tensor.is_variable = is_variable;
        }
    }
    maker.graph
}

struct Maker<'a> {
    graph: Graph,
    /// One choice in so many is spoiled; never when 0.
    spoil: usize,
    random: &'a mut Random,
}

impl Maker<'_> {
    fn spoils(&mut self) -> bool {
        self.spoil != 0 && self.random.once_in(self.spoil)
    }

    fn activation_dtype(&mut self) -> DType {
        self.random.pick(&[DType::F32, DType::I8, DType::U8, DType::I16])
    }

    fn any_dtype(&mut self) -> DType {
        self.random.pick(DType::ALL)
    }

    /// A small size; spoiled, any.
    fn size(&mut self) -> usize {
        if self.spoils() {
            return self.random.pick(&[0, 0, 1, 64, 1 << 16, 1 << 31, 1 << 40, usize::MAX, usize::MAX / 2 + 1]);
        }
        1 + self.random.below(6)
    }

    /// A stride, dilation or window.
    fn step(&mut self) -> usize {
        if self.spoils() {
            self.random.pick(&[0, 5, 100, 1 << 16, 1 << 31, usize::MAX])
        } else {
            1 + self.random.below(3)
        }
    }

    fn image(&mut self) -> Vec<usize> {
        let rank = if self.spoils() { self.random.below(7) } else { 4 };
        (0..rank).map(|_| self.size()).collect()
    }

    fn scale(&mut self) -> f32 {
        if self.spoils() {
            return self.random.pick(&[0.0, -1.0, 1e-45, 1e-38, 1e-20, 1e20, 3e38, f32::NAN, f32::INFINITY, 1.0]);
        }
        2.0_f32.powi(-(self.random.below(9) as i32)) * (1.0 + 0.5 * self.random.float())
    }

    fn quantization(&mut self, dtype: DType) -> Option<Quantization> {
        if dtype == DType::F32 && !self.spoils() || self.spoils() {
            return None;
        }
        let zero_point = match dtype {
            _ if self.spoils() => self.random.pick(&[i64::MIN, i64::MAX, 1 << 31, 300, -129, -32_769, 1]),
            DType::I8 => self.random.below(256) as i64 - 128,
            DType::U8 => self.random.below(256) as i64,
            _ => 0,
        };
        Some(Quantization::per_tensor(self.scale(), zero_point))
    }

    fn input(&mut self, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        let mut tensor = Tensor::new(name, dtype, shape);
        tensor.quantization = self.quantization(dtype);
        if self.random.once_in(12) && constant_bytes(&tensor).is_some() {
            let data = self.bytes(&tensor);
            tensor.data = Some(data);
            return self.graph.add_tensor(tensor);
        }
        self.graph.add_input(tensor)
    }

    fn bytes(&mut self, tensor: &Tensor) -> Data {
        let mut bytes = vec![0; constant_bytes(tensor).unwrap_or(0)];
        self.random.fill(&mut bytes);
        if tensor.dtype == DType::F32 && !self.spoils() {
            let floats: Vec<f32> = bytes.chunks_exact(4).map(|_| self.random.float()).collect();
            return Data::from_slice(&floats);
        }
        Data::from_bytes(&bytes)
    }

    /// A constant, if it is not too large, else an input.
    fn constant(&mut self, dtype: DType, shape: &[usize], quantization: Option<Quantization>) -> TensorId {
        let dtype = if self.spoils() { self.any_dtype() } else { dtype };
        let mut tensor = Tensor { quantization, ..Tensor::new("c", dtype, shape) };
        if constant_bytes(&tensor).is_none() || self.spoils() {
            return self.graph.add_input(tensor);
        }
        tensor.data = Some(self.bytes(&tensor));
        self.graph.add_tensor(tensor)
    }

    fn integers(&mut self, values: &[i64]) -> TensorId {
        let mut values = values.to_vec();
        for value in &mut values {
            if self.spoils() {
                *value = self.random.pick(&[0, -1, 1, -5, 9, 1 << 31, i64::MIN, i64::MAX, 1 << 40]);
            }
        }
        let wide = self.random.once_in(4);
        let shape = if self.spoils() { vec![] } else { vec![values.len()] };
        let (dtype, data) = if wide {
            (DType::I64, Data::from_slice(&values))
        } else {
            (DType::I32, Data::from_slice(&values.iter().map(|&value| value as i32).collect::<Vec<_>>()))
        };
        self.graph.add_tensor(Tensor::constant("i", dtype, shape, data))
    }

    fn activation(&mut self) -> Activation {
        if self.spoils() {
            return self.random.pick(&[Activation::Tanh, Activation::SignBit]);
        }
        self.random.pick(&[Activation::None, Activation::Relu, Activation::ReluN1To1, Activation::Relu6])
    }

    fn padding(&mut self) -> Padding {
        self.random.pick(&[Padding::Same, Padding::Valid])
    }

    /// Filter or weights: int8 where activations are integers, sometimes too where they are not (dynamic range).
    fn weights(&mut self, activations: DType, shape: &[usize], axis: usize) -> TensorId {
        let dtype = match activations {
            DType::F32 if self.random.once_in(3) => DType::I8,
            DType::F32 => DType::F32,
            DType::U8 if self.random.once_in(2) => DType::U8,
            _ => DType::I8,
        };
        let axis = if self.spoils() { self.random.below(5) } else { axis };
        let channels = shape.get(axis).copied().unwrap_or(1).min(1 << 12);
        let quantization = if dtype == DType::F32 {
            None
        } else if self.random.once_in(2) || dtype == DType::U8 {
            let zero_point = if dtype == DType::U8 { 128 } else { 0 };
            Some(Quantization::per_tensor(self.scale(), zero_point))
        } else {
            let scales = (0..channels).map(|_| self.scale()).collect();
            Some(Quantization::per_channel(scales, axis))
        };
        self.constant(dtype, shape, quantization)
    }

    fn bias(&mut self, activations: DType, channels: usize) -> Option<TensorId> {
        if self.random.once_in(3) {
            return None;
        }
        let dtype = match activations {
            DType::F32 => DType::F32,
            DType::I16 => self.random.pick(&[DType::I64, DType::I32]),
            _ => DType::I32,
        };
        let channels = if self.spoils() { self.size() } else { channels };
        Some(self.constant(dtype, &[channels], None))
    }

    /// Adds a node that reads `x`; the result is its output.
    fn node(&mut self, x: TensorId) -> TensorId {
        let dtype = self.graph.tensor(x).dtype;
        let shape = self.graph.tensor(x).shape.clone();
        let channels = shape.last().copied().unwrap_or(1);
        let mut out_dtype = dtype;
        let mut inputs = vec![Some(x)];
        let (padding, activation) = (self.padding(), self.activation());
        let [height, width, more, less] = [(); 4].map(|()| self.step());
        let op: Op = match self.random.below(31) {
            0..=2 => {
                let out = self.size();
                let kernel = [self.step(), self.step()];
                inputs.push(Some(self.weights(dtype, &[out, kernel[0], kernel[1], channels], 0)));
                inputs.push(self.bias(dtype, out));
                let [dilation_height, dilation_width] = [self.step(), self.step()];
                let strides = (more, less);
                Conv2d {
                    padding,
                    stride_height: strides.0,
                    stride_width: strides.1,
                    dilation_height,
                    dilation_width,
                    activation,
                }
                .into()
            }
            3 | 4 => {
                let out = channels.saturating_mul(1 + self.random.below(2));
                inputs.push(Some(self.weights(dtype, &[1, height, width, out], 3)));
                inputs.push(self.bias(dtype, out));
                let [dilation_height, dilation_width] = [self.step(), self.step()];
                DepthwiseConv2d {
                    padding,
                    stride_height: more,
                    stride_width: less,
                    dilation_height,
                    dilation_width,
                    activation,
                }
                .into()
            }
            5 | 6 => {
                let out = self.size();
                inputs.push(Some(self.weights(dtype, &[out, channels], 0)));
                inputs.push(self.bias(dtype, out));
                let [keep_num_dims, asymmetric_quantize_inputs] = [self.random.once_in(2), self.random.once_in(2)];
                FullyConnected { activation, keep_num_dims, asymmetric_quantize_inputs }.into()
            }
            7 => MaxPool2d {
                padding,
                stride_height: more,
                stride_width: less,
                filter_height: height,
                filter_width: width,
                activation,
            }
            .into(),
            8 => AveragePool2d {
                padding,
                stride_height: more,
                stride_width: less,
                filter_height: height,
                filter_width: width,
                activation,
            }
            .into(),
            9..=11 => {
                let other = match self.random.below(4) {
                    0 => vec![channels],
                    1 => vec![1],
                    2 if self.spoils() => self.image(),
                    _ => shape.clone(),
                };
                let quantization = self.quantization(dtype);
                let constant = self.constant(dtype, &other, quantization);
                inputs.push(Some(if self.random.once_in(4) { x } else { constant }));
                if self.random.once_in(3) {
                    inputs.swap(0, 1);
                }
                match self.random.below(3) {
                    0 => Add { activation, ..Add::default() }.into(),
                    1 => Sub { activation, ..Sub::default() }.into(),
                    _ => Mul { activation }.into(),
                }
            }
            12 => {
                (0..self.random.below(3)).for_each(|_| inputs.push(Some(x)));
                let axis = self.axis(&shape);
                let activation = if self.random.once_in(4) { activation } else { Activation::None };
                Concatenation { axis, activation }.into()
            }
            13 => {
                (0..self.random.below(3)).for_each(|_| inputs.push(Some(x)));
                Pack { axis: self.axis(&shape) }.into()
            }
            14 => {
                let paddings: Vec<_> = (0..shape.len() * 2).map(|_| self.random.below(3) as i64).collect();
                inputs.push(Some(self.integers(&paddings)));
                Pad.into()
            }
            15 | 16 => {
                let axes: Vec<_> = (0..=self.random.below(2)).map(|_| i64::from(self.axis(&shape))).collect();
                inputs.push(Some(self.integers(&axes)));
                let keep_dims = self.random.once_in(2);
                if self.random.once_in(2) { Mean { keep_dims }.into() } else { ReduceMax { keep_dims }.into() }
            }
            17 => {
                let begin: Vec<_> = shape.iter().map(|_| self.random.below(2) as i64).collect();
                let end: Vec<_> =
                    shape.iter().map(|&size| size.min(100) as i64 - self.random.below(2) as i64).collect();
                let strides: Vec<_> = shape.iter().map(|_| self.random.pick(&[1, 1, 2, -1])).collect();
                for values in [begin, end, strides] {
                    inputs.push(Some(self.integers(&values)));
                }
                let mask = |maker: &mut Self| if maker.random.once_in(3) { maker.random.below(16) as i32 } else { 0 };
                StridedSlice {
                    begin_mask: mask(self),
                    end_mask: mask(self),
                    shrink_axis_mask: mask(self),
                    offset: self.random.once_in(5),
                    ..StridedSlice::default()
                }
                .into()
            }
            18 => {
                inputs.push(Some(self.integers(&[-1, channels.min(1 << 40) as i64])));
                Reshape::default().into()
            }
            19 => Squeeze { squeeze_dims: vec![] }.into(),
            20 => {
                let axis = i64::from(self.axis(&shape));
                inputs.push(Some(self.integers(&[axis])));
                ExpandDims.into()
            }
            21 => {
                out_dtype = self.random.pick(&[DType::I32, DType::I64]);
                Shape { out_type: out_dtype }.into()
            }
            22 => Softmax { beta: if self.spoils() { f32::NAN } else { 1.0 } }.into(),
            23 => {
                out_dtype = self.activation_dtype();
                Quantize.into()
            }
            24 => {
                out_dtype = DType::F32;
                Dequantize.into()
            }
            25 => LeakyRelu { alpha: self.random.pick(&[0.3, 0.0, -0.5, 4.0, f32::NAN, f32::INFINITY]) }.into(),
            26 => Gelu { approximate: self.random.once_in(2) }.into(),
            27 => HardSwish.into(),
            28 => Logistic.into(),
            29 => Tanh.into(),
            _ => match self.random.below(4) {
                0 => Relu.into(),
                1 => Relu6.into(),
                2 => ReluN1To1.into(),
                _ => Elu.into(),
            },
        };
        if self.spoils() {
            let at = self.random.below(inputs.len() + 1);
            match self.random.below(3) {
                0 => inputs.truncate(at),
                1 => inputs.push(Some(x)),
                _ => inputs.iter_mut().skip(at).take(1).for_each(|input| *input = None),
            }
        }
        self.output(op, inputs, out_dtype, x)
    }

    fn axis(&mut self, shape: &[usize]) -> i32 {
        if self.spoils() {
            return self.random.pick(&[i32::MIN, i32::MAX, -9, 9]);
        }
        self.random.below(shape.len()) as i32 - if self.random.once_in(2) { shape.len() as i32 } else { 0 }
    }

    /// The node and its output, with a shape that a planner must correct.
    fn output(&mut self, op: Op, inputs: Vec<Option<TensorId>>, dtype: DType, x: TensorId) -> TensorId {
        let shape = op
            .infer_shapes(&self.graph.node_tensors(&inputs))
            .ok()
            .and_then(|shapes| shapes.into_iter().next())
            .unwrap_or_else(|| vec![1]);
        let same = self.graph.tensor(x).quantization.clone();
        let fixed = match (&op, dtype) {
            (Op::Softmax(_) | Op::Logistic(_), DType::I8) => Some((1.0 / 256.0, -128)),
            (Op::Softmax(_) | Op::Logistic(_), DType::U8) => Some((1.0 / 256.0, 0)),
            (Op::Tanh(_), DType::I8) => Some((1.0 / 128.0, 0)),
            (Op::Softmax(_) | Op::Logistic(_) | Op::Tanh(_), DType::I16) => Some((1.0 / 32_768.0, 0)),
            _ => None,
        };
        let quantization = match fixed {
            Some((scale, zero_point)) if !self.spoils() => Some(Quantization::per_tensor(scale, zero_point)),
            _ if self.random.once_in(2) && same.is_some() => same,
            _ => self.quantization(dtype),
        };
        let dtype = if self.spoils() { self.any_dtype() } else { dtype };
        let output = self.graph.add_tensor(Tensor { quantization, ..Tensor::new("y", dtype, shape) });
        self.graph.nodes.push(Node { op, inputs, outputs: vec![output] });
        output
    }
}

/// Bytes of a constant of this shape; `None` when it would be too large for a small file.
fn constant_bytes(tensor: &Tensor) -> Option<usize> {
    tensor.byte_size().ok().filter(|&bytes| bytes <= 1 << 16)
}
