//! The keys that a configuration of Neural Compressor 1.x may have (version 1.14.2), and what becomes of each.

use litesmith_graph::{Error, Result};

use super::yaml::{Kind, Value};

/// What becomes of the value of a key.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// It is done.
    Done,
    /// It is not, for this reason; whatever is below it.
    Not(&'static str),
    /// It is done when it is this value, and else not, for this reason.
    Only(&'static str, &'static str),
    /// A mapping with these keys.
    Map(&'static [(&'static str, Key)]),
    /// A mapping whose keys are names that the user chooses.
    Named(&'static [(&'static str, Key)]),
}

use Key::{Done, Map, Named, Not, Only};

const HOST: &str = "Litesmith runs in one process, with --threads threads";
const OTHER_DATA: &str = "Litesmith does not read this kind of data set";
const IMAGES_GO: &str = "images go straight to the model's input";
const NO_TRAINING: &str = "tune does not train; `litesmith train` does";
const CPU: &str = "Litesmith computes on the CPU, in float32 where not in integers";
const OTHER_METRIC: &str = "top-1 accuracy is measured instead";
const SIGOPT: &str = "it belongs to SigOpt, a service";

const WEIGHT: &[(&str, Key)] =
    &[("granularity", Done), ("scheme", Done), ("dtype", Done), ("algorithm", Done), ("bit", Done)];
const ACTIVATION: &[(&str, Key)] = &[
    ("granularity", Done),
    ("scheme", Done),
    ("dtype", Done),
    ("compute_dtype", Not("the kernels of TensorFlow Lite decide it")),
    ("algorithm", Done),
];
const OPS: &[(&str, Key)] = &[("weight", Map(WEIGHT)), ("activation", Map(ACTIVATION))];

const ARRAYS: Key = Map(&[("root", Done), ("train", Done), ("download", Only("false", "nothing is downloaded"))]);
const DATASETS: &[(&str, Key)] = &[
    ("MNIST", ARRAYS),
    ("FashionMNIST", ARRAYS),
    ("ImageFolder", Map(&[("root", Done)])),
    ("CIFAR10", Not(OTHER_DATA)),
    ("CIFAR100", Not(OTHER_DATA)),
    ("TFRecordDataset", Not(OTHER_DATA)),
    ("ImageRecord", Not(OTHER_DATA)),
    ("dummy", Not(OTHER_DATA)),
    ("dummy_v2", Not(OTHER_DATA)),
    ("sparse_dummy_v2", Not(OTHER_DATA)),
    ("bert", Not(OTHER_DATA)),
    ("mzbert", Not(OTHER_DATA)),
    ("VOCRecord", Not(OTHER_DATA)),
    ("COCORecord", Not(OTHER_DATA)),
    ("COCORaw", Not(OTHER_DATA)),
    ("COCONpy", Not(OTHER_DATA)),
    ("ImagenetRaw", Not(OTHER_DATA)),
    ("Imagenet", Not(OTHER_DATA)),
    ("style_transfer", Not(OTHER_DATA)),
    ("GLUE", Not(OTHER_DATA)),
];
const TRANSFORMS: &[(&str, Key)] = &[
    ("Resize", Map(&[("size", Done), ("interpolation", Only("bilinear", "images are resized bilinearly"))])),
    ("CenterCrop", Map(&[("size", Done)])),
    ("Normalize", Map(&[("mean", Done), ("std", Done), ("rescale", Not("write Rescale before it"))])),
    ("Rescale", Done),
    ("ToTensor", Done),
    // These change where or in what type a pixel lies, which is the model's affair here.
    ("ToNDArray", Done),
    ("ToArray", Done),
    ("ToPILImage", Done),
    ("ResizeWithRatio", Not(IMAGES_GO)),
    ("CropToBoundingBox", Not(IMAGES_GO)),
    ("Cast", Not(IMAGES_GO)),
    ("RandomResizedCrop", Not(IMAGES_GO)),
    ("AlignImageChannel", Not(IMAGES_GO)),
    ("CropResize", Not(IMAGES_GO)),
    ("RandomHorizontalFlip", Not(IMAGES_GO)),
    ("RandomVerticalFlip", Not(IMAGES_GO)),
    ("RandomCrop", Not(IMAGES_GO)),
    ("PaddedCenterCrop", Not(IMAGES_GO)),
    ("QuantizedInput", Not("the input stays float32")),
    ("Transpose", Not("TensorFlow Lite has channels last")),
    ("ParseDecodeImagenet", Not(IMAGES_GO)),
    ("ParseDecodeCoco", Not(IMAGES_GO)),
    ("ParseDecodeVoc", Not(IMAGES_GO)),
    ("BilinearImagenet", Not(IMAGES_GO)),
    ("ResizeCropImagenet", Not(IMAGES_GO)),
    ("ResizeWithAspectRatio", Not(IMAGES_GO)),
];
const DATALOADER: Key = Map(&[
    ("last_batch", Not("every sample counts once")),
    ("batch_size", Done),
    ("dataset", Map(DATASETS)),
    ("filter", Not("every sample counts")),
    ("transform", Map(TRANSFORMS)),
    ("shuffle", Only("false", "the result does not depend on the order")),
    ("distributed", Only("false", HOST)),
]);
const METRICS: &[(&str, Key)] = &[
    ("topk", Done),
    ("Accuracy", Done),
    ("mAP", Not(OTHER_METRIC)),
    ("COCOmAP", Not(OTHER_METRIC)),
    ("COCOmAPv2", Not(OTHER_METRIC)),
    ("VOCmAP", Not(OTHER_METRIC)),
    ("SquadF1", Not(OTHER_METRIC)),
    ("MSE", Not(OTHER_METRIC)),
    ("RMSE", Not(OTHER_METRIC)),
    ("MAE", Not(OTHER_METRIC)),
    ("Loss", Not(OTHER_METRIC)),
    ("BLEU", Not(OTHER_METRIC)),
    ("F1", Not(OTHER_METRIC)),
    ("mIOU", Not(OTHER_METRIC)),
    ("GLUE", Not(OTHER_METRIC)),
    ("ROC", Not(OTHER_METRIC)),
];

