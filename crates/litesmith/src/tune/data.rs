//! The data sets and transforms of a configuration file as Litesmith reads them.

use std::path::Path;
use std::sync::Arc;

use litesmith_data::{
    Dataset, Image, ImageShape, OpenOptions, Pixels, Sample, Source, Split, SplitKind, ValidationSplit, open,
};
use litesmith_graph::{Error, Model, Normalization, Result, TensorMetadata};

use super::TuneConfig;
use super::schema::NotHonoured;

/// Share of the training samples to evaluate on, where neither the file nor the data set says which.
const VALIDATION: f64 = 0.1;

/// A data set that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// IDX files in MNIST's names.
    Mnist,
    /// The same names.
    FashionMnist,
    /// A folder of image files for each class.
    ImageFolder,
}

/// A data loader of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataSource {
    /// Which data set, its folder, and whether the training samples are meant.
    pub set: Option<(DataKind, String, Option<bool>)>,
    /// Images at a time.
    pub batch: Option<usize>,
    /// What is done to an image.
    pub transforms: Transforms,
}

/// What is done to an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transforms {
    /// Height and width that images are brought to first.
    pub resize: Option<(usize, usize)>,
    /// Height and width of the middle that is kept.
    pub crop: Option<(usize, usize)>,
    /// `(pixel - mean) / std` of pixels of 0 to 255.
    pub mean_std: Option<(Vec<f32>, Vec<f32>)>,
}

impl DataSource {
    /// What [`open`] takes.
    fn spec(&self) -> Option<String> {
        let (kind, root, _) = self.set.as_ref()?;
        let below = match kind {
            DataKind::Mnist => "MNIST/raw",
            DataKind::FashionMnist => "FashionMNIST/raw",
            DataKind::ImageFolder => return Some(format!("images:{root}")),
        };
        // Where torchvision puts the files, where Keras puts them, else the folder itself.
        let below = Path::new(root).join(below);
        let archive = Path::new(root).join("mnist.npz");
        Some(match (below.is_dir(), archive.is_file()) {
            (true, _) => format!("idx:{}", below.display()),
            (_, true) => format!("npz:{}", archive.display()),
            _ => format!("idx:{root}"),
        })
    }

    fn train(&self) -> Option<bool> {
        self.set.as_ref().and_then(|(.., train)| *train)
    }
}

/// What is calibrated on and what is evaluated on.
#[derive(Debug, Clone)]
pub struct TuneData {
    /// Samples that activation ranges are measured on.
    pub calibration: Split,
    /// Samples that every trial is evaluated on.
    pub evaluation: Split,
    /// Which they are, in words.
    pub description: String,
    /// Samples left out because they cannot be read, in words.
    pub skipped: Vec<String>,
}

