//! The search on real digits: what it finds is kept, whatever ends it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use litesmith::data::{Dataset, OpenOptions, open};
use litesmith::progress::{Progress, Silent, Stage};
use litesmith::recipe::{Recipe, RecipeRun, run_recipe};
use litesmith::search::{Goal, SearchEnded, SearchOptions, search};
use litesmith::{EvaluateOptions, Model, Predictor, SessionOptions, evaluate, load_model};

/// A few digits: enough to learn from in a second.
fn digits() -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let mut digits = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
    digits.train = digits.train.map(|split| split.take(2000));
    digits.test = digits.test.map(|split| split.take(500));
    digits
}

fn session() -> SessionOptions {
    SessionOptions { threads: 2, ..SessionOptions::default() }
}

fn trained(dataset: &Dataset) -> Model {
    let recipe = Recipe::from_toml("arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepochs = 3\nbatch = 32").unwrap();
    let run = RecipeRun { dataset, model: None, session: session(), cancel: None, keep: None, rescue: None };
    run_recipe(&recipe, &run, &mut Silent).unwrap().unwrap().model
}

fn options(out: &Path, goal: Goal) -> SearchOptions {
    SearchOptions {
        goal,
        model_name: "digits.tflite".into(),
        out: out.to_path_buf(),
        resume: false,
        seed: 1,
        epochs: 1,
        validation: 0.1,
        seconds_max: None,
        session: session(),
        cancel: Arc::new(AtomicBool::new(false)),
    }
}

/// Waits when a training begins.
struct Slow(std::time::Duration);

impl Progress for Slow {
    fn start(&mut self, stage: Stage, _: u64) {
        if let Stage::Train { .. } = stage {
            std::thread::sleep(self.0);
        }
    }

