//! Models that the tests write and read.

use litesmith_graph::ops::{
    Activation, Conv2d, DepthwiseConv2d, Dequantize, FullyConnected, MaxPool2d, Mean, Padding, Quantize, Reshape,
    Softmax,
};
use litesmith_graph::{
    ColorSpace, DType, Data, Graph, Metadata, Model, Normalization, Quantization, Tensor, TensorId, TensorMetadata,
};

/// Numbers that look like weights and are the same on every machine (xorshift).
pub(crate) struct Weights(u32);

impl Weights {
    pub(crate) fn new(seed: u32) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn floats(&mut self, count: usize) -> Data {
        let values: Vec<_> = (0..count).map(|_| (self.next() >> 8) as f32 / (1 << 24) as f32 - 0.5).collect();
        Data::from_slice(&values)
    }

    fn bytes(&mut self, count: usize) -> Data {
        let values: Vec<_> = (0..count).map(|_| (self.next() % 255) as u8 as i8).collect();
        Data::from_slice(&values)
    }
}

/// Sizes of a network of mnist-cnn's form.
pub(crate) struct Sizes {
    pub(crate) image: usize,
    pub(crate) filters: [usize; 2],
    pub(crate) units: usize,
    pub(crate) classes: usize,
}

/// The reference network of 421,642 parameters.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) const MNIST: Sizes = Sizes { image: 28, filters: [32, 64], units: 128, classes: 10 };
/// The same form, small enough to commit.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) const TINY: Sizes = Sizes { image: 8, filters: [2, 4], units: 6, classes: 3 };

fn conv() -> Conv2d {
    Conv2d { padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() }
}

fn pool() -> MaxPool2d {
    MaxPool2d {
        padding: Padding::Valid,
        stride_height: 2,
        stride_width: 2,
        filter_height: 2,
        filter_width: 2,
        activation: Activation::None,
    }
}

fn dense(activation: Activation) -> FullyConnected {
    FullyConnected { activation, ..FullyConnected::default() }
}

/// Conv, pool, conv, pool, flatten, dense, dense, softmax on float32, any batch.
pub(crate) fn float_cnn(sizes: &Sizes) -> Model {
    let mut weights = Weights::new(7);
    let mut graph = Graph::new("main");
    let image = graph.add_input(Tensor::new("image", DType::F32, [1, sizes.image, sizes.image, 1]));
    let mut constant = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let data = weights.floats(shape.iter().product());
        Some(graph.add_tensor(Tensor::constant(name, DType::F32, shape, data)))
    };
    let [first, second] = sizes.filters;
    let flat = (sizes.image / 4) * (sizes.image / 4) * second;
    let w = constant(&mut graph, "conv2d/kernel", &[first, 3, 3, 1]);
    let b = constant(&mut graph, "conv2d/bias", &[first]);
    let x = graph.add_node(conv(), &[Some(image), w, b], "conv2d").unwrap();
    let x = graph.add_node(pool(), &[Some(x)], "max_pooling2d").unwrap();
    let w = constant(&mut graph, "conv2d_1/kernel", &[second, 3, 3, first]);
    let b = constant(&mut graph, "conv2d_1/bias", &[second]);
    let x = graph.add_node(conv(), &[Some(x), w, b], "conv2d_1").unwrap();
    let x = graph.add_node(pool(), &[Some(x)], "max_pooling2d_1").unwrap();
    let shape = Data::from_slice(&[-1, i32::try_from(flat).unwrap()]);
    let shape = Some(graph.add_tensor(Tensor::constant("flatten/shape", DType::I32, [2], shape)));
    let x = graph.add_node(Reshape::default(), &[Some(x), shape], "flatten").unwrap();
    let w = constant(&mut graph, "dense/kernel", &[sizes.units, flat]);
    let b = constant(&mut graph, "dense/bias", &[sizes.units]);
    let x = graph.add_node(dense(Activation::Relu), &[Some(x), w, b], "dense").unwrap();
    let w = constant(&mut graph, "dense_1/kernel", &[sizes.classes, sizes.units]);
    let b = constant(&mut graph, "dense_1/bias", &[sizes.classes]);
    let x = graph.add_node(dense(Activation::None), &[Some(x), w, b], "dense_1").unwrap();
    let y = graph.add_node(Softmax::default(), &[Some(x)], "probabilities").unwrap();
    graph.outputs = vec![y];
    graph.make_batch_dynamic().unwrap();
    let mut model = Model::from_graph(graph);
    model.description = "A test model of Litesmith".into();
    model
}

