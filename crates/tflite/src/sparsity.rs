//! Sparse constants made dense.
//!
//! `SparsityParameters` describe how a tensor was walked when it was stored: the axes, and then the axes within blocks, in an
//! order of their own; along each, every index (dense) or only those that hold something (compressed).

use litesmith_graph::{Error, Result, elements};

use crate::flatbuffer::Table;
use crate::schema::{dimension_metadata, sparse_indices, sparsity};

/// Most axes of a tensor and of its blocks together.
const LEVELS_MAX: usize = 32;

/// One axis in the order in which the tensor was walked.
enum Level {
    /// Every index below the size is there.
    Dense(usize),
    /// For each position of the level above, the range `segments[p]..segments[p + 1]` of `indices`.
    Compressed { segments: Vec<usize>, indices: Vec<usize> },
}

struct Walk<'a> {
    levels: Vec<Level>,
    /// For each level, what one step along it is in elements of the dense tensor.
    strides: Vec<usize>,
    sizes: Vec<usize>,
    values: &'a [u8],
    element_bytes: usize,
    next: usize,
    dense: Vec<u8>,
}

/// The bytes of the dense tensor of `shape`, which takes at most `bytes_max`.
pub(crate) fn densify(
    table: &Table<'_>,
    shape: &[usize],
    element_bytes: usize,
    values: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let bytes = elements(shape)?.checked_mul(element_bytes).filter(|&bytes| bytes <= bytes_max);
    let Some(bytes) = bytes else {
        return Err(Error::limit("sparsity", format!("shape {shape:?} is larger than {bytes_max} bytes, the limit"))
            .with_hint("raise the limit: --limit sparse-bytes=N, Limits::sparse_bytes"));
    };
    let order = indices_of(table.scalars::<i32>(sparsity::TRAVERSAL_ORDER)?.unwrap_or_default())?;
    let blocks = indices_of(table.scalars::<i32>(sparsity::BLOCK_MAP)?.unwrap_or_default())?;
    let metadata = table.tables(sparsity::DIM_METADATA)?;
    let count = shape.len() + blocks.len();
    let mut seen = vec![false; count];
    let is_order = order.len() == count
        && count <= LEVELS_MAX
        && order.iter().all(|&axis| seen.get_mut(axis).is_some_and(|seen| !std::mem::replace(seen, true)));
    if !is_order || metadata.len() != count || blocks.iter().any(|&axis| axis >= shape.len()) {
        return Err(malformed(format!(
            "traversal order {order:?}, blocks of axes {blocks:?} and {} levels do not fit the shape {shape:?}",
            metadata.len()
        )));
    }
    let level_of = |axis: usize| order.iter().position(|&other| other == axis).unwrap_or(0);
    // Sizes of the blocks along each axis, 1 where there are none; and of the axes, in blocks.
    let mut block_sizes = vec![1; shape.len()];
    for (block, &axis) in blocks.iter().enumerate() {
        let size = metadata[level_of(shape.len() + block)].scalar(dimension_metadata::DENSE_SIZE, 0_i32)?;
        block_sizes[axis] = match usize::try_from(size) {
            Ok(size) if size > 0 && shape[axis].is_multiple_of(size) && block_sizes[axis] == 1 => size,
            _ => return Err(malformed(format!("blocks of {size} along axis {axis} of {shape:?}"))),
        };
    }
    let mut step = 1;
    let mut steps = vec![0; shape.len()];
    for (axis, &size) in shape.iter().enumerate().rev() {
        steps[axis] = step;
        step *= size.max(1);
    }
    let mut walk = Walk {
        levels: Vec::with_capacity(count),
        strides: Vec::with_capacity(count),
        sizes: Vec::with_capacity(count),
        values,
        element_bytes,
        next: 0,
        dense: vec![0; bytes],
    };
    for (table, &axis) in metadata.iter().zip(&order) {
        let (size, stride) = match axis.checked_sub(shape.len()) {
            None => (shape[axis] / block_sizes[axis], steps[axis] * block_sizes[axis]),
            Some(block) => (block_sizes[blocks[block]], steps[blocks[block]]),
        };
        walk.levels.push(read_level(table, size)?);
        walk.sizes.push(size);
        walk.strides.push(stride);
    }
    walk.level(0, 0, 0)?;
    if walk.next != values.len() {
        return Err(malformed(format!("{} bytes of values, {} of them used", values.len(), walk.next)));
    }
    Ok(walk.dense)
}

