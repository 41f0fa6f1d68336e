//! Counter-based random numbers: number `i` of a stream follows from the stream's key alone, so that any part of a
//! tensor can be drawn by any thread, in any order, with the same result.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers that can be read at any position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    key: u64,
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): a bijection that spreads every bit.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Stream {
    /// The stream for a seed and what it is for.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self { key: mix(seed.wrapping_add(GOLDEN)) }.for_text(purpose)
    }

    /// The stream of this one for `number` (a step, a sample).
    pub(crate) fn for_number(self, number: u64) -> Self {
        Self { key: mix((self.key ^ number).wrapping_add(GOLDEN)) }
    }

    /// The stream of this one for `text` (the name of a layer or tensor).
    pub(crate) fn for_text(self, text: &str) -> Self {
        text.bytes().fold(self.for_number(text.len() as u64), |stream, byte| stream.for_number(u64::from(byte)))
    }

    /// 64 random bits: number `index` of SplitMix64 started at the key.
    pub(crate) fn bits(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A standard normal number (Box and Muller, the cosine half); reads the two numbers from `2 * index`.
    pub(crate) fn normal(self, index: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit(2 * index)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit(2 * index + 1)).cos()
    }

    /// A standard normal number redrawn until it lies within two standard deviations.
    pub(crate) fn truncated_normal(self, index: u64) -> f64 {
        // Each redraw reads its own stream, so that the numbers of other indices stay where they are. Less than one draw
        // in twenty falls outside; the bound only keeps the loop finite.
        (0..64).map(|attempt| self.for_number(attempt).normal(index)).find(|value| value.abs() <= 2.0).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // The sequence from seed 1234567, as published with the algorithm on Rosetta Code.
        let stream = Stream { key: 1_234_567 };
        assert_eq!(stream.bits(0), 6_457_827_717_110_365_317);
        assert_eq!(stream.bits(2), 9_817_491_932_198_370_423);
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_number() {
        let streams = [
            Stream::new(0, "a"),
            Stream::new(1, "a"),
            Stream::new(0, "b"),
            Stream::new(0, "a").for_number(0),
            Stream::new(0, "a").for_text("a"),
        ];
        for (i, a) in streams.iter().enumerate() {
            assert!(streams[..i].iter().all(|b| b != a));
        }
    }
}
