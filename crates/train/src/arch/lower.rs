//! From layers to a graph.

use std::collections::HashMap;

use litesmith_graph::ops::{self, Activation as Fused};
use litesmith_graph::{DType, Data, Error, Graph, Op, Result, Tensor, TensorId, elements};

use super::{
    ActivationFunction, Architecture, Conv2D, Dense, DepthwiseConv2D, INPUT, Layer, LayerSpec, Padding, Pair,
    SeparableConv2D, invalid,
};
use crate::export::fuse_activations;
use crate::{Initializer, Summary, SummaryRow};

/// No network for images comes near this many weights (1 GiB of them); more is a slip of the pen in a size.
const WEIGHTS_MAX: usize = 1 << 28;

pub(super) struct Lowered {
    pub(super) graph: Graph,
    pub(super) summary: Summary,
}

pub(super) fn lower(architecture: &Architecture, seed: u64) -> Result<Lowered> {
    let Architecture { name, input, layers } = architecture;
    let place = || format!("architecture \"{name}\"");
    if input.is_empty() || input.len() > 3 || input.contains(&0) {
        return Err(Error::invalid(
            place(),
            format!("got input shape {input:?}, expected [height, width, channels], [height, width] or [features]"),
        ));
    }
    if layers.is_empty() {
        return Err(Error::invalid(place(), "it has no layers"));
    }
    let mut graph = Graph::new("main");
    let mut x = graph.add_input(Tensor::new(INPUT, DType::F32, [&[1], input.as_slice()].concat()));
    if let [height, width] = input[..] {
        let shape = [-1, to_i32(height)?, to_i32(width)?, 1];
        x = add_reshape(&mut graph, x, &shape, "input/channel")?;
    }
    let outputs = HashMap::from([(INPUT.to_owned(), x)]);
    let mut lowering = Lowering { graph, seed, outputs, scope: String::new(), weights_left: WEIGHTS_MAX };
    let mut summary = Summary::default();
    for spec in layers {
        let row = lowering.layer(spec).map_err(|error| error.at(spec.place()).at(place()))?;
        summary.rows.push(row);
    }
    let mut graph = lowering.graph;
    let output = graph.nodes.last().and_then(|node| node.outputs.first().copied());
    graph.outputs = output.into_iter().collect();
    graph.remove_dead();
    fuse_activations(&mut graph);
    graph.make_batch_dynamic()?;
    graph.check()?;
    Ok(Lowered { graph, summary })
}

struct Lowering {
    graph: Graph,
    seed: u64,
    outputs: HashMap<String, TensorId>,
    /// Name of the layer at hand, which its tensors' names begin with.
    scope: String,
    /// Weights that may still be made.
    weights_left: usize,
}

