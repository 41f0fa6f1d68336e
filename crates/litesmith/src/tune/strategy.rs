//! The strategies of Neural Compressor 1.x, as its guide to tuning describes them: which candidate is tried next.

use std::collections::HashSet;

use litesmith_data::{Purpose, Rng};
use litesmith_graph::Result;

use super::config::StrategyKind;
use super::space::{Candidate, Space};

/// What tells how good a candidate is.
pub(super) trait Judge {
    /// Tries a candidate: the higher the better. `None` when the search is over. What was tried before is not tried again.
    fn score(&mut self, stage: &str, candidate: &Candidate) -> Result<Option<f64>>;

    /// For each op, the squared error of the model's output when this op alone is quantized as in `candidate`; `None` when the
    /// search is over.
    fn impacts(&mut self, candidate: &Candidate, ops: &[usize]) -> Result<Option<Vec<f64>>>;
}

/// Spaces up to this size are listed whole.
const LISTED_MAX: u128 = 4096;
/// Trials at random before a model of them chooses.
const STARTS: usize = 8;
/// Candidates that the model chooses from.
const DRAWN: usize = 64;
/// Share of the trials that are good.
const GOOD: f64 = 0.25;

/// Tries candidates until the judge has seen enough or there are no more.
///
/// # Errors
/// Those of the judge.
pub(super) fn search(kind: StrategyKind, space: &Space, seed: u64, judge: &mut dyn Judge) -> Result<()> {
    let ended = match kind {
        StrategyKind::Basic | StrategyKind::Mse => basic(kind, space, judge),
        StrategyKind::Bayesian => bayesian(space, seed, judge),
        StrategyKind::Random => random(space, seed, judge),
        StrategyKind::Exhaustive => exhaustive(space, judge),
    };
    // Whether the judge or the strategy ended it, the judge knows.
    ended.map(drop)
}

/// All settings for the model as a whole, then for each type of op; then, from the best of these, ops back to float32: `basic`
/// each alone, and then together, those first whose falling back gave the best accuracy; `mse` together at once, those first
/// that alone change the output most. `None` when the judge ended it.
fn basic(kind: StrategyKind, space: &Space, judge: &mut dyn Judge) -> Result<Option<()>> {
    let mut best: Option<(Candidate, f64)> = None;
    for candidate in space.model_wise() {
        let Some(score) = judge.score("model", &candidate)? else { return Ok(None) };
        if best.as_ref().is_none_or(|(_, most)| score > *most) {
            best = Some((candidate, score));
        }
    }
    let Some((mut base, mut most)) = best else { return Ok(Some(())) };
    for op_type in space.kinds() {
        for candidate in space.type_wise(&base, op_type) {
            let Some(score) = judge.score("type", &candidate)? else { return Ok(None) };
            if score > most {
                (base, most) = (candidate, score);
            }
        }
    }
    let mut order = space.fallible(&base);
    let impacts = match kind {
        StrategyKind::Mse => {
            let Some(impacts) = judge.impacts(&base, &order)? else { return Ok(None) };
            impacts
        }
        _ => {
            let mut scores = Vec::with_capacity(order.len());
            for &op in &order {
                let mut candidate = base.clone();
                candidate.float[op] = true;
                let Some(score) = judge.score("op", &candidate)? else { return Ok(None) };
                scores.push(score);
            }
            scores
        }
    };
    // Stable: among equals the order stays.
    let mut ranked: Vec<_> = impacts.into_iter().zip(order.drain(..)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, op) in ranked {
        base.float[op] = true;
        let Some(_) = judge.score("ops", &base)? else { return Ok(None) };
    }
    Ok(Some(()))
}

/// Points of the space in their order: the last dimension changes fastest.
fn exhaustive(space: &Space, judge: &mut dyn Judge) -> Result<Option<()>> {
    let sizes = space.dimensions();
    let mut choices = vec![0; sizes.len()];
    loop {
        let Some(_) = judge.score("all", &space.candidate(&choices))? else { return Ok(None) };
        if !advance(&mut choices, &sizes) {
            return Ok(Some(()));
        }
    }
}

/// The next point; false after the last.
fn advance(choices: &mut [usize], sizes: &[usize]) -> bool {
    for (choice, &size) in choices.iter_mut().zip(sizes).rev() {
        *choice += 1;
        if *choice < size {
            return true;
        }
        *choice = 0;
    }
    false
}

/// Points that were not tried yet, at random.
struct Unseen {
    sizes: Vec<usize>,
    seen: HashSet<Vec<usize>>,
    /// All points, where they are few.
    all: Option<Vec<Vec<usize>>>,
    rng: Rng,
}

impl Unseen {
    fn new(space: &Space, seed: u64) -> Self {
        let sizes = space.dimensions();
        let count = sizes.iter().fold(1_u128, |count, &size| count.saturating_mul(size as u128));
        let all = (count <= LISTED_MAX).then(|| {
            let mut choices = vec![0; sizes.len()];
            let mut all = vec![choices.clone()];
            while advance(&mut choices, &sizes) {
                all.push(choices.clone());
            }
            all
        });
        // The numbers tell this stream from those that order training samples.
        let rng = Rng::new(seed, Purpose::Shuffle, &[u64::MAX, sizes.len() as u64]);
        Self { sizes, seen: HashSet::new(), all, rng }
    }

    /// All points left, where they are few.
    fn left(&self) -> Option<Vec<Vec<usize>>> {
        let all = self.all.as_ref()?;
        Some(all.iter().filter(|choices| !self.seen.contains(*choices)).cloned().collect())
    }