fn malformed(message: String) -> Error {
    Error::malformed("sparsity", message)
}

fn indices_of(stored: Vec<i32>) -> Result<Vec<usize>> {
    let index = |stored: i32| usize::try_from(stored).map_err(|_| malformed(format!("got axis {stored}")));
    stored.into_iter().map(index).collect()
}

fn read_level(table: &Table<'_>, size: usize) -> Result<Level> {
    match table.scalar(dimension_metadata::FORMAT, 0_i8)? {
        0 => {
            let stored = table.scalar(dimension_metadata::DENSE_SIZE, 0_i32)?;
            if usize::try_from(stored) != Ok(size) {
                return Err(malformed(format!("got a dense level of {stored}, expected {size}")));
            }
            Ok(Level::Dense(size))
        }
        1 => Ok(Level::Compressed {
            segments: read_indices(table, dimension_metadata::SEGMENTS_TYPE, dimension_metadata::SEGMENTS)?,
            indices: read_indices(table, dimension_metadata::INDICES_TYPE, dimension_metadata::INDICES)?,
        }),
        format => Err(malformed(format!("got a level of format {format}"))),
    }
}

/// A `SparseIndexVector`.
fn read_indices(table: &Table<'_>, tag: usize, field: usize) -> Result<Vec<usize>> {
    let Some(vector) = table.table(field)? else {
        return Err(malformed("a compressed level without its indices".into()));
    };
    let values = match table.scalar(tag, 0_u8)? {
        1 => return indices_of(vector.scalars::<i32>(sparse_indices::VALUES)?.unwrap_or_default()),
        2 => vector.scalars::<u16>(sparse_indices::VALUES)?.unwrap_or_default(),
        3 => vector.scalars::<u8>(sparse_indices::VALUES)?.unwrap_or_default().into_iter().map(u16::from).collect(),
        kind => return Err(malformed(format!("got indices of kind {kind}"))),
    };
    Ok(values.into_iter().map(usize::from).collect())
}

