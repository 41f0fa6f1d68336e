//! Recipes on real digits: what a step does is what its command does.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use litesmith::data::{Dataset, OpenOptions, open};
use litesmith::files::Existing;
use litesmith::graph::Op;
use litesmith::progress::Silent;
use litesmith::recipe::{Made, Recipe, RecipeRun, run_recipe};
use litesmith::tflite::{Strip, WriteOptions};
use litesmith::{Model, SessionOptions, load_model, save_model_as};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A few digits: enough to learn from in a second.
static DIGITS: LazyLock<Dataset> = LazyLock::new(|| {
    let mut digits = open(&format!("mnist:{}", root().join("data/mnist").display()), &OpenOptions::default()).unwrap();
    digits.train = digits.train.map(|split| split.take(600));
    digits
});

fn made(recipe: &Recipe, model: Option<&Model>) -> litesmith::Result<Made> {
    let session = SessionOptions { threads: 2, ..SessionOptions::default() };
    let run = RecipeRun { dataset: &DIGITS, model, session, cancel: None };
    Ok(run_recipe(recipe, &run, &mut Silent)?.unwrap())
}

fn make(text: &str, model: Option<&Model>) -> Made {
    made(&Recipe::from_toml(text).unwrap(), model).unwrap()
}

/// A network that knows a little.
static FLOAT: LazyLock<Model> =
    LazyLock::new(|| make("arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 2\nbatch = 32\n", None).model);

#[test]
fn what_a_recipe_strips_has_the_bytes_of_the_strip_command() {
    let reshapes =
        |model: &Model| model.graphs[0].nodes.iter().filter(|node| matches!(node.op, Op::Reshape(_))).count();
    assert_eq!(reshapes(&FLOAT), 1, "nothing to simplify");
    let folder = tempfile::tempdir().unwrap();
    for (level, strip) in [("names", Strip::Names), ("everything", Strip::Everything), ("derivable", Strip::Derivable)]
    {
        let quantize = "[[step]]\ndo = \"quantize\"\nscheme = \"int8\"\ncalibration = { samples = 50 }\n";
        let stripped = make(&format!("{quantize}[[step]]\ndo = \"strip\"\nlevel = \"{level}\""), Some(&FLOAT));
        let path = folder.path().join(format!("{level}.tflite"));
        let options = WriteOptions { strip, ..WriteOptions::default() };
        save_model_as(&path, &make(quantize, Some(&FLOAT)).model, &options, Existing::Keep).unwrap();
        assert!(stripped.bytes == std::fs::read(&path).unwrap(), "{level}");
        let left = usize::from(level == "names");
        assert_eq!(reshapes(&load_model(&path).unwrap().model), left, "{level}");
    }
}
