//! Inference, timed: several models, thread counts in turns, op by op where asked.

use std::collections::BTreeMap;

use litesmith_data::RawArray;
use litesmith_graph::{DType, Model, Result, Tensor};
use litesmith_kernels::Isa;
use litesmith_measure::format::{bytes, duration_ns, percent, plural, quantity, shortened};
use litesmith_measure::{Align, Machine, Stopwatch, TextTable, Timing, TimingOptions, peak_rss_bytes, time_in_turns};
use litesmith_runtime::{Fate, MemoryUse, Session, SessionOptions};
use serde::Serialize;

use super::peak::{CACHE_BYTES, Peak, machine_peak};
use crate::inputs::{made_up_inputs, needs_array, open_session, write_input};
use crate::raw::feed;

/// Runs of a profile: the median of each op counts.
const PROFILE_RUNS: usize = 50;
/// Nanoseconds that a profile may take; it ends early then.
const PROFILE_NS: u64 = 2_000_000_000;

/// A model to time.
pub struct BenchModel {
    /// What to call it.
    pub name: String,
    /// The model.
    pub model: Model,
    /// Nanoseconds that reading it from its file took.
    pub load_ns: u64,
}

/// What to time, and how.
pub struct InferenceBench<'a> {
    /// The models.
    pub models: &'a [BenchModel],
    /// The signature to run of each; the main graph when `None`.
    pub signature: Option<&'a str>,
    /// Thread counts to time each with.
    pub threads: &'a [usize],
    /// First size of every input; what the model says when `None`.
    pub batch: Option<usize>,
    /// Arrays for inputs, by name or in order; what is not among them is made up.
    pub arrays: &'a [(Option<String>, RawArray)],
    /// Numerics and instruction set; its thread count is not used.
    pub session: SessionOptions,
    /// Warm-up, runs and time of each.
    pub timing: TimingOptions,
    /// Whether to time each op too.
    pub profile: bool,
    /// Seed of the inputs.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InferenceReport {
    /// Where.
    pub machine: Machine,
    /// Every model with every thread count.
    pub results: Vec<InferenceTimes>,
    /// What the machine can do with each thread count; measured only for a profile.
    pub peaks: Vec<Peak>,
    /// The most memory that the process held, all models together.
    pub peak_rss_bytes: Option<u64>,
}

/// One model with one thread count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InferenceTimes {
    /// Name of the model.
    pub model: String,
    /// Threads.
    pub threads: usize,
    /// Instruction set.
    pub isa: String,
    /// Numerics mode.
    pub numerics: String,
    /// Shapes of the inputs.
    pub input_shapes: Vec<Vec<usize>>,
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Reading the file into a graph.
    pub load_ns: u64,
    /// Choosing kernels, packing weights, placing memory.
    pub plan_ns: u64,
    /// The first run after that, on cold caches.
    pub first_run_ns: u64,
    /// Runs.
    #[serde(flatten)]
    pub timing: Timing,
    /// Billions of multiply-accumulates a second, at the median.
    pub gmacs_per_s: f64,
    /// Memory for activations.
    pub arena_bytes: usize,
    /// Memory that ops work in.
    pub scratch_bytes: usize,
    /// Constants.
    pub weight_bytes: usize,
    /// Tables beside them.
    pub table_bytes: usize,
    /// Each op that ran, in order; empty where no profile was asked for.
    pub ops: Vec<OpTimes>,
}

/// One op of a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpTimes {
    /// Index in the graph.
    pub node: usize,
    /// As `CONV_2D`.
    pub op: String,
    /// Name of its first output.
    pub name: String,
    /// As `conv_2d/i8/avx2`.
    pub kernel: String,
    /// Median time.
    pub latency_ns_p50: u64,
    /// Share of the time of all ops.
    pub share: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of constants and activations that it touches.
    pub bytes: u64,
    /// Billions of multiply-accumulates a second.
    pub gmacs_per_s: f64,
    /// Gigabytes a second.
    pub gb_per_s: f64,
    /// Share of what the machine can do (the roofline): of its multiply-adds or its copies in the cache, whichever the op is
    /// nearer to; without multiply-adds of its copies, in the cache or in memory as the bytes are many.
    pub peak_share: f64,
}