/// All of a file.
const ROOT: &[(&str, Key)] = &[
    ("version", Done),
    (
        "model",
        Map(&[
            ("name", Done),
            ("path", Done),
            ("framework", Not("the model is a .tflite file")),
            ("inputs", Not("the file says it")),
            ("outputs", Not("the file says it")),
        ]),
    ),
    ("device", Only("cpu", CPU)),
    ("use_bf16", Only("false", CPU)),
    ("optimization_level", Not("the model is taken as it is")),
    (
        "quantization",
        Map(&[
            ("approach", Done),
            ("train", Not(NO_TRAINING)),
            ("advance", Map(&[("bias_correction", Done)])),
            ("calibration", Map(&[("sampling_size", Done), ("dataloader", DATALOADER)])),
            (
                "recipes",
                Map(&[
                    ("scale_propagation_max_pooling", Only("true", "TensorFlow Lite asks for it")),
                    ("scale_propagation_concat", Only("true", "TensorFlow Lite asks for it")),
                    ("first_conv_or_matmul_quantization", Done),
                    ("last_conv_or_matmul_quantization", Done),
                    ("pre_post_process_quantization", Only("true", "there is no such part in a .tflite file")),
                    ("ffn_matmul_quantization", Only("true", "there is no such part in a .tflite file")),
                    ("fast_bias_correction", Done),
                    ("weight_correction", Done),
                ]),
            ),
            ("model_wise", Map(OPS)),
            ("optype_wise", Named(OPS)),
            ("op_wise", Named(OPS)),
            ("optimization_level", Not("the model is taken as it is")),
        ]),
    ),
    ("graph_optimization", Not(CPU)),
    ("mixed_precision", Not(CPU)),
    (
        "tuning",
        Map(&[
            (
                "strategy",
                Map(&[
                    ("name", Done),
                    ("sigopt_api_token", Not(SIGOPT)),
                    ("sigopt_project_id", Not(SIGOPT)),
                    ("sigopt_experiment_name", Not(SIGOPT)),
                    ("accuracy_weight", Not("it belongs to mixed precision")),
                    ("latency_weight", Not("it belongs to mixed precision")),
                    ("confidence_batches", Not("it belongs to mse_v2")),
                    ("hawq_v2_loss", Not("it belongs to hawq_v2")),
                ]),
            ),
            ("accuracy_criterion", Map(&[("relative", Done), ("absolute", Done), ("higher_is_better", Done)])),
            ("objective", Done),
            ("multi_objectives", Not("one objective decides")),
            ("exit_policy", Map(&[("timeout", Done), ("max_trials", Done), ("performance_only", Done)])),
            ("random_seed", Done),
            ("tensorboard", Only("false", "`litesmith diff` compares layer by layer")),
            ("workspace", Map(&[("path", Done), ("resume", Done)])),
            ("diagnosis", Not("`litesmith diff` compares layer by layer")),
        ]),
    ),
    (
        "evaluation",
        Map(&[
            (
                "accuracy",
                Map(&[
                    ("metric", Map(METRICS)),
                    ("multi_metrics", Not("one metric decides")),
                    ("configs", Not(HOST)),
                    ("iteration", Done),
                    ("dataloader", DATALOADER),
                    ("postprocess", Not("the model's output is taken as it is")),
                ]),
            ),
            (
                "performance",
                Map(&[
                    ("warmup", Done),
                    ("iteration", Done),
                    ("configs", Not(HOST)),
                    ("dataloader", Not("one image is timed")),
                    ("postprocess", Not("the model alone is timed")),
                ]),
            ),
        ]),
    ),
    ("pruning", Not(NO_TRAINING)),
    ("distillation", Not(NO_TRAINING)),
    ("auto_distillation", Not(NO_TRAINING)),
    ("nas", Not(NO_TRAINING)),
    ("train", Not(NO_TRAINING)),
];

