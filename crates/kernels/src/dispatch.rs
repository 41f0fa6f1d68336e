//! One loop body, compiled once per instruction set.

#[cfg(target_arch = "x86_64")]
use crate::Isa;

/// # Panics
/// If this CPU has no `isa`.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
pub(crate) fn require(isa: Isa) {
    assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
}

/// Defines a function whose first argument is the [`crate::Isa`] to run on. The body must be a loop the compiler can
/// vectorise; it is compiled for the baseline, for AVX2 and for AVX-512, and closures passed in are inlined into each.
///
/// With `to avx2;` in front there is no copy for AVX-512, and AVX2 stands in for it: for loops that wait for memory, or that
/// are rarely what a model spends its time in. The kernels made of it are named by [`Isa::up_to_avx2`].
macro_rules! multiversion {
    (
        to avx2;
        $(#[$meta:meta])*
        $vis:vis fn $name:ident <$($t:ident : $bound:path),*> ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$($t: $bound),*>(isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn portable<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                litesmith_simd::avx2! {
                    fn avx2<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                }
                $crate::dispatch::require(isa);
                if let $crate::Isa::Avx2 = isa.up_to_avx2() {
                    // SAFETY: the CPU has what `isa` needs, as was just asserted.
                    return unsafe { avx2($($arg),*) };
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = isa;
            portable($($arg),*)
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident <$($t:ident : $bound:path),*> ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$($t: $bound),*>(isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn portable<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                litesmith_simd::avx2! {
                    fn avx2<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                }
                litesmith_simd::avx512! {
                    fn avx512<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                }
                $crate::dispatch::require(isa);
                match isa {
                    $crate::Isa::Avx2 => {
                        // SAFETY: the CPU has what `isa` needs, as was just asserted.
                        return unsafe { avx2($($arg),*) };
                    }
                    $crate::Isa::Avx512 | $crate::Isa::Avx512Vnni | $crate::Isa::AmxInt8 => {
                        // SAFETY: the CPU has what `isa` needs, as was just asserted.
                        return unsafe { avx512($($arg),*) };
                    }
                    _ => {}
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = isa;
            portable($($arg),*)
        }
    };
}
pub(crate) use multiversion;