impl Lowering {
    fn layer(&mut self, spec: &LayerSpec) -> Result<SummaryRow> {
        if self.outputs.contains_key(&spec.name) {
            return Err(invalid("another layer (or the input) has this name"));
        }
        let inputs = spec.inputs.iter().map(|name| {
            self.outputs.get(name).copied().ok_or_else(|| {
                invalid(format!("it reads \"{name}\", which no layer before it is called"))
                    .with_hint("`inputs` names layers that stand above, or \"input\"")
            })
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        self.scope.clone_from(&spec.name);
        let (tensors_before, nodes_before) = (self.graph.tensors.len(), self.graph.nodes.len());
        let output = self.apply(&spec.layer, &inputs)?;
        self.outputs.insert(spec.name.clone(), output);
        let nodes = nodes_before..self.graph.nodes.len();
        let mut row = SummaryRow {
            name: spec.name.clone(),
            layer: spec.layer.type_name().into(),
            inputs: spec.inputs.clone(),
            output_shape: std::iter::once(-1)
                .chain(self.graph.tensor(output).shape.iter().skip(1).map(|&size| size as i64))
                .collect(),
            macs: nodes.clone().map(|index| self.graph.cost(index).macs).sum(),
            ..SummaryRow::default()
        };
        for node in &self.graph.nodes[nodes] {
            for (index, id) in node.inputs.iter().enumerate() {
                let Some(id) = id.filter(|id| id.0 >= tensors_before) else { continue };
                let tensor = self.graph.tensor(id);
                match crate::variables::role(&node.op, index, tensor) {
                    litesmith_graph::ops::Parameter::Trainable => row.parameters_trainable += tensor.elements()?,
                    litesmith_graph::ops::Parameter::Moving => row.parameters_fixed += tensor.elements()?,
                    litesmith_graph::ops::Parameter::Constant => {}
                }
            }
        }
        Ok(row)
    }

    fn apply(&mut self, layer: &Layer, inputs: &[TensorId]) -> Result<TensorId> {
        let many = matches!(layer, Layer::Add(_) | Layer::Concatenate(_));
        let expected = if many { 2..=usize::MAX } else { 1..=1 };
        if !expected.contains(&inputs.len()) {
            let expected = if many { "two or more" } else { "one" };
            return Err(invalid(format!("got {} inputs, expected {expected}", inputs.len())));
        }
        let x = inputs[0];
        match layer {
            Layer::Conv2D(layer) => self.conv_2d(layer, x),
            Layer::DepthwiseConv2D(layer) => self.depthwise_conv_2d(layer, x),
            Layer::SeparableConv2D(layer) => self.separable_conv_2d(layer, x),
            Layer::Dense(layer) => self.dense(layer, x),
            Layer::MaxPooling2D(layer) => {
                self.rank_4(x)?;
                let strides = layer.strides.unwrap_or(layer.pool_size);
                let op = ops::MaxPool2d {
                    padding: padding(layer.padding),
                    stride_height: strides.height,
                    stride_width: strides.width,
                    filter_height: layer.pool_size.height,
                    filter_width: layer.pool_size.width,
                    activation: Fused::None,
                };
                self.node(op, &[Some(x)])
            }
            Layer::AveragePooling2D(layer) => {
                self.rank_4(x)?;
                let strides = layer.strides.unwrap_or(layer.pool_size);
                let op = ops::AveragePool2d {
                    padding: padding(layer.padding),
                    stride_height: strides.height,
                    stride_width: strides.width,
                    filter_height: layer.pool_size.height,
                    filter_width: layer.pool_size.width,
                    activation: Fused::None,
                };
                self.node(op, &[Some(x)])
            }
            Layer::GlobalAveragePooling2D(layer) => {
                self.rank_4(x)?;
                let axes = self.integers("axes", &[1, 2]);
                self.node(ops::Mean { keep_dims: layer.keepdims }, &[Some(x), Some(axes)])
            }
            Layer::GlobalMaxPooling2D(layer) => {
                self.rank_4(x)?;
                let axes = self.integers("axes", &[1, 2]);
                self.node(ops::ReduceMax { keep_dims: layer.keepdims }, &[Some(x), Some(axes)])
            }
            Layer::BatchNormalization(layer) => {
                in_range("momentum", layer.momentum, 0.0..1.0)?;
                if !(layer.epsilon > 0.0 && layer.epsilon.is_finite()) {
                    return Err(invalid(format!("got epsilon {}, expected a positive number", layer.epsilon)));
                }
                let channels = self.last_size(x)?;
                let parameters = [
                    ("gamma", layer.gamma_initializer),
                    ("beta", layer.beta_initializer),
                    ("moving_mean", layer.moving_mean_initializer),
                    ("moving_variance", layer.moving_variance_initializer),
                ];
                let mut inputs = vec![Some(x)];
                for (name, initializer) in parameters {
                    inputs.push(Some(self.weights(name, initializer, vec![channels], (channels, channels))?));
                }
                self.node(ops::BatchNormalization { epsilon: layer.epsilon, momentum: layer.momentum }, &inputs)
            }
            Layer::Dropout(layer) => {
                in_range("rate", layer.rate, 0.0..1.0)?;
                self.node(ops::Dropout { rate: layer.rate }, &[Some(x)])
            }
            Layer::Flatten(_) => {
                let features = elements(&self.graph.tensor(x).shape)?;
                let name = self.scope.clone();
                add_reshape(&mut self.graph, x, &[-1, to_i32(features)?], &name)
            }
            Layer::Reshape(layer) => self.reshape(&layer.target_shape, x),
            Layer::ZeroPadding2D(layer) => {
                self.rank_4(x)?;
                let [[top, bottom], [left, right]] = layer.padding.each();
                let sides = [0, 0, top, bottom, left, right, 0, 0];
                let sides = sides.iter().map(|&size| to_i32(size)).collect::<Result<Vec<_>>>()?;
                let data = Data::from_slice(&sides);
                let name = format!("{}/paddings", self.scope);
                let paddings = self.graph.add_tensor(Tensor::constant(name, DType::I32, [4, 2], data));
                self.node(ops::Pad, &[Some(x), Some(paddings)])
            }
            Layer::Add(_) => {
                let mut sum = x;
                for (index, &other) in inputs.iter().enumerate().skip(1) {
                    let (a, b) = (&self.graph.tensor(sum).shape, &self.graph.tensor(other).shape);
                    if a != b {
                        return Err(invalid(format!("the inputs have shapes {:?} and {:?}", &a[1..], &b[1..])));
                    }
                    let name =
                        if index + 1 == inputs.len() { self.scope.clone() } else { format!("{}/{index}", self.scope) };
                    sum = self.graph.add_node(ops::Add::default(), &[Some(sum), Some(other)], &name)?;
                }
                Ok(sum)
            }
            Layer::Concatenate(layer) => {
                let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
                self.node(ops::Concatenation { axis: layer.axis, activation: Fused::None }, &inputs)
            }
            Layer::Activation(layer) => {
                let name = self.scope.clone();
                self.activate(layer.activation, x, &name)
            }
            Layer::ReLU(layer) => match layer.max_value {
                None => self.node(ops::Relu, &[Some(x)]),
                Some(6.0) => self.node(ops::Relu6, &[Some(x)]),
                Some(other) => Err(invalid(format!("got max_value {other}, expected 6 or none"))
                    .with_hint("TensorFlow Lite has RELU and RELU6")),
            },
            Layer::LeakyReLU(layer) => self.node(ops::LeakyRelu { alpha: layer.negative_slope }, &[Some(x)]),
            Layer::Softmax(_) => self.node(ops::Softmax::default(), &[Some(x)]),
        }
    }

    fn conv_2d(&mut self, layer: &Conv2D, x: TensorId) -> Result<TensorId> {
        let in_channels = self.rank_4(x)?;
        at_least_one(&[("filters", layer.filters), ("groups", layer.groups)])?;
        window("kernel_size", layer.kernel_size)?;
        window("strides", layer.strides)?;
        window("dilation_rate", layer.dilation_rate)?;
        if !in_channels.is_multiple_of(layer.groups) || !layer.filters.is_multiple_of(layer.groups) {
            return Err(invalid(format!(
                "{} groups do not divide {in_channels} input channels and {} filters",
                layer.groups, layer.filters
            )));
        }
        let taps = area(layer.kernel_size)?;
        let group_channels = in_channels / layer.groups;
        let shape = vec![layer.filters, layer.kernel_size.height, layer.kernel_size.width, group_channels];
        let fans = (taps.saturating_mul(group_channels), taps.saturating_mul(layer.filters));
        let kernel = self.weights("kernel", layer.kernel_initializer, shape, fans)?;
        let bias = self.bias(layer.use_bias, layer.bias_initializer, layer.filters)?;
        let op = ops::Conv2d {
            padding: padding(layer.padding),
            stride_height: layer.strides.height,
            stride_width: layer.strides.width,
            dilation_height: layer.dilation_rate.height,
            dilation_width: layer.dilation_rate.width,
            activation: fused(layer.activation),
        };
        self.then_activate(op, &[Some(x), Some(kernel), bias], layer.activation)
    }

    fn depthwise_conv_2d(&mut self, layer: &DepthwiseConv2D, x: TensorId) -> Result<TensorId> {
        let (op, kernel, out_channels) = self.depthwise(
            x,
            ("kernel", layer.depthwise_initializer),
            layer.kernel_size,
            layer.strides,
            layer.dilation_rate,
            layer.padding,
            layer.depth_multiplier,
        )?;
        let bias = self.bias(layer.use_bias, layer.bias_initializer, out_channels)?;
        let op = ops::DepthwiseConv2d { activation: fused(layer.activation), ..op };
        self.then_activate(op, &[Some(x), Some(kernel), bias], layer.activation)
    }

    fn separable_conv_2d(&mut self, layer: &SeparableConv2D, x: TensorId) -> Result<TensorId> {
        at_least_one(&[("filters", layer.filters)])?;
        let (op, kernel, channels) = self.depthwise(
            x,
            ("depthwise_kernel", layer.depthwise_initializer),
            layer.kernel_size,
            layer.strides,
            layer.dilation_rate,
            layer.padding,
            layer.depth_multiplier,
        )?;
        let name = format!("{}/depthwise", self.scope);
        let between = self.graph.add_node(op, &[Some(x), Some(kernel), None], &name)?;
        let shape = vec![layer.filters, 1, 1, channels];
        let pointwise =
            self.weights("pointwise_kernel", layer.pointwise_initializer, shape, (channels, layer.filters))?;
        let bias = self.bias(layer.use_bias, layer.bias_initializer, layer.filters)?;
        let op = ops::Conv2d { activation: fused(layer.activation), ..ops::Conv2d::default() };
        self.then_activate(op, &[Some(between), Some(pointwise), bias], layer.activation)
    }

    /// The op, the filter and the output channels of a depthwise convolution.
    fn depthwise(
        &mut self,
        x: TensorId,
        (name, initializer): (&str, Initializer),
        kernel_size: Pair,
        strides: Pair,
        dilation_rate: Pair,
        border: Padding,
        multiplier: usize,
    ) -> Result<(ops::DepthwiseConv2d, TensorId, usize)> {
        let in_channels = self.rank_4(x)?;
        at_least_one(&[("depth_multiplier", multiplier)])?;
        window("kernel_size", kernel_size)?;
        window("strides", strides)?;
        window("dilation_rate", dilation_rate)?;
        let out_channels = elements(&[in_channels, multiplier])?;
        let taps = area(kernel_size)?;
        let shape = vec![1, kernel_size.height, kernel_size.width, out_channels];
        // Keras stores the filter as [height, width, in, multiplier] and counts its fans by the last two sizes.
        let fans = (taps.saturating_mul(in_channels), taps.saturating_mul(multiplier));
        let kernel = self.weights(name, initializer, shape, fans)?;
        let op = ops::DepthwiseConv2d {
            padding: padding(border),
            stride_height: strides.height,
            stride_width: strides.width,
            dilation_height: dilation_rate.height,
            dilation_width: dilation_rate.width,
            activation: Fused::None,
        };
        Ok((op, kernel, out_channels))
    }

    fn dense(&mut self, layer: &Dense, x: TensorId) -> Result<TensorId> {
        at_least_one(&[("units", layer.units)])?;
        let in_units = self.last_size(x)?;
        let shape = vec![layer.units, in_units];
        let kernel = self.weights("kernel", layer.kernel_initializer, shape, (in_units, layer.units))?;
        let bias = self.bias(layer.use_bias, layer.bias_initializer, layer.units)?;
        let op = ops::FullyConnected {
            activation: fused(layer.activation),
            keep_num_dims: self.graph.tensor(x).shape.len() > 2,
            ..ops::FullyConnected::default()
        };
        self.then_activate(op, &[Some(x), Some(kernel), bias], layer.activation)
    }

    fn reshape(&mut self, target: &[i32], x: TensorId) -> Result<TensorId> {
        let total = elements(&self.graph.tensor(x).shape)?;
        let wrong = || invalid(format!("{total} elements do not fit target_shape {target:?}"));
        // The batch takes the one -1 that RESHAPE allows, so what is left over is worked out here.
        let known = target.iter().filter(|&&size| size != -1).try_fold(1_usize, |product, &size| {
            usize::try_from(size).ok().filter(|&size| size > 0).and_then(|size| product.checked_mul(size))
        });
        let known = known.ok_or_else(wrong)?;
        let unknown = target.iter().filter(|&&size| size == -1).count();
        if unknown > 1 || total % known != 0 || (unknown == 0 && total != known) {
            return Err(wrong());
        }
        let rest = to_i32(total / known)?;
        let shape: Vec<_> =
            std::iter::once(-1).chain(target.iter().map(|&size| if size == -1 { rest } else { size })).collect();
        let name = self.scope.clone();
        add_reshape(&mut self.graph, x, &shape, &name)
    }

    /// Adds an op that holds what can be fused of `activation`, and the rest after it.
    fn then_activate(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<TensorId>],
        activation: ActivationFunction,
    ) -> Result<TensorId> {
        let name = self.scope.clone();
        if activation == ActivationFunction::Linear || fused(activation) != Fused::None {
            return self.graph.add_node(op, inputs, &name);
        }
        let before = self.graph.add_node(op, inputs, &format!("{name}/linear"))?;
        self.activate(activation, before, &name)
    }

    fn activate(&mut self, activation: ActivationFunction, x: TensorId, name: &str) -> Result<TensorId> {
        let op: Op = match activation {
            ActivationFunction::Linear => return Ok(x),
            ActivationFunction::Relu => ops::Relu.into(),
            ActivationFunction::Relu6 => ops::Relu6.into(),
            ActivationFunction::LeakyRelu => ops::LeakyRelu { alpha: 0.2 }.into(),
            ActivationFunction::HardSwish => ops::HardSwish.into(),
            ActivationFunction::Sigmoid => ops::Logistic.into(),
            ActivationFunction::Tanh => ops::Tanh.into(),
            ActivationFunction::Softmax => ops::Softmax::default().into(),
            ActivationFunction::Gelu => ops::Gelu { approximate: false }.into(),
            ActivationFunction::Elu => ops::Elu.into(),
        };
        self.graph.add_node(op, &[Some(x)], name)
    }

    fn node(&mut self, op: impl Into<Op>, inputs: &[Option<TensorId>]) -> Result<TensorId> {
        self.graph.add_node(op, inputs, &self.scope)
    }

    fn weights(
        &mut self,
        name: &str,
        initializer: Initializer,
        shape: Vec<usize>,
        (fan_in, fan_out): (usize, usize),
    ) -> Result<TensorId> {
        let name = format!("{}/{name}", self.scope);
        let count = elements(&shape)?;
        self.weights_left = self.weights_left.checked_sub(count).ok_or_else(|| {
            let message = format!("with the {count} weights of \"{name}\" the network has more than {WEIGHTS_MAX}");
            Error::limit("", message)
        })?;
        let values = initializer.values(self.seed, &name, count, fan_in, fan_out);
        Ok(self.graph.add_tensor(Tensor::constant(name, DType::F32, shape, Data::from_slice(&values))))
    }

    fn bias(&mut self, wanted: bool, initializer: Initializer, size: usize) -> Result<Option<TensorId>> {
        wanted.then(|| self.weights("bias", initializer, vec![size], (size, size))).transpose()
    }

    fn integers(&mut self, name: &str, values: &[i32]) -> TensorId {
        let name = format!("{}/{name}", self.scope);
        self.graph.add_tensor(Tensor::constant(name, DType::I32, [values.len()], Data::from_slice(values)))
    }

    /// Channels of an input that must be `[batch, height, width, channels]`.
    fn rank_4(&self, x: TensorId) -> Result<usize> {
        match self.graph.tensor(x).shape[..] {
            [_, _, _, channels] => Ok(channels),
            ref other => Err(invalid(format!(
                "its input has shape {:?} after the batch, expected [height, width, channels]",
                other.get(1..).unwrap_or_default()
            ))),
        }
    }

    fn last_size(&self, x: TensorId) -> Result<usize> {
        self.graph.tensor(x).shape.last().copied().ok_or_else(|| invalid("its input is a scalar"))
    }
}

fn add_reshape(graph: &mut Graph, x: TensorId, shape: &[i32], name: &str) -> Result<TensorId> {
    let constant = Tensor::constant(format!("{name}/shape"), DType::I32, [shape.len()], Data::from_slice(shape));
    let constant = graph.add_tensor(constant);
    graph.add_node(ops::Reshape { new_shape: Some(shape.to_vec()) }, &[Some(x), Some(constant)], name)
}

fn padding(padding: Padding) -> ops::Padding {
    match padding {
        Padding::Valid => ops::Padding::Valid,
        Padding::Same => ops::Padding::Same,
    }
}

/// What TensorFlow Lite's kernels apply inside an op. The schema has TANH too, but the kernels do not compute it.
fn fused(activation: ActivationFunction) -> Fused {
    match activation {
        ActivationFunction::Relu => Fused::Relu,
        ActivationFunction::Relu6 => Fused::Relu6,
        ActivationFunction::Linear
        | ActivationFunction::LeakyRelu
        | ActivationFunction::HardSwish
        | ActivationFunction::Sigmoid
        | ActivationFunction::Tanh
        | ActivationFunction::Softmax
        | ActivationFunction::Gelu
        | ActivationFunction::Elu => Fused::None,
    }
}

fn at_least_one(sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Err(invalid(format!("`{name}` must be given and at least 1"))),
        None => Ok(()),
    }
}

fn window(name: &str, size: Pair) -> Result<()> {
    if size.height == 0 || size.width == 0 {
        return Err(invalid(format!("`{name}` must be given and at least 1")));
    }
    Ok(())
}

fn area(size: Pair) -> Result<usize> {
    elements(&[size.height, size.width])
}

fn in_range(name: &str, value: f32, range: std::ops::Range<f32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("got {name} {value}, expected {} or more and less than {}", range.start, range.end)))
}

fn to_i32(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| Error::limit("", format!("size {size} is too large")))
}
