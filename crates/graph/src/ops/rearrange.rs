//! Ops whose outputs are elements of one input in another order: TRANSPOSE, SPLIT, SPLIT_V, UNPACK, SLICE, SPACE_TO_DEPTH,
//! DEPTH_TO_SPACE, TILE, BROADCAST_TO, REVERSE_V2, MIRROR_PAD, RESIZE_NEAREST_NEIGHBOR; in files of their own STRIDED_SLICE,
//! BATCH_TO_SPACE_ND, and GATHER by constant indices.
//! Each says which element goes where; shapes, the runtime's kernel and the gradient follow from that.

use std::ops::Range;

use super::{BatchToSpaceNd, Inputs, Op, OpSpec, StridedSlice, resolve_axes, resolve_axis};
use crate::{Error, Result, Tensor};

/// Where the elements of one output come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearrangement {
    /// Shape of the output.
    pub shape: Vec<usize>,
    /// Nested loops over the output in row-major order, outermost first. Each says what it adds to the index in the input;
    /// the sum over all loops is the element read. An axis of the output may take several loops.
    pub loops: Vec<Steps>,
}

impl Rearrangement {
    /// For each element of the output, the element of the input.
    #[must_use]
    pub fn sources(&self) -> Vec<usize> {
        self.loops.iter().fold(vec![0], |places, steps| {
            let steps = steps.list();
            places.iter().flat_map(|place: &usize| steps.iter().map(move |step| place.wrapping_add(*step))).collect()
        })
    }
}

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
    /// `count` steps from 0 on.
    pub(super) fn even(count: usize, step: usize) -> Self {
        // A step that large is taken never: there are no elements so far apart.
        Self::Even { start: 0, step: isize::try_from(step).unwrap_or(isize::MAX), count }
    }

    /// A step for each of `indices`.
    pub(super) fn listed(op: &str, indices: Range<usize>, place: impl Fn(usize) -> usize) -> Result<Self> {
        check_listed(op, indices.len())?;
        Ok(Self::Listed(indices.map(place).collect()))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Even { count, .. } => *count,
            Self::Listed(steps) => steps.len(),
        }
    }

    /// What each step adds.
    #[must_use]
    pub fn list(&self) -> Vec<usize> {
        match self {
            Self::Even { count, .. } => (0..*count).map(|index| self.at(index)).collect(),
            Self::Listed(steps) => steps.clone(),
        }
    }

    /// What step `index` adds.
    fn at(&self, index: usize) -> usize {
        match self {
            Self::Even { start, step, .. } => start.wrapping_add_signed(step.wrapping_mul(index.cast_signed())),
            Self::Listed(steps) => steps[index],
        }
    }

    /// The steps from `begin` on, `count` of them, every `stride`th: they must be there.
    pub(super) fn every(&self, begin: usize, stride: isize, count: usize) -> Self {
        let index = |step: usize| begin.wrapping_add_signed(stride.wrapping_mul(step.cast_signed()));
        match self {
            Self::Even { step, .. } => Self::Even { start: self.at(begin), step: step.saturating_mul(stride), count },
            Self::Listed(_) => Self::Listed((0..count).map(|step| self.at(index(step))).collect()),
        }
    }
}

/// Elements of one listed loop, above which a shape counts as hostile: the list alone would take half a gigabyte.
const LISTED_MAX: usize = 1 << 26;

/// Outputs above which a node counts as hostile.
const OUTPUTS_MAX: usize = 1 << 16;

/// An op that rearranges one input.
pub(super) trait Rearranges {
    /// Which input holds the elements.
    const VALUE: usize = 0;

    /// One entry for each output.
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>>;
}

