//! Both models, sample by sample: values of every tensor, and what is gathered from them.

use std::borrow::Cow;

use litesmith_compress::{Histogram, LayerPair, Own, Range};
use litesmith_graph::{DType, Graph, Result, Tensor, TensorId};
use litesmith_measure::{Bins, ErrorTally, Grid, GridTally, WeightsError};
use litesmith_runtime::{Session, SessionOptions};

use crate::inputs::{real_values, write_input};

/// Intervals of a histogram.
const BINS: usize = 96;

/// The real values of every tensor of one run.
pub(super) struct Values(Vec<Option<Vec<f32>>>);

impl Values {
    /// Runs a session on one input.
    pub(super) fn of(session: &mut Session, input: &[f32]) -> Result<Self> {
        write_input(session, 0, input)?;
        let mut values = vec![None; session.graph().tensors.len()];
        session.run_observed(&mut |id: TensorId, tensor: &Tensor, bytes: &[u8]| {
            if let Some(slot) = values.get_mut(id.0) {
                *slot = real_values(tensor, bytes);
            }
        })?;
        Ok(Self(values))
    }

    pub(super) fn get(&self, id: TensorId) -> Option<&[f32]> {
        self.0.get(id.0)?.as_deref()
    }
}

/// What is gathered of one tensor.
pub(super) struct Tally {
    pub(super) error: ErrorTally,
    pub(super) own: ErrorTally,
    pub(super) grid: Option<GridTally>,
    values: Histogram,
    /// Why the own error is not known, where running the float op failed.
    failure: Option<String>,
}

impl Tally {
    fn new(tensor: &Tensor) -> Self {
        Self {
            error: ErrorTally::default(),
            own: ErrorTally::default(),
            grid: grid_of(tensor).map(GridTally::new),
            values: Histogram::default(),
            failure: None,
        }
    }

    /// Why there is no own error.
    pub(super) fn unknown(&self, own: &Own) -> Option<String> {
        match own {
            Own::Unknown(reason) => Some(reason.clone()),
            Own::Op(..) | Own::Conversion(_) | Own::Input => self.failure.clone(),
        }
    }

    pub(super) fn bins(&self) -> Bins {
        bins_of(&self.values)
    }

    /// The range of the float values.
    pub(super) fn range(&self) -> Option<Range> {
        self.values.range()
    }
}

fn bins_of(values: &Histogram) -> Bins {
    let range = values.range().map_or((0.0, 0.0), |range| (f64::from(range.min), f64::from(range.max)));
    Bins::new(range, BINS, values.zeros(), values.bins())
}

/// The grid of a tensor of integers with one scale.
fn grid_of(tensor: &Tensor) -> Option<Grid> {
    let (scale, zero_point) = tensor.quantization.as_ref()?.as_per_tensor()?;
    let ends = tensor.dtype.integer_range()?;
    Some(Grid::new(tensor.dtype.to_string(), scale, zero_point, ends))
}

