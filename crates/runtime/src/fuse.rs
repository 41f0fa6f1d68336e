//! Ops that are done along with others.
//!
//! An activation that is an op of its own is applied by the float kernel that computes its operand. Functions of one byte are composed
//! into a table, which the kernel that makes the bytes applies:
//! `x * logistic(x)` and `x * relu6(x + 3) / 6`, quantized op by op, are such functions of the bytes of `x`, and the table
//! of 256 results has the rounding of each op in it.

use litesmith_graph::TensorId;
use litesmith_kernels::byte_table::ByteTable;

use crate::kernel::{After, Kernel, Part};
use crate::planner::{PlanInput, Planned};
use crate::rows;

/// Characters of the names of ops that a kernel's name lists.
const NAMES_MAX: usize = 60;

/// What a tensor is of the bytes of another.
struct Function {
    of: TensorId,
    entries: [u8; 256],
    /// The ops that it stands for, joined by `+`.
    ops: String,
}

/// Readers of each tensor beside the steps: twice as many, so that no step is the only one.
fn outside_uses(input: &PlanInput<'_>, root: &[TensorId], next: Option<usize>) -> Vec<usize> {
    let graph = &*input.graph;
    let mut uses = vec![0_usize; graph.tensors.len()];
    let later =
        graph.nodes.iter().skip(next.unwrap_or(graph.nodes.len())).flat_map(|node| node.inputs.iter().flatten());
    graph.outputs.iter().chain(later).for_each(|id| uses[root[id.0].0] += 2);
    input.states.iter().for_each(|state| uses[state.tensor.0] += 2);
    uses
}

/// Adds the inputs of steps.
fn count(planned: &[Planned], root: &[TensorId], uses: &mut [usize]) {
    planned.iter().flat_map(|step| step.inputs.iter().flatten()).for_each(|id| uses[root[id.0].0] += 1);
}

/// Fuses what can be; says whether anything was. `root` gives the tensor whose memory a tensor shares; `next` is the first node of the next stage.
pub(crate) fn fuse(
    input: &PlanInput<'_>,
    planned: &mut Vec<Planned>,
    root: &[TensorId],
    next: Option<usize>,
    threads: usize,
) -> bool {
    let steps = planned.len();
    if planned.iter().any(|step| matches!(step.kernel.part, Part::Function(_) | Part::Pair(_))) {
        fuse_bytes(input, planned, root, next);
    }
    let has_rows = |step: &Planned| matches!(step.kernel.part, Part::Rows(_));
    if planned.iter().any(|step| step.kernel.activation.is_some() || has_rows(step)) {
        let mut uses = outside_uses(input, root, next);
        count(planned, root, &mut uses);
        fuse_activations(planned, root, &uses);
        rows::chain(input, planned, root, &uses, threads);
    }
    planned.len() != steps
}

/// Of each tensor whether it is a state, which may change between its readers.
fn states(input: &PlanInput<'_>) -> Vec<bool> {
    let mut is_state = vec![false; input.graph.tensors.len()];
    input.states.iter().for_each(|state| is_state[state.tensor.0] = true);
    is_state
}

/// Ops that are functions of a byte.
fn fuse_bytes(input: &PlanInput<'_>, planned: &mut Vec<Planned>, root: &[TensorId], next: Option<usize>) {
    let mut uses = outside_uses(input, root, next);
    compose(input, planned, root);
    count(planned, root, &mut uses);
    // What only composed steps read.
    let mut lives = vec![true; planned.len()];
    for (step, lives) in planned.iter().zip(&mut lives).rev() {
        let is_pure = matches!(step.kernel.part, Part::Function(_));
        if is_pure && step.outputs.iter().all(|id| uses[id.0] == 0) {
            step.inputs.iter().flatten().for_each(|id| uses[root[id.0].0] -= 1);
            *lives = false;
        }
    }
    let mut lives = lives.into_iter();
    planned.retain(|_| lives.next().unwrap_or(true));
    absorb(planned, root, &uses);
    combine(input, planned, root, &uses);
}

