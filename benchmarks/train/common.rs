// What the two Rust peers share (included by both): arguments, MNIST, shuffling, the clock, and the one JSON line. The rules
// are those of `train_common.py`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub const PARAMETERS: usize = 421_642;
pub const TEST_IMAGES: usize = 2_000;

pub struct Args {
    pub batch: usize,
    pub threads: usize,
    pub epochs: usize,
    pub images: usize,
    data: PathBuf,
}

impl Args {
    pub fn parse() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| words.iter().position(|w| w == name).map(|at| words[at + 1].clone());
        let number = |name: &str, default: usize| value(name).map_or(default, |v| v.parse().expect("a number"));
        Self {
            batch: number("--batch", 128),
            threads: number("--threads", 2),
            epochs: number("--epochs", 1),
            images: number("--images", 60_000),
            data: value("--data").expect("--data DIR").into(),
        }
    }
}

fn idx(path: &Path, offset: usize) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes.split_off(offset)
}

pub struct Images {
    pub x: Vec<f32>,
    pub y: Vec<u8>,
}

impl Images {
    fn load(args: &Args, images: &str, labels: &str) -> Self {
        let x = idx(&args.data.join(images), 16).iter().map(|&v| f32::from(v) / 255.0).collect();
        Self { x, y: idx(&args.data.join(labels), 8) }
    }

    pub fn train(args: &Args) -> Self {
        Self::load(args, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    }

    pub fn test(args: &Args) -> Self {
        let mut all = Self::load(args, "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz");
        all.x.truncate(TEST_IMAGES * 784);
        all.y.truncate(TEST_IMAGES);
        all
    }

    pub fn gather(&self, index: &[usize]) -> (Vec<f32>, Vec<u8>) {
        let x = index.iter().flat_map(|&i| &self.x[i * 784..(i + 1) * 784]).copied().collect();
        (x, index.iter().map(|&i| self.y[i]).collect())
    }
}

/// A new order of `0..n`: Fisher-Yates driven by xorshift64.
pub fn shuffled(n: usize, seed: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        order.swap(i, (*seed % (i as u64 + 1)) as usize);
    }
    order
}

pub struct Clock {
    spawned_ns: u128,
    first_step_s: f64,
    images_per_s: Vec<f64>,
    peak_rss_bytes: u64,
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos()
}

impl Clock {
    pub fn new() -> Self {
        let spawned = std::env::var("BENCH_SPAWNED_NS").ok().and_then(|v| v.parse().ok());
        Self {
            spawned_ns: spawned.unwrap_or_else(now_ns),
            first_step_s: 0.0,
            images_per_s: Vec::new(),
            peak_rss_bytes: 0,
        }
    }

    pub fn first_step_done(&mut self) {
        self.first_step_s = (now_ns() - self.spawned_ns) as f64 / 1e9;
    }

    pub fn epoch(&mut self, images: usize, run: impl FnOnce()) {
        let began = Instant::now();
        run();
        self.images_per_s.push(images as f64 / began.elapsed().as_secs_f64());
    }

    /// Takes the peak memory now, before evaluation adds to it.
    pub fn training_done(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let line = status.lines().find(|l| l.starts_with("VmHWM")).expect("VmHWM");
        self.peak_rss_bytes = line.split_whitespace().nth(1).expect("kB").parse::<u64>().expect("a number") * 1024;
    }

    pub fn emit(&self, framework: &str, mode: &str, version: &str, args: &Args, accuracy: f64) {
        println!(
            "{}",
            serde_json::json!({
                "framework": framework,
                "mode": mode,
                "versions": { framework: version },
                "batch": args.batch,
                "threads": args.threads,
                "images": args.images,
                "images_per_s": self.images_per_s,
                "start_to_first_step_s": self.first_step_s,
                "peak_rss_bytes": self.peak_rss_bytes,
                "test_accuracy_2000": accuracy,
            })
        );
    }
}
