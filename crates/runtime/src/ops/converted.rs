//! Nodes whose elements no kernel takes as they are, but another does when they are converted on the way in and out: float16 by
//! way of float32, rounded once for each op, and packed integers that are only moved by way of whole bytes.

use std::sync::{Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use litesmith_graph::{DType, Data, Graph, Node, Op, Result, Tensor, TensorId};
use litesmith_kernels::packed::Packed;
use litesmith_kernels::{Buffer, Context};

use super::NodeContext;
use crate::kernel::{Inputs, Io, Kernel, Place};
use crate::planner::check_memory;

/// What elements are converted from and to.
#[derive(Debug, Clone, Copy)]
enum Conversion {
    None,
    Half,
    Packed(Packed),
}

impl Conversion {
    /// How elements of `dtype` are converted for `op`, and what they become.
    fn of(op: &Op, dtype: DType) -> (Self, DType) {
        let packed = |bits, signed, to| match moves(op) {
            true => (Self::Packed(Packed { bits, signed }), to),
            false => (Self::None, dtype),
        };
        match dtype {
            DType::F16 => (Self::Half, DType::F32),
            DType::I4 => packed(4, true, DType::I8),
            DType::U4 => packed(4, false, DType::U8),
            DType::I2 => packed(2, true, DType::I8),
            _ => (Self::None, dtype),
        }
    }

    /// Fills `wide` from `narrow`.
    fn widen(self, narrow: &[u8], wide: &mut Buffer) {
        match self {
            Self::None => {
                let bytes = narrow.len().min(wide.len());
                wide.as_mut_slice::<u8>()[..bytes].copy_from_slice(&narrow[..bytes]);
            }
            Self::Half => {
                let (pairs, _) = narrow.as_chunks::<2>();
                let wide = wide.as_mut_slice::<f32>();
                wide.iter_mut().zip(pairs).for_each(|(wide, &pair)| *wide = f16::from_ne_bytes(pair).to_f32());
            }
            Self::Packed(packed) => {
                let held = narrow.len() * (8 / packed.bits as usize);
                let wide = wide.as_mut_slice::<u8>();
                wide.iter_mut().take(held).enumerate().for_each(|(at, wide)| *wide = packed.get(narrow, at) as u8);
            }
        }
    }

    /// Fills `narrow` from `wide`.
    fn narrow(self, wide: &Buffer, narrow: &mut [u8]) {
        match self {
            Self::None => narrow.copy_from_slice(&wide.as_slice::<u8>()[..narrow.len()]),
            Self::Half => {
                let (pairs, _) = narrow.as_chunks_mut::<2>();
                let wide = wide.as_slice::<f32>();
                pairs.iter_mut().zip(wide).for_each(|(pair, &wide)| *pair = f16::from_f32(wide).to_ne_bytes());
            }
            Self::Packed(packed) => packed.pack(wide.as_slice::<u8>().iter().map(|&wide| i32::from(wide)), narrow),
        }
    }
}

/// Whether the op only moves elements, whatever they stand for.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::BroadcastTo(_)
            | Op::Concatenation(_)
            | Op::DynamicUpdateSlice(_)
            | Op::Gather(_)
            | Op::GatherNd(_)
            | Op::Pack(_)
            | Op::ReverseV2(_)
            | Op::Slice(_)
            | Op::Split(_)
            | Op::SplitV(_)
            | Op::StridedSlice(_)
            | Op::Tile(_)
            | Op::Transpose(_)
            | Op::Unpack(_)
    )
}

/// The node on its own, with every tensor converted.
struct Converted {
    graph: Graph,
    node: Node,
    inputs: Vec<Conversion>,
    outputs: Vec<Conversion>,
}

