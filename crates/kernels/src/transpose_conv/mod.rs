//! TRANSPOSE_CONV: each output row belongs to one of `stride` phases, in which it meets every `stride`-th row of the filter
//! only; likewise for columns. The outputs of one phase are an ordinary convolution of stride 1 with that part of the
//! filter, so that sums, threads and fused activation are those of CONV_2D.

pub mod float;
pub mod hybrid;
pub mod quantized;

use crate::Unsupported;
use crate::conv_2d::{Conv2dGeometry, Window};

const KERNEL: &str = "transpose_conv";

/// Geometry of a TRANSPOSE_CONV, as the convolution that it reverses: the input of a window is this op's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransposeConvGeometry {
    /// Images.
    pub batch: usize,
    /// Vertical axis.
    pub height: Window,
    /// Horizontal axis.
    pub width: Window,
    /// Channels of this op's input.
    pub in_channels: usize,
    /// Channels of this op's output.
    pub out_channels: usize,
}

impl TransposeConvGeometry {
    /// Elements of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.height.output * self.width.output * self.in_channels
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.height.input * self.width.input * self.out_channels
    }

    /// Elements of the filters, `out_channels height width in_channels`.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.height.kernel * self.width.kernel * self.in_channels
    }

    /// Refuses a geometry that no kernel can run.
    ///
    /// # Errors
    /// What the convolution refuses, and a dilation other than 1.
    pub fn check(&self) -> Result<(), Unsupported> {
        let Self { batch, height, width, in_channels, out_channels } = *self;
        if (height.dilation, width.dilation) != (1, 1) {
            return Err(Unsupported::new(KERNEL, format!("a dilation other than 1: {self:?}")));
        }
        Conv2dGeometry { batch, height, width, in_channels: out_channels, out_channels: in_channels, groups: 1 }.check()
    }
}

/// One phase along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AxisPhase {
    /// First output position; the others follow `stride` apart.
    first: usize,
    stride: usize,
    /// The convolution that computes them.
    window: Window,
    /// For each of its taps the tap of the whole filter; `None` for zeros.
    taps: Vec<Option<usize>>,
}

/// The phases along an axis, without those that meet no row of the filter.
fn axis_phases(window: &Window) -> Vec<AxisPhase> {
    let Window { input: size, output: input, kernel, stride, pad_before, .. } = *window;
    (0..stride.min(kernel))
        .filter_map(|phase| {
            // The first output that meets tap `phase`, and the input row in which it does.
            let first = (phase + stride - pad_before % stride) % stride;
            if first >= size {
                return None;
            }
            let start = (first + pad_before) / stride;
            let count = (kernel - phase - 1) / stride + 1;
            // Zeros where the outputs of the phase begin after the first input row.
            let len = count.max(start + 1);
            let taps = (0..len).rev().map(|tap| (tap < count).then_some(phase + tap * stride)).collect();
            let output = (size - first).div_ceil(stride);
            let window = Window { input, output, kernel: len, stride: 1, dilation: 1, pad_before: len - 1 - start };
            Some(AxisPhase { first, stride, window, taps })
        })
        .collect()
}

/// One phase: where its outputs are, and the convolution that computes them.
#[derive(Debug, Clone)]
struct Phase<P> {
    y: AxisPhase,
    x: AxisPhase,
    planned: P,
}

/// All phases of a TRANSPOSE_CONV.
#[derive(Debug, Clone)]
struct Phases<P> {
    geometry: TransposeConvGeometry,
    phases: Vec<Phase<P>>,
    /// A pixel of no input, for outputs that meet no tap.
    rest: Option<P>,
    /// The most elements that a phase computes.
    part_len: usize,
}