impl Walk<'_> {
    /// Walks level `at` under position `position` of the level above, at `offset` of the dense tensor.
    fn level(&mut self, at: usize, position: usize, offset: usize) -> Result<()> {
        let Some(level) = self.levels.get(at) else {
            let from = self.values.get(self.next..).and_then(|rest| rest.get(..self.element_bytes));
            let to = offset.checked_mul(self.element_bytes).and_then(|at| self.dense.get_mut(at..));
            let (Some(from), Some(to)) = (from, to.and_then(|to| to.get_mut(..self.element_bytes))) else {
                return Err(malformed(format!("{} bytes of values are too few", self.values.len())));
            };
            to.copy_from_slice(from);
            self.next += self.element_bytes;
            return Ok(());
        };
        let stride = self.strides[at];
        match level {
            Level::Dense(size) => {
                for index in 0..*size {
                    self.level(at + 1, position * self.sizes[at] + index, offset + index * stride)?;
                }
            }
            Level::Compressed { segments, indices } => {
                let range = segments.get(position).zip(segments.get(position + 1)).map(|(&from, &to)| from..to);
                let Some(range) = range.filter(|range| range.start <= range.end && range.end <= indices.len()) else {
                    return Err(malformed(format!("level {at} has no range of indices for position {position}")));
                };
                // Ascending, as they are written: nothing is walked twice.
                let mut least = 0;
                for place in range {
                    let Level::Compressed { indices, .. } = &self.levels[at] else { continue };
                    let index = indices[place];
                    if index >= self.sizes[at] || index < least {
                        return Err(malformed(format!("got index {index} of {} in level {at}", self.sizes[at])));
                    }
                    least = index + 1;
                    self.level(at + 1, place, offset + index * stride)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatbuffer::{Builder, Fields, File, Offset};

    enum Axis {
        Dense(i32),
        Compressed(&'static [i32], &'static [u8]),
    }

    /// The parameters as a file of their own.
    fn file(order: &[i32], blocks: &[i32], axes: &[Axis]) -> Vec<u8> {
        let mut builder = Builder::default();
        let levels: Vec<Offset> = axes
            .iter()
            .map(|axis| {
                let mut fields = Fields::default();
                match axis {
                    Axis::Dense(size) => {
                        fields.scalar(dimension_metadata::DENSE_SIZE, *size, 0);
                    }
                    Axis::Compressed(segments, indices) => {
                        let values = [builder.scalars(segments), builder.scalars(indices)];
                        let [segments, indices] = values.map(|values| {
                            let mut fields = Fields::default();
                            fields.offset(sparse_indices::VALUES, values);
                            builder.table(fields)
                        });
                        fields
                            .scalar(dimension_metadata::FORMAT, 1_i8, 0)
                            .scalar(dimension_metadata::SEGMENTS_TYPE, 1_u8, 0)
                            .offset(dimension_metadata::SEGMENTS, segments)
                            .scalar(dimension_metadata::INDICES_TYPE, 3_u8, 0)
                            .offset(dimension_metadata::INDICES, indices);
                    }
                }
                builder.table(fields)
            })
            .collect();
        let mut fields = Fields::default();
        fields
            .offset(sparsity::TRAVERSAL_ORDER, builder.scalars(order))
            .offset(sparsity::BLOCK_MAP, builder.scalars(blocks))
            .offset(sparsity::DIM_METADATA, builder.offsets(&levels));
        let root = builder.table(fields);
        builder.finish(root, *b"TEST").unwrap()
    }

    fn dense(bytes: &[u8], shape: &[usize], values: &[u8]) -> Result<Vec<u8>> {
        densify(&File::new(bytes, 10_000).root(*b"TEST")?, shape, 1, values, 1 << 20)
    }

    #[test]
    fn rows_of_compressed_columns() {
        let bytes = file(&[0, 1], &[], &[Axis::Dense(3), Axis::Compressed(&[0, 1, 1, 3], &[2, 0, 3])]);
        let expected = [[0, 0, 5, 0], [0, 0, 0, 0], [6, 0, 0, 7]].concat();
        assert_eq!(dense(&bytes, &[3, 4], &[5, 6, 7]).unwrap(), expected);
        for (shape, values) in
            [(&[3, 4][..], &[5, 6][..]), (&[3, 4], &[5, 6, 7, 8]), (&[3, 3], &[5, 6, 7]), (&[4, 4], &[5; 3])]
        {
            assert!(dense(&bytes, shape, values).is_err(), "{shape:?} {values:?}");
        }
        assert!(matches!(dense(&bytes, &[1 << 12, 1 << 12], &[]), Err(Error::Limit(_))));
        // Column by column.
        let bytes = file(&[1, 0], &[], &[Axis::Dense(4), Axis::Compressed(&[0, 1, 1, 2, 3], &[2, 0, 2])]);
        assert_eq!(dense(&bytes, &[3, 4], &[6, 5, 7]).unwrap(), expected);
    }

    #[test]
    fn blocks_of_two_by_two() {
        // The example of the schema: block (0, 0), then block (1, 1) of a 4 by 4 matrix.
        let axes = [Axis::Dense(2), Axis::Compressed(&[0, 1, 2], &[0, 1]), Axis::Dense(2), Axis::Dense(2)];
        let bytes = file(&[0, 1, 2, 3], &[0, 1], &axes);
        let found = dense(&bytes, &[4, 4], &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(found, [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]].concat());
    }

    #[test]
    fn what_would_be_walked_twice_is_refused() {
        let bytes = file(&[0, 1], &[], &[Axis::Dense(2), Axis::Compressed(&[0, 2, 2], &[1, 1])]);
        assert!(dense(&bytes, &[2, 4], &[5, 6]).unwrap_err().to_string().contains("got index 1 of 4"));
        let bytes = file(&[0, 0], &[], &[Axis::Dense(2), Axis::Dense(2)]);
        assert!(dense(&bytes, &[2, 2], &[1; 4]).is_err());
        let bytes = file(&[0, 1, 2], &[0], &[Axis::Dense(2), Axis::Dense(2), Axis::Dense(3)]);
        assert!(dense(&bytes, &[4, 2], &[1; 8]).is_err());
    }
}
