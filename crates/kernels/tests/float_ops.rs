//! The remaining float ops: every gradient in f64 against central differences, f32 against f64 on every instruction set,
//! moves against their definitions, and the same bytes for any number of threads.

mod common;

use common::noise;
use litesmith_kernels::average_pool_2d::float::AveragePool2d;
use litesmith_kernels::batch_norm::float::{self as batch_norm, Moments};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::elementwise::Unary;
use litesmith_kernels::movement::{Concatenation, Pad};
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::reduce::{Reduce, Reduction};
use litesmith_kernels::{Activation, Context, Isa, Pool, softmax};

const UNARY: [Unary; 13] = [
    Unary::Relu,
    Unary::Relu6,
    Unary::ReluN1To1,
    Unary::LeakyRelu { alpha: 0.2 },
    Unary::HardSwish,
    Unary::Logistic,
    Unary::Tanh,
    Unary::Gelu { approximate: false },
    Unary::Gelu { approximate: true },
    Unary::Elu,
    Unary::Exp,
    Unary::Sqrt,
    Unary::Rsqrt,
];
const BINARY: [Binary; 7] =
    [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Maximum, Binary::Minimum, Binary::SquaredDifference];

fn doubles(seed: u32, len: usize) -> Vec<f64> {
    noise(seed, len).into_iter().map(f64::from).collect()
}

/// `gradient` must be the derivative of `sum(dy * f(x))` by each element of x.
fn assert_gradient(what: &str, x: &[f64], dy: &[f64], f: impl Fn(&[f64]) -> Vec<f64>, gradient: &[f64]) {
    assert_eq!(x.len(), gradient.len());
    let step = 1e-6;
    for (i, &got) in gradient.iter().enumerate() {
        let mut moved = x.to_vec();
        moved[i] = x[i] + step;
        let above = f(&moved);
        moved[i] = x[i] - step;
        // Differences first: results that do not depend on this element then add no rounding.
        let differences = above.iter().zip(f(&moved)).map(|(above, below)| above - below);
        let want = differences.zip(dy).map(|(difference, dy)| difference * dy).sum::<f64>() / (2.0 * step);
        assert!((got - want).abs() <= 1e-7 * (1.0 + want.abs()), "{what}, element {i}: {got}, expected {want}");
    }
}

#[test]
fn unary_gradients_are_derivatives() {
    let pool = Pool::serial();
    let ctx = Context { pool: &pool, isa: Isa::detect() };
    let dy = doubles(2, 40);
    for op in UNARY {
        let positive = matches!(op, Unary::Sqrt | Unary::Rsqrt);
        // Through the corners of every clamp and of HARD_SWISH.
        let x: Vec<f64> = doubles(1, 40).iter().map(|x| if positive { x.abs() + 0.1 } else { x * 8.0 }).collect();
        let forward = |x: &[f64]| {
            let mut y = vec![0.0; x.len()];
            op.forward(ctx, x, &mut y);
            y
        };
        let mut dx = vec![f64::NAN; x.len()];
        op.backward(ctx, &x, &forward(&x), &dy, &mut dx);
        assert_gradient(&format!("{op:?}"), &x, &dy, forward, &dx);
    }
    for activation in [Activation::Relu, Activation::Relu6, Activation::ReluN1To1, Activation::Tanh, Activation::None] {
        let x: Vec<f64> = doubles(1, 40).iter().map(|x| x * 8.0).collect();
        let forward = |x: &[f64]| {
            let mut y = x.to_vec();
            activation.apply_in_place(ctx, &mut y);
            y
        };
        let (y, mut dx, mut in_place) = (forward(&x), vec![f64::NAN; x.len()], dy.clone());
        activation.backward(ctx, &y, &dy, &mut dx);
        activation.backward_in_place(ctx, &y, &mut in_place);
        assert_eq!(dx, in_place);
        assert_gradient(&format!("{activation:?}"), &x, &dy, forward, &dx);
    }
}

