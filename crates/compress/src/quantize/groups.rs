//! Which tensors share scale and zero point.
//!
//! Every activation tensor that an integer op reads or writes belongs to a group. A group starts as one tensor with its
//! calibrated range; ops that only move elements put their output into their input's group, and CONCATENATION takes
//! its inputs' groups into its output's where that costs no precision elsewhere. A group may be fixed: an op or the
//! caller prescribes its parameters, whatever was calibrated.

use std::collections::BTreeSet;

use litesmith_graph::ops::QuantizationRule as Rule;
use litesmith_graph::{DType, Error, Graph, Op, Result, TensorId};
use litesmith_kernels::grid::{int8_parameters, int16_scale};

use super::params;
use crate::{Form, Grid, Range, Ranges};

/// Scale and zero point.
pub(crate) type Parameters = (f32, i64);

#[derive(Debug, Clone, Default)]
struct Group {
    members: Vec<TensorId>,
    range: Option<Range>,
    fixed: Option<Parameters>,
}

/// The groups of a graph's activation tensors, for activations of one integer type.
pub(super) struct Groups<'a> {
    graph: &'a Graph,
    ranges: &'a Ranges,
    dtype: DType,
    group_of: Vec<Option<usize>>,
    groups: Vec<Group>,
    /// How many ops read the elements of each tensor.
    readers: Vec<usize>,
}

impl<'a> Groups<'a> {
    /// No groups yet.
    pub(super) fn new(graph: &'a Graph, ranges: &'a Ranges, dtype: DType) -> Self {
        let mut readers = vec![0; graph.tensors.len()];
        for node in graph.nodes.iter().filter(|node| node.op.quantization().rule != Rule::Shape) {
            let read: BTreeSet<_> = node.inputs.iter().flatten().collect();
            read.into_iter().for_each(|id| readers[id.0] += 1);
        }
        // The caller's side of the graph reads, too.
        graph.inputs.iter().chain(&graph.outputs).for_each(|id| readers[id.0] += 2);
        let group_of = vec![None; graph.tensors.len()];
        Self { graph, ranges, dtype, group_of, groups: Vec::new(), readers }
    }

    /// The group of `id`, begun if it has none.
    fn group(&mut self, id: TensorId) -> usize {
        *self.group_of[id.0].get_or_insert_with(|| {
            self.groups.push(Group {
                members: vec![id],
                range: self.ranges.get_for(id, Grid::of(self.dtype)),
                fixed: None,
            });
            self.groups.len() - 1
        })
    }

    /// Gives `id` a group if it has none.
    pub(super) fn add(&mut self, id: TensorId) {
        self.group(id);
    }

    /// Prescribes the parameters of the group of `id`.
    pub(super) fn fix(&mut self, id: TensorId, parameters: Parameters) {
        let group = self.group(id);
        self.groups[group].fixed = Some(parameters);
    }

    /// Puts the tensors of an integer node into groups. To be called in the order of the nodes.
    pub(super) fn add_node(&mut self, index: usize) -> Result<()> {
        let node = &self.graph.nodes[index];
        let Some(&output) = node.outputs.first() else { return Ok(()) };
        let floats: Vec<_> =
            node.inputs.iter().flatten().copied().filter(|&id| self.graph.tensor(id).dtype == DType::F32).collect();
        let (constants, activations): (Vec<_>, Vec<_>) =
            floats.into_iter().partition(|&id| self.graph.tensor(id).data.is_some());
        for &id in &activations {
            self.group(id);
        }
        match node.op.quantization().rule {
            Rule::SameScale => {
                let into = self.group(activations[0]);
                for &output in &node.outputs {
                    self.groups[into].members.push(output);
                    self.group_of[output.0] = Some(into);
                }
            }
            Rule::Join => self.join(output, &activations, &constants)?,
            Rule::Fixed { int8, int16 } => {
                self.fix(output, if self.dtype == DType::I8 { int8 } else { (int16, 0) });
            }
            Rule::Weights { .. } | Rule::Free => {
                let group = self.group(output);
                if let Op::HardSwish(_) = node.op {
                    self.widen_hard_swish(activations.first().copied(), group);
                }
            }
            Rule::Shape | Rule::Float | Rule::Converts | Rule::TrainingOnly => {}
        }
        Ok(())
    }

