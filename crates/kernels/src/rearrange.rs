//! Ops whose output is elements of the input in another order, whatever the elements are: nested loops over the output,
//! each of which adds to the index in the input.

use std::ops::Range;

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use crate::dispatch::multiversion;
use crate::{Context, Isa, Unsupported};

/// What the steps of one loop add to the index in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steps {
    /// `start`, `start + step`, ..: `count` of them.
    Even {
        /// What the first step adds.
        start: usize,
        /// How much further each next one is; negative to go backwards.
        step: isize,
        /// Steps.
        count: usize,
    },
    /// Any.
    Listed(Vec<usize>),
}

impl Steps {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Even { count, .. } => *count,
            Self::Listed(steps) => steps.len(),
        }
    }

    /// The first and the least and the greatest of at least one step; `None` when one is no `usize`.
    fn bounds(&self) -> Option<[usize; 3]> {
        match *self {
            Self::Even { start, step, count } => {
                let last = isize::try_from(count - 1).ok()?.checked_mul(step)?;
                let last = start.checked_add_signed(last)?;
                Some([start, start.min(last), start.max(last)])
            }
            Self::Listed(ref steps) => {
                let least = steps.iter().copied().fold(usize::MAX, usize::min);
                Some([*steps.first()?, least, steps.iter().copied().fold(0, usize::max)])
            }
        }
    }

    /// Even if it is.
    fn simplify(self) -> Self {
        let Self::Listed(steps) = &self else { return self };
        let (Some(&start), count) = (steps.first(), steps.len()) else { return self };
        let step = steps.get(1).map_or(0, |&next| next.wrapping_sub(start).cast_signed());
        let even = steps.windows(2).all(|pair| pair[0].checked_add_signed(step) == Some(pair[1]));
        if even { Self::Even { start, step, count } } else { self }
    }

    /// What is added to the first step, `first`, in bytes: `unit` for an element.
    fn offsets(self, first: usize, unit: usize) -> Option<Offsets> {
        let scale = |step: isize| step.checked_mul(unit.cast_signed());
        match self {
            Self::Even { step, count, .. } => Some(Offsets::Even { step: scale(step)?, count }),
            Self::Listed(steps) => {
                let offset = |step: usize| scale(step.wrapping_sub(first).cast_signed());
                Some(Offsets::Listed(steps.into_iter().map(offset).collect::<Option<_>>()?))
            }
        }
    }
}

/// Steps of a loop from its first on, in units.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Offsets {
    Even { step: isize, count: usize },
    Listed(Vec<isize>),
}

impl Offsets {
    fn count(&self) -> usize {
        match self {
            Self::Even { count, .. } => *count,
            Self::Listed(offsets) => offsets.len(),
        }
    }

    /// Step `index`, added to `from`. The plan has checked that the sum is inside the input.
    fn at(&self, index: usize, from: usize) -> usize {
        match self {
            Self::Even { step, .. } => from.wrapping_add_signed(step.wrapping_mul(index.cast_signed())),
            Self::Listed(offsets) => from.wrapping_add_signed(offsets[index]),
        }
    }

    fn all(&self, test: impl Fn(isize) -> bool) -> bool {
        match self {
            Self::Even { step, .. } => test(*step),
            Self::Listed(offsets) => offsets.iter().all(|&offset| test(offset)),
        }
    }

    fn divide(&mut self, by: isize) {
        match self {
            Self::Even { step, .. } => *step /= by,
            Self::Listed(offsets) => offsets.iter_mut().for_each(|offset| *offset /= by),
        }
    }
}

/// A loop, and the units of the output that one step of it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    offsets: Offsets,
    covered: usize,
}

/// A planned rearrangement of bytes. What moves together moves as one unit of up to 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearrange {
    /// Outermost first.
    levels: Vec<Level>,
    /// Neighbours in the input that stay neighbours.
    run: usize,
    /// Where in the input the first unit of the output is.
    start: usize,
    /// Bytes of a unit.
    unit: usize,
    /// The level that the innermost one, whose steps are long, is to be swapped with: its own neighbours are neighbours in
    /// the input.
    swapped: Option<usize>,
    /// Bytes of the input and of the output.
    bytes: [usize; 2],
}

