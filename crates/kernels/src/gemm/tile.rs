//! The two register tiles under every f32 convolution and dense layer, written once and compiled per instruction set.
//!
//! *Rows*: a tile of output pixels times a panel of output channels. Each pixel's operands are runs of contiguous
//! memory (`segments`), read where they lie: no im2col, no packing of activations. Each result is one chain of
//! multiply-adds in the order of its operands, whatever the tile, so splitting never changes a bit.
//!
//! *Outer*: a tile of weights accumulates the outer products of input and gradient over pixels, both read where they lie.

/// Compiles the tiles for one instruction set: `[4 2 1]` are the tile heights, the first the one for the bulk,
/// then those for gathered sums: 3x3 and 5x5 taps of one or three channels divide by 3. The last are the steps between pixels
/// for which gathered sums have code of their own: those of one and of three channels, with stride 1 and 2. The second vector is one of
/// half the lanes for the last columns, or the first once more.
macro_rules! tiles {
    ($(#[$doc:meta])* $module:ident, $features:path, $vector:path, $half:path,
        [$tallest:literal $($height:literal)*], [$gather_tallest:literal $($gather_height:literal)*], [$($step:literal)*]) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use crate::gemm::operands::{Outer, Right, Rows, Target, panel_width};
            use std::ops::Range;
            use $features as features;
            use $half as half;
            use $vector as vector;
            use vector::{LANES, Vector};

            /// Rows of a tile that ends in half a vector.
            const HALF_HEIGHT: usize = $tallest / 2;

            /// Whether whole vectors have code of their own: not on x86-64 with four lanes, which its CPUs since 2013 do not run.
            const HAS_WHOLE: bool = LANES > 4 || !cfg!(target_arch = "x86_64");

            features! {
                /// See [`Rows`], of panels. `c` starts at the first pixel and at column 0.
                pub(crate) fn rows_into(problem: &Rows, c: &mut Target) {
                    all_columns::<true>(problem, c);
                }

                /// The same of a matrix that is not packed.
                pub(crate) fn rows_of_matrix(problem: &Rows, c: &mut Target) {
                    all_columns::<false>(problem, c);
                }

                fn all_columns<const PACKED: bool>(problem: &Rows, c: &mut Target) {
                    debug_assert_eq!(PACKED, matches!(problem.b, Right::Panels(..)), "the right operand");
                    let mut columns = problem.columns.clone();
                    if PACKED && problem.pixels.len() == 1 {
                        columns.start = one_pixel::<4>(problem, columns.clone(), c);
                        columns.start = one_pixel::<2>(problem, columns.clone(), c);
                        if columns.is_empty() {
                            return;
                        }
                    }
                    if PACKED {
                        columns.end = half_columns(problem, columns.clone(), c);
                    }
                    if problem.keeps_all_panels() {
                        return pixels::<PACKED>(problem, columns, c);
                    }
                    let width = panel_width(LANES);
                    let mut column = columns.start;
                    while column < columns.end {
                        let end = (column + width - column % width).min(columns.end);
                        pixels::<PACKED>(problem, column..end, c);
                        column = end;
                    }
                }

                /// One pixel, `PANELS` whole panels at a time; returns the first column that is left. A panel alone would be two
                /// chains of sums, which wait for themselves rather than for memory.
                fn one_pixel<const PANELS: usize>(problem: &Rows, columns: Range<usize>, c: &mut Target) -> usize {
                    const WIDTH: usize = panel_width(LANES);
                    let Right::Panels(packed, depth) = problem.b else { return columns.start };
                    let mut column = columns.start;
                    if !column.is_multiple_of(WIDTH) {
                        return column;
                    }
                    let at = problem.position(problem.pixels.start);
                    let a = &problem.a[problem.a_grid.start(at)..];
                    let len = problem.segment_len;
                    let (low, high) = (vector::splat(problem.clamp.0), vector::splat(problem.clamp.1));
                    while column + PANELS * WIDTH <= columns.end {
                        let mut c = c.skip(column);
                        assert!(PANELS * WIDTH <= c.len, "results within the slice");
                        // SAFETY: as was just checked.
                        let c = unsafe { c.row(0, PANELS * WIDTH) };
                        let mut sums = [[vector::splat(0.0); 2]; PANELS];
                        for p in 0..PANELS {
                            if problem.accumulate {
                                sums[p] = load_row::<2, true>(&c[p * WIDTH..][..WIDTH]);
                            } else if let Some(bias) = problem.bias {
                                sums[p] = load_row::<2, true>(&bias[column + p * WIDTH..][..WIDTH]);
                            }
                        }
                        let mut from = problem.depth_from;
                        for &segment in problem.segments {
                            let mut panels = [&packed[..0]; PANELS];
                            for p in 0..PANELS {
                                panels[p] = &packed[(column + p * WIDTH) * depth + from * WIDTH..][..len * WIDTH];
                            }
                            for (k, &a) in a[segment..][..len].iter().enumerate() {
                                let a = vector::splat(a);
                                for p in 0..PANELS {
                                    let b = load_row::<2, true>(&panels[p][k * WIDTH..][..WIDTH]);
                                    for v in 0..2 {
                                        sums[p][v] = vector::multiply_add(a, b[v], sums[p][v]);
                                    }
                                }
                            }
                            from += len;
                        }
                        for p in 0..PANELS {
                            let row = [vector::clamp(sums[p][0], low, high), vector::clamp(sums[p][1], low, high)];
                            store_row::<2, true>(&mut c[p * WIDTH..][..WIDTH], row);
                        }
                        column += PANELS * WIDTH;
                    }
                    column
                }

                /// All pixels of some columns, a tile's height at a time.
                fn pixels<const PACKED: bool>(problem: &Rows, columns: Range<usize>, c: &mut Target) {
                    let mut pixel = problem.pixels.start;
                    let mut at = problem.position(pixel);
                    let origin = problem.c_grid.start(at);
                    let takes_tallest = $tallest <= 8 || !problem.crowds_cache();
                    let mut ahead = problem.after(columns.clone(), LANES);
                    while pixel < problem.pixels.end {
                        let left = problem.pixels.end - pixel;
                        pixel += if left >= $tallest && takes_tallest {
                            panels::<$tallest, PACKED>(problem, columns.clone(), &mut at, origin, &mut ahead, c);
                            $tallest
                        }
                        $(else if left >= $height {
                            panels::<$height, PACKED>(problem, columns.clone(), &mut at, origin, &mut ahead, c);
                            $height
                        })*
                        else {
                            left
                        };
                    }
                }

                /// `HEIGHT` pixels of some columns from `position` on, panel by panel.
                fn panels<const HEIGHT: usize, const PACKED: bool>(
                    problem: &Rows, columns: Range<usize>, position: &mut (usize, usize), origin: usize, ahead: &mut &[f32],
                    c: &mut Target,
                ) {
                    let [a_at, c_at] = problem.starts::<HEIGHT>(position, origin);
                    let width = panel_width(LANES);
                    let mut column = columns.start;
                    while column < columns.end {
                        let valid = (width - column % width).min(columns.end - column);
                        match (valid, valid.div_ceil(LANES)) {
                            (valid, 2) if valid == 2 * LANES && HAS_WHOLE => {
                                tile::<HEIGHT, 2, true, PACKED>(problem, column, valid, &a_at, &c_at, ahead, c);
                            }
                            (valid, 2) => {
                                tile::<HEIGHT, 2, false, PACKED>(problem, column, valid, &a_at, &c_at, ahead, c);
                            }
                            (LANES, _) if HAS_WHOLE => {
                                tile::<HEIGHT, 1, true, PACKED>(problem, column, valid, &a_at, &c_at, ahead, c);
                            }
                            (valid, _) => tile::<HEIGHT, 1, false, PACKED>(problem, column, valid, &a_at, &c_at, ahead, c),
                        }
                        column += valid;
                    }
                }

                /// The last panel where half a vector holds its last columns; returns the first column that is done. Half a vector takes
                /// half the time on a CPU that has no more lanes.
                fn half_columns(problem: &Rows, columns: Range<usize>, c: &mut Target) -> usize {
                    let width = panel_width(LANES);
                    let valid = columns.end % width;
                    let fits = half::LANES < LANES && (1..=half::LANES).contains(&(valid % LANES));
                    let rest = problem.pixels.len() % HALF_HEIGHT;
                    let column = columns.end - valid;
                    if !fits || column < columns.start || rest == problem.pixels.len() {
                        return columns.end;
                    }
                    let mut at = problem.position(problem.pixels.start);
                    let origin = problem.c_grid.start(at);
                    if valid > LANES {
                        half_pixels::<2>(problem, column, valid, &mut at, origin, c);
                    } else {
                        half_pixels::<1>(problem, column, valid, &mut at, origin, c);
                    }
                    if rest > 0 {
                        let pixels = problem.pixels.end - rest..problem.pixels.end;
                        let mut c = c.skip(problem.c_grid.start(at) - origin);
                        self::pixels::<true>(&Rows { pixels, ..problem.clone() }, column..columns.end, &mut c);
                    }
                    column
                }

                fn half_pixels<const VECTORS: usize>(
                    problem: &Rows, column: usize, valid: usize, at: &mut (usize, usize), origin: usize, c: &mut Target,
                ) {
                    for _ in 0..problem.pixels.len() / HALF_HEIGHT {
                        let [a_at, c_at] = problem.starts(at, origin);
                        half_tile::<VECTORS>(problem, column, valid, &a_at, &c_at, c);
                    }
                }

                /// The same as [`tile`] of packed panels, for columns of which the last are in half a vector. Half as high, as with vectors of
                /// two kinds compilers keep fewer sums in registers.
                #[inline]
                fn half_tile<const VECTORS: usize>(
                    problem: &Rows, column: usize, valid: usize, a_at: &[usize; HALF_HEIGHT], c_at: &[usize; HALF_HEIGHT],
                    c: &mut Target,
                ) {
                    const HEIGHT: usize = HALF_HEIGHT;
                    let Right::Panels(panels, depth) = problem.b else { return };
                    let b = &panels[column * depth + problem.depth_from * VECTORS * LANES..];
                    let whole = (VECTORS - 1) * LANES;
                    let farthest = |starts: &[usize; HEIGHT]| starts.iter().fold(0, |farthest, &start| farthest.max(start));
                    assert!(column + farthest(c_at) + valid <= c.len, "results within the slice");
                    let mut c = c.skip(column);
                    let (mut sums, mut halves) = ([vector::splat(0.0); HEIGHT], [half::splat(0.0); HEIGHT]);
                    for i in 0..HEIGHT {
                        // SAFETY: `c` reaches from every start to the end of its row, as was checked.
                        let row = unsafe { c.row(c_at[i], valid) };
                        let start = match (problem.accumulate, problem.bias) {
                            (true, _) => &*row,
                            (false, Some(bias)) => &bias[column..][..valid],
                            (false, None) => continue,
                        };
                        if VECTORS > 1 {
                            [sums[i]] = load_row::<1, true>(&start[..LANES]);
                        }
                        halves[i] = half::load_partial(&start[whole..]);
                    }
                    let len = problem.segment_len;
                    let reach = farthest(a_at) + len;
                    for (s, &segment) in problem.segments.iter().enumerate() {
                        let a = &problem.a[segment..][..reach];
                        let mut rows = [&problem.a[..0]; HEIGHT];
                        for i in 0..HEIGHT {
                            // SAFETY: `a` reaches `len` elements beyond every start.
                            rows[i] = unsafe { a.get_unchecked(a_at[i]..a_at[i] + len) };
                            rows[i] = &rows[i][..len];
                        }
                        let b = &b[s * len * VECTORS * LANES..][..len * VECTORS * LANES];
                        for (k, b) in b.chunks_exact(VECTORS * LANES).enumerate().take(len) {
                            let mut first = vector::splat(0.0);
                            if VECTORS > 1 {
                                [first] = load_row::<1, true>(&b[..LANES]);
                            }
                            let (lasts, _) = b[whole..].as_chunks::<{ half::LANES }>();
                            let last = half::load(&lasts[0]);
                            for i in 0..HEIGHT {
                                if VECTORS > 1 {
                                    sums[i] = vector::multiply_add(vector::splat(rows[i][k]), first, sums[i]);
                                }
                                halves[i] = half::multiply_add(half::splat(rows[i][k]), last, halves[i]);
                            }
                        }
                    }
                    let (low, high) = problem.clamp;
                    for i in 0..HEIGHT {
                        // SAFETY: `c` reaches from every start to the end of its row, as was checked.
                        let row = unsafe { c.row(c_at[i], valid) };
                        if VECTORS > 1 {
                            let sum = vector::clamp(sums[i], vector::splat(low), vector::splat(high));
                            store_row::<1, true>(&mut row[..LANES], [sum]);
                        }
                        let sum = half::clamp(halves[i], half::splat(low), half::splat(high));
                        half::store_partial(&mut row[whole..], sum);
                    }
                }

                /// `HEIGHT` pixels, whose operands and results start at `a_at` and `c_at`, of one panel.
                #[inline]
                fn tile<const HEIGHT: usize, const VECTORS: usize, const FULL: bool, const PACKED: bool>(
                    problem: &Rows, column: usize, valid: usize, a_at: &[usize; HEIGHT], c_at: &[usize; HEIGHT],
                    ahead: &mut &[f32], c: &mut Target,
                ) {
                    let valid = if FULL { VECTORS * LANES } else { valid };
                    // Panels before the last are two vectors wide, so this one starts at `column * depth`.
                    let (b, b_step) = match problem.b {
                        Right::Panels(panels, depth) => {
                            (&panels[column * depth + problem.depth_from * VECTORS * LANES..], VECTORS * LANES)
                        }
                        Right::Matrix(matrix, step) => (&matrix[problem.depth_from * step + column..], step),
                    };
                    // One check for all rows, as one each takes longer than short rows themselves.
                    let farthest = |starts: &[usize; HEIGHT]| starts.iter().fold(0, |farthest, &start| farthest.max(start));
                    assert!(column + farthest(c_at) + valid <= c.len, "results within the slice");
                    let mut c = c.skip(column);
                    let mut sums = [[vector::splat(0.0); VECTORS]; HEIGHT];
                    if problem.accumulate {
                        for i in 0..HEIGHT {
                            // SAFETY: `c` reaches from every start to the end of its row, as was checked.
                            sums[i] = load_row::<VECTORS, FULL>(unsafe { c.row(c_at[i], valid) });
                        }
                    } else if let Some(bias) = problem.bias {
                        sums = [load_row::<VECTORS, FULL>(&bias[column..][..valid]); HEIGHT];
                    }
                    let len = problem.segment_len;
                    let reach = farthest(a_at) + len;
                    for (s, &segment) in problem.segments.iter().enumerate() {
                        let b = &b[s * len * b_step..];
                        let a = &problem.a[segment..][..reach];
                        let mut rows = [&problem.a[..0]; HEIGHT];
                        for i in 0..HEIGHT {
                            // SAFETY: `a` reaches `len` elements beyond every start.
                            rows[i] = unsafe { a.get_unchecked(a_at[i]..a_at[i] + len) };
                            rows[i] = &rows[i][..len];
                        }
                        // The inner loops stand here rather than in functions of their own, as sums that are passed to one that the
                        // compiler does not inline leave the registers.
                        if PACKED {
                            // Per k, the vectors of `b` and a broadcast per row; one vector of `ahead` is asked for.
                            let soon = if ahead.is_empty() { b } else { *ahead };
                            let (b, _) = b[..len * VECTORS * LANES].as_chunks::<LANES>();
                            for (k, b) in b.chunks_exact(VECTORS).enumerate().take(len) {
                                let mut bs = [vector::splat(0.0); VECTORS];
                                for v in 0..VECTORS {
                                    bs[v] = vector::load(&b[v]);
                                }
                                if VECTORS > 1 {
                                    litesmith_simd::prefetch(soon, k * LANES);
                                }
                                for i in 0..HEIGHT {
                                    let a = vector::splat(rows[i][k]);
                                    for v in 0..VECTORS {
                                        sums[i][v] = vector::multiply_add(a, bs[v], sums[i][v]);
                                    }
                                }
                            }
                            *ahead = &ahead[(len * LANES).min(ahead.len())..];
                        } else {
                            for k in 0..len {
                                let bs = load_row::<VECTORS, FULL>(&b[k * b_step..][..valid]);
                                for i in 0..HEIGHT {
                                    let a = vector::splat(rows[i][k]);
                                    for v in 0..VECTORS {
                                        sums[i][v] = vector::multiply_add(a, bs[v], sums[i][v]);
                                    }
                                }
                            }
                        }
                    }
                    let (low, high) = (vector::splat(problem.clamp.0), vector::splat(problem.clamp.1));
                    for i in 0..HEIGHT {
                        for v in 0..VECTORS {
                            sums[i][v] = vector::clamp(sums[i][v], low, high);
                        }
                        // SAFETY: `c` reaches from every start to the end of its row, as was checked.
                        store_row::<VECTORS, FULL>(unsafe { c.row(c_at[i], valid) }, sums[i]);
                    }
                }

                /// [`rows_into`] where runs are too short to be worth a slice each (a first layer): `segments` has one entry per k,
                /// `segment_len` is 1. A tile lies within one row of pixels, so one slice per k holds all its operands.
                pub(crate) fn rows_gather(problem: &Rows, c: &mut Target) {
                    let width = panel_width(LANES);
                    let Right::Panels(panels, depth) = problem.b else { return };
                    let origin = problem.c_grid.start(problem.position(problem.pixels.start));
                    let mut column = problem.columns.start;
                    while column < problem.columns.end {
                        let valid = (width - column % width).min(problem.columns.end - column);
                        let panel = &panels[column * depth..];
                        let mut pixel = problem.pixels.start;
                        while pixel < problem.pixels.end {
                            let at = problem.position(pixel);
                            let a = &problem.a[problem.a_grid.start(at)..];
                            let left = (problem.pixels.end - pixel).min(problem.width - at.1);
                            let mut c = c.skip(problem.c_grid.start(at) - origin + column);
                            pixel += if left >= $tallest {
                                gather_panel::<$tallest>(problem, a, panel, column, valid, &mut c);
                                $tallest
                            }
                            $(else if left >= $height {
                                gather_panel::<$height>(problem, a, panel, column, valid, &mut c);
                                $height
                            })*
                            else {
                                left
                            };
                        }
                        column += valid;
                    }
                }

                fn gather_panel<const HEIGHT: usize>(
                    problem: &Rows, a: &[f32], panel: &[f32], column: usize, valid: usize, c: &mut Target,
                ) {
                    if valid == 2 * LANES && HAS_WHOLE {
                        // The bulk of the pixels has code for each step.
                        return match problem.a_grid.pixel_step {
                            $($step if HEIGHT == $tallest => {
                                gather_tile::<HEIGHT, 2, true, $step>(problem, a, panel, (0, 2), column, valid, c);
                            })*
                            _ => gather_tile::<HEIGHT, 2, true, 0>(problem, a, panel, (0, 2), column, valid, c),
                        };
                    }
                    // The others a vector at a time: rare, and less code.
                    for first in (0..valid).step_by(LANES) {
                        let of = (first / LANES, valid.div_ceil(LANES));
                        let (left, mut c) = ((valid - first).min(LANES), c.skip(first));
                        gather_tile::<HEIGHT, 1, false, 0>(problem, a, panel, of, column + first, left, &mut c);
                    }
                }

                /// `HEIGHT` pixels of one row, and `VECTORS` vectors of one panel, `first` of `all` on: all of them if `FULL`. The pixels are
                /// `STEP` elements apart, 0 if known only at run time.
                fn gather_tile<const HEIGHT: usize, const VECTORS: usize, const FULL: bool, const STEP: usize>(
                    problem: &Rows, a: &[f32], panel: &[f32], (first, all): (usize, usize), column: usize, valid: usize,
                    c: &mut Target,
                ) {
                    let (first, all) = if FULL { (0, VECTORS) } else { (first, all) };
                    let step = if STEP > 0 { STEP } else { problem.a_grid.pixel_step };
                    let mut sums = [[vector::splat(0.0); VECTORS]; HEIGHT];
                    if let Some(bias) = problem.bias {
                        sums = [load_row::<VECTORS, FULL>(&bias[column..][..valid]); HEIGHT];
                    }
                    let farthest = (HEIGHT - 1) * step;
                    assert!(farthest <= a.len(), "operands within the slice");
                    let reach = a.len() - farthest;
                    let mut rows = [a; HEIGHT];
                    for i in 0..HEIGHT {
                        // SAFETY: the last row ends with the slice.
                        rows[i] = unsafe { a.get_unchecked(i * step..i * step + reach) };
                    }
                    let (panel, _) = panel.as_chunks::<LANES>();
                    for (&offset, b) in problem.segments.iter().zip(panel.chunks_exact(all)) {
                        let mut bs = [vector::splat(0.0); VECTORS];
                        for v in 0..VECTORS {
                            bs[v] = vector::load(&b[first + v]);
                        }
                        // One check for all rows, as with one each the compiler gathers all elements before it multiplies the first, for
                        // which there are no registers.
                        assert!(offset < reach, "operands within the slice");
                        for i in 0..HEIGHT {
                            // SAFETY: every row has `reach` elements.
                            let a = vector::splat(unsafe { *rows[i].get_unchecked(offset) });
                            for v in 0..VECTORS {
                                sums[i][v] = vector::multiply_add(a, bs[v], sums[i][v]);
                            }
                        }
                    }
                    let (low, high) = (vector::splat(problem.clamp.0), vector::splat(problem.clamp.1));
                    assert!((HEIGHT - 1) * problem.c_grid.pixel_step + valid <= c.len, "results within the slice");
                    for i in 0..HEIGHT {
                        for v in 0..VECTORS {
                            sums[i][v] = vector::clamp(sums[i][v], low, high);
                        }
                        // SAFETY: as was checked.
                        let row = unsafe { c.row(i * problem.c_grid.pixel_step, valid) };
                        store_row::<VECTORS, FULL>(row, sums[i]);
                    }
                }

                /// [`outer`] where runs of m are short: `segments` has one entry per m, `segment_len` is 1.
                pub(crate) fn outer_gather(problem: &Outer, c: &mut [f32]) {
                    let width = panel_width(LANES);
                    let mut column = 0;
                    while column < problem.columns {
                        let valid = width.min(problem.columns - column);
                        let mut m = 0;
                        while m < problem.segments.len() {
                            let left = problem.segments.len() - m;
                            let c = &mut c[m * problem.c_step + column..];
                            m += if left >= $gather_tallest {
                                outer_gather_panel::<$gather_tallest>(problem, m, column, valid, c);
                                $gather_tallest
                            }
                            $(else if left >= $gather_height {
                                outer_gather_panel::<$gather_height>(problem, m, column, valid, c);
                                $gather_height
                            })*
                            else {
                                left
                            };
                        }
                        column += valid;
                    }
                }

                fn outer_gather_panel<const HEIGHT: usize>(
                    problem: &Outer, m: usize, column: usize, valid: usize, c: &mut [f32],
                ) {
                    match (valid, valid.div_ceil(LANES), problem.a_step) {
                        (valid, 2, 1) if valid == 2 * LANES => {
                            outer_gather_tile::<HEIGHT, 2, true, true>(problem, m, column, valid, c);
                        }
                        (valid, 2, _) if valid == 2 * LANES => {
                            outer_gather_tile::<HEIGHT, 2, true, false>(problem, m, column, valid, c);
                        }
                        (valid, 2, _) => outer_gather_tile::<HEIGHT, 2, false, false>(problem, m, column, valid, c),
                        (LANES, _, _) => outer_gather_tile::<HEIGHT, 1, true, false>(problem, m, column, valid, c),
                        (valid, _, _) => outer_gather_tile::<HEIGHT, 1, false, false>(problem, m, column, valid, c),
                    }
                }

                fn outer_gather_tile<const HEIGHT: usize, const VECTORS: usize, const FULL: bool, const UNIT: bool>(
                    problem: &Outer, m: usize, column: usize, valid: usize, c: &mut [f32],
                ) {
                    let step = if UNIT { 1 } else { problem.a_step };
                    let mut sums = [[vector::splat(0.0); VECTORS]; HEIGHT];
                    for i in 0..HEIGHT {
                        sums[i] = load_row::<VECTORS, FULL>(&c[i * problem.c_step..][..valid]);
                    }
                    let len = (problem.run_len - 1) * step + 1;
                    for run in 0..problem.runs {
                        let mut rows = [&problem.a[..0]; HEIGHT];
                        for i in 0..HEIGHT {
                            rows[i] = &problem.a[run * problem.a_run_step + problem.segments[m + i]..][..len];
                        }
                        let b = &problem.b[run * problem.b_run_step + column..];
                        for p in 0..problem.run_len {
                            let b = load_row::<VECTORS, FULL>(&b[p * problem.b_step..][..valid]);
                            for i in 0..HEIGHT {
                                let a = vector::splat(rows[i][p * step]);
                                for v in 0..VECTORS {
                                    sums[i][v] = vector::multiply_add(a, b[v], sums[i][v]);
                                }
                            }
                        }
                    }
                    for i in 0..HEIGHT {
                        store_row::<VECTORS, FULL>(&mut c[i * problem.c_step..][..valid], sums[i]);
                    }
                }

                /// See [`Outer`].
                pub(crate) fn outer(problem: &Outer, c: &mut [f32]) {
                    let width = panel_width(LANES);
                    for (s, &segment) in problem.segments.iter().enumerate() {
                        let mut m = 0;
                        while m < problem.segment_len {
                            let left = problem.segment_len - m;
                            let row = (s * problem.segment_len + m) * problem.c_step;
                            let mut height = 0;
                            let mut column = 0;
                            while column < problem.columns {
                                let valid = width.min(problem.columns - column);
                                let c = &mut c[row + column..];
                                height = if left >= $tallest {
                                    outer_tile::<$tallest>(problem, segment + m, column, valid, c);
                                    $tallest
                                }
                                $(else if left >= $height {
                                    outer_tile::<$height>(problem, segment + m, column, valid, c);
                                    $height
                                })*
                                else {
                                    left
                                };
                                column += valid;
                            }
                            if height == 0 {
                                return;
                            }
                            m += height;
                        }
                    }
                }

                fn outer_tile<const HEIGHT: usize>(
                    problem: &Outer, a_from: usize, column: usize, valid: usize, c: &mut [f32],
                ) {
                    match (valid, valid.div_ceil(LANES)) {
                        (valid, 2) if valid == 2 * LANES => {
                            outer_product::<HEIGHT, 2, true>(problem, a_from, column, valid, c);
                        }
                        (valid, 2) => outer_product::<HEIGHT, 2, false>(problem, a_from, column, valid, c),
                        (LANES, _) => outer_product::<HEIGHT, 1, true>(problem, a_from, column, valid, c),
                        (valid, _) => outer_product::<HEIGHT, 1, false>(problem, a_from, column, valid, c),
                    }
                }

                /// `HEIGHT` values of m, one panel of n, over all pixels.
                fn outer_product<const HEIGHT: usize, const VECTORS: usize, const FULL: bool>(
                    problem: &Outer, a_from: usize, column: usize, valid: usize, c: &mut [f32],
                ) {
                    let mut sums = [[vector::splat(0.0); VECTORS]; HEIGHT];
                    for i in 0..HEIGHT {
                        sums[i] = load_row::<VECTORS, FULL>(&c[i * problem.c_step..][..valid]);
                    }
                    let last = problem.run_len - 1;
                    for run in 0..problem.runs {
                        let a = &problem.a[run * problem.a_run_step + a_from..][..last * problem.a_step + HEIGHT];
                        let b = &problem.b[run * problem.b_run_step + column..][..last * problem.b_step + valid];
                        for p in 0..problem.run_len {
                            let b = load_row::<VECTORS, FULL>(&b[p * problem.b_step..][..valid]);
                            let a = &a[p * problem.a_step..][..HEIGHT];
                            for i in 0..HEIGHT {
                                let a = vector::splat(a[i]);
                                for v in 0..VECTORS {
                                    sums[i][v] = vector::multiply_add(a, b[v], sums[i][v]);
                                }
                            }
                        }
                    }
                    for i in 0..HEIGHT {
                        store_row::<VECTORS, FULL>(&mut c[i * problem.c_step..][..valid], sums[i]);
                    }
                }

                /// `from` has `VECTORS * LANES` elements if `FULL`, else the last vector is partly there.
                #[inline]
                pub(crate) fn load_row<const VECTORS: usize, const FULL: bool>(from: &[f32]) -> [Vector; VECTORS] {
                    let mut row = [vector::splat(0.0); VECTORS];
                    let whole = from.as_chunks::<LANES>().0;
                    if FULL {
                        let whole = &whole[..VECTORS];
                        for v in 0..VECTORS {
                            row[v] = vector::load(&whole[v]);
                        }
                    } else {
                        for v in 0..VECTORS - 1 {
                            row[v] = vector::load(&whole[v]);
                        }
                        row[VECTORS - 1] = vector::load_partial(&from[(VECTORS - 1) * LANES..]);
                    }
                    row
                }

                #[inline]
                pub(crate) fn store_row<const VECTORS: usize, const FULL: bool>(to: &mut [f32], row: [Vector; VECTORS]) {
                    if FULL {
                        let whole = &mut to.as_chunks_mut::<LANES>().0[..VECTORS];
                        for v in 0..VECTORS {
                            vector::store(&mut whole[v], row[v]);
                        }
                    } else {
                        let (whole, rest) = to.split_at_mut((VECTORS - 1) * LANES);
                        let whole = whole.as_chunks_mut::<LANES>().0;
                        for v in 0..VECTORS - 1 {
                            vector::store(&mut whole[v], row[v]);
                        }
                        vector::store_partial(rest, row[VECTORS - 1]);
                    }
                }
            }
        }
    };
}