#[test]
fn unary_f32_is_near_f64_and_one_result_for_all_isas_and_threads() {
    let x: Vec<f32> = noise(3, 40_001).iter().map(|x| x * 12.0).collect();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    for op in UNARY {
        let mut want = vec![0.0; x.len()];
        op.forward(Context { pool: &pools[0], isa: Isa::Scalar }, &wide, &mut want);
        let mut first = None;
        for isa in Isa::available() {
            for pool in &pools {
                let mut y = vec![0.0f32; x.len()];
                op.forward(Context { pool, isa }, &x, &mut y);
                let bits: Vec<u32> = y.iter().map(|y| if y.is_nan() { u32::MAX } else { y.to_bits() }).collect();
                assert!(first.get_or_insert(bits.clone()) == &bits, "{op:?} on {isa}, {} threads", pool.threads());
            }
        }
        for ((&x, &want), bits) in wide.iter().zip(&want).zip(first.unwrap()) {
            let got = f64::from(f32::from_bits(bits));
            // What litesmith_runtime::exactness promises of them.
            let steps = if matches!(op, Unary::Gelu { .. }) { 8.0 } else { 4.0 };
            let bound = steps * (f64::from(f32::EPSILON) * want.abs() + f64::from(f32::MIN_POSITIVE));
            assert!(
                want.is_nan() && got.is_nan() || (got - want).abs() <= bound,
                "{op:?}({x}): {got}, expected {want}"
            );
        }
    }
}

#[test]
fn binary_ops_broadcast_and_their_gradients_are_derivatives() {
    let pools = [Pool::new(1), Pool::new(2)];
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[4], &[2, 3, 4]),
        (&[2, 3, 4], &[]),
        (&[2, 1, 4], &[3, 1]),
        (&[2, 3, 1, 5], &[1, 3, 4, 1]),
        (&[1], &[7]),
        (&[3, 1, 2], &[1, 5, 2]),
    ];
    for (a_shape, b_shape) in shapes {
        let plan = Broadcast::new(a_shape, b_shape).unwrap();
        let [a_len, b_len, y_len] = plan.lens();
        let a = doubles(1, a_len);
        let b: Vec<f64> = doubles(2, b_len).iter().map(|b| b + 1.5f64.copysign(*b)).collect();
        let dy = doubles(3, y_len);
        // The definition: index of an operand's element for a result's element.
        let rank = plan.shape().len();
        let element = |shape: &[usize], mut at: usize| {
            let (mut index, mut stride) = (0, 1);
            for axis in (0..rank).rev() {
                let position = at % plan.shape()[axis];
                at /= plan.shape()[axis];
                let own = (axis + shape.len()).checked_sub(rank).map_or(1, |own| shape[own]);
                index += if own == 1 { 0 } else { position * stride };
                stride *= own;
            }
            index
        };
        for op in BINARY {
            let what = format!("{op:?} {a_shape:?} {b_shape:?}");
            let mut results = Vec::new();
            for pool in &pools {
                let ctx = Context { pool, isa: Isa::detect() };
                let run = |a: &[f64], b: &[f64]| {
                    let mut y = vec![f64::NAN; y_len];
                    op.forward(ctx, &plan, Activation::None, a, b, &mut y);
                    y
                };
                let y = run(&a, &b);
                for (at, &y) in y.iter().enumerate() {
                    let (a, b) = (a[element(a_shape, at)], b[element(b_shape, at)]);
                    let want = match op {
                        Binary::Add => a + b,
                        Binary::Sub => a - b,
                        Binary::Mul => a * b,
                        Binary::Div => a / b,
                        Binary::Maximum => a.max(b),
                        Binary::Minimum => a.min(b),
                        Binary::SquaredDifference => (a - b) * (a - b),
                    };
                    assert_eq!(y, want, "{what}, element {at}");
                }
                let (mut da, mut db) = (vec![f64::NAN; a_len], vec![f64::NAN; b_len]);
                op.backward_a(ctx, &plan, &a, &b, &dy, &mut da);
                op.backward_b(ctx, &plan, &a, &b, &dy, &mut db);
                assert_gradient(&what, &a, &dy, |a| run(a, &b), &da);
                assert_gradient(&what, &b, &dy, |b| run(&a, b), &db);
                results.push((y, da, db));
            }
            assert_eq!(results[0], results[1]);
        }
    }
    assert!(Broadcast::new(&[2, 3], &[2]).is_err());
    let empty = Broadcast::new(&[0, 3], &[3]).unwrap();
    assert_eq!((empty.shape(), empty.lens()), (&[0, 3][..], [0, 3, 0]));
    let ctx = Context { pool: &pools[1], isa: Isa::detect() };
    Binary::Add.forward(ctx, &empty, Activation::Relu, &[], &[1.0, 2.0, 3.0], &mut []);
    let mut db = [f32::NAN; 3];
    Binary::Add.backward_b(ctx, &empty, &[], &[1.0, 2.0, 3.0], &[], &mut db);
    assert_eq!(db, [0.0; 3]);
}