macro_rules! rearranging {
    ($($variant:ident),* $(,)?) => {
        $(impl OpSpec for $variant {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                Ok(self.rearrange(inputs)?.into_iter().map(|output| output.shape).collect())
            }

            fn typed_by(&self) -> usize {
                <$variant as Rearranges>::VALUE
            }
        })*

        impl Op {
            /// For an op that only rearranges elements: the input that holds them, and where each output takes its own
            /// from. `None` for other ops.
            ///
            /// # Errors
            /// As [`Op::infer_shapes`].
            pub fn rearrangement(&self, inputs: &[Option<&Tensor>]) -> Option<Result<(usize, Vec<Rearrangement>)>> {
                let inputs = Inputs::new(self, inputs.to_vec());
                $(if let Self::$variant(op) = self {
                    return Some(op.rearrange(&inputs).map(|outputs| (<$variant as Rearranges>::VALUE, outputs)));
                })*
                match self {
                    Self::Gather(op) => Some(op.rearrangement(&inputs)?.map(|output| (0, vec![output]))),
                    _ => None,
                }
            }
        }
    };
}

rearranging! {
    DepthToSpace, ResizeNearestNeighbor, SpaceToDepth, Transpose, Split, Slice, Tile, Unpack, MirrorPad, SplitV,
    ReverseV2, BroadcastTo, StridedSlice, BatchToSpaceNd,
}

/// Refuses a loop too long to be listed.
fn check_listed(op: &str, count: usize) -> Result<()> {
    if count > LISTED_MAX {
        return Err(Error::limit(op, format!("an axis of {count} elements, at most {LISTED_MAX} can be")));
    }
    Ok(())
}

/// The value's shape, whose size does not overflow, and the distance of neighbours along each axis.
pub(super) fn value<'a>(inputs: &Inputs<'a>, index: usize) -> Result<(&'a [usize], Vec<usize>)> {
    let tensor = inputs.get(index, "value")?;
    tensor.elements()?;
    let mut strides = vec![1_usize; tensor.shape.len()];
    for axis in (1..strides.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(tensor.shape[axis]);
    }
    Ok((&tensor.shape, strides))
}

/// The loops that take a tensor as it is.
pub(super) fn identity(shape: &[usize], strides: &[usize]) -> Vec<Steps> {
    shape.iter().zip(strides).map(|(&size, &stride)| Steps::even(size, stride)).collect()
}

/// Checks an attribute or element that must not be negative.
fn size(inputs: &Inputs<'_>, name: &str, value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| inputs.malformed(format!("got {name} {value}, expected 0 or more")))
}

/// Input `index`, which must have one entry for each axis.
fn for_each_axis(inputs: &Inputs<'_>, index: usize, name: &str, rank: usize) -> Result<Vec<i64>> {
    let entries = inputs.integers(index, name)?;
    if entries.len() == rank {
        return Ok(entries);
    }
    Err(inputs.malformed(format!("got {} entries of {name} for a tensor of rank {rank}", entries.len())))
}

/// Input `index`, which must be one number.
fn one(inputs: &Inputs<'_>, index: usize, name: &str) -> Result<i64> {
    match *inputs.integers(index, name)?.as_slice() {
        [one] => Ok(one),
        ref all => Err(inputs.malformed(format!("{name} has {} elements, expected one", all.len()))),
    }
}

/// TRANSPOSE: axis `permutation[i]` becomes axis `i`; the permutation is the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transpose;

impl Rearranges for Transpose {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let (shape, strides) = value(inputs, 0)?;
        let entries = for_each_axis(inputs, 1, "permutation", shape.len())?;
        let axes =
            entries.iter().map(|&axis| resolve_axis("TRANSPOSE", axis, shape.len())).collect::<Result<Vec<_>>>()?;
        if axes.len() != shape.len() || !(0..shape.len()).all(|axis| axes.contains(&axis)) {
            return Err(inputs.malformed(format!("{entries:?} is no permutation of {} axes", shape.len())));
        }
        let loops = axes.iter().map(|&axis| Steps::even(shape[axis], strides[axis])).collect();
        Ok(vec![Rearrangement { shape: axes.iter().map(|&axis| shape[axis]).collect(), loops }])
    }
}

/// SLICE: a box of the input; where it begins and its sizes (-1: up to the end) are inputs 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice;

