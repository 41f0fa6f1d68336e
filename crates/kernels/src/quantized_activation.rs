//! Integer RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, HARD_SWISH, LOGISTIC, TANH and GELU, standing alone. Each is a function
//! of one value, so a plan tabulates it for all values of the type and a run looks it up.

use crate::byte_table::ByteTable;
use crate::fixed_point::{logistic, saturating_shift_left, tanh};
use crate::integer_conv::share_out;
use crate::lookup::{LOGISTIC, lookup_16, table_16};
use crate::numerics::{Numerics, QuantParams, Quantized, clamped_range};
use crate::requantize::{FixedPoint, doubling_high_product, rounding_shift_right};
use crate::{Activation, Context, Unsupported};

const KERNEL: &str = "activation";
/// Elements that are worth a thread.
const WORTH: usize = 4 << 10;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// A clamp: RELU, RELU6 or RELU_N1_TO_1.
    Relu(Activation),
    /// A clamp to [0, 1].
    Relu0To1,
    /// `x` where positive, `exp(x) - 1` elsewhere; int8 only.
    Elu,
    /// Absolute value; not of uint8.
    Abs,
    /// `exp(x)`; not of uint8.
    Exp,
    /// Natural logarithm; not of uint8. Of what is not positive it is the smallest value.
    Log,
    /// Square root; not of uint8.
    Sqrt,
    /// `1 / sqrt(x)`; not of uint8. Of 0 it is the largest value.
    Rsqrt,
    /// `x` above 0, else `alpha * x`.
    LeakyRelu {
        /// Slope below 0.
        alpha: f32,
    },
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Logistic,
    /// Hyperbolic tangent.
    Tanh,
    /// `x` times the normal distribution function.
    Gelu {
        /// The tanh formula instead of the error function.
        approximate: bool,
    },
}

/// A planned activation on `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct QuantizedActivation<T> {
    table: Table<T>,
    /// The smallest value that the function is defined for.
    smallest: Option<T>,
}

/// The function, indexed by the bits of the value.
#[derive(Debug, Clone)]
enum Table<T> {
    Bytes(ByteTable),
    Words(Box<[T]>),
}

impl<T: Quantized> Table<T> {
    fn new(entries: &[i32]) -> Self {
        match T::BITS {
            8 => Self::Bytes(ByteTable::new(|x| entries[usize::from(x)] as u8)),
            _ => Self::Words(entries.iter().map(|&entry| T::narrow(entry)).collect()),
        }
    }
}

