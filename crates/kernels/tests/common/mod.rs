//! Inputs and comparison shared by the tests of float kernels.
#![allow(dead_code, reason = "each test uses a part")]

use litesmith_kernels::conv_2d::Window;
use proptest::prelude::*;

/// Any window along one axis, with padding on either side.
pub(crate) fn window() -> impl Strategy<Value = Window> {
    (1usize..18, 1usize..5, 1usize..4, 1usize..4, 0usize..4, 0usize..3).prop_map(
        |(input, kernel, stride, dilation, pad_before, pad_after)| {
            let reach = (kernel - 1) * dilation + 1;
            let output = (input + pad_before + pad_after).saturating_sub(reach) / stride + 1;
            Window { input, output, kernel, stride, dilation, pad_before }
        },
    )
}

/// Reproducible values in [-1, 1), each a multiple of 2^-23.
pub(crate) fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Each sum of `terms` products, in whatever order and with or without fused multiply-adds, is within
/// (terms + 1) eps of the sum of the terms' magnitudes `scale` (Higham, Accuracy and Stability, eq. 3.5), plus what the
/// activation after it adds (3 ulp).
pub(crate) fn assert_close(got: &[f32], want: &[f64], scale: &[f64], terms: usize) {
    assert_eq!(got.len(), want.len());
    let eps = f64::from(f32::EPSILON) / 2.0;
    for (i, ((&got, &want), &scale)) in got.iter().zip(want).zip(scale).enumerate() {
        let bound = (terms as f64 + 1.0) * 1.01 * eps * scale + 6.0 * eps * want.abs();
        let error = (f64::from(got) - want).abs();
        assert!(error <= bound, "element {i}: {got}, expected {want} within {bound:e}, is off by {error:e}");
    }
}
