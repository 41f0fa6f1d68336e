//! Recipes on real digits: what a step does is what its command does.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use litesmith::data::{Dataset, OpenOptions, open};
use litesmith::files::Existing;
use litesmith::graph::Op;
use litesmith::progress::{Progress, Silent, Stage};
use litesmith::recipe::{Made, Recipe, RecipeRun, Step, run_recipe};
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
    let run = RecipeRun { dataset: &DIGITS, model, session, cancel: None, keep: None, rescue: None };
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

#[test]
fn what_stands_above_the_steps_holds() {
    let text = "name = \"mine\"\narch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nbatch = 32\n";
    let chosen = make(text, None);
    assert!(chosen.notes[0].starts_with("epoch 1, validation accuracy"), "{:?}", chosen.notes);
    assert_eq!(chosen.model.metadata.name, "mine");
    let all = make(&format!("validation = 0.0\n{text}"), None);
    assert_eq!(all.notes, ["1 epoch"]);
    assert_ne!(all.bytes, chosen.bytes, "60 samples more to learn from");
    assert_ne!(make(&format!("seed = 2\n{text}"), None).bytes, chosen.bytes);

    let cancel = Some(Arc::new(AtomicBool::new(true)));
    let run = RecipeRun {
        dataset: &DIGITS,
        model: None,
        session: SessionOptions::default(),
        cancel,
        keep: None,
        rescue: None,
    };
    assert!(run_recipe(&Recipe::from_toml(text).unwrap(), &run, &mut Silent).unwrap().is_none());
}