/// The ops in a kernel's name.
fn op_of(step: &Planned) -> &str {
    step.kernel.name.split('/').next().unwrap_or_default()
}

/// Makes every step that is a function of one tensor's bytes a look-up in that tensor.
fn compose(input: &PlanInput<'_>, planned: &mut [Planned], root: &[TensorId]) {
    let graph = &*input.graph;
    let identity: [u8; 256] = std::array::from_fn(|x| x as u8);
    let mut functions: Vec<Option<Function>> = std::iter::repeat_with(|| None).take(graph.tensors.len()).collect();
    let is_state = states(input);
    for step in planned {
        let &[output] = step.outputs.as_slice() else { continue };
        let known = |id: TensorId| functions[root[id.0].0].as_ref();
        let of = |id: TensorId| known(id).map_or((root[id.0], &identity, ""), |f| (f.of, &f.entries, f.ops.as_str()));
        let name = graph.nodes[step.node].op.snake_name();
        let joined = |before: &[&str]| {
            let mut ops: Vec<&str> = before.iter().copied().filter(|ops| !ops.is_empty()).collect();
            // Where a tensor is an operand again and again, names would double.
            if ops.iter().map(|ops| ops.len()).sum::<usize>() > NAMES_MAX {
                ops = vec![".."];
            }
            ops.push(name);
            ops.join("+")
        };
        let function = match (&step.kernel.part, step.inputs.as_slice()) {
            (Part::Function(table), &[Some(id)]) => {
                let (base, entries, ops) = of(id);
                let entries = std::array::from_fn(|x| table.entries()[usize::from(entries[x])]);
                Function { of: base, entries, ops: joined(&[ops]) }
            }
            (Part::Pair(op), &[Some(a), Some(b)]) => {
                let elements = |id: TensorId| graph.tensor(id).shape.iter().product::<usize>();
                let constant = |id: TensorId| match &graph.tensor(id).data {
                    Some(data) if elements(id) == 1 => data.bytes().first().copied(),
                    _ => None,
                };
                let whole = |id: TensorId| graph.tensor(id).data.is_none() && elements(id) == elements(output);
                match (constant(a), constant(b)) {
                    (None, Some(b)) if whole(a) => {
                        let (of, entries, ops) = of(a);
                        Function { of, entries: op.pairs(entries, &[b; 256]), ops: joined(&[ops]) }
                    }
                    (Some(a), None) if whole(b) => {
                        let (of, entries, ops) = of(b);
                        Function { of, entries: op.pairs(&[a; 256], entries), ops: joined(&[ops]) }
                    }
                    (None, None) if whole(a) && whole(b) && of(a).0 == of(b).0 => {
                        let ((of, a, a_ops), (_, b, b_ops)) = (of(a), of(b));
                        Function { of, entries: op.pairs(a, b), ops: joined(&[a_ops, b_ops]) }
                    }
                    _ => continue,
                }
            }
            _ => continue,
        };
        // What a state holds may change between its readers.
        if is_state[function.of.0] || graph.tensor(function.of).data.is_some() {
            continue;
        }
        let table = ByteTable::new(|x| function.entries[usize::from(x)]);
        step.kernel = Kernel::look_up(format!("{}/table", function.ops), table);
        step.inputs = vec![Some(function.of)];
        functions[output.0] = Some(function);
    }
}

/// Lets kernels apply the activation that is the only reader of what they make.
fn fuse_activations(planned: &mut Vec<Planned>, root: &[TensorId], uses: &[usize]) {
    let fuse = |producer: &mut Planned, step: &Planned| {
        let (Some(fused), Some(activation)) = (&producer.kernel.fused, step.kernel.activation) else { return false };
        let takes = fused.take(activation);
        if takes {
            producer.kernel.name = format!("{}+{}", producer.kernel.name, op_of(step));
        }
        takes
    };
    let is_producer = |step: &Planned| step.kernel.fused.is_some();
    merge(planned, root, uses, is_producer, |step| step.kernel.activation.is_some(), fuse);
}

