//! Fake quantization is flat almost everywhere; its gradients are those of what stands for it: rounding as the addition
//! of a constant (straight-through), cutting off as it is. They are compared with central differences of just that.

use super::*;

/// Rounding errors and cut-offs as at `values`, for other values and another scale: `s * (clamp(x / s) + c)`.
struct Surrogate {
    residuals: Vec<f64>,
    low: f64,
    high: f64,
}

impl Surrogate {
    fn at(values: &[f64], scale: f64, low: f64, high: f64) -> Self {
        let residual = |v: f64| if v > low && v < high { v.round_ties_even() - v } else { 0.0 };
        Self { residuals: values.iter().map(|x| residual(x / scale)).collect(), low, high }
    }

    fn of(&self, values: &[f64], scale: f64) -> Vec<f64> {
        let value = |(x, c): (&f64, &f64)| scale * ((x / scale).clamp(self.low, self.high) + c);
        values.iter().zip(&self.residuals).map(value).collect()
    }
}

fn difference(mut f: impl FnMut(f64) -> f64) -> f64 {
    (f(1e-6) - f(-1e-6)) / 2e-6
}

fn squared(values: &[f64], targets: &[f32]) -> f64 {
    let total: f64 = values.iter().zip(targets).map(|(y, &t)| (y - f64::from(t)).powi(2)).sum();
    total / values.len() as f64
}

fn close(what: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-6 + 1e-4 * expected.abs(), "{what}: got {got}, expected {expected}");
}

/// Gradients of variables and input of a graph of one input, the mean squared error to `targets`, one sample.
fn gradients(graph: &Graph, given: &[f64], targets: &[f32]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let pool = Pool::serial();
    let mut executor = Executor::<f64>::new(graph, Isa::Scalar, true).unwrap();
    let (trainable, mut moving) = executor.program.initial_variables().unwrap();
    executor.prepare(&pool, &trainable, &moving);
    let objective = Objective { loss: Loss::MeanSquaredError, ..Objective::default() };
    let batch = BatchView { given: &[given], samples: 1, targets: Targets::Dense(targets), taught: &[] };
    executor.train(&pool, &trainable, &mut moving, batch, &objective, Stream::new(4, "none")).unwrap();
    let mut gradient = vec![0.0; trainable.len()];
    executor.gradient(1, 0, &mut gradient);
    (gradient, executor.input_gradient(0, 1), moving)
}

fn constant(case: &mut Case, name: &str, values: &[f32]) -> Option<TensorId> {
    let tensor = Tensor::constant(name, DType::F32, [values.len()], Data::from_slice(values));
    Some(case.graph.add_tensor(tensor))
}

pub(super) fn check_activations() {
    // From far below the range to far above, and within it.
    let given: Vec<f64> = (0..40).map(|index| f64::from(index) * 0.1234 - 1.5).collect();
    let targets: Vec<f32> = (0..40).map(|index| (index % 7) as f32 * 0.5).collect();
    let (scale, zero_point) = litesmith_kernels::grid::int8_parameters(-0.5, 2.0);
    let (low, high) = (f64::from(-128 - zero_point), f64::from(127 - zero_point));
    for learned in [false, true] {
        let mut case = Case::new(1);
        let x = case.input(&[40]);
        let range = constant(&mut case, "range", &[-0.5, 2.0]);
        let step = if learned { constant(&mut case, "step", &[0.0]) } else { None };
        let op = ops::FakeQuantize { momentum: Some(0.75), ties: ops::Ties::Even };
        let y = case.node(op, &[x, range, step]);
        // Without a variable there would be nothing to learn.
        let one = constant(&mut case, "one", &[1.0]);
        let y = case.node(ops::Mul::default(), &[y, one]);
        case.graph.outputs = y.into_iter().collect();
        let (gradient, dx, moving) = gradients(&case.graph, &given, &targets);
        let scale = f64::from(scale);
        let surrogate = Surrogate::at(&given, scale, low, high);
        for index in 0..given.len() {
            let moved = |by: f64| {
                let mut given = given.clone();
                given[index] += by;
                squared(&surrogate.of(&given, scale), &targets)
            };
            close(&format!("input {index}"), dx[index], difference(moved));
        }
        assert!(dx.contains(&0.0) && dx.iter().any(|dx| *dx != 0.0), "some are cut off, some are not");
        if learned {
            let by_scale = difference(|by| squared(&surrogate.of(&given, scale + by), &targets));
            // Esser et al., section 2.2, and the step being the logarithm of the scale.
            close("step", gradient[0], by_scale / (40.0 * 127.0_f64).sqrt() / scale);
        }
        // The range goes a quarter of the way to that of the batch.
        close("smallest", moving[0], -0.5 * 0.75 + given[0] * 0.25);
        close("largest", moving[1], 2.0 * 0.75 + given[39] * 0.25);
    }
}

