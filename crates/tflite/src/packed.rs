//! How small a file is on its way: packed by gzip and by zstd.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write;
use zstd_rs::{CompressionConfig, Compressor};

/// Header and trailer of a gzip file without a name (RFC 1952, 2.3).
const GZIP_FRAME_BYTES: usize = 18;
/// Bytes of the largest files that are packed to see how small they get: about three seconds, and one.
const GZIP_MAX: usize = 1 << 26;
const ZSTD_MAX: usize = 1 << 21;

/// How many bytes a file has when packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// By gzip (RFC 1952) at level 9, without a name; `None` beyond 64 MiB, where that would take long.
    pub gzip: Option<u64>,
    /// By zstd (RFC 8878) at level 19, within 1 % of what the reference implementation makes; `None` beyond 2 MiB.
    pub zstd: Option<u64>,
}

impl Packed {
    /// Packs `bytes` to see.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let within = |most: usize, pack: fn(&[u8]) -> Option<usize>| {
            if bytes.len() <= most { pack(bytes).map(|len| len as u64) } else { None }
        };
        Self { gzip: within(GZIP_MAX, gzip), zstd: within(ZSTD_MAX, zstd) }
    }
}

fn gzip(bytes: &[u8]) -> Option<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish()).ok()?;
    Some(packed.len() + GZIP_FRAME_BYTES)
}

fn zstd(bytes: &[u8]) -> Option<usize> {
    let mut packed = Vec::new();
    Compressor::new(CompressionConfig::HIGH).ok()?.compress(bytes, None, &mut packed).ok()?;
    Some(packed.len())
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn zeros_pack_well_and_noise_does_not() {
        let zeros = Packed::of(&[0; 10_000]);
        assert!(zeros.gzip.unwrap() < 60 && zeros.zstd.unwrap() < 30, "{zeros:?}");
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let noise = Packed::of(&noise);
        assert!([noise.gzip, noise.zstd].iter().all(|bytes| (9_900..10_100).contains(&bytes.unwrap())), "{noise:?}");
        // Sixteen values in no order: four bits each, which only a code of the entropy finds.
        let nibbles: Vec<u8> = (0..10_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
        let nibbles = Packed::of(&nibbles);
        assert!([nibbles.gzip, nibbles.zstd].iter().all(|bytes| bytes.unwrap() < 6_000), "{nibbles:?}");
    }

    #[test]
    fn a_large_file_is_not_packed_for_a_number() {
        let large = Packed::of(&vec![0; (1 << 21) + 1]);
        assert!(large.gzip.is_some() && large.zstd.is_none());
    }
}
