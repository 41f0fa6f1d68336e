//! GATHER by computed indices, GATHER_ND, SCATTER_ND, SPARSE_TO_DENSE, EMBEDDING_LOOKUP, ONE_HOT, WHERE, DYNAMIC_UPDATE_SLICE.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result, Tensor, ops};
use litesmith_kernels::indexing::{self, Indices, OutOfRange};

use super::{NodeContext, rearrange, refused, same_quantization};
use crate::kernel::{Inputs, Kernel};

/// The input that holds indices, and their type.
#[derive(Clone, Copy)]
struct IndexInput {
    input: usize,
    dtype: DType,
}

impl IndexInput {
    fn new(cx: &NodeContext<'_>, input: usize) -> Result<Self> {
        match cx.input(input)?.dtype {
            dtype @ (DType::I16 | DType::I32 | DType::I64) => Ok(Self { input, dtype }),
            _ => Err(cx.no_kernel()),
        }
    }

    fn get<'a>(&self, inputs: Inputs<'a>) -> Indices<'a> {
        match self.dtype {
            DType::I16 => Indices::I16(inputs.get(self.input)),
            DType::I32 => Indices::I32(inputs.get(self.input)),
            _ => Indices::I64(inputs.get(self.input)),
        }
    }
}

/// The error of an index outside its axis.
fn outside(error: OutOfRange) -> Error {
    Error::invalid("", error)
}

/// Bytes of an element.
fn element(cx: &NodeContext<'_>, tensor: &Tensor) -> Result<usize> {
    match tensor.dtype.bits() {
        0 => Err(cx.no_kernel()),
        bits if bits.is_multiple_of(8) => Ok(bits / 8),
        _ => Err(cx.no_kernel()),
    }
}

/// Checks that what is copied keeps its type and quantization.
fn same(cx: &NodeContext<'_>, tensor: &Tensor) -> Result<()> {
    let output = cx.output()?;
    if tensor.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(tensor, output)
}

fn product(sizes: &[usize]) -> usize {
    sizes.iter().product()
}

pub(super) fn plan_gather(cx: &NodeContext<'_>, op: &ops::Gather) -> Result<Kernel> {
    if cx.node.op.rearrangement(&cx.graph.node_tensors(&cx.node.inputs)).is_some() {
        return rearrange::plan(cx);
    }
    let (value, indices) = (cx.input(0)?, cx.input(1)?);
    same(cx, value)?;
    let (axis, shared) = op.resolve(&value.shape, &indices.shape)?;
    let gather = indexing::Gather::new(
        product(&value.shape[..shared]),
        product(&value.shape[shared..axis]),
        &value.shape[axis..=axis],
        product(&indices.shape[shared..]),
        product(&value.shape[axis + 1..]) * element(cx, value)?,
    );
    let gather = gather.map_err(refused)?;
    gather_kernel(cx, gather, 0, 1)
}

pub(super) fn plan_gather_nd(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (value, indices) = (cx.input(0)?, cx.input(1)?);
    same(cx, value)?;
    let (named, rows) = indices.shape.split_last().ok_or_else(|| cx.no_kernel())?;
    let (named, rest) = value.shape.split_at(*named);
    let slice = product(rest) * element(cx, value)?;
    let gather = indexing::Gather::new(1, 1, named, product(rows), slice).map_err(refused)?;
    gather_kernel(cx, gather, 0, 1)
}

pub(super) fn plan_embedding_lookup(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (lookup, table) = (cx.input(0)?, cx.input(1)?);
    let bits = table.dtype.bits();
    // A row of 4-bit values that ends inside a byte is no slice.
    let row_bits = product(&table.shape[1..]).saturating_mul(bits);
    if bits == 0 || !row_bits.is_multiple_of(8) {
        return Err(cx.no_kernel());
    }
    let output = cx.output()?;
    let rows = lookup.shape.first().copied().unwrap_or(0);
    if table.dtype == output.dtype {
        same(cx, table)?;
        let gather = indexing::Gather::new(1, 1, &table.shape[..1], rows, row_bits / 8).map_err(refused)?;
        return gather_kernel(cx, gather, 1, 0);
    }
    if output.dtype != DType::F32 || lookup.dtype != DType::I32 {
        return Err(cx.no_kernel());
    }
    let values: fn(&[u8]) -> Vec<i8> = match table.dtype {
        // LiteRT reads uint8 as int8: files of the time before int8 store these so.
        DType::I8 | DType::U8 => |row| row.iter().map(|&value| value.cast_signed()).collect(),
        DType::I4 => {
            |row| row.iter().flat_map(|&pair| [(pair << 4).cast_signed() >> 4, pair.cast_signed() >> 4]).collect()
        }
        _ => return Err(cx.no_kernel()),
    };
    plan_dequantizing(cx, table, rows, values)
}

/// Rows of a table of small integers, times their scale.
fn plan_dequantizing(
    cx: &NodeContext<'_>,
    table: &Tensor,
    rows: usize,
    values: fn(&[u8]) -> Vec<i8>,
) -> Result<Kernel> {
    let Some(quantization) = &table.quantization else {
        return Err(Error::malformed("", format!("the table \"{}\" has no scale", table.name)));
    };
    let scales = quantization.scales.clone();
    let entries = table.shape[0];
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(Error::unsupported("", "a table with a zero point other than 0"));
    }
    if scales.len() != 1 && (quantization.axis != 0 || scales.len() != entries) {
        return Err(Error::malformed("", format!("{} scales for {entries} rows", scales.len())));
    }
    let width = product(&table.shape[1..]);
    Ok(Kernel::new(cx.kernel_name(table.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<f32>();
        let (lookup, table) = (inputs.get::<i32>(0), inputs.get::<u8>(1));
        let bytes = table.len() / entries.max(1);
        for (&index, y) in lookup.iter().zip(y.chunks_exact_mut(width.max(1))).take(rows) {
            let found = usize::try_from(index).ok().filter(|&index| index < entries);
            let row = found.ok_or_else(|| outside(OutOfRange { index: index.into(), size: entries }))?;
            let scale = if scales.len() == 1 { scales[0] } else { scales[row] };
            let values = values(&table[row * bytes..][..bytes]);
            y.iter_mut().zip(values).for_each(|(y, value)| *y = f32::from(value) * scale);
        }
        Ok(())
    }))
}

