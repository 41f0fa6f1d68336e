//! The inner loops of dynamic-range arithmetic for AVX2 and AVX-512: left to the compiler they become gathers and scalars.

use super::{COLUMNS_MAX, HybridStage, Order, RowParams, RowQuantizer, SumBlock};
use std::arch::x86_64::*;

/// Loops over vectors of one length. Parts of a vector pass through arrays.
macro_rules! loops {
    (
        $(#[$doc:meta])*
        $module:ident $lanes:literal $features:literal $floats:ident $integers:ident,
        $load:ident $store:ident $splat:ident $mul:ident $fma:ident $min:ident $max:ident
        $load_i:ident $splat_i:ident $add_i:ident $sub_i:ident $mul_i:ident
        $to_f:ident $round:ident,
        $low_of:path, $high_of:path, $bytes:path, $params:path
    ) => {
        $(#[$doc])*
        pub(super) mod $module {
            use super::*;

            const LANES: usize = $lanes;

            /// # Safety
            /// The CPU has the features; `from` has `LANES` elements.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn load(from: &[f32]) -> $floats {
                // SAFETY: the caller's.
                unsafe { $load(from.as_ptr()) }
            }

            /// Up to a vector, the rest 0.
            #[inline]
            #[target_feature(enable = $features)]
            fn load_part(from: &[f32]) -> $floats {
                let mut all = [0.0; LANES];
                all[..from.len()].copy_from_slice(from);
                // SAFETY: `all` has `LANES` elements.
                unsafe { load(&all) }
            }

            /// Smallest and largest of `values` and 0; NaN is neither.
            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn range(values: &[f32]) -> (f32, f32) {
                let (low, high) = range_lanes(values);
                ($low_of(low), $high_of(high))
            }

            /// The same, still lane by lane. Of a NaN and a number these take the second operand.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn range_lanes(values: &[f32]) -> ($floats, $floats) {
                const SETS: usize = 4;
                let (mut low, mut high) = ([$splat(0.0); SETS], [$splat(0.0); SETS]);
                let mut sets = values.chunks_exact(SETS * LANES);
                for chunk in &mut sets {
                    for set in 0..SETS {
                        // SAFETY: a chunk has `SETS` vectors.
                        let x = unsafe { $load(chunk.as_ptr().add(set * LANES)) };
                        (low[set], high[set]) = ($min(x, low[set]), $max(x, high[set]));
                    }
                }
                let mut rest = sets.remainder().chunks_exact(LANES);
                for chunk in &mut rest {
                    // SAFETY: a chunk is a vector.
                    let x = unsafe { load(chunk) };
                    (low[0], high[0]) = ($min(x, low[0]), $max(x, high[0]));
                }
                if !rest.remainder().is_empty() {
                    let x = match values.last_chunk::<LANES>() {
                        // SAFETY: `last` is a vector, some of whose lanes have been seen.
                        Some(last) => unsafe { load(last) },
                        None => load_part(values),
                    };
                    (low[1], high[1]) = ($min(x, low[1]), $max(x, high[1]));
                }
                let low = $min($min(low[0], low[1]), $min(low[2], low[3]));
                let high = $max($max(high[0], high[1]), $max(high[2], high[3]));
                (low, high)
            }

            /// `clamp(round(value * inverse) + zero_point)`; NaN becomes 127.
            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn quantize(
                quantizer: RowQuantizer,
                params: RowParams,
                input: &[f32],
                output: &mut [i8],
            ) {
                let (inverse, zero_point) = ($splat(params.inverse), $splat_i(params.zero_point));
                let (least, most) = ($splat(-1024.0), $splat(1024.0));
                let scaled = |x: $floats| $max($min($mul(x, inverse), most), least);
                match quantizer {
                    RowQuantizer::Xnnpack => {
                        each(input, output, |x| $bytes($add_i($round(scaled(x)), zero_point)));
                    }
                    RowQuantizer::Asymmetric => super::away(-128, params, input, output),
                    RowQuantizer::Symmetric => super::away(-127, params, input, output),
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn each(input: &[f32], output: &mut [i8], f: impl Fn($floats) -> [i8; LANES]) {
                for (from, to) in input.as_chunks::<LANES>().0.iter().zip(output.as_chunks_mut::<LANES>().0) {
                    // SAFETY: `from` is a vector.
                    *to = f(unsafe { load(from) });
                }
                if input.len() % LANES == 0 {
                    return;
                }
                // The last vector takes elements along that are done.
                match (input.last_chunk::<LANES>(), output.last_chunk_mut::<LANES>()) {
                    // SAFETY: `from` is a vector.
                    (Some(from), Some(to)) => *to = f(unsafe { load(from) }),
                    _ => output.copy_from_slice(&f(load_part(input))[..input.len()]),
                }
            }

            /// Quantizes rows one after another, each still in the first cache when it is read again.
            #[target_feature(enable = $features)]
            pub(in super::super) fn quantize_rows(
                quantizer: RowQuantizer,
                row: usize,
                input: &[f32],
                output: &mut [i8],
                params: &mut [RowParams],
            ) {
                const ROWS: usize = 16;
                let blocks = input.chunks(ROWS * row).zip(output.chunks_mut(ROWS * row)).zip(params.chunks_mut(ROWS));
                for ((input, output), params) in blocks {
                    match params.first_chunk_mut::<ROWS>() {
                        Some(params) if quantizer == RowQuantizer::Xnnpack => $params(input, params),
                        _ => {
                            for (input, params) in input.chunks_exact(row).zip(&mut *params) {
                                *params = quantizer.params(range(input));
                            }
                        }
                    }
                    for ((input, output), params) in input.chunks_exact(row).zip(output.chunks_exact_mut(row)).zip(params) {
                        quantize(quantizer, *params, input, output);
                    }
                }
            }

            /// See [`HybridStage::store`].
            #[target_feature(enable = $features)]
            pub(in super::super) fn finish(
                stage: &HybridStage,
                block: &SumBlock<'_>,
                pixels: usize,
                params: &[RowParams],
                output: &mut [f32],
                stride: usize,
            ) {
                match stage.order {
                    Order::FusedWeight => {
                        finish_as(stage, block, pixels, params, output, stride, |sum, row, scale, bias| {
                            $fma($mul(sum, row), scale, bias)
                        });
                    }
                    order @ (Order::WeightThenRow | Order::Product) => {
                        super::finish(stage, block, pixels, params, output, stride, order == Order::Product);
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn finish_as(
                stage: &HybridStage,
                block: &SumBlock<'_>,
                pixels: usize,
                params: &[RowParams],
                output: &mut [f32],
                stride: usize,
                f: impl Fn($floats, $floats, $floats, $floats) -> $floats,
            ) {
                let (low, high) = ($splat(stage.low), $splat(stage.high));
                for at in (0..block.columns).step_by(LANES) {
                    let columns = at..block.columns.min(at + LANES);
                    let channels = block.channel + columns.start..block.channel + columns.end;
                    let (scales, bias) = (load_part(&stage.scales[channels.clone()]), load_part(&stage.bias[channels]));
                    let mut column_sums = [0; LANES];
                    column_sums[..columns.len()].copy_from_slice(&block.column_sums[columns.clone()]);
                    // SAFETY: `column_sums` has `LANES` elements.
                    let column_sums = unsafe { $load_i(column_sums.as_ptr().cast()) };
                    let (mut row, mut left) = (block.pixel / pixels, pixels - block.pixel % pixels);
                    for (sums, output) in block.sums.chunks_exact(COLUMNS_MAX).zip(output.chunks_mut(stride)) {
                        let RowParams { scale, zero_point, .. } = params[row];
                        let Some(sums) = sums[at..].first_chunk::<LANES>() else { return };
                        // SAFETY: `sums` has `LANES` elements.
                        let sums = unsafe { $load_i(sums.as_ptr().cast()) };
                        let sums = $sub_i(sums, $mul_i($splat_i(zero_point), column_sums));
                        let value = f($to_f(sums), $splat(scale), scales, bias);
                        // Of a NaN and a number the maximum is the second operand.
                        let value = $min($max(value, low), high);
                        match output[columns.clone()].first_chunk_mut::<LANES>() {
                            // SAFETY: `to` has `LANES` elements.
                            Some(to) => unsafe { $store(to.as_mut_ptr(), value) },
                            None => {
                                let mut all = [0.0; LANES];
                                // SAFETY: `all` has `LANES` elements.
                                unsafe { $store(all.as_mut_ptr(), value) };
                                output[columns.clone()].copy_from_slice(&all[..columns.len()]);
                            }
                        }
                        left -= 1;
                        if left == 0 {
                            (row, left) = (row + 1, pixels);
                        }
                    }
                }
            }
        }
    };
}

loops! {
    /// AVX-512.
    avx512 16 "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl" __m512 __m512i,
    _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_mul_ps _mm512_fmadd_ps _mm512_min_ps
    _mm512_max_ps _mm512_loadu_si512 _mm512_set1_epi32 _mm512_add_epi32 _mm512_sub_epi32 _mm512_mullo_epi32
    _mm512_cvtepi32_ps _mm512_cvtps_epi32,
    _mm512_reduce_min_ps, _mm512_reduce_max_ps, super::bytes_512, super::params_512
}
loops! {
    /// AVX2.
    avx2 8 "avx2,fma" __m256 __m256i,
    _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_mul_ps _mm256_fmadd_ps _mm256_min_ps
    _mm256_max_ps _mm256_loadu_si256 _mm256_set1_epi32 _mm256_add_epi32 _mm256_sub_epi32 _mm256_mullo_epi32
    _mm256_cvtepi32_ps _mm256_cvtps_epi32,
    super::low_of_256, super::high_of_256, super::bytes_256, super::params_256
}

/// What LiteRT's built-ins round, halves away from zero, to at least `least`. They are not what models run with by default, so
/// AVX-512 has no code of its own for them.
#[target_feature(enable = "avx2,fma")]
fn away(least: i32, params: RowParams, input: &[f32], output: &mut [i8]) {
    let (inverse, zero_point) = (_mm256_set1_ps(params.inverse), _mm256_set1_epi32(params.zero_point));
    let (bound, least) = (_mm256_set1_ps(1024.0), _mm256_set1_epi32(least));
    let (sign, half) = (_mm256_set1_ps(-0.0), _mm256_set1_ps(0.5));
    avx2::each(input, output, |x| {
        let x = _mm256_min_ps(_mm256_mul_ps(x, inverse), bound);
        let x = _mm256_max_ps(x, _mm256_xor_ps(bound, sign));
        // A half with the sign of `x`.
        let half = _mm256_or_ps(_mm256_and_ps(x, sign), half);
        let rounded = _mm256_add_epi32(_mm256_cvttps_epi32(_mm256_add_ps(x, half)), zero_point);
        bytes_256(_mm256_max_epi32(rounded, least))
    });
}

/// The orders of LiteRT's built-ins.
#[target_feature(enable = "avx2,fma")]
fn finish(
    stage: &HybridStage,
    block: &SumBlock<'_>,
    pixels: usize,
    params: &[RowParams],
    output: &mut [f32],
    stride: usize,
    is_product: bool,
) {
    avx2::finish_as(stage, block, pixels, params, output, stride, |sum, row, scale, bias| {
        let scaled = if is_product {
            _mm256_mul_ps(sum, _mm256_mul_ps(scale, row))
        } else {
            _mm256_mul_ps(_mm256_mul_ps(sum, scale), row)
        };
        _mm256_add_ps(scaled, bias)
    });
}

/// The lanes as bytes, saturated.
#[inline]
#[target_feature(enable = "avx512f")]
fn bytes_512(lanes: __m512i) -> [i8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: `bytes` has 16 elements.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtsepi32_epi8(lanes)) };
    bytes
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes_256(lanes: __m256i) -> [i8; 8] {
    let words = _mm_packs_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_ne_bytes().map(|byte| byte as i8)
}

/// The smallest lane.
#[inline]
#[target_feature(enable = "avx2")]
fn low_of_256(x: __m256) -> f32 {
    let x = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_min_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_min_ss(x, _mm_movehdup_ps(x)))
}

/// The largest lane.
#[inline]
#[target_feature(enable = "avx2")]
fn high_of_256(x: __m256) -> f32 {
    let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
}

/// [`RowQuantizer::params`] of 16 rows for XNNPACK.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn params_256(input: &[f32], params: &mut [RowParams; 16]) {
    for (input, params) in input.chunks_exact(input.len() / 16).zip(params) {
        *params = RowQuantizer::Xnnpack.params(avx2::range(input));
    }
}

/// The same with a row in each lane: of short rows most of the time would go into single values.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn params_512(input: &[f32], params: &mut [RowParams; 16]) {
    let (mut low, mut high) = ([_mm512_setzero_ps(); 16], [_mm512_setzero_ps(); 16]);
    for ((input, low), high) in input.chunks_exact(input.len() / 16).zip(&mut low).zip(&mut high) {
        (*low, *high) = avx512::range_lanes(input);
    }
    let low = across_512(&low, |a, b| _mm512_min_ps(a, b));
    let high = across_512(&high, |a, b| _mm512_max_ps(a, b));
    let one = _mm512_set1_ps(1.0);
    let inverse = _mm512_div_ps(_mm512_set1_ps(255.0), _mm512_sub_ps(high, low));
    let inverse = _mm512_mask_mov_ps(inverse, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(low, high), one);
    let (low, high) = (_mm512_mul_ps(low, inverse), _mm512_mul_ps(high, inverse));
    let (least, most) = (_mm512_set1_ps(-128.0), _mm512_set1_ps(127.0));
    let error = _mm512_add_ps(_mm512_add_ps(least, low), _mm512_add_ps(most, high));
    let from_low = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(error, _mm512_setzero_ps());
    let zero_point = _mm512_mask_sub_ps(_mm512_sub_ps(most, high), from_low, least, low);
    let known = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(zero_point, zero_point);
    let zero_point = _mm512_maskz_cvtps_epi32(known, _mm512_max_ps(_mm512_min_ps(zero_point, most), least));
    let (mut inverses, mut scales, mut zero_points) = ([0.0; 16], [0.0; 16], [0; 16]);
    // SAFETY: each array has 16 elements.
    unsafe {
        _mm512_storeu_ps(inverses.as_mut_ptr(), inverse);
        _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_div_ps(one, inverse));
        _mm512_storeu_si512(zero_points.as_mut_ptr().cast(), zero_point);
    }
    for (row, params) in params.iter_mut().enumerate() {
        *params = RowParams { inverse: inverses[row], scale: scales[row], zero_point: zero_points[row] };
    }
}

/// Lane `i` is what `f` makes of all lanes of `rows[i]`.
#[inline]
#[target_feature(enable = "avx512f")]
fn across_512(rows: &[__m512; 16], f: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let mut fours = [_mm512_setzero_ps(); 4];
    for (four, rows) in fours.iter_mut().zip(rows.as_chunks::<4>().0) {
        let pair = |a, b| f(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (ab, cd) = (_mm512_castps_pd(pair(rows[0], rows[1])), _mm512_castps_pd(pair(rows[2], rows[3])));
        let [low, high] = [_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd)].map(|x| _mm512_castpd_ps(x));
        *four = f(low, high);
    }
    // Each 128-bit lane of a vector holds one value of each of four rows.
    let halves = |a, b| f(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    let (a, b) = (halves(fours[0], fours[1]), halves(fours[2], fours[3]));
    f(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
}