/// Bytes of output that are worth a thread.
const TASK_BYTES: usize = 1 << 13;

impl Rearrange {
    /// Plans reading an input of `input_len` elements of `element_bytes` bytes by `loops`, outermost first.
    ///
    /// # Errors
    /// Loops that reach outside the input, or more results than memory can hold.
    pub fn new(loops: Vec<Steps>, input_len: usize, element_bytes: usize) -> Result<Self, Unsupported> {
        const KERNEL: &str = "rearrange";
        let mut counts: Vec<_> = loops.iter().map(Steps::count).collect();
        counts.push(element_bytes);
        let output = crate::shape::len(KERNEL, &counts)?;
        let input = crate::shape::len(KERNEL, &[input_len, element_bytes])?;
        let empty = Self { levels: Vec::new(), run: 0, start: 0, unit: 1, swapped: None, bytes: [input, output] };
        if output == 0 {
            return Ok(empty);
        }
        let outside = || Unsupported::new(KERNEL, format!("a place outside {input_len} elements"));
        let (mut first, mut least, mut greatest) = (0_usize, 0_usize, 0_usize);
        let mut plan = Self { run: element_bytes, ..empty };
        for steps in loops.into_iter().rev() {
            let steps = steps.simplify();
            let [begin, low, high] = steps.bounds().ok_or_else(outside)?;
            let sum = |a: usize, b: usize| a.checked_add(b).ok_or_else(outside);
            (first, least, greatest) = (sum(first, begin)?, sum(least, low)?, sum(greatest, high)?);
            if steps.count() > 1 {
                plan.push(steps.offsets(begin, element_bytes).ok_or_else(outside)?);
            }
        }
        if greatest >= input_len {
            return Err(outside());
        }
        plan.levels.reverse();
        plan.start = first * element_bytes;
        plan.widen();
        plan.swapped = plan.find_swapped();
        let mut covered = plan.run;
        for level in plan.levels.iter_mut().rev() {
            level.covered = covered;
            covered *= level.offsets.count();
        }
        Ok(plan)
    }

    /// Adds an outer loop, or lengthens the one inside where it just goes on.
    fn push(&mut self, offsets: Offsets) {
        if let Offsets::Even { step, count } = offsets {
            match self.levels.last_mut() {
                None if step == self.run.cast_signed() => {
                    self.run *= count;
                    return;
                }
                Some(Level { offsets: Offsets::Even { step: inner, count: times }, .. })
                    if inner.checked_mul(times.cast_signed()) == Some(step) =>
                {
                    *times *= count;
                    return;
                }
                _ => {}
            }
        }
        self.levels.push(Level { offsets, covered: 0 });
    }

    /// Chooses the largest unit that everything is a multiple of.
    fn widen(&mut self) {
        let fits = |unit: usize| {
            let whole = [self.run, self.start, self.bytes[0]].iter().all(|bytes| bytes.is_multiple_of(unit));
            whole && self.levels.iter().all(|level| level.offsets.all(|step| step % unit.cast_signed() == 0))
        };
        self.unit = [16, 8, 4, 2].into_iter().find(|&unit| fits(unit)).unwrap_or(1);
        self.run /= self.unit;
        self.start /= self.unit;
        self.levels.iter_mut().for_each(|level| level.offsets.divide(self.unit.cast_signed()));
    }

    /// Where single units far apart follow each other in the output, and neighbours of them do in an outer loop.
    fn find_swapped(&self) -> Option<usize> {
        let (last, outer) = self.levels.split_last()?;
        let far = matches!(last.offsets, Offsets::Even { step: 2.., .. });
        if self.run != 1 || !far {
            return None;
        }
        outer.iter().rposition(|level| matches!(level.offsets, Offsets::Even { step: 1, count: 4.. }))
    }