pub(super) fn check_weights() {
    let given = [0.7, -1.2, 0.4, 2.0];
    let targets = [0.5, -2.0, 1.0];
    let weights = [0.31_f32, -0.9, 0.17, 1.4, 0.05, -0.02, 0.6, -0.33, 2.0, -1.13, 0.52, 0.25];
    for (axis, scales, learned) in
        [(None, vec![2.0 / 7.0], false), (None, vec![0.15], true), (Some(0), vec![0.11, 0.07, 0.2], true)]
    {
        let mut case = Case::new(1);
        let x = case.input(&[4]);
        let w = Tensor::constant("w", DType::F32, [3, 4], Data::from_slice(&weights));
        let w = Some(case.graph.add_tensor(w));
        let logarithms: Vec<f32> = scales.iter().map(|scale: &f64| scale.ln() as f32).collect();
        let steps = if learned { constant(&mut case, "steps", &logarithms) } else { None };
        let op = ops::FakeQuantizeWeights { bits: 4, axis, operand: false };
        let quantized = case.node(op, &[w, None, None, None, steps]);
        let y = case.node(ops::FullyConnected::default(), &[x, quantized, None]);
        case.graph.outputs = y.into_iter().collect();
        let (gradient, _, _) = gradients(&case.graph, &given, &targets);
        let rows: Vec<Vec<f64>> = weights.chunks(4).map(|row| row.iter().map(|&w| f64::from(w)).collect()).collect();
        let scale_of = |row: usize| scales[if axis.is_some() { row } else { 0 }];
        // Nothing is cut off where the largest weight makes the scale.
        let limit = if learned { 7.0 } else { 8.0 };
        let surrogates: Vec<_> = (0..3).map(|row| Surrogate::at(&rows[row], scale_of(row), -limit, limit)).collect();
        let loss = |rows: &[Vec<f64>], scales: &[f64]| {
            let outputs: Vec<f64> = (0..3)
                .map(|row| {
                    let weights = surrogates[row].of(&rows[row], scales[if axis.is_some() { row } else { 0 }]);
                    weights.iter().zip(&given).map(|(w, x)| w * x).sum()
                })
                .collect();
            squared(&outputs, &targets)
        };
        for index in 0..12 {
            let moved = |by: f64| {
                let mut rows = rows.clone();
                rows[index / 4][index % 4] += by;
                loss(&rows, &scales)
            };
            close(&format!("{axis:?} weight {index}"), gradient[index], difference(moved));
        }
        for channel in (0..scales.len()).filter(|_| learned) {
            let moved = |by: f64| {
                let mut scales = scales.clone();
                scales[channel] += by;
                loss(&rows, &scales)
            };
            let elements = 12 / scales.len();
            let expected = difference(moved) / (elements as f64 * 7.0).sqrt() / scales[channel];
            close(&format!("{axis:?} step {channel}"), gradient[12 + channel], expected);
        }
    }
}
