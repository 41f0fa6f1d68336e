//! Litesmith, tract or rten in a process that answers for as long as it is asked: the protocol of `worker.py`.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

type Error = Box<dyn std::error::Error>;
type Run = Box<dyn FnMut() -> Result<(), Error>>;

/// A number of 0..1 that depends on `index` alone.
fn noise(index: usize) -> f32 {
    (index.wrapping_mul(2_654_435_761) % 1000) as f32 / 1000.0
}

fn litesmith(path: &str, threads: usize) -> Result<Run, Error> {
    use litesmith::{Session, SessionOptions};

    let model = litesmith::load_model(std::path::Path::new(path))?.model;
    let mut session = Session::new(&model, SessionOptions { threads, ..SessionOptions::default() })?;
    for index in 0..session.input_count() {
        let dtype = session.input_tensor(index)?.dtype;
        if dtype == litesmith::graph::DType::F32 {
            session.input_mut::<f32>(index)?.iter_mut().enumerate().for_each(|(index, x)| *x = noise(index));
        } else {
            let bytes = session.input_bytes_mut(index)?;
            bytes.iter_mut().enumerate().for_each(|(index, x)| *x = (noise(index) * 255.0) as u8);
        }
    }
    Ok(Box::new(move || Ok(session.run()?)))
}

fn tract(path: &str, _: usize) -> Result<Run, Error> {
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut shapes = Vec::new();
    for input in 0..model.inputs.len() {
        let fact = model.input_fact(input)?;
        let concrete = |dim: tract_onnx::tract_hir::infer::DimFact| {
            dim.concretize().and_then(|dim| dim.to_usize().ok()).unwrap_or(1)
        };
        let shape: Vec<usize> = fact.shape.dims().map(|dim| concrete(dim.clone())).collect();
        let dtype = fact.datum_type.concretize().unwrap_or(f32::datum_type());
        shapes.push((dtype, shape));
    }
    for (input, (dtype, shape)) in shapes.iter().enumerate() {
        model.set_input_fact(input, InferenceFact::dt_shape(*dtype, shape))?;
    }
    let plan = model.into_optimized()?.into_runnable()?;
    let mut inputs = TVec::new();
    for (dtype, shape) in &shapes {
        let mut tensor = Tensor::zero_dt(*dtype, shape)?;
        if *dtype == f32::datum_type() {
            let values: Vec<f32> = (0..tensor.len()).map(noise).collect();
            tensor = Tensor::from_shape(shape, &values)?;
        }
        inputs.push(tensor.into_tvalue());
    }
    Ok(Box::new(move || Ok(plan.run(inputs.clone()).map(drop)?)))
}

fn rten(path: &str, _: usize) -> Result<Run, Error> {
    let model = rten::Model::load_file(path)?;
    let mut inputs = Vec::new();
    for &id in model.input_ids() {
        let info = model.node_info(id).ok_or("an input without a description")?;
        let fixed = |dim: &rten::Dimension| match dim {
            rten::Dimension::Fixed(size) => *size,
            _ => 1,
        };
        let shape: Vec<usize> = info.shape().ok_or("an input without a shape")?.iter().map(fixed).collect();
        let len = shape.iter().product();
        let value: rten::Value = match info.dtype() {
            Some(rten::ValueType::Tensor(rten::DataType::UInt8)) => {
                rten_tensor::Tensor::from_data(&shape, vec![7_u8; len]).into()
            }
            Some(rten::ValueType::Tensor(rten::DataType::Int8)) => {
                rten_tensor::Tensor::from_data(&shape, vec![7_i8; len]).into()
            }
            _ => rten_tensor::Tensor::from_data(&shape, (0..len).map(noise).collect::<Vec<_>>()).into(),
        };
        inputs.push((id, value));
    }
    let outputs = model.output_ids().to_vec();
    Ok(Box::new(move || {
        let views = inputs.iter().map(|(id, value)| (*id, value.as_view().into())).collect();
        Ok(model.run(views, &outputs, None).map(drop)?)
    }))
}

fn time(run: &mut Run, seconds: f64) -> Result<Vec<u64>, Error> {
    for _ in 0..3 {
        run()?;
    }
    let mut times = Vec::new();
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
    while times.len() < 3 || start.elapsed() < limit {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    Ok(times)
}

/// Seconds that multiplications take which keep a core's multiplier busy.
fn multiply() -> f64 {
    let start = Instant::now();
    let mut values = std::array::from_fn::<u64, 6, _>(|index| index as u64);
    for _ in 0..100_000 {
        values = std::hint::black_box(values).map(|x| x.wrapping_mul(x | 1));
    }
    start.elapsed().as_secs_f64()
}

/// How many times as long two threads take for the same as one: about 2 where a host has put two virtual cores on one.
fn slowdown() -> f64 {
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let some = || (0..7).map(|_| multiply()).collect::<Vec<_>>();
    multiply();
    let alone = median(some());
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            (0..11).for_each(|_| {
                multiply();
            })
        });
        // Until the scheduler has found a core for the other.
        (0..2).for_each(|_| {
            multiply();
        });
        let both = median(some());
        drop(other.join());
        both
    });
    both / alone
}

fn main() -> Result<(), Error> {
    if std::env::args().nth(1).as_deref() == Some("slowdown") {
        println!("{:.3}", slowdown());
        return Ok(());
    }
    let load: fn(&str, usize) -> Result<Run, Error> = match std::env::args().nth(1).as_deref() {
        Some("litesmith") => litesmith,
        Some("tract") => tract,
        Some("rten") => rten,
        other => return Err(format!("the engine is litesmith, tract or rten, not {other:?}").into()),
    };
    let mut loaded: Option<(String, Run)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        // tract has one thread; rten takes their number from the environment, which the caller sets for each process.
        let mut words = line.rsplitn(3, ' ');
        let (Some(seconds), Some(threads), Some(model)) = (words.next(), words.next(), words.next()) else { continue };
        let (seconds, threads) = (seconds.parse()?, threads.parse()?);
        let answer = catch_unwind(AssertUnwindSafe(|| {
            if loaded.as_ref().is_none_or(|(name, _)| name != model) {
                loaded = None;
                loaded = Some((model.to_owned(), load(model, threads)?));
            }
            loaded.as_mut().map_or(Ok(Vec::new()), |(_, run)| time(run, seconds))
        }));
        let answer = match answer {
            Ok(Ok(ns)) => serde_json::json!({ "ns": ns }),
            Ok(Err(error)) => serde_json::json!({ "error": error.to_string().chars().take(300).collect::<String>() }),
            Err(_) => serde_json::json!({ "error": "it panicked" }),
        };
        if answer.get("error").is_some() {
            loaded = None;
        }
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
