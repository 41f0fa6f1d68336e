//! gemmlowp's fixed-point functions (`fixedpoint/fixedpoint.h`) on raw numbers of `BITS` (32 or 16) bits, held in an i32: a
//! `Qn` has `n` integer bits and `BITS - 1 - n` fraction bits. Products of a `Qa` and a `Qb` are `Q(a + b)`.

use crate::requantize::{FixedPoint, doubling_high_product, rounding_shift_right};

/// The largest raw number; as a Q0, one.
const fn max<const BITS: u32>() -> i32 {
    i32::MAX >> (32 - BITS)
}

/// Wraps to `BITS` bits.
fn wrap<const BITS: u32>(x: i32) -> i32 {
    x << (32 - BITS) >> (32 - BITS)
}

fn add<const BITS: u32>(a: i32, b: i32) -> i32 {
    wrap::<BITS>(a.wrapping_add(b))
}

fn subtract<const BITS: u32>(a: i32, b: i32) -> i32 {
    wrap::<BITS>(a.wrapping_sub(b))
}

/// Twice the product's high half, to nearest.
pub(crate) fn product<const BITS: u32>(a: i32, b: i32) -> i32 {
    if BITS == 32 {
        return doubling_high_product(a, b);
    }
    if (a, b) == (i16::MIN.into(), i16::MIN.into()) { i16::MAX.into() } else { (a * b + (1 << 14)) >> 15 }
}

/// A constant given with 32 bits.
fn constant<const BITS: u32>(x: i32) -> i32 {
    rounding_shift_right(x, 32 - BITS)
}

/// `x * 2^exponent`, saturating.
pub(crate) fn saturating_shift_left<const BITS: u32>(x: i32, exponent: u32) -> i32 {
    let most = i64::from(max::<BITS>());
    (i64::from(x) << exponent).clamp(-most - 1, most) as i32
}

/// `exp(a)` in Q0 for a Q0 `a` in `[-1/4, 0)`: a Taylor polynomial around -1/8.
fn exp_on_last_quarter<const BITS: u32>(a: i32) -> i32 {
    let exp_of_minus_eighth = constant::<BITS>(1_895_147_668);
    let third = constant::<BITS>(715_827_883);
    let x = add::<BITS>(a, 1 << (BITS - 4));
    let x2 = product::<BITS>(x, x);
    let x3 = product::<BITS>(x2, x);
    let quarter_of_x4 = rounding_shift_right(product::<BITS>(x2, x2), 2);
    let tail = add::<BITS>(product::<BITS>(add::<BITS>(quarter_of_x4, x3), third), x2);
    let product = product::<BITS>(exp_of_minus_eighth, add::<BITS>(x, rounding_shift_right(tail, 1)));
    if BITS == 16 {
        return (exp_of_minus_eighth + product).clamp(i16::MIN.into(), i16::MAX.into());
    }
    exp_of_minus_eighth.wrapping_add(product)
}

/// `exp(a)` in Q0 for a `Q(integer_bits)` `a <= 0`, `integer_bits` at most 7.
pub(crate) fn exp_of_non_positive<const BITS: u32>(a: i32, integer_bits: u32) -> i32 {
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
        return max::<BITS>();
    }
    let fraction_bits = (BITS - 1 - integer_bits) as i32;
    let quarter = 1 << (fraction_bits - 2);
    let last_quarter = (a & (quarter - 1)) - quarter;
    let mut result = exp_on_last_quarter::<BITS>(saturating_shift_left::<BITS>(last_quarter, integer_bits));
    let remainder = subtract::<BITS>(last_quarter, a);
    for (exponent, power) in POWERS {
        if integer_bits as i32 > exponent && remainder & 1 << (fraction_bits + exponent) != 0 {
            result = product::<BITS>(result, constant::<BITS>(power));
        }
    }
    // Larger powers have no factor: below -32 it is 0.
    if integer_bits > 5 && a < -32 << fraction_bits { 0 } else { result }
}

/// Newton's division: three steps from 48/17 - 32/17 d towards 1/d for a Q0 `d` in `[1/2, 1]`, in Q2.
fn reciprocal<const BITS: u32>(half_denominator: i32) -> i32 {
    let forty_eight_seventeenths = constant::<BITS>(1_515_870_810);
    let minus_thirty_two_seventeenths = constant::<BITS>(-1_010_580_540);
    let mut x = add::<BITS>(forty_eight_seventeenths, product::<BITS>(half_denominator, minus_thirty_two_seventeenths));
    for _ in 0..3 {
        let error = subtract::<BITS>(1 << (BITS - 3), product::<BITS>(half_denominator, x));
        x = add::<BITS>(x, saturating_shift_left::<BITS>(product::<BITS>(x, error), 2));
    }
    x
}

/// Half of `a + 1` for a Q0 `a`, halves away from zero.
fn half_of_one_plus<const BITS: u32>(a: i32) -> i32 {
    let sum = i64::from(a) + i64::from(max::<BITS>());
    ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32
}

/// `1 / (1 + a)` in Q0 for a Q0 `a` in `[0, 1]`.
pub(crate) fn one_over_one_plus<const BITS: u32>(a: i32) -> i32 {
    saturating_shift_left::<BITS>(reciprocal::<BITS>(half_of_one_plus::<BITS>(a)), 1)
}

