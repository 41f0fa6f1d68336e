//! The f32 convolution on every instruction set of this CPU against the f64 reference.

mod common;

use common::{assert_close, noise, window};
use litesmith_kernels::conv_2d::float::Conv2d;
use litesmith_kernels::conv_2d::{Conv2dGeometry, Window};
use litesmith_kernels::{Activation, Isa, Pool};
use proptest::prelude::*;

/// Channel counts at the tiles' widths less one, exactly, and plus one.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..10, 15usize..18, 31usize..34, Just(49)]
}

/// 3x3 windows with stride 1, which Winograd serves.
fn winograd() -> impl Strategy<Value = Conv2dGeometry> {
    let window = (2usize..14, 0usize..3, 0usize..3).prop_filter_map("an output", |(input, pad_before, pad_after)| {
        let output = (input + pad_before + pad_after).checked_sub(2).filter(|&output| output >= 2)?;
        Some(Window { input, output, kernel: 3, stride: 1, dilation: 1, pad_before })
    });
    let channels = || prop_oneof![Just(16usize), 17usize..40, Just(65)];
    (0usize..3, window.clone(), window, channels(), channels()).prop_map(
        |(batch, height, width, in_channels, out_channels)| Conv2dGeometry {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            groups: 1,
        },
    )
}

fn problem() -> impl Strategy<Value = Conv2dGeometry> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2usize..4];
    (0usize..4, window(), window(), channels(), channels(), groups).prop_map(
        |(batch, height, width, in_channels, out_channels, groups)| Conv2dGeometry {
            batch,
            height,
            width,
            in_channels: in_channels * groups,
            out_channels: out_channels * groups,
            groups,
        },
    )
}

struct Results<T> {
    y: Vec<T>,
    dx: Vec<T>,
    dw: Vec<T>,
    db: Vec<T>,
}

fn run<T: litesmith_kernels::Real>(
    g: &Conv2dGeometry,
    isa: Isa,
    threads: usize,
    activation: Activation,
    [x, w, b, dy]: [&[f32]; 4],
    map: fn(f32) -> T,
) -> Results<T> {
    let to = |values: &[f32]| values.iter().map(|&v| map(v)).collect::<Vec<T>>();
    let (x, w, b, dy) = (to(x), to(w), to(b), to(dy));
    let plan = Conv2d::new(*g, isa).unwrap();
    let pool = Pool::new(threads);
    let garbage = |len| vec![T::from_f64(f64::NAN); len];
    let mut results = Results {
        y: garbage(g.output_len()),
        dx: garbage(g.input_len()),
        dw: vec![T::ONE; g.weights_len()],
        db: vec![T::ONE; g.out_channels],
    };
    let mut packed = Vec::new();
    plan.pack(&w, &mut packed);
    let mut scratch = garbage(plan.forward_scratch_len(threads));
    plan.forward(&pool, &packed, Some(&b), activation, &x, &mut results.y, &mut scratch);
    plan.pack_backward(&w, &mut packed);
    let mut scratch = garbage(plan.backward_input_scratch_len(threads));
    plan.backward_input(&pool, &packed, &dy, &mut results.dx, &mut scratch);
    let mut scratch = garbage(plan.backward_weights_scratch_len());
    plan.backward_weights(&x, &dy, &mut results.dw, &mut scratch);
    plan.backward_bias(&dy, &mut results.db);
    results
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_isa_agrees_with_the_reference(
        g in prop_oneof![2 => problem(), 1 => winograd()],
        activation in prop_oneof![
            Just(Activation::None), Just(Activation::Relu), Just(Activation::Relu6), Just(Activation::Tanh)
        ],
        seed in any::<u32>(),
    ) {
        let x = noise(seed, g.input_len());
        let w = noise(seed ^ 1, g.weights_len());
        let b = noise(seed ^ 2, g.out_channels);
        let dy = noise(seed ^ 3, g.output_len());
        let data = [x.as_slice(), &w, &b, &dy];
        let want = run::<f64>(&g, Isa::Scalar, 1, activation, data, f64::from);
        // The sum of the magnitudes of the terms, which bounds the rounding error.
        let mut scale = run::<f64>(&g, Isa::Scalar, 1, Activation::None, data, |v| f64::from(v).abs());
        let mut extra = 0;
        if Conv2d::new(g, Isa::Scalar).unwrap().name().contains("winograd") {
            // Data are at most 1, so by the absolute row sums of the transforms F(2x2, 3x3) adds at most 64 per channel, and
            // F(3x3, 2x2) 36 per tile, each through up to 12 more roundings.
            let tiles = g.batch * g.height.output.div_ceil(2) * g.width.output.div_ceil(2);
            scale.y.fill(64.0 * g.in_channels as f64 + 1.0);
            scale.dx.fill(64.0 * g.out_channels as f64);
            scale.dw.fill(36.0 * tiles as f64 + 1.0);
            extra = 12;
        }
        let taps = g.height.kernel * g.width.kernel;
        let pixels = g.batch * g.height.output * g.width.output;
        for isa in Isa::available() {
            let got = run::<f32>(&g, isa, 1, activation, data, |v| v);
            assert_close(&got.y, &want.y, &scale.y, taps * g.in_channels / g.groups + 1 + extra);
            assert_close(&got.dx, &want.dx, &scale.dx, taps * g.out_channels / g.groups + extra);
            assert_close(&got.dw, &want.dw, &scale.dw, pixels + 1 + extra);
            assert_close(&got.db, &want.db, &scale.db, pixels + 1);
            for threads in [2, 3] {
                let other = run::<f32>(&g, isa, threads, activation, data, |v| v);
                prop_assert!(got.y == other.y && got.dx == other.dx);
            }
        }
    }
}

