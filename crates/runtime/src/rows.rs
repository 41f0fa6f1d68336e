//! Chains of float ops, done a few rows at a time, so that what lies between two ops stays in the cache.
//!
//! An expanded feature map of a mobile network has megabytes: written whole and read again by the next op, it goes to the memory
//! and back. On small images it is the threads that gain: each does the ops of its rows without waiting for the others between
//! two. Each result is computed as by the ops one after the other, so no bit changes.

use std::ops::Range;
use std::sync::Arc;

use litesmith_graph::TensorId;
use litesmith_kernels::Context;
use litesmith_kernels::conv_2d::Window;

use crate::kernel::{Inputs, Kernel, Part};
use crate::planner::{PlanInput, Planned};

/// Ops of a chain.
const STAGES_MAX: usize = 8;
/// Bytes of a large image: smaller ones between two ops stay in a second cache anyway.
const IMAGE_MIN: usize = 1 << 20;
/// Elements of the rows between two ops, all together: less than half a second cache.
const BAND: usize = 96 << 10;
/// The same of small images, so that there are bands for a thread that has none left.
const SMALL_BAND: usize = 16 << 10;
/// Elements of a small image for each thread that are worth its while.
const SHARE_MIN: usize = 2 << 10;
/// Rows of a thread, of which an odd number would be felt less than the balance of the threads.
const FEW_ROWS: usize = 16;

/// Rows of each op of a chain.
type Needs = [Range<usize>; STAGES_MAX];
const NOTHING: Needs = [const { 0..0 }; STAGES_MAX];

/// The images of float32 that an op reads and makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Rows of both, and which of the input an output row reads.
    pub(crate) height: Window,
    /// Elements of a row of the input and of the output.
    pub(crate) row_len: [usize; 2],
}

impl Span {
    /// Whether its output is the input of `next`.
    fn leads_to(self, next: Self) -> bool {
        (self.height.output, self.row_len[1]) == (next.height.input, next.row_len[0])
    }
}

/// An op that computes rows of its output from rows of its first input.
pub(crate) trait Rows: Send + Sync {
    /// Its first input and its output.
    fn span(&self) -> Span;

    /// Whether it takes as long as its operands take to come from memory. Others hide that behind their products, and are better done
    /// for a whole image.
    fn is_light(&self) -> bool {
        true
    }

    /// Whether `threads` are best given rows of it, where its images are small and each row is computed from one.
    fn splits_rows(&self, threads: usize) -> bool {
        let _ = threads;
        true
    }

    /// Elements of scratch for `rows` rows at a time.
    fn scratch_len(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }

    /// Computes output rows `rows` on the thread that calls. `x` holds the input rows that they need.
    fn run(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
        scratch: &mut [f32],
    );
}

/// Ops that are done together, and where the inputs of each begin among those of all.
struct Chain {
    stages: Vec<(Arc<dyn Rows>, usize)>,
    /// Output rows of the last at a time.
    band: usize,
    /// Elements of the rows that are kept between each two ops.
    kept: Vec<usize>,
    scratch: usize,
}

/// Does what can be done a few rows at a time. `uses` counts the readers of each tensor.
pub(crate) fn chain(
    input: &PlanInput<'_>,
    planned: &mut Vec<Planned>,
    root: &[TensorId],
    uses: &[usize],
    threads: usize,
) {
    let graph = &*input.graph;
    let mut kept: Vec<Option<Vec<Planned>>> = Vec::with_capacity(planned.len());
    let mut makers: Vec<Option<usize>> = vec![None; root.len()];
    let is_large = |id: &TensorId| graph.tensor(*id).byte_size().is_ok_and(|bytes| bytes >= IMAGE_MIN);
    for step in planned.drain(..) {
        let before = match (&step.kernel.part, step.inputs.first()) {
            (Part::Rows(rows), Some(&Some(id))) if uses[id.0] == 1 && root[id.0] == id => {
                // Large images come first: an op that makes one leads a chain of its own.
                let threads = if is_large(&id) || step.outputs.iter().any(is_large) { 1 } else { threads };
                let follows = |chain: &Vec<Planned>| (threads > 1 || is_large(&id)) && extends(chain, &**rows, threads);
                makers[id.0].filter(|&maker| kept[maker].as_ref().is_some_and(follows))
            }
            _ => None,
        };
        let is_maker = matches!(step.kernel.part, Part::Rows(_)) && step.states.is_empty();
        let mut chain = before.and_then(|maker| kept[maker].take()).unwrap_or_default();
        if let (&[output], true) = (step.outputs.as_slice(), is_maker)
            && (threads > 1 || is_large(&output))
        {
            makers[output.0] = Some(kept.len());
        }
        chain.push(step);
        kept.push(Some(chain));
    }
    planned.extend(kept.into_iter().flatten().filter_map(|chain| join(chain, threads)));
}

