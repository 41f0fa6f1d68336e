//! Data sets, image decoding, preprocessing, augmentation and batches.
//!
//! [`open`] opens a [`Dataset`] by a spec such as `mnist` or `images:DIR`; its [`Split`]s give samples by index, decoded
//! when asked for, from any thread. A [`Loader`] makes batches of a split: decoded, brought to the network's input by a
//! [`Preprocess`], changed at random by an [`Augment`], in an order that depends on seed and epoch alone.
//!
//! ```no_run
//! use litesmith_data::{Augment, Batch, Loader, LoaderConfig, OpenOptions, SplitKind, ValidationSplit, open};
//!
//! # fn main() -> litesmith_graph::Result<()> {
//! let mnist = open("mnist", &OpenOptions::default())?;
//! let (train, validation) = mnist.require(SplitKind::Train)?.split_validation(ValidationSplit::Last(5000))?;
//! let preprocess = train.default_preprocess()?;
//! let config = LoaderConfig { augment: Augment::preset("digits")?, ..LoaderConfig::training(128, 1) };
//! let loader = Loader::new(train, preprocess, config)?;
//! let mut batch = Batch::default();
//! let mut epoch = loader.epoch(0, 0);
//! while let Some(step) = epoch.next_into(&mut batch)? {
//!     println!("step {step}: {} images", batch.len());
//! }
//! # let _ = validation;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod arrays;
mod augment;
mod csv;
mod dataset;
mod files;
mod folder;
mod idx;
mod image;
mod loader;
mod named;
mod npy;
mod open;
mod preprocess;
mod rng;

pub use crate::augment::{Augment, Fill};
pub use crate::dataset::{Dataset, Sample, SkippedSample, Source, Split, SplitKind, Target, ValidationSplit};
pub use crate::image::{Image, ImageLimits, ImageShape, Pixels, decode_image, load_image};
pub use crate::loader::{Batch, Epoch, Loader, LoaderConfig};
pub use crate::npy::{NpyArray, RawArray, load_npy, read_npy, write_npy};
pub use crate::open::{OpenOptions, open};
pub use crate::preprocess::{Preprocess, Resize, preprocess};
pub use crate::rng::{Purpose, Rng};

/// The example of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/DATA.md")]
struct Guide;
