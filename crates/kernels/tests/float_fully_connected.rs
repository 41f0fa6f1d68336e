//! The f32 dense layer on every instruction set of this CPU against the f64 reference.

mod common;

use common::{assert_close, noise};
use litesmith_kernels::fully_connected::FullyConnectedGeometry;
use litesmith_kernels::fully_connected::float::FullyConnected;
use litesmith_kernels::{Activation, Isa, Pool, Real};
use proptest::prelude::*;

struct Results<T> {
    y: Vec<T>,
    dx: Vec<T>,
    dw: Vec<T>,
    db: Vec<T>,
}

fn run<T: Real>(
    g: FullyConnectedGeometry,
    isa: Isa,
    threads: usize,
    activation: Activation,
    [x, w, b, dy]: [&[f32]; 4],
    map: fn(f32) -> T,
) -> Results<T> {
    let to = |values: &[f32]| values.iter().map(|&v| map(v)).collect::<Vec<T>>();
    let (x, w, b, dy) = (to(x), to(w), to(b), to(dy));
    let plan = FullyConnected::new(g, isa).unwrap();
    let pool = Pool::new(threads);
    let garbage = |len| vec![T::from_f64(f64::NAN); len];
    let mut results =
        Results { y: garbage(dy.len()), dx: garbage(x.len()), dw: vec![T::ONE; w.len()], db: vec![T::ONE; b.len()] };
    let mut packed = garbage(7);
    plan.pack(&w, &mut packed);
    plan.forward(&pool, &packed, Some(&b), activation, &x, &mut results.y);
    plan.backward_input(&pool, &w, &dy, &mut results.dx);
    plan.backward_weights(&x, &dy, &mut results.dw);
    plan.backward_bias(&dy, &mut results.db);
    results
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_isa_agrees_with_the_reference(
        batch in 0usize..32,
        // Around the widths of panels and around the blocks of k.
        in_features in prop_oneof![1usize..40, 255usize..258, Just(700)],
        out_features in prop_oneof![1usize..40, 63usize..66, Just(300)],
        activation in prop_oneof![Just(Activation::None), Just(Activation::Relu), Just(Activation::ReluN1To1)],
        seed in any::<u32>(),
    ) {
        let g = FullyConnectedGeometry { batch, in_features, out_features };
        let x = noise(seed, batch * in_features);
        let w = noise(seed ^ 1, in_features * out_features);
        let b = noise(seed ^ 2, out_features);
        let dy = noise(seed ^ 3, batch * out_features);
        let data = [x.as_slice(), &w, &b, &dy];
        let want = run::<f64>(g, Isa::Scalar, 1, activation, data, f64::from);
        let scale = run::<f64>(g, Isa::Scalar, 1, Activation::None, data, |v| f64::from(v).abs());
        for isa in Isa::available() {
            let got = run::<f32>(g, isa, 1, activation, data, |v| v);
            assert_close(&got.y, &want.y, &scale.y, in_features + 1);
            assert_close(&got.dx, &want.dx, &scale.dx, out_features);
            assert_close(&got.dw, &want.dw, &scale.dw, batch + 1);
            assert_close(&got.db, &want.db, &scale.db, batch + 1);
            for threads in [2, 3] {
                let other = run::<f32>(g, isa, threads, activation, data, |v| v);
                prop_assert!(got.y == other.y && got.dx == other.dx);
            }
        }
    }
}
