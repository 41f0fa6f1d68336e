//! POW, ATAN2, FLOOR_DIV and FLOOR_MOD of floats.

use crate::Context;
use crate::broadcast::{self, Broadcast};

/// y = a to the power of b, within 4 ulp. One exponent for all that is 1 to 8 is done by multiplications.
///
/// # Panics
/// If a length is not the planned one.
pub fn pow(ctx: Context, plan: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32]) {
    match b {
        &[exponent] if (1.0..=8.0).contains(&exponent) && exponent.fract() == 0.0 => {
            let exponent = exponent as u32;
            broadcast::zip(ctx, plan, a, b, y, move |a: f32, _: f32| by_squaring(a, exponent));
        }
        _ => one_by_one(ctx, plan, a, b, y, libm::powf),
    }
}

/// Functions that are called for each element share the loops around them.
fn one_by_one(ctx: Context, plan: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32], f: fn(f32, f32) -> f32) {
    broadcast::zip(ctx, plan, a, b, y, f);
}

/// At most five multiplications for an exponent of at most 8.
#[inline(always)]
fn by_squaring(base: f32, exponent: u32) -> f32 {
    let square = base * base;
    let fourth = square * square;
    match exponent {
        1 => base,
        2 => square,
        3 => square * base,
        4 => fourth,
        5 => fourth * base,
        6 => fourth * square,
        7 => fourth * square * base,
        _ => fourth * fourth,
    }
}

/// y = the angle of the point of height a and width b, from -pi to pi, within 4 ulp.
///
/// # Panics
/// If a length is not the planned one.
pub fn atan2(ctx: Context, plan: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32]) {
    one_by_one(ctx, plan, a, b, y, libm::atan2f);
}

/// y = a / b rounded down, of the quotient in f64.
///
/// # Panics
/// If a length is not the planned one.
pub fn floor_div(ctx: Context, plan: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32]) {
    one_by_one(ctx, plan, a, b, y, |a, b| (f64::from(a) / f64::from(b)).floor() as f32);
}

/// y = what the division a / b, rounded down, leaves: exact, with the sign of b.
///
/// # Panics
/// If a length is not the planned one.
pub fn floor_mod(ctx: Context, plan: &Broadcast, a: &[f32], b: &[f32], y: &mut [f32]) {
    one_by_one(ctx, plan, a, b, y, |a, b| {
        let rest = a % b;
        if rest != 0.0 && (b < 0.0) != (rest < 0.0) { rest + b } else { rest }
    });
}
