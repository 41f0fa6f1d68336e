//! The f32 convolution on every instruction set of this CPU against the f64 reference.

mod common;

use common::{assert_close, noise, window};
use litesmith_kernels::conv_2d::Conv2dGeometry;
use litesmith_kernels::conv_2d::float::Conv2d;
use litesmith_kernels::{Activation, Isa, Pool};
use proptest::prelude::*;

/// Channel counts at the tiles' widths less one, exactly, and plus one.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..10, 15usize..18, 31usize..34, Just(49)]
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
        g in problem(),
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
        let scale = run::<f64>(&g, Isa::Scalar, 1, Activation::None, data, |v| f64::from(v).abs());
        let taps = g.height.kernel * g.width.kernel;
        let pixels = g.batch * g.height.output * g.width.output;
        for isa in Isa::available() {
            let got = run::<f32>(&g, isa, 1, activation, data, |v| v);
            assert_close(&got.y, &want.y, &scale.y, taps * g.in_channels / g.groups + 1);
            assert_close(&got.dx, &want.dx, &scale.dx, taps * g.out_channels / g.groups);
            assert_close(&got.dw, &want.dw, &scale.dw, pixels + 1);
            assert_close(&got.db, &want.db, &scale.db, pixels + 1);
            for threads in [2, 3] {
                let other = run::<f32>(&g, isa, threads, activation, data, |v| v);
                prop_assert!(got.y == other.y && got.dx == other.dx);
            }
        }
    }
}