/// The same network in int8 with uint8 input and output, with quantization parameters of a plausible size.
pub(crate) fn int8_cnn(sizes: &Sizes) -> Model {
    let mut weights = Weights::new(11);
    let mut float = float_cnn(sizes);
    let graph = &mut float.graphs[0];
    let mut next_scale = 0.001_f32;
    for index in 0..graph.tensors.len() {
        let tensor = &mut graph.tensors[index];
        if tensor.dtype != DType::F32 {
            continue;
        }
        if tensor.data.is_none() {
            tensor.dtype = DType::I8;
            let quantization = match tensor.name.as_str() {
                "image" => Quantization::per_tensor(1.0 / 255.0, -128),
                "probabilities" => Quantization::per_tensor(1.0 / 256.0, -128),
                _ => Quantization::per_tensor(0.05, -128),
            };
            tensor.quantization = Some(quantization);
            continue;
        }
        let count = tensor.elements().unwrap();
        let channels = tensor.shape[0];
        let scales = (0..channels)
            .map(|_| {
                next_scale += 1.0e-6;
                next_scale
            })
            .collect();
        tensor.quantization = Some(Quantization::per_channel(scales, 0));
        if tensor.name.ends_with("bias") {
            tensor.dtype = DType::I32;
            let values: Vec<_> = (0..count).map(|index| i32::try_from(index).unwrap() * 37 - 500).collect();
            tensor.data = Some(Data::from_slice(&values));
        } else {
            tensor.dtype = DType::I8;
            tensor.data = Some(weights.bytes(count));
        }
    }
    for index in 0..graph.nodes.len() {
        // A bias has the scale of its op's input times that of its weights, as LiteRT checks.
        let node = &graph.nodes[index];
        let [Some(input), Some(filter), Some(bias)] = node.inputs[..] else { continue };
        let (scale, _) = graph.tensor(input).quantization.as_ref().unwrap().as_per_tensor().unwrap();
        let scales = graph.tensor(filter).quantization.as_ref().unwrap().scales.iter().map(|w| scale * w).collect();
        graph.tensor_mut(bias).quantization = Some(Quantization::per_channel(scales, 0));
    }
    let u8_of = |graph: &Graph, id: TensorId, name: &str| {
        let tensor = graph.tensor(id);
        let (scale, zero_point) = tensor.quantization.as_ref().unwrap().as_per_tensor().unwrap();
        Tensor {
            name: name.into(),
            dtype: DType::U8,
            quantization: Some(Quantization::per_tensor(scale, zero_point + 128)),
            ..tensor.clone()
        }
    };
    let (input, output) = (graph.inputs[0], graph.outputs[0]);
    let outer = u8_of(graph, input, "image_u8");
    let outer = graph.add_tensor(outer);
    let quantize = litesmith_graph::Node { op: Quantize.into(), inputs: vec![Some(outer)], outputs: vec![input] };
    graph.nodes.insert(0, quantize);
    graph.inputs = vec![outer];
    let outer = u8_of(graph, output, "probabilities_u8");
    let outer = graph.add_tensor(outer);
    graph.nodes.push(litesmith_graph::Node { op: Quantize.into(), inputs: vec![Some(output)], outputs: vec![outer] });
    graph.outputs = vec![outer];
    let graph = float.graphs.remove(0);
    Model::from_graph(graph)
}

/// What the demo writes about its inputs and outputs.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) fn metadata(classes: usize) -> Metadata {
    Metadata {
        name: "tiny".into(),
        description: "Reads digits".into(),
        version: "1".into(),
        author: "Litesmith".into(),
        license: "MIT OR Apache-2.0".into(),
        inputs: vec![TensorMetadata {
            name: "image".into(),
            description: "A grey image".into(),
            normalization: Some(Normalization { mean: vec![0.0], std: vec![255.0] }),
            color_space: Some(ColorSpace::Grayscale),
            min: vec![0.0],
            max: vec![1.0],
            labels: Vec::new(),
        }],
        outputs: vec![TensorMetadata {
            name: "probabilities".into(),
            labels: (0..classes).map(|class| format!("class {class}")).collect(),
            min: vec![0.0],
            max: vec![1.0],
            ..TensorMetadata::default()
        }],
    }
}

/// Float16 weights that are dequantized, a depthwise convolution and a mean: float, fixed batch.
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
pub(crate) fn float16_depthwise() -> Model {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 6, 6, 2]));
    let half: Vec<u16> = (0..36).map(|index| 0x3000 + index * 16).collect();
    let w = graph.add_tensor(Tensor::constant("w", DType::F16, [1, 3, 3, 4], Data::from_slice(&half)));
    let w = graph.add_node(Dequantize, &[Some(w)], "w_f32").unwrap();
    let b = graph.add_tensor(Tensor::constant("b", DType::F32, [4], Data::from_slice(&[0.5_f32, -0.5, 0.25, 0.0])));
    let op = DepthwiseConv2d {
        padding: Padding::Same,
        stride_height: 2,
        stride_width: 2,
        activation: Activation::Relu6,
        ..DepthwiseConv2d::default()
    };
    let x = graph.add_node(op, &[Some(x), Some(w), Some(b)], "depthwise").unwrap();
    let axes = graph.add_tensor(Tensor::constant("axes", DType::I32, [2], Data::from_slice(&[1_i32, 2])));
    let y = graph.add_node(Mean::default(), &[Some(x), Some(axes)], "mean").unwrap();
    graph.outputs = vec![y];
    Model::from_graph(graph)
}