    fn advance(&mut self, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn finish(&mut self) {}
}

#[test]
fn a_search_finds_smaller_models_and_goes_on_where_it_ended() {
    let (dataset, folder) = (digits(), tempfile::tempdir().unwrap());
    let model = trained(&dataset);
    let out = folder.path().join("search");
    let whole = search(&model, &dataset, &options(&out, Goal::MaxDrop(0.02)), &mut Silent).unwrap();
    assert_eq!(whole.ended, SearchEnded::Finished);
    let best = &whole.points[whole.best];
    let [given, found] = whole.test_accuracy.unwrap();
    assert_eq!(whole.reached_on_test, Some(found >= given - 0.02));
    assert!(whole.reached && best.bytes * 5 < whole.points[0].bytes, "{best:?} of {:?}", whole.points[0]);
    assert!(
        whole.points.iter().any(|point| point.name.contains("pruned") && point.bytes < 40_000),
        "{:?}",
        whole.points
    );
    for (at, &index) in whole.front.iter().enumerate() {
        let point = &whole.points[index];
        let beats = |other: &litesmith::search::Point| {
            other.bytes < point.bytes && other.accuracy > point.accuracy && other.latency_us < point.latency_us
        };
        assert!(!whole.points.iter().any(beats), "{point:?}");
        assert!(at == 0 || whole.points[whole.front[at - 1]].bytes <= point.bytes);
    }
    assert_eq!(std::fs::read(out.join("best.tflite")).unwrap(), std::fs::read(out.join(&best.file)).unwrap());
    assert!(load_model(&out.join(&best.file)).is_ok() && out.join("report.html").exists());
    // A tenth of the training samples chooses; the test samples have the last word.
    assert!(whole.points.iter().all(|point| point.samples == 200), "{:?}", whole.points);
    let right = |model: &Model| {
        let mut predictor = Predictor::new(model, session(), None).unwrap();
        let test = dataset.test.as_ref().unwrap();
        let (tally, _) = evaluate(&mut predictor, None, test, &EvaluateOptions::default(), &mut Silent).unwrap();
        tally.finish().accuracy
    };
    let smallest = load_model(&out.join("best.tflite")).unwrap().model;
    assert_eq!(whole.test_accuracy, Some([right(&model), right(&smallest)]));
    // What made the best is a recipe, and makes the same bytes.
    let recipe = Recipe::load(&out.join("best.toml")).unwrap();
    let run = RecipeRun {
        dataset: &dataset,
        model: Some(&model),
        session: session(),
        cancel: None,
        keep: None,
        rescue: None,
    };
    let again = run_recipe(&recipe, &run, &mut Silent).unwrap().unwrap();
    assert_eq!(again.bytes, std::fs::read(out.join("best.tflite")).unwrap());

    // So it does for what comes after a beginning that candidates share.
    let shared =
        whole.points.iter().rfind(|point| point.name.contains("QAT") && point.name.contains("pruned")).unwrap();
    let recipe = Recipe::load(&out.join(shared.file.replace(".tflite", ".toml"))).unwrap();
    let again = run_recipe(&recipe, &run, &mut Silent).unwrap().unwrap();
    assert_eq!(again.bytes, std::fs::read(out.join(&shared.file)).unwrap(), "{}", shared.name);

    // Nothing is tried twice.
    let resumed = SearchOptions { resume: true, ..options(&out, Goal::MaxDrop(0.02)) };
    assert_eq!(search(&model, &dataset, &resumed, &mut Silent).unwrap().points, whole.points);

    // Another goal of the same search finds its answer among what is there.
    let error = search(&model, &dataset, &options(&out, Goal::Budget(20_000)), &mut Silent).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: the folder holds a search", out.display())), "{error}");
    let resumed_options = SearchOptions { resume: true, ..options(&out, Goal::Budget(20_000)) };
    let resumed = search(&model, &dataset, &resumed_options, &mut Silent).unwrap();
    assert_eq!(resumed.points[..whole.points.len()], whole.points);
    let best = &resumed.points[resumed.best];
    assert!(resumed.reached && best.bytes <= 20_000);
    assert_eq!(std::fs::read(out.join("best.tflite")).unwrap(), std::fs::read(out.join(&best.file)).unwrap());
    // So it does where that is the model given, which no recipe made.
    let resumed = SearchOptions { resume: true, ..options(&out, Goal::Floor(1.0)) };
    let resumed = search(&model, &dataset, &resumed, &mut Silent).unwrap();
    let (best, recipe) = (&resumed.points[resumed.best], out.join("best.toml"));
    assert_eq!(std::fs::read(out.join("best.tflite")).unwrap(), std::fs::read(out.join(&best.file)).unwrap());
    let its_own = std::fs::read(out.join(best.file.replace(".tflite", ".toml")));
    assert_eq!(std::fs::read(&recipe).ok(), its_own.ok());
    search(&model, &dataset, &resumed_options, &mut Silent).unwrap();
    let quantized = load_model(&out.join("best.tflite")).unwrap().model;
    let error = search(&quantized, &dataset, &resumed_options, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("digits.tflite: ") && error.contains("the model is quantized already"), "{error}");
    let other = SearchOptions { resume: true, seed: 2, ..options(&out, Goal::Budget(20_000)) };
    let error = search(&model, &dataset, &other, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("it holds a search with seed 1, not 2"), "{error}");
}

#[test]
fn what_was_found_is_kept_when_the_goal_is_out_of_reach_or_time_is_over() {
    let (dataset, folder) = (digits(), tempfile::tempdir().unwrap());
    let model = trained(&dataset);
    let out = folder.path().join("none");
    let resumed = SearchOptions { resume: true, ..options(&out, Goal::Floor(0.9)) };
    let error = search(&model, &dataset, &resumed, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("none: there is no search to go on with"), "{error}");
    assert!(error.hint().unwrap().contains("--resume") && !out.exists(), "{error}");
    let hurried = SearchOptions { seconds_max: Some(1e-9), ..options(&out, Goal::Floor(1.0)) };
    let report = search(&model, &dataset, &hurried, &mut Silent).unwrap();
    assert_eq!((report.ended, report.reached, report.points.len()), (SearchEnded::TimeLimit, false, 1));
    assert!(load_model(&out.join("best.tflite")).is_ok());
    // What is met by validation samples alone is no more than that.
    let goal = Goal::Floor(report.points[0].accuracy);
    let one = |out: &str, goal| {
        let hurried = SearchOptions { seconds_max: Some(1e-9), ..options(&folder.path().join(out), goal) };
        search(&model, &dataset, &hurried, &mut Silent).unwrap()
    };
    let met = one("met", goal);
    let [_, found] = met.test_accuracy.unwrap();
    assert_eq!((met.reached, met.reached_on_test), (true, Some(found >= met.points[0].accuracy)));
    assert_eq!(one("budget", Goal::Budget(1 << 30)).reached_on_test, None);
    // A training of a million epochs does not outlive the time.
    let limit = 2.0;
    let hurried = SearchOptions {
        epochs: 1_000_000,
        seconds_max: Some(limit),
        ..options(&folder.path().join("long"), Goal::Floor(1.0))
    };
    let mut slow = Slow(std::time::Duration::from_secs_f64(limit));
    let report = search(&model, &dataset, &hurried, &mut slow).unwrap();
    assert_eq!((report.ended, report.reached), (SearchEnded::TimeLimit, false));
    let cancelled =
        SearchOptions { resume: true, cancel: Arc::new(AtomicBool::new(true)), ..options(&out, Goal::Floor(1.0)) };
    assert_eq!(search(&model, &dataset, &cancelled, &mut Silent).unwrap().ended, SearchEnded::Cancelled);
    for goal in [Goal::Floor(1.5), Goal::Budget(0), Goal::LatencyUs(f64::NAN), Goal::MaxDrop(-1.0)] {
        let resumed = SearchOptions { resume: true, ..options(&out, goal) };
        assert!(search(&model, &dataset, &resumed, &mut Silent).is_err(), "{goal}");
    }
}
