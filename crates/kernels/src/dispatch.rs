//! One loop body, compiled once per instruction set.

/// Defines a function whose first argument is the [`crate::Isa`] to run on. The body must be a loop the compiler can
/// vectorise; it is compiled for the baseline, for AVX2 and for AVX-512, and closures passed in are inlined into each.
macro_rules! multiversion {
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
                assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
                match isa {
                    $crate::Isa::Avx2 => {
                        // SAFETY: the CPU has what `isa` needs, as was just asserted.
                        return unsafe { avx2($($arg),*) };
                    }
                    $crate::Isa::Avx512 | $crate::Isa::Avx512Vnni => {
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