/// A key of the file that has no effect.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotHonoured {
    /// All of its path, as `tuning.tensorboard`.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Checks every key of the file and lists those that have no effect, each once.
///
/// # Errors
/// [`Error::Invalid`] for a key that there is not, with the nearest one that there is, and for what is no mapping where one must be.
pub(super) fn check(root: &Value) -> Result<Vec<NotHonoured>> {
    let mut not = Vec::new();
    check_map(root, ROOT, "", &mut not)?;
    Ok(not)
}

fn check_map(
    value: &Value,
    keys: &'static [(&'static str, Key)],
    path: &str,
    not: &mut Vec<NotHonoured>,
) -> Result<()> {
    for (name, below) in entries(value, path)? {
        let path = join(path, name);
        let Some((_, key)) = keys.iter().find(|(key, _)| key == name) else {
            let names: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
            return Err(unknown(&format!("line {}: {path}", below.line), "key", name, &names));
        };
        check_key(below, *key, &path, not)?;
    }
    Ok(())
}

fn check_key(value: &Value, key: Key, path: &str, not: &mut Vec<NotHonoured>) -> Result<()> {
    let mut name = |reason: &str| not.push(NotHonoured { key: path.into(), reason: reason.into() });
    match key {
        Done => {}
        // Nothing was asked for.
        Not(_) | Only(..) if value.kind == Kind::Null => {}
        Not(reason) => name(reason),
        Only(only, reason) => match &value.kind {
            Kind::Scalar(text) if text.eq_ignore_ascii_case(only) => {}
            _ => name(reason),
        },
        Map(keys) => check_map(value, keys, path, not)?,
        Named(keys) => {
            for (name, below) in entries(value, path)? {
                check_map(below, keys, &join(path, name), not)?;
            }
        }
    }
    Ok(())
}

fn entries<'a>(value: &'a Value, path: &str) -> Result<&'a [(String, Value)]> {
    match &value.kind {
        Kind::Map(entries) => Ok(entries),
        Kind::Null => Ok(&[]),
        _ => {
            let place = if path.is_empty() { "the file" } else { path };
            Err(Error::invalid(
                format!("line {}: {place}", value.line),
                format!("got {}, expected a mapping", value.shown()),
            ))
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// The error for `got`, which is none of `known`; it names the nearest, or all where none is near.
pub(super) fn unknown(place: &str, what: &str, got: &str, known: &[&str]) -> Error {
    let folded = got.to_ascii_lowercase();
    let nearest = known.iter().map(|name| (distance(&folded, &name.to_ascii_lowercase()), name)).min();
    let hint = match nearest {
        Some((distance, name)) if distance <= got.chars().count().div_ceil(2) => format!("did you mean {name}?"),
        _ => format!("there are {}", known.join(", ")),
    };
    Error::invalid(place, format!("got {got:?}, which is no {what} here")).with_hint(hint)
}

/// Levenshtein distance, a swap of neighbours counting as two. Names are short: the longest that is looked at has 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_has_no_effect_is_named_with_its_whole_path() {
        let text = "device: gpu\nmodel: {name: m, framework: tensorflow}\ntuning:\n  tensorboard: True\n  diagnosis:\n\
                    quantization:\n  op_wise:\n    conv1:\n      activation: {compute_dtype: uint8}\n  \
                    recipes: {scale_propagation_concat: True}\n";
        let keys: Vec<_> = check(&parse(text).unwrap()).unwrap().into_iter().map(|not| not.key).collect();
        let op = "quantization.op_wise.conv1.activation.compute_dtype";
        assert_eq!(keys, ["device", "model.framework", "tuning.tensorboard", op]);
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (text, expected, hint) in [
            ("tunning: {}", "line 1: tunning: got \"tunning\"", "did you mean tuning?"),
            ("tuning:\n  strategy: {nam: basic}", "line 2: tuning.strategy.nam", "did you mean name?"),
            ("quantization:\n  op_wise:\n    conv1: {wieght: {}}", "conv1.wieght", "did you mean weight?"),
            ("quantization: {aproach: x}", "quantization.aproach", "did you mean approach?"),
            ("evaluation: {accuracy: {metric: {top_k: 1}}}", "metric.top_k", "did you mean topk?"),
            ("zzzzzzzzzzzz: 1", "zzzzzzzzzzzz", "there are version, model"),
            ("- a", "the file: got a list, expected a mapping", ""),
        ] {
            let error = check(&parse(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
        }
    }
}