/// Plans every model for every thread count, then times them all in turns.
///
/// # Errors
/// Those of [`Session::new`], [`Session::resize_batch`] and [`Session::run`], with the model as place.
pub fn inference(bench: &InferenceBench<'_>) -> Result<InferenceReport> {
    let mut sessions = Vec::new();
    let mut results = Vec::new();
    for model in bench.models {
        for &threads in bench.threads {
            let (session, result) = prepare(bench, model, threads).map_err(|error| error.at(&model.name))?;
            sessions.push(session);
            results.push(result);
        }
    }
    let timings = time_in_turns(&bench.timing, sessions.len(), |index| sessions[index].run())?;
    for (result, timing) in results.iter_mut().zip(timings) {
        result.gmacs_per_s = result.macs as f64 / timing.latency_ns_p50.max(1) as f64;
        result.timing = timing;
    }
    // Before what a profile takes for its own measurements.
    let peak_rss_bytes = peak_rss_bytes();
    let mut peaks = Vec::new();
    if bench.profile {
        let isa = bench.session.isa.unwrap_or_else(Isa::detect);
        peaks.extend(bench.threads.iter().map(|&threads| machine_peak(isa, threads)));
        for (result, session) in results.iter_mut().zip(&mut sessions) {
            let peak = peaks.iter().find(|peak| peak.threads == result.threads);
            result.ops = profile(session, peak).map_err(|error| error.at(&result.model))?;
        }
    }
    Ok(InferenceReport { machine: Machine::detect(), results, peaks, peak_rss_bytes })
}

fn prepare(bench: &InferenceBench<'_>, model: &BenchModel, threads: usize) -> Result<(Session, InferenceTimes)> {
    let options = SessionOptions { threads, ..bench.session.clone() };
    let clock = Stopwatch::start();
    let mut session = open_session(&model.model, bench.signature, options)?;
    if let Some(batch) = bench.batch {
        session.resize_batch(batch)?;
    }
    let given = if bench.arrays.is_empty() { Vec::new() } else { feed(&mut session, bench.arrays)? };
    let plan_ns = clock.elapsed_ns();
    for (index, values) in made_up_inputs(&session, &model.model, bench.seed)?.iter().enumerate() {
        if !given.contains(&index) {
            write_input(&mut session, index, values)?;
        }
    }
    let clock = Stopwatch::start();
    session.run().map_err(|error| needs_array(&session, &given, error))?;
    let first_run_ns = clock.elapsed_ns();
    let shapes = (0..session.input_count()).map(|index| Ok(session.input_tensor(index)?.shape.clone()));
    let MemoryUse { arena_bytes, scratch_bytes, weight_bytes, table_bytes } = session.memory();
    let result = InferenceTimes {
        model: model.name.clone(),
        threads,
        isa: session.isa().name().into(),
        numerics: bench.session.numerics.to_string(),
        input_shapes: shapes.collect::<Result<_>>()?,
        macs: (0..session.graph().nodes.len()).map(|node| cost(&session, node).0).fold(0, u64::saturating_add),
        load_ns: model.load_ns,
        plan_ns,
        first_run_ns,
        timing: Timing::default(),
        gmacs_per_s: 0.0,
        arena_bytes,
        scratch_bytes,
        weight_bytes,
        table_bytes,
        ops: Vec::new(),
    };
    Ok((session, result))
}

/// Multiply-accumulates of a node for the shapes of the plan, and the bytes that it touches.
fn cost(session: &Session, node: usize) -> (u64, u64) {
    let node = &session.graph().nodes[node];
    let inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| session.tensor(id))).collect();
    let outputs: Vec<_> = node.outputs.iter().map(|&id| session.tensor(id)).collect();
    let cost = node.op.cost(&inputs, &outputs);
    (cost.macs, cost.constant_bytes + cost.activation_bytes)
}

