//! Constants of mostly zeros stored sparse: how to walk the tensor so that values and indices take the fewest bytes.

use std::collections::BTreeMap;

use litesmith_graph::{DType, Graph, Op, TensorId};

use crate::flatbuffer::{Builder, Fields, Offset};
use crate::schema::{dimension_metadata, sparse_indices, sparsity};

/// Tensors with fewer bytes are not worth the tables.
const BYTES_MIN: usize = 256;
/// Most axes.
const RANK_MAX: usize = 4;
/// What a sparse tensor costs beside values, segments and indices: its tables, and DENSIFY with its own tensor.
const OVERHEAD: usize = 256;
/// Blocks along the axis that is walked last.
const BLOCKS: [usize; 5] = [1, 2, 4, 8, 16];

/// A constant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    order: Vec<usize>,
    /// The axis that has blocks, if one has.
    block: Option<usize>,
    levels: Vec<Level>,
    pub(crate) values: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Dense(usize),
    Compressed { segments: Vec<usize>, indices: Vec<usize> },
}

/// A way to walk a tensor.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The axis that comes last; the others keep their order.
    last: usize,
    /// Elements of a block along it.
    block: usize,
    /// Levels, from the end and without that within blocks, of which only what holds something is stored.
    compressed: usize,
}

/// The constant of `shape` with elements of `element_bytes`, stored sparse; `None` where that does not take fewer bytes.
pub(crate) fn sparsify(shape: &[usize], element_bytes: usize, dense: &[u8]) -> Option<Sparse> {
    if dense.len() < BYTES_MIN || shape.is_empty() || shape.len() > RANK_MAX || element_bytes == 0 {
        return None;
    }
    let is_zero: Vec<bool> =
        dense.chunks_exact(element_bytes).map(|bytes| bytes.iter().all(|&byte| byte == 0)).collect();
    // Whatever the order, values and indices of more than half are as large as all values of one byte.
    let nonzero = is_zero.iter().filter(|zero| !**zero).count();
    if nonzero * element_bytes + OVERHEAD >= dense.len() || is_zero.len() != shape.iter().product::<usize>() {
        return None;
    }
    let mut best: Option<(usize, Plan)> = None;
    for last in 0..shape.len() {
        for block in BLOCKS.into_iter().filter(|block| shape[last].is_multiple_of(*block)) {
            for (compressed, bytes) in costs(shape, element_bytes, &is_zero, last, block).into_iter().enumerate() {
                if best.is_none_or(|(least, _)| bytes < least) {
                    best = Some((bytes, Plan { last, block, compressed: compressed + 1 }));
                }
            }
        }
    }
    let (bytes, plan) = best?;
    (bytes + OVERHEAD < dense.len()).then(|| encode(shape, element_bytes, dense, &is_zero, plan))
}

/// The weights of a graph that take fewer bytes stored sparse, by the index of their tensor: float32 that layers read, and
/// float16 that DEQUANTIZE reads. Int8 ones LiteRT refuses by default (its XNNPACK delegate fails to prepare the layer).
pub(crate) fn sparse_constants(graph: &Graph) -> BTreeMap<usize, Sparse> {
    let fits = |op: &Op, input: usize, dtype: DType| match op {
        Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) => input == 1 && dtype == DType::F32,
        Op::Dequantize(_) => dtype == DType::F16,
        _ => false,
    };
    let mut found = BTreeMap::new();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let (Some(data), DType::F32 | DType::F16) = (&tensor.data, tensor.dtype) else { continue };
        let reads = graph.nodes.iter().flat_map(|node| {
            let inputs = node.inputs.iter().enumerate().filter(|(_, id)| **id == Some(TensorId(index)));
            inputs.map(|(input, _)| fits(&node.op, input, tensor.dtype))
        });
        let reads: Vec<bool> = reads.collect();
        // What other ops read they may want constant when they plan.
        if !reads.is_empty() && !reads.contains(&false) && !graph.outputs.contains(&TensorId(index)) {
            found.extend(sparsify(&tensor.shape, tensor.dtype.bits() / 8, data.bytes()).map(|sparse| (index, sparse)));
        }
    }
    found
}

/// The axes in the order in which they are walked.
fn order(rank: usize, last: usize) -> Vec<usize> {
    (0..rank).filter(|&axis| axis != last).chain([last]).collect()
}

/// Offsets of the elements in the order of the walk.
fn walk(shape: &[usize], order: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    order.iter().fold(vec![0], |offsets, &axis| {
        offsets
            .iter()
            .flat_map(|&offset| (0..shape[axis]).map(move |index| (offset, index)))
            .map(|(offset, index)| offset + index * strides[axis])
            .collect()
    })
}