impl<T: Quantized> QuantizedActivation<T> {
    /// Plans `function`.
    ///
    /// # Errors
    /// Bad quantization, or a function that LiteRT has not for this type.
    pub fn new(
        function: Unary,
        input: QuantParams,
        output: QuantParams,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        output.check::<T>(KERNEL, "output")?;
        if T::BITS == 16 && (input.zero_point, output.zero_point) != (0, 0) {
            return Err(Unsupported::new(KERNEL, "int16 with a zero point other than 0"));
        }
        let ends = Ends { input, output, bits: T::BITS, min: T::MIN, max: T::MAX };
        let one = |table: Vec<i32>| Self { table: Table::new(&table), smallest: None };
        let not_negative =
            |table: Vec<i32>| Self { table: Table::new(&table), smallest: Some(T::narrow(input.zero_point)) };
        let kind = (T::BITS, T::MIN < 0);
        let missing = || Err(Unsupported::new(KERNEL, format!("{function:?} of {}", std::any::type_name::<T>())));
        match function {
            Unary::Relu(activation) => relu(ends, activation.range(), activation).map(one),
            Unary::Relu0To1 if T::BITS == 8 => relu(ends, (0.0, 1.0), Activation::None).map(one),
            Unary::Elu if kind == (8, true) => {
                let elu = |x: f32| if x < 0.0 { f64::from(x).exp_m1() as f32 } else { x };
                Ok(one(match numerics {
                    Numerics::Litert => xnnpack_table(ends, elu),
                    Numerics::Reference => builtin_table(ends, elu),
                }))
            }
            Unary::Relu0To1 | Unary::Elu => missing(),
            Unary::Abs | Unary::Exp | Unary::Log | Unary::Sqrt | Unary::Rsqrt if !kind.1 => missing(),
            Unary::Abs => Ok(one(abs(ends))),
            Unary::Exp => Ok(one(by_table(ends, expf))),
            Unary::Log => {
                let smallest = output.scale * (T::MIN - output.zero_point) as f32;
                Ok(one(by_table(ends, move |x| if x <= 0.0 { smallest } else { f64::from(x).ln() as f32 })))
            }
            Unary::Sqrt => Ok(not_negative(sqrt(ends))),
            Unary::Rsqrt if T::BITS == 16 => {
                let largest = T::MAX as f32 * output.scale;
                Ok(not_negative(by_table(ends, move |x| if x <= 0.0 { largest } else { 1.0 / x.sqrt() })))
            }
            Unary::Rsqrt => Ok(not_negative(rsqrt(ends))),
            Unary::LeakyRelu { alpha } => leaky_relu(ends, alpha, numerics).map(one),
            Unary::HardSwish if T::BITS == 16 => Err(Unsupported::new(KERNEL, "HARD_SWISH of int16")),
            Unary::HardSwish => hard_swish(ends).map(one),
            Unary::Logistic | Unary::Tanh if T::BITS == 16 => {
                logistic_16(ends, function == Unary::Tanh, numerics).map(one)
            }
            Unary::Logistic => {
                if output.scale != 1.0 / 256.0 {
                    let reason = format!("LOGISTIC with output scale {}, expected 1/256", output.scale);
                    return Err(Unsupported::new(KERNEL, reason));
                }
                Ok(one(match numerics {
                    Numerics::Litert => xnnpack_table(ends, |x| {
                        let e = f64::from(x).exp();
                        if x > 100.0 { 1.0 } else { (e / (1.0 + e)) as f32 }
                    }),
                    Numerics::Reference => builtin_table(ends, |x| 1.0 / (1.0 + f64::from(-x).exp() as f32)),
                }))
            }
            Unary::Tanh => {
                let tanh = |x: f32| f64::from(x).tanh() as f32;
                Ok(one(match numerics {
                    Numerics::Litert => xnnpack_table(ends, tanh),
                    Numerics::Reference => builtin_table(ends, tanh),
                }))
            }
            Unary::Gelu { approximate } => {
                let function = if approximate { gelu_tanh } else { gelu_erf };
                Ok(one(by_table(ends, function)))
            }
        }
    }

    /// The function as a table, where the type has 8 bits and the function is defined for every value.
    #[must_use]
    pub fn byte_table(&self) -> Option<&ByteTable> {
        match &self.table {
            Table::Bytes(table) if self.smallest.is_none() => Some(table),
            _ => None,
        }
    }

    /// The first element that the function is not defined for: a negative number under a square root.
    #[must_use]
    pub fn outside(&self, input: &[T]) -> Option<usize> {
        let smallest = self.smallest?;
        input.iter().position(|&value| value < smallest)
    }

    /// Runs.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        match &self.table {
            Table::Bytes(table) => table.run(ctx, bytemuck::cast_slice(input), bytemuck::cast_slice_mut(output)),
            Table::Words(table) => share_out(ctx.pool, output, WORTH, &|first, output| {
                for (out, &value) in output.iter_mut().zip(&input[first..]) {
                    *out = table[(value.widen() & 0xffff) as usize];
                }
            }),
        }
    }
}

/// Input and output, and the range of their type. A value, so that tables are made by the same code for all types.
#[derive(Clone, Copy)]
struct Ends {
    input: QuantParams,
    output: QuantParams,
    bits: u32,
    min: i32,
    max: i32,
}

impl Ends {
    /// `function` of every value, clamped to the type, in the order of their bits.
    fn tabulate(self, function: impl Fn(i32) -> i32) -> Vec<i32> {
        let Self { bits, min, max, .. } = self;
        // Bits beyond the largest value are those of the negative ones.
        let value = |x: i32| if x > max { x - (1 << bits) } else { x };
        (0..1 << bits).map(|x| function(value(x)).clamp(min, max)).collect()
    }
}

/// LiteRT `internal/common.h`, `LUTPopulateInt8`: f32, halves away from zero before the zero point is added.
fn builtin_table(ends: Ends, function: impl Fn(f32) -> f32) -> Vec<i32> {
    let Ends { input, output, .. } = ends;
    let inverse = 1.0 / output.scale;
    ends.tabulate(|x| {
        let value = function(input.scale * (x - input.zero_point) as f32);
        ((value * inverse).round() + output.zero_point as f32) as i32
    })
}