    fn join(&mut self, output: TensorId, activations: &[TensorId], constants: &[TensorId]) -> Result<()> {
        let mut constant_range: Option<Range> = None;
        for &id in constants {
            constant_range = union(constant_range, Range::of(params::finite_elements(self.graph.tensor(id))?));
        }
        let into = self.group(output);
        let groups: BTreeSet<_> = activations.iter().map(|&id| self.group(id)).collect();
        // All inputs agree on prescribed parameters that hold the constants as well: so does the output.
        let first = groups.first().and_then(|&group| self.groups[group].fixed);
        if let Some(fixed) = first
            && groups.iter().all(|&group| self.groups[group].fixed == Some(fixed))
            && constant_range.is_none_or(|range| self.expressible(fixed).covers(range))
        {
            groups.into_iter().for_each(|group| self.merge(group, into));
            return Ok(());
        }
        if !self.ranges.is_settled() {
            let ranges = groups.iter().map(|&group| {
                let group = &self.groups[group];
                group.range.or_else(|| group.fixed.map(|fixed| self.expressible(fixed)))
            });
            let range = ranges.fold(union(self.groups[into].range, constant_range), union);
            self.groups[into].range = range;
        }
        let range = self.groups[into].range;
        for group in groups {
            let Group { members, range: own, fixed } = &self.groups[group];
            // A wider range would cost the other readers of these tensors precision; then a QUANTIZE is put before.
            let as_wide = !self.ranges.is_settled()
                && own
                    .zip(range)
                    .is_some_and(|(own, range)| params::effective_range(own).covers(params::effective_range(range)));
            if fixed.is_none() && (as_wide || members.iter().all(|id| self.readers[id.0] == 1)) {
                self.merge(group, into);
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: usize, into: usize) {
        let Group { members, range, fixed } = std::mem::take(&mut self.groups[from]);
        members.iter().for_each(|id| self.group_of[id.0] = Some(into));
        let group = &mut self.groups[into];
        group.members.extend(members);
        group.range = union(group.range, range);
        group.fixed = group.fixed.or(fixed);
    }

    /// LiteRT's int8 HARD_SWISH needs `input scale < 128 * output scale`.
    fn widen_hard_swish(&mut self, input: Option<TensorId>, output: usize) {
        let span = |range: Range| {
            let Range { min, max } = params::effective_range(range);
            max - min
        };
        let Some(input) = input.and_then(|id| self.ranges.get_for(id, Grid::of(self.dtype))) else { return };
        let Some(range) = &mut self.groups[output].range else { return };
        let needed = span(input) / 120.0;
        if span(*range) < needed {
            range.max = range.min.min(0.0) + needed;
        }
    }

    /// What parameters can express.
    pub(super) fn expressible(&self, (scale, zero_point): Parameters) -> Range {
        let (low, high) = self.dtype.integer_range().unwrap_or((0, 0));
        #[expect(clippy::cast_precision_loss, reason = "integers of at most 17 bits")]
        let real = |step: i64| scale * (step - zero_point) as f32;
        Range::new(real(low), real(high))
    }

    /// The prescribed scales of a constant.
    pub(super) fn scales(&self, constant: TensorId) -> Option<&[f32]> {
        self.ranges.scales(constant)
    }

    /// The number of the group of `id`, once all nodes are in groups.
    pub(super) fn number(&self, id: TensorId) -> Option<usize> {
        self.group_of[id.0]
    }

    /// The parameters that are prescribed to the group of `id`, if they are.
    pub(super) fn fixed(&self, id: TensorId) -> Option<Parameters> {
        self.group_of[id.0].and_then(|group| self.groups[group].fixed)
    }

    /// The range that the group of `id` was given: calibrated, and widened by tensors that share it.
    pub(super) fn range(&self, id: TensorId) -> Option<Range> {
        self.group_of[id.0].and_then(|group| self.groups[group].range)
    }

    /// Scale and zero point of `id`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no range was calibrated.
    pub(super) fn parameters(&self, id: TensorId) -> Result<Parameters> {
        let group = self.group_of[id.0].map(|group| &self.groups[group]);
        if let Some(fixed) = group.and_then(|group| group.fixed) {
            return Ok(fixed);
        }
        let range = group.and_then(|group| group.range).ok_or_else(|| {
            Error::invalid(format!("tensor {} \"{}\"", id.0, self.graph.tensor(id).name), "it has no calibrated range")
                .with_hint("calibrate this same graph: ranges belong to its tensors")
        })?;
        if !(range.min.is_finite() && range.max.is_finite() && range.min <= range.max) {
            return Err(Error::invalid(
                format!("tensor {} \"{}\"", id.0, self.graph.tensor(id).name),
                format!("the range {} to {} is none", range.min, range.max),
            ));
        }
        Ok(parameters_of(range, self.dtype))
    }

    /// The integer form of `id`.
    ///
    /// # Errors
    /// Those of [`Groups::parameters`].
    pub(super) fn form(&self, id: TensorId) -> Result<Form> {
        let (scale, zero_point) = self.parameters(id)?;
        Ok(Form::integer(self.dtype, scale, zero_point))
    }
}

/// Parameters for a range: asymmetric in int8, symmetric in int16.
pub(crate) fn parameters_of(range: Range, dtype: DType) -> Parameters {
    match dtype {
        DType::I8 => {
            let (scale, zero_point) = int8_parameters(range.min, range.max);
            (scale, zero_point.into())
        }
        _ => (int16_scale(range.min, range.max), 0),
    }
}

fn union(a: Option<Range>, b: Option<Range>) -> Option<Range> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.union(b)),
        (a, b) => a.or(b),
    }
}