/// Sizes of the levels, that within blocks left out.
fn sizes(shape: &[usize], order: &[usize], block: usize) -> Vec<usize> {
    let mut sizes: Vec<_> = order.iter().map(|&axis| shape[axis]).collect();
    if let Some(size) = sizes.last_mut() {
        *size /= block;
    }
    sizes
}

/// For each level, whether something is in each of its positions; the innermost level last.
fn occupied(offsets: &[usize], is_zero: &[bool], sizes: &[usize], block: usize) -> Vec<Vec<bool>> {
    let mut levels =
        vec![offsets.chunks(block).map(|block| block.iter().any(|&offset| !is_zero[offset])).collect::<Vec<_>>()];
    for &size in sizes.iter().skip(1).rev() {
        let above = levels[0].chunks(size).map(|run| run.contains(&true)).collect();
        levels.insert(0, above);
    }
    levels
}

/// Bytes with 1, 2, .. compressed levels.
fn costs(shape: &[usize], element_bytes: usize, is_zero: &[bool], last: usize, block: usize) -> Vec<usize> {
    let order = order(shape.len(), last);
    let sizes = sizes(shape, &order, block);
    let counts: Vec<usize> = occupied(&walk(shape, &order), is_zero, &sizes, block)
        .iter()
        .map(|level| level.iter().filter(|occupied| **occupied).count())
        .collect();
    let Some(&leaves) = counts.last() else { return Vec::new() };
    let mut costs = Vec::new();
    let mut below = leaves * block * element_bytes;
    for level in (0..sizes.len()).rev() {
        // Positions of the level above: all of them when that is dense, else those that hold something.
        let dense_above: usize = sizes[..level].iter().product();
        let indices = counts[level] * width(sizes[level].saturating_sub(1));
        costs.push(below + indices + (dense_above + 1) * width(counts[level]));
        let filled_above = if level == 0 { 1 } else { counts[level - 1] };
        below += indices + (filled_above + 1) * width(counts[level]);
    }
    costs
}

