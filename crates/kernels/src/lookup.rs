//! Lookup tables of LiteRT: 256 entries for 8-bit values, 513 interpolated ones for int16.

/// 513 entries, of which neighbours are interpolated.
pub(crate) type Table16 = [i16; 513];

/// Float types of [`table_16`].
pub(crate) trait TableFloat:
    Copy
    + PartialOrd
    + From<i16>
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    fn round(self) -> Self;
    fn from_i32(value: i32) -> Self;
    fn to_i16(self) -> i16;
}

macro_rules! table_float {
    ($($type:ident)*) => {$(
        impl TableFloat for $type {
            fn round(self) -> Self {
                self.round()
            }
            fn from_i32(value: i32) -> Self {
                value as Self
            }
            fn to_i16(self) -> i16 {
                self as i16
            }
        }
    )*};
}
table_float!(f32 f64);

/// Fills a table of `transform` over the whole int16 range (LiteRT `internal/common.h`, `LUTPopulateInt16`): samples at
/// 512 steps, each moved by half the error that interpolation makes at the midpoint. `F` is the type LiteRT uses there.
pub(crate) fn table_16<F: TableFloat>(
    input_scale: F,
    input_zero_point: i32,
    output_scale: F,
    output_zero_point: i32,
    transform: impl Fn(F) -> F,
) -> Box<Table16> {
    let (min, max) = (i32::from(i16::MIN), i32::from(i16::MAX));
    let at = |scale: F, zero_point: i32, value: i32| scale * F::from_i32(value - zero_point);
    let (input_min, input_max) = (at(input_scale, input_zero_point, min), at(input_scale, input_zero_point, max));
    let (output_min, output_max) = (at(output_scale, output_zero_point, min), at(output_scale, output_zero_point, max));
    let two = F::from_i32(2);
    let step = (input_max - input_min) / F::from_i32(512);
    let half_step = step / two;
    let inverse = F::from_i32(max - min + 1) / (output_max - output_min);
    let (table_min, table_max) = (F::from_i32(min), F::from_i32(max));
    let cut = |value: F| {
        let value = if value < table_min { table_min } else { value };
        (if table_max < value { table_max } else { value }).to_i16()
    };
    let mut table = Box::new([0; 513]);
    for (index, entry) in (0..512).zip(table.iter_mut()) {
        let x = input_min + F::from_i32(index) * step;
        let value = transform(x);
        let midpoint = transform(x + half_step);
        let next = transform(input_min + F::from_i32(index + 1) * step);
        let sample = (value * inverse).round();
        let interpolated = ((next * inverse + (value * inverse).round()) / two).round();
        let error = interpolated - (midpoint * inverse).round();
        *entry = cut(sample - (error / two).round());
    }
    table[512] = cut((transform(input_max) * inverse).round());
    table
}

/// Looks up and interpolates (LiteRT `internal/common.h`, `LUTLookup(int16_t, ..)`).
#[inline]
pub(crate) fn lookup_16(table: &Table16, value: i16) -> i16 {
    let index = (256 + i32::from(value >> 7)) as usize;
    let offset = i32::from(value & 0x7f);
    let (base, next) = (table[index], table[index + 1]);
    let slope = i32::from(next.wrapping_sub(base));
    (i32::from(base) + ((slope * offset + 64) >> 7)) as i16
}