#[test]
fn long_operands_split_over_threads_give_the_same_bytes() {
    for (a_shape, b_shape) in [(&[70_001][..], &[70_001][..]), (&[300, 257], &[257]), (&[70_001], &[1])] {
        let plan = Broadcast::new(a_shape, b_shape).unwrap();
        let [a_len, b_len, y_len] = plan.lens();
        let (a, b) = (noise(1, a_len), noise(2, b_len));
        let mut results = Vec::new();
        for threads in 1..4 {
            let pool = Pool::new(threads);
            let mut y = vec![f32::NAN; y_len];
            let ctx = Context { pool: &pool, isa: Isa::detect() };
            Binary::Mul.forward(ctx, &plan, Activation::Relu6, &a, &b, &mut y);
            results.push(y);
        }
        assert!(results.iter().all(|y| y == &results[0]));
        assert!(results[0].iter().all(|&y| (0.0..=6.0).contains(&y)));
    }
}

#[test]
fn an_operand_is_overwritten_with_what_another_tensor_would_get() {
    let pools = [Pool::serial(), Pool::new(2)];
    for len in [1, 7, 70_001] {
        let plan = Broadcast::new(&[len], &[len]).unwrap();
        let (a, b) = (noise(1, len), noise(2, len));
        for (pool, isa) in pools.iter().flat_map(|pool| Isa::available().map(move |isa| (pool, isa))) {
            let ctx = Context { pool, isa };
            for (op, activation) in BINARY.into_iter().filter(|op| op.overwrites()).flat_map(|op| {
                [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1, Activation::Tanh]
                    .map(|activation| (op, activation))
            }) {
                let mut want = vec![f32::NAN; len];
                op.forward(ctx, &plan, activation, &a, &b, &mut want);
                for (index, (own, other)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
                    let mut y = own.clone();
                    op.forward_over(ctx, activation, index, other, &mut y);
                    assert!(y == want, "{op:?} {activation:?} over operand {index} of {len} on {isa}");
                }
                op.forward_over::<f32>(ctx, activation, 0, &[], &mut []);
            }
        }
    }
}

#[test]
fn an_operand_is_overwritten_where_the_other_one_is_repeated() {
    for (pool, isa) in
        [Pool::serial(), Pool::new(3)].iter().flat_map(|pool| Isa::available().map(move |isa| (pool, isa)))
    {
        for (rows, width) in [(0, 3), (1, 1), (900, 1), (700, 7), (61, 240), (3, 600), (40, 2000)] {
            let ctx = Context { pool, isa };
            let (own, other) = (noise(1, rows * width), noise(2, width));
            let (wide, narrow) = ([rows, width], [width]);
            for op in BINARY.into_iter().filter(|op| op.overwrites()) {
                for (index, shapes) in [[&wide[..], &narrow], [&narrow, &wide]].into_iter().enumerate() {
                    let plan = Broadcast::new(shapes[0], shapes[1]).unwrap();
                    let mut operands = [&own, &other];
                    operands.rotate_left(index);
                    let (mut want, mut y) = (vec![f32::NAN; own.len()], own.clone());
                    op.forward(ctx, &plan, Activation::Relu6, operands[0], operands[1], &mut want);
                    op.forward_over(ctx, Activation::Relu6, index, &other, &mut y);
                    assert!(y == want, "{op:?} over operand {index} of {rows} x {width} on {isa}");
                }
            }
        }
    }
}