/// Bytes of an integer that holds `largest`.
fn width(largest: usize) -> usize {
    match largest {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

fn encode(shape: &[usize], element_bytes: usize, dense: &[u8], is_zero: &[bool], plan: Plan) -> Sparse {
    let order = order(shape.len(), plan.last);
    let offsets = walk(shape, &order);
    let sizes = sizes(shape, &order, plan.block);
    let occupied = occupied(&offsets, is_zero, &sizes, plan.block);
    let first = sizes.len() - plan.compressed;
    let mut levels: Vec<Level> = sizes[..first].iter().map(|&size| Level::Dense(size)).collect();
    // The positions of the level above that are stored.
    let mut positions: Vec<usize> = (0..sizes[..first].iter().product()).collect();
    for level in first..sizes.len() {
        let (mut segments, mut indices, mut kept) = (vec![0], Vec::new(), Vec::new());
        for position in positions {
            for index in 0..sizes[level] {
                let at = position * sizes[level] + index;
                if occupied[level][at] {
                    indices.push(index);
                    kept.push(at);
                }
            }
            segments.push(indices.len());
        }
        levels.push(Level::Compressed { segments, indices });
        positions = kept;
    }
    let elements = positions.iter().flat_map(|&at| &offsets[at * plan.block..(at + 1) * plan.block]);
    let values = elements.flat_map(|&offset| &dense[offset * element_bytes..(offset + 1) * element_bytes]);
    let values = values.copied().collect();
    let mut order = order;
    if plan.block > 1 {
        levels.push(Level::Dense(plan.block));
        order.push(shape.len());
    }
    Sparse { order, block: (plan.block > 1).then_some(plan.last), levels, values }
}

impl Sparse {
    /// The tables that say how it is stored.
    pub(crate) fn write(&self, builder: &mut Builder) -> Offset {
        let number = |&value: &usize| i32::try_from(value).unwrap_or(i32::MAX);
        let mut levels = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let mut fields = Fields::default();
            match level {
                Level::Dense(size) => {
                    fields.scalar(dimension_metadata::DENSE_SIZE, number(size), 0);
                }
                Level::Compressed { segments, indices } => {
                    let ((segments_type, segments), (indices_type, indices)) =
                        (write_indices(builder, segments), write_indices(builder, indices));
                    fields
                        .scalar(dimension_metadata::FORMAT, 1_i8, 0)
                        .scalar(dimension_metadata::SEGMENTS_TYPE, segments_type, 0)
                        .offset(dimension_metadata::SEGMENTS, segments)
                        .scalar(dimension_metadata::INDICES_TYPE, indices_type, 0)
                        .offset(dimension_metadata::INDICES, indices);
                }
            }
            levels.push(builder.table(fields));
        }
        let order: Vec<_> = self.order.iter().map(number).collect();
        let mut fields = Fields::default();
        fields.offset(sparsity::TRAVERSAL_ORDER, builder.scalars(&order));
        if let Some(block) = self.block {
            fields.offset(sparsity::BLOCK_MAP, builder.scalars(&[number(&block)]));
        }
        fields.offset(sparsity::DIM_METADATA, builder.offsets(&levels));
        builder.table(fields)
    }
}

/// The narrowest `SparseIndexVector`, and which it is.
fn write_indices(builder: &mut Builder, values: &[usize]) -> (u8, Offset) {
    let (kind, vector) = match width(values.iter().copied().max().unwrap_or(0)) {
        1 => (3, builder.scalars(&values.iter().map(|&value| value as u8).collect::<Vec<_>>())),
        2 => (2, builder.scalars(&values.iter().map(|&value| value as u16).collect::<Vec<_>>())),
        _ => (1, builder.scalars(&values.iter().map(|&value| value as i32).collect::<Vec<_>>())),
    };
    let mut fields = Fields::default();
    fields.offset(sparse_indices::VALUES, vector);
    (kind, builder.table(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatbuffer::File;
    use crate::sparsity::densify;

    /// A tensor with something at each element of which `holds` says so.
    fn tensor(shape: &[usize], element_bytes: usize, holds: impl Fn(usize) -> bool) -> Vec<u8> {
        let count: usize = shape.iter().product();
        (0..count)
            .flat_map(|index| vec![if holds(index) { (index % 255 + 1) as u8 } else { 0 }; element_bytes])
            .collect()
    }

    fn round_trip(shape: &[usize], element_bytes: usize, dense: &[u8]) -> (usize, Sparse) {
        let sparse = sparsify(shape, element_bytes, dense).unwrap();
        let mut builder = Builder::default();
        let root = sparse.write(&mut builder);
        let bytes = builder.finish(root, *b"TEST").unwrap();
        let file = File::new(&bytes, 1 << 24);
        let table = file.root(*b"TEST").unwrap();
        assert_eq!(densify(&table, shape, element_bytes, &sparse.values, 1 << 20).unwrap(), dense);
        (bytes.len() + sparse.values.len(), sparse)
    }

    #[test]
    fn what_is_mostly_zero_gets_smaller_and_comes_back() {
        let hash = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) % 100;
        for (shape, element_bytes) in [
            (vec![64, 100], 4),
            (vec![64, 100], 1),
            (vec![32, 3, 3, 24], 4),
            (vec![1, 3, 3, 640], 4),
            (vec![70_000], 2),
        ] {
            for percent in [3, 12, 30] {
                let dense = tensor(&shape, element_bytes, |index| hash(index) < percent);
                let (bytes, _) = round_trip(&shape, element_bytes, &dense);
                assert!(bytes < dense.len(), "{shape:?} {percent} %: {bytes} of {}", dense.len());
            }
        }
    }

    #[test]
    fn blocks_and_whole_channels_are_found() {
        // Every fourth block of four.
        let (_, blocks) = round_trip(&[32, 64], 4, &tensor(&[32, 64], 4, |index| (index / 4 + index / 64) % 4 == 1));
        assert_eq!((blocks.block, blocks.values.len()), (Some(1), 32 * 64));
        // Two of eight filters: the filter is what is compressed.
        let dense = tensor(&[8, 3, 3, 16], 4, |index| index / 144 % 4 == 0);
        let (bytes, filters) = round_trip(&[8, 3, 3, 16], 4, &dense);
        assert!(filters.values.len() == 2 * 144 * 4 && bytes < dense.len() / 3, "{bytes} {filters:?}");
    }

    #[test]
    fn what_would_not_get_smaller_stays_dense() {
        let half = |index: usize| index.wrapping_mul(2_654_435_761) >> 7 & 1 == 0;
        assert_eq!(sparsify(&[64, 64], 1, &tensor(&[64, 64], 1, half)), None);
        assert_eq!(sparsify(&[4, 4], 4, &[0; 64]), None);
        assert_eq!(sparsify(&[64, 64], 4, &tensor(&[64, 64], 4, |_| true)), None);
    }
}
