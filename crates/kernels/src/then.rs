//! What is done with the bytes that a kernel makes while they are in the first cache.

use crate::Isa;
use crate::byte_table::ByteTable;
use crate::quantized_binary::ByteBinary;

/// What becomes of each byte of the output of a kernel that makes bytes.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// The entry of a table.
    Table(&'a ByteTable),
    /// The result of an op of two operands, as of the sum at the end of a residual block.
    Binary {
        /// The op.
        op: &'a ByteBinary,
        /// Which operand the kernel makes, 0 or 1.
        index: usize,
        /// The other operand, as long as the output.
        other: &'a [u8],
    },
}

impl Then<'_> {
    /// Replaces `bytes`, of which the first is number `first` of the output.
    pub(crate) fn apply(self, isa: Isa, first: usize, bytes: &mut [u8]) {
        match self {
            Self::Table(table) => table.apply(isa, bytes),
            Self::Binary { op, index, other } => op.over(isa, index, &other[first..], bytes),
        }
    }
}
