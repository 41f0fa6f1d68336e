//! The f32 depthwise convolution and pooling on every instruction set of this CPU against f64, and against each other.

mod common;

use common::{assert_close, noise, window};
use litesmith_kernels::average_pool_2d::float::AveragePool2d;
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::depthwise_conv_2d::DepthwiseConv2dGeometry;
use litesmith_kernels::depthwise_conv_2d::float::{DepthwiseConv2d, reference};
use litesmith_kernels::max_pool_2d::float::MaxPool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::{Activation, Isa, Pool};
use proptest::prelude::*;

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn magnitudes(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v).abs()).collect()
}

/// y, dx and dw of the reference.
fn law(g: &DepthwiseConv2dGeometry, x: &[f64], w: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    let (x_len, y_len) = (x.len() / g.batch.max(1), dy.len() / g.batch.max(1));
    for image in 0..g.batch {
        let (x, dy) = (&x[image * x_len..][..x_len], &dy[image * y_len..][..y_len]);
        reference::forward(g, w, None, Activation::None, x, &mut y[image * y_len..][..y_len]);
        reference::backward_input(g, w, dy, &mut dx[image * x_len..][..x_len]);
        reference::backward_weights(g, x, dy, &mut dw);
    }
    [y, dx, dw]
}

/// Windows that always see some input, as pooling needs.
fn pool_window() -> impl Strategy<Value = Window> {
    (1usize..14, 1usize..4, 1usize..4, 0usize..3).prop_map(|(input, kernel, stride, pad)| {
        let kernel = kernel.min(input);
        let pad_before = pad.min(kernel - 1);
        let output = (input + pad_before - kernel) / stride + 1;
        Window { input, output, kernel, stride, dilation: 1, pad_before }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn depthwise_agrees_with_the_reference(
        batch in 0usize..3,
        height in window(),
        width in window(),
        in_channels in prop_oneof![1usize..10, 31usize..42],
        multiplier in prop_oneof![3 => Just(1usize), 1 => 2usize..4],
        seed in any::<u32>(),
    ) {
        let g = DepthwiseConv2dGeometry { batch, height, width, in_channels, multiplier };
        let x = noise(seed, g.input_len());
        let w = noise(seed ^ 1, g.weights_len());
        let dy = noise(seed ^ 3, g.output_len());
        let want = law(&g, &doubles(&x), &doubles(&w), &doubles(&dy));
        let scale = law(&g, &magnitudes(&x), &magnitudes(&w), &magnitudes(&dy));
        let taps = height.kernel * width.kernel;
        let pixels = batch * height.output * width.output;
        for isa in Isa::available() {
            let plan = DepthwiseConv2d::new(g, isa).unwrap();
            let mut first: Option<[Vec<f32>; 2]> = None;
            for threads in [1, 2, 3] {
                let pool = Pool::new(threads);
                let mut y = vec![f32::NAN; g.output_len()];
                let mut dx = vec![f32::NAN; g.input_len()];
                let mut dw = vec![0.0; g.weights_len()];
                plan.forward(&pool, &w, None, Activation::None, &x, &mut y);
                plan.backward_input(&pool, &w, &dy, &mut dx);
                plan.backward_weights(&x, &dy, &mut dw);
                assert_close(&y, &want[0], &scale[0], taps);
                assert_close(&dx, &want[1], &scale[1], taps * multiplier);
                assert_close(&dw, &want[2], &scale[2], pixels);
                let now = [y, dx];
                prop_assert!(first.get_or_insert(now.clone()) == &now);
            }
        }
    }

    #[test]
    fn pooling_agrees_with_its_definition(
        batch in 0usize..3,
        height in pool_window(),
        width in pool_window(),
        channels in prop_oneof![1usize..6, 31usize..34, Just(67)],
        seed in any::<u32>(),
    ) {
        let g = Pool2dGeometry { batch, height, width, channels };
        // Few distinct values, so that windows have equal elements.
        let x: Vec<f32> = noise(seed, g.input_len()).iter().map(|v| (v * 4.0).round()).collect();
        let dy = noise(seed ^ 3, g.output_len());
        let (mut y, mut average) = (vec![0.0f32; dy.len()], vec![0.0f64; dy.len()]);
        let (mut dx, mut dx_relu, mut dx_average) = (vec![0.0f64; x.len()], vec![0.0f64; x.len()], vec![0.0f64; x.len()]);
        let row = width.output * channels;
        for (at, y) in y.iter_mut().enumerate() {
            let (image, out_y, out_x) = (at / row / height.output, at / row % height.output, at % row / channels);
            let mut window = Vec::new();
            for ky in height.taps(out_y) {
                for kx in width.taps(out_x) {
                    let in_y = out_y * height.stride + ky - height.pad_before;
                    let in_x = out_x * width.stride + kx - width.pad_before;
                    window.push(((image * height.input + in_y) * width.input + in_x) * channels + at % channels);
                }
            }
            *y = window.iter().map(|&i| x[i]).fold(f32::NEG_INFINITY, f32::max);
            let taken = *window.iter().find(|&&i| x[i] == *y).unwrap();
            dx[taken] += f64::from(dy[at]);
            dx_relu[taken] += if *y > 0.0 { f64::from(dy[at]) } else { 0.0 };
            for &i in &window {
                average[at] += f64::from(x[i]) / window.len() as f64;
                dx_average[i] += f64::from(dy[at]) / window.len() as f64;
            }
        }
        let taps = height.kernel * width.kernel;
        for isa in Isa::available() {
            let max = MaxPool2d::new(g, isa).unwrap();
            let mean = AveragePool2d::new(g, isa).unwrap();
            for threads in [1, 3] {
                let pool = Pool::new(threads);
                let mut got = vec![f32::NAN; y.len()];
                let mut got_dx = vec![f32::NAN; x.len()];
                max.forward(&pool, Activation::None, &x, &mut got);
                prop_assert_eq!(&got, &y);
                max.backward(&pool, &x, &y, &dy, &mut got_dx);
                assert_close(&got_dx, &dx, &vec![taps as f64; x.len()], taps);
                max.backward_through(&pool, Activation::Relu, &x, &y, &dy, &mut got_dx);
                assert_close(&got_dx, &dx_relu, &vec![taps as f64; x.len()], taps);
                mean.forward(&pool, Activation::None, &x, &mut got);
                assert_close(&got, &average, &vec![5.0; y.len()], taps + 2);
                mean.backward(&pool, &dy, &mut got_dx);
                assert_close(&got_dx, &dx_average, &vec![taps as f64; x.len()], taps + 2);
            }
        }
    }
}
