//! The FlatBuffers wire format: a reader that checks every offset when it follows it, and a builder.
//!
//! Both are written here rather than generated so that the crate needs no `unsafe`, every byte of a hostile file is
//! bounds-checked with its offset in the message, and the builder can align data to 16 bytes and share equal vectors.

mod builder;
mod compact;
mod overlap;
mod reader;
mod vtables;

pub(crate) use builder::{Builder, Fields, Offset};
pub(crate) use reader::{File, Table};

/// Numbers that fields and vectors consist of, little-endian in the file.
pub(crate) trait Scalar: Copy + PartialEq {
    /// Bytes in the file, which is also the alignment.
    const SIZE: usize;

    /// Decodes `SIZE` bytes; `None` when there are fewer.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Appends the encoding.
    fn encode(self, out: &mut Vec<u8>);
}

macro_rules! scalars {
    ($($type:ty)*) => {
        $(impl Scalar for $type {
            const SIZE: usize = size_of::<Self>();

            fn decode(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|bytes| Self::from_le_bytes(*bytes))
            }

            fn encode(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

scalars! { i8 u8 u16 i32 u32 i64 u64 f32 }

impl Scalar for bool {
    const SIZE: usize = 1;

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.first().map(|&byte| byte != 0)
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}