/// As step 1, with what `train` says of its training besides.
fn steps(train: &str) -> [(&'static str, String); 4] {
    let of = |what: &str, keys: &str| format!("[[step]]\ndo = \"{what}\"\n{keys}");
    let table = format!("train = {{ epochs = 1, batch = 32, {train} }}");
    [
        ("train", of("train", &format!("epochs = 1\nbatch = 32\n{}", train.replace(", ", "\n")))),
        ("prune_channels", of("prune_channels", &format!("ratio = 0.5\n{table}"))),
        ("prune_weights", of("prune_weights", &format!("sparsity = 0.5\n{table}"))),
        ("cluster", of("cluster", &format!("clusters = 8\n{table}"))),
    ]
}

#[test]
fn every_step_that_trains_has_a_teacher_beside_the_recipe_or_learns_from_the_model_given() {
    let folder = tempfile::tempdir().unwrap();
    litesmith::save_model(&folder.path().join("teacher.tflite"), &FLOAT, Existing::Keep).unwrap();
    // With alpha 1 labels count for nothing, smoothed or not: all that is learned comes from the teacher.
    let by = |teachers: &[&str], more: &str| {
        let hints = "hints=[{student=\"conv2d\",teacher=\"conv2d\"}]";
        let quoted: Vec<_> = teachers.iter().map(|teacher| format!("{teacher:?}")).collect();
        let teachers = if let [one] = quoted.as_slice() { one.clone() } else { format!("[{}]", quoted.join(",")) };
        steps(&format!("distill={{teacher={teachers},alpha=1.0,{hints}}}{more}"))
    };
    let beside = by(&["teacher.tflite"], "");
    let (given, smoothed, labels) = (by(&["given"], ""), by(&["given"], ", label_smoothing=0.2"), steps("seed=0"));
    for index in 0..beside.len() {
        let (name, text) = &beside[index];
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        let bytes = made(&Recipe::load(&path).unwrap(), Some(&FLOAT)).unwrap().bytes;
        assert!(bytes == make(&given[index].1, Some(&FLOAT)).bytes, "{name}: the same teacher");
        assert!(bytes == make(&smoothed[index].1, Some(&FLOAT)).bytes, "{name}: labels count");
        assert!(bytes != make(&labels[index].1, Some(&FLOAT)).bytes, "{name}: the teacher does not count");
        let error = made(&Recipe::from_toml(text).unwrap(), Some(&FLOAT)).unwrap_err().to_string();
        assert!(error.contains(&format!("step 1 ({name})")) && error.contains("teacher.tflite"), "{error}");
    }
    // A recipe as the teacher is carried out first.
    let floats = "arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 2\nbatch = 32\n";
    std::fs::write(folder.path().join("floats.toml"), floats).unwrap();
    let path = folder.path().join("by-recipe.toml");
    std::fs::write(&path, &by(&["floats.toml"], "")[0].1).unwrap();
    let bytes = made(&Recipe::load(&path).unwrap(), Some(&FLOAT)).unwrap().bytes;
    assert!(bytes == make(&given[0].1, Some(&FLOAT)).bytes, "the teacher that a recipe makes");
    // Several, of each kind: the mean of what is the same is the same.
    let several = &by(&["given", "floats.toml"], "")[0].1;
    std::fs::write(&path, several).unwrap();
    let several = made(&Recipe::load(&path).unwrap(), Some(&FLOAT)).unwrap().bytes;
    assert!(bytes == several, "teachers that are the same");
    // The recipe of a teacher has one itself, which the student learns from too: carried out once.
    let middle = "arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 1\nbatch = 32\n[step.distill]\nteacher = \"floats.toml\"\n";
    std::fs::write(folder.path().join("middle.toml"), middle).unwrap();
    std::fs::write(&path, &by(&["middle.toml", "floats.toml"], "")[0].1).unwrap();
    let nested = made(&Recipe::load(&path).unwrap(), Some(&FLOAT)).unwrap().bytes;
    assert!(nested != bytes, "a teacher that has learned from another");
    std::fs::write(folder.path().join("middle.toml"), middle.replace("floats.toml", "middle.toml")).unwrap();
    let error = made(&Recipe::load(&path).unwrap(), Some(&FLOAT)).unwrap_err().to_string();
    assert!(error.contains("learns from itself"), "{error}");
    // A recipe that is written and read again has the same teacher.
    let recipe = Recipe::from_toml(&given[1].1).unwrap();
    assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
    let scratch = format!("arch = \"lenet-5\"\n{}", given[0].1);
    let error = made(&Recipe::from_toml(&scratch).unwrap(), None).unwrap_err().to_string();
    assert!(error.contains("step 1 (train): distill.teacher") && error.contains("without a model"), "{error}");
}

/// What is said, and how often training starts.
#[derive(Default)]
struct Heard(Vec<String>);

impl Progress for Heard {
    fn start(&mut self, _: Stage, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn note(&mut self, message: &str) {
        self.0.push(message.into());
    }
    fn finish(&mut self) {}
}

#[test]
fn the_recipe_of_a_teacher_is_carried_out_once_and_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let train = "[[step]]\ndo = \"train\"\nepochs = 1\nbatch = 32\n";
    std::fs::write(folder.path().join("teacher.toml"), format!("arch = \"lenet-5\"\n{train}")).unwrap();
    let taught = format!("{train}distill = {{ teacher = \"teacher.toml\" }}\n");
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, format!("arch = \"lenet-5\"\n{taught}{taught}")).unwrap();
    let recipe = Recipe::load(&path).unwrap();
    let (mut heard, cancel) = (Heard::default(), Arc::new(AtomicBool::new(false)));
    let session = SessionOptions { threads: 2, ..SessionOptions::default() };
    let run = RecipeRun { dataset: &DIGITS, model: None, session, cancel: Some(cancel), keep: None, rescue: None };
    run_recipe(&recipe, &run, &mut heard).unwrap().unwrap();
    let called = heard.0.iter().filter(|said| said.starts_with("the teacher")).count();
    let epochs = heard.0.iter().filter(|said| said.starts_with("epoch 1/1")).count();
    assert_eq!((called, epochs), (1, 3), "{:?}", heard.0);

    /// Interrupts the first training, which is the teacher's.
    struct Interrupt(Arc<AtomicBool>);
    impl Progress for Interrupt {
        fn start(&mut self, _: Stage, _: u64) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        fn advance(&mut self, _: u64) {}
        fn note(&mut self, _: &str) {}
        fn finish(&mut self) {}
    }
    let cancel = run.cancel.clone().unwrap();
    assert!(run_recipe(&recipe, &run, &mut Interrupt(cancel)).unwrap().is_none());
}

