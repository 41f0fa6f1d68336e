//! Timing: the one place, beside the profiler, that reads clocks.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::format;

/// A running clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn elapsed_seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// How to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimingOptions {
    /// Runs before the clock counts: caches and branch predictors warm up, pages are touched.
    pub warmup_runs: u64,
    /// Runs to time, at least 1.
    pub runs: u64,
    /// Stop early, though never before the first timed run, when all runs together took this long.
    pub time_limit: Option<Duration>,
}

impl Default for TimingOptions {
    /// 5 warm-up runs, 100 timed ones, at most two seconds.
    fn default() -> Self {
        Self { warmup_runs: 5, runs: 100, time_limit: Some(Duration::from_secs(2)) }
    }
}

/// How long runs took. Percentiles are nearest-rank: each is a time that was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Runs before the clock counted.
    pub warmup_runs: u64,
    /// Runs timed.
    pub runs: u64,
    /// Fastest run.
    pub latency_ns_min: u64,
    /// Median.
    pub latency_ns_p50: u64,
    /// Nine of ten runs took at most this long.
    pub latency_ns_p90: u64,
    /// 99 of 100 runs took at most this long.
    pub latency_ns_p99: u64,
    /// Slowest run.
    pub latency_ns_max: u64,
    /// Mean.
    pub latency_ns_mean: f64,
}

impl Timing {
    /// Statistics of measured times; `None` when there are none.
    #[must_use]
    pub fn from_latencies_ns(warmup_runs: u64, latencies_ns: Vec<u64>) -> Option<Self> {
        (!latencies_ns.is_empty()).then(|| Self::of(warmup_runs, latencies_ns))
    }

    /// All zero when there are no latencies.
    fn of(warmup_runs: u64, mut latencies_ns: Vec<u64>) -> Self {
        latencies_ns.sort_unstable();
        let runs = latencies_ns.len();
        let ranked = |rank: usize| latencies_ns.get(rank.saturating_sub(1)).copied().unwrap_or(0);
        let percentile = |percent: usize| ranked((runs * percent).div_ceil(100));
        let total: u128 = latencies_ns.iter().map(|&ns| u128::from(ns)).sum();
        Self {
            warmup_runs,
            runs: runs as u64,
            latency_ns_min: ranked(1),
            latency_ns_p50: percentile(50),
            latency_ns_p90: percentile(90),
            latency_ns_p99: percentile(99),
            latency_ns_max: ranked(runs),
            latency_ns_mean: total as f64 / runs.max(1) as f64,
        }
    }

    /// One line: `p50 412 µs, p90 430 µs, p99 501 µs (min 401 µs, mean 415 µs, 100 runs)`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let ns = format::duration_ns;
        format!(
            "p50 {}, p90 {}, p99 {} (min {}, mean {}, {})",
            ns(self.latency_ns_p50),
            ns(self.latency_ns_p90),
            ns(self.latency_ns_p99),
            ns(self.latency_ns_min),
            ns(self.latency_ns_mean.round() as u64),
            format::plural(self.runs, "run"),
        )
    }
}

/// Times `run`: warm-up, then the timed runs.
///
/// # Errors
/// The first error of `run`.
pub fn time<E>(options: &TimingOptions, mut run: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    let all = Stopwatch::start();
    let over =
        |all: &Stopwatch| options.time_limit.is_some_and(|limit| u128::from(all.elapsed_ns()) >= limit.as_nanos());
    let mut warmup_runs = 0;
    while warmup_runs < options.warmup_runs && !over(&all) {
        run()?;
        warmup_runs += 1;
    }
    let mut latencies_ns = Vec::new();
    loop {
        let one = Stopwatch::start();
        run()?;
        latencies_ns.push(one.elapsed_ns());
        if latencies_ns.len() as u64 >= options.runs || over(&all) {
            break;
        }
    }
    Ok(Timing::of(warmup_runs, latencies_ns))
}