/// Lets kernels apply the table that is the only reader of what they make.
fn absorb(planned: &mut Vec<Planned>, root: &[TensorId], uses: &[usize]) {
    let absorb = |producer: &mut Planned, step: &Planned| {
        let Part::Function(table) = &step.kernel.part else { return false };
        producer.kernel.then(op_of(step), After::Table(table.clone()));
        true
    };
    let is_producer = |step: &Planned| matches!(step.kernel.part, Part::Producer);
    merge(planned, root, uses, is_producer, |step| matches!(step.kernel.part, Part::Function(_)), absorb);
}

/// Lets kernels compute the op of two operands of which they make the one that comes last, if nothing else reads it: the sum at
/// the end of a residual block.
fn combine(input: &PlanInput<'_>, planned: &mut Vec<Planned>, root: &[TensorId], uses: &[usize]) {
    let graph = &*input.graph;
    let is_state = states(input);
    // The step that makes a tensor.
    let mut makers: Vec<Option<usize>> = vec![None; root.len()];
    let mut kept: Vec<Planned> = Vec::with_capacity(planned.len());
    for step in planned.drain(..) {
        let operands = match (&step.kernel.part, step.inputs.as_slice(), step.outputs.as_slice()) {
            (Part::Pair(op), &[Some(a), Some(b)], &[output]) => {
                let (ids, is_whole) =
                    ([root[a.0], root[b.0]], |id: &TensorId| graph.tensor(*id).shape == graph.tensor(output).shape);
                ([a, b].iter().all(is_whole) && !ids.contains(&output) && !ids.iter().any(|id| is_state[id.0]))
                    .then_some((*op, ids))
            }
            _ => None,
        };
        let merged = operands.and_then(|(op, ids)| {
            let index = usize::from(makers[ids[1].0] > makers[ids[0].0]);
            let (own, other) = (ids[index], ids[1 - index]);
            let maker = makers[own.0]?;
            let producer = &mut kept[maker];
            let makes = matches!(producer.kernel.part, Part::Producer) && producer.outputs == [own];
            if !makes || uses[own.0] != 1 || own == other {
                return None;
            }
            // Behind the bias, which may be left out.
            producer.inputs.resize(producer.inputs.len().max(3), None);
            producer.kernel.then(op_of(&step), After::Binary { op, index, input: producer.inputs.len() });
            producer.inputs.push(Some(other));
            Some(maker)
        });
        let at = merged.unwrap_or(kept.len());
        step.outputs.iter().for_each(|id| makers[root[id.0].0] = Some(at));
        match merged {
            Some(maker) => (kept[maker].outputs, kept[maker].computed) = (step.outputs, step.computed),
            None => kept.push(step),
        }
    }
    *planned = kept;
}

/// Leaves out steps whose work is done by the step that makes their operand, which nothing else reads: where `merge` does so.
fn merge(
    planned: &mut Vec<Planned>,
    root: &[TensorId],
    uses: &[usize],
    is_producer: impl Fn(&Planned) -> bool,
    is_reader: impl Fn(&Planned) -> bool,
    merge: impl Fn(&mut Planned, &Planned) -> bool,
) {
    let mut producers: Vec<Option<usize>> = vec![None; root.len()];
    let mut kept: Vec<Planned> = Vec::with_capacity(planned.len());
    for step in planned.drain(..) {
        let of = match step.inputs.as_slice() {
            &[Some(id)] if uses[root[id.0].0] == 1 && is_reader(&step) => producers[root[id.0].0],
            _ => None,
        };
        if let Some(producer) = of.and_then(|of| kept.get_mut(of))
            && merge(producer, &step)
        {
            (producer.outputs, producer.computed) = (step.outputs, step.computed);
            continue;
        }
        if let (&[output], true) = (step.outputs.as_slice(), step.states.is_empty() && is_producer(&step)) {
            producers[output.0] = Some(kept.len());
        }
        kept.push(step);
    }
    *planned = kept;
}
