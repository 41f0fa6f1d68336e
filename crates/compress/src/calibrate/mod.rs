//! Calibration: running a float graph on samples to learn the range of each activation tensor.

use std::collections::BTreeMap;

use litesmith_graph::{DType, Error, Graph, Op, Result, TensorId};

mod config;
mod histogram;
mod kl;
mod min_max;
mod moving_average;
mod mse;
mod percentile;
mod samples;
mod session;

pub use config::{CalibrationConfig, CalibratorKind};
pub use histogram::Histogram;
pub use kl::Kl;
pub use min_max::MinMax;
pub use moving_average::MovingAverage;
pub use mse::Mse;
pub use percentile::Percentile;
pub use samples::calibration_samples;

/// The integers that a range is to be divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grid {
    /// 256 steps from the lower end to the upper, as int8 activations have.
    Int8,
    /// 65,535 steps, as many below zero as above, as int16 activations have.
    Int16,
}

impl Grid {
    /// That of activations of type `dtype`.
    #[must_use]
    pub fn of(dtype: DType) -> Self {
        if dtype == DType::I16 { Self::Int16 } else { Self::Int8 }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::I8,
            Self::Int16 => DType::I16,
        }
    }

    /// How many integers there are.
    #[must_use]
    pub fn levels(self) -> usize {
        match self {
            Self::Int8 => 256,
            Self::Int16 => 65_535,
        }
    }

    /// The lowest and highest integer, less the zero point.
    #[expect(clippy::cast_precision_loss, reason = "a zero point of at most 16 bits")]
    fn steps(self, zero_point: i64) -> (f64, f64) {
        match self {
            Self::Int8 => ((-128 - zero_point) as f64, (127 - zero_point) as f64),
            Self::Int16 => (-32_767.0, 32_767.0),
        }
    }
}

/// The real values that a tensor takes, from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl Range {
    /// The range from `min` to `max`.
    #[must_use]
    pub fn new(min: f32, max: f32) -> Self {
        Self { min, max }
    }

    /// The range of `values`; `None` when there are none.
    #[must_use]
    pub fn of(values: &[f32]) -> Option<Self> {
        let (&first, rest) = values.split_first()?;
        Some(
            rest.iter()
                .fold(Self::new(first, first), |range, &value| Self::new(range.min.min(value), range.max.max(value))),
        )
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self::new(self.min.min(other.min), self.max.max(other.max))
    }

    /// Whether `other` lies inside.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.min <= other.min && self.max >= other.max
    }
}

/// Ranges of tensors, by tensor of the graph that was calibrated: those to quantize to int8, and those to quantize to int16,
/// which may be wider, as its steps are finer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranges {
    ranges: Vec<Option<[Range; 2]>>,
    scales: BTreeMap<TensorId, Vec<f32>>,
    settled: bool,
}

impl Ranges {
    /// The range of `tensor` for int8, when it is known.
    #[must_use]
    pub fn get(&self, tensor: TensorId) -> Option<Range> {
        self.get_for(tensor, Grid::Int8)
    }

    /// The range of `tensor` for `grid`, when it is known.
    #[must_use]
    pub fn get_for(&self, tensor: TensorId, grid: Grid) -> Option<Range> {
        self.ranges.get(tensor.0).copied().flatten().map(|ranges| ranges[grid as usize])
    }

    /// Sets the range of `tensor`, whatever it is quantized to.
    pub fn insert(&mut self, tensor: TensorId, range: Range) {
        self.insert_both(tensor, [range; 2]);
    }

    fn both(&self, tensor: TensorId) -> Option<[Range; 2]> {
        self.ranges.get(tensor.0).copied().flatten()
    }

    fn insert_both(&mut self, tensor: TensorId, ranges: [Range; 2]) {
        if self.ranges.len() <= tensor.0 {
            self.ranges.resize(tensor.0 + 1, None);
        }
        self.ranges[tensor.0] = Some(ranges);
    }

    /// The prescribed scales of a constant: one, or one for each channel.
    #[must_use]
    pub fn scales(&self, constant: TensorId) -> Option<&[f32]> {
        self.scales.get(&constant).map(Vec::as_slice)
    }

    /// Prescribes the scales of weights, as learned ones. Without, quantization chooses them.
    pub fn insert_scales(&mut self, constant: TensorId, scales: Vec<f32>) {
        self.scales.insert(constant, scales);
    }

    /// Whether tensors that are to share parameters have the same range already: then no range is widened to hold another, and
    /// which tensors share parameters does not depend on their ranges.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The same ranges, settled: see [`Ranges::is_settled`].
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.settled = true;
        self
    }

    /// Tensors with a known range, ascending, and their ranges for int8.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, Range)> + '_ {
        self.ranges.iter().enumerate().filter_map(|(index, ranges)| ranges.map(|ranges| (TensorId(index), ranges[0])))
    }
}

/// What can run a float graph and show every value in it.
pub trait FloatRunner {
    /// Runs the graph once. `inputs` are the elements of each graph input, in order: one sample, or a batch of them where
    /// the graph takes one. `observe` is called once with every float32 tensor of the run, graph inputs included.
    ///
    /// # Errors
    /// When the inputs do not fit the graph or the run fails.
    fn run(&mut self, inputs: &[&[f32]], observe: &mut dyn FnMut(TensorId, &[f32])) -> Result<()>;
}

