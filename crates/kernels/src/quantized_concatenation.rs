//! CONCATENATION of quantized tensors. Operands quantized as the output are copied ([`crate::movement::Concatenation`]);
//! others are converted first, which LiteRT allows for uint8 only.

use crate::movement::Concatenation;
use crate::numerics::{QuantParams, Quantized};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "concatenation";

/// A planned CONCATENATION on `i8`, `u8` or `i16`; the same in both numerics.
#[derive(Debug, Clone)]
pub struct QuantizedConcatenation<T> {
    movement: Concatenation,
    /// For each operand that is converted, the table of its 256 values.
    tables: Vec<Option<Box<[u8; 256]>>>,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedConcatenation<T> {
    /// Plans joining operands of these shapes along `axis`. A uint8 operand quantized otherwise than the output becomes
    /// `round(value * scale + bias) + zero_point` in f32, halves away from zero (LiteRT `reference/concatenation.h`).
    ///
    /// # Errors
    /// Shapes that do not fit, a number of `inputs` that is not that of shapes, or int8 and int16 operands quantized
    /// otherwise than the output.
    pub fn new<S: AsRef<[usize]>>(
        shapes: &[S],
        axis: usize,
        inputs: &[QuantParams],
        output: QuantParams,
    ) -> Result<Self, Unsupported> {
        if inputs.len() != shapes.len() {
            let reason = format!("{} quantizations for {} operands", inputs.len(), shapes.len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let movement = Concatenation::new(shapes, axis)?;
        output.check::<T>(KERNEL, "output")?;
        let table = |(index, &input): (usize, &QuantParams)| {
            input.check::<T>(KERNEL, "input")?;
            if input == output {
                return Ok(None);
            }
            if T::MIN != 0 {
                let reason = format!("operand {index} has {input:?}, expected the output's {output:?}");
                return Err(Unsupported::new(KERNEL, reason));
            }
            let scale = input.scale * (1.0 / output.scale);
            let bias = -input.zero_point as f32 * scale;
            let mut table = Box::new([0; 256]);
            for (value, entry) in table.iter_mut().enumerate() {
                let converted = (value as f32 * scale + bias).round() as i32;
                *entry = converted.saturating_add(output.zero_point).clamp(0, 255) as u8;
            }
            Ok(Some(table))
        };
        let tables = inputs.iter().enumerate().map(table).collect::<Result<_, _>>()?;
        Ok(Self { movement, tables, element: PhantomData })
    }

    /// Elements of the result.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.movement.output_len()
    }

    /// Puts operand number `index` in its place; call it for every operand.
    ///
    /// # Panics
    /// If there is no such operand or a buffer has another size than planned.
    pub fn run(&self, _ctx: Context<'_>, index: usize, input: &[T], output: &mut [T]) {
        self.movement.forward(index, input, output);
        if let Some(table) = &self.tables[index] {
            self.movement.for_part(index, output, |part| {
                for value in part {
                    *value = T::narrow(table[value.widen() as usize & 255].into());
                }
            });
        }
    }
}