/// XNNPACK `reference/unary-elementwise.cc`: f32, the zero point added before rounding halves to even.
fn xnnpack_table(ends: Ends, function: impl Fn(f32) -> f32) -> Vec<i32> {
    let Ends { input, output, .. } = ends;
    let inverse = 1.0 / output.scale;
    ends.tabulate(|x| {
        let value = function((x as f32 - input.zero_point as f32) * input.scale);
        (value * inverse + output.zero_point as f32).round_ties_even() as i32
    })
}

/// `exp` as the GNU C library computes `expf` (`sysdeps/ieee754/flt-32/e_expf.c`): within 0.502 ulp, which an int16 table can
/// tell from a correctly rounded one.
fn expf(x: f32) -> f32 {
    const STEPS: f64 = 32.0;
    let scaled = f64::from(x) * (std::f64::consts::LOG2_E * STEPS);
    let whole = scaled.round_ties_even();
    let r = scaled - whole;
    let high = 0.055_503_615_593_415_35 / (STEPS * STEPS * STEPS) * r + 0.240_228_452_244_572_2 / (STEPS * STEPS);
    let low = 0.693_147_180_691_620_3 / STEPS * r + 1.0;
    ((high * (r * r) + low) * (whole / STEPS).exp2()) as f32
}

/// LiteRT's table of a function: of all values for 8 bits, of 513 with interpolation for 16.
fn by_table(ends: Ends, function: impl Fn(f32) -> f32) -> Vec<i32> {
    if ends.bits == 8 {
        return builtin_table(ends, function);
    }
    let table = table_16(ends.input.scale, 0, ends.output.scale, 0, function);
    ends.tabulate(|x| lookup_16(&table, x as i16).into())
}

/// LiteRT `kernels/elementwise.cc`, `AbsEvalQuantized`.
fn abs(ends: Ends) -> Vec<i32> {
    let Ends { input, output, .. } = ends;
    let scale = FixedPoint::new((input.scale / output.scale).into());
    let rescales = input.scale != output.scale;
    ends.tabulate(|x| {
        let magnitude = (x - input.zero_point).abs();
        (if rescales { scale.round_twice(magnitude) } else { magnitude }).wrapping_add(output.zero_point)
    })
}

/// LiteRT `kernels/elementwise.cc`, `SqrtEvalQuantized`: f32, the quotient cut towards zero.
fn sqrt(ends: Ends) -> Vec<i32> {
    let Ends { input, output, .. } = ends;
    ends.tabulate(|x| {
        let root = (input.scale * (x - input.zero_point) as f32).max(0.0).sqrt();
        ((root / output.scale) as i32).wrapping_add(output.zero_point)
    })
}

/// LiteRT `kernels/elementwise.cc`, `RsqrtEvalQuantizedInt8`.
fn rsqrt(ends: Ends) -> Vec<i32> {
    const SHIFT: i32 = 20;
    let Ends { input, output, .. } = ends;
    let scale = FixedPoint::new(1.0 / f64::from(input.scale.sqrt() * output.scale));
    ends.tabulate(|x| {
        let x = x - input.zero_point;
        if x <= 0 {
            return ends.max;
        }
        let FixedPoint { multiplier, shift } = inverse_sqrt(x);
        let root = FixedPoint { multiplier, shift: shift + SHIFT }.round_twice(1);
        let scaled = FixedPoint { multiplier: scale.multiplier, shift: scale.shift - SHIFT }.round_twice(root);
        scaled.wrapping_add(output.zero_point)
    })
}

