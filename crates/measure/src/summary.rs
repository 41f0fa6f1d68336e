//! What a graph is made of, layer by layer.

use std::borrow::Cow;
use std::collections::BTreeSet;

use litesmith_graph::{DType, Graph, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::format::{bytes, count, plural, quantity};
use crate::{Align, TextTable};

/// What a graph is made of. Multiply-accumulates are those of one run at the stored batch size (1 in a file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Name of the graph.
    pub name: String,
    /// Inputs, as `x float32[-1,28,28,1]`.
    pub inputs: Vec<String>,
    /// Outputs, the same way.
    pub outputs: Vec<String>,
    /// Layers, in the order in which they run.
    pub layers: Vec<LayerSummary>,
    /// Elements of all weights and biases.
    pub parameters: u64,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Bytes of all constants, the shared ones counted once.
    pub weight_bytes: u64,
}

/// One node of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Name of the op, as `CONV_2D`.
    pub op: String,
    /// Name of its first output.
    pub name: String,
    /// Shape of its first output; -1 where it changes with the batch.
    pub output_shape: Vec<i64>,
    /// Element type of its first output.
    pub output_dtype: String,
    /// Element type of its weights (second input), where they are constant.
    pub weight_dtype: Option<String>,
    /// Elements of its weights and biases; 0 where an earlier layer already counted them.
    pub parameters: u64,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Share of the model's multiply-accumulates, 0 to 1.
    pub macs_share: f64,
    /// Bytes of its constants; 0 where an earlier layer already counted them.
    pub weight_bytes: u64,
}

impl ModelSummary {
    /// Summarises a graph; shapes that it leaves out are inferred.
    ///
    /// # Errors
    /// Those of [`Graph::check`].
    pub fn of(graph: &Graph) -> Result<Self> {
        graph.check()?;
        let mut graph = Cow::Borrowed(graph);
        if graph.nodes.iter().flat_map(|node| &node.outputs).any(|&id| graph.tensor(id).shape.is_empty()) {
            graph.to_mut().infer_missing_shapes();
        }
        let graph = graph.as_ref();
        let mut counted = BTreeSet::new();
        let mut layers = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate() {
            let output = node.outputs.first().map(|&id| graph.tensor(id));
            let (mut parameters, mut weight_bytes) = (0, 0);
            for &id in node.inputs.iter().flatten() {
                let tensor = graph.tensor(id);
                if tensor.data.is_some() && counted.insert(id) {
                    weight_bytes += tensor.byte_size().map_or(0, |bytes| bytes as u64);
                    parameters += if is_parameter(tensor) { tensor.elements()? as u64 } else { 0 };
                }
            }
            let weights = node.inputs.get(1).copied().flatten().map(|id| graph.tensor(id));
            layers.push(LayerSummary {
                op: node.op.name().into(),
                name: output.map_or_else(String::new, |tensor| tensor.name.clone()),
                output_shape: output.map_or_else(Vec::new, Tensor::shape_signature),
                output_dtype: output.map_or_else(String::new, |tensor| tensor.dtype.to_string()),
                weight_dtype: weights.filter(|t| is_parameter(t)).map(|tensor| tensor.dtype.to_string()),
                parameters,
                macs: graph.cost(index).macs,
                macs_share: 0.0,
                weight_bytes,
            });
        }
        let sum = |value: fn(&LayerSummary) -> u64| layers.iter().map(value).fold(0, u64::saturating_add);
        let (parameters, macs, weight_bytes) =
            (sum(|layer| layer.parameters), sum(|layer| layer.macs), sum(|layer| layer.weight_bytes));
        for layer in &mut layers {
            layer.macs_share = if macs == 0 { 0.0 } else { layer.macs as f64 / macs as f64 };
        }
        let named = |ids: &[litesmith_graph::TensorId]| {
            let tensors = ids.iter().map(|&id| graph.tensor(id));
            tensors.map(|tensor| format!("{} {tensor}", tensor.name)).collect()
        };
        Ok(Self {
            name: graph.name.clone(),
            inputs: named(&graph.inputs),
            outputs: named(&graph.outputs),
            layers,
            parameters,
            macs,
            weight_bytes,
        })
    }

    /// For terminals: inputs and outputs, a row for each layer, the totals.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = TextTable::new(&[
            ("#", Align::Right),
            ("op", Align::Left),
            ("name", Align::Left),
            ("output", Align::Left),
            ("parameters", Align::Right),
            ("MACs", Align::Right),
            ("share", Align::Right),
            ("weight bytes", Align::Right),
        ]);
        for (index, layer) in self.layers.iter().enumerate() {
            let some = |value: u64| if value == 0 { "-".into() } else { count(value) };
            let share = if layer.macs == 0 { "-".into() } else { format!("{:.1} %", layer.macs_share * 100.0) };
            table.row([
                index.to_string(),
                layer.op.clone(),
                layer.name.clone(),
                layer.output(),
                some(layer.parameters),
                some(layer.macs),
                share,
                some(layer.weight_bytes),
            ]);
        }
        let line = |title: &str, tensors: &[String]| {
            tensors
                .iter()
                .map(|tensor| format!("{title} {}\n", tensor.chars().map(crate::format::harmless).collect::<String>()))
                .collect::<String>()
        };
        format!(
            "{}{}\n{table}\n{}, {} ({}), {} MACs per run, {} ({}) of weights\n",
            line("input ", &self.inputs),
            line("output", &self.outputs),
            plural(self.layers.len() as u64, "layer"),
            plural(self.parameters, "parameter"),
            quantity(self.parameters),
            quantity(self.macs),
            plural(self.weight_bytes, "byte"),
            bytes(self.weight_bytes),
        )
    }
}