/// Ops, and types and shapes of what they read and write.
fn structure(model: &Model) -> Vec<String> {
    let graph = &model.graphs[0];
    let tensor = |id| graph.tensor(id).to_string();
    let node = |node: &litesmith::graph::Node| {
        let read: Vec<_> = node.inputs.iter().flatten().map(|&id| tensor(id)).collect();
        format!("{:?} {read:?} {}", node.op, tensor(node.outputs[0]))
    };
    graph.nodes.iter().map(node).collect()
}

#[test]
fn the_recipes_of_the_repository_make_models_of_their_size_and_those_of_the_zoo() {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let (recipes, zoo) = (names("recipes"), names("zoo/mnist"));
    let mut count = 0;
    for name in recipes.iter().filter(|name| root().join("recipes").join(name).is_dir()) {
        let mut recipe = Recipe::load(&root().join("recipes").join(name).join("recipe.toml")).unwrap();
        // A name is that of the data and of how large the file gets.
        let (data, size) = name.rsplit_once('-').unwrap();
        assert_eq!((&recipe.name, recipe.data.as_deref()), (name, Some(data)));
        // Of training, that it works: what it comes to is for `zoo.rs` to check.
        for step in &mut recipe.steps {
            if let Step::Train(config, _) = step {
                config.epochs = 1;
                // Several large teachers take long: that they are there, and what they train.
                if let Some(distill) = config.distill.take_if(|distill| distill.teacher.len() > 1) {
                    for teacher in distill.teacher {
                        let teacher = Recipe::load(&recipe.folder.join(teacher)).unwrap();
                        let arch = teacher.folder.join(teacher.arch.unwrap());
                        assert!(arch.exists() && matches!(teacher.steps[..], [Step::Train(..)]), "{}", arch.display());
                    }
                }
            }
        }
        let bytes = made(&recipe, None).unwrap().bytes;
        let size: f64 = size.strip_suffix("kB").unwrap().parse().unwrap();
        let share = bytes.len() as f64 / 1000.0 / size;
        // Which channels go, and with them the size, depends on what was learned.
        let prunes = recipe.steps.iter().any(|step| matches!(step, Step::PruneChannels(..)));
        assert!(if prunes { 0.5..2.0 } else { 1.0..1.02 }.contains(&share), "{name}: {} bytes", bytes.len());
        if data != "mnist" {
            continue;
        }
        let small = litesmith::tflite::read(&bytes, &Default::default()).unwrap();
        let file = zoo.iter().find(|file| file.starts_with(&format!("{name}-"))).unwrap();
        let known = load_model(&root().join("zoo/mnist").join(file)).unwrap();
        assert!(prunes || structure(&small.model) == structure(&known.model), "{name}");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn what_is_kept_of_a_recipe_is_not_made_again_and_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let train = "[[step]]\ndo = \"train\"\nepochs = 1\nbatch = 32\n";
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("teacher.toml", format!("arch = \"lenet-5\"\n{train}"));
    let taught = format!("{train}distill = {{ teacher = \"teacher.toml\" }}\n");
    let prune = "[[step]]\ndo = \"prune_channels\"\nratio = 0.3\ntrain = { epochs = 1, batch = 32 }\n";
    let quantize = "[[step]]\ndo = \"quantize\"\nscheme = \"int8\"\n";
    write("first.toml", format!("arch = \"lenet-5\"\n{taught}"));
    write("whole.toml", format!("arch = \"lenet-5\"\n{taught}{prune}{quantize}"));
    let keep = folder.path().join("kept");
    let run = |name: &str, seed: u64, keep: Option<&Path>| {
        let mut heard = Heard::default();
        let recipe = Recipe { seed, ..Recipe::load(&folder.path().join(name)).unwrap() };
        let session = SessionOptions { threads: 2, ..SessionOptions::default() };
        let keep = keep.map(Path::to_path_buf);
        let run = RecipeRun { dataset: &DIGITS, model: None, session, cancel: None, keep, rescue: None };
        let made = run_recipe(&recipe, &run, &mut heard).unwrap().unwrap();
        let count = |begin: &str| heard.0.iter().filter(|said| said.starts_with(begin)).count();
        (made, count("epoch 1/1"), count("step "))
    };
    let (plain, trained, _) = run("whole.toml", 3, None);
    assert_eq!(trained, 3, "the teacher, the student, the student with fewer channels");
    // Broken off after the first step; the rest then begins with it, and needs no teacher.
    assert_eq!(run("first.toml", 3, Some(&keep)).1, 2);
    let (made, trained, kept) = run("whole.toml", 3, Some(&keep));
    assert_eq!((trained, kept), (1, 1));
    let (again, trained, kept) = run("whole.toml", 3, Some(&keep));
    assert_eq!((trained, kept), (0, 2));
    assert!(made.bytes == plain.bytes && again.bytes == plain.bytes, "the same file, kept or not");
    assert_eq!((&made.notes, made.seconds.iter().sum::<f64>() > 0.0), (&plain.notes, true));
    assert_eq!(again.seconds[..2], made.seconds[..2], "how long it took at first");
    // A recipe that is called otherwise makes the same network, under its own name.
    for name in ["one", "two"] {
        write(&format!("{name}.toml"), format!("name = \"{name}\"\narch = \"lenet-5\"\n{taught}"));
    }
    assert_eq!(run("one.toml", 3, Some(&keep)).1, 1);
    let (of_one, trained, _) = run("two.toml", 3, Some(&keep));
    assert_eq!(trained, 0);
    assert!(of_one.bytes == run("two.toml", 3, None).0.bytes);
    // A file that is damaged is no reason to begin with it, and a folder that cannot be is known before the work.
    let error = |keep: PathBuf| {
        let recipe = Recipe { seed: 3, ..Recipe::load(&folder.path().join("first.toml")).unwrap() };
        let session = SessionOptions { threads: 2, ..SessionOptions::default() };
        let run = RecipeRun { dataset: &DIGITS, model: None, session, cancel: None, keep: Some(keep), rescue: None };
        run_recipe(&recipe, &run, &mut Silent).unwrap_err().to_string()
    };
    let kept = |extension: &str| {
        std::fs::read_dir(&keep)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().unwrap() == extension)
            .collect::<Vec<_>>()
    };
    let texts: Vec<_> = kept("json").into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    texts.iter().for_each(|(_, path)| std::fs::write(path, "{").unwrap());
    assert!(error(keep.clone()).contains(".json: "));
    texts.iter().for_each(|(text, path)| std::fs::write(path, text).unwrap());
    assert!(error(folder.path().join("first.toml")).contains("first.toml"));
    // Another seed, another teacher: nothing of it is kept.
    assert_eq!(run("first.toml", 4, Some(&keep)).1, 2);
    write("teacher.toml", format!("arch = \"lenet-5\"\n{train}learning_rate = 1e-4\n"));
    assert_eq!(run("first.toml", 3, Some(&keep)).1, 2);
}

