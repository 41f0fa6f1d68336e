//! The instruction set: which ones exist, which this CPU has, and checked vector loads and stores.

pub mod portable;

use std::fmt;
use std::str::FromStr;

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected as has_feature;
#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected as has_feature;

/// Asks for the cache line that holds `data[index]`, which is soon read, to be brought into the second cache. `index` may lie
/// beyond the end. Does nothing where there is no such instruction.
#[inline(always)]
pub fn prefetch<T>(data: &[T], index: usize) {
    let line = data.as_ptr().wrapping_add(index);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the architecture, and a prefetch of any address is allowed: it reads nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of any address is allowed: it reads nothing.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{line}]", line = in(reg) line, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}

/// A WebAssembly engine refuses a whole module for one instruction that it does not know, so there is nothing to detect:
/// a running module has the features that it was compiled with.
#[cfg(target_arch = "wasm32")]
macro_rules! has_feature {
    ($feature:tt) => {
        cfg!(target_feature = $feature)
    };
}

/// Each row names an instruction set once; from it come the enum variant, its name, the detection of its features, and a
/// macro that puts the same features on a function as `#[target_feature]`.
macro_rules! instruction_sets {
    ($d:tt $($(#[$doc:meta])* $variant:ident $name:ident $arch:literal [$($feature:tt),*] $(and $granted:path)?;)*) => {
        /// An instruction set that kernels are written for, in ascending order of preference per architecture.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Isa {
            /// Plain Rust, vectorised as far as the compiler does it for the target's baseline.
            Scalar,
            $($(#[$doc])* $variant,)*
        }

        impl Isa {
            /// Every instruction set, the plainest first.
            pub const ALL: &'static [Self] = &[Self::Scalar, $(Self::$variant,)*];

            /// Whether this CPU can run it. Cheap: the detection is done once and remembered.
            #[must_use]
            #[inline]
            pub fn is_available(self) -> bool {
                match self {
                    Self::Scalar => true,
                    $(
                        #[cfg(target_arch = $arch)]
                        Self::$variant => $(has_feature!($feature))&&* $(&& $granted())?,
                        #[cfg(not(target_arch = $arch))]
                        Self::$variant => false,
                    )*
                }
            }

            /// The name users write, such as `avx2`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::Scalar => "scalar",
                    $(Self::$variant => stringify!($name),)*
                }
            }

            /// The CPU features it needs, by the names the compiler uses.
            #[must_use]
            pub fn features(self) -> &'static [&'static str] {
                match self {
                    Self::Scalar => &[],
                    $(Self::$variant => &[$($feature),*],)*
                }
            }
        }

        $(
            $(#[$doc])*
            ///
            /// As a macro around functions, it gives them these features as `#[target_feature]`.
            #[macro_export]
            macro_rules! $name {
                ($d($d item:item)*) => {
                    $d(
                        #[target_feature($(enable = $feature),*)]
                        $d item
                    )*
                };
            }
        )*
    };
}

instruction_sets! { $
    /// x86-64 with AVX2 and FMA.
    Avx2 avx2 "x86_64" ["avx2", "fma"];
    /// x86-64 with AVX-512 F, BW, DQ, VL.
    Avx512 avx512 "x86_64" ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"];
    /// x86-64 with AVX-512 and VNNI.
    Avx512Vnni avx512_vnni "x86_64" ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"];
    /// x86-64 with AVX-512, VNNI and AMX for bytes, where the system lets the process use it.
    AmxInt8 amx_int8 "x86_64" ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"] and amx::is_granted;
    /// AArch64 with NEON, which all of them have.
    Neon neon "aarch64" ["neon"];
    /// AArch64 with NEON and the dot product of bytes.
    NeonDotprod neon_dotprod "aarch64" ["neon", "dotprod"];
    /// AArch64 with NEON, the dot product and the matrix product of bytes.
    NeonI8mm neon_i8mm "aarch64" ["neon", "dotprod", "i8mm"];
    /// WebAssembly with vectors of 128 bits.
    Simd128 simd128 "wasm32" ["simd128"];
    /// WebAssembly with vectors of 128 bits and the relaxed instructions.
    RelaxedSimd relaxed_simd "wasm32" ["simd128", "relaxed-simd"];
}

// After the table, whose macros they use.
#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(target_arch = "x86_64")]
pub mod amx;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod wasm32;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

impl Isa {
    /// The best instruction set of this CPU.
    #[must_use]
    pub fn detect() -> Self {
        Self::ALL.iter().rev().copied().find(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }

    /// What runs in its place where a kernel has no code for AVX-512: AVX2 there, elsewhere itself.
    #[must_use]
    pub fn up_to_avx2(self) -> Self {
        match self {
            Self::Avx512 | Self::Avx512Vnni | Self::AmxInt8 => Self::Avx2,
            isa => isa,
        }
    }

    /// The instruction sets of this CPU, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_available())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no instruction set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownIsa(pub String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown instruction set '{}', expected one of", self.0)?;
        Isa::ALL.iter().try_for_each(|isa| write!(f, " {isa}"))
    }
}

impl std::error::Error for UnknownIsa {}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert!("sse9".parse::<Isa>().is_err());
    }

    #[test]
    fn detected_is_available_and_needs_no_more_than_it_lists() {
        let best = Isa::detect();
        assert!(best.is_available() && best.up_to_avx2().is_available());
        assert!(Isa::available().any(|isa| isa == best));
        assert!(Isa::available().next() == Some(Isa::Scalar));
    }
}
