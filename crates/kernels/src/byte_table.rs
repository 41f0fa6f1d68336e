//! Functions of one byte as tables of 256 entries: a run looks up whole vectors.

use crate::integer_conv::share_out;
use crate::{Context, Isa};

/// Bytes that are worth a thread: half a microsecond.
const WORTH: usize = 32 << 10;

/// A function of one byte. Signed bytes count by their bits.
#[derive(Debug, Clone)]
pub struct ByteTable {
    entries: Box<Entries>,
    /// Whether the CPU permutes bytes over a whole vector (AVX-512 VBMI), which CPUs with AVX-512 may have.
    #[cfg_attr(not(any(target_arch = "x86_64", test)), expect(dead_code, reason = "only x86-64 has the instruction"))]
    permutes: bool,
}

#[repr(align(64))]
#[derive(Debug, Clone)]
struct Entries([u8; 256]);

impl ByteTable {
    /// The table whose entry `x` is `function(x)`.
    #[must_use]
    pub fn new(function: impl Fn(u8) -> u8) -> Self {
        let entries = Box::new(Entries(std::array::from_fn(|x| function(x as u8))));
        #[cfg(target_arch = "x86_64")]
        let permutes = is_x86_feature_detected!("avx512vbmi");
        #[cfg(not(target_arch = "x86_64"))]
        let permutes = false;
        Self { entries, permutes }
    }

    /// The function's value for each byte.
    #[must_use]
    pub fn entries(&self) -> &[u8; 256] {
        &self.entries.0
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Entries>()
    }

    /// `output[i]` becomes the function of `input[i]`, split over the pool.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn run(&self, ctx: Context<'_>, input: &[u8], output: &mut [u8]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        share_out(ctx.pool, output, WORTH, &|first, output| {
            let input = &input[first..][..output.len()];
            // SAFETY: both slices have this length.
            unsafe { self.look_up(ctx.isa, input.as_ptr(), output.as_mut_ptr(), output.len()) };
        });
    }

    /// Replaces each of `bytes` by its function, on the caller's thread.
    pub(crate) fn apply(&self, isa: Isa, bytes: &mut [u8]) {
        let (at, len) = (bytes.as_mut_ptr(), bytes.len());
        // SAFETY: the slice has this length; reading and writing it at the same place is allowed.
        unsafe { self.look_up(isa, at, at, len) };
    }

    /// # Safety
    /// `len` bytes may be read at `from` and written at `to`, which are the same or do not overlap.
    unsafe fn look_up(&self, isa: Isa, from: *const u8, to: *mut u8, len: usize) {
        assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        // SAFETY: the CPU has the instructions, as was just asserted; the rest is the caller's.
        #[cfg(target_arch = "x86_64")]
        let done = unsafe {
            match isa {
                Isa::Avx512 | Isa::Avx512Vnni | Isa::AmxInt8 if self.permutes => {
                    x86_64::vbmi(self.entries(), from, to, len)
                }
                Isa::Avx512 | Isa::Avx512Vnni | Isa::AmxInt8 => x86_64::avx512(self.entries(), from, to, len),
                Isa::Avx2 => x86_64::avx2(self.entries(), from, to, len),
                _ => 0,
            }
        };
        for at in done..len {
            // SAFETY: the caller's.
            unsafe { to.add(at).write(self.entries.0[usize::from(from.add(at).read())]) };
        }
    }
}

