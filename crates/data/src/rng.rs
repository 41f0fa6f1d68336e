//! Random streams that depend on what they are for, never on which thread draws them or when.

/// What a random stream is for; part of its key, so that no two uses share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The order of the samples of an epoch.
    Shuffle,
    /// The augmentation of one sample in one epoch.
    Augment,
    /// The partner and the weight of one sample's mixup in one epoch.
    Mixup,
    /// Which samples go to the validation split.
    Split,
    /// A made-up input of a model.
    Input,
}

/// A random stream: xoshiro256++ (Blackman and Vigna, 2018), its state filled by SplitMix64 from a key.
///
/// The numbers for one key are part of Litesmith's behaviour and do not change between releases or platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): a bijection that spreads every bit.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream for `seed`, `purpose`, and the numbers that tell one stream of that purpose from another
    /// (an epoch, a sample's index): each is folded into the key by `key = mix((key ^ number) + golden)`.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, numbers: &[u64]) -> Self {
        let fold = |key: u64, number: u64| mix((key ^ number).wrapping_add(GOLDEN));
        let tag = match purpose {
            Purpose::Shuffle => 1,
            Purpose::Augment => 2,
            Purpose::Mixup => 3,
            Purpose::Split => 4,
            Purpose::Input => 5,
        };
        Self::from_key(numbers.iter().fold(fold(fold(0, seed), tag), |key, &number| fold(key, number)))
    }

    fn from_key(mut key: u64) -> Self {
        Self {
            state: std::array::from_fn(|_| {
                key = key.wrapping_add(GOLDEN);
                mix(key)
            }),
        }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A whole number in `0..bound` without bias (Lemire, 2019), and 0 for `bound` 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number in `[0, 1)`, a multiple of 2^-24.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// A number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A number in `[-limit, limit)`.
    pub fn symmetric_f32(&mut self, limit: f32) -> f32 {
        (self.unit_f32() * 2.0 - 1.0) * limit
    }

    /// A standard normal number (Box and Muller, the cosine half).
    pub fn normal_f64(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit_f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit_f64()).cos()
    }

    /// A number from Beta(`alpha`, `alpha`), `alpha` > 0, as the ratio of two gamma numbers.
    pub fn beta_symmetric(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        // Both gammas of a tiny alpha can underflow to zero; Beta(alpha, alpha) then sits at either end.
        if a + b > 0.0 { a / (a + b) } else { (self.next_u64() >> 63) as f64 }
    }

    /// A gamma number of shape `alpha` (Marsaglia and Tsang, 2000; shapes below 1 by their boost).
    fn gamma(&mut self, alpha: f64) -> f64 {
        if alpha < 1.0 {
            return self.gamma(alpha + 1.0) * (1.0 - self.unit_f64()).powf(1.0 / alpha);
        }
        let d = alpha - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal_f64();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit_f64()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Puts `items` into a random order: Fisher and Yates, from the last place down.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_give_their_published_numbers() {
        // SplitMix64 from seed 1234567, as published with the algorithm on Rosetta Code.
        let splitmix = |n: u64| mix(1_234_567u64.wrapping_add(GOLDEN.wrapping_mul(n)));
        assert_eq!(
            [splitmix(1), splitmix(2), splitmix(3)],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        // xoshiro256++ from state 1, 2, 3, 4, the test vector of the rand_xoshiro crate.
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
        assert_eq!(got, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn keys_that_differ_in_one_part_give_different_streams() {
        let keys = [
            Rng::new(1, Purpose::Shuffle, &[2, 3]),
            Rng::new(2, Purpose::Shuffle, &[1, 3]),
            Rng::new(1, Purpose::Shuffle, &[3, 2]),
            Rng::new(1, Purpose::Augment, &[2, 3]),
            Rng::new(1, Purpose::Shuffle, &[2]),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert_ne!(a, b);
            }
        }
        assert_eq!(keys[0], Rng::new(1, Purpose::Shuffle, &[2, 3]));
    }

    #[test]
    fn numbers_have_the_moments_of_their_distributions() {
        let mut rng = Rng::new(7, Purpose::Mixup, &[]);
        let n = 200_000;
        let mut moments = |draw: &mut dyn FnMut(&mut Rng) -> f64| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let x = draw(&mut rng);
                sum += x;
                squares += x * x;
            }
            let mean = sum / f64::from(n);
            (mean, squares / f64::from(n) - mean * mean)
        };
        let close = |(mean, variance): (f64, f64), want_mean: f64, want_variance: f64| {
            assert!((mean - want_mean).abs() < 0.01, "mean {mean}, expected {want_mean}");
            assert!((variance - want_variance).abs() < 0.01, "variance {variance}, expected {want_variance}");
        };
        close(moments(&mut |r| f64::from(r.unit_f32())), 0.5, 1.0 / 12.0);
        close(moments(&mut |r| f64::from(r.symmetric_f32(1.0))), 0.0, 1.0 / 3.0);
        close(moments(&mut |r| r.normal_f64()), 0.0, 1.0);
        // Beta(a, a) has variance 1 / (4 (2a + 1)).
        close(moments(&mut |r| r.beta_symmetric(0.2)), 0.5, 1.0 / 5.6);
        close(moments(&mut |r| r.beta_symmetric(2.0)), 0.5, 1.0 / 20.0);
    }

    #[test]
    fn bounded_numbers_cover_their_range_and_shuffles_are_permutations() {
        let mut rng = Rng::new(0, Purpose::Split, &[]);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 120), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        let mut items: Vec<u32> = (0..100).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
