//! Ops that find elements by computed indices: GATHER, GATHER_ND, SCATTER_ND, EMBEDDING_LOOKUP, ONE_HOT, WHERE,
//! DYNAMIC_UPDATE_SLICE.

use super::rearrange::{Rearrangement, Steps, identity, value};
use super::{Inputs, OpSpec, resolve_axis};
use crate::{DType, Error, Result, Tensor};

/// Attributes of GATHER: the entries of one axis that the indices (input 1) name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gather {
    /// The axis; may count from the end.
    pub axis: i32,
    /// Leading axes that value and indices share, each entry with indices of its own; may count from the end of the indices.
    pub batch_dims: i32,
}

impl Gather {
    /// The axis, and how many axes are shared, of a value and indices of these shapes.
    ///
    /// # Errors
    /// [`Error::Malformed`] when they do not fit together.
    pub fn resolve(self, value: &[usize], indices: &[usize]) -> Result<(usize, usize)> {
        let axis = resolve_axis("GATHER", i64::from(self.axis), value.len())?;
        let shared = match i64::from(self.batch_dims) {
            shared @ ..0 => shared + i64::try_from(indices.len()).unwrap_or(i64::MAX),
            shared => shared,
        };
        let shared = usize::try_from(shared).ok().filter(|&shared| shared <= axis && shared <= indices.len());
        match shared.filter(|&shared| value[..shared] == indices[..shared]) {
            Some(shared) => Ok((axis, shared)),
            None => {
                let message = format!("batch_dims {} of shapes {value:?} and {indices:?}", self.batch_dims);
                Err(Error::malformed("GATHER", format!("{message} for axis {axis}")))
            }
        }
    }

    /// Where the elements come from, when the indices are constant and no axes are shared.
    pub(super) fn rearrangement(self, inputs: &Inputs<'_>) -> Option<Result<Rearrangement>> {
        let shapes = [inputs.optional(0)?, inputs.optional(1)?].map(|tensor| tensor.shape.as_slice());
        let constant = inputs.is_constant(1) && inputs.get(1, "").is_ok_and(|tensor| tensor.dtype != DType::I16);
        match self.resolve(shapes[0], shapes[1]) {
            Ok((axis, 0)) if constant => Some(self.constant(inputs, axis)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn constant(self, inputs: &Inputs<'_>, axis: usize) -> Result<Rearrangement> {
        let (shape, strides) = value(inputs, 0)?;
        let mut loops = identity(shape, &strides);
        let pick = |&index: &i64| {
            let place = usize::try_from(index).ok().filter(|&index| index < shape[axis]);
            let place = place.map(|index| index.saturating_mul(strides[axis]));
            place.ok_or_else(|| inputs.malformed(format!("index {index} of axis {axis} of {shape:?}")))
        };
        loops[axis] = Steps::Listed(inputs.integers(1, "indices")?.iter().map(pick).collect::<Result<_>>()?);
        let indices = &inputs.get(1, "indices")?.shape;
        Ok(Rearrangement { shape: [&shape[..axis], indices, &shape[axis + 1..]].concat(), loops })
    }
}

impl OpSpec for Gather {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let (value, indices) = (&inputs.get(0, "value")?.shape, &inputs.get(1, "indices")?.shape);
        let (axis, shared) = self.resolve(value, indices)?;
        Ok(vec![[&value[..axis], &indices[shared..], &value[axis + 1..]].concat()])
    }
}

/// GATHER_ND: the parts of the value that the rows of the indices (input 1) name, an index for each leading axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatherNd;

/// The last size of the indices: how many leading axes each of them names.
fn named_axes(inputs: &Inputs<'_>, indices: &Tensor, rank: usize) -> Result<usize> {
    match indices.shape.last() {
        Some(&named) if named <= rank => Ok(named),
        _ => Err(inputs.malformed(format!("indices of shape {:?} for {rank} axes", indices.shape))),
    }
}

impl OpSpec for GatherNd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let (value, indices) = (&inputs.get(0, "value")?.shape, inputs.get(1, "indices")?);
        let named = named_axes(inputs, indices, value.len())?;
        let rows = &indices.shape[..indices.shape.len() - 1];
        Ok(vec![[rows, &value[named..]].concat()])
    }
}

/// SCATTER_ND: zeros of the shape in input 2, to which the updates (input 1) are added where the indices (input 0) say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScatterNd;

impl OpSpec for ScatterNd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(3..=3)?;
        let (indices, updates) = (inputs.get(0, "indices")?, &inputs.get(1, "updates")?.shape);
        let shape = sizes(inputs, &inputs.integers(2, "shape")?)?;
        let named = named_axes(inputs, indices, shape.len())?;
        let expected = [&indices.shape[..indices.shape.len() - 1], &shape[named..]].concat();
        if *updates != expected {
            return Err(inputs.malformed(format!("updates of shape {updates:?}, expected {expected:?}")));
        }
        Ok(vec![shape])
    }

    fn typed_by(&self) -> usize {
        1
    }
}