    /// Copies the bytes of `x` to their places in `y`.
    ///
    /// # Panics
    /// If a length is not the planned one, or one of them does not stand at a multiple of 8 bytes in memory.
    pub fn run(&self, context: Context<'_>, x: &[u8], y: &mut [u8]) {
        assert_eq!([x.len(), y.len()], self.bytes, "tensors have the planned shapes");
        if y.is_empty() {
            return;
        }
        match self.unit {
            16 => self.run_units::<[u64; 2]>(context, cast_slice(x), cast_slice_mut(y)),
            8 => self.run_units::<u64>(context, cast_slice(x), cast_slice_mut(y)),
            4 => self.run_units::<u32>(context, cast_slice(x), cast_slice_mut(y)),
            2 => self.run_units::<u16>(context, cast_slice(x), cast_slice_mut(y)),
            _ => self.run_units::<u8>(context, x, y),
        }
    }

    fn run_units<U: Pod + Send + Sync>(&self, context: Context<'_>, x: &[U], y: &mut [U]) {
        let worth = context.pool.share(y.len(), size_of::<U>(), TASK_BYTES);
        let alone = y.len() <= worth;
        if self.levels.is_empty() {
            let (x, chunk) = (&x[self.start..][..self.run], if alone { y.len() } else { worth });
            context.pool.chunks_mut(y, chunk, |index, y| y.copy_from_slice(&x[index * chunk..][..y.len()]));
            return;
        }
        // The loop whose steps the threads share: the outermost whose steps are small enough, but none inside a swap.
        let deepest = self.swapped.unwrap_or(self.levels.len() - 1);
        let shared = if alone { Some(0) } else { (0..deepest).find(|&level| self.levels[level].covered <= worth) };
        let shared = shared.unwrap_or(deepest);
        let Level { ref offsets, covered } = self.levels[shared];
        let (count, steps) = (offsets.count(), y.len() / covered);
        let chunk = if alone { steps } else { worth.div_ceil(covered).min(steps) };
        context.pool.chunks_mut(y, chunk * covered, |index, mut y| {
            let mut step = index * chunk;
            while !y.is_empty() {
                // Up to where the loop outside takes its next step.
                let range = step % count..count.min(step % count + y.len() / covered);
                let (now, later) = y.split_at_mut(range.len() * covered);
                self.copy(context.isa, shared, range.clone(), self.place(shared, step / count), x, now);
                (step, y) = (step + range.len(), later);
            }
        });
    }

    /// Where in the input step `index` of all loops outside `level` together leads.
    fn place(&self, level: usize, mut index: usize) -> usize {
        self.levels[..level].iter().rev().fold(self.start, |place, Level { offsets, .. }| {
            let step = index % offsets.count();
            index /= offsets.count();
            offsets.at(step, place)
        })
    }

