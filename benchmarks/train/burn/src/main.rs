//! burn on its `flex` CPU backend; thread count by `RAYON_NUM_THREADS`.

#[path = "../../common.rs"]
mod common;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Args, Clock, Images, PARAMETERS, TEST_IMAGES, shuffled};

#[derive(Module, Debug)]
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    dense1: Linear,
    dense2: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |channels: [usize; 2]| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
        Self {
            conv1: conv([1, 32]).init(device),
            conv2: conv([32, 64]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense1: LinearConfig::new(3136, 128).init(device),
            dense2: LinearConfig::new(128, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let relu = Relu::new();
        let x = self.pool.forward(relu.forward(self.conv1.forward(x)));
        let x = self.pool.forward(relu.forward(self.conv2.forward(x)));
        self.dense2.forward(relu.forward(self.dense1.forward(x.flatten::<2>(1, 3))))
    }
}

fn tensors(images: &Images, index: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let (x, y) = images.gather(index);
    let y: Vec<i32> = y.into_iter().map(i32::from).collect();
    let n = index.len();
    (Tensor::from_data(TensorData::new(x, [n, 1, 28, 28]), device), Tensor::from_data(TensorData::new(y, [n]), device))
}

fn main() {
    let mut clock = Clock::new();
    let args = Args::parse();
    let train = Images::train(&args);
    let test = Images::test(&args);
    let device = Device::flex().autodiff();
    let mut net = Some(Net::new(&device));
    assert_eq!(net.as_ref().map(Module::num_params), Some(PARAMETERS));
    let mut optimiser = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&device);

    let mut step = |index: &[usize]| {
        let (x, y) = tensors(&train, index, &device);
        let model = net.take().expect("a network");
        let value = loss.forward(model.forward(x), y);
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        net = Some(optimiser.step(1e-3, model, gradients));
    };
    step(&(0..args.batch).collect::<Vec<_>>());
    clock.first_step_done();

    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..args.epochs {
        let order = shuffled(train.y.len(), &mut seed);
        let used = &order[..args.images / args.batch * args.batch];
        clock.epoch(used.len(), || used.chunks_exact(args.batch).for_each(&mut step));
    }
    clock.training_done();

    let net = net.expect("a network");
    let device = Device::flex();
    let net = net.to_device(&device);
    let mut right = 0;
    for start in (0..TEST_IMAGES).step_by(100) {
        let (x, y) = tensors(&test, &(start..start + 100).collect::<Vec<_>>(), &device);
        let found: Tensor<1, Int> = net.forward(x).argmax(1).flatten(0, 1);
        right += found.equal(y).int().sum().into_scalar::<i32>();
    }
    clock.emit("burn", "flex", "0.22.1", &args, f64::from(right) / TEST_IMAGES as f64);
}
