//! NON_MAX_SUPPRESSION_V4 and V5.

use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::non_max_suppression::{SelectionThresholds, scratch_bytes, select};

use super::NodeContext;
use crate::kernel::{Inputs, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let soft = cx.node.inputs.len() == 6;
    let floats = (0..cx.node.inputs.len()).filter(|&index| index != 2).map(|index| Ok(cx.input(index)?.dtype));
    let outputs: Vec<_> = cx.node.outputs.iter().map(|&id| cx.graph.tensor(id).dtype).collect();
    let expected: &[DType] = if soft { &[DType::I32, DType::F32, DType::I32] } else { &[DType::I32, DType::I32] };
    if floats.collect::<Result<Vec<_>>>()?.iter().any(|&dtype| dtype != DType::F32) || outputs != expected {
        return Err(cx.no_kernel());
    }
    let boxes = cx.input(1)?.elements()?;
    let most = cx.output()?.elements()?;
    let bytes = scratch_bytes(boxes);
    if u32::try_from(boxes).is_err() || u32::try_from(most).is_err() {
        return Err(Error::limit("", format!("{boxes} boxes, of which {most} are selected")));
    }
    let thresholds = move |inputs: &Inputs<'_>| -> Result<SelectionThresholds> {
        let scalar = |index: usize| inputs.get::<f32>(index).first().copied().unwrap_or(0.0);
        let sigma = if soft { scalar(5) } else { 0.0 };
        if sigma < 0.0 {
            return Err(Error::invalid("", format!("sigma is {sigma}, expected at least 0")));
        }
        Ok(SelectionThresholds { overlap: scalar(3), score: scalar(4), sigma })
    };
    let kernel = Kernel::new(format!("{}/f32", cx.node.op.snake_name()), move |_, mut io| {
        if soft {
            let (inputs, [selected, scores, count], scratch) = io.split_states()?;
            let selected = &mut selected.as_mut_slice()[..most];
            let scores = Some(&mut scores.as_mut_slice()[..most]);
            let (boxes, box_scores) = (inputs.get(0), inputs.get(1));
            let found = select(boxes, box_scores, thresholds(&inputs)?, selected, scores, scratch.as_mut_slice());
            count.as_mut_slice::<i32>()[0] = found as i32;
        } else {
            let (inputs, [selected, count], scratch) = io.split_states()?;
            let selected = &mut selected.as_mut_slice()[..most];
            let (boxes, box_scores) = (inputs.get(0), inputs.get(1));
            let found = select(boxes, box_scores, thresholds(&inputs)?, selected, None, scratch.as_mut_slice());
            count.as_mut_slice::<i32>()[0] = found as i32;
        }
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}