fn profile(session: &mut Session, peak: Option<&Peak>) -> Result<Vec<OpTimes>> {
    let mut times: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    let mut order = Vec::new();
    let all = Stopwatch::start();
    for run in 0..PROFILE_RUNS {
        let mut in_run: BTreeMap<usize, u64> = BTreeMap::new();
        let mut clock = Stopwatch::start();
        session.run_stepwise(&mut |node| {
            // A node of a loop's body runs several times; together they are its time.
            *in_run.entry(node).or_default() += clock.elapsed_ns();
            if run == 0 && !order.contains(&node) {
                order.push(node);
            }
            clock = Stopwatch::start();
        })?;
        in_run.into_iter().for_each(|(node, ns)| times.entry(node).or_default().push(ns));
        if all.elapsed_ns() > PROFILE_NS {
            break;
        }
    }
    let medians: BTreeMap<usize, u64> = times
        .into_iter()
        .filter_map(|(node, ns)| Some((node, Timing::from_latencies_ns(0, ns)?.latency_ns_p50)))
        .collect();
    let total = medians.values().sum::<u64>().max(1) as f64;
    let kernels: BTreeMap<usize, (String, Vec<usize>)> = session
        .explain()
        .into_iter()
        .filter_map(|node| match node.fate {
            Fate::Kernel { name, along, .. } => Some((node.node, (name, along))),
            _ => None,
        })
        .collect();
    let graph = session.graph();
    let ops = order.into_iter().filter(|&node| node < graph.nodes.len()).map(|index| {
        let node = &graph.nodes[index];
        let ns = medians.get(&index).copied().unwrap_or(0);
        let (kernel, along) = kernels.get(&index).cloned().unwrap_or_default();
        let all = along.into_iter().chain([index]).map(|node| cost(session, node));
        let (macs, bytes) = all.fold((0_u64, 0_u64), |(macs, bytes), (more_macs, more_bytes)| {
            (macs.saturating_add(more_macs), bytes.saturating_add(more_bytes))
        });
        let rate = |count: u64| count as f64 / ns.max(1) as f64;
        let peak_share = peak.map_or(f64::NAN, |peak| match (macs, limiting_dtype(session, index)) {
            (1.., Some(dtype)) => {
                let most = if dtype == DType::I8 { peak.gmacs_per_s_i8 } else { peak.gmacs_per_s_f32 };
                (rate(macs) / most).max(rate(bytes) / peak.gb_per_s_cache)
            }
            _ if bytes > CACHE_BYTES => rate(bytes) / peak.gb_per_s_memory,
            _ => rate(bytes) / peak.gb_per_s_cache,
        });
        OpTimes {
            node: index,
            op: node.op.name().into(),
            name: node.outputs.first().map_or_else(String::new, |&id| graph.tensor(id).name.clone()),
            kernel,
            latency_ns_p50: ns,
            share: ns as f64 / total,
            macs,
            bytes,
            gmacs_per_s: rate(macs),
            gb_per_s: rate(bytes),
            peak_share,
        }
    });
    Ok(ops.collect())
}

/// The type whose multiply-adds bound a node: bytes where its weights or, without weights, its input are bytes.
fn limiting_dtype(session: &Session, node: usize) -> Option<DType> {
    let node = &session.graph().nodes[node];
    let dtype = |index: usize| -> Option<DType> {
        let tensor: &Tensor = session.tensor(node.inputs.get(index).copied().flatten()?);
        Some(tensor.dtype)
    };
    match dtype(1).or_else(|| dtype(0))? {
        DType::I8 | DType::U8 | DType::I4 => Some(DType::I8),
        other => Some(other),
    }
}

