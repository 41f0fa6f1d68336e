//! What is worth trying, in which order: first what takes seconds, then what trains.

use litesmith_compress::{
    AdaRoundConfig, CalibrationConfig, CalibratorKind, ChannelPruning, Granularity, IoType, QuantizationConfig, Scheme,
    WeightBits,
};
use litesmith_train::{Qat, QatGranularity, QatWeights, Schedule, TrainConfig};

use super::{Found, Goal, SearchOptions};
use crate::recipe::{Described, Step, StripConfig};

/// Percentages of the channels that are pruned, one after the other, as long as it helps.
const PERCENTS: [u32; 6] = [25, 40, 55, 70, 80, 88];

/// How weights of four bits are trained. With few channels a scale for each is much of the file.
const INT4: [(&str, QatGranularity); 2] =
    [("int4 QAT", QatGranularity::PerChannel), ("int4 QAT per tensor", QatGranularity::PerTensor)];

/// How far under the floor a pruned model may be before pruning more is given up.
const HOPELESS: f64 = 0.02;

/// Between two percentages that are nearer to each other nothing is tried.
const NEAR: u32 = 5;

/// A recipe to try.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// Gives candidates one by one. The next one depends on what was found, not on time.
pub(super) struct Candidates {
    seed: u64,
    epochs: usize,
    waiting: std::collections::VecDeque<Candidate>,
    /// The next of [`PERCENTS`].
    rung: usize,
}

impl Candidates {
    pub(super) fn new(options: &SearchOptions) -> Self {
        let mut this = Self { seed: options.seed, epochs: options.epochs, waiting: [].into(), rung: 0 };
        let int8 = || QuantizationConfig::default();
        let calibrated = |calibrator| QuantizationConfig {
            calibration: CalibrationConfig { calibrator, ..CalibrationConfig::default() },
            ..int8()
        };
        let adaround = Some(AdaRoundConfig::default());
        let int4 = || QuantizationConfig { weights: WeightBits::Int4, adaround, ..int8() };
        let trained = [
            ("float16", QuantizationConfig { scheme: Scheme::Float16, ..int8() }),
            ("dynamic range", QuantizationConfig { scheme: Scheme::DynamicRange, ..int8() }),
            ("int8", int8()),
            ("int8 percentile", calibrated(CalibratorKind::Percentile)),
            ("int8 per tensor", QuantizationConfig { granularity: Granularity::PerTensor, ..int8() }),
            ("int4 AdaRound", int4()),
        ];
        for (name, config) in trained {
            this.push(name.into(), vec![Step::Quantize(config, Described::default())]);
        }
        this.push("int8 QAT".into(), vec![this.qat(Qat::default())]);
        for (how, granularity) in INT4 {
            this.push(how.into(), vec![this.int4(granularity)]);
        }
        this
    }

    /// The next candidate, after what was `found`.
    pub(super) fn next(&mut self, found: &Found, goal: &Goal, given_accuracy: f64) -> Option<Candidate> {
        if let Some(candidate) = self.waiting.pop_front() {
            return Some(candidate);
        }
        let percent = match PERCENTS.get(self.rung) {
            Some(&percent) if !self.is_hopeless(found, goal, given_accuracy) => {
                self.rung += 1;
                percent
            }
            _ => {
                self.rung = PERCENTS.len();
                Self::between(found, goal, given_accuracy)?
            }
        };
        let prune = self.prune(percent);
        let name = |how: &str| format!("{}, {how}", pruning(percent));
        self.push(
            name("int8"),
            vec![prune.clone(), Step::Quantize(QuantizationConfig::default(), Described::default())],
        );
        self.push(name("int8 QAT"), vec![prune.clone(), self.qat(Qat::default())]);
        for (how, granularity) in INT4 {
            self.push(name(how), vec![prune.clone(), self.int4(granularity)]);
        }
        self.waiting.pop_front()
    }

    /// Whether the last percentage ended so far from the goal that more cannot help.
    fn is_hopeless(&self, found: &Found, goal: &Goal, given_accuracy: f64) -> bool {
        let Some(last) = self.rung.checked_sub(1) else { return false };
        let last = pruned(found, PERCENTS[last]).map(|point| point.accuracy).fold(0.0, f64::max);
        match goal.floor(given_accuracy) {
            Some(floor) => last < floor - HOPELESS,
            // A budget or a latency that several models meet, while smaller ones are no use.
            None => {
                let met = found.points.iter().filter(|point| goal.is_met(point, given_accuracy)).count();
                met >= 4 && last < 0.9 * given_accuracy
            }
        }
    }