    /// Steps `range` of a loop.
    fn copy<U: Pod>(&self, isa: Isa, level: usize, range: Range<usize>, from: usize, x: &[U], y: &mut [U]) {
        let Level { ref offsets, covered } = self.levels[level];
        if self.swapped == Some(level) {
            let to = Place { start: 0, stride: covered };
            return self.swap(isa, level + 1, range.len(), offsets.at(range.start, from), x, to, y);
        }
        if level + 1 < self.levels.len() {
            let all = 0..self.levels[level + 1].offsets.count();
            for (step, y) in range.zip(y.chunks_exact_mut(covered)) {
                self.copy(isa, level + 1, all.clone(), offsets.at(step, from), x, y);
            }
            return;
        }
        match (offsets, self.run) {
            (&Offsets::Even { step: 0, .. }, 1) => y.fill(x[from]),
            (&Offsets::Even { step: -1, .. }, 1) => {
                let last = offsets.at(range.end - 1, from);
                y.iter_mut().zip(x[last..].iter().take(range.len()).rev()).for_each(|(y, &x)| *y = x);
            }
            (Offsets::Even { step, .. }, 1) if *step > 0 => {
                let x = x[offsets.at(range.start, from)..].iter().step_by(step.unsigned_abs());
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x);
            }
            (_, 1) => y.iter_mut().zip(range).for_each(|(y, step)| *y = x[offsets.at(step, from)]),
            // Three channels of a byte or a float.
            (_, 3) => {
                for (y, step) in y.chunks_exact_mut(3).zip(range) {
                    y.copy_from_slice(&x[offsets.at(step, from)..][..3]);
                }
            }
            (_, run) => {
                for (y, step) in y.chunks_exact_mut(run).zip(range) {
                    y.copy_from_slice(&x[offsets.at(step, from)..][..run]);
                }
            }
        }
    }

    /// The loops inside the swapped one, for `rows` of its steps from `from` on.
    #[expect(clippy::too_many_arguments, reason = "two places and two slices")]
    fn swap<U: Pod>(&self, isa: Isa, level: usize, rows: usize, from: usize, x: &[U], to: Place, y: &mut [U]) {
        let Level { ref offsets, covered } = self.levels[level];
        if level + 1 < self.levels.len() {
            for step in 0..offsets.count() {
                let to = Place { start: to.start + step * covered, ..to };
                self.swap(isa, level + 1, rows, offsets.at(step, from), x, to, y);
            }
            return;
        }
        let stride = offsets.at(1, 0);
        if size_of::<U>() == 1 && offsets.count() >= BYTES {
            let (x, y) = (cast_slice(&x[from..]), cast_slice_mut(&mut y[to.start..]));
            return transpose_bytes(isa, [rows, offsets.count()], x, stride, y, to.stride);
        }
        let (x, y) = (&x[from..], &mut y[to.start..]);
        if size_of::<U>() == 4 {
            return transpose_words(isa, [rows, offsets.count()], cast_slice(x), stride, cast_slice_mut(y), to.stride);
        }
        transpose([rows, offsets.count()], x, stride, y, to.stride);
    }

    /// For each byte of the output, the byte of the input.
    #[cfg(test)]
    fn sources(&self) -> Vec<usize> {
        let level = |index: usize| (0..self.levels[index].offsets.count()).collect::<Vec<_>>();
        let mut places = vec![self.start];
        for index in 0..self.levels.len() {
            let offsets = &self.levels[index].offsets;
            places =
                places.iter().flat_map(|&from| level(index).into_iter().map(move |i| offsets.at(i, from))).collect();
        }
        let bytes = self.run * self.unit;
        places.iter().flat_map(|&from| from * self.unit..from * self.unit + bytes).collect()
    }
}

/// Rows of an array: where the first starts, and how far apart they are.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    stride: usize,
}

/// Rows and columns that are read and written together.
const TILE: usize = 8;

/// [`transpose_words`] of `N` columns: as planes of an image become its channels.
#[inline(always)]
fn interleave<const N: usize>(rows: usize, x: &[u32], x_stride: usize, y: &mut [u32], y_stride: usize) {
    let planes: [&[u32]; N] = std::array::from_fn(|plane| &x[plane * x_stride..][..rows]);
    for (row, y) in y.chunks_mut(y_stride).take(rows).enumerate() {
        y[..N].copy_from_slice(&planes.map(|plane| plane[row]));
    }
}

/// Rows and columns of bytes: a word of 64 bits is a row.
const BYTES: usize = 8;

/// Turns a tile of bytes, whose rows are numbers of which the lowest byte is the first: swaps the upper right quarter with the lower
/// left one, then likewise within each quarter, and within theirs (Warren, Hacker's Delight, 7-3).
#[inline(always)]
fn turn(mut tile: [u64; BYTES]) -> [u64; BYTES] {
    for (half, mask) in [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)] {
        for rows in tile.chunks_exact_mut(2 * half) {
            let (upper, lower) = rows.split_at_mut(half);
            for (upper, lower) in upper.iter_mut().zip(lower) {
                let differ = (*upper >> (8 * half) ^ *lower) & mask;
                *lower ^= differ;
                *upper ^= differ << (8 * half);
            }
        }
    }
    tile
}

