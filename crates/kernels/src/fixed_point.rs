//! gemmlowp's fixed-point functions (`fixedpoint/fixedpoint.h`), on raw Q numbers: a `Qn` has `n` integer bits and
//! `31 - n` fraction bits. Products of a `Qa` and a `Qb` are `Q(a + b)`.

use crate::requantize::{doubling_high_product as product, rounding_shift_right};

/// `x * 2^exponent` for a positive exponent, saturating.
pub(crate) fn saturating_shift_left(x: i32, exponent: u32) -> i32 {
    let shifted = i64::from(x) << exponent;
    shifted.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// `exp(a)` in Q0 for a Q0 `a` in `[-1/4, 0)`: a Taylor polynomial around -1/8.
fn exp_on_last_quarter(a: i32) -> i32 {
    const EXP_OF_MINUS_EIGHTH: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = a.wrapping_add(1 << 28);
    let x2 = product(x, x);
    let x3 = product(x2, x);
    let quarter_of_x4 = rounding_shift_right(product(x2, x2), 2);
    let tail = rounding_shift_right(product(quarter_of_x4.wrapping_add(x3), THIRD).wrapping_add(x2), 1);
    EXP_OF_MINUS_EIGHTH.wrapping_add(product(EXP_OF_MINUS_EIGHTH, x.wrapping_add(tail)))
}

/// `exp(a)` in Q0 for a `Q(integer_bits)` `a <= 0`, `integer_bits` in 0..=5.
pub(crate) fn exp_of_non_positive(a: i32, integer_bits: u32) -> i32 {
    /// `exp(-2^k)` in Q0 for k from -2 to 4.
    const POWERS: [(i32, i32); 7] = [
        (-2, 1_672_461_947),
        (-1, 1_302_514_674),
        (0, 790_015_084),
        (1, 290_630_308),
        (2, 39_332_535),
        (3, 720_401),
        (4, 242),
    ];
    if a == 0 {
        return i32::MAX;
    }
    let fraction_bits = 31 - integer_bits as i32;
    let quarter = 1 << (fraction_bits - 2);
    let last_quarter = (a & (quarter - 1)) - quarter;
    let mut result = exp_on_last_quarter(saturating_shift_left(last_quarter, integer_bits));
    let remainder = last_quarter.wrapping_sub(a);
    for (exponent, power) in POWERS {
        if integer_bits as i32 > exponent && remainder & 1 << (fraction_bits + exponent) != 0 {
            result = product(result, power);
        }
    }
    result
}

/// Newton's division on `[1/2, 1]`: three steps from 48/17 - 32/17 d towards 1/d, in Q2.
fn reciprocal(half_denominator: i32) -> i32 {
    const FORTY_EIGHT_SEVENTEENTHS: i32 = 1_515_870_810;
    const MINUS_THIRTY_TWO_SEVENTEENTHS: i32 = -1_010_580_540;
    let mut x = FORTY_EIGHT_SEVENTEENTHS.wrapping_add(product(half_denominator, MINUS_THIRTY_TWO_SEVENTEENTHS));
    for _ in 0..3 {
        let error = (1i32 << 29).wrapping_sub(product(half_denominator, x));
        x = x.wrapping_add(saturating_shift_left(product(x, error), 2));
    }
    x
}

/// Half of `a + 1` for a Q0 `a`, halves away from zero.
fn half_of_one_plus(a: i32) -> i32 {
    let sum = i64::from(a) + i64::from(i32::MAX);
    ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32
}

/// `1 / (1 + a)` in Q0 for a Q0 `a` in `[0, 1]`.
pub(crate) fn one_over_one_plus(a: i32) -> i32 {
    saturating_shift_left(reciprocal(half_of_one_plus(a)), 1)
}

/// `(1 - a) / (1 + a)` in Q0 for a Q0 `a` in `[0, 1]`.
pub(crate) fn one_minus_over_one_plus(a: i32) -> i32 {
    saturating_shift_left(reciprocal(half_of_one_plus(a)).wrapping_sub(1 << 29), 2)
}

/// The logistic function in Q0 of a `Q(integer_bits)` number.
pub(crate) fn logistic(a: i32, integer_bits: u32) -> i32 {
    if a == 0 {
        return 1 << 30;
    }
    let magnitude = if a > 0 { a } else { a.wrapping_neg() };
    let result = one_over_one_plus(exp_of_non_positive(magnitude.wrapping_neg(), integer_bits));
    if a > 0 { result } else { i32::MAX.wrapping_sub(result) }
}

/// tanh in Q0 of a `Q(integer_bits)` number, `integer_bits` at most 4.
pub(crate) fn tanh(a: i32, integer_bits: u32) -> i32 {
    if a == 0 {
        return 0;
    }
    let negative = if a < 0 { a } else { a.wrapping_neg() };
    // exp(-2|a|): the same bits read with one more integer bit.
    let result = one_minus_over_one_plus(exp_of_non_positive(negative, integer_bits + 1));
    if a < 0 { result.wrapping_neg() } else { result }
}
