//! Damaged files, from good ones.

use crate::Random;

/// Sizes, counts and offsets that code likes to get wrong.
const NUMBERS: &[i64] =
    &[0, 1, -1, 2, 7, 127, 128, 255, 256, 32_767, 65_535, 1 << 20, i32::MAX as i64, i32::MIN as i64, 0x4000_0000];

/// `bytes` with one to eight random changes: a byte, a bit, a number of 2 or 4 bytes, a copied, removed or inserted
/// stretch, or an end cut off.
#[must_use]
pub fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..=random.below(8).min(random.below(8)) {
        let at = random.below(damaged.len());
        if damaged.is_empty() {
            return damaged;
        }
        match random.below(12) {
            0 => damaged[at] = random.bits() as u8,
            1 => damaged[at] ^= 1 << random.below(8),
            2 => damaged[at] = damaged[at].wrapping_add(random.pick(&[1, 255])),
            3 => overwrite(&mut damaged, at, &(random.pick(NUMBERS) as i16).to_le_bytes()),
            4..=7 => overwrite(&mut damaged, at / 4 * 4, &(random.pick(NUMBERS) as i32).to_le_bytes()),
            8 => {
                let len = random.below(64).min(damaged.len() - at);
                let from = random.below(damaged.len() - len);
                damaged.copy_within(from..from + len, at);
            }
            9 => {
                // Vectors and tables swap places: an offset or a number turns up elsewhere.
                let from = random.below(damaged.len()) / 4 * 4;
                let word: Vec<u8> = damaged[from..].iter().take(4).copied().collect();
                overwrite(&mut damaged, at / 4 * 4, &word);
            }
            10 if random.once_in(8) => damaged.truncate(at),
            _ if random.once_in(8) => {
                let len = random.below(32).min(damaged.len() - at);
                damaged.drain(at..at + len);
            }
            _ => damaged[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        }
    }
    damaged
}

fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, &value)| *byte = value);
}