#[test]
fn reductions_follow_their_definition_and_their_gradients_are_derivatives() {
    let pool = Pool::serial();
    let shape = [2, 3, 4, 5];
    let x = doubles(1, 120);
    let axes: [&[usize]; 8] = [&[], &[0], &[3], &[1, 2], &[0, 2], &[1, 3], &[0, 1, 2, 3], &[2, 2]];
    for isa in Isa::available() {
        let ctx = Context { pool: &pool, isa };
        for axes in axes {
            let plan = Reduce::new(&shape, axes).unwrap();
            let [_, y_len] = plan.lens();
            for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min] {
                let run = |x: &[f64]| {
                    let mut y = vec![f64::NAN; y_len];
                    plan.forward(ctx, reduction, x, &mut y);
                    y
                };
                let y = run(&x);
                let mut groups = vec![Vec::new(); y_len];
                for (at, &x) in x.iter().enumerate() {
                    let position = [at / 60, at / 20 % 3, at / 5 % 4, at % 5];
                    let kept = (0..4).filter(|axis| !axes.contains(axis));
                    groups[kept.fold(0, |index, axis| index * shape[axis] + position[axis])].push(x);
                }
                for (group, &y) in groups.iter().zip(&y) {
                    let sum = group.iter().sum::<f64>();
                    let want = match reduction {
                        Reduction::Sum => sum,
                        Reduction::Mean => sum / group.len() as f64,
                        Reduction::Max => group.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        Reduction::Min => group.iter().copied().fold(f64::INFINITY, f64::min),
                    };
                    assert!((y - want).abs() < 1e-13, "{reduction:?} {axes:?}: {y}, expected {want}");
                }
                let (dy, mut dx) = (doubles(2, y_len), vec![f64::NAN; x.len()]);
                plan.backward(reduction, &x, &y, &dy, &mut dx);
                assert_gradient(&format!("{reduction:?} {axes:?}"), &x, &dy, run, &dx);
            }
        }
    }
    assert!(Reduce::new(&shape, &[4]).is_err());
    let mut first_only = [f32::NAN; 3];
    Reduce::new(&[3], &[0]).unwrap().backward(Reduction::Max, &[2.0, 2.0, 1.0], &[2.0], &[5.0], &mut first_only);
    assert_eq!(first_only, [5.0, 0.0, 0.0]);
}

