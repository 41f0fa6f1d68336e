//! The machine, for records: what a number was measured on.

use serde::{Deserialize, Serialize};

/// What a number was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, as it gives it; the architecture where it gives none.
    pub cpu: String,
    /// Architecture, as `x86_64`.
    pub arch: String,
    /// Operating system, as `linux`.
    pub os: String,
    /// Threads that can run at the same time.
    pub threads: usize,
    /// Vector extensions that the processor has and that matter here, as `avx2`.
    pub features: Vec<String>,
    /// Main memory, where it is known (Linux).
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn detect() -> Self {
        let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory_info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cpu: cpu_name(&cpu_info).unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            arch: std::env::consts::ARCH.into(),
            os: std::env::consts::OS.into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            memory_bytes: kilobytes(&memory_info, "MemTotal"),
        }
    }

    /// One line: `AMD EPYC, 2 threads, avx2 fma f16c, 8.00 GB, linux x86_64`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut parts = vec![self.cpu.clone(), crate::format::plural(self.threads as u64, "thread")];
        if !self.features.is_empty() {
            parts.push(self.features.join(" "));
        }
        parts.extend(self.memory_bytes.map(crate::format::bytes));
        parts.push(format!("{} {}", self.os, self.arch));
        parts.join(", ")
    }
}

/// The most memory that this process has held so far (`VmHWM`); `None` where the system does not tell (not Linux).
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// `MemTotal:  16384 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// x86 gives `model name`; Arm boards often `Model` or `Hardware`.
fn cpu_name(cpu_info: &str) -> Option<String> {
    let value = |key: &str| {
        let mut fields = cpu_info.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_string())
    };
    ["model name", "Model", "Hardware"].into_iter().find_map(value).filter(|name| !name.is_empty())
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt)*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let all = detected!("sse4.1" "avx" "avx2" "fma" "f16c" "avxvnni" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512bf16");
    all.iter().filter(|(_, present)| *present).map(|(name, _)| (*name).to_string()).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt)*) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
        };
    }
    let all = detected!("neon" "fp16" "dotprod" "i8mm" "bf16" "sve" "sve2");
    all.iter().filter(|(_, present)| *present).map(|(name, _)| (*name).to_string()).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<String> {
    let simd128 = cfg!(target_feature = "simd128");
    simd128.then(|| "simd128".to_string()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        assert_eq!(kilobytes("Name:\tx\nVmHWM:\t   20480 kB\n", "VmHWM"), Some(20_971_520));
        assert_eq!(kilobytes("VmHWMx: 1 kB\nVmHWM: many kB", "VmHWM"), None);
        assert_eq!(cpu_name("processor\t: 0\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC".into()));
        assert_eq!(cpu_name("Hardware : BCM2835\nModel : Raspberry Pi 4\n"), Some("Raspberry Pi 4".into()));
        assert_eq!(cpu_name(""), None);
    }

    #[test]
    fn this_machine_has_a_name_and_threads() {
        let machine = Machine::detect();
        assert!(!machine.cpu.is_empty() && machine.threads > 0, "{machine:?}");
        assert!(machine.to_text().contains(&machine.arch));
        if cfg!(target_os = "linux") {
            assert!(peak_rss_bytes().unwrap() > 100_000);
        }
    }
}