/// `1 / sqrt(x)` for a positive `x` by five steps of Newton's method in Q3.28 (LiteRT `internal/common.h`,
/// `GetInvSqrtQuantizedMultiplierExp`).
fn inverse_sqrt(x: i32) -> FixedPoint {
    if x <= 1 {
        return FixedPoint { multiplier: i32::MAX, shift: 0 };
    }
    let (mut x, mut right) = (x, 11);
    while x >= 1 << 29 {
        x /= 4;
        right += 1;
    }
    let pairs = (x.leading_zeros() as i32 - 1) / 2 - 1;
    right -= pairs;
    let x = (x << (2 * pairs)) >> 1;
    let half = rounding_shift_right(x, 1);
    let three_halves = (1 << 28) + (1 << 27);
    let mut root = 1 << 28;
    for _ in 0..5 {
        // Q9.22 products of three, back to Q3.28.
        let cube = doubling_high_product(doubling_high_product(root, root), root);
        let cube = saturating_shift_left::<32>(cube, 6);
        let step = doubling_high_product(three_halves, root).wrapping_sub(doubling_high_product(half, cube));
        root = saturating_shift_left::<32>(step, 3);
    }
    let half_sqrt_2 = 1_518_500_250;
    let mut multiplier = doubling_high_product(root, half_sqrt_2);
    if right < 0 {
        multiplier <<= -right;
        right = 0;
    }
    FixedPoint { multiplier, shift: -right }
}

/// LiteRT `reference/reference_ops.h`, `ReluX`, in both modes.
fn relu(ends: Ends, range: (f64, f64), activation: Activation) -> Result<Vec<i32>, Unsupported> {
    let Ends { input, output, .. } = ends;
    crate::numerics::check_activation(KERNEL, activation)?;
    // The ratio is taken in f32.
    let scale = FixedPoint::new((input.scale / output.scale).into());
    let (min, max) = clamped_range((ends.min, ends.max), range, output);
    Ok(ends.tabulate(|x| output.zero_point.wrapping_add(scale.round_twice(x - input.zero_point)).max(min).min(max)))
}

fn leaky_relu(ends: Ends, alpha: f32, numerics: Numerics) -> Result<Vec<i32>, Unsupported> {
    let Ends { input, output, .. } = ends;
    if !alpha.is_finite() {
        return Err(Unsupported::new(KERNEL, format!("LEAKY_RELU with alpha {alpha}")));
    }
    let above = input.scale / output.scale;
    let below = above * alpha;
    let delegated = numerics == Numerics::Litert
        && ends.bits == 8
        && alpha.is_normal()
        && (1.0 / 256.0..=128.0).contains(&above)
        && (-127.996_09..=128.0).contains(&below)
        && below.abs() >= 1.0 / 256.0;
    if delegated {
        // XNNPACK `qs8-vlrelu`: multipliers in 1/256, one rounding with halves upwards.
        let fixed = |scale: f32| (256.0 * scale).round_ties_even() as i32;
        let (above, below) = (fixed(above), fixed(below));
        return Ok(ends.tabulate(|x| {
            let x = x - input.zero_point;
            ((x * if x > 0 { above } else { below } + 128) >> 8) + output.zero_point
        }));
    }
    // LiteRT `reference/leaky_relu.h`; both ratios are taken in f32.
    let above = FixedPoint::new(above.into());
    let below = FixedPoint::new((input.scale * alpha / output.scale).abs().into());
    let sign = if alpha < 0.0 { -1 } else { 1 };
    Ok(ends.tabulate(|x| {
        let x = x - input.zero_point;
        let scaled = if x >= 0 { above.round_twice(x) } else { sign * below.round_twice(x) };
        scaled.wrapping_add(output.zero_point)
    }))
}

/// LiteRT `reference/hard_swish.h`, in both modes: 16-bit fixed point.
fn hard_swish(ends: Ends) -> Result<Vec<i32>, Unsupported> {
    let Ends { input, output, .. } = ends;
    let fixed = |ratio: f32| {
        let FixedPoint { multiplier, shift } = FixedPoint::new(ratio.into());
        let cut = if multiplier >= i32::MAX - (1 << 15) { 0x7fff } else { (multiplier + (1 << 15)) >> 16 };
        (cut, shift)
    };
    let fine_scale = 1.0 / 128.0 * input.scale;
    let (output_multiplier, output_exponent) = fixed(fine_scale / output.scale);
    let (relu_multiplier, relu_exponent) = fixed(fine_scale / (3.0 / 32_768.0));
    if output_exponent > 0 {
        let reason = format!("HARD_SWISH from scale {} to {}", input.scale, output.scale);
        return Err(Unsupported::new(KERNEL, reason));
    }
    let saturate = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into());
    let shift_left = |x: i32, by: i32| {
        saturate(i32::try_from(i64::from(x) << by.min(32)).unwrap_or(if x < 0 { i32::MIN } else { i32::MAX }))
    };
    // Doubling high product of 16-bit numbers to nearest, halves away from zero as the sign nudges it.
    let product = |a: i32, b: i32| {
        let nudge = if a * b >= 0 { 1 << 14 } else { 1 - (1 << 14) };
        saturate((a * b + nudge) / (1 << 15))
    };
    Ok(ends.tabulate(|x| {
        let fine = (x - input.zero_point) << 7;
        let on_output_scale = product(fine, output_multiplier);
        let mut relu = fine;
        if relu_exponent > 0 {
            relu = shift_left(relu, relu_exponent - 1);
        }
        relu = product(relu, relu_multiplier);
        if relu_exponent > 0 {
            relu = shift_left(relu, 1);
        } else {
            relu = rounding_shift_right(relu, (-relu_exponent).min(31) as u32);
        }
        let relu = (relu + (1 << 15)) >> 1;
        let scaled = relu * on_output_scale / (1 << 15);
        rounding_shift_right(scaled, (-output_exponent).min(31) as u32) + output.zero_point
    }))
}