/// Nanoseconds of a turn of one candidate, before the next has its.
const TURN_NS: u64 = 20_000_000;

/// Times `count` candidates in turns, so that what else the machine does meets all of them alike: in each round every
/// candidate runs for some milliseconds, and each round starts with another. `run(i)` runs candidate `i`. The first run of a
/// turn, which finds the caches full of the others' data, is not timed when there is more than one candidate. The number of
/// runs and the time limit are for each candidate.
///
/// # Errors
/// The first error of `run`.
pub fn time_in_turns<E>(
    options: &TimingOptions,
    count: usize,
    mut run: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<Timing>, E> {
    if count == 1 {
        return Ok(vec![time(options, || run(0))?]);
    }
    for candidate in 0..count {
        let clock = Stopwatch::start();
        for _ in 0..options.warmup_runs {
            run(candidate)?;
            if options.time_limit.is_some_and(|limit| u128::from(clock.elapsed_ns()) >= limit.as_nanos()) {
                break;
            }
        }
    }
    let mut latencies_ns = vec![Vec::new(); count];
    let mut spent_ns = vec![0_u64; count];
    let over = |spent: u64| options.time_limit.is_some_and(|limit| u128::from(spent) >= limit.as_nanos());
    let mut round = 0;
    loop {
        let mut ran = false;
        for turn in 0..count {
            let candidate = (turn + round) % count;
            let times: &mut Vec<u64> = &mut latencies_ns[candidate];
            if times.len() as u64 >= options.runs.max(1) || (over(spent_ns[candidate]) && !times.is_empty()) {
                continue;
            }
            ran = true;
            run(candidate)?;
            let turn = Stopwatch::start();
            while turn.elapsed_ns() < TURN_NS && (times.len() as u64) < options.runs.max(1) {
                let one = Stopwatch::start();
                run(candidate)?;
                times.push(one.elapsed_ns());
            }
            spent_ns[candidate] += turn.elapsed_ns();
        }
        if !ran {
            break;
        }
        round += 1;
    }
    Ok(latencies_ns.into_iter().map(|latencies_ns| Timing::of(options.warmup_runs, latencies_ns)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let timing = Timing::from_latencies_ns(3, (1..=200).rev().collect()).unwrap();
        assert_eq!((timing.latency_ns_min, timing.latency_ns_max, timing.runs), (1, 200, 200));
        assert_eq!((timing.latency_ns_p50, timing.latency_ns_p90, timing.latency_ns_p99), (100, 180, 198));
        assert_eq!(timing.latency_ns_mean, 100.5);
        let one = Timing::from_latencies_ns(0, vec![7]).unwrap();
        assert_eq!((one.latency_ns_p50, one.latency_ns_p99), (7, 7));
        assert_eq!(Timing::from_latencies_ns(0, vec![]), None);
    }

    #[test]
    fn runs_are_counted_and_errors_stop() {
        let mut calls = 0;
        let options = TimingOptions { warmup_runs: 2, runs: 3, time_limit: None };
        let timing = time(&options, || -> Result<(), ()> {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((calls, timing.warmup_runs, timing.runs), (5, 2, 3));
        let mut each = [0; 3];
        let timings = time_in_turns(&options, 3, |candidate| -> Result<(), ()> {
            each[candidate] += 1;
            Ok(())
        });
        // Two to warm up, one at the start of a turn, three that count.
        assert_eq!(each, [6; 3]);
        assert!(timings.unwrap().iter().all(|timing| timing.runs == 3));
        let none = TimingOptions { runs: 0, warmup_runs: 9, time_limit: Some(Duration::ZERO) };
        let timing = time(&none, || Ok::<(), ()>(())).unwrap();
        assert_eq!((timing.warmup_runs, timing.runs), (0, 1));
        assert_eq!(time(&options, || Err::<(), _>("broken")), Err("broken"));
    }
}