impl Converted {
    /// `None` where nothing is to convert, or the node changes states.
    fn new(cx: &NodeContext<'_>) -> Result<Option<Self>> {
        let op = &cx.node.op;
        if op.has_effects() || !op.state_inputs().is_empty() {
            return Ok(None);
        }
        let mut graph = Graph::new("");
        let mut convert = |id: TensorId| -> Result<(TensorId, Conversion)> {
            let tensor = cx.graph.tensor(id);
            let (conversion, dtype) = Conversion::of(op, tensor.dtype);
            let mut converted = Tensor { dtype, data: None, ..tensor.clone() };
            converted.data = match (&tensor.data, conversion) {
                (Some(data), Conversion::None) => Some(data.clone()),
                (Some(data), Conversion::Half) => Some(Data::from_slice(&data.elements::<f16>()?.to_f32_vec())),
                (Some(data), _) => {
                    let mut wide = Buffer::new(tensor.elements()?);
                    conversion.widen(data.bytes(), &mut wide);
                    Some(Data::from_bytes(&wide.as_slice::<u8>()[..tensor.elements()?]))
                }
                (None, _) => None,
            };
            Ok((graph.add_tensor(converted), conversion))
        };
        let inputs = cx.node.inputs.iter().map(|id| id.map(&mut convert).transpose()).collect::<Result<Vec<_>>>()?;
        let outputs = cx.node.outputs.iter().map(|&id| convert(id)).collect::<Result<Vec<_>>>()?;
        let conversions = |(_, conversion): &(TensorId, Conversion)| *conversion;
        let node = Node {
            op: op.clone(),
            inputs: inputs.iter().map(|input| input.map(|(id, _)| id)).collect(),
            outputs: outputs.iter().map(|&(id, _)| id).collect(),
        };
        let inputs =
            inputs.iter().map(|input| input.as_ref().map_or(Conversion::None, conversions)).collect::<Vec<_>>();
        let outputs = outputs.iter().map(conversions).collect::<Vec<_>>();
        let converts = inputs.iter().chain(&outputs).any(|conversion| !matches!(conversion, Conversion::None));
        Ok(converts.then_some(Self { graph, node, inputs, outputs }))
    }
}

/// What a run works on.
struct Wide {
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

/// Plans the node with its elements converted; `None` where there is nothing to convert.
pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Option<Kernel>> {
    let Some(Converted { graph, node, inputs: widen, outputs: narrow }) = Converted::new(cx)? else { return Ok(None) };
    let inner = super::plan_native(&NodeContext { graph: &graph, node: &node, unfolded: None, ..*cx })?;
    let bytes = |id: TensorId| graph.tensor(id).byte_size();
    let computed = node.inputs.iter().flatten().filter(|&&id| graph.tensor(id).data.is_none());
    let sizes = computed.chain(&node.outputs).map(|&id| bytes(id)).collect::<Result<Vec<_>>>()?;
    check_memory(&sizes, cx.options)?;
    let mut places = Vec::with_capacity(node.inputs.len());
    let mut wide = Wide { inputs: Vec::new(), outputs: Vec::new() };
    for id in &node.inputs {
        let place = match id.map(|id| (id, &graph.tensor(id).data)) {
            None => Place::Nowhere,
            Some((_, Some(data))) => Place::Constant(data.clone()),
            Some((id, None)) => {
                wide.inputs.push(Buffer::new(bytes(id)?));
                Place::Slot { slot: wide.inputs.len() - 1, bytes: bytes(id)? }
            }
        };
        places.push(place);
    }
    let output_bytes = node.outputs.iter().map(|&id| bytes(id)).collect::<Result<Vec<_>>>()?;
    wide.outputs = output_bytes.iter().map(|&bytes| Buffer::new(bytes)).collect();
    let held = wide.inputs.iter().chain(&wide.outputs).map(Buffer::len).sum::<usize>() + inner.plan_bytes;
    let name = inner.name.replacen("/f32", "/f16", 1);
    let scratch = inner.scratch_bytes;
    let wide = Mutex::new(wide);
    let kernel = Kernel::new(name, move |context: Context<'_>, io: Io<'_>| {
        let mut wide = wide.lock().unwrap_or_else(PoisonError::into_inner);
        let Wide { inputs, outputs } = &mut *wide;
        for (index, (place, conversion)) in places.iter().zip(&widen).enumerate() {
            if let Place::Slot { slot, .. } = *place {
                conversion.widen(io.inputs.get(index), &mut inputs[slot]);
            }
        }
        let inside = Io {
            inputs: Inputs { places: &places, slots: inputs },
            outputs,
            output_bytes: &output_bytes,
            scratch: io.scratch,
            then: None,
        };
        inner.run_plain(context, inside)?;
        for (index, (conversion, wide)) in narrow.iter().zip(&*outputs).enumerate() {
            let bytes = io.output_bytes[index];
            conversion.narrow(wide, &mut io.outputs[index].as_mut_slice::<u8>()[..bytes]);
        }
        Ok(())
    });
    Ok(Some(kernel.with_scratch(scratch).with_tables(held)))
}
