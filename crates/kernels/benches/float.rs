//! Achieved GFLOP/s (2 per multiply-add of the direct algorithm) and GB/s of the float kernels on one thread, beside the
//! machine's measured peak. `cargo bench -p litesmith-kernels --bench float [FILTER] [--isa NAME]`

use litesmith_kernels::conv_2d::float::Conv2d;
use litesmith_kernels::conv_2d::{Conv2dGeometry, Window};
use litesmith_kernels::depthwise_conv_2d::DepthwiseConv2dGeometry;
use litesmith_kernels::depthwise_conv_2d::float::DepthwiseConv2d;
use litesmith_kernels::fully_connected::FullyConnectedGeometry;
use litesmith_kernels::fully_connected::float::FullyConnected;
use litesmith_kernels::max_pool_2d::float::MaxPool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::{Activation, Context, Isa, Pool, peak};
use std::hint::black_box;
use std::time::{Duration, Instant};

struct Bench {
    filter: String,
    peak_gflops: f64,
}

/// The median time of one call, in seconds.
fn time(mut call: impl FnMut()) -> f64 {
    call();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || start.elapsed() < Duration::from_millis(150) {
        let now = Instant::now();
        call();
        times.push(now.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

impl Bench {
    fn flops(&self, name: &str, macs: usize, call: impl FnMut()) {
        if name.contains(&self.filter) {
            let seconds = time(call);
            let gflops = 2.0 * macs as f64 / seconds / 1e9;
            let share = 100.0 * gflops / self.peak_gflops;
            println!("{name:44} {:9.1} us {gflops:7.1} GFLOP/s {share:5.1} % of peak", seconds * 1e6);
        }
    }

    fn bytes(&self, name: &str, bytes: usize, call: impl FnMut()) {
        if name.contains(&self.filter) {
            let seconds = time(call);
            println!("{name:44} {:9.1} us {:7.1} GB/s", seconds * 1e6, bytes as f64 / seconds / 1e9);
        }
    }
}

fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn same(input: usize, kernel: usize, stride: usize) -> Window {
    let output = input.div_ceil(stride);
    let total = ((output - 1) * stride + kernel).saturating_sub(input);
    Window { input, output, kernel, stride, dilation: 1, pad_before: total / 2 }
}

fn conv(bench: &Bench, isa: Isa, name: &str, images: usize, size: usize, kernel: usize, stride: usize, io: [usize; 2]) {
    let pool = Pool::serial();
    let window = same(size, kernel, stride);
    let [in_channels, out_channels] = io;
    let g = Conv2dGeometry { batch: images, height: window, width: window, in_channels, out_channels, groups: 1 };
    let plan = Conv2d::new(g, isa).expect("a plan");
    let (x, dy, weights) = (noise(g.input_len()), noise(g.output_len()), noise(g.weights_len()));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weights.clone());
    let (mut packed, mut packed_backward) = (Vec::new(), Vec::new());
    plan.pack(&weights, &mut packed);
    plan.pack_backward(&weights, &mut packed_backward);
    let bias = noise(out_channels);
    let mut scratch = vec![0.0; plan.forward_scratch_len(1)];
    let macs = g.output_len() * kernel * kernel * in_channels;
    bench.flops(&format!("{name} forward"), macs, || {
        plan.forward(&pool, &packed, Some(&bias), Activation::Relu, &x, &mut y, &mut scratch);
    });
    scratch.resize(plan.backward_input_scratch_len(1), 0.0);
    bench.flops(&format!("{name} backward_input"), macs, || {
        plan.backward_input(&pool, &packed_backward, &dy, &mut dx, &mut scratch);
    });
    scratch.resize(plan.backward_weights_scratch_len(), 0.0);
    bench.flops(&format!("{name} backward_weights"), macs, || {
        plan.backward_weights(&x, &dy, &mut dw, &mut scratch);
    });
    let mut db = noise(out_channels);
    bench.bytes(&format!("{name} backward_bias"), dy.len() * 4, || plan.backward_bias(&dy, &mut db));
    bench.bytes(&format!("{name} pack"), weights.len() * 8, || plan.pack(&weights, &mut packed));
    black_box((y, dx, dw, db));
}

fn dense(bench: &Bench, isa: Isa, name: &str, batch: usize, in_features: usize, out_features: usize) {
    let pool = Pool::serial();
    let plan = FullyConnected::new(FullyConnectedGeometry { batch, in_features, out_features }, isa).expect("a plan");
    let (x, dy, weights) = (noise(batch * in_features), noise(batch * out_features), noise(in_features * out_features));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weights.clone());
    let mut packed = Vec::new();
    plan.pack(&weights, &mut packed);
    let macs = batch * in_features * out_features;
    bench.flops(&format!("{name} forward"), macs, || {
        plan.forward(&pool, &packed, None, Activation::Relu, &x, &mut y);
    });
    bench.flops(&format!("{name} backward_input"), macs, || plan.backward_input(&pool, &weights, &dy, &mut dx));
    bench.flops(&format!("{name} backward_weights"), macs, || plan.backward_weights(&x, &dy, &mut dw));
    bench.bytes(&format!("{name} pack"), weights.len() * 8, || plan.pack(&weights, &mut packed));
    black_box((y, dx, dw));
}

fn depthwise(bench: &Bench, isa: Isa, name: &str, size: usize, kernel: usize, stride: usize, in_channels: usize) {
    let pool = Pool::serial();
    let window = same(size, kernel, stride);
    let g = DepthwiseConv2dGeometry { batch: 1, height: window, width: window, in_channels, multiplier: 1 };
    let plan = DepthwiseConv2d::new(g, isa).expect("a plan");
    let (x, dy, weights) = (noise(g.input_len()), noise(g.output_len()), noise(g.weights_len()));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weights.clone());
    let macs = g.output_len() * kernel * kernel;
    bench.flops(&format!("{name} forward"), macs, || {
        plan.forward(&pool, &weights, None, Activation::Relu6, &x, &mut y);
    });
    bench.flops(&format!("{name} backward_input"), macs, || plan.backward_input(&pool, &weights, &dy, &mut dx));
    bench.flops(&format!("{name} backward_weights"), macs, || plan.backward_weights(&x, &dy, &mut dw));
    black_box((y, dx, dw));
}