/// Functions as they are, for the target's baseline.
macro_rules! baseline {
    ($($item:item)*) => { $($item)* };
}
pub(crate) use baseline;

tiles! {
    /// The target's baseline: 4 rows of 8 take 8 of 16 registers of SSE2. Few tiles, as hardly a CPU is left that needs them.
    scalar, crate::gemm::tile::baseline, litesmith_simd::portable::f32x4, litesmith_simd::portable::f32x4, [4 1], [3 1], []
}
#[cfg(target_arch = "x86_64")]
tiles! {
    /// 6 rows: 12 sums, 2 vectors of the panel and 1 broadcast use 15 of 16 registers.
    avx2, litesmith_simd::avx2, litesmith_simd::x86_64::f32x8, litesmith_simd::x86_64::f32x8, [6 4 2 1], [6 3 1], [1 2 3 6]
}
#[cfg(target_arch = "x86_64")]
tiles! {
    /// 14 rows: 28 sums, 2 vectors of the panel and 1 broadcast use 31 of 32 registers. Feature maps are often multiples of 7.
    avx512, litesmith_simd::avx512, litesmith_simd::x86_64::f32x16, litesmith_simd::x86_64::f32x8, [14 7 4 2 1], [9 6 3 1], [1 2 3 6]
}
#[cfg(target_arch = "aarch64")]
tiles! {
    /// 8 rows: 16 sums hide the latency of two pipes; they, 2 vectors of the panel and the rows use 26 of 32 registers.
    neon, litesmith_simd::neon, litesmith_simd::aarch64::f32x4, litesmith_simd::aarch64::f32x4, [8 4 2 1], [6 3 1], [1 2 3 6]
}
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
tiles! {
    /// 4 rows: 8 sums, 2 vectors of the panel and 1 broadcast, and engines keep some of 16 registers for themselves.
    simd128, litesmith_simd::simd128, litesmith_simd::wasm32::f32x4, litesmith_simd::wasm32::f32x4, [4 2 1], [3 1], [1 2 3 6]
}
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
tiles! {
    /// As for simd128.
    relaxed_simd, litesmith_simd::relaxed_simd, litesmith_simd::wasm32::relaxed_f32x4, litesmith_simd::wasm32::relaxed_f32x4, [4 2 1], [3 1], [1 2 3 6]
}
