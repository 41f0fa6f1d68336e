//! Differences of values, tensor by tensor, on the same input.

use std::collections::BTreeMap;

use litesmith_compress::{Computed, match_computed};
use litesmith_data::RawArray;
use litesmith_graph::{DType, Error, Model, Result, Tensor, TensorId};
use litesmith_runtime::{Session, SessionOptions};
use serde::Serialize;

use crate::inputs::{made_up_inputs, needs_array, open_session, real_values, write_input};
use crate::raw::feed;

/// A model and how to run it.
pub struct Side<'a> {
    /// What to call it.
    pub name: String,
    /// The model.
    pub model: &'a Model,
    /// The signature to run; the main graph when `None`.
    pub signature: Option<String>,
    /// Numerics, instruction set, threads.
    pub session: SessionOptions,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumericDiff {
    /// Matched tensors, in the order in which the first side computes them; inputs are not among them.
    pub tensors: Vec<TensorDiff>,
    /// Which of `tensors` is the first beyond the tolerance.
    pub first_diverging: Option<usize>,
    /// Whether every output is within the tolerance.
    pub outputs_agree: bool,
    /// Computed tensors of the first side without a counterpart.
    pub unmatched_a: usize,
    /// Computed tensors of the second side without a counterpart.
    pub unmatched_b: usize,
}

/// One tensor of both sides, as real numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDiff {
    /// Op that computes it on the first side.
    pub op: String,
    /// Its name on the first side.
    pub name: String,
    /// Its name on the second side, where it is another.
    pub other_name: Option<String>,
    /// Whether it is an output of the model.
    pub is_output: bool,
    /// Type and shape on the first side, as `int8[1,10]`.
    pub kind: String,
    /// Elements.
    pub elements: usize,
    /// How many elements differ.
    pub differing: usize,
    /// Largest difference.
    pub max_abs: f64,
    /// Mean difference.
    pub mean_abs: f64,
    /// Largest difference as a share of the range of the first side's values.
    pub max_of_range: f64,
    /// Signal to noise: 10 log10 of the first side's energy over the difference's; `None` when they are equal.
    pub sqnr_db: Option<f64>,
    /// Cosine of the angle between the two; 1 when they are equal.
    pub cosine: f64,
}

impl TensorDiff {
    /// Whether the largest difference is at most this share of the range.
    #[must_use]
    pub fn within(&self, tolerance: f64) -> bool {
        self.differing == 0 || self.max_of_range <= tolerance
    }
}

/// Runs both sides on the same input and compares every tensor that both compute: matched by name and, where names differ, by
/// order among those that an op of the same kind computes in the same shape.
///
/// `arrays` are for inputs, by name or in order; the others are made from `seed`. `tolerance` is a share of the range of a
/// tensor's values.
///
/// # Errors
/// Those of [`Session::new`] and [`Session::run`], with the side as place; [`Error::Invalid`] when the two have not as many
/// inputs and outputs or these are of other sizes.
pub fn compare_numerically(
    a: &Side<'_>,
    b: &Side<'_>,
    arrays: &[(Option<String>, RawArray)],
    seed: u64,
    tolerance: f64,
) -> Result<NumericDiff> {
    let session = |side: &Side<'_>| {
        open_session(side.model, side.signature.as_deref(), side.session.clone()).map_err(|error| error.at(&side.name))
    };
    let (mut one, mut other) = (session(a)?, session(b)?);
    let counts = |session: &Session| (session.input_count(), session.output_count());
    if counts(&one) != counts(&other) {
        let message = format!("{:?} inputs and outputs on one side, {:?} on the other", counts(&one), counts(&other));
        return Err(Error::invalid("models", message).with_hint(ONLY_STRUCTURE));
    }
    let give = |session: &mut Session, side: &Side<'_>| match arrays {
        [] => Ok(Vec::new()),
        arrays => feed(session, arrays).map_err(|error| error.at(&side.name)),
    };
    let (given, also) = (give(&mut one, a)?, give(&mut other, b)?);
    if given != also {
        let message = format!("the arrays are inputs {given:?} of one side and {also:?} of the other");
        return Err(Error::invalid("inputs", message));
    }
    let inputs = made_up_for_both((a, &one), (b, &other), &given, seed)?;
    let first = record(&mut one, &given, &inputs).map_err(|error| error.at(&a.name))?;
    let second = record(&mut other, &given, &inputs).map_err(|error| error.at(&b.name))?;
    let pairs = match_computed(&computed(&first), &computed(&second));
    let tensors: Vec<_> = pairs.iter().map(|&(i, j)| difference(&first[i], &second[j])).collect();
    // Not every output is among them: some are of other sizes, or computed by what is not watched, as the branches of an IF.
    let outputs_agree = (0..one.output_count())
        .map(|index| outputs_agree(&one, &other, index, tolerance))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .all(|agree| agree);
    let (unmatched_a, unmatched_b) = (first.len() - tensors.len(), second.len() - tensors.len());
    Ok(NumericDiff {
        first_diverging: tensors.iter().position(|tensor| !tensor.within(tolerance)),
        outputs_agree,
        unmatched_a,
        unmatched_b,
        tensors,
    })
}