/// Whether `rows` can follow `chain`, on small images with `threads`.
fn extends(chain: &[Planned], rows: &dyn Rows, threads: usize) -> bool {
    let last = chain.last().map(|step| &step.kernel.part);
    chain.len() < STAGES_MAX
        && matches!(last, Some(Part::Rows(last)) if last.span().leads_to(rows.span()))
        && if threads > 1 { is_shared(rows, threads) } else { rows.is_light() }
}

/// Whether `threads` can be given rows of the same number, none of which are computed twice.
fn is_shared(rows: &dyn Rows, threads: usize) -> bool {
    let Span { height: Window { input, output, kernel, stride, .. }, row_len: [_, row_len] } = rows.span();
    let one = kernel == 1 && stride == 1 && input == output;
    let even = output.is_multiple_of(threads) || output >= FEW_ROWS * threads;
    one && even && output.saturating_mul(row_len) >= SHARE_MIN * threads && rows.splits_rows(threads)
}

/// One step for those of a chain.
fn join(mut steps: Vec<Planned>, threads: usize) -> Option<Planned> {
    if steps.len() < 2 {
        return steps.pop();
    }
    let (mut stages, mut inputs, mut names, mut nodes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for step in &steps {
        let Part::Rows(rows) = &step.kernel.part else { continue };
        stages.push((Arc::clone(rows), inputs.len()));
        inputs.extend(step.inputs.iter().copied());
        names.push(step.kernel.name.as_str());
        nodes.push(step.node);
    }
    // What lies between two ops has no place of its own.
    stages.iter().skip(1).for_each(|&(_, first)| inputs[first] = None);
    let chain = Chain::new(stages);
    let along = nodes[..nodes.len() - 1].to_vec();
    let name = names.join("+");
    let scratch_len = threads * chain.scratch;
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        chain.run(context, inputs, y, scratch.as_mut_slice());
        Ok(())
    });
    let kernel = kernel.with_scratch(scratch_len * size_of::<f32>()).doing(along);
    let last = steps.pop()?;
    Some(Planned { kernel, inputs, ..last })
}

impl Chain {
    fn new(stages: Vec<(Arc<dyn Rows>, usize)>) -> Self {
        let mut chain = Self { stages, band: 0, kept: Vec::new(), scratch: 0 };
        let rows = chain.last().span().height.output;
        let elements = |chain: &Self| chain.kept.iter().sum::<usize>();
        let bytes = |span: Span| span.height.output.saturating_mul(span.row_len[1]).saturating_mul(size_of::<f32>());
        let between = &chain.stages[..chain.stages.len() - 1];
        let most = if between.iter().any(|(op, _)| bytes(op.span()) >= IMAGE_MIN) { BAND } else { SMALL_BAND };
        // As many rows as fit, an even number where there is a choice: some ops do two at a time.
        for band in [32, 16, 12, 8, 6, 4, 2, 1].into_iter().map(|band| rows.min(band)) {
            chain.set_band(band);
            if elements(&chain) <= most {
                break;
            }
        }
        chain
    }

    fn last(&self) -> &dyn Rows {
        &*self.stages[self.stages.len() - 1].0
    }

