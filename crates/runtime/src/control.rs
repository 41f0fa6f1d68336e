//! Ops that run other subgraphs, and those that read and change variables.

use litesmith_graph::{DType, Data, Error, Result, Tensor};

use crate::env::{Env, Value};
use crate::kernel::Io;
use crate::runner::{Input, Runner, Watch};

/// A planned op of control flow.
pub(crate) enum Control {
    /// One of two subgraphs, by the truth of input 0; the rest of the inputs are theirs.
    If { then_runner: Runner, else_runner: Runner },
    /// As long as the condition holds for the values, the body makes the next of them.
    While { condition: Runner, body: Runner },
    /// The value of a variable.
    Read { variable: usize, shape: Vec<usize> },
    /// Input 1 becomes the value of a variable.
    Assign { variable: usize, shape: Vec<usize> },
}

impl Control {
    pub(crate) fn runners(&mut self) -> Vec<&mut Runner> {
        match self {
            Self::If { then_runner, else_runner } => vec![then_runner, else_runner],
            Self::While { condition, body } => vec![condition, body],
            Self::Read { .. } | Self::Assign { .. } => Vec::new(),
        }
    }

    /// The same to look at.
    pub(crate) fn callees(&self) -> Vec<&Runner> {
        match self {
            Self::If { then_runner, else_runner } => vec![then_runner, else_runner],
            Self::While { condition, body } => vec![condition, body],
            Self::Read { .. } | Self::Assign { .. } => Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, env: &mut Env<'_>, io: Io<'_>) -> Result<()> {
        match self {
            Self::If { then_runner, else_runner } => {
                let holds = io.inputs.get::<u8>(0).first().is_some_and(|&byte| byte != 0);
                let runner = if holds { then_runner } else { else_runner };
                runner.set_inputs(|index| io.inputs.get(index + 1));
                runner.run(env, &mut Watch::Nothing)?;
                for (index, (output, &bytes)) in io.outputs.iter_mut().zip(io.output_bytes).enumerate() {
                    copy(runner.output(index), &mut output.as_mut_slice::<u8>()[..bytes]);
                }
            }
            Self::While { condition, body } => {
                // The condition's inputs hold the values between iterations: those of the body may be its outputs, too, in
                // another order.
                condition.set_inputs(|index| io.inputs.get(index));
                loop {
                    condition.run(env, &mut Watch::Nothing)?;
                    if condition.output(0).first().is_none_or(|&byte| byte == 0) {
                        break;
                    }
                    env.count_iteration()?;
                    body.set_inputs(|index| condition.input(index));
                    body.run(env, &mut Watch::Nothing)?;
                    condition.set_inputs(|index| body.output(index));
                }
                for (index, (output, &bytes)) in io.outputs.iter_mut().zip(io.output_bytes).enumerate() {
                    copy(condition.input(index), &mut output.as_mut_slice::<u8>()[..bytes]);
                }
            }
            Self::Read { variable, shape } => {
                if let ([output, ..], [bytes, ..]) = (io.outputs, io.output_bytes) {
                    env.variables.read(*variable, shape, &mut output.as_mut_slice::<u8>()[..*bytes])?;
                }
            }
            Self::Assign { variable, shape } => env.variables.assign(*variable, shape, io.inputs.get(1)),
        }
        Ok(())
    }
}

/// Copies as many bytes as both have; planning made sure that those are all.
fn copy(from: &[u8], to: &mut [u8]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
}

/// The forms of tensors that a subgraph is given.
fn forms(values: &[(&Tensor, Option<usize>)]) -> Vec<Input> {
    let form = |(tensor, handle): &(&Tensor, Option<usize>)| Input {
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        handle: *handle,
    };
    values.iter().map(form).collect()
}

/// What planning an op of control flow came to.
pub(crate) enum PlannedCall {
    /// The shapes and variables of its outputs are known.
    Static { control: Box<Control>, shapes: Vec<Vec<usize>>, handles: Vec<Option<usize>> },
    /// The shapes of its outputs depend on values: it can only be run.
    Dynamic,
}

/// Plans IF for inputs of known shape. `chosen` is the condition where it is known.
pub(crate) fn plan_if(
    env: &mut Env<'_>,
    op: litesmith_graph::ops::If,
    condition: &Tensor,
    inputs: &[(&Tensor, Option<usize>)],
    outputs: &[&Tensor],
) -> Result<PlannedCall> {
    check_flag(condition)?;
    let inputs = forms(inputs);
    let chosen = condition.data.as_ref().map(|data| data.bytes().first().is_some_and(|&byte| byte != 0));
    // A branch that is never taken need not fit the values.
    let (first, second) = match chosen {
        Some(true) => (op.then_graph, op.then_graph),
        Some(false) => (op.else_graph, op.else_graph),
        None => (op.then_graph, op.else_graph),
    };
    let then_runner = Runner::new(env, first, Some(&inputs))?;
    let else_runner = Runner::new(env, second, Some(&inputs))?;
    check_outputs(env, first, outputs)?;
    check_outputs(env, second, outputs)?;
    let (Some(shapes), Some(others)) = (then_runner.output_shapes(), else_runner.output_shapes()) else {
        return Ok(PlannedCall::Dynamic);
    };
    if shapes != others {
        return Ok(PlannedCall::Dynamic);
    }
    let handles = then_runner.output_handles();
    if handles != else_runner.output_handles() {
        return Err(Error::unsupported("", "its branches give different variables"));
    }
    Ok(PlannedCall::Static { control: Box::new(Control::If { then_runner, else_runner }), shapes, handles })
}

/// Plans WHILE for inputs of known shape.
pub(crate) fn plan_while(
    env: &mut Env<'_>,
    op: litesmith_graph::ops::While,
    inputs: &[(&Tensor, Option<usize>)],
    outputs: &[&Tensor],
) -> Result<PlannedCall> {
    let inputs = forms(inputs);
    if outputs.len() != inputs.len() {
        return Err(Error::malformed("", format!("has {} inputs and {} outputs", inputs.len(), outputs.len())));
    }
    let condition = Runner::new(env, op.condition_graph, Some(&inputs))?;
    check_condition(env, op.condition_graph)?;
    let body = Runner::new(env, op.body_graph, Some(&inputs))?;
    check_outputs(env, op.body_graph, outputs)?;
    let handles: Vec<_> = inputs.iter().map(|input| input.handle).collect();
    if body.output_handles() != handles {
        return Err(Error::unsupported("", "its body exchanges variables"));
    }
    let (Some(shapes), Some(_)) = (body.output_shapes(), condition.output_shapes()) else {
        return Ok(PlannedCall::Dynamic);
    };
    if shapes.iter().ne(inputs.iter().map(|input| &input.shape)) {
        return Ok(PlannedCall::Dynamic);
    }
    Ok(PlannedCall::Static { control: Box::new(Control::While { condition, body }), shapes, handles })
}

/// Runs IF on known values; its outputs have whatever shape they have.
pub(crate) fn run_if(
    env: &mut Env<'_>,
    op: litesmith_graph::ops::If,
    condition: &Tensor,
    inputs: &[(&Tensor, Option<usize>)],
    outputs: &[&Tensor],
) -> Result<Vec<Value>> {
    check_flag(condition)?;
    let holds = condition.data.as_ref().is_some_and(|data| data.bytes().first().is_some_and(|&byte| byte != 0));
    let graph = if holds { op.then_graph } else { op.else_graph };
    let mut runner = Runner::new(env, graph, Some(&forms(inputs)))?;
    check_outputs(env, graph, outputs)?;
    runner.set_inputs(|index| bytes_of(inputs[index].0));
    runner.run(env, &mut Watch::Nothing)?;
    Ok(values(&runner, outputs.len()))
}

/// Runs WHILE on known values, planning anew whenever their shapes change.
pub(crate) fn run_while(
    env: &mut Env<'_>,
    op: litesmith_graph::ops::While,
    inputs: &[(&Tensor, Option<usize>)],
    outputs: &[&Tensor],
) -> Result<Vec<Value>> {
    let mut forms = forms(inputs);
    let mut current: Vec<_> = inputs
        .iter()
        .map(|(tensor, _)| Value {
            shape: tensor.shape.clone(),
            data: tensor.data.clone().unwrap_or_else(|| Data::from_bytes(&[])),
        })
        .collect();
    let mut condition = Runner::new(env, op.condition_graph, Some(&forms))?;
    check_condition(env, op.condition_graph)?;
    let mut body = Runner::new(env, op.body_graph, Some(&forms))?;
    check_outputs(env, op.body_graph, outputs)?;
    loop {
        condition.set_inputs(|index| current[index].data.bytes());
        condition.run(env, &mut Watch::Nothing)?;
        if condition.output(0).first().is_none_or(|&byte| byte == 0) {
            return Ok(current);
        }
        env.count_iteration()?;
        body.set_inputs(|index| current[index].data.bytes());
        body.run(env, &mut Watch::Nothing)?;
        let next = values(&body, outputs.len());
        if next.iter().map(|value| &value.shape).ne(current.iter().map(|value| &value.shape)) {
            for (form, value) in forms.iter_mut().zip(&next) {
                form.shape.clone_from(&value.shape);
            }
            drop((condition, body));
            condition = Runner::new(env, op.condition_graph, Some(&forms))?;
            body = Runner::new(env, op.body_graph, Some(&forms))?;
        }
        current = next;
    }
}

fn bytes_of(tensor: &Tensor) -> &[u8] {
    tensor.data.as_ref().map_or(&[], Data::bytes)
}

fn values(runner: &Runner, count: usize) -> Vec<Value> {
    let value = |index| Value { shape: runner.output_shape(index), data: Data::from_bytes(runner.output(index)) };
    (0..count).map(value).collect()
}

fn check_flag(tensor: &Tensor) -> Result<()> {
    if tensor.dtype == DType::Bool && tensor.elements()? == 1 {
        return Ok(());
    }
    Err(Error::malformed("", format!("the condition \"{}\" is {tensor}, expected one truth value", tensor.name)))
}

fn check_condition(env: &Env<'_>, graph: usize) -> Result<()> {
    let Some(subgraph) = env.subgraphs.get(graph) else { return Ok(()) };
    match subgraph.graph.outputs.as_slice() {
        [id] if subgraph.graph.tensor(*id).dtype == DType::Bool => Ok(()),
        _ => Err(Error::malformed("", format!("subgraph {graph} does not give one truth value"))),
    }
}

/// Checks that the outputs of a subgraph have the types of the node's.
fn check_outputs(env: &Env<'_>, graph: usize, outputs: &[&Tensor]) -> Result<()> {
    let Some(subgraph) = env.subgraphs.get(graph) else { return Ok(()) };
    let inner = subgraph.graph.outputs.iter().map(|&id| subgraph.graph.tensor(id).dtype);
    if inner.clone().eq(outputs.iter().map(|tensor| tensor.dtype)) {
        return Ok(());
    }
    let list = |types: Vec<DType>| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let outer = list(outputs.iter().map(|tensor| tensor.dtype).collect());
    Err(Error::malformed("", format!("subgraph {graph} gives ({}), expected ({outer})", list(inner.collect()))))
}