/// All layers, watched.
pub(super) struct Watched<'a> {
    pairs: &'a [LayerPair],
    /// One for each output of each layer.
    tallies: Vec<Vec<Tally>>,
    /// The float op of each layer, alone.
    alone: Vec<Option<Session>>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(pairs: &'a [LayerPair], quantized: &Graph, options: &SessionOptions) -> Self {
        let mut tallies: Vec<Vec<Tally>> = pairs
            .iter()
            .map(|pair| pair.outputs.iter().map(|&(_, id)| Tally::new(quantized.tensor(id))).collect())
            .collect();
        let mut alone = Vec::with_capacity(pairs.len());
        for (pair, tallies) in pairs.iter().zip(&mut tallies) {
            let Own::Op(graph, _) = &pair.own else {
                alone.push(None);
                continue;
            };
            let session = Session::from_graph(graph.as_ref().clone(), options.clone());
            if let Err(error) = &session {
                tallies.iter_mut().for_each(|tally| tally.failure = Some(error.to_string()));
            }
            alone.push(session.ok());
        }
        Self { pairs, tallies, alone }
    }

    /// Takes in a run of each model.
    pub(super) fn add(&mut self, float: &Values, quantized: &Values) -> Result<()> {
        for ((pair, tallies), alone) in self.pairs.iter().zip(&mut self.tallies).zip(&mut self.alone) {
            for (&(float_id, id), tally) in pair.outputs.iter().zip(tallies.iter_mut()) {
                let (Some(expected), Some(values)) = (float.get(float_id), quantized.get(id)) else { continue };
                if expected.len() != values.len() {
                    tally.failure = Some("it has another size than its counterpart".into());
                    continue;
                }
                tally.error.add(expected, values)?;
                if let Some(grid) = &mut tally.grid {
                    grid.add(values, expected);
                }
                let finite: Vec<_> = expected.iter().copied().filter(|value| value.is_finite()).collect();
                tally.values.add(&finite);
                match &pair.own {
                    Own::Conversion(from) => {
                        if let Some(from) = quantized.get(*from).filter(|from| from.len() == values.len()) {
                            tally.own.add(from, values)?;
                        }
                    }
                    Own::Input => tally.own.add(expected, values)?,
                    Own::Op(..) | Own::Unknown(_) => {}
                }
            }
            let (Some(session), Own::Op(_, reads)) = (alone.as_mut(), &pair.own) else { continue };
            if let Err(reason) = add_own(session, reads, quantized, pair, tallies) {
                tallies.iter_mut().for_each(|tally| tally.failure = Some(reason.clone()));
                *alone = None;
            }
        }
        Ok(())
    }

    /// What was gathered for the outputs of each layer.
    pub(super) fn layers(&self) -> &[Vec<Tally>] {
        &self.tallies
    }
}