impl<W: Copy> Phases<(Conv2dGeometry, Vec<W>)> {
    /// The convolution and the weights of each phase.
    fn cut(geometry: TransposeConvGeometry, weights: &[W], zero: W) -> Result<Self, Unsupported> {
        geometry.check()?;
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let TransposeConvGeometry { batch, height, width, in_channels, out_channels } = geometry;
        let (ys, xs) = (axis_phases(&height), axis_phases(&width));
        let covered = |axis: &[AxisPhase]| axis.iter().map(|phase| phase.window.output).sum::<usize>();
        let whole = covered(&ys) == height.input && covered(&xs) == width.input;
        let conv = |batch, height, width| Conv2dGeometry { batch, height, width, in_channels, out_channels, groups: 1 };
        let mut phases = Vec::with_capacity(ys.len() * xs.len());
        let mut part_len = 0;
        for y in &ys {
            for x in &xs {
                let mut part = Vec::with_capacity(out_channels * y.taps.len() * x.taps.len() * in_channels);
                for channel in 0..out_channels {
                    for tap_y in &y.taps {
                        for tap_x in &x.taps {
                            match (tap_y, tap_x) {
                                (Some(tap_y), Some(tap_x)) => {
                                    let at = (channel * height.kernel + tap_y) * width.kernel + tap_x;
                                    part.extend_from_slice(&weights[at * in_channels..(at + 1) * in_channels]);
                                }
                                _ => part.extend(std::iter::repeat_n(zero, in_channels)),
                            }
                        }
                    }
                }
                let conv = conv(batch, y.window, x.window);
                part_len = part_len.max(conv.output_len());
                phases.push(Phase { y: y.clone(), x: x.clone(), planned: (conv, part) });
            }
        }
        let rest = if whole {
            None
        } else {
            let one = Window { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
            part_len = part_len.max(out_channels);
            Some((conv(1, one, one), vec![zero; out_channels * in_channels]))
        };
        Ok(Self { geometry, phases, rest, part_len })
    }
}

impl<P> Phases<P> {
    /// Plans each phase: `make(geometry, weights)`, the weights being parts of `weights` and `zero`.
    fn new<W: Copy>(
        geometry: TransposeConvGeometry,
        weights: &[W],
        zero: W,
        mut make: impl FnMut(Conv2dGeometry, &[W]) -> Result<P, Unsupported>,
    ) -> Result<Self, Unsupported> {
        let Phases { phases, rest, part_len, .. } = Phases::cut(geometry, weights, zero)?;
        let mut plan = |(conv, part): (Conv2dGeometry, Vec<W>)| make(conv, &part);
        let phases = phases.into_iter().map(|Phase { y, x, planned }| Ok(Phase { y, x, planned: plan(planned)? }));
        let phases = phases.collect::<Result<_, Unsupported>>()?;
        Ok(Self { geometry, phases, rest: rest.map(plan).transpose()?, part_len })
    }

    /// Every planned convolution.
    fn all(&self) -> impl Iterator<Item = &P> {
        self.phases.iter().map(|phase| &phase.planned).chain(&self.rest)
    }

    /// Runs each phase, `run(planned, input, part)`, and puts its outputs in their places. `pixel` is a pixel of no input.
    fn run<I: Copy, O: Copy>(
        &self,
        input: &[I],
        pixel: &[I],
        output: &mut [O],
        part: &mut [O],
        mut run: impl FnMut(&P, &[I], &mut [O]),
    ) {
        let TransposeConvGeometry { batch, height, width, out_channels, .. } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        if let Some(rest) = &self.rest {
            let value = &mut part[..out_channels];
            run(rest, pixel, value);
            output.chunks_exact_mut(out_channels).for_each(|to| to.copy_from_slice(value));
        }
        for Phase { y, x, planned } in &self.phases {
            let (rows, columns) = (y.window.output, x.window.output);
            let part = &mut part[..batch * rows * columns * out_channels];
            run(planned, input, part);
            for (row, from) in part.chunks_exact(columns * out_channels).enumerate() {
                let (image, row) = (row / rows, row % rows);
                let first = ((image * height.input + y.first + row * y.stride) * width.input + x.first) * out_channels;
                let to = output[first..].chunks_mut(x.stride * out_channels);
                for (to, from) in to.zip(from.chunks_exact(out_channels)) {
                    to[..out_channels].copy_from_slice(from);
                }
            }
        }
    }
}
