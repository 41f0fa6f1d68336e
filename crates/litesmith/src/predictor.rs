//! A model that takes images and gives scores, whatever its element types are.

use litesmith_data::{Image, ImageShape, Preprocess, Split, preprocess};
use litesmith_graph::{DType, Error, Model, Normalization, Quantization, Result, Tensor, TensorMetadata};
use litesmith_runtime::{Session, SessionOptions};

use crate::inputs::write_input;

/// Runs a model of one image input: real numbers in, real numbers out. A float, int8, uint8 or int16 model is the same to
/// the caller; quantized values are converted with the scales of the file.
pub struct Predictor {
    session: Session,
    preprocess: Preprocess,
    /// Whether the file says how pixels become numbers.
    says: bool,
    labels: Vec<String>,
    scores: Vec<f32>,
    pixels: Vec<f32>,
}

impl Predictor {
    /// Plans `model`.
    ///
    /// How pixels become numbers is read from the file's NormalizationOptions metadata; a file without gets pixels of
    /// 0 to 1. `shape` is needed where the input does not say height, width and channels (`[N, features]`).
    ///
    /// # Errors
    /// Those of [`Session::new`]; [`Error::Unsupported`] when the model has several inputs, or an input that is no image.
    pub fn new(model: &Model, options: SessionOptions, shape: Option<ImageShape>) -> Result<Self> {
        let session = Session::new(model, options)?;
        if session.input_count() != 1 {
            return Err(Error::unsupported(
                "model",
                format!("it has {} inputs, expected one image", session.input_count()),
            )
            .with_hint("models of several inputs run through the library's Session"));
        }
        let shape = image_shape(session.input_tensor(0)?, shape)?;
        let metadata = model.metadata.inputs.first();
        Ok(Self {
            preprocess: preprocess_of(metadata, shape)?,
            says: metadata.is_some_and(|metadata| metadata.normalization.is_some()),
            labels: model.metadata.outputs.first().map(|output| output.labels.clone()).unwrap_or_default(),
            session,
            scores: Vec::new(),
            pixels: Vec::new(),
        })
    }

    /// Plans `model` for the images of `split`: as [`Predictor::new`], but a file that does not say how pixels become
    /// numbers gets those of float images as they are; only bytes are brought to 0 to 1.
    ///
    /// # Errors
    /// Those of [`Predictor::new`].
    pub fn for_split(model: &Model, options: SessionOptions, split: &Split) -> Result<Self> {
        let mut predictor = Self::new(model, options, split.shape())?;
        if !predictor.says && !split.is_bytes() {
            predictor.preprocess = Preprocess::identity(predictor.preprocess.shape());
        }
        Ok(predictor)
    }

    /// Where the file does not say how pixels become numbers, they become what `normalization` says.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn assume_normalization(&mut self, normalization: &Normalization) -> Result<()> {
        if !self.says {
            let Normalization { mean, std } = normalization.clone();
            let preprocess = Preprocess::with_mean_std(self.preprocess.shape(), mean, std);
            preprocess.check()?;
            self.preprocess = preprocess;
        }
        Ok(())
    }

    /// Where only one of two models says how pixels become numbers, the other is taken to want the same ones: a float model and
    /// what was made of it.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn agree_on_normalization(&mut self, other: &mut Self) -> Result<()> {
        let of = |preprocess: &Preprocess| Normalization { mean: preprocess.mean.clone(), std: preprocess.std.clone() };
        match (self.says, other.says) {
            (true, false) => other.assume_normalization(&of(&self.preprocess)),
            (false, true) => self.assume_normalization(&of(&other.preprocess)),
            _ => Ok(()),
        }
    }

    /// How an image becomes the model's input.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// What has to be done to the images of `split` before the model takes them, where they are of one size and not the model's: worth
    /// a warning, since it may be the wrong data.
    #[must_use]
    pub fn mismatch(&self, split: &Split) -> Option<String> {
        let (data, model) = (split.shape()?, self.preprocess.shape());
        (data != model)
            .then(|| format!("the images of the data are {data}, the model takes {model}: they are brought to that"))
    }

    /// Names of the classes, from the file's labels; empty when it has none.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The session behind.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Numbers that one image takes.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.preprocess.height * self.preprocess.width * self.preprocess.channels
    }

    /// Runs on a batch of preprocessed images, `[batch, height, width, channels]`; returns the first output as real
    /// numbers, `[batch, ..]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the numbers are not whole images, else those of [`Session::resize_batch`] and
    /// [`Session::run`].
    pub fn predict(&mut self, images: &[f32]) -> Result<&[f32]> {
        let len = self.input_len();
        if images.is_empty() || !images.len().is_multiple_of(len) {
            return Err(Error::invalid(
                "images",
                format!("got {} numbers, expected a multiple of {len}", images.len()),
            ));
        }
        self.session.resize_batch(images.len() / len)?;
        write_real(&mut self.session, 0, images)?;
        self.session.run()?;
        read_real(&self.session, 0, &mut self.scores)?;
        Ok(&self.scores)
    }

    /// Output `index` of the last run as real numbers, whatever `values` held before.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for elements that are no numbers of this kind, [`Error::Malformed`] for integers without a
    /// scale.
    pub(crate) fn read(&self, index: usize, values: &mut Vec<f32>) -> Result<()> {
        read_real(&self.session, index, values)
    }

    /// Runs on one image of any size and returns its scores.
    ///
    /// # Errors
    /// Those of [`preprocess`] and [`Predictor::predict`].
    pub fn predict_image(&mut self, image: &Image) -> Result<&[f32]> {
        let mut pixels = std::mem::take(&mut self.pixels);
        pixels.resize(self.input_len(), 0.0);
        let result = preprocess(image, &self.preprocess, &mut pixels);
        let result = result.and_then(|()| self.predict(&pixels).map(drop));
        self.pixels = pixels;
        result.map(|()| self.scores.as_slice())
    }
}