/// `(1 - a) / (1 + a)` in Q0 for a Q0 `a` in `[0, 1]`.
fn one_minus_over_one_plus<const BITS: u32>(a: i32) -> i32 {
    let x = reciprocal::<BITS>(half_of_one_plus::<BITS>(a));
    saturating_shift_left::<BITS>(subtract::<BITS>(x, 1 << (BITS - 3)), 2)
}

/// The logistic function in Q0 of a `Q(integer_bits)` number.
pub(crate) fn logistic<const BITS: u32>(a: i32, integer_bits: u32) -> i32 {
    if a == 0 {
        return 1 << (BITS - 2);
    }
    let negative = if a > 0 { -a } else { a };
    let result = one_over_one_plus::<BITS>(exp_of_non_positive::<BITS>(negative, integer_bits));
    if a > 0 { result } else { subtract::<BITS>(max::<BITS>(), result) }
}

/// tanh in Q0 of a `Q(integer_bits)` number, `integer_bits` at most 6.
pub(crate) fn tanh<const BITS: u32>(a: i32, integer_bits: u32) -> i32 {
    if a == 0 {
        return 0;
    }
    let negative = if a > 0 { -a } else { a };
    // exp(-2|a|): the same bits read with one more integer bit.
    let result = one_minus_over_one_plus::<BITS>(exp_of_non_positive::<BITS>(negative, integer_bits + 1));
    if a > 0 { result } else { wrap::<BITS>(result.wrapping_neg()) }
}

/// `1 / sqrt(x)` as a multiplier (LiteRT `internal/common.h`, `GetInvSqrtQuantizedMultiplierExp`): five steps of Newton's method
/// in Q3.28 from 1, for an `x` shifted by an even number of bits to `1/4..1`.
pub(crate) fn inverse_square_root(x: i32) -> FixedPoint {
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
    x <<= 2 * pairs;
    let number = x >> 1;
    let half = rounding_shift_right(number, 1);
    let half_three = (1 << 28) + (1 << 27);
    let mut root = 1 << 28;
    for _ in 0..5 {
        // Q9 of three factors, back to Q3.
        let cube = product::<32>(product::<32>(root, root), root);
        let cube = saturating_shift_left::<32>(cube, 6);
        let next = product::<32>(half_three, root).wrapping_sub(product::<32>(half, cube));
        root = saturating_shift_left::<32>(next, 3);
    }
    let half_root_two = 1_518_500_250;
    let multiplier = product::<32>(root, half_root_two);
    match right {
        ..0 => FixedPoint { multiplier: multiplier << -right, shift: 0 },
        _ => FixedPoint { multiplier, shift: -right },
    }
}

/// `ln(a)` in Q5 of a Q12 number that is at least 1 (LiteRT `internal/common.h`,
/// `log_x_for_x_greater_than_or_equal_to_1_impl`): a power of two times a number near `sqrt(sqrt(1/2))`, whose logarithm is
/// a quotient of polynomials.
pub(crate) fn ln_of_at_least_one(a: i32) -> i32 {
    const SQRT_SQRT_HALF: i32 = 1_805_811_301;
    const SQRT_HALF: i32 = 1_518_500_250;
    const LN_2: i32 = 1_488_522_236;
    /// One quarter in Q6.
    const QUARTER: i32 = 1 << 23;
    let product = product::<32>;
    let shift_left = |x: i32, by: i32| saturating_shift_left::<32>(x, by.max(0) as u32);
    // Two ways to write `a` as 2^n r; that with the smaller r has the larger n.
    let zeros = a.leading_zeros() as i32;
    let r_a = shift_left(product(shift_left(a, zeros - 1), SQRT_HALF), 1);
    let power_a = shift_left(12 - zeros, 25).saturating_add(QUARTER);
    let headroom = product(a, SQRT_HALF).leading_zeros() as i32 - 1;
    let r_b = shift_left(a, headroom);
    let power_b = shift_left(12 - headroom, 25).saturating_sub(QUARTER);
    let (r, power) = (r_a.min(r_b), power_a.max(power_b));
    let sum = i64::from(r) + i64::from(SQRT_SQRT_HALF);
    let p = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let q = r.wrapping_sub(SQRT_SQRT_HALF).wrapping_mul(2);
    let q2 = product(q, q);
    let numerator = product(q, r).wrapping_add(product(product(q, q2), 117_049_297));
    let inner = 1_057_819_769i32.wrapping_add(q).wrapping_add(product(127_690_142, q2));
    let denominator_minus_one = product(p, inner).wrapping_add(product(638_450_708, q));
    let reciprocal = one_over_one_plus::<32>(denominator_minus_one);
    let of_r = product(rounding_shift_right(numerator, 6), reciprocal);
    shift_left(product(power, LN_2).wrapping_add(of_r), 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn logarithms_are_those_of_the_real_numbers() {
        for x in [1.0, 1.0001, 1.3, 2.0, 3.7, 100.0, 4000.0] {
            let got = super::ln_of_at_least_one((x * f64::from(1u32 << 19)) as i32);
            assert!((f64::from(got) / f64::from(1u32 << 26) - f64::ln(x)).abs() < 1e-4, "{x}: {got}");
        }
    }
}
