//! Ops that only rearrange elements, and RESIZE_BILINEAR.

use litesmith_graph::ops::Activation;
use litesmith_graph::{DType, Data, Node, Op, Tensor, TensorId, ops};
use litesmith_kernels::Isa;

use super::Case;
use crate::executor::Executor;

/// Checks the op called `name`; `false` when it is none of these.
pub(super) fn check(name: &str) -> bool {
    let mut case = Case::new(5);
    let x = case.input(&[4, 6, 4]);
    let paddings = |case: &mut Case| -> Option<TensorId> {
        let pairs = Data::from_slice(&[0_i32, 0, 2, 1, 0, 3, 1, 0]);
        Some(case.graph.add_tensor(Tensor::constant("p", DType::I32, [4, 2], pairs)))
    };
    let (op, others): (Op, Vec<_>) = match name {
        "transpose" => (ops::Transpose.into(), vec![case.integers(&[0, 3, 1, 2])]),
        "slice" => (ops::Slice.into(), vec![case.integers(&[0, 1, 0, 2]), case.integers(&[-1, 2, 6, 1])]),
        "space_to_depth" => (ops::SpaceToDepth { block_size: 2 }.into(), vec![]),
        "depth_to_space" => (ops::DepthToSpace { block_size: 2 }.into(), vec![]),
        "tile" => (ops::Tile.into(), vec![case.integers(&[1, 2, 1, 3])]),
        "broadcast_to" => (ops::BroadcastTo.into(), vec![case.integers(&[1, 1, 4, 6, 4])]),
        "reverse_v2" => (ops::ReverseV2.into(), vec![case.integers(&[1, -1])]),
        "mirror_pad" => (ops::MirrorPad { symmetric: false }.into(), vec![paddings(&mut case)]),
        "resize_nearest_neighbor" => {
            let op = ops::ResizeNearestNeighbor { align_corners: false, half_pixel_centers: true };
            (op.into(), vec![case.integers(&[7, 3])])
        }
        "resize_bilinear" => {
            let op = ops::ResizeBilinear { align_corners: false, half_pixel_centers: true };
            (op.into(), vec![case.integers(&[7, 3])])
        }
        "gather" => (ops::Gather { axis: 2, batch_dims: 0 }.into(), vec![case.integers(&[5, 0, 5])]),
        "split" | "split_v" | "unpack" => {
            let axis = case.integers(&[2]);
            let (op, inputs): (Op, _) = match name {
                "split" => (ops::Split { num_splits: 2 }.into(), vec![axis, x]),
                "split_v" => (ops::SplitV.into(), vec![x, case.integers(&[4, -1]), axis]),
                _ => (ops::Unpack { num: 4, axis: 1 }.into(), vec![x]),
            };
            let shapes = op.infer_shapes(&case.graph.node_tensors(&inputs)).unwrap();
            let outputs: Vec<_> =
                shapes.into_iter().map(|shape| case.graph.add_tensor(Tensor::new("y", DType::F32, shape))).collect();
            case.graph.nodes.push(Node { op, inputs, outputs: outputs.clone() });
            // The parts in another order, so that each has a gradient of its own.
            let parts: Vec<_> = outputs.into_iter().rev().map(Some).collect();
            let joined = case.node(ops::Concatenation { axis: 2, activation: Activation::None }, &parts);
            let last = case.graph.tensor(joined.unwrap()).shape[2..].to_vec();
            let w = case.weights(&last);
            let y = case.node(ops::Mul::default(), &[joined, w]);
            case.check(y, 2);
            return true;
        }
        // These have none, or move elements between samples.
        "padv2"
        | "space_to_batch_nd"
        | "batch_to_space_nd"
        | "gather_nd"
        | "scatter_nd"
        | "sparse_to_dense"
        | "atan2"
        | "rfft2d"
        | "real"
        | "imag"
        | "complex_abs"
        | "embedding_lookup"
        | "one_hot"
        | "where"
        | "dynamic_update_slice"
        | "fill"
        | "zeros_like"
        | "range"
        | "rank"
        | "broadcast_args"
        | "bitcast" => {
            return true;
        }
        _ => return false,
    };
    let w = case.weights(&[4]);
    let x = case.node(ops::Mul::default(), &[x, w]);
    let y = case.node(op, &[vec![x], others].concat());
    if name == "broadcast_to" {
        // Its shape names the batch, which differs from shard to shard.
        case.graph.outputs = y.into_iter().collect();
        assert!(Executor::<f32>::new(&case.graph, Isa::Scalar, false).is_err());
    } else {
        case.check(y, 2);
    }
    true
}
