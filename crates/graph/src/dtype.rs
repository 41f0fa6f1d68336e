//! Element types, as TensorFlow Lite numbers and names them.

use std::fmt;

macro_rules! dtypes {
    ($($variant:ident $code:literal $name:literal $bits:literal, $doc:literal;)*) => {
        /// Element type of a tensor (`TensorType` of the TensorFlow Lite schema).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum DType { $(#[doc = $doc] $variant,)* }

        impl DType {
            /// Every element type.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Number in the TensorFlow Lite schema.
            #[must_use]
            pub fn code(self) -> i8 {
                match self { $(Self::$variant => $code),* }
            }

            /// Name as NumPy and the Python interpreter spell it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Bits of one element; 0 where the size is not fixed (strings, resources, variants).
            #[must_use]
            pub fn bits(self) -> usize {
                match self { $(Self::$variant => $bits),* }
            }
        }
    };
}

dtypes! {
    F32 0 "float32" 32, "IEEE 754 binary32.";
    F16 1 "float16" 16, "IEEE 754 binary16.";
    I32 2 "int32" 32, "Signed 32-bit integer.";
    U8 3 "uint8" 8, "Unsigned 8-bit integer; quantized with a scale and a zero point.";
    I64 4 "int64" 64, "Signed 64-bit integer.";
    String 5 "string" 0, "Byte strings with an offset table.";
    Bool 6 "bool" 8, "One byte, 0 or 1.";
    I16 7 "int16" 16, "Signed 16-bit integer; quantized symmetrically.";
    Complex64 8 "complex64" 64, "Two binary32: real and imaginary part.";
    I8 9 "int8" 8, "Signed 8-bit integer; quantized with a scale and a zero point.";
    F64 10 "float64" 64, "IEEE 754 binary64.";
    Complex128 11 "complex128" 128, "Two binary64: real and imaginary part.";
    U64 12 "uint64" 64, "Unsigned 64-bit integer.";
    Resource 13 "resource" 0, "Handle of a variable or table.";
    Variant 14 "variant" 0, "Opaque value.";
    U32 15 "uint32" 32, "Unsigned 32-bit integer.";
    U16 16 "uint16" 16, "Unsigned 16-bit integer.";
    I4 17 "int4" 4, "Signed 4-bit integer, two to a byte, the first in the low half.";
    BF16 18 "bfloat16" 16, "Upper half of a binary32.";
    I2 19 "int2" 2, "Signed 2-bit integer, four to a byte, the first in the lowest bits.";
    U4 20 "uint4" 4, "Unsigned 4-bit integer, two to a byte, the first in the low half.";
}

impl DType {
    /// The element type with this number in the TensorFlow Lite schema.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.code() == code)
    }

    /// Bytes that `elements` elements take, the last byte filled up for types under 8 bits; `None` on overflow or where
    /// the size is not fixed.
    #[must_use]
    pub fn bytes(self, elements: usize) -> Option<usize> {
        match self.bits() {
            0 => None,
            bits => elements.checked_mul(bits).map(|total| total.div_ceil(8)),
        }
    }

    /// Smallest and largest value of an integer type of at most 32 bits.
    #[must_use]
    pub fn integer_range(self) -> Option<(i64, i64)> {
        match self {
            Self::I2 => Some((-2, 1)),
            Self::I4 => Some((-8, 7)),
            Self::U4 => Some((0, 15)),
            Self::I8 => Some((-128, 127)),
            Self::U8 => Some((0, 255)),
            Self::I16 => Some((-32_768, 32_767)),
            Self::U16 => Some((0, 65_535)),
            Self::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            Self::U32 => Some((0, i64::from(u32::MAX))),
            _ => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