    /// A percentage between two that were tried, of which one met the goal: the most channels gone that leave enough accuracy, or
    /// the fewest gone that make it small or fast enough.
    fn between(found: &Found, goal: &Goal, given_accuracy: f64) -> Option<u32> {
        let is_met = |point: &super::Point| goal.is_met(point, given_accuracy);
        let tried = (1..100).filter(|&percent| pruned(found, percent).next().is_some());
        let (met, missed): (Vec<u32>, Vec<u32>) = tried.partition(|&percent| pruned(found, percent).any(is_met));
        let (low, high) = if goal.floor(given_accuracy).is_some() {
            let low = met.into_iter().max().unwrap_or(0);
            (low, missed.into_iter().filter(|&percent| percent > low).min()?)
        } else {
            let high = met.into_iter().min()?;
            let low = missed.into_iter().filter(|&percent| percent < high).max();
            // Where models with all channels meet it, fewer channels are not what it takes.
            let whole = || found.points.iter().any(|point| is_met(point) && !point.name.contains("% pruned"));
            (low.or_else(|| (!whole()).then_some(0))?, high)
        };
        (high - low > NEAR).then_some(low.midpoint(high))
    }

    fn push(&mut self, name: String, mut steps: Vec<Step>) {
        steps.push(Step::Strip(StripConfig::default()));
        self.waiting.push_back(Candidate { name, steps });
    }

    fn training(&self) -> TrainConfig {
        TrainConfig {
            epochs: self.epochs,
            batch: 64,
            seed: self.seed,
            learning_rate: Some(5e-4),
            schedule: Schedule::Cosine { final_factor: 0.05 },
            ..TrainConfig::default()
        }
    }

    fn qat(&self, qat: Qat) -> Step {
        let qat = Qat { delay_epochs: Some(0), ..qat };
        Step::Train(TrainConfig { qat: Some(qat), ..self.training() }, IoType::Float32)
    }

    fn int4(&self, granularity: QatGranularity) -> Step {
        self.qat(Qat { weights: QatWeights::Int4, granularity, ..Qat::default() })
    }

    fn prune(&self, percent: u32) -> Step {
        let config = ChannelPruning {
            ratio: f64::from(percent) / 100.0,
            steps: 2,
            min_channels: 2,
            ..ChannelPruning::default()
        };
        Step::PruneChannels(config, Some(TrainConfig { epochs: 2 * self.epochs, ..self.training() }))
    }
}

/// How a model is called that has so many percent of its channels fewer.
fn pruning(percent: u32) -> String {
    format!("{percent} % pruned")
}

/// The points of a percentage.
fn pruned(found: &Found, percent: u32) -> impl Iterator<Item = &super::Point> {
    let prefix = pruning(percent);
    found.points.iter().filter(move |point| point.name.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use litesmith_measure::Timing;

    use super::super::Point;
    use super::*;

    fn found(points: &[(&str, f64)]) -> Found {
        let point = |&(name, accuracy): &(&str, f64)| Point {
            name: name.into(),
            file: String::new(),
            bytes: 1000,
            gzip_bytes: Some(900),
            zstd_bytes: None,
            samples: 1000,
            correct: (accuracy * 1000.0) as u64,
            accuracy,
            latency_us: 1.0,
            timing: Timing::from_latencies_ns(0, vec![1000]).unwrap(),
            seconds: 1.0,
        };
        Found { points: points.iter().map(point).collect(), failed: Vec::new() }
    }

    #[test]
    fn between_two_percentages_lies_the_next() {
        let sized = |points: &[(&str, u64)]| {
            let mut found = found(&points.iter().map(|&(name, _)| (name, 0.9)).collect::<Vec<_>>());
            found.points.iter_mut().zip(points).for_each(|(point, &(_, bytes))| point.bytes = bytes);
            found
        };
        let budget = Goal::Budget(1000);
        // The fewest channels gone that are small enough, and the most that are not.
        let points =
            [("int8", 9000), ("50 % pruned, int8", 3000), ("70 % pruned, int8", 1100), ("80 % pruned, int8", 900)];
        assert_eq!(Candidates::between(&sized(&points), &budget, 0.9), Some(75));
        assert_eq!(Candidates::between(&sized(&[("int8", 9000), ("50 % pruned, int8", 900)]), &budget, 0.9), Some(25));
        // All channels are small enough already, or nothing is.
        assert_eq!(Candidates::between(&sized(&[("int8", 900), ("50 % pruned, int8", 500)]), &budget, 0.9), None);
        assert_eq!(Candidates::between(&sized(&[("50 % pruned, int8", 5000)]), &budget, 0.9), None);
    }

    #[test]
    fn percentages_are_halved_between_what_meets_the_goal_and_what_does_not() {
        let goal = Goal::MaxDrop(0.01);
        let points = [("given", 0.98), ("25 % pruned, int8", 0.981), ("40 % pruned, int8", 0.96)];
        assert_eq!(Candidates::between(&found(&points), &goal, 0.98), Some(32));
        let nearer = [points[0], points[1], points[2], ("30 % pruned, int8", 0.9)];
        assert_eq!(Candidates::between(&found(&nearer), &goal, 0.98), None, "25 and 30 are near enough");
        assert_eq!(Candidates::between(&found(&points), &Goal::Budget(10), 0.98), None);
    }
}
