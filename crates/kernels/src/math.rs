//! `f32` transcendentals as branch-free polynomials, so that the compiler vectorises loops over them.
//!
//! No fused multiply-add and no table: the same bytes on every instruction set and architecture. Error bounds are tested
//! against `f64` over all exponents.

/// `1.5 * 2^23`: adding it rounds to an integer, half to even, and leaves that integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;

/// e to the power of `x`, within 1.5 ulp where the result is normal; subnormal results are rounded twice.
/// Overflows to infinity above 88.72284, underflows to 0 below -103.97, NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    // e^x = 2^n e^r with |r| <= ln(2) / 2. ln(2) in two parts: n times the first is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bounded = if x > 89.0 { 89.0 } else { x };
    let bounded = if bounded < -104.0 { -104.0 } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (bounded - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor to degree 7: the next term is below 6e-9 of the result.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        p = p * r + c;
    }
    let e = (p * r) * r + r + 1.0;
    // 2^n in two factors, because n may be 128 or -150.
    let n = (shifted.to_bits() << 9) as i32 >> 9;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    e * power(half) * power(n - half)
}

/// Natural logarithm within 1.5 ulp. That of 0 is minus infinity, of negative numbers and NaN it is NaN.
#[inline(always)]
#[must_use]
pub fn ln(x: f32) -> f32 {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)); subnormal numbers are brought into the normal range first.
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    let bits = (scaled.to_bits() as i32).wrapping_sub(0x3f35_04f3);
    let exponent = (bits >> 23) as f32 - if subnormal { 23.0 } else { 0.0 };
    let f = f32::from_bits(((bits & 0x007f_ffff) + 0x3f35_04f3) as u32) - 1.0;
    // Minimax polynomial (Cephes logf); ln(2) in two parts, of which the first times an exponent is exact.
    let z = f * f;
    let mut p = 7.037_683_6e-2;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * f + c;
    }
    let tail = p * f * z + exponent * -2.121_944_4e-4 - 0.5 * z;
    let result = f + tail + exponent * 0.693_359_4;
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    if x < 0.0 || x.is_nan() { f32::NAN } else { result }
}

/// Hyperbolic tangent within 3 ulp.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let e = exp(magnitude + magnitude);
    let large = (1.0 - 2.0 / (e + 1.0)).copysign(x);
    // Odd minimax polynomial on |x| < 0.625 (Cephes tanhf).
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * z + c;
    }
    let small = p * z * x + x;
    if magnitude < 0.625 { small } else { large }
}

/// 1 / (1 + e^-x) within 3 ulp.
#[inline(always)]
#[must_use]
pub fn logistic(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// e to the power of a number of more digits than a float has: the rest, which is below a last bit of 88, as a factor.
#[inline(always)]
fn exp_of(x: f64) -> f32 {
    let near = x as f32;
    let e = exp(near);
    e + e * ((x - f64::from(near)) as f32)
}

/// The distribution function of the standard normal distribution within 8 ulp, in its tails too.
#[inline(always)]
#[must_use]
pub fn normal_cdf(x: f32) -> f32 {
    // Of -15 it is below every float. The exponent in f64: rounded, its error would be a factor of the tail.
    let magnitude = x.abs();
    let magnitude = if magnitude > 15.0 { 15.0 } else { magnitude };
    let wide = f64::from(magnitude);
    // What is left of the tail without e^(-x^2 / 2), which falls from 1/2 as 1 / x does, over 1 / (1 + 0.35 x): a minimax
    // polynomial of our own (iteratively reweighted least squares), within 4e-8.
    let t = 1.0 / (1.0 + 0.35 * magnitude);
    let mut p = -2.916_312_8e-2;
    for c in [
        1.440_572_1e-1,
        -2.558_950_4e-1,
        1.593_857_4e-1,
        -2.325_929_8e-2,
        1.055_730_35e-1,
        1.198_159_1e-1,
        1.398_642_8e-1,
        1.396_212_6e-1,
    ] {
        p = p * t + c;
    }
    let tail = exp_of(-0.5 * wide * wide) * (t * p);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// What GELU takes for [`normal_cdf`] where it is approximated: `(1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, within 4 ulp,
/// in its tails too.
#[inline(always)]
#[must_use]
pub fn normal_cdf_tanh(x: f32) -> f32 {
    // Twice the square root, as (1 + tanh(x)) / 2 is the logistic function of 2 x. Of -12 it is below every float.
    const SCALE: f64 = 1.595_769_121_605_730_8;
    let magnitude = x.abs();
    let magnitude = f64::from(if magnitude > 12.0 { 12.0 } else { magnitude });
    let e = exp_of(-magnitude * (SCALE + SCALE * 0.044_715 * magnitude * magnitude));
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error in units of the last place of the rounded exact result, over `xs`.
    fn worst_ulp(f: fn(f32) -> f32, exact: fn(f64) -> f64, xs: impl Iterator<Item = f32>) -> (f64, f32) {
        xs.map(|x| {
            let want = exact(f64::from(x));
            let near = want as f32;
            let ulp = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
            ((f64::from(f(x)) - want).abs() / ulp, x)
        })
        .fold((0.0, 0.0), |worst, now| if now.0 > worst.0 { now } else { worst })
    }

    /// Floats of both signs from `2^-30` to `limit`, about 20 million times sparser than all.
    fn sweep(limit: f32) -> impl Iterator<Item = f32> {
        let top = limit.to_bits();
        (0x3080_0000..=top).step_by(211).flat_map(|bits| {
            let x = f32::from_bits(bits);
            [x, -x]
        })
    }

    #[test]
    fn errors_are_bounded() {
        type Case = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f32, f64);
        let cases: [Case; 6] = [
            ("ln", |x| ln(x.abs()), |x| libm::log(x.abs()), f32::MAX, 1.5),
            ("exp", exp, libm::exp, 87.3, 1.5),
            ("tanh", tanh, libm::tanh, 50.0, 3.0),
            ("logistic", logistic, |x| 1.0 / (1.0 + libm::exp(-x)), 87.0, 3.0),
            ("normal_cdf", normal_cdf, |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2), 12.9, 8.0),
            (
                "normal_cdf_tanh",
                normal_cdf_tanh,
                |x| {
                    let inner = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                    1.0 / (1.0 + libm::exp(-inner))
                },
                10.0,
                4.0,
            ),
        ];
        for (name, f, exact, limit, bound) in cases {
            let (worst, at) = worst_ulp(f, exact, sweep(limit));
            assert!(worst <= bound, "{name}({at}) is off by {worst} ulp, bound {bound}");
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(88.73), f32::INFINITY);
        assert!(exp(88.72).is_finite());
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(-100.0) > 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!((ln(1e-40) - (1e-40_f32 as f64).ln() as f32).abs() < 1e-5);
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(-1e30), -1.0);
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(logistic(f32::NEG_INFINITY), 0.0);
        assert_eq!(logistic(200.0), 1.0);
        assert!(logistic(f32::NAN).is_nan());
        for cdf in [normal_cdf, normal_cdf_tanh] {
            assert_eq!(cdf(0.0), 0.5);
            assert_eq!(cdf(f32::MAX), 1.0);
            assert_eq!(cdf(f32::MIN), 0.0);
            assert!(cdf(f32::NAN).is_nan());
        }
    }
}
