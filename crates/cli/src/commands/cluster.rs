//! `cluster`.

use litesmith::compress::{ClusterScope, Clustering, Initial};
use litesmith::measure::{Align, TextTable, format};
use litesmith::{Result, cluster_model, files};

use super::prune::{NAME, Tuning, finish, interrupted};
use super::{existing, load_float};
use crate::Verdict;
use crate::args::{ClusterArgs, ClusterScopeArg, InitialArg};
use crate::output::Output;

pub(crate) fn run(args: &ClusterArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let loaded = load_float(&args.model, output)?;
    let (model, sparse) = (loaded.model, args.change.sparse || loaded.is_sparse);
    let tuning = Tuning::new(&args.change.tune, &args.model, &model, output)?;
    let tune = tuning.as_ref().map(|tuning| tuning.fine_tune(output)).transpose()?;
    let config = Clustering {
        clusters: args.clusters as usize,
        scope: match args.scope {
            ClusterScopeArg::Layer => ClusterScope::Layer,
            ClusterScopeArg::Channel => ClusterScope::Channel,
        },
        initial: match args.init {
            InitialArg::Linear => Initial::Linear,
            InitialArg::Density => Initial::Density,
            InitialArg::KMeansPlusPlus => Initial::KMeansPlusPlus,
        },
        seed: args.change.tune.training.seed.unwrap_or(0),
        exclude: args.change.exclude.clone(),
        ..Clustering::default()
    };
    let (shared, report) = cluster_model(&model, &config, tune.as_ref(), &mut output.progress())?;
    if report.cancelled {
        return Ok(interrupted(output));
    }
    let mut table = TextTable::new(&[
        ("layer", Align::Left),
        ("weights", Align::Right),
        ("values", Align::Right),
        ("bits each", Align::Right),
    ]);
    for layer in &report.layers {
        table.row([
            format::shortened(&layer.layer, NAME),
            format::count(layer.elements as u64),
            format::count(layer.values as u64),
            format!("{:.2}", layer.bits),
        ]);
    }
    let numbers = serde_json::json!({ "layers": report.layers });
    finish(&args.out, &args.model, &shared, sparse, table.to_string(), numbers, output)
}
