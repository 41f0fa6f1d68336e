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

/// The logistic function of `i / 24` in Q0.16, as LiteRT tabulates it (`internal/common.h`); no one rounding rule gives
/// these values.
pub(crate) const LOGISTIC: [u16; 256] = [
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535,
];