#[test]
fn channels_are_ranked_with_the_data_of_the_recipe() {
    let pruned = |more: &str| make(&format!("[[step]]\ndo = \"prune_channels\"\nratio = 0.3\n{more}"), Some(&FLOAT));
    let ranked = pruned("");
    assert!(ranked.model.graphs[0].parameters() * 10 < FLOAT.graphs[0].parameters() * 8);
    assert!(ranked.bytes != pruned("importance = \"l1\"").bytes, "gradients rank otherwise than weights");
    assert!(ranked.bytes == pruned("importance = \"taylor\"").bytes);
}

#[test]
fn a_step_that_quantizes_says_what_the_input_and_the_output_are() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    std::fs::write(folder.path().join("labels.txt"), names.join("\n")).unwrap();
    let text = "[[step]]\ndo = \"quantize\"\nio = \"uint8\"\nmean = 10\nstd = 200\nlabels = \"labels.txt\"\n";
    std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
    let mut float = FLOAT.clone();
    float.metadata.inputs.clear();
    let made = made(&Recipe::load(&folder.path().join("recipe.toml")).unwrap(), Some(&float)).unwrap();
    let graph = made.model.main().unwrap();
    let input = graph.tensor(graph.inputs[0]).quantization.as_ref().unwrap();
    assert_eq!(input.as_per_tensor(), Some((1.0 / 200.0, 10)));
    let normalization = made.model.metadata.inputs[0].normalization.as_ref().unwrap();
    assert_eq!((&normalization.mean[..], &normalization.std[..]), (&[10.0][..], &[200.0][..]));
    assert_eq!(made.model.metadata.outputs[0].labels, names);
}