/// Runs the float op on what the quantized op read, and compares their results.
fn add_own(
    session: &mut Session,
    reads: &[TensorId],
    quantized: &Values,
    pair: &LayerPair,
    tallies: &mut [Tally],
) -> Result<(), String> {
    for (index, &read) in reads.iter().enumerate() {
        let values = quantized.get(read).ok_or("what it reads is not seen")?;
        write_input(session, index, values).map_err(|error| error.to_string())?;
    }
    session.run().map_err(|error| error.to_string())?;
    for (index, (&(_, id), tally)) in pair.outputs.iter().zip(tallies).enumerate() {
        let described = session.output_tensor(index).map_err(|error| error.to_string())?.clone();
        let bytes = session.output_bytes(index).map_err(|error| error.to_string())?;
        let expected = real_values(&described, bytes).ok_or("its elements are no numbers")?;
        let values = quantized.get(id).ok_or("what it computes is not seen")?;
        tally.own.add(&expected, values).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What rounding did to weights; `None` where they hold no numbers.
pub(super) fn weights_error(float: &Tensor, stored: &Tensor) -> Option<WeightsError> {
    let values = real_values(float, float.data.as_ref()?.bytes())?;
    let rounded = constant_values(stored)?;
    let mut tally = ErrorTally::default();
    tally.add(&values, &rounded).ok()?;
    let quantization = stored.quantization.as_ref().filter(|quantization| !quantization.scales.is_empty());
    let scales = quantization.map_or(0, |quantization| quantization.scales.len());
    let mut histogram = Histogram::default();
    let (grid, shown) = match quantization {
        // Over its own scale, each channel lies on the same grid.
        Some(quantization) if scales > 1 => {
            let inner = quantization.inner(&stored.shape);
            let scaled = |(index, value): (usize, &f32)| {
                let scale = quantization.scales[index / inner % scales];
                if scale > 0.0 { value / scale } else { 0.0 }
            };
            let grid = Grid::new(stored.dtype.to_string(), 1.0, 0, stored.dtype.integer_range()?);
            (Some(grid), values.iter().enumerate().map(scaled).collect::<Cow<'_, [f32]>>())
        }
        _ => (grid_of(stored), Cow::from(&values)),
    };
    let finite: Vec<_> = shown.iter().copied().filter(|value| value.is_finite()).collect();
    histogram.add(&finite);
    let name = float.name.clone();
    let foreign = is_foreign(&values, stored, &rounded);
    Some(WeightsError { name, error: tally.finish(), foreign, scales, grid, values: bins_of(&histogram) })
}

/// Whether more than a tenth of the weights lie further from the float ones than rounding takes them, whichever way it is done;
/// those at the ends of the grid may have been cut off there.
fn is_foreign(values: &[f32], stored: &Tensor, rounded: &[f32]) -> bool {
    let quantization = stored.quantization.as_ref().filter(|found| !found.scales.is_empty());
    // Re-estimation of batch normalization scales channels by a little, which is steps of eight bits but none of four.
    let steps = if stored.dtype == DType::I4 { 1.01 } else { 2.5 };
    let (mut far, mut counted) = (0_usize, 0_usize);
    for (index, (&value, &kept)) in values.iter().zip(rounded).enumerate() {
        let most = match (quantization, stored.dtype.integer_range()) {
            (Some(quantization), Some((low, high))) => {
                let scale = quantization.scales[index / quantization.inner(&stored.shape) % quantization.scales.len()];
                let zero_point = quantization.zero_points.first().copied().unwrap_or(0) as f32;
                let integer = (kept / scale + zero_point).round();
                if integer <= low as f32 || integer >= high as f32 {
                    continue;
                }
                steps * scale
            }
            _ => value.abs() / 256.0,
        };
        counted += 1;
        far += usize::from((value - kept).abs() > most);
    }
    far * 10 > counted
}

/// The real values of a constant, packed types included.
fn constant_values(tensor: &Tensor) -> Option<Vec<f32>> {
    let data = tensor.data.as_ref()?;
    match tensor.dtype {
        DType::I4 => {
            let integers = data.narrow_integers(DType::I4, tensor.elements().ok()?).ok()?;
            let bytes: Vec<u8> = integers.into_iter().map(|integer| integer as u8).collect();
            real_values(&Tensor { dtype: DType::I8, ..tensor.clone() }, &bytes)
        }
        DType::F16 => {
            let halves = data.bytes().as_chunks::<2>().0;
            Some(halves.iter().map(|&half| half::f16::from_le_bytes(half).to_f32()).collect())
        }
        _ => real_values(tensor, data.bytes()),
    }
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{Data, Quantization};

    use super::*;

    #[test]
    fn weights_of_each_form() {
        let values = [0.5_f32, -1.0, 0.25, 2.0];
        let float = Tensor::constant("w", DType::F32, [2, 2], Data::from_slice(&values));
        let int8 = Tensor::constant("w", DType::I8, [2, 2], Data::from_slice(&[5_i8, -10, 1, 8]))
            .with_quantization(Quantization::per_channel(vec![0.1, 0.25], 0));
        let found = weights_error(&float, &int8).unwrap();
        assert_eq!((found.scales, found.grid.unwrap().high), (2, 127.0));
        assert!(found.error.snr_db.is_none_or(|snr| snr > 100.0), "{:?}", found.error);
        assert_eq!((found.values.low, found.values.high), (-10.0, 8.0));
        let int4 = Tensor::constant("w", DType::I4, [2, 2], Data::from_bytes(&[0xe1, 0x40]))
            .with_quantization(Quantization::per_tensor(0.5, 0));
        let found = weights_error(&float, &int4).unwrap();
        assert_eq!((found.scales, found.error.max_abs), (1, 0.25));
        assert_eq!(found.grid.map(|grid| (grid.low, grid.high)), Some((-4.0, 3.5)));
        let halves = [half::f16::from_f32(0.5), half::f16::from_f32(-1.0), half::f16::from_f32(0.25), half::f16::MAX];
        let f16 = Tensor::constant("w", DType::F16, [2, 2], Data::from_slice(&halves.map(half::f16::to_bits)));
        assert_eq!(weights_error(&float, &f16).unwrap().error.max_abs, 65502.0);
    }
}
