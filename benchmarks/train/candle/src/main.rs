//! candle on the CPU with its own matrix kernels; thread count by `RAYON_NUM_THREADS`.

#[path = "../../common.rs"]
mod common;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{AdamW, Conv2d, Conv2dConfig, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use common::{Args, Clock, Images, PARAMETERS, TEST_IMAGES, shuffled};

struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    dense1: Linear,
    dense2: Linear,
}

impl Net {
    fn new(vars: &VarBuilder) -> Result<Self> {
        let same = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        Ok(Self {
            conv1: candle_nn::conv2d(1, 32, 3, same, vars.pp("conv1"))?,
            conv2: candle_nn::conv2d(32, 64, 3, same, vars.pp("conv2"))?,
            dense1: candle_nn::linear(3136, 128, vars.pp("dense1"))?,
            dense2: candle_nn::linear(128, 10, vars.pp("dense2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv1.forward(x)?.relu()?.max_pool2d(2)?;
        let x = self.conv2.forward(&x)?.relu()?.max_pool2d(2)?.flatten_from(1)?;
        self.dense2.forward(&self.dense1.forward(&x)?.relu()?)
    }
}

fn tensors(images: &Images, index: &[usize]) -> Result<(Tensor, Tensor)> {
    let (x, y) = images.gather(index);
    let y: Vec<u32> = y.into_iter().map(u32::from).collect();
    let x = Tensor::from_vec(x, (index.len(), 1, 28, 28), &Device::Cpu)?;
    Ok((x, Tensor::from_vec(y, index.len(), &Device::Cpu)?))
}

fn main() -> Result<()> {
    let mut clock = Clock::new();
    let args = Args::parse();
    let train = Images::train(&args);
    let test = Images::test(&args);
    let vars = VarMap::new();
    let net = Net::new(&VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    assert_eq!(vars.all_vars().iter().map(|v| v.elem_count()).sum::<usize>(), PARAMETERS);
    // candle has AdamW only; without weight decay it is Adam.
    let adam = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut optimiser = AdamW::new(vars.all_vars(), adam)?;

    let mut step = |index: &[usize]| -> Result<()> {
        let (x, y) = tensors(&train, index)?;
        let log = candle_nn::ops::log_softmax(&net.forward(&x)?, D::Minus1)?;
        optimiser.backward_step(&candle_nn::loss::nll(&log, &y)?)
    };
    step(&(0..args.batch).collect::<Vec<_>>())?;
    clock.first_step_done();

    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..args.epochs {
        let order = shuffled(train.y.len(), &mut seed);
        let used = &order[..args.images / args.batch * args.batch];
        clock.epoch(used.len(), || used.chunks_exact(args.batch).for_each(|index| step(index).expect("a step")));
    }
    clock.training_done();

    let mut right = 0;
    for start in (0..TEST_IMAGES).step_by(100) {
        let (x, y) = tensors(&test, &(start..start + 100).collect::<Vec<_>>())?;
        right += net.forward(&x)?.argmax(D::Minus1)?.eq(&y)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()?;
    }
    clock.emit("candle", "gemm", "0.11.1", &args, f64::from(right) / TEST_IMAGES as f64);
    Ok(())
}