#[test]
fn what_cannot_work_is_said_before_the_first_step() {
    let train = "arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 1\nbatch = 32\n[[step]]\n";
    for (step, expected) in [
        (
            "do = \"quantize\"\nrules = [\"nosuch*=float32\"]",
            "step 2 (quantize): rule \"nosuch*=float32\": it selects no op",
        ),
        ("do = \"quantize\"\nlabels = \"nosuch.txt\"", "nosuch.txt"),
        (
            "do = \"prune_weights\"\nsparsity = 0.5\nexclude = [\"nosuch\"]",
            "step 2 (prune_weights): exclude: no layer's name",
        ),
        ("do = \"cluster\"\nexclude = [\"nosuch\"]", "step 2 (cluster): exclude"),
        ("do = \"prune_channels\"\nexclude = [\"nosuch\"]", "step 2 (prune_channels): exclude"),
        ("do = \"train\"\nqat = { rules = [\"nosuch=float32\"] }", "step 2 (train): qat: rule \"nosuch=float32\""),
        ("do = \"train\"\ndistill = { teacher = \"nosuch.tflite\" }", "step 2 (train): nosuch.tflite"),
        ("do = \"train\"\ndistill = { teacher = \"given\" }", "begins without a model"),
    ] {
        let mut heard = Heard::default();
        let session = SessionOptions { threads: 2, ..SessionOptions::default() };
        let run = RecipeRun { dataset: &DIGITS, model: None, session, cancel: None, keep: None, rescue: None };
        let error = run_recipe(&Recipe::from_toml(&format!("{train}{step}")).unwrap(), &run, &mut heard).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(heard.0.is_empty(), "{step}: {:?}", heard.0);
    }
    // What is there is let through: names of the exported network, and of its ops.
    let text = "do = \"prune_weights\"\nsparsity = 0.5\nexclude = [\"conv2d\"]\n[[step]]\ndo = \"quantize\"\nrules = [\"dense*=float32\"]";
    make(&format!("{train}{text}"), None);
}

#[test]
fn what_was_made_before_a_step_that_fails_or_is_cancelled_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("labels.txt"), "one line\n").unwrap();
    let train = "[[step]]\ndo = \"train\"\nepochs = 1\nbatch = 32\n";
    let fails = "[[step]]\ndo = \"quantize\"\nlabels = \"labels.txt\"\n";
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, format!("arch = \"lenet-5\"\n{train}{fails}")).unwrap();
    let cancel = Arc::new(AtomicBool::new(false));
    let rescue = Some(folder.path().join("small.tflite"));
    let run = RecipeRun {
        dataset: &DIGITS,
        model: None,
        session: SessionOptions { threads: 2, ..SessionOptions::default() },
        cancel: Some(Arc::clone(&cancel)),
        keep: None,
        rescue,
    };
    let saved = folder.path().join("small-after-step-1.tflite");
    let error = run_recipe(&Recipe::load(&path).unwrap(), &run, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("step 2 (quantize)") && error.to_string().contains("labels.txt"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains(&format!("what step 1 (train) made is in {}", saved.display())), "{hint}");
    let expected = make(&format!("arch = \"lenet-5\"\n{train}"), None).bytes;
    assert!(std::fs::read(&saved).unwrap() == expected);
    std::fs::remove_file(&saved).unwrap();

    /// Cancels the second training.
    struct Second(Arc<AtomicBool>, usize, Vec<String>);
    impl Progress for Second {
        fn start(&mut self, stage: Stage, _: u64) {
            self.1 += usize::from(matches!(stage, Stage::Train { .. }));
            self.0.store(self.1 == 2, std::sync::atomic::Ordering::Relaxed);
        }
        fn advance(&mut self, _: u64) {}
        fn note(&mut self, message: &str) {
            self.2.push(message.into());
        }
        fn finish(&mut self) {}
    }
    std::fs::write(&path, format!("arch = \"lenet-5\"\n{train}{train}")).unwrap();
    let mut second = Second(cancel, 0, Vec::new());
    assert!(run_recipe(&Recipe::load(&path).unwrap(), &run, &mut second).unwrap().is_none());
    assert!(second.2.iter().any(|said| said.contains("small-after-step-1.tflite")), "{:?}", second.2);
    assert!(std::fs::read(&saved).unwrap() == expected);
}