fn max_pool(bench: &Bench, isa: Isa, name: &str, batch: usize, size: usize, channels: usize) {
    let pool = Pool::serial();
    let window = Window { input: size, output: size / 2, kernel: 2, stride: 2, dilation: 1, pad_before: 0 };
    let g = Pool2dGeometry { batch, height: window, width: window, channels };
    let plan = MaxPool2d::new(g, isa).expect("a plan");
    let (x, dy) = (noise(g.input_len()), noise(g.output_len()));
    let (mut y, mut dx) = (dy.clone(), x.clone());
    bench.bytes(&format!("{name} forward"), 4 * (x.len() + y.len()), || {
        plan.forward(&pool, Activation::None, &x, &mut y);
    });
    bench.bytes(&format!("{name} backward"), 8 * (x.len() + y.len()), || plan.backward(&pool, &x, &y, &dy, &mut dx));
    black_box((y, dx));
}

fn main() {
    let mut isa = Isa::detect();
    let mut filter = String::new();
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        if argument == "--isa" {
            let name = arguments.next().expect("--isa NAME");
            isa = name.parse().expect("a known instruction set");
        } else {
            filter = argument;
        }
    }
    // Short, so that other processes seldom interrupt one.
    let rounds = 20_000;
    let mut macs = 0;
    let seconds = time(|| macs = black_box(peak::multiply_adds(isa, rounds)).0);
    let peak_gflops = 2.0 * macs as f64 / seconds / 1e9;
    println!("{isa}: peak {peak_gflops:.1} GFLOP/s on one thread");
    let bench = Bench { filter, peak_gflops };
    for images in [1, 16] {
        conv(&bench, isa, &format!("mnist conv1 {images}x28x28x1 3x3x32"), images, 28, 3, 1, [1, 32]);
        conv(&bench, isa, &format!("mnist conv2 {images}x14x14x32 3x3x64"), images, 14, 3, 1, [32, 64]);
        max_pool(&bench, isa, &format!("mnist pool1 {images}x28x28x32"), images, 28, 32);
        max_pool(&bench, isa, &format!("mnist pool2 {images}x14x14x64"), images, 14, 64);
        dense(&bench, isa, &format!("mnist dense1 {images}x3136x128"), images, 3136, 128);
        dense(&bench, isa, &format!("mnist dense2 {images}x128x10"), images, 128, 10);
    }
    conv(&bench, isa, "resnet 1x56x56x64 3x3x64", 1, 56, 3, 1, [64, 64]);
    conv(&bench, isa, "resnet 1x56x56x64 1x1x256", 1, 56, 1, 1, [64, 256]);
    conv(&bench, isa, "resnet 1x28x28x128 3x3x128 s2", 1, 28, 3, 2, [128, 128]);
    conv(&bench, isa, "resnet 1x7x7x512 3x3x512", 1, 7, 3, 1, [512, 512]);
    conv(&bench, isa, "mobilenet 1x224x224x3 3x3x32 s2", 1, 224, 3, 2, [3, 32]);
    conv(&bench, isa, "mobilenet 1x7x7x1024 1x1x1024", 1, 7, 1, 1, [1024, 1024]);
    depthwise(&bench, isa, "depthwise 1x112x112x32 3x3", 112, 3, 1, 32);
    depthwise(&bench, isa, "depthwise 1x112x112x64 3x3 s2", 112, 3, 2, 64);
    depthwise(&bench, isa, "depthwise 1x14x14x512 3x3", 14, 3, 1, 512);
    depthwise(&bench, isa, "depthwise 1x14x14x88 5x5", 14, 5, 1, 88);
    let pool = Pool::serial();
    let x = noise(64 * 1024);
    let mut y = x.clone();
    for op in [
        litesmith_kernels::elementwise::Unary::Exp,
        litesmith_kernels::elementwise::Unary::Tanh,
        litesmith_kernels::elementwise::Unary::Gelu { approximate: false },
        litesmith_kernels::elementwise::Unary::HardSwish,
    ] {
        bench.bytes(&format!("{op:?} 64k"), 8 * x.len(), || op.forward(Context { pool: &pool, isa }, &x, &mut y));
    }
}