impl TuneData {
    /// Opens what the file names, or `data` in its place. Calibration samples are training samples, unless the file says
    /// `train: False`. Evaluated is the split that the file names by `train`; where it names none, the data set's validation
    /// samples, or a tenth of its training samples, of each class as much, which calibration then leaves alone. The test samples
    /// are looked at only where the file says `train: False`: what a choice was made by measures no more.
    ///
    /// # Errors
    /// Those of [`open`]; [`Error::Invalid`] where neither the file nor the caller says what to read.
    pub fn open(config: &TuneConfig, data: Option<&str>, skip_bad: bool) -> Result<Self> {
        let spec_of = |source: &DataSource, other: &DataSource, key: &str| {
            let spec = data.map(String::from).or_else(|| source.spec()).or_else(|| other.spec());
            spec.ok_or_else(|| {
                Error::invalid(key, "the file names no data set that can be read here").with_hint(
                    "pass --data DATA, as --data mnist, or name MNIST, FashionMNIST or ImageFolder with its root",
                )
            })
        };
        let (calibration, evaluation) = (&config.calibration, &config.evaluation);
        let evaluation_spec = spec_of(evaluation, calibration, "evaluation.accuracy.dataloader.dataset")?;
        let calibration_spec = spec_of(calibration, evaluation, "quantization.calibration.dataloader.dataset")?;
        let options = OpenOptions { skip_bad, ..OpenOptions::default() };
        let evaluated = open(&evaluation_spec, &options)?;
        let calibrated = match calibration_spec == evaluation_spec {
            true => None,
            false => Some(open(&calibration_spec, &options)?),
        };
        let mut skipped = Vec::new();
        for dataset in calibrated.iter().chain([&evaluated]) {
            skipped.extend(dataset.skipped.iter().map(|skipped| format!("{}: {}", skipped.split, skipped.error)));
        }
        let (what, mut split, rest) = match evaluation.train() {
            Some(true) => ("training samples", evaluated.require(SplitKind::Train)?.clone(), None),
            Some(false) => ("test samples", evaluated.evaluation()?.1.clone(), None),
            None => validation(&evaluated, config.seed)?,
        };
        let mut calibration_split = match (calibrated.as_ref(), calibration.train()) {
            (dataset, Some(false)) => dataset.unwrap_or(&evaluated).evaluation()?.1.clone(),
            (Some(dataset), _) => training(dataset)?.clone(),
            (None, _) => match rest {
                Some(rest) => rest,
                None => training(&evaluated)?.clone(),
            },
        };
        if let Some(samples) = config.samples_max {
            split = split.take(samples);
        }
        split = cropped(split, &evaluation.transforms)?;
        calibration_split = cropped(calibration_split, &calibration.transforms)?;
        let description = format!("{} {what} of {evaluation_spec}", split.len());
        Ok(Self { calibration: calibration_split, evaluation: split, description, skipped })
    }
}

/// The training samples, or the only ones there are.
fn training(dataset: &Dataset) -> Result<&Split> {
    match &dataset.train {
        Some(train) => Ok(train),
        None => dataset.evaluation().map(|(_, split)| split),
    }
}

/// The data set's validation samples, or some of its training samples and the rest of them.
fn validation(dataset: &Dataset, seed: u64) -> Result<(&'static str, Split, Option<Split>)> {
    if let Some(own) = &dataset.validation {
        return Ok(("validation samples", own.clone(), None));
    }
    let how = ValidationSplit::Fraction { fraction: VALIDATION, seed };
    let (rest, validation) = training(dataset)?.split_validation(how)?;
    Ok(("held-back training samples", validation, Some(rest)))
}

/// The model with the normalization of the file in its metadata, which says how pixels become numbers; and what of the
/// transforms has no effect.
pub(super) fn with_transforms(model: &Model, config: &TuneConfig) -> Result<(Model, Vec<NotHonoured>)> {
    let mut model = model.clone();
    let mut not = Vec::new();
    let mut name = |key: &str, reason: String| not.push(NotHonoured { key: key.into(), reason });
    let graph = model.main()?;
    let input = graph.inputs.first().map(|&id| graph.tensor(id).clone());
    let size = match input.as_ref().map(|input| input.shape.as_slice()) {
        Some(&[_, height, width, ..]) => Some((height, width)),
        _ => None,
    };
    let loaders = [
        ("evaluation.accuracy.dataloader.transform", &config.evaluation.transforms),
        ("quantization.calibration.dataloader.transform", &config.calibration.transforms),
    ];
    for (path, transforms) in loaders {
        let (last, key) = match (transforms.crop, transforms.resize) {
            (Some(crop), _) => (crop, "CenterCrop"),
            (None, Some(resize)) => (resize, "Resize"),
            (None, None) => continue,
        };
        if let Some((height, width)) = size.filter(|&size| size != last) {
            name(
                &format!("{path}.{key}.size"),
                format!("the model's input has {height} x {width} pixels, which counts"),
            );
        }
    }
    let [evaluation, calibration] = loaders.map(|(_, transforms)| transforms.mean_std.as_ref());
    if let (Some(evaluation), Some(calibration)) = (evaluation, calibration)
        && evaluation != calibration
    {
        name(
            "quantization.calibration.dataloader.transform.Normalize",
            "a model has one normalization: that of evaluation.accuracy.dataloader counts".into(),
        );
    }
    if let (Some((mean, std)), Some(input)) = (evaluation.or(calibration), input) {
        let inputs = &mut model.metadata.inputs;
        if inputs.is_empty() {
            inputs.push(TensorMetadata { name: input.name, ..TensorMetadata::default() });
        }
        if let Some(metadata) = inputs.first_mut() {
            metadata.normalization = Some(Normalization { mean: mean.clone(), std: std.clone() });
        }
    }
    Ok((model, not))
}