impl InferenceReport {
    /// For terminals: a row for each model and thread count, memory and cold start, and the profile of each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let right = |name| (name, Align::Right);
        let compared = self.results.iter().any(|result| result.model != self.results[0].model);
        let mut columns = vec![("model", Align::Left)];
        columns.extend(["threads", "runs", "min", "p50", "p90", "p99", "mean", "GMAC/s"].map(right));
        if compared {
            columns.push(right("vs first"));
        }
        let mut table = TextTable::new(&columns);
        let mut memory = TextTable::new(
            &[("model", Align::Left)]
                .into_iter()
                .chain(
                    ["threads", "load", "plan", "first run", "activations", "scratch", "weights", "tables"].map(right),
                )
                .collect::<Vec<_>>(),
        );
        for result in &self.results {
            let timing = &result.timing;
            let mut row = vec![result.model.clone(), result.threads.to_string(), timing.runs.to_string()];
            row.extend(
                [timing.latency_ns_min, timing.latency_ns_p50, timing.latency_ns_p90, timing.latency_ns_p99]
                    .map(duration_ns),
            );
            row.push(duration_ns(timing.latency_ns_mean.round() as u64));
            row.push(format!("{:.2}", result.gmacs_per_s));
            let first = self.results.iter().find(|first| first.threads == result.threads);
            if let Some(first) = first.filter(|_| compared) {
                let times = first.timing.latency_ns_p50 as f64 / timing.latency_ns_p50.max(1) as f64;
                row.push(format!("{times:.2}x"));
            }
            table.row(row);
            let mut row = vec![result.model.clone(), result.threads.to_string()];
            row.extend([result.load_ns, result.plan_ns, result.first_run_ns].map(duration_ns));
            let sizes = [result.arena_bytes, result.scratch_bytes, result.weight_bytes, result.table_bytes];
            row.extend(sizes.map(|size| bytes(size as u64)));
            memory.row(row);
        }
        let mut text = format!("{}\n{}\n\n{table}\n{memory}", self.machine.to_text(), self.setting());
        if let Some(peak) = self.peak_rss_bytes {
            text += &format!("\npeak memory of the process: {}\n", bytes(peak));
        }
        for result in self.results.iter().filter(|result| !result.ops.is_empty()) {
            text += &format!("\n{}, {}, {}\n", result.model, plural(result.threads as u64, "thread"), result.isa);
            text += &profile_table(&result.ops).to_string();
        }
        text += if self.peaks.is_empty() { "" } else { "\n" };
        for peak in &self.peaks {
            text += &format!(
                "peak with {}: {:.0} GMAC/s float32, {:.0} GMAC/s int8, {:.0} GB/s copied in the cache, {:.0} GB/s in memory\n",
                plural(peak.threads as u64, "thread"),
                peak.gmacs_per_s_f32,
                peak.gmacs_per_s_i8,
                peak.gb_per_s_cache,
                peak.gb_per_s_memory,
            );
        }
        text
    }
}

impl InferenceReport {
    /// `avx2, litert numerics, inputs 1x28x28x1`: what the rows have in common; inputs where they do.
    fn setting(&self) -> String {
        let Some(first) = self.results.first() else { return String::new() };
        let mut text = format!("{}, {} numerics", first.isa, first.numerics);
        if self.results.iter().all(|result| result.input_shapes == first.input_shapes) {
            let shape = |shape: &Vec<usize>| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
            text += &format!(", inputs {}", first.input_shapes.iter().map(shape).collect::<Vec<_>>().join(" "));
        }
        text
    }
}

fn profile_table(ops: &[OpTimes]) -> TextTable {
    let right = |name| (name, Align::Right);
    let mut table = TextTable::new(&[
        right("#"),
        ("op", Align::Left),
        ("name", Align::Left),
        ("kernel", Align::Left),
        right("time"),
        right("share"),
        right("MACs"),
        right("GMAC/s"),
        right("GB/s"),
        right("of peak"),
    ]);
    for op in ops {
        let some = |value: String| if op.macs == 0 { "-".to_owned() } else { value };
        table.row([
            op.node.to_string(),
            op.op.clone(),
            shortened(&op.name, 32),
            op.kernel.clone(),
            duration_ns(op.latency_ns_p50),
            percent(op.share),
            some(quantity(op.macs)),
            some(format!("{:.1}", op.gmacs_per_s)),
            format!("{:.1}", op.gb_per_s),
            percent(op.peak_share),
        ]);
    }
    table
}
