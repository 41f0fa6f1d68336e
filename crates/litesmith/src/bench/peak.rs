//! What the machine can do at most: the limit that kernels are held against.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use litesmith_kernels::{Isa, Pool, peak};
use litesmith_measure::Stopwatch;
use serde::Serialize;

/// What a number of threads can do at most, measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// Threads.
    pub threads: usize,
    /// Billions of float32 multiply-adds a second, independent and in registers.
    pub gmacs_per_s_f32: f64,
    /// The same of bytes, summed in 32 bits as the instruction set does it fastest.
    pub gmacs_per_s_i8: f64,
    /// Gigabytes a second read and written in copies that stay in the cache of a core.
    pub gb_per_s_cache: f64,
    /// Gigabytes a second read and written in copies larger than the caches.
    pub gb_per_s_memory: f64,
}

/// Bytes beyond which what an op touches counts as in memory.
pub(crate) const CACHE_BYTES: u64 = 512 << 10;

/// Measures; takes about a tenth of a second. The best of several tries counts, as whatever else runs only takes away.
#[must_use]
pub fn machine_peak(isa: Isa, threads: usize) -> Peak {
    let pool = Pool::new(threads);
    Peak {
        threads,
        gmacs_per_s_f32: float_multiply_adds(&pool, isa, threads),
        gmacs_per_s_i8: best(&pool, threads, &|_| {
            let (count, value) = peak::byte_multiply_adds(isa, 200_000);
            std::hint::black_box(value);
            count
        }),
        gb_per_s_cache: copies(&pool, threads, 128 << 10, 200),
        gb_per_s_memory: copies(&pool, threads, 64 << 20, 1),
    }
}

/// Billions of float32 multiply-adds a second.
pub(super) fn float_multiply_adds(pool: &Pool, isa: Isa, threads: usize) -> f64 {
    best(pool, threads, &|_| {
        let (count, value) = peak::multiply_adds(isa, 200_000);
        std::hint::black_box(value);
        count
    })
}

fn copies(pool: &Pool, threads: usize, bytes: usize, times: usize) -> f64 {
    let buffers: Vec<_> = (0..threads).map(|_| Mutex::new((vec![1_u8; bytes], vec![2_u8; bytes]))).collect();
    best(pool, threads, &|thread| {
        let Ok(mut pair) = buffers[thread].lock() else { return 0 };
        let (from, to) = &mut *pair;
        for _ in 0..times {
            to.copy_from_slice(std::hint::black_box(from));
            std::hint::black_box(&to);
        }
        (2 * bytes * times) as u64
    })
}

/// Billions a second of what `work` counts, on all threads at once.
fn best(pool: &Pool, threads: usize, work: &(dyn Fn(usize) -> u64 + Sync)) -> f64 {
    (0..7)
        .map(|_| {
            let done = AtomicU64::new(0);
            let clock = Stopwatch::start();
            pool.run(threads, &|thread| {
                done.fetch_add(work(thread), Ordering::Relaxed);
            });
            done.into_inner() as f64 / clock.elapsed_ns().max(1) as f64
        })
        .fold(0.0, f64::max)
}