fn gather_kernel(cx: &NodeContext<'_>, gather: indexing::Gather, value: usize, indices: usize) -> Result<Kernel> {
    let indices = IndexInput::new(cx, indices)?;
    Ok(Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, y) = io.split();
        gather.run(context, inputs.get(value), indices.get(inputs), y).map_err(outside)
    }))
}

pub(super) fn plan_scatter_nd(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (indices, updates, output) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    if updates.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    let (&named, _) = indices.shape.split_last().ok_or_else(|| cx.no_kernel())?;
    let (named, rest) = output.shape.split_at(named);
    let slice = product(rest) * element(cx, output)?;
    let scatter = indexing::Scatter::new(named, slice).map_err(refused)?;
    let add: fn(&mut [u8], &[u8]) = match updates.dtype {
        DType::F32 => |y, x| add::<f32>(y, x, |a, b| a + b),
        DType::F64 => |y, x| add::<f64>(y, x, |a, b| a + b),
        DType::I8 | DType::U8 => |y, x| add(y, x, u8::wrapping_add),
        DType::Bool => |y, x| add(y, x, |a, b| u8::from(a | b != 0)),
        DType::I16 | DType::U16 => |y, x| add(y, x, u16::wrapping_add),
        DType::I32 | DType::U32 => |y, x| add(y, x, u32::wrapping_add),
        DType::I64 | DType::U64 => |y, x| add(y, x, u64::wrapping_add),
        _ => return Err(cx.no_kernel()),
    };
    let indices = IndexInput::new(cx, 0)?;
    Ok(Kernel::new(cx.kernel_name(output.dtype), move |_, mut io| {
        let (inputs, y) = io.split();
        scatter.run(indices.get(inputs), inputs.get(1), y, add).map_err(outside)
    }))
}

pub(super) fn plan_sparse_to_dense(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (values, default, output) = (cx.input(2)?, cx.input(3)?, cx.output()?);
    if values.dtype != output.dtype || default.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    let (element, places) = (element(cx, output)?, IndexInput::new(cx, 0)?);
    let dense = indexing::SparseToDense::new(&output.shape).map_err(refused)?;
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        let default = inputs.get::<u8>(3).get(..element).unwrap_or_default();
        dense.run(places.get(inputs), inputs.get(2), default, y).map_err(outside)
    }))
}

/// Adds elements that are given as bytes.
fn add<T: Pod>(y: &mut [u8], x: &[u8], sum: impl Fn(T, T) -> T) {
    let (y, x) = (bytemuck::cast_slice_mut::<_, T>(y), bytemuck::cast_slice::<_, T>(x));
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = sum(*y, x));
}

pub(super) fn plan_one_hot(cx: &NodeContext<'_>, op: &ops::OneHot) -> Result<Kernel> {
    let (indices, on, off, output) = (cx.input(0)?, cx.input(2)?, cx.input(3)?, cx.output()?);
    let single = on.elements()? == 1 && off.elements()? == 1;
    if on.dtype != output.dtype || off.dtype != output.dtype || !single {
        return Err(cx.no_kernel());
    }
    let axis = ops::resolve_axis("ONE_HOT", i64::from(op.axis), output.shape.len())?;
    let inner = product(&indices.shape[axis..]);
    let depth = output.shape[axis];
    let (element, places) = (element(cx, output)?, IndexInput::new(cx, 0)?);
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        if let (Some(on), Some(off)) = (inputs.get(2).get(..element), inputs.get(3).get(..element)) {
            indexing::one_hot(places.get(inputs), inner, depth, on, off, y);
        }
        Ok(())
    }))
}

pub(super) fn plan_where(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (shape, dtype) = (cx.input(0)?.shape.clone(), cx.input(0)?.dtype);
    if cx.output()?.dtype != DType::I64 {
        return Err(cx.no_kernel());
    }
    Ok(Kernel::new(cx.kernel_name(dtype), move |_, mut io| {
        let (inputs, y) = io.split::<i64>();
        let places = ops::Where::places(dtype, inputs.get(0))?;
        if y.len() != places.len() * shape.len() {
            return Err(Error::invalid("", format!("{} elements are not zero, planned for others", places.len())));
        }
        for (mut place, row) in places.into_iter().zip(y.chunks_exact_mut(shape.len())) {
            for (coordinate, &size) in row.iter_mut().zip(&shape).rev() {
                *coordinate = i64::try_from(place % size).unwrap_or(i64::MAX);
                place /= size;
            }
        }
        Ok(())
    }))
}

pub(super) fn plan_dynamic_update_slice(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (operand, update) = (cx.input(0)?, cx.input(1)?);
    same(cx, operand)?;
    same(cx, update)?;
    let plan = indexing::DynamicUpdateSlice::new(&operand.shape, &update.shape, element(cx, operand)?);
    let plan = plan.map_err(refused)?;
    let starts = IndexInput::new(cx, 2)?;
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split();
        plan.run(inputs.get(0), inputs.get(1), starts.get(inputs), y);
        Ok(())
    }))
}