/// Images of which only the middle counts.
#[derive(Debug)]
struct Middle {
    split: Split,
    /// Height and width that images would be resized to first; as they are, without.
    resize: Option<(usize, usize)>,
    /// Height and width that are then kept.
    crop: (usize, usize),
}

impl Middle {
    /// What is kept of an image. Resizing and then cutting out a part is cutting out that share of it and resizing the part; the
    /// share is rounded to whole pixels.
    fn kept(&self, shape: ImageShape) -> (usize, usize) {
        let side = |side: usize, resized: Option<usize>, crop: usize| match resized {
            Some(resized) => (side * crop + resized / 2) / resized,
            None => crop,
        };
        let height = side(shape.height, self.resize.map(|(height, _)| height), self.crop.0);
        let width = side(shape.width, self.resize.map(|(_, width)| width), self.crop.1);
        (height.clamp(1, shape.height.max(1)), width.clamp(1, shape.width.max(1)))
    }
}

impl Source for Middle {
    fn len(&self) -> usize {
        self.split.len()
    }

    fn shape(&self) -> Option<ImageShape> {
        let shape = self.split.shape()?;
        let (height, width) = self.kept(shape);
        Some(ImageShape::new(height, width, shape.channels))
    }

    fn is_bytes(&self) -> bool {
        self.split.is_bytes()
    }

    fn label(&self, index: usize) -> u32 {
        self.split.label(index).unwrap_or(0)
    }

    fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()> {
        self.split.read_into(index, sample)?;
        let shape = sample.image.shape();
        let (height, width) = self.kept(shape);
        let (top, left) = ((shape.height - height) / 2, (shape.width - width) / 2);
        let kept = ImageShape::new(height, width, shape.channels);
        let pixels = match sample.image.pixels() {
            Pixels::U8(pixels) => Pixels::U8(middle(pixels, shape, kept, top, left)),
            Pixels::F32(pixels) => Pixels::F32(middle(pixels, shape, kept, top, left)),
        };
        sample.image = Image::new(kept, pixels)?;
        Ok(())
    }
}

fn middle<T: Copy>(pixels: &[T], shape: ImageShape, kept: ImageShape, top: usize, left: usize) -> Vec<T> {
    let row = shape.width * shape.channels;
    let rows = pixels.chunks_exact(row.max(1)).skip(top).take(kept.height);
    rows.flat_map(|row| &row[left * shape.channels..(left + kept.width) * shape.channels]).copied().collect()
}

/// The split as its transforms show it.
fn cropped(split: Split, transforms: &Transforms) -> Result<Split> {
    let Some(crop) = transforms.crop else { return Ok(split) };
    let (name, classes) = (split.name().to_owned(), Arc::from(split.classes()));
    Split::new(name, Arc::new(Middle { split, resize: transforms.resize, crop }), classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_kept() {
        let shape = ImageShape::new(4, 4, 1);
        let pixels: Vec<u8> = (0..16).collect();
        assert_eq!(middle(&pixels, shape, ImageShape::new(2, 2, 1), 1, 1), [5, 6, 9, 10]);
        let digits = open(
            &format!("mnist:{}", concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/mnist")),
            &OpenOptions { only: Some(SplitKind::Test), ..OpenOptions::default() },
        )
        .unwrap();
        let split = digits.test.unwrap().take(3);
        let crop =
            |resize, crop| cropped(split.clone(), &Transforms { resize, crop: Some(crop), mean_std: None }).unwrap();
        assert_eq!(crop(None, (20, 10)).get(0).unwrap().image.shape(), ImageShape::new(20, 10, 1));
        let half = crop(Some((64, 64)), (32, 32));
        assert_eq!(half.shape(), Some(ImageShape::new(14, 14, 1)));
        assert_eq!(half.label(1), split.label(1));
        // Larger than the image: all of it.
        assert_eq!(crop(None, (50, 50)).get(2).unwrap(), split.get(2).unwrap());
    }
}