/// Vectors; each function returns how many bytes are done.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;

    /// Two permutations over half the table each, of which the top bit of the index chooses one.
    ///
    /// # Safety
    /// The CPU has AVX-512 with VBMI; as `ByteTable::look_up`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) unsafe fn vbmi(table: &[u8; 256], from: *const u8, to: *mut u8, len: usize) -> usize {
        const LANES: usize = 64;
        // SAFETY: the table has four vectors.
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| unsafe { _mm512_loadu_si512(table.as_ptr().add(i * LANES).cast()) });
        let look_up = |x: __m512i| {
            let (low, high) = (_mm512_permutex2var_epi8(a, x, b), _mm512_permutex2var_epi8(c, x, d));
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
        };
        for at in (0..len / LANES * LANES).step_by(LANES) {
            // SAFETY: a whole vector is left.
            unsafe { _mm512_storeu_si512(to.add(at).cast(), look_up(_mm512_loadu_si512(from.add(at).cast()))) };
        }
        let (at, rest) = (len / LANES * LANES, len % LANES);
        if rest != 0 {
            let mask = (1u64 << rest) - 1;
            // SAFETY: only the rest is read and written.
            unsafe {
                let x = _mm512_maskz_loadu_epi8(mask, from.add(at).cast());
                _mm512_mask_storeu_epi8(to.add(at).cast(), mask, look_up(x));
            }
        }
        len
    }

    macro_rules! by_nibble {
        (
            $name:ident $features:literal $vector:ident $lanes:literal,
            $load:ident $store:ident $set:ident $broadcast:ident $shuffle:ident $subtract:ident $xor:ident $zero:ident
        ) => {
            /// A byte shuffle looks up 16 entries and yields 0 where an index is negative. Each row of 16 is stored xor-ed
            /// with the one before, so that the xor of the rows up to an index's own, from which it is not negative after
            /// subtracting 16 for each, is its entry; likewise for the upper half of the table.
            ///
            /// # Safety
            /// The CPU has the features; as `ByteTable::look_up`.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(table: &[u8; 256], from: *const u8, to: *mut u8, len: usize) -> usize {
                const ROW: usize = 16;
                let mut rows = [_mm_setzero_si128(); 16];
                for (at, row) in rows.iter_mut().enumerate() {
                    // SAFETY: the table has sixteen rows.
                    let load = |at: usize| unsafe { _mm_loadu_si128(table.as_ptr().add(at * ROW).cast()) };
                    *row = if at % 8 == 0 { load(at) } else { _mm_xor_si128(load(at), load(at - 1)) };
                }
                let rows = rows.map(|row| $broadcast(row));
                let (sixteen, top) = ($set(16), $set(-128));
                for at in (0..len / $lanes * $lanes).step_by($lanes) {
                    // SAFETY: a whole vector is left.
                    let x: $vector = unsafe { $load(from.add(at).cast()) };
                    let mut indices = [x, $xor(x, top)];
                    let mut entry = $zero();
                    for k in 0..8 {
                        for (half, index) in indices.iter_mut().enumerate() {
                            entry = $xor(entry, $shuffle(rows[half * 8 + k], *index));
                            *index = $subtract(*index, sixteen);
                        }
                    }
                    // SAFETY: as above.
                    unsafe { $store(to.add(at).cast(), entry) };
                }
                len / $lanes * $lanes
            }
        };
    }
    by_nibble! {
        avx512 "avx512f,avx512bw,avx512vl" __m512i 64,
        _mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi8 _mm512_broadcast_i32x4 _mm512_shuffle_epi8
        _mm512_subs_epi8 _mm512_xor_si512 _mm512_setzero_si512
    }
    by_nibble! {
        avx2 "avx2" __m256i 32,
        _mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi8 _mm256_broadcastsi128_si256 _mm256_shuffle_epi8
        _mm256_subs_epi8 _mm256_xor_si256 _mm256_setzero_si256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    #[test]
    fn every_isa_looks_up_every_byte_at_every_length() {
        let function = |x: u8| x.wrapping_mul(73).wrapping_add(x >> 3) ^ 0x5a;
        let mut table = ByteTable::new(function);
        let pool = Pool::new(2);
        let input: Vec<u8> = (0..4 * WORTH + 301).map(|i| (i * 7 + i / 256) as u8).collect();
        let permutes = table.permutes;
        for permutes in [false, permutes] {
            table.permutes = permutes;
            for isa in Isa::available() {
                for len in (0..260).chain([4 * WORTH + 300]) {
                    let expected: Vec<u8> = input[..len].iter().map(|&x| function(x)).collect();
                    let mut output = vec![0; len];
                    table.run(Context { pool: &pool, isa }, &input[..len], &mut output);
                    assert_eq!(output, expected, "{isa}, {len} bytes");
                    let mut in_place = input[..len + 1].to_vec();
                    table.apply(isa, &mut in_place[..len]);
                    assert_eq!(in_place[..len], expected, "{isa}, {len} bytes in place");
                    assert_eq!(in_place[len], input[len], "{isa} wrote beside");
                }
            }
        }
    }
}