#[test]
fn long_sums_are_shared_by_threads_and_are_the_same_for_any_number_of_them() {
    for (shape, shares) in
        [([1, 14, 14, 240], true), ([1, 7, 7, 576], true), ([1, 3, 3, 16], false), ([2, 14, 14, 240], false)]
    {
        let plan = Reduce::new(&shape, &[1, 2]).unwrap();
        let [x_len, y_len] = plan.lens();
        assert_eq!(plan.scratch_len() > 0, shares, "{shape:?}");
        let x: Vec<f32> = doubles(7, x_len).iter().map(|&x| x as f32).collect();
        let (image, pixels) = (x_len / shape[0], x_len / y_len);
        let want = |at: usize| {
            let column = x[at / shape[3] * image..][..image].iter().skip(at % shape[3]).step_by(shape[3]);
            column.fold([0.0, 0.0], |[sum, terms], &x| [sum + f64::from(x), terms + f64::from(x.abs())])
        };
        for isa in Isa::available() {
            let run = |threads, reduction| {
                let (mut y, mut scratch) = (vec![f32::NAN; y_len], vec![f32::NAN; plan.scratch_len()]);
                plan.forward_shared(Context { pool: &Pool::new(threads), isa }, reduction, &x, &mut y, &mut scratch);
                y
            };
            for (reduction, count) in [(Reduction::Sum, 1), (Reduction::Mean, pixels), (Reduction::Max, 0)] {
                let y = run(1, reduction);
                assert!((2..6).all(|threads| run(threads, reduction) == y), "{shape:?}, {reduction:?}");
                if count > 0 {
                    let bound = pixels as f64 * f64::from(f32::EPSILON);
                    for (at, &y) in y.iter().enumerate() {
                        let [sum, terms] = want(at);
                        let error = (f64::from(y) * count as f64 - sum).abs();
                        assert!(error <= bound * terms, "{shape:?}, {reduction:?}, {at}: {y}, off by {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn softmax_sums_to_one_and_its_gradient_is_the_derivative() {
    let pools = [Pool::new(1), Pool::new(3)];
    for (width, beta) in [(1, 1.0), (10, 1.0), (37, 0.5), (1000, -2.0)] {
        let x: Vec<f64> = doubles(1, 3 * width).iter().map(|x| 100.0 * x).collect();
        let small: Vec<f64> = x.iter().map(|x| x / 50.0).collect();
        let dy = doubles(2, x.len());
        let ctx = Context { pool: &pools[0], isa: Isa::detect() };
        let run = |x: &[f64]| {
            let mut y = vec![f64::NAN; x.len()];
            softmax::float::forward(ctx, width, beta, x, &mut y);
            y
        };
        if width < 100 {
            let mut dx = vec![f64::NAN; x.len()];
            softmax::float::backward(ctx, width, beta, &run(&small), &dy, &mut dx);
            assert_gradient("softmax", &small, &dy, run, &dx);
        }
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let want = run(&narrow.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        let mut first = None;
        for isa in Isa::available() {
            for pool in &pools {
                let mut y = vec![f32::NAN; x.len()];
                softmax::float::forward(Context { pool, isa }, width, beta, &narrow, &mut y);
                for (&y, &want) in y.iter().zip(&want) {
                    // What litesmith_runtime::exactness promises.
                    let steps = width as f64 / 2.0 + 8.0 - want.max(1e-300).ln();
                    let bound = steps * (f64::from(f32::EPSILON) * want + f64::from(f32::MIN_POSITIVE));
                    assert!((f64::from(y) - want).abs() <= bound, "{y}, expected {want}");
                }
                assert!(first.get_or_insert(y.clone()) == &y);
            }
        }
    }
}

#[test]
fn batch_norm_of_shards_is_that_of_the_whole_and_its_gradients_are_derivatives() {
    let (channels, rows, epsilon) = (5, 11, 1e-3);
    let pool = Pool::serial();
    for isa in Isa::available() {
        let ctx = Context { pool: &pool, isa };
        let x: Vec<f64> = doubles(1, rows * channels).iter().map(|x| x + 3.0).collect();
        let (gamma, beta, dy) = (doubles(2, channels), doubles(3, channels), doubles(4, rows * channels));
        let moments = |x: &[f64]| {
            let mut all = Moments::new(channels);
            for shard in x.chunks(4 * channels) {
                let mut part = Moments::new(channels);
                part.measure(isa, shard);
                all.combine(&part);
            }
            let mut inverse = vec![0.0; channels];
            all.inverse_deviation(epsilon, &mut inverse);
            (all, inverse)
        };
        let (all, inverse) = moments(&x);
        let mut whole = Moments::new(channels);
        whole.measure(isa, &x);
        assert_eq!(all.count, rows);
        for (a, b) in all.mean.iter().chain(&all.deviation).zip(whole.mean.iter().chain(&whole.deviation)) {
            assert!((a - b).abs() < 1e-13, "{a} of shards, {b} of the whole");
        }
        let run = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let (moments, inverse) = moments(x);
            let mut y = vec![f64::NAN; x.len()];
            batch_norm::forward(ctx, &moments.mean, &inverse, gamma, beta, x, &mut y);
            y
        };
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        for (x, dy) in x.chunks(4 * channels).zip(dy.chunks(4 * channels)) {
            batch_norm::backward_parameters(isa, &all.mean, &inverse, x, dy, &mut dgamma, &mut dbeta);
        }
        let mut dx = vec![f64::NAN; x.len()];
        batch_norm::backward_input(ctx, rows, &all.mean, &inverse, &gamma, &dgamma, &dbeta, &x, &dy, &mut dx);
        assert_gradient("x", &x, &dy, |x| run(x, &gamma, &beta), &dx);
        assert_gradient("gamma", &gamma, &dy, |gamma| run(&x, gamma, &beta), &dgamma);
        assert_gradient("beta", &beta, &dy, |beta| run(&x, &gamma, beta), &dbeta);
    }
}

#[test]
fn moves_put_each_element_where_it_belongs() {
    let x: Vec<u16> = (0..24).collect();
    let plan = Pad::new(&[2, 3, 4], &[(1, 0), (0, 2), (2, 1)]).unwrap();
    let [_, len] = plan.lens();
    assert_eq!(len, 3 * 5 * 7);
    let mut y = vec![0; len];
    plan.forward(&Pool::new(2), &x, 99, &mut y);
    for (at, &value) in y.iter().enumerate() {
        let inside = [at / 35, at / 7 % 5, at % 7].into_iter().zip([(1, 2), (0, 3), (2, 4)]);
        let own = inside.map(|(at, (before, size))| at.checked_sub(before).filter(|&at| at < size));
        let index = own.zip([2, 3, 4]).try_fold(0, |index, (at, size)| Some(index * size + at?));
        assert_eq!(value, index.map_or(99, |index| x[index]), "element {at}");
    }
    let mut back = vec![0; 24];
    plan.backward(&y, &mut back);
    assert_eq!(back, x);
    // Channels behind, before and on both sides of runs of any length, which move by whole vectors where they can.
    for (channels, before, after) in [(24, 0, 4), (3, 0, 1), (8, 8, 0), (5, 2, 9), (16, 0, 0), (130, 1, 3), (1, 0, 7)] {
        let x: Vec<f32> = noise(3, 6 * channels);
        let plan = Pad::new(&[2, 3, channels], &[(0, 0), (1, 0), (before, after)]).unwrap();
        let mut y = vec![f32::NAN; plan.lens()[1]];
        plan.forward(&Pool::serial(), &x, -0.5, &mut y);
        let mut want = Vec::new();
        for rows in x.chunks(3 * channels) {
            want.resize(want.len() + before + channels + after, -0.5);
            for pixel in rows.chunks(channels) {
                want.resize(want.len() + before, -0.5);
                want.extend_from_slice(pixel);
                want.resize(want.len() + after, -0.5);
            }
        }
        assert_eq!(y, want, "{before} and {after} beside {channels} channels");
    }
    assert!(Pad::new(&[2, 3], &[(0, 0)]).is_err());

    let shapes = [[2, 1, 2], [2, 3, 2], [2, 0, 2]];
    let plan = Concatenation::new(&shapes, 1).unwrap();
    let mut y = vec![0; plan.output_len()];
    plan.forward(0, &[1, 2, 3, 4], &mut y);
    plan.forward(1, &x[..12], &mut y);
    plan.forward(2, &[], &mut y);
    assert_eq!(y, [1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 6, 7, 8, 9, 10, 11]);
    let mut part = [0; 4];
    plan.backward(0, &y, &mut part);
    assert_eq!(part, [1, 2, 3, 4]);
    assert!(Concatenation::new(&[[2, 3], [3, 3]], 1).is_err());
}

#[test]
fn average_pool_gradient_is_the_derivative() {
    let height = Window { input: 5, output: 3, kernel: 3, stride: 2, dilation: 1, pad_before: 1 };
    let width = Window { input: 4, output: 4, kernel: 2, stride: 1, dilation: 1, pad_before: 0 };
    let plan = AveragePool2d::new(Pool2dGeometry { batch: 2, height, width, channels: 3 }, Isa::detect()).unwrap();
    let pool = Pool::serial();
    let (x, dy) = (doubles(1, 2 * 5 * 4 * 3), doubles(2, 2 * 3 * 4 * 3));
    let run = |x: &[f64]| {
        let mut y = vec![f64::NAN; dy.len()];
        plan.forward(&pool, Activation::None, x, &mut y);
        y
    };
    let mut dx = vec![f64::NAN; x.len()];
    plan.backward(&pool, &dy, &mut dx);
    assert_gradient("average pool", &x, &dy, run, &dx);
}
