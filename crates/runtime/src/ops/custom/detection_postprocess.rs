//! `TFLite_Detection_PostProcess`: box encodings, class scores and anchors to boxes, classes, scores and their number.

use litesmith_graph::ops::{Custom, Inputs};
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::detection_postprocess::{DetectionPostprocess, DetectionSpec, Reals};
use litesmith_kernels::numerics::QuantParams;

use crate::kernel::{Inputs as Values, Kernel};
use crate::ops::{NodeContext, quant_params, refused};

/// Detections of one class unless the options say otherwise, as in LiteRT.
const DETECTIONS_PER_CLASS: i64 = 100;

fn spec(op: &Custom, inputs: &Inputs<'_>) -> Result<DetectionSpec> {
    inputs.expect_count(3..=3)?;
    let [batch, boxes, encoding] = inputs.shape(0, "box encodings")?;
    let [score_batch, scored, scores] = inputs.shape(1, "class predictions")?;
    let [anchors, corners] = inputs.shape(2, "anchors")?;
    if batch != 1 || score_batch != 1 || scored != boxes || anchors != boxes || corners != 4 {
        return Err(inputs.malformed(format!(
            "box encodings {batch}x{boxes}x{encoding}, class predictions {score_batch}x{scored}x{scores} and anchors \
             {anchors}x{corners}: expected one image, and as many of each"
        )));
    }
    let options = op.options_map()?;
    let count = |name: &str, default: i64| -> Result<usize> {
        let value = options.int(name)?.unwrap_or(default);
        usize::try_from(value).map_err(|_| inputs.malformed(format!("{name} is {value}, expected at least 0")))
    };
    let real = |name: &str| -> Result<f32> { Ok(options.float(name)?.unwrap_or(0.0) as f32) };
    Ok(DetectionSpec {
        boxes,
        encoding,
        scores,
        classes: count("num_classes", 0)?,
        max_detections: count("max_detections", 0)?,
        classes_per_detection: count("max_classes_per_detection", 0)?,
        detections_per_class: count("detections_per_class", DETECTIONS_PER_CLASS)?,
        regular: options.bool("use_regular_nms")?.unwrap_or(false),
        score_threshold: real("nms_score_threshold")?,
        overlap_threshold: real("nms_iou_threshold")?,
        scales: [real("y_scale")?, real("x_scale")?, real("h_scale")?, real("w_scale")?],
    })
}

pub(super) fn infer(op: &Custom, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
    let spec = spec(op, inputs)?;
    let found = spec.max_detections.checked_mul(spec.classes_per_detection);
    let found = found.ok_or_else(|| inputs.malformed("more detections than can be counted"))?;
    Ok(vec![vec![1, found, 4], vec![1, found], vec![1, found], vec![1]])
}

/// How an input is to be read.
#[derive(Clone, Copy)]
enum Form {
    F32,
    U8(QuantParams),
    I8(QuantParams),
}

impl Form {
    fn read<'a>(self, inputs: &Values<'a>, index: usize) -> Reals<'a> {
        match self {
            Self::F32 => Reals::F32(inputs.get(index)),
            Self::U8(params) => Reals::U8(inputs.get(index), params),
            Self::I8(params) => Reals::I8(inputs.get(index), params),
        }
    }
}

pub(super) fn plan(cx: &NodeContext<'_>, op: &Custom) -> Result<Kernel> {
    let inputs = Inputs::new(&cx.node.op, cx.graph.node_tensors(&cx.node.inputs));
    let spec = spec(op, &inputs)?;
    let form = |index: usize| -> Result<Form> {
        let tensor = cx.input(index)?;
        match tensor.dtype {
            DType::F32 => Ok(Form::F32),
            DType::U8 => Ok(Form::U8(quant_params(tensor)?)),
            DType::I8 => Ok(Form::I8(quant_params(tensor)?)),
            _ => Err(cx.no_kernel()),
        }
    };
    let forms = [form(0)?, form(1)?, form(2)?];
    if cx.node.outputs.iter().any(|&id| cx.graph.tensor(id).dtype != DType::F32) {
        return Err(cx.no_kernel());
    }
    let detection = DetectionPostprocess::new(spec).map_err(refused)?;
    let words = detection.scratch_words();
    let found = spec.max_detections * spec.classes_per_detection;
    let kernel = Kernel::new("custom/TFLite_Detection_PostProcess".into(), move |_, mut io| {
        let (inputs, [boxes, classes, scores, count], scratch) = io.split_states()?;
        let outputs = [
            &mut boxes.as_mut_slice()[..4 * found],
            &mut classes.as_mut_slice()[..found],
            &mut scores.as_mut_slice()[..found],
            &mut count.as_mut_slice()[..1],
        ];
        let [encodings, predictions, anchors] = [0, 1, 2].map(|index| forms[index].read(&inputs, index));
        let scratch = &mut scratch.as_mut_slice()[..words];
        detection.run(encodings, predictions, anchors, outputs, scratch).map_err(|error| Error::invalid("", error))
    });
    Ok(kernel.with_scratch(words * 4))
}