multiversion! {
    to avx2;
    /// [`transpose`] of bytes.
    fn transpose_bytes<>(size: [usize; 2], x: &[u8], x_stride: usize, y: &mut [u8], y_stride: usize) {
        let [rows, columns] = size;
        let (whole_rows, whole_columns) = (rows - rows % BYTES, columns - columns % BYTES);
        // As many columns as fill a line of the cache of each row, so that it is written once.
        for first in (0..whole_columns).step_by(64) {
            for row in (0..whole_rows).step_by(BYTES) {
                for column in (first..whole_columns.min(first + 64)).step_by(BYTES) {
                    let mut tile = [0; BYTES];
                    for (index, tile) in tile.iter_mut().enumerate() {
                        if let Some(bytes) = x[(column + index) * x_stride + row..].first_chunk() {
                            *tile = u64::from_le_bytes(*bytes);
                        }
                    }
                    for (index, tile) in turn(tile).iter().enumerate() {
                        y[(row + index) * y_stride + column..][..BYTES].copy_from_slice(&tile.to_le_bytes());
                    }
                }
            }
        }
        for row in 0..rows {
            let start = if row < whole_rows { whole_columns } else { 0 };
            for column in start..columns {
                y[row * y_stride + column] = x[column * x_stride + row];
            }
        }
    }
}

/// `y[row * y_stride + column] = x[column * x_stride + row]` for all rows and columns of `size`, a tile at a time, so that lines of the
/// cache are used while they are there.
fn transpose<U: Pod>(size: [usize; 2], x: &[U], x_stride: usize, y: &mut [U], y_stride: usize) {
    let [rows, columns] = size;
    for first_row in (0..rows).step_by(TILE) {
        for first in (0..columns).step_by(TILE) {
            for row in first_row..rows.min(first_row + TILE) {
                for column in first..columns.min(first + TILE) {
                    y[row * y_stride + column] = x[column * x_stride + row];
                }
            }
        }
    }
}