const ONLY_STRUCTURE: &str = "--structure compares what the files hold, without running them";

/// Made-up inputs within what both sides can hold: the side whose model tells a range decides. Those that are `given` do not count.
fn made_up_for_both(
    a: (&Side<'_>, &Session),
    b: (&Side<'_>, &Session),
    given: &[usize],
    seed: u64,
) -> Result<Vec<Vec<f32>>> {
    let (one, other) = (made_up_inputs(a.1, a.0.model, seed)?, made_up_inputs(b.1, b.0.model, seed)?);
    let reach = |values: &[f32]| values.iter().fold(0.0_f32, |reach, value| reach.max(value.abs()));
    one.into_iter()
        .zip(other)
        .enumerate()
        .map(|(index, (one, other))| {
            if one.len() != other.len() && !given.contains(&index) {
                let shape = |session: &Session| session.input_tensor(index).map(|tensor| tensor.shape.clone());
                let (left, right) = (shape(a.1)?, shape(b.1)?);
                let message = format!("shape {left:?} in {}, {right:?} in {}", a.0.name, b.0.name);
                return Err(Error::invalid(format!("input {index}"), message)
                    .with_hint(format!("--input FILE.npy sets sizes that a model leaves open; {ONLY_STRUCTURE}")));
            }
            let is_quantized =
                |session: &Session| session.input_tensor(index).is_ok_and(|tensor| tensor.quantization.is_some());
            let takes_other = !is_quantized(a.1) && (is_quantized(b.1) || reach(&other) > reach(&one));
            Ok(if takes_other { other } else { one })
        })
        .collect()
}

/// Whether output `index` of both has as many elements, none further apart than `tolerance`.
fn outputs_agree(one: &Session, other: &Session, index: usize, tolerance: f64) -> Result<bool> {
    let value = |session: &Session| -> Result<Option<Value>> {
        let tensor = session.output_tensor(index)?;
        Ok(Value::of("output", tensor, session.output_bytes(index)?, Some(index)))
    };
    Ok(match (value(one)?, value(other)?) {
        (Some(one), Some(other)) => one.reals.len() == other.reals.len() && difference(&one, &other).within(tolerance),
        // What is no numbers.
        _ => one.output_bytes(index)? == other.output_bytes(index)?,
    })
}

/// A computed tensor.
struct Value {
    op: &'static str,
    name: String,
    shape: Vec<usize>,
    kind: String,
    /// Which output of the model it is.
    output: Option<usize>,
    reals: Vec<f32>,
    /// The elements of plain integers, more than the reals can tell apart.
    integers: Option<Vec<i64>>,
}

impl Value {
    fn of(op: &'static str, tensor: &Tensor, bytes: &[u8], output: Option<usize>) -> Option<Self> {
        let reals = real_values(tensor, bytes)?;
        let sizes: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
        let integers = match tensor.dtype {
            _ if tensor.quantization.is_some() => None,
            DType::I32 => Some(bytes.as_chunks().0.iter().map(|&word| i32::from_ne_bytes(word).into()).collect()),
            DType::U32 => Some(bytes.as_chunks().0.iter().map(|&word| u32::from_ne_bytes(word).into()).collect()),
            DType::I64 | DType::U64 => Some(bytes.as_chunks().0.iter().map(|&word| i64::from_ne_bytes(word)).collect()),
            _ => None,
        };
        Some(Self {
            op,
            name: tensor.name.clone(),
            kind: format!("{}[{}]", tensor.dtype, sizes.join(",")),
            shape: tensor.shape.clone(),
            output,
            reals,
            integers,
        })
    }
}

fn computed(values: &[Value]) -> Vec<Computed<'_>> {
    values
        .iter()
        .map(|value| Computed { op: value.op, name: &value.name, shape: &value.shape, output: value.output })
        .collect()
}

fn record(session: &mut Session, given: &[usize], inputs: &[Vec<f32>]) -> Result<Vec<Value>> {
    for (index, values) in inputs.iter().enumerate().filter(|(index, _)| !given.contains(index)) {
        write_input(session, index, values)?;
    }
    let graph = session.graph().clone();
    let ops: BTreeMap<TensorId, &'static str> =
        graph.nodes.iter().flat_map(|node| node.outputs.iter().map(|&id| (id, node.op.name()))).collect();
    let mut values = Vec::new();
    let ran = session.run_observed(&mut |id: TensorId, tensor: &Tensor, bytes: &[u8]| {
        let output = graph.outputs.iter().position(|&output| output == id);
        values.extend(ops.get(&id).and_then(|op| Value::of(op, tensor, bytes, output)));
    });
    ran.map_err(|error| needs_array(session, given, error))?;
    Ok(values)
}

fn difference(a: &Value, b: &Value) -> TensorDiff {
    let (mut differing, mut max_abs, mut sum) = (0, 0.0_f64, 0.0_f64);
    let (mut energy, mut other_energy, mut noise, mut dot) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    let integers = a.integers.as_ref().zip(b.integers.as_ref());
    for (index, (&one, &other)) in a.reals.iter().zip(&b.reals).enumerate() {
        let (x, y) = (f64::from(one), f64::from(other));
        let apart = match integers {
            Some((a, b)) => a[index].abs_diff(b[index]) as f64,
            // The same NaN or infinity on both sides is no difference.
            None if one.to_bits() == other.to_bits() => 0.0,
            None => (x - y).abs(),
        };
        let apart = if apart.is_nan() { f64::INFINITY } else { apart };
        differing += usize::from(apart > 0.0);
        max_abs = max_abs.max(apart);
        sum += apart;
        if x.is_finite() && y.is_finite() {
            energy += x * x;
            other_energy += y * y;
            noise += apart * apart;
            dot += x * y;
            least = least.min(x);
            most = most.max(x);
        }
    }
    let range = most - least;
    let max_of_range = match max_abs {
        0.0 => 0.0,
        _ if range > 0.0 => max_abs / range,
        // A constant tensor has no range; its size stands in.
        _ => max_abs / most.abs().max(f64::MIN_POSITIVE),
    };
    TensorDiff {
        op: a.op.into(),
        name: a.name.clone(),
        other_name: (a.name != b.name).then(|| b.name.clone()),
        is_output: a.output.is_some(),
        kind: a.kind.clone(),
        elements: a.reals.len(),
        differing,
        max_abs,
        mean_abs: sum / a.reals.len().max(1) as f64,
        max_of_range,
        sqnr_db: (differing > 0).then(|| if noise > 0.0 { 10.0 * (energy / noise).log10() } else { 0.0 }),
        cosine: if differing == 0 {
            1.0
        } else if energy > 0.0 && other_energy > 0.0 {
            dot / (energy.sqrt() * other_energy.sqrt())
        } else {
            0.0
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_told_apart_beyond_what_floats_can() {
        let tensor = Tensor::new("n", DType::I32, [2]);
        let value =
            |numbers: [i32; 2]| Value::of("ADD", &tensor, &numbers.map(i32::to_ne_bytes).concat(), Some(0)).unwrap();
        let found = difference(&value([16_777_216, 5]), &value([16_777_217, 5]));
        assert_eq!((found.differing, found.max_abs), (1, 1.0));
        assert_eq!(difference(&value([i32::MAX, 5]), &value([i32::MAX, 5])).differing, 0);
    }

    /// What the branches of an IF compute is not watched; their result is.
    #[test]
    fn outputs_of_other_sizes_are_not_the_same() {
        let side = |size: usize| {
            let mut graph = litesmith_graph::Graph::new("main");
            let x = graph.add_input(Tensor::new("x", DType::F32, [1]));
            let values = litesmith_graph::Data::from_slice(&vec![1.0_f32; size]);
            let y = graph.add_tensor(Tensor::constant("c", DType::F32, [size], values));
            let sum = litesmith_graph::ops::Add::default();
            graph.outputs = vec![graph.add_node(sum, &[Some(x), Some(y)], &format!("y{size}")).unwrap()];
            Model::from_graph(graph)
        };
        let compare = |a: &Model, b: &Model| {
            let side = |model| Side { name: "m".into(), model, signature: None, session: SessionOptions::default() };
            compare_numerically(&side(a), &side(b), &[], 1, 0.0).unwrap().outputs_agree
        };
        assert!(compare(&side(3), &side(3)) && !compare(&side(3), &side(4)));
    }

    fn value(op: &'static str, name: &str, reals: &[f32]) -> Value {
        Value {
            op,
            name: name.into(),
            kind: String::new(),
            shape: vec![reals.len()],
            output: None,
            reals: reals.to_vec(),
            integers: None,
        }
    }

    #[test]
    fn measures_of_a_known_difference() {
        let found = difference(&value("ADD", "a", &[3.0, 4.0, f32::NAN]), &value("ADD", "b", &[3.0, 3.0, f32::NAN]));
        assert_eq!((found.differing, found.max_abs, found.max_of_range), (1, 1.0, 1.0));
        assert!((found.sqnr_db.unwrap() - 10.0 * 25.0_f64.log10()).abs() < 1e-12);
        assert!((found.cosine - 21.0 / (5.0 * 18.0_f64.sqrt())).abs() < 1e-12);
        assert_eq!(found.other_name.as_deref(), Some("b"));
        assert!(found.within(1.0) && !found.within(0.5));
    }
}
