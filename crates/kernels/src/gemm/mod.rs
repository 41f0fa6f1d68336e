//! f32 matrix products over operands that stay where they lie.

mod operands;
pub(crate) mod tile;

pub(crate) use operands::{Grid, Outer, Right, Rows, Target, pack_panels, panel_width, panels_len};

use crate::Isa;

/// Lanes of a vector of the tiles of `isa`.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa {
        Isa::Avx2 => 8,
        Isa::Avx512 | Isa::Avx512Vnni | Isa::AmxInt8 => 16,
        _ => 4,
    }
}

/// The tile of `isa`, as kernels print it.
pub(crate) fn tile_name(isa: Isa) -> &'static str {
    match isa {
        Isa::Avx2 => "avx2/6x16",
        Isa::Avx512 | Isa::Avx512Vnni | Isa::AmxInt8 => "avx512/14x32",
        Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => "neon/8x8",
        Isa::Simd128 => "simd128/4x8",
        Isa::RelaxedSimd => "relaxed_simd/4x8",
        _ => "scalar/4x8",
    }
}

/// Defines a function that calls the one of the same name in the module (`scalar`, `avx2`, `avx512`,
/// `neon`, `simd128`, `relaxed_simd`) of an instruction set.
macro_rules! on_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($argument:ident: $type:ty),*); $(in $parent:ident)?) => {
        $(#[$doc])*
        $vis fn $name(isa: $crate::Isa, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
                match isa {
                    $crate::Isa::Avx2 => {
                        // SAFETY: the CPU has what `isa` needs, as was just asserted.
                        return unsafe { $($parent::)?avx2::$name($($argument),*) };
                    }
                    $crate::Isa::Avx512 | $crate::Isa::Avx512Vnni | $crate::Isa::AmxInt8 => {
                        // SAFETY: the CPU has what `isa` needs, as was just asserted.
                        return unsafe { $($parent::)?avx512::$name($($argument),*) };
                    }
                    _ => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if isa != $crate::Isa::Scalar {
                // SAFETY: all of AArch64 have NEON.
                return unsafe { $($parent::)?neon::$name($($argument),*) };
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            if isa == $crate::Isa::RelaxedSimd {
                return $($parent::)?relaxed_simd::$name($($argument),*);
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            if isa == $crate::Isa::Simd128 {
                return $($parent::)?simd128::$name($($argument),*);
            }
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let _ = isa;
            $($parent::)?scalar::$name($($argument),*);
        }
    };
}
pub(crate) use on_isa;

on_isa! {
    /// See [`Rows`], of panels. `c` starts at the first pixel and at column 0.
    pub(crate) fn rows_into(problem: &Rows, c: &mut Target); in tile
}
on_isa! {
    /// The same of a matrix that is not packed: a function of its own, which programs that only infer do without.
    pub(crate) fn rows_of_matrix(problem: &Rows, c: &mut Target); in tile
}

/// [`rows_into`] a slice.
pub(crate) fn rows(isa: Isa, problem: &Rows, c: &mut [f32]) {
    rows_into(isa, problem, &mut Target::new(c));
}

on_isa! {
    /// See [`Outer`].
    pub(crate) fn outer(problem: &Outer, c: &mut [f32]); in tile
}
on_isa! {
    /// [`rows_into`] for one-element segments.
    pub(crate) fn rows_gather(problem: &Rows, c: &mut Target); in tile
}
on_isa! {
    /// [`outer`] for one-element segments.
    pub(crate) fn outer_gather(problem: &Outer, c: &mut [f32]); in tile
}

/// Elements of k per pass over the rows: a panel's part stays in the first cache.
const DEPTH_BLOCK: usize = 256;

/// [`rows_into`] (or [`rows_of_matrix`], as `into`) a slice, of a problem with one segment, panel by panel and in blocks of k. Results
/// are the same.
pub(crate) fn rows_blocked(isa: Isa, into: fn(Isa, &Rows, &mut Target), problem: &Rows, c: &mut [f32]) {
    let width = panel_width(lanes(isa));
    let depth = problem.segment_len;
    if depth <= DEPTH_BLOCK {
        return into(isa, problem, &mut Target::new(c));
    }
    for column in problem.columns.clone().step_by(width) {
        let columns = column..(column + width).min(problem.columns.end);
        for from in (0..depth).step_by(DEPTH_BLOCK) {
            let segment_len = DEPTH_BLOCK.min(depth - from);
            let last = from + segment_len == depth;
            let block = Rows {
                segments: &[problem.segments[0] + from],
                segment_len,
                depth_from: from,
                columns: columns.clone(),
                accumulate: from > 0,
                clamp: if last { problem.clamp } else { (f32::NEG_INFINITY, f32::INFINITY) },
                pixels: problem.pixels.clone(),
                ..*problem
            };
            into(isa, &block, &mut Target::new(c));
        }
    }
}

/// Adds the transpose of `from`, a matrix of rows of `columns`, to `to`.
pub(crate) fn add_transposed(from: &[f32], columns: usize, to: &mut [f32]) {
    // Blocks whose rows and columns both stay in the first cache.
    const BLOCK: usize = 16;
    let rows = to.len().checked_div(columns).unwrap_or(0);
    for first_row in (0..rows).step_by(BLOCK) {
        let block = first_row..(first_row + BLOCK).min(rows);
        for column in 0..columns {
            let to = &mut to[column * rows..][block.clone()];
            let from = from[first_row * columns + column..].iter().step_by(columns);
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        }
    }
}