/// Turns the values that one tensor takes, run by run, into the range that is quantized.
pub trait Calibrator {
    /// Takes in the values of one run; they are finite.
    fn observe(&mut self, values: &[f32]);

    /// The range to divide into the integers of `grid`; `None` when nothing was observed.
    fn range(&self, grid: Grid) -> Option<Range>;
}

/// Runs `graph` on `samples` and gives the range of each float32 tensor that is not constant. A sample is the elements
/// of each graph input, in order; each tensor gets a calibrator of its own from `new_calibrator`.
///
/// # Errors
/// [`Error::Invalid`] when there are no samples, when a sample has not as many inputs as the graph, or when a value is
/// not finite (naming the tensor and the sample); those of the samples and of the runner.
pub fn calibrate(
    graph: &Graph,
    runner: &mut dyn FloatRunner,
    samples: impl IntoIterator<Item = Result<Vec<Vec<f32>>>>,
    new_calibrator: &dyn Fn() -> Box<dyn Calibrator>,
) -> Result<Ranges> {
    let is_activation = |id: TensorId| {
        graph.tensors.get(id.0).is_some_and(|tensor| tensor.dtype == DType::F32 && tensor.data.is_none())
    };
    let mut calibrators: Vec<Option<Box<dyn Calibrator>>> = graph.tensors.iter().map(|_| None).collect();
    let mut count = 0_usize;
    for sample in samples {
        let sample = sample?;
        if sample.len() != graph.inputs.len() {
            return Err(Error::invalid(
                format!("calibration sample {count}"),
                format!("got {} inputs, the graph has {}", sample.len(), graph.inputs.len()),
            ));
        }
        let mut broken = None;
        let mut observe = |id: TensorId, values: &[f32]| {
            if !is_activation(id) || values.is_empty() {
                return;
            }
            match values.iter().find(|value| !value.is_finite()) {
                Some(&value) => broken = broken.or(Some((id, value))),
                None => calibrators[id.0].get_or_insert_with(new_calibrator).observe(values),
            }
        };
        let inputs: Vec<_> = sample.iter().map(Vec::as_slice).collect();
        runner.run(&inputs, &mut observe)?;
        if let Some((id, value)) = broken {
            return Err(Error::invalid(
                format!("calibration sample {count}"),
                format!("tensor {} \"{}\" holds {value}", id.0, graph.tensor(id).name),
            )
            .with_hint(
                "a model that computes infinities or NaN cannot be quantized; check its weights and the samples",
            ));
        }
        count += 1;
    }
    if count == 0 {
        return Err(Error::invalid("calibration", "got no samples, expected at least one")
            .with_hint("give a data set with at least one sample; 100 to 500 are usual"));
    }
    let mut ranges = Ranges::default();
    for (index, calibrator) in calibrators.iter().enumerate() {
        let range = |grid| calibrator.as_ref().and_then(|calibrator| calibrator.range(grid));
        if let (Some(int8), Some(int16)) = (range(Grid::Int8), range(Grid::Int16)) {
            ranges.insert_both(TensorId(index), [int8, int16]);
        }
    }
    // What only has another shape is not computed, and so not seen.
    for node in &graph.nodes {
        let (Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_)) = node.op else { continue };
        if let (Some(&Some(from)), &[to]) = (node.inputs.first(), node.outputs.as_slice())
            && let (Some(known), None) = (ranges.both(from), ranges.both(to))
        {
            ranges.insert_both(to, known);
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{Tensor, ops::Relu};

    use super::*;

    struct Negate(TensorId);

    impl FloatRunner for Negate {
        fn run(&mut self, inputs: &[&[f32]], observe: &mut dyn FnMut(TensorId, &[f32])) -> Result<()> {
            observe(TensorId(0), inputs[0]);
            let negated: Vec<_> = inputs[0].iter().map(|value| -value).collect();
            observe(self.0, &negated);
            Ok(())
        }
    }

    fn run(samples: Vec<Vec<Vec<f32>>>) -> (TensorId, TensorId, Result<Ranges>) {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [2]));
        let y = graph.add_node(Relu, &[Some(x)], "y").unwrap();
        let samples = samples.into_iter().map(Ok);
        (x, y, calibrate(&graph, &mut Negate(y), samples, &|| Box::new(MinMax::default())))
    }

    #[test]
    fn ranges_span_all_samples() {
        let (x, y, ranges) = run(vec![vec![vec![1.0, 2.0]], vec![vec![-4.0, 0.0]]]);
        let ranges = ranges.unwrap();
        assert_eq!(ranges.get(x), Some(Range::new(-4.0, 2.0)));
        assert_eq!(ranges.get(y), Some(Range::new(-2.0, 4.0)));
        assert_eq!(ranges.iter().count(), 2);
    }

    #[test]
    fn bad_samples_are_errors_that_say_which() {
        let message = |samples| run(samples).2.unwrap_err().to_string();
        assert!(message(vec![]).contains("no samples"));
        assert!(message(vec![vec![vec![1.0, 2.0]], vec![]]).contains("sample 1: got 0 inputs"));
        assert!(message(vec![vec![vec![1.0, f32::NAN]]]).contains("tensor 0 \"x\" holds NaN"));
    }
}
