//! Custom ops: those that are built in, by name, and those that the user registered.

use litesmith_graph::ops::{Custom, Inputs};
use litesmith_graph::{Error, Graph, Node, Result};

mod convolution_2d_transpose_bias;
mod detection_postprocess;

use super::NodeContext;
use crate::SessionOptions;
use crate::custom::CustomNode;
use crate::kernel::{Io, Kernel};

/// A custom op that is built in.
struct Builtin {
    /// `custom_code` in files.
    name: &'static str,
    /// Shapes of the outputs.
    infer: fn(&Custom, &Inputs<'_>) -> Result<Vec<Vec<usize>>>,
    /// The kernel, once shapes are known.
    plan: fn(&NodeContext<'_>, &Custom) -> Result<Kernel>,
}

/// Every built-in custom op, one file each.
const BUILTIN: &[Builtin] = &[
    Builtin {
        name: "Convolution2DTransposeBias",
        infer: convolution_2d_transpose_bias::infer,
        plan: convolution_2d_transpose_bias::plan,
    },
    Builtin {
        name: "TFLite_Detection_PostProcess",
        infer: detection_postprocess::infer,
        plan: detection_postprocess::plan,
    },
];

/// Whether the custom op `name` needs no registration.
#[must_use]
pub fn is_builtin_custom(name: &str) -> bool {
    builtin(name).is_some()
}

fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.name == name)
}

/// Shapes of the outputs of a custom op.
pub(crate) fn infer(graph: &Graph, node: &Node, op: &Custom, options: &SessionOptions) -> Result<Vec<Vec<usize>>> {
    if let Some(registered) = options.custom_ops.get(&op.name) {
        return registered.infer_shapes(&CustomNode::new(graph, node, op));
    }
    match builtin(&op.name) {
        Some(builtin) => (builtin.infer)(op, &Inputs::new(&node.op, graph.node_tensors(&node.inputs))),
        None => Err(unknown(op)),
    }
}

/// Plans a custom op whose shapes are known.
pub(super) fn plan(cx: &NodeContext<'_>, op: &Custom) -> Result<Kernel> {
    let Some(registered) = cx.options.custom_ops.get(&op.name) else {
        return builtin(&op.name).map_or_else(|| Err(unknown(op)), |builtin| (builtin.plan)(cx, op));
    };
    let kernel = registered.plan(&CustomNode::new(cx.graph, cx.node, op))?;
    Ok(Kernel::new(format!("custom/{}", op.name), move |_, io: Io<'_>| kernel(&mut io.into())))
}

fn unknown(op: &Custom) -> Error {
    let error = Error::unsupported("", format!("no kernel is registered for the custom op \"{}\"", op.name));
    match op.name.strip_prefix("Flex") {
        Some(name) => error.with_hint(format!(
            "it is TensorFlow's {name}: convert the model with TFLITE_BUILTINS only, without SELECT_TF_OPS"
        )),
        None => error.with_hint("register one with SessionOptions::custom_ops"),
    }
}