/// Where all windows end before the image, the result is the bias.
#[test]
fn windows_may_see_padding_only() {
    let height = Window { input: 5, output: 5, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
    let width = Window { input: 1, output: 1, kernel: 2, stride: 3, dilation: 1, pad_before: 3 };
    let g = Conv2dGeometry { batch: 1, height, width, in_channels: 1, out_channels: 1, groups: 1 };
    for isa in Isa::available() {
        let got = run::<f32>(&g, isa, 1, Activation::None, [&[1.0; 5], &[2.0; 2], &[3.0], &[4.0; 5]], |v| v);
        assert_eq!(got.y, [3.0; 5]);
        assert_eq!(got.dx, [0.0; 5]);
    }
}

/// In practice Winograd's errors are near the direct sum's, far below the worst case: root mean squares are compared.
#[test]
fn winograd_errs_little_more_than_the_direct_sum() {
    let window = Window { input: 14, output: 14, kernel: 3, stride: 1, dilation: 1, pad_before: 1 };
    let g = Conv2dGeometry { batch: 2, height: window, width: window, in_channels: 32, out_channels: 64, groups: 1 };
    let x = noise(1, g.input_len());
    let w = noise(2, g.weights_len());
    let b = noise(3, g.out_channels);
    let dy = noise(4, g.output_len());
    let data = [x.as_slice(), &w, &b, &dy];
    let want = run::<f64>(&g, Isa::Scalar, 1, Activation::None, data, f64::from);
    let root_mean_square = |values: &mut dyn Iterator<Item = f64>| {
        let squares: Vec<f64> = values.map(|v| v * v).collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    };
    for isa in Isa::available() {
        let got = run::<f32>(&g, isa, 1, Activation::None, data, |v| v);
        for (got, want) in [(&got.y, &want.y), (&got.dx, &want.dx), (&got.dw, &want.dw)] {
            let error = root_mean_square(&mut got.iter().zip(want).map(|(&got, &want)| f64::from(got) - want));
            let size = root_mean_square(&mut want.iter().copied());
            assert!(error < 5e-7 * size, "{isa}: error {error:e} of values of size {size:e}");
        }
    }
}

/// Few pixels are split by channels where there are many weights, padded ones too; operands a multiple of 4 KiB apart by lower tiles.
/// The last two take more tiles at a time, as their filters are large.
#[test]
fn many_channels_have_one_result_for_any_number_of_threads() {
    let few = [(7, 33, 250, 1), (1, 64, 1000, 1), (5, 1024, 257, 1), (8, 40, 512, 1), (7, 72, 250, 3), (4, 48, 600, 5)];
    let cases = few.into_iter().chain([(14, 200, 176, 3), (21, 184, 200, 3)]);
    for (size, in_channels, out_channels, kernel) in cases {
        let window = Window { input: size, output: size, kernel, stride: 1, dilation: 1, pad_before: kernel / 2 };
        let g = Conv2dGeometry { batch: 1, height: window, width: window, in_channels, out_channels, groups: 1 };
        let (x, w, b) = (noise(1, g.input_len()), noise(2, g.weights_len()), noise(3, out_channels));
        let y_of = |isa, threads| {
            let (plan, pool) = (Conv2d::new(g, isa).unwrap(), Pool::new(threads));
            let (mut packed, mut y) = (Vec::new(), vec![f32::NAN; g.output_len()]);
            plan.pack(&w, &mut packed);
            let mut scratch = vec![f32::NAN; plan.forward_scratch_len(threads)];
            plan.forward(&pool, &packed, Some(&b), Activation::Relu, &x, &mut y, &mut scratch);
            y
        };
        for isa in Isa::available() {
            let one = y_of(isa, 1);
            // The last pixel sees the first taps of each axis.
            let (at, channel, seen) = (size - 1, out_channels - 1, kernel / 2 + 1);
            let taps = (0..seen).flat_map(|row| (0..seen).map(move |column| (row, column)));
            let terms = taps.flat_map(|(row, column)| {
                let pixel = (at - kernel / 2 + row) * size + at - kernel / 2 + column;
                let (x, w) =
                    (&x[pixel * in_channels..], &w[((channel * kernel + row) * kernel + column) * in_channels..]);
                x.iter().zip(w).take(in_channels).map(|(&x, &w)| f64::from(x) * f64::from(w))
            });
            let want = (terms.sum::<f64>() + f64::from(b[channel])).max(0.0);
            let got = f64::from(one[(at * size + at) * out_channels + channel]);
            assert!((got - want).abs() < 1e-6 * (in_channels * seen * seen) as f64, "{isa}: {got}, not {want}");
            for threads in [2, 3, 5] {
                assert!(y_of(isa, threads) == one, "{isa}, {threads} threads, {size}x{size}x{in_channels}");
            }
        }
    }
}
