//! Float BATCH_MATMUL on the packed matrix product.

use super::{BatchMatmulGeometry, Batches, transpose};
use crate::gemm::{self, Grid, Right, Rows, pack_panels, panels_len};
use crate::{Context, Isa, Unsupported};

/// A planned float BATCH_MATMUL.
#[derive(Debug, Clone)]
pub struct BatchMatmul {
    batches: Batches,
    isa: Isa,
    /// Panels of the right matrices, when they are constant.
    packed: Option<Vec<f32>>,
}

impl BatchMatmul {
    /// Plans `geometry` on `isa` and packs the right operand, if it is constant.
    ///
    /// # Errors
    /// Batches that do not broadcast, or sizes that overflow.
    pub fn new(geometry: BatchMatmulGeometry, right: Option<&[f32]>, isa: Isa) -> Result<Self, Unsupported> {
        let batches = Batches::new(geometry)?;
        let mut planned = Self { batches, isa, packed: None };
        if let Some(right) = right {
            let (len, panel) = (planned.right_len(), planned.panels_len());
            if right.len() != planned.batches.lens()[1] {
                let reason = format!("{} elements of the right operand, expected {}", right.len(), len);
                return Err(Unsupported::new(super::KERNEL, reason));
            }
            let mut packed = vec![0.0; planned.batches.counts[1] * panel];
            if len > 0 {
                for (from, to) in right.chunks_exact(len).zip(packed.chunks_exact_mut(panel)) {
                    planned.pack(from, to);
                }
            }
            planned.packed = Some(packed);
        }
        Ok(planned)
    }

    fn right_len(&self) -> usize {
        self.batches.geometry.k * self.batches.geometry.n
    }

    fn panels_len(&self) -> usize {
        panels_len(gemm::lanes(self.isa), self.batches.geometry.k, self.batches.geometry.n)
    }

    fn pack(&self, right: &[f32], panels: &mut [f32]) {
        let BatchMatmulGeometry { k, n, right_transposed, .. } = self.batches.geometry;
        pack_panels(gemm::lanes(self.isa), k, n, panels, |row, columns, to| {
            if right_transposed {
                let from = right[columns.start * k + row..].iter().step_by(k);
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            } else {
                to.copy_from_slice(&right[row * n..][columns]);
            }
        });
    }

    /// Elements of scratch that [`Self::run`] needs.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        let BatchMatmulGeometry { m, k, left_transposed, .. } = self.batches.geometry;
        let left = if left_transposed { m * k } else { 0 };
        left + if self.packed.is_some() { 0 } else { self.panels_len() }
    }

    /// Runs; `right` is not read when it was given to the plan.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, left: &[f32], right: &[f32], output: &mut [f32], scratch: &mut [f32]) {
        let BatchMatmulGeometry { m, k, n, left_transposed, .. } = self.batches.geometry;
        let [left_len, _, output_len] = self.batches.lens();
        assert_eq!([left.len(), output.len()], [left_len, output_len], "operand and result have the planned shapes");
        if k == 0 || output.is_empty() {
            output.fill(0.0);
            return;
        }
        let (rows, panels) = scratch.split_at_mut(if left_transposed { m * k } else { 0 });
        let (mut row_of, mut panels_of) = (None, None);
        self.batches.for_each(|a, b, c| {
            let left = &left[a * m * k..][..m * k];
            let left = if left_transposed {
                if row_of != Some(a) {
                    transpose(left, m, rows, |x| x);
                    row_of = Some(a);
                }
                &*rows
            } else {
                left
            };
            let panels = match &self.packed {
                Some(packed) => &packed[b * self.panels_len()..][..self.panels_len()],
                None => {
                    let panels = &mut panels[..self.panels_len()];
                    if panels_of != Some(b) {
                        self.pack(&right[b * k * n..][..k * n], panels);
                        panels_of = Some(b);
                    }
                    &*panels
                }
            };
            let problem = Rows {
                a: left,
                a_grid: Grid::linear(k),
                segments: &[0],
                segment_len: k,
                b: Right::Panels(panels, k),
                depth_from: 0,
                columns: 0..n,
                bias: None,
                accumulate: false,
                clamp: (f32::NEG_INFINITY, f32::INFINITY),
                width: usize::MAX,
                pixels: 0..1,
                c_grid: Grid::linear(n),
            };
            let per_task = m.div_ceil(ctx.pool.threads());
            ctx.pool.chunks_mut(&mut output[c * m * n..][..m * n], per_task * n, |task, y| {
                let a = &left[task * per_task * k..];
                let problem = Rows { a, pixels: 0..y.len() / n, ..problem.clone() };
                gemm::rows_blocked(self.isa, gemm::rows_into, &problem, y);
            });
        });
    }
}