multiversion! {
    to avx2;
    /// [`transpose`] of floats and other elements of 4 bytes: a tile stays in registers.
    fn transpose_words<>(size: [usize; 2], x: &[u32], x_stride: usize, y: &mut [u32], y_stride: usize) {
        let [rows, columns] = size;
        match columns {
            2 => return interleave::<2>(rows, x, x_stride, y, y_stride),
            3 => return interleave::<3>(rows, x, x_stride, y, y_stride),
            4 => return interleave::<4>(rows, x, x_stride, y, y_stride),
            _ => {}
        }
        let (whole_rows, whole_columns) = (rows - rows % TILE, columns - columns % TILE);
        // As many columns as fill a line of the cache of each row, so that it is written once.
        let line = 64 / size_of::<u32>();
        for first in (0..whole_columns).step_by(line) {
            for row in (0..whole_rows).step_by(TILE) {
                for column in (first..whole_columns.min(first + line)).step_by(TILE) {
                    let tile: [[u32; TILE]; TILE] = std::array::from_fn(|index| {
                        let x = &x[(column + index) * x_stride + row..][..TILE];
                        std::array::from_fn(|index| x[index])
                    });
                    for index in 0..TILE {
                        let turned: [u32; TILE] = std::array::from_fn(|column| tile[column][index]);
                        y[(row + index) * y_stride + column..][..TILE].copy_from_slice(&turned);
                    }
                }
            }
        }
        for row in 0..rows {
            let start = if row < whole_rows { whole_columns } else { 0 };
            for column in start..columns {
                y[row * y_stride + column] = x[column * x_stride + row];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Pool;

    /// Where each element of the output comes from, loop by loop.
    fn expected(loops: &[Steps]) -> Vec<usize> {
        loops.iter().fold(vec![0], |places, steps| {
            let offset = |index: usize| match steps {
                Steps::Even { start, step, .. } => start.wrapping_add_signed(step * index.cast_signed()),
                Steps::Listed(steps) => steps[index],
            };
            places.iter().flat_map(|&place| (0..steps.count()).map(move |index| place + offset(index))).collect()
        })
    }

    fn even(start: usize, step: isize, count: usize) -> Steps {
        Steps::Even { start, step, count }
    }

    fn check(loops: &[Steps], len: usize, element: usize) {
        let plan = Rearrange::new(loops.to_vec(), len, element).unwrap();
        let places = expected(loops);
        let bytes: Vec<_> = places.iter().flat_map(|&place| place * element..(place + 1) * element).collect();
        assert_eq!(plan.sources(), bytes);
        let x = crate::Buffer::from_slice(&(0..len * element).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>());
        for isa in Isa::available() {
            for pool in [Pool::serial(), Pool::new(3)] {
                let mut y = crate::Buffer::new(bytes.len());
                plan.run(Context { pool: &pool, isa }, x.as_slice(), y.as_mut_slice());
                let wrong = y.as_slice::<u8>().iter().zip(&bytes).position(|(&y, &from)| y != x.as_slice::<u8>()[from]);
                assert_eq!(wrong, None, "{loops:?} of {element} bytes on {isa}");
            }
        }
    }

    #[test]
    fn loops_nest_in_row_major_order() {
        for element in [1, 2, 4, 8, 16] {
            // [2, 3] transposed, each row taken twice.
            check(&[even(0, 1, 3), even(0, 0, 2), even(0, 3, 2)], 6, element);
            // The middle of [2, 4].
            check(&[even(0, 4, 2), even(1, 1, 2)], 8, element);
            // Backwards, in rows and in columns.
            check(&[even(4, -4, 2), even(3, -1, 4)], 8, element);
            check(&[even(0, 4, 2), even(3, -2, 2)], 8, element);
            check(&[Steps::Listed(vec![4, 0, 0]), Steps::Listed(vec![3, 1, 2])], 8, element);
            check(&[even(5, 1, 1)], 6, element);
            check(&[], 1, element);
            check(&[even(0, 1, 100_000)], 100_000, element);
        }
    }

    #[test]
    fn large_transposes_are_swapped_and_shared() {
        for (rows, columns) in [(300, 217), (64, 1000), (9, 4001)] {
            for element in [1, 2, 4, 8, 16] {
                check(&[even(0, 1, columns), even(0, columns.cast_signed(), rows)], rows * columns, element);
                // Rows of three elements.
                let loops = [even(0, 3, columns), even(0, (3 * columns).cast_signed(), rows), even(0, 1, 3)];
                check(&loops, 3 * rows * columns, element);
                // A batch, and an axis in between that stays.
                let step = columns.cast_signed() * 2;
                let loops = [
                    even(0, step * rows.cast_signed(), 2),
                    even(0, 1, columns),
                    even(0, columns.cast_signed(), 2),
                    even(0, step, rows),
                ];
                check(&loops, 4 * rows * columns, element);
            }
        }
    }

    #[test]
    fn what_lies_outside_the_input_is_refused() {
        assert!(Rearrange::new(vec![even(0, 4, 2), even(0, 4, 2)], 8, 4).is_err());
        assert!(Rearrange::new(vec![even(0, -1, 2)], 8, 4).is_err());
        assert!(Rearrange::new(vec![Steps::Listed(vec![usize::MAX, 0])], 8, 4).is_err());
        assert!(Rearrange::new(vec![even(0, isize::MAX, usize::MAX)], 8, 4).is_err());
        assert!(Rearrange::new(vec![even(0, 0, usize::MAX)], 8, 4).is_err());
        let nothing = Rearrange::new(vec![even(0, 9, 0), even(7, 7, 7)], 2, 4).unwrap();
        assert_eq!(nothing.bytes, [8, 0]);
    }

    proptest! {
        #[test]
        fn any_loops_agree_with_the_definition(
            loops in prop::collection::vec(
                prop_oneof![
                    (0_usize..40, -9_isize..40, 1_usize..7)
                        .prop_map(|(start, step, count)| even(start + 9 * count, step, count)),
                    prop::collection::vec(0_usize..50, 1..6).prop_map(Steps::Listed),
                ],
                0..5,
            ),
            element in prop::sample::select(vec![1_usize, 2, 3, 4, 8, 16]),
        ) {
            let len = expected(&loops).into_iter().max().unwrap() + 1;
            check(&loops, len, element);
        }
    }
}