/// LiteRT `reference/integer_ops/logistic.h` and `tanh.h` for int16: interpolated in a table of `logistic(i / 24)`. For an
/// input scale of 1/4096 (tanh: or 1/2048) the optimized builtin uses 16-bit fixed point instead.
fn logistic_16(ends: Ends, is_tanh: bool, numerics: Numerics) -> Result<Vec<i32>, Unsupported> {
    let Ends { input, output, .. } = ends;
    if output.scale != 1.0 / 32_768.0 {
        let reason = format!("int16 output scale {}, expected 1/32768", output.scale);
        return Err(Unsupported::new(KERNEL, reason));
    }
    // The table has 3 * 4096 steps per unit.
    let power = f64::from(input.scale).log2().round();
    let exact = (f64::from(input.scale).log2() - power).abs() < 1e-3;
    let left = 12 + power as i32;
    let power_of_two = exact && (left == 0 || is_tanh && left == 1);
    if power_of_two && numerics == Numerics::Litert {
        return Ok(ends.tabulate(|x| {
            let x = saturating_shift_left::<16>(x, left as u32);
            if is_tanh { tanh::<16>(x, 3) } else { logistic::<16>(x, 3) }
        }));
    }
    let (multiplier, shift) = if power_of_two {
        (3 << left, 0)
    } else {
        let (mut multiplier, mut shift) = (f64::from(input.scale) * 4096.0 * 3.0, 0);
        while multiplier <= 32_767.0 / 2.0 && shift <= 30 {
            multiplier *= 2.0;
            shift += 1;
        }
        (multiplier as i32, shift)
    };
    let fraction_bits = if is_tanh { 8 } else { 9 };
    let round = if shift > 0 { 1i32 << (shift - 1) } else { 0 };
    Ok(ends.tabulate(|x| {
        let x = x.wrapping_mul(multiplier).wrapping_add(round) >> shift;
        let magnitude = x.unsigned_abs();
        let at = (magnitude >> fraction_bits) as usize;
        let fraction = (magnitude & ((1 << fraction_bits) - 1)) as i32;
        let interpolated = |saturated: i32| match LOGISTIC.get(at..at + 2) {
            Some(&[low, high]) if at < 255 => {
                (i32::from(low) << fraction_bits) + fraction * (i32::from(high) - i32::from(low))
            }
            _ => saturated,
        };
        if is_tanh {
            let value = interpolated(0xffff << 8);
            let value = if x >= 0 { value - (1 << 23) + (1 << 7) } else { -value + (1 << 23) + (1 << 7) - 1 };
            value >> 8
        } else {
            let value = interpolated(0x7fff << 10);
            let value = if x >= 0 { value + (1 << 9) } else { (1 << 25) - value + (1 << 9) - 1 };
            value >> 10
        }
    }))
}

fn gelu_erf(x: f32) -> f32 {
    0.5 * x * libm::erfcf(x * -std::f32::consts::FRAC_1_SQRT_2)
}

fn gelu_tanh(x: f32) -> f32 {
    let inner = (std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2) as f32;
    0.5 * x * (1.0 + f64::from(inner * (x + 0.044_715 * x * x * x)).tanh() as f32)
}
