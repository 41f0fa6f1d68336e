//! Memory for the tensors of a stage.

use litesmith_graph::{Result, TensorId};

use crate::SessionOptions;
use crate::kernel::Place;
use crate::planner::{Plan, PlanInput, Planned, Step, check_memory};

/// Gives each tensor a slot of the arena. Tensors whose lifetimes do not meet share one: greedy by order of execution, the
/// free slot that fits best. `next` is the first node of the next stage, if there is one.
pub(crate) fn place(
    input: &PlanInput<'_>,
    planned: Vec<Planned>,
    root: &[TensorId],
    next: Option<usize>,
    options: &SessionOptions,
) -> Result<Plan> {
    let graph = &*input.graph;
    let tensors = graph.tensors.len();
    let forever = planned.len();
    let mut last_use = vec![None; tensors];
    let mut computed = vec![false; tensors];
    let mut touch = |id: TensorId, step: usize| last_use[root[id.0].0] = last_use[root[id.0].0].max(Some(step));
    for (step, planned) in planned.iter().enumerate() {
        planned.inputs.iter().flatten().chain(&planned.outputs).for_each(|&id| touch(id, step));
        planned.outputs.iter().for_each(|id| computed[id.0] = true);
    }
    // Inputs keep their value between runs, outputs until the next, and so does what later stages read.
    if input.first {
        graph.inputs.iter().for_each(|&id| touch(id, forever));
    }
    let later =
        graph.nodes.iter().skip(next.unwrap_or(graph.nodes.len())).flat_map(|node| node.inputs.iter().flatten());
    for &id in graph.outputs.iter().chain(later) {
        // What earlier stages computed, they keep.
        if computed[root[id.0].0] || root[id.0] != id {
            touch(id, forever);
        }
    }
    let mut slot_bytes: Vec<usize> = Vec::new();
    let mut slot_of = vec![None; tensors];
    for state in input.states {
        slot_of[state.tensor.0] = Some(slot_bytes.len());
        slot_bytes.push(state.bytes);
    }
    let states = slot_bytes.len();
    let mut free: Vec<usize> = Vec::new();
    let mut assign = |id: TensorId, free: &mut Vec<usize>| -> Result<usize> {
        let bytes = graph.tensor(id).byte_size()?;
        // A slot that is large enough with least to spare; else the largest, to grow least.
        let best = (0..free.len()).min_by_key(|&at| {
            let size = slot_bytes[free[at]];
            if size >= bytes { (0, size - bytes) } else { (1, bytes - size) }
        });
        let slot = match best {
            Some(at) => free.swap_remove(at),
            None => {
                slot_bytes.push(0);
                slot_bytes.len() - 1
            }
        };
        slot_bytes[slot] = slot_bytes[slot].max(bytes);
        Ok(slot)
    };
    let mut is_input = vec![false; tensors];
    if input.first {
        graph.inputs.iter().for_each(|id| is_input[id.0] = true);
    }
    let mut given = Vec::new();
    for id in (0..tensors).map(TensorId) {
        let tensor = graph.tensor(id);
        let is_given = !input.first && last_use[id.0].is_some() && !computed[id.0];
        let is_value = tensor.data.is_none() && tensor.dtype.bits() != 0;
        if (is_input[id.0] || is_given) && is_value && root[id.0] == id && slot_of[id.0].is_none() {
            slot_of[id.0] = Some(assign(id, &mut Vec::new())?);
            if is_given {
                given.push(id);
            }
        }
    }
    let mut dying: Vec<Vec<usize>> = vec![Vec::new(); planned.len()];
    for (id, step) in last_use.iter().enumerate() {
        if let Some(ids) = step.and_then(|step| dying.get_mut(step)) {
            ids.push(id);
        }
    }
    // The input that each step writes its output over.
    let mut replaced = vec![None; planned.len()];
    for (step, (planned, mut dying)) in planned.iter().zip(dying).enumerate() {
        if let &[output] = planned.outputs.as_slice() {
            let bytes = graph.tensor(output).byte_size()?;
            replaced[step] = planned.kernel.overwrites.iter().copied().find(|&input| {
                let Some(Some(id)) = planned.inputs.get(input) else { return false };
                let id = root[id.0];
                let reads = planned.inputs.iter().flatten().filter(|other| root[other.0] == id).count();
                let is_own = slot_of[id.0].is_some_and(|slot| slot >= states)
                    && graph.tensor(id).byte_size().is_ok_and(|own| own == bytes);
                reads == 1 && is_own && dying.contains(&id.0) && id != root[output.0]
            });
            if let Some(id) = replaced[step].and_then(|input: usize| planned.inputs[input]) {
                let id = root[id.0];
                slot_of[output.0] = slot_of[id.0];
                dying.retain(|&other| other != id.0);
            }
        }
        for &id in &planned.outputs {
            if slot_of[id.0].is_none() {
                slot_of[id.0] = Some(assign(id, &mut free)?);
            }
        }
        free.extend(dying.into_iter().filter_map(|id| slot_of[id]).filter(|&slot| slot >= states));
    }
    let scratch_bytes = planned.iter().map(|planned| planned.kernel.scratch_bytes).max().unwrap_or(0);
    slot_bytes.push(scratch_bytes);
    check_memory(&slot_bytes, options)?;
    slot_bytes.pop();
    let place_of = |id: TensorId| -> Result<Place> {
        let tensor = graph.tensor(id);
        if let Some(data) = &tensor.data {
            return Ok(Place::Constant(data.clone()));
        }
        let root = root[id.0];
        match (&graph.tensor(root).data, slot_of[root.0]) {
            (Some(data), _) => Ok(Place::Constant(data.clone())),
            (None, Some(slot)) => Ok(Place::Slot { slot, bytes: tensor.byte_size()? }),
            (None, None) => Ok(Place::Nowhere),
        }
    };
    let places = (0..tensors).map(|id| place_of(TensorId(id))).collect::<Result<Vec<_>>>()?;
    let mut steps = Vec::with_capacity(planned.len());
    for (planned, replaced) in planned.into_iter().zip(replaced) {
        let inputs = planned.inputs.iter().enumerate();
        let changed = || planned.outputs.iter().chain(&planned.states);
        steps.push(Step {
            node: planned.node,
            inputs: inputs
                .map(|(index, id)| match id {
                    None => Place::Nowhere,
                    Some(_) if replaced == Some(index) => Place::Output,
                    Some(id) => places[id.0].clone(),
                })
                .collect(),
            output_slots: changed().filter_map(|id| slot_of[id.0]).collect(),
            output_bytes: changed().map(|&id| graph.tensor(id).byte_size()).collect::<Result<_>>()?,
            kernel: planned.kernel,
            computed: planned.computed,
        });
    }
    Ok(Plan {
        tensors: Vec::new(),
        outputs_max: steps.iter().map(|step| step.output_slots.len()).max().unwrap_or(0),
        steps,
        places,
        root: Vec::new(),
        slot_bytes,
        scratch_bytes,
        given,
        assumed: Vec::new(),
        fused: false,
        has_run: false,
        next: None,
        packed: Vec::new(),
    })
}
