//! Integers of 4 or 2 bits, the first in the lowest bits of a byte.

/// How they are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Bits of one: 4 or 2.
    pub bits: u32,
    /// Whether the highest bit is the sign.
    pub signed: bool,
}

impl Packed {
    /// Smallest and largest value.
    #[must_use]
    pub fn range(self) -> (i32, i32) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// Number `index`.
    ///
    /// # Panics
    /// If it is not in `bytes`.
    #[inline]
    #[must_use]
    pub fn get(self, bytes: &[u8], index: usize) -> i32 {
        let each = (8 / self.bits) as usize;
        let value = i32::from(bytes[index / each]) >> ((index % each) as u32 * self.bits);
        let unused = 32 - self.bits;
        if self.signed { value << unused >> unused } else { value & ((1 << self.bits) - 1) }
    }

    /// Packs numbers in range; bits of the last byte that are not used are 0.
    pub fn pack(self, values: impl IntoIterator<Item = i32>, bytes: &mut [u8]) {
        let each = (8 / self.bits) as usize;
        bytes.fill(0);
        for (index, value) in values.into_iter().enumerate() {
            let Some(byte) = bytes.get_mut(index / each) else { return };
            *byte |= ((value & ((1 << self.bits) - 1)) << ((index % each) as u32 * self.bits)) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn what_is_packed_is_got_back() {
        for (packed, values) in [
            (Packed { bits: 4, signed: true }, vec![-8, 7, -1, 0, 3]),
            (Packed { bits: 4, signed: false }, vec![15, 0, 8]),
            (Packed { bits: 2, signed: true }, vec![-2, 1, 0, -1, 1]),
        ] {
            let mut bytes = vec![255; values.len().div_ceil((8 / packed.bits) as usize)];
            packed.pack(values.iter().copied(), &mut bytes);
            let got: Vec<_> = (0..values.len()).map(|index| packed.get(&bytes, index)).collect();
            assert_eq!(got, values);
            assert!(values.iter().all(|value| (packed.range().0..=packed.range().1).contains(value)));
        }
    }
}