impl Rearranges for Slice {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(3..=3)?;
        let (shape, strides) = value(inputs, 0)?;
        let begins = for_each_axis(inputs, 1, "begin", shape.len())?;
        let sizes = for_each_axis(inputs, 2, "size", shape.len())?;
        let mut loops = identity(shape, &strides);
        for (axis, steps) in loops.iter_mut().enumerate() {
            let begin = size(inputs, "begin", begins[axis])?;
            let rest = shape[axis].checked_sub(begin);
            let count = if sizes[axis] == -1 { rest } else { Some(size(inputs, "size", sizes[axis])?) };
            let (Some(rest), Some(count)) = (rest, count) else {
                return Err(inputs.malformed(format!("begin {begin} of axis {axis}, which has {}", shape[axis])));
            };
            if count > rest {
                return Err(inputs
                    .malformed(format!("{count} elements from {begin} on of axis {axis}, which has {}", shape[axis])));
            }
            *steps = steps.every(begin, 1, count);
        }
        Ok(vec![Rearrangement { shape: loops.iter().map(Steps::count).collect(), loops }])
    }
}

/// The parts of `sizes` along `axis`, one output each.
fn parts(inputs: &Inputs<'_>, index: usize, axis: usize, sizes: &[usize]) -> Result<Vec<Rearrangement>> {
    let (shape, strides) = value(inputs, index)?;
    let loops = identity(shape, &strides);
    let total = sizes.iter().fold(0_usize, |sum, &size| sum.saturating_add(size));
    if total != shape[axis] {
        return Err(inputs.malformed(format!("parts of {sizes:?} along axis {axis}, which has {}", shape[axis])));
    }
    let mut start = 0;
    Ok(sizes
        .iter()
        .map(|&size| {
            let mut part = Rearrangement { shape: shape.to_vec(), loops: loops.clone() };
            part.shape[axis] = size;
            part.loops[axis] = loops[axis].every(start, 1, size);
            start += size;
            part
        })
        .collect())
}

/// Attributes of SPLIT: equal parts along the axis in input 0, of the value in input 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// Parts, at least 1.
    pub num_splits: usize,
}

impl Rearranges for Split {
    const VALUE: usize = 1;

    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let shape = &inputs.get(1, "value")?.shape;
        let axis = resolve_axis("SPLIT", one(inputs, 0, "axis")?, shape.len())?;
        if self.num_splits == 0 || self.num_splits > OUTPUTS_MAX || !shape[axis].is_multiple_of(self.num_splits) {
            return Err(inputs.malformed(format!("{} equal parts of {}", self.num_splits, shape[axis])));
        }
        parts(inputs, 1, axis, &vec![shape[axis] / self.num_splits; self.num_splits])
    }
}

/// SPLIT_V: parts of given sizes (input 1; one may be -1: the rest) along the axis in input 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitV;

impl Rearranges for SplitV {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(3..=3)?;
        let shape = &inputs.get(0, "value")?.shape;
        let axis = resolve_axis("SPLIT_V", one(inputs, 2, "axis")?, shape.len())?;
        let given = inputs.integers(1, "sizes")?;
        let known = given
            .iter()
            .filter(|&&size| size >= 0)
            .fold(0_usize, |sum, &size| sum.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)));
        let rest = shape[axis].saturating_sub(known);
        if given.iter().filter(|&&size| size == -1).count() > 1 {
            return Err(inputs.malformed(format!("more than one open size in {given:?}")));
        }
        let sizes = given
            .iter()
            .map(|&part| if part == -1 { Ok(rest) } else { size(inputs, "size", part) })
            .collect::<Result<Vec<_>>>()?;
        parts(inputs, 0, axis, &sizes)
    }
}

/// Attributes of UNPACK: one output for each index of an axis, which is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpack {
    /// Outputs: the size of the axis.
    pub num: usize,
    /// The axis; may count from the end.
    pub axis: i32,
}

impl Rearranges for Unpack {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(1..=1)?;
        let shape = &inputs.get(0, "value")?.shape;
        let axis = resolve_axis("UNPACK", i64::from(self.axis), shape.len())?;
        if self.num != shape[axis] || self.num > OUTPUTS_MAX {
            return Err(inputs.malformed(format!("{} outputs for axis {axis} of {shape:?}", self.num)));
        }
        let mut outputs = parts(inputs, 0, axis, &vec![1; self.num])?;
        for output in &mut outputs {
            output.shape.remove(axis);
        }
        Ok(outputs)
    }
}

