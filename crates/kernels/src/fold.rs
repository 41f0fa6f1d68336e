//! Reductions that are a fold over the elements in their order in memory: plain integers, booleans, products.

use crate::Unsupported;
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::numerics::{QuantParams, Quantized};
use crate::quantized_reduce::Plan;
use crate::requantize::FixedPoint;
use std::marker::PhantomData;

/// A planned fold over some axes.
#[derive(Debug, Clone)]
pub struct Fold {
    plan: Plan,
}

impl Fold {
    /// Plans folding `shape` over `axes` (repeated ones count once).
    ///
    /// # Errors
    /// An axis beyond the rank, or more than nine dimensions that cannot be merged.
    pub fn new(shape: &[usize], axes: &[usize]) -> Result<Self, Unsupported> {
        Ok(Self { plan: Plan::new(shape, axes)? })
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        [self.plan.input_len, self.plan.output_len]
    }

    /// Elements of the input that meet in one of the output; 0 if there are none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.plan.input_len.checked_div(self.plan.output_len).unwrap_or(0)
    }

    /// Starts each element of the output with `first` and folds its elements of the input into it.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run<T: Copy, A: Copy>(&self, input: &[T], output: &mut [A], first: A, fold: impl Fn(A, T) -> A) {
        assert_eq!([input.len(), output.len()], self.lens(), "operand and result have the planned shapes");
        output.fill(first);
        self.plan.for_rows(input, output, |row, output| match output {
            [out] => *out = row.iter().fold(*out, |out, &value| fold(out, value)),
            output => output.iter_mut().zip(row).for_each(|(out, &value)| *out = fold(*out, value)),
        });
    }
}

/// A planned REDUCE_PROD on `i8` or `i16`: after each multiplication the product is scaled by `input scale / output
/// scale^(1/count)`, rounded as 64-bit numbers are, so that it stays small (LiteRT `reference/reduce.h`,
/// `QuantizedReduceProd`).
#[derive(Debug, Clone)]
pub struct QuantizedProduct<T> {
    fold: Fold,
    input_zero_point: i32,
    output_zero_point: i32,
    scale: FixedPoint,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedProduct<T> {
    /// Plans the product of `shape` over `axes`.
    ///
    /// # Errors
    /// An axis beyond the rank, or bad quantization.
    pub fn new(shape: &[usize], axes: &[usize], input: QuantParams, output: QuantParams) -> Result<Self, Unsupported> {
        input.check::<T>("reduce_prod", "input")?;
        output.check::<T>("reduce_prod", "output")?;
        let fold = Fold::new(shape, axes)?;
        let root = f64::from(output.scale).powf(1.0 / fold.count().max(1) as f64);
        let scale = FixedPoint::new(f64::from(input.scale) / root);
        let (input_zero_point, output_zero_point) = (input.zero_point, output.zero_point);
        Ok(Self { fold, input_zero_point, output_zero_point, scale, element: PhantomData })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<i64>(self.fold.plan.output_len)
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        // Products have 32 bits, so that this one stands for none.
        const NONE: i64 = i64::MIN;
        let products = &mut typed_scratch::<i64>(scratch)[..output.len()];
        self.fold.run(input, products, NONE, |product, value: T| {
            let value = i64::from(value.widen() - self.input_zero_point);
            if product == NONE { value } else { self.scale.round_wide(product * value).into() }
        });
        for (out, &product) in output.iter_mut().zip(&*products) {
            let product = if product == NONE { 0 } else { product };
            let value = self.scale.round_wide(product).wrapping_add(self.output_zero_point);
            *out = T::narrow(value.clamp(T::MIN, T::MAX));
        }
    }
}
