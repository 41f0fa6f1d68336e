//! Litesmith's own runtime as what runs the float graph.

use litesmith_graph::{DType, Error, Result, TensorId, elements};
use litesmith_runtime::Session;

use super::FloatRunner;

impl FloatRunner for Session {
    /// Takes batches of any size where the graph's batch may change. Every input must be float32.
    fn run(&mut self, inputs: &[&[f32]], observe: &mut dyn FnMut(TensorId, &[f32])) -> Result<()> {
        if inputs.len() != self.input_count() {
            return Err(Error::invalid(
                "calibration sample",
                format!("got {} inputs, the model has {}", inputs.len(), self.input_count()),
            ));
        }
        if let Some(first) = inputs.first() {
            let shape = &self.input_tensor(0)?.shape;
            let sample = elements(shape.get(1..).unwrap_or_default())?.max(1);
            if first.len() % sample == 0 && shape.first().is_some_and(|&batch| batch != first.len() / sample) {
                self.resize_batch(first.len() / sample)?;
            }
        }
        for (index, values) in inputs.iter().enumerate() {
            let input = self.input_mut::<f32>(index)?;
            if input.len() != values.len() {
                return Err(Error::invalid(
                    format!("calibration sample: input {index}"),
                    format!("got {} elements, expected {}", values.len(), input.len()),
                ));
            }
            input.copy_from_slice(values);
        }
        let mut failure = None;
        self.run_observed(&mut |id, tensor, bytes| {
            if tensor.dtype != DType::F32 {
                return;
            }
            match bytemuck::try_cast_slice(bytes) {
                Ok(values) => observe(id, values),
                Err(error) => {
                    failure.get_or_insert_with(|| {
                        Error::malformed(format!("tensor \"{}\"", tensor.name), format!("its elements: {error}"))
                    });
                }
            }
        })?;
        failure.map_or(Ok(()), Err)
    }
}