impl LayerSummary {
    /// Type and shape of the output, as `float32[-1,28,28,32]`.
    #[must_use]
    pub fn output(&self) -> String {
        let sizes: Vec<_> = self.output_shape.iter().map(ToString::to_string).collect();
        format!("{}[{}]", self.output_dtype, sizes.join(","))
    }
}

/// As [`Graph::parameters`] counts them: weights, not the shapes and axes that some ops take as constants.
fn is_parameter(tensor: &Tensor) -> bool {
    tensor.data.is_some()
        && (matches!(tensor.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) || tensor.quantization.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesmith_graph::Data;
    use litesmith_graph::ops::{Activation, Conv2d, FullyConnected, Padding, Reshape, Softmax};

    fn small() -> Graph {
        let mut graph = Graph::new("main");
        let floats = |n: usize| Data::from_slice(&vec![0.5_f32; n]);
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 4, 4, 1]));
        let w = graph.add_tensor(Tensor::constant("w", DType::F32, [2, 3, 3, 1], floats(18)));
        let b = graph.add_tensor(Tensor::constant("b", DType::F32, [2], floats(2)));
        let conv = Conv2d { padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() };
        let conv = graph.add_node(conv, &[Some(x), Some(w), Some(b)], "conv").unwrap();
        let shape = graph.add_tensor(Tensor::constant("s", DType::I32, [2], Data::from_slice(&[-1_i32, 32])));
        let flat = graph.add_node(Reshape::default(), &[Some(conv), Some(shape)], "flat").unwrap();
        let v = graph.add_tensor(Tensor::constant("v", DType::F32, [32, 32], floats(1024)));
        let y = graph.add_node(FullyConnected::default(), &[Some(flat), Some(v), None], "y").unwrap();
        let z = graph.add_node(FullyConnected::default(), &[Some(y), Some(v), None], "z").unwrap();
        let p = graph.add_node(Softmax { beta: 1.0 }, &[Some(z)], "p\u{1b}[2J").unwrap();
        graph.outputs = vec![p];
        graph.make_batch_dynamic().unwrap();
        graph
    }

    #[test]
    fn totals_agree_with_the_graph_and_shared_weights_count_once() {
        let graph = small();
        let summary = ModelSummary::of(&graph).unwrap();
        assert_eq!(summary.parameters, graph.parameters() as u64);
        assert_eq!(summary.macs, 4 * 4 * 2 * 9 + 2 * 1024);
        assert_eq!(summary.weight_bytes, 4 * (18 + 2 + 1024) + 8);
        let layer = |index: usize| &summary.layers[index];
        assert_eq!((layer(0).parameters, layer(2).parameters, layer(3).parameters), (20, 1024, 0));
        assert_eq!((layer(1).parameters, layer(1).weight_bytes), (0, 8));
        assert_eq!(layer(0).weight_dtype.as_deref(), Some("float32"));
        assert!((summary.layers.iter().map(|layer| layer.macs_share).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn text_is_a_table() {
        let expected = "\
input  x float32[-1,4,4,1]
output p\u{fffd}[2J float32[-1,32]

#  op               name   output             parameters   MACs   share  weight bytes
-  ---------------  -----  -----------------  ----------  -----  ------  ------------
0  CONV_2D          conv   float32[-1,4,4,2]          20    288  12.3 %            80
1  RESHAPE          flat   float32[-1,32]              -      -       -             8
2  FULLY_CONNECTED  y      float32[-1,32]          1,024  1,024  43.8 %         4,096
3  FULLY_CONNECTED  z      float32[-1,32]              -  1,024  43.8 %             -
4  SOFTMAX          p\u{fffd}[2J  float32[-1,32]              -      -       -             -

5 layers, 1,044 parameters (1.04 k), 2.34 k MACs per run, 4,184 bytes (4.18 kB) of weights
";
        assert_eq!(ModelSummary::of(&small()).unwrap().to_text(), expected);
    }

    #[test]
    fn an_empty_graph_has_no_layers() {
        let summary = ModelSummary::of(&Graph::new("main")).unwrap();
        assert_eq!((summary.layers.len(), summary.macs), (0, 0));
        assert!(summary.to_text().contains("0 layers"));
    }

    #[test]
    fn shapes_that_a_file_leaves_out_count() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../zoo/mnist/mnist-3.7kB-99.3.tflite");
        let bytes = std::fs::read(path).unwrap();
        let model = litesmith_tflite::read(&bytes, &litesmith_tflite::Limits::default()).unwrap().model;
        let summary = ModelSummary::of(model.main().unwrap()).unwrap();
        assert_eq!(summary.layers[0].output_shape, [1, 28, 28, 8]);
        // 28 x 28 pixels of eight channels, each of nine products.
        assert_eq!(summary.layers[0].macs, 28 * 28 * 8 * 9);
    }
}