    /// The rows of each op's output that `rows` of the last need, those included.
    fn needs(&self, rows: Range<usize>) -> Needs {
        let mut needs = NOTHING;
        let last = self.stages.len() - 1;
        needs[last] = rows;
        for stage in (0..last).rev() {
            needs[stage] = self.stages[stage + 1].0.span().height.needs(needs[stage + 1].clone());
        }
        needs
    }

    fn set_band(&mut self, band: usize) {
        // The most rows of each, wherever the band lies: those of a hostile image may be 2^31.
        let last = self.stages.len() - 1;
        let mut most = [band; STAGES_MAX];
        for stage in (0..last).rev() {
            let Window { input, kernel, stride, dilation, .. } = self.stages[stage + 1].0.span().height;
            let steps = most[stage + 1].saturating_sub(1).saturating_mul(stride);
            let reach = kernel.saturating_sub(1).saturating_mul(dilation);
            most[stage] = steps.saturating_add(reach).saturating_add(1).min(input);
        }
        let between = self.stages.iter().zip(&most).take(self.stages.len() - 1);
        self.kept = between.map(|((stage, _), &rows)| rows * stage.span().row_len[1]).collect();
        let scratch = self.stages.iter().zip(most).map(|((stage, _), rows)| stage.scratch_len(rows)).max();
        self.scratch = self.kept.iter().sum::<usize>() + scratch.unwrap_or(0);
        self.band = band;
    }

    fn run(&self, context: Context<'_>, inputs: Inputs<'_>, y: &mut [f32], scratch: &mut [f32]) {
        let Span { height, row_len: [_, row_len] } = self.last().span();
        // A part for each thread, as bands that do not follow one another compute the rows that they share twice.
        let part = height.output.div_ceil(context.pool.threads());
        let part = if part < FEW_ROWS { part } else { part.next_multiple_of(2) };
        let band = part.div_ceil(part.div_ceil(self.band)).next_multiple_of(2).min(self.band);
        context.pool.bands_mut(y, [part * row_len, band * row_len], scratch, self.scratch, |at, y, scratch| {
            let first = at.first / row_len;
            let mut have = at.before.map_or(NOTHING, |before| self.needs(before / row_len..first));
            self.run_band(context, inputs, first..first + y.len() / row_len, &mut have, y, scratch);
        });
    }

    /// Rows `rows` of the last op. `have` are the rows between each two ops that are there.
    fn run_band(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        rows: Range<usize>,
        have: &mut Needs,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let needs = self.needs(rows.clone());
        let (mut between, scratch) = scratch.split_at_mut(self.kept.iter().sum());
        // What the op before gave, and its first row.
        let mut x: (&[f32], usize) = (inputs.get(0), 0);
        for (stage, (op, first_input)) in self.stages.iter().enumerate() {
            let (inputs, Span { height, row_len: [input_len, row_len] }) = (inputs.skip(*first_input), op.span());
            let take = |rows: &Range<usize>| {
                let needs = height.needs(rows.clone());
                &x.0[(needs.start - x.1) * input_len..(needs.end - x.1) * input_len]
            };
            let Some(&kept) = self.kept.get(stage) else {
                op.run(context, inputs, take(&rows), rows, y, scratch);
                return;
            };
            let (image, rest) = between.split_at_mut(kept);
            let (needs, have) = (&needs[stage], &mut have[stage]);
            // Those that are needed again move to the front.
            let again = needs.start.max(have.start)..have.end.max(needs.start);
            if !again.is_empty() {
                image.copy_within((again.start - have.start) * row_len..(again.end - have.start) * row_len, 0);
            }
            let new = again.end..needs.end;
            if !new.is_empty() {
                let y = &mut image[again.len() * row_len..][..new.len() * row_len];
                op.run(context, inputs, take(&new), new.clone(), y, scratch);
            }
            *have = needs.start..needs.end.max(again.end);
            x = (&*image, needs.start);
            between = rest;
        }
    }
}
