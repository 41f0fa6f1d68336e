//! What the steps of recipes that train made, kept in a folder: a recipe that was broken off goes on there, and recipes share
//! their teachers.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use litesmith_graph::{Error, Model, Result};
use litesmith_runtime::Isa;
use litesmith_tflite::{Limits, WriteOptions};
use serde::{Deserialize, Serialize};

use super::run::{RecipeRun, is_recipe};
use super::{GIVEN, Recipe};
use crate::files::{self, Existing, fnv1a};
use crate::model_bytes;

/// Bytes of a file that says what is kept.
const SAYS_MAX: u64 = 1 << 20;

/// What is said of a model that is kept, in a file beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// Of the step that made it.
    pub(super) note: String,
    /// How long that took.
    pub(super) seconds: f64,
    /// All that it depends on, in words.
    of: String,
}

/// The place of one model.
pub(super) struct Kept {
    model: PathBuf,
    said: PathBuf,
    of: String,
}

impl Kept {
    /// The place of what step `number` makes, counted from 0. `None` where nothing is kept, or the step takes no time.
    pub(super) fn of(recipe: &Recipe, number: usize, run: &RecipeRun<'_>) -> Result<Option<Self>> {
        let Some(folder) = run.keep.as_ref().filter(|_| recipe.steps[number].trains()) else { return Ok(None) };
        let isa = run.session.isa.unwrap_or_else(Isa::detect);
        let mut of = format!("Litesmith {} on {isa}, data {}", env!("CARGO_PKG_VERSION"), run.dataset.name);
        for split in [&run.dataset.train, &run.dataset.validation].into_iter().flatten() {
            let _ = write!(of, ", {} {} samples", split.len(), split.name());
        }
        of.push('\n');
        if let Some(model) = run.model {
            let _ = writeln!(of, "begins with {:016x}", fnv1a(&model_bytes(model, &WriteOptions::default())?));
        }
        describe(&Recipe { steps: recipe.steps[..=number].to_vec(), ..recipe.clone() }, &mut Vec::new(), &mut of)?;
        let name = format!("{:016x}", fnv1a(of.as_bytes()));
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        let kept = Self { model: file("tflite"), said: file("json"), of };
        // Before the work, not after it.
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder.display(), error))?;
        files::check_absent(&kept.model, Existing::Replace)?;
        Ok(Some(kept))
    }

    /// What is kept there, if anything is.
    pub(super) fn load(&self) -> Result<Option<(Model, Said)>> {
        if !self.said.exists() || !self.model.exists() {
            return Ok(None);
        }
        let said = files::load(&self.said, SAYS_MAX)?;
        let anew = |error: Error| error.with_hint("remove it, and the step is done again");
        let said: Said = serde_json::from_slice(&said)
            .map_err(|error| anew(Error::malformed(self.said.display(), error.to_string())))?;
        // Two that are called alike.
        if said.of != self.of {
            return Ok(None);
        }
        let bytes = files::load(&self.model, Limits::default().file_bytes as u64)?;
        let loaded =
            litesmith_tflite::read(&bytes, &Limits::default()).map_err(|error| anew(error.at(self.model.display())))?;
        Ok(Some((loaded.model, said)))
    }

    /// Keeps a model.
    pub(super) fn save(self, model: &Model, note: &str, seconds: f64) -> Result<()> {
        let said = Said { note: note.into(), seconds, of: self.of };
        let text = serde_json::to_vec_pretty(&said).map_err(|error| Error::invalid("recipe", error.to_string()))?;
        // That it is there is said last.
        files::save(&self.model, &model_bytes(model, &WriteOptions::default())?, Existing::Replace)?;
        files::save(&self.said, &text, Existing::Replace)
    }

    /// Where the model lies.
    pub(super) fn path(&self) -> &Path {
        &self.model
    }
}

/// Everything in a recipe and the files that it names, teachers included, of which each is described once: `seen` were. How it is
/// called is left out: a network that is a step of one recipe and a teacher in another is trained once.
fn describe(recipe: &Recipe, seen: &mut Vec<PathBuf>, text: &mut String) -> Result<()> {
    let name = if recipe.name.is_empty() { String::new() } else { "named".into() };
    text.push_str(&Recipe { name, ..recipe.clone() }.to_toml()?);
    let mut digest = |name: &Path, bytes: &[u8]| {
        let _ = writeln!(text, "# {} {:016x}", name.display(), fnv1a(bytes));
    };
    if let Some(arch) = recipe.arch.as_ref().map(Path::new).filter(|arch| is_recipe(arch)) {
        digest(arch, &files::load(&recipe.folder.join(arch), SAYS_MAX)?);
    }
    let mut teachers = Vec::new();
    for step in &recipe.steps {
        let distill = step.training().and_then(|train| train.distill.as_ref());
        for teacher in distill.into_iter().flat_map(|distill| &distill.teacher) {
            if is_recipe(teacher) {
                teachers.push(recipe.folder.join(teacher));
            } else if teacher != Path::new(GIVEN) {
                digest(teacher, &files::load(&recipe.folder.join(teacher), Limits::default().file_bytes as u64)?);
            }
        }
    }
    for path in teachers {
        let file = path.canonicalize().unwrap_or_else(|_| path.clone());
        if !seen.contains(&file) {
            seen.push(file);
            describe(&Recipe { seed: recipe.seed, validation: recipe.validation, ..Recipe::load(&path)? }, seen, text)?;
        }
    }
    Ok(())
}