/// The block size of SPACE_TO_DEPTH and DEPTH_TO_SPACE, with the shape it applies to.
fn block(inputs: &Inputs<'_>, block_size: usize) -> Result<([usize; 4], usize)> {
    inputs.expect_count(1..=1)?;
    let shape = inputs.shape::<4>(0, "value")?;
    inputs.get(0, "value")?.elements()?;
    match block_size.checked_mul(block_size) {
        Some(area) if area > 0 => Ok((shape, area)),
        _ => Err(inputs.malformed(format!("got block size {block_size}"))),
    }
}

fn loops_of<const N: usize>(loops: [(usize, usize); N]) -> Vec<Steps> {
    loops.iter().map(|&(count, step)| Steps::even(count, step)).collect()
}

/// Attributes of SPACE_TO_DEPTH: the pixels of each block become channels of one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceToDepth {
    /// Pixels along each side of a block, at least 1.
    pub block_size: usize,
}

impl Rearranges for SpaceToDepth {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        let ([batch, height, width, channels], area) = block(inputs, self.block_size)?;
        let side = self.block_size;
        if !height.is_multiple_of(side) || !width.is_multiple_of(side) {
            return Err(inputs.malformed(format!("blocks of {side} x {side} in an image of {height} x {width}")));
        }
        let row = width.saturating_mul(channels);
        let loops = [
            (batch, height.saturating_mul(row)),
            (height / side, row.saturating_mul(side)),
            (width / side, channels.saturating_mul(side)),
            (side, row),
            (side, channels),
            (channels, 1),
        ];
        let shape = vec![batch, height / side, width / side, channels.saturating_mul(area)];
        Ok(vec![Rearrangement { shape, loops: loops_of(loops) }])
    }
}

/// Attributes of DEPTH_TO_SPACE: the channels of each pixel become the pixels of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DepthToSpace {
    /// Pixels along each side of a block, at least 1.
    pub block_size: usize,
}

impl Rearranges for DepthToSpace {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        let ([batch, height, width, channels], area) = block(inputs, self.block_size)?;
        let side = self.block_size;
        if !channels.is_multiple_of(area) {
            return Err(inputs.malformed(format!("blocks of {side} x {side} from {channels} channels")));
        }
        let (row, out) = (width.saturating_mul(channels), channels / area);
        let loops = [
            (batch, height.saturating_mul(row)),
            (height, row),
            (side, out.saturating_mul(side)),
            (width, channels),
            (side, out),
            (out, 1),
        ];
        let shape = vec![batch, height.saturating_mul(side), width.saturating_mul(side), out];
        Ok(vec![Rearrangement { shape, loops: loops_of(loops) }])
    }
}

/// TILE: the input repeated as often along each axis as input 1 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tile;

impl Rearranges for Tile {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let (shape, strides) = value(inputs, 0)?;
        let multiples = for_each_axis(inputs, 1, "multiples", shape.len())?;
        let mut tiled = Vec::with_capacity(shape.len());
        let mut loops = Vec::with_capacity(2 * shape.len());
        for (axis, &multiple) in multiples.iter().enumerate() {
            let multiple = size(inputs, "multiple", multiple)?;
            tiled.push(shape[axis].saturating_mul(multiple));
            loops.push(Steps::even(multiple, 0));
            loops.push(Steps::even(shape[axis], strides[axis]));
        }
        Ok(vec![Rearrangement { shape: tiled, loops }])
    }
}

/// BROADCAST_TO: the input repeated along axes of size 1, to the shape in input 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BroadcastTo;

impl Rearranges for BroadcastTo {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let (shape, strides) = value(inputs, 0)?;
        let target = inputs.integers(1, "shape")?;
        let target = target.iter().map(|&axis| size(inputs, "size", axis)).collect::<Result<Vec<_>>>()?;
        let new_axes = target.len().checked_sub(shape.len());
        let fits = |new_axes: usize| shape.iter().zip(&target[new_axes..]).all(|(&from, &to)| from == to || from == 1);
        let Some(new_axes) = new_axes.filter(|&new_axes| fits(new_axes)) else {
            return Err(inputs.malformed(format!("{shape:?} does not broadcast to {target:?}")));
        };
        let step = |axis: usize| match axis.checked_sub(new_axes) {
            Some(axis) if shape[axis] != 1 => strides[axis],
            _ => 0,
        };
        let loops = target.iter().enumerate().map(|(axis, &count)| Steps::even(count, step(axis))).collect();
        Ok(vec![Rearrangement { shape: target, loops }])
    }
}