/// The shape of the image that an input takes.
fn image_shape(input: &Tensor, given: Option<ImageShape>) -> Result<ImageShape> {
    match (input.shape.as_slice(), given) {
        (&[_, height, width, channels], _) => Ok(ImageShape::new(height, width, channels)),
        (&[_, height, width], _) => Ok(ImageShape::new(height, width, 1)),
        (&[_, features], Some(shape)) if shape.elements() == Some(features) => Ok(shape),
        (shape, _) => Err(Error::unsupported(
            format!("input \"{}\"", input.name),
            format!("shape {shape:?} is no image, expected [N, height, width] or [N, height, width, channels]"),
        )),
    }
}

fn preprocess_of(metadata: Option<&TensorMetadata>, shape: ImageShape) -> Result<Preprocess> {
    let preprocess = match metadata.and_then(|metadata| metadata.normalization.clone()) {
        Some(normalization) => Preprocess::with_mean_std(shape, normalization.mean, normalization.std),
        None => Preprocess::unit(shape),
    };
    preprocess.check().map_err(|error| error.at("NormalizationOptions"))?;
    Ok(preprocess)
}

/// Fills input `index` of the session with real numbers, quantized as its tensor says.
///
/// # Errors
/// [`Error::Unsupported`] for element types other than float32, int8, uint8 and int16, [`Error::Malformed`] for integers
/// without a scale.
pub(crate) fn write_real(session: &mut Session, index: usize, values: &[f32]) -> Result<()> {
    let tensor = session.input_tensor(index)?;
    let place = format!("input \"{}\"", tensor.name);
    match tensor.dtype {
        DType::F32 => {}
        DType::I8 | DType::U8 | DType::I16 => {
            per_tensor(tensor.quantization.as_ref(), &place)?;
        }
        other => return Err(Error::unsupported(place, format!("elements of type {other}"))),
    }
    write_input(session, index, values)
}

/// Reads output `index` of the session as real numbers.
fn read_real(session: &Session, index: usize, values: &mut Vec<f32>) -> Result<()> {
    let tensor = session.output_tensor(index)?;
    let place = || format!("output \"{}\"", tensor.name);
    values.clear();
    if tensor.dtype == DType::F32 {
        values.extend_from_slice(session.output::<f32>(index)?);
        return Ok(());
    }
    let (scale, zero_point) = per_tensor(tensor.quantization.as_ref(), &place())?;
    let real = |value: i32| (value - zero_point) as f32 * scale;
    match tensor.dtype {
        DType::I8 => values.extend(session.output::<i8>(index)?.iter().map(|&value| real(value.into()))),
        DType::U8 => values.extend(session.output::<u8>(index)?.iter().map(|&value| real(value.into()))),
        DType::I16 => values.extend(session.output::<i16>(index)?.iter().map(|&value| real(value.into()))),
        other => return Err(Error::unsupported(place(), format!("elements of type {other}"))),
    }
    Ok(())
}

fn per_tensor(quantization: Option<&Quantization>, place: &str) -> Result<(f32, i32)> {
    quantization
        .and_then(Quantization::as_per_tensor)
        .and_then(|(scale, zero_point)| Some((scale, i32::try_from(zero_point).ok()?)))
        .ok_or_else(|| Error::malformed(place, "integers without one scale and zero point"))
}
