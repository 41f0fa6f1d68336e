//! How small a file is on its way: packed by gzip.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write;

/// Header and trailer of a gzip file without a name (RFC 1952, 2.3).
const FRAME_BYTES: usize = 18;

/// Bytes of the gzip file of `bytes`, without a name, at level 9.
#[must_use]
pub fn gzip_bytes(bytes: &[u8]) -> usize {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.map_or(bytes.len(), |packed| packed.len()) + FRAME_BYTES
}

#[cfg(test)]
mod tests {
    #[test]
    fn zeros_pack_well_and_noise_does_not() {
        assert!(super::gzip_bytes(&[0; 10_000]) < 60);
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        assert!((9_900..10_100).contains(&super::gzip_bytes(&noise)));
    }
}