/// SPARSE_TO_DENSE: the default value (input 3) all over the shape in input 1, and where the indices (input 0) say the values
/// (input 2), or the one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SparseToDense {
    /// Whether the file asks for indices to be in order and once each; nothing depends on it.
    pub validate_indices: bool,
}

impl OpSpec for SparseToDense {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(4..=4)?;
        let (indices, values) = (&inputs.get(0, "indices")?.shape, &inputs.get(2, "values")?.shape);
        let shape = sizes(inputs, &inputs.integers(1, "output_shape")?)?;
        let (count, named) = match indices[..] {
            [] => (1, 1),
            [count] => (count, 1),
            [count, named] => (count, named),
            _ => return Err(inputs.malformed(format!("indices of shape {indices:?}, expected at most two axes"))),
        };
        if named == 0 || named != shape.len() || !(values.is_empty() || values[..] == [count]) {
            let message =
                format!("indices of shape {indices:?} and values of shape {values:?} for a result of {shape:?}");
            return Err(inputs.malformed(message));
        }
        if inputs.get(3, "default_value")?.elements()? != 1 {
            return Err(inputs.malformed("more than one default value"));
        }
        Ok(vec![shape])
    }

    fn typed_by(&self) -> usize {
        2
    }
}

/// Sizes that must not be negative.
pub(super) fn sizes(inputs: &Inputs<'_>, sizes: &[i64]) -> Result<Vec<usize>> {
    let size = |&size: &i64| usize::try_from(size).map_err(|_| inputs.malformed(format!("got a size of {size}")));
    sizes.iter().map(size).collect()
}

/// EMBEDDING_LOOKUP: the rows of the table (input 1) that input 0 names; integer tables give floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbeddingLookup;

impl OpSpec for EmbeddingLookup {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let [rows] = inputs.shape::<1>(0, "lookup")?;
        let table = &inputs.get(1, "table")?.shape;
        if table.len() < 2 {
            return Err(inputs.malformed(format!("a table of shape {table:?}, expected rank 2 or more")));
        }
        Ok(vec![[&[rows], &table[1..]].concat()])
    }

    fn typed_by(&self) -> usize {
        1
    }
}

/// Attributes of ONE_HOT: along a new axis of as many entries as input 1 says, input 2 where the index is, else input 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OneHot {
    /// Where the new axis stands; -1 for the last.
    pub axis: i32,
}

impl OpSpec for OneHot {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(4..=4)?;
        let indices = &inputs.get(0, "indices")?.shape;
        let depth = sizes(inputs, &inputs.integers(1, "depth")?)?;
        let [depth] = depth.as_slice() else {
            return Err(inputs.malformed(format!("depth has {} elements, expected one", depth.len())));
        };
        let axis = resolve_axis("ONE_HOT", i64::from(self.axis), indices.len() + 1)?;
        let mut shape = indices.clone();
        shape.insert(axis, *depth);
        Ok(vec![shape])
    }

    fn typed_by(&self) -> usize {
        2
    }
}

/// WHERE: the coordinates of the elements that are not zero, a row for each, in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Where;

impl Where {
    /// The places of the elements that are not zero.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are no whole number of elements, [`Error::Unsupported`] for types without a zero.
    pub fn places(dtype: DType, bytes: &[u8]) -> Result<Vec<usize>> {
        let is_float = matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64);
        let size = dtype.bits() / 8;
        if size == 0 || !dtype.bits().is_multiple_of(8) || !bytes.len().is_multiple_of(size) {
            return Err(Error::unsupported("WHERE", format!("a condition of {dtype}, {} bytes", bytes.len())));
        }
        // Little-endian: the sign is the highest bit of the last byte, and -0.0 is zero.
        let set = |element: &[u8]| {
            let (last, rest) = (element[size - 1], &element[..size - 1]);
            (if is_float { last & 0x7f } else { last }) != 0 || rest.iter().any(|&byte| byte != 0)
        };
        Ok(bytes.chunks_exact(size).enumerate().filter(|(_, element)| set(element)).map(|(at, _)| at).collect())
    }
}

impl OpSpec for Where {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        let condition = inputs.get(0, "condition")?;
        let places = Self::places(condition.dtype, inputs.data(0, "condition")?.bytes())?;
        Ok(vec![vec![places.len(), condition.shape.len()]])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::I64
    }
}

/// DYNAMIC_UPDATE_SLICE: input 0 with a box replaced by input 1, which starts where input 2 says, or as near to it as fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DynamicUpdateSlice;

impl OpSpec for DynamicUpdateSlice {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(3..=3)?;
        let (operand, update) = (&inputs.get(0, "operand")?.shape, &inputs.get(1, "update")?.shape);
        let [starts] = inputs.shape::<1>(2, "start")?;
        let fits = update.len() == operand.len() && update.iter().zip(operand).all(|(update, size)| update <= size);
        if !fits || starts != operand.len() {
            return Err(inputs.malformed(format!("an update of {update:?} of {operand:?} from {starts} starts on")));
        }
        Ok(vec![operand.clone()])
    }
}
