//! What of a recipe cannot work, found before its first step is done: the steps before the one that fails may take hours.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use litesmith_compress::{check_excluded, check_quantization};
use litesmith_data::SplitKind;
use litesmith_graph::{Error, Graph, Result};
use litesmith_train::arch::Architecture;
use litesmith_train::{TrainConfig, export};

use super::run::{RecipeRun, given, is_recipe};
use super::{GIVEN, Recipe, Step};
use crate::qat::qat_options;
use crate::training::load_architecture;

/// Checks that steps stand in an order that is possible: nothing changes or quantizes weights that are quantized already.
///
/// # Errors
/// [`Error::Invalid`] with the step as place.
pub(super) fn check_order(steps: &[Step]) -> Result<()> {
    let mut quantized: Option<usize> = None;
    for (number, step) in steps.iter().enumerate() {
        if matches!(step, Step::Strip(_)) {
            continue;
        }
        if let Some(before) = quantized {
            let earlier = format!("step {} ({})", before + 1, steps[before].name());
            let message = format!("it needs float32 weights, but those of {earlier} are quantized");
            return Err(Error::invalid(place(number, step), message).with_hint(match step {
                Step::Quantize(..) => {
                    format!("leave one of the two out; rules of {earlier} say what single ops become")
                }
                _ => format!("put it before {earlier}"),
            }));
        }
        if step.quantizes() {
            quantized = Some(number);
        }
    }
    Ok(())
}

/// How a step is called in an error.
pub(super) fn place(number: usize, step: &Step) -> String {
    format!("step {} ({})", number + 1, step.name())
}

/// The architecture that the recipe begins with, where it names one; a file is seen from the recipe.
pub(super) fn architecture(recipe: &Recipe, run: &RecipeRun<'_>) -> Result<Option<Architecture>> {
    let Some(arch) = &recipe.arch else { return Ok(None) };
    let arch = match is_recipe(Path::new(arch)) {
        true => recipe.folder.join(arch).display().to_string(),
        false => arch.clone(),
    };
    let classes = run.dataset.require(SplitKind::Train)?.classes().len();
    load_architecture(&arch, Some(classes)).map(Some)
}

/// Checks what `recipe` says against the network that it begins with, and that its files are there; that of its teachers likewise.
///
/// # Errors
/// Those that its steps would end with, with the step as place.
pub(super) fn check(recipe: &Recipe, run: &RecipeRun<'_>) -> Result<()> {
    check_with(recipe, run, &mut Vec::new())
}

fn check_with(recipe: &Recipe, run: &RecipeRun<'_>, seen: &mut Vec<PathBuf>) -> Result<()> {
    // Steps change weights and how many there are, not which layers there are and what they are called.
    let graph: Option<Cow<'_, Graph>> = match run.model {
        Some(model) => Some(Cow::Borrowed(model.main()?)),
        None => match architecture(recipe, run)? {
            Some(architecture) => Some(Cow::Owned(export::export(&architecture.graph(recipe.seed)?)?)),
            None => None,
        },
    };
    for (number, step) in recipe.steps.iter().enumerate() {
        let of_step = |error: Error| error.at(place(number, step));
        if let Some(graph) = &graph {
            check_step(step, graph, recipe).map_err(of_step)?;
        }
        let distill = step.training().and_then(|train| train.distill.as_ref());
        for teacher in distill.into_iter().flat_map(|distill| &distill.teacher) {
            check_teacher(recipe, teacher, run, seen).map_err(of_step)?;
        }
    }
    Ok(())
}

fn check_step(step: &Step, graph: &Graph, recipe: &Recipe) -> Result<()> {
    match step {
        Step::Train(TrainConfig { qat: Some(qat), .. }, io) => {
            check_quantization(graph, &qat_options(qat, *io, *io)?).map_err(|error| error.at("qat"))
        }
        Step::Train(..) | Step::Strip(_) => Ok(()),
        Step::PruneChannels(config, _) => check_excluded(graph, &config.exclude),
        Step::PruneWeights(config, _) => check_excluded(graph, &config.exclude),
        Step::Cluster(config, _) => check_excluded(graph, &config.exclude),
        Step::Quantize(config, described) => {
            if let Some(labels) = &described.labels {
                exists(&recipe.folder.join(labels))?;
            }
            check_quantization(graph, &config.options(described.normalization().into_iter().map(Some).collect()))
        }
    }
}

fn check_teacher(recipe: &Recipe, teacher: &Path, run: &RecipeRun<'_>, seen: &mut Vec<PathBuf>) -> Result<()> {
    let path = recipe.folder.join(teacher);
    if teacher == Path::new(GIVEN) {
        return given(run).map(drop);
    }
    exists(&path)?;
    if !is_recipe(teacher) || seen.contains(&path) {
        return Ok(());
    }
    seen.push(path.clone());
    let teacher = Recipe { seed: recipe.seed, validation: recipe.validation, ..Recipe::load(&path)? };
    check_with(&teacher, &RecipeRun { model: None, ..run.clone() }, seen).map_err(|error| error.at(path.display()))
}

fn exists(path: &Path) -> Result<()> {
    File::open(path).map(drop).map_err(|error| Error::io(path.display(), error))
}