    /// A point at random; `None` when all were tried.
    fn draw(&mut self) -> Option<Vec<usize>> {
        if let Some(left) = self.left() {
            return match left.len() {
                0 => None,
                count => left.get(self.rng.below(count as u64) as usize).cloned(),
            };
        }
        loop {
            // More points than can be tried in a lifetime: repetitions are rare.
            let choices: Vec<_> = self.sizes.iter().map(|&size| self.rng.below(size as u64) as usize).collect();
            if !self.seen.contains(&choices) {
                return Some(choices);
            }
        }
    }
}

/// Points at random, none twice.
fn random(space: &Space, seed: u64, judge: &mut dyn Judge) -> Result<Option<()>> {
    let mut unseen = Unseen::new(space, seed);
    while let Some(choices) = unseen.draw() {
        let Some(_) = judge.score("random", &space.candidate(&choices))? else { return Ok(None) };
        unseen.seen.insert(choices);
    }
    Ok(Some(()))
}

/// Sequential model-based search with a tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl, "Algorithms for
/// Hyper-Parameter Optimization", NeurIPS 2011, section 4) over independent categorical dimensions. The best quarter of the
/// trials gives each choice of each dimension a density `l`, the others a density `g`, each starting from one count for every
/// choice; tried next is the point with the largest product of `l / g`, which maximises the expected improvement. Neural
/// Compressor has a Gaussian process in its place, which needs an order among the choices that ours do not have.
fn bayesian(space: &Space, seed: u64, judge: &mut dyn Judge) -> Result<Option<()>> {
    let mut unseen = Unseen::new(space, seed);
    let mut tried: Vec<(Vec<usize>, f64)> = Vec::new();
    // What is preferred comes first; what the model learns from after that is random.
    let mut next = Some(vec![0; unseen.sizes.len()]);
    while let Some(choices) = next {
        let Some(score) = judge.score("bayesian", &space.candidate(&choices))? else { return Ok(None) };
        unseen.seen.insert(choices.clone());
        tried.push((choices, score));
        next = if tried.len() < STARTS { unseen.draw() } else { propose(&mut tried, &mut unseen) };
    }
    Ok(Some(()))
}

fn propose(tried: &mut [(Vec<usize>, f64)], unseen: &mut Unseen) -> Option<Vec<usize>> {
    // Stable: among equals the earlier one is the better.
    tried.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let good = ((tried.len() as f64 * GOOD).ceil() as usize).max(1);
    let density = |trials: &[(Vec<usize>, f64)]| -> Vec<Vec<f64>> {
        let of = |dimension: usize, size: usize| {
            let mut counts = vec![1.0; size];
            trials.iter().for_each(|(choices, _)| counts[choices[dimension]] += 1.0);
            let total: f64 = counts.iter().sum();
            counts.into_iter().map(|count| count / total).collect()
        };
        unseen.sizes.iter().enumerate().map(|(dimension, &size)| of(dimension, size)).collect()
    };
    let (l, g) = (density(&tried[..good]), density(&tried[good..]));
    let drawn = match unseen.left() {
        Some(left) => left,
        None => {
            let rng = &mut unseen.rng;
            let mut draw = || -> Vec<usize> { l.iter().map(|density| pick(density, rng.unit_f64())).collect() };
            (0..DRAWN).map(|_| draw()).collect()
        }
    };
    let gain = |choices: &[usize]| -> f64 {
        choices.iter().enumerate().map(|(dimension, &choice)| (l[dimension][choice] / g[dimension][choice]).ln()).sum()
    };
    let new = drawn.into_iter().filter(|choices| !unseen.seen.contains(choices));
    // The first of the best.
    let best =
        new.map(|choices| (gain(&choices), choices)).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, choices)| choices).or_else(|| unseen.draw())
}

/// The choice whose part of the density holds `at`, 0 to 1.
fn pick(density: &[f64], mut at: f64) -> usize {
    for (choice, share) in density.iter().enumerate() {
        if at < *share {
            return choice;
        }
        at -= share;
    }
    density.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use litesmith_train::{export::export, zoo};

    use super::super::TuneConfig;
    use super::*;

    /// Likes one point, and others by how much of it they have; tires after some trials.
    struct Taste {
        liked: Candidate,
        left: usize,
        best: usize,
    }

    impl Judge for Taste {
        fn score(&mut self, _: &str, candidate: &Candidate) -> Result<Option<f64>> {
            let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
            self.left = left;
            let same = candidate.settings.iter().zip(&self.liked.settings).filter(|(a, b)| a == b).count();
            let score = same + usize::from(candidate.global == self.liked.global);
            self.best = self.best.max(score);
            Ok(Some(score as f64))
        }

        fn impacts(&mut self, _: &Candidate, _: &[usize]) -> Result<Option<Vec<f64>>> {
            Ok(None)
        }
    }

    #[test]
    fn a_model_of_what_was_tried_finds_more_than_chance() {
        let graph = export(&zoo::architecture("resnet-8").unwrap().graph(1).unwrap()).unwrap();
        let space = Space::new(&graph, &TuneConfig::from_yaml("version: 1.0").unwrap()).unwrap();
        let sizes = space.dimensions();
        assert!(sizes.iter().product::<usize>() > 1000, "{sizes:?}");
        let found = |kind| -> usize {
            let of = |seed| {
                let mut rng = Rng::new(seed, Purpose::Shuffle, &[1]);
                let liked: Vec<_> = sizes.iter().map(|&size| rng.below(size as u64) as usize).collect();
                let mut taste = Taste { liked: space.candidate(&liked), left: 40, best: 0 };
                search(kind, &space, seed, &mut taste).unwrap();
                taste.best
            };
            (0..10).map(of).sum()
        };
        let (model, chance) = (found(StrategyKind::Bayesian), found(StrategyKind::Random));
        // A point more in each of ten searches.
        assert!(model >= chance + 10, "{model} with a model, {chance} by chance");
    }
}