/// REVERSE_V2: the axes in input 1 run backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReverseV2;

impl Rearranges for ReverseV2 {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let (shape, strides) = value(inputs, 0)?;
        let mut loops = identity(shape, &strides);
        for axis in resolve_axes("REVERSE_V2", &inputs.integers(1, "axes")?, shape.len())? {
            loops[axis] = loops[axis].every(shape[axis].saturating_sub(1), -1, shape[axis]);
        }
        Ok(vec![Rearrangement { shape: shape.to_vec(), loops }])
    }
}

/// Attributes of MIRROR_PAD; paddings as for PAD are input 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MirrorPad {
    /// Whether the mirror stands outside the border element, which is then repeated (SYMMETRIC), or on it (REFLECT).
    pub symmetric: bool,
}

impl Rearranges for MirrorPad {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let (shape, strides) = value(inputs, 0)?;
        let paddings = for_each_axis(inputs, 1, "paddings", 2 * shape.len())?;
        let mut loops = identity(shape, &strides);
        for (steps, pair) in loops.iter_mut().zip(paddings.chunks_exact(2)) {
            let (before, after) = (size(inputs, "padding", pair[0])?, size(inputs, "padding", pair[1])?);
            let skip = usize::from(!self.symmetric);
            let most = steps.count().saturating_sub(skip);
            if before > most || after > most {
                let count = steps.count();
                return Err(inputs.malformed(format!("paddings {pair:?} of {count} elements, at most {most}")));
            }
            if before + after == 0 {
                continue;
            }
            check_listed("MIRROR_PAD", steps.count())?;
            let all = steps.list();
            let left = all.iter().skip(skip).take(before).rev();
            let right = all.iter().rev().skip(skip).take(after);
            *steps = Steps::Listed(left.chain(&all).chain(right).copied().collect());
        }
        Ok(vec![Rearrangement { shape: loops.iter().map(Steps::count).collect(), loops }])
    }
}

/// Attributes of RESIZE_NEAREST_NEIGHBOR; height and width of the result are input 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResizeNearestNeighbor {
    /// Whether the corner pixels of both images lie on each other.
    pub align_corners: bool,
    /// Whether coordinates are those of pixel centers.
    pub half_pixel_centers: bool,
}

impl ResizeNearestNeighbor {
    /// The pixel of `input` that pixel `index` of `output` takes, in f32 as LiteRT computes it.
    fn nearest(self, index: usize, input: usize, output: usize) -> usize {
        let scale = if self.align_corners && output > 1 {
            (input - 1) as f32 / (output - 1) as f32
        } else {
            input as f32 / output as f32
        };
        let place = (index as f32 + if self.half_pixel_centers { 0.5 } else { 0.0 }) * scale;
        let place = if self.align_corners { place.round() } else { place.floor() };
        (place as usize).min(input - 1)
    }
}

impl Rearranges for ResizeNearestNeighbor {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(2..=2)?;
        let shape = inputs.shape::<4>(0, "value")?;
        let strides = value(inputs, 0)?.1;
        let sizes = for_each_axis(inputs, 1, "size", 2)?;
        let mut loops = identity(&shape, &strides);
        for axis in [1, 2] {
            let count = size(inputs, "size", sizes[axis - 1])?;
            if shape[axis] == 0 {
                return Err(inputs.malformed(format!("an image of shape {shape:?}")));
            }
            let place = |pixel| self.nearest(pixel, shape[axis], count).saturating_mul(strides[axis]);
            loops[axis] = Steps::listed("RESIZE_NEAREST_NEIGHBOR", 0..count, place)?;
        }
        Ok(vec![Rearrangement { shape: loops.iter().map(Steps::count).collect(), loops }])
    }
}
