//! SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: the pixels at each place of a block become an image of their own, and back.

use super::rearrange::{Rearrangement, Rearranges, Steps, identity, value};
use super::{Inputs, OpSpec};
use crate::{Error, Result};

/// Elements before and after.
type Edges = (usize, usize);

/// Sizes of a block (input 1), one for each axis after the first, and (before, after) for each (input 2).
fn blocks(inputs: &Inputs<'_>, rank: usize, name: &str) -> Result<(Vec<usize>, Vec<Edges>)> {
    let sizes = |index: usize, name: &str| -> Result<Vec<usize>> {
        let entries = inputs.integers(index, name)?;
        let size = |&size: &i64| usize::try_from(size).map_err(|_| inputs.malformed(format!("got a {name} of {size}")));
        entries.iter().map(size).collect()
    };
    let (blocks, edges) = (sizes(1, "block size")?, sizes(2, name)?);
    if blocks.is_empty() || blocks.len() + 1 > rank || blocks.contains(&0) || edges.len() != 2 * blocks.len() {
        let message =
            format!("blocks of {blocks:?} with {} entries of {name} for a tensor of rank {rank}", edges.len());
        return Err(inputs.malformed(message));
    }
    Ok((blocks, edges.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
}

/// SPACE_TO_BATCH_ND: blocks are input 1, paddings input 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceToBatchNd;

/// What SPACE_TO_BATCH_ND does, in two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedRearrangement {
    /// Elements before and after, for each axis of the input.
    pub paddings: Vec<(usize, usize)>,
    /// Sizes once it is padded.
    pub padded: Vec<usize>,
    /// Where the elements of the output come from in that.
    pub output: Rearrangement,
}

impl SpaceToBatchNd {
    /// The padding, and where the elements come from in the padded tensor.
    ///
    /// # Errors
    /// As [`Op::infer_shapes`](super::Op::infer_shapes).
    pub fn resolve(self, inputs: &Inputs<'_>) -> Result<PaddedRearrangement> {
        inputs.expect_count(3..=3)?;
        let shape = &inputs.get(0, "value")?.shape;
        let (blocks, edges) = blocks(inputs, shape.len(), "padding")?;
        let mut paddings = vec![(0, 0); shape.len()];
        paddings[1..=blocks.len()].copy_from_slice(&edges);
        let padded = shape.iter().zip(&paddings).map(|(size, &(before, after))| {
            let padded = size.checked_add(before).and_then(|size| size.checked_add(after));
            padded.ok_or_else(|| Error::limit("SPACE_TO_BATCH_ND", "the result is too large"))
        });
        let padded = padded.collect::<Result<Vec<_>>>()?;
        crate::elements(&padded)?;
        let mut strides = vec![1_usize; padded.len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(padded[axis]);
        }
        let mut output = Rearrangement { shape: padded.clone(), loops: Vec::new() };
        for (axis, &block) in (1..).zip(&blocks) {
            if !padded[axis].is_multiple_of(block) {
                return Err(inputs.malformed(format!("blocks of {block} in {} of axis {axis}", padded[axis])));
            }
            output.shape[axis] = padded[axis] / block;
            output.shape[0] = output.shape[0].saturating_mul(block);
            output.loops.push(Steps::even(block, strides[axis]));
        }
        output.loops.push(Steps::even(padded[0], strides[0]));
        let blocks = [1].iter().chain(&blocks).chain(std::iter::repeat(&1));
        for ((&size, &stride), &block) in output.shape.iter().zip(&strides).zip(blocks).skip(1) {
            output.loops.push(Steps::even(size, stride.saturating_mul(block)));
        }
        Ok(PaddedRearrangement { paddings, padded, output })
    }
}

impl OpSpec for SpaceToBatchNd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        Ok(vec![self.resolve(inputs)?.output.shape])
    }
}

/// BATCH_TO_SPACE_ND: blocks are input 1, what is cropped input 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchToSpaceNd;

impl Rearranges for BatchToSpaceNd {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(3..=3)?;
        let (shape, strides) = value(inputs, 0)?;
        let (blocks, crops) = blocks(inputs, shape.len(), "crop")?;
        let images = blocks.iter().fold(1_usize, |product, &block| product.saturating_mul(block));
        if !shape[0].is_multiple_of(images) {
            return Err(inputs.malformed(format!("blocks of {blocks:?} from a batch of {}", shape[0])));
        }
        let mut result = Rearrangement { shape: shape.to_vec(), loops: Vec::new() };
        result.shape[0] = shape[0] / images;
        result.loops.push(Steps::even(result.shape[0], strides[0]));
        // How far apart the images are that are neighbours along an axis of the block.
        let mut apart = shape[0].saturating_mul(strides[0]);
        for (axis, (&block, &(before, after))) in (1..).zip(blocks.iter().zip(&crops)) {
            apart /= block;
            let whole = shape[axis].saturating_mul(block);
            let Some(size) = whole.checked_sub(before).and_then(|size| size.checked_sub(after)) else {
                return Err(inputs.malformed(format!("crops of {before} and {after} of {whole} along axis {axis}")));
            };
            result.shape[axis] = size;
            if before == 0 && after == 0 {
                result.loops.push(Steps::even(shape[axis], strides[axis]));
                result.loops.push(Steps::even(block, apart));
            } else {
                let place = |at: usize| at / block * strides[axis] + at % block * apart;
                result.loops.push(Steps::listed("BATCH_TO_SPACE_ND", before..before + size, place)?);
            }
        }
        result.loops.extend(identity(shape, &strides).into_iter().skip(blocks.len() + 1));
        Ok(vec![result])
    }
}
