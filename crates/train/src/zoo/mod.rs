//! Architectures by name.
//!
//! A spec is a name and, after a colon, options: `mobilenet-v2:width=0.35,input=96x96x3,classes=10`.

use std::fmt;
use std::str::FromStr;

use litesmith_graph::{Error, Result};

use crate::arch::Architecture;

mod ds_cnn;
mod lenet_5;
mod mnist_cnn;
mod mobilenet_v1;
mod mobilenet_v2;
mod resnet_8;

/// An architecture of the zoo.
#[derive(Debug, Clone, Copy)]
pub struct ZooEntry {
    /// Name.
    pub name: &'static str,
    /// What it is and where it comes from.
    pub description: &'static str,
    /// Shape of a sample when nothing else is asked for.
    pub input: &'static [usize],
    /// Classes when nothing else is asked for.
    pub classes: usize,
    /// Whether it has a width multiplier.
    pub has_width: bool,
    build: fn(&Options) -> Architecture,
}

/// Every architecture of the zoo.
pub const ZOO: &[ZooEntry] =
    &[mnist_cnn::ENTRY, lenet_5::ENTRY, ds_cnn::ENTRY, resnet_8::ENTRY, mobilenet_v1::ENTRY, mobilenet_v2::ENTRY];

/// What an architecture is built with.
struct Options {
    name: String,
    input: Vec<usize>,
    classes: usize,
    width: f64,
}

/// An architecture's name and options, as `mobilenet-v2:width=0.35,input=96x96x3,classes=10`.
#[derive(Debug, Clone, PartialEq)]
pub struct ZooSpec {
    /// Name in [`ZOO`].
    pub name: String,
    /// Shape of a sample, `[height, width, channels]` or `[height, width]`.
    pub input: Option<Vec<usize>>,
    /// Classes.
    pub classes: Option<usize>,
    /// Factor on the number of channels, above 0 and at most 4.
    pub width: Option<f64>,
}

impl ZooSpec {
    /// The architecture.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown name, an option the architecture does not have or a value out of range.
    pub fn architecture(&self) -> Result<Architecture> {
        let entry = self.entry()?;
        let place = || format!("architecture \"{}\"", self.name);
        let width = self.width.unwrap_or(1.0);
        if self.width.is_some() && !entry.has_width {
            return Err(Error::invalid(place(), "it has no option `width`"));
        }
        if !(width > 0.0 && width <= 4.0) {
            return Err(Error::invalid(place(), format!("got width {width}, expected above 0 and at most 4")));
        }
        let classes = self.classes.unwrap_or(entry.classes);
        if !(1..=1 << 20).contains(&classes) {
            return Err(Error::invalid(place(), format!("got {classes} classes, expected 1 to {}", 1 << 20)));
        }
        let input = self.input.clone().unwrap_or_else(|| entry.input.to_vec());
        if !matches!(input.len(), 2 | 3) {
            return Err(Error::invalid(
                place(),
                format!("got input {input:?}, expected height, width and, optionally, channels"),
            ));
        }
        Ok((entry.build)(&Options { name: self.to_string(), input, classes, width }))
    }

    fn entry(&self) -> Result<&'static ZooEntry> {
        ZOO.iter().find(|entry| entry.name == self.name).ok_or_else(|| {
            let names: Vec<_> = ZOO.iter().map(|entry| entry.name).collect();
            Error::invalid(
                format!("architecture \"{}\"", self.name),
                format!("no such name, expected one of {}", names.join(", ")),
            )
            .with_hint("an architecture of your own goes into a TOML file")
        })
    }
}

impl FromStr for ZooSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut spec = Self { name: name.into(), input: None, classes: None, width: None };
        let wrong = |message: String| {
            Error::invalid(format!("architecture \"{text}\""), message)
                .with_hint("options are width=0.5, input=96x96x3 and classes=10, after a colon and separated by commas")
        };
        spec.entry()?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| wrong(format!("got \"{option}\", expected an option and its value")))?;
            let bad = |what: &str| wrong(format!("got {key}={value}, expected {what}"));
            match key {
                "width" => spec.width = Some(value.parse().map_err(|_| bad("a number"))?),
                "classes" => spec.classes = Some(value.parse().map_err(|_| bad("a whole number"))?),
                "input" => {
                    let sizes = value.split('x').map(|size| size.parse().ok()).collect::<Option<Vec<_>>>();
                    spec.input = Some(sizes.ok_or_else(|| bad("sizes such as 96x96x3"))?);
                }
                _ => return Err(wrong(format!("unknown option \"{key}\""))),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for ZooSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        let mut options = Vec::new();
        options.extend(self.width.map(|width| format!("width={width}")));
        options.extend(
            self.input
                .as_ref()
                .map(|input| format!("input={}", input.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"))),
        );
        options.extend(self.classes.map(|classes| format!("classes={classes}")));
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

/// The architecture that a spec names.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name or option, or a value out of range.
pub fn architecture(spec: &str) -> Result<Architecture> {
    spec.parse::<ZooSpec>()?.architecture()
}

/// Channels scaled by a width multiplier, rounded to a multiple of `divisor`, never down by more than a tenth (as in the
/// MobileNetV2 paper's reference code).
fn scaled_channels(channels: usize, width: f64, divisor: usize) -> usize {
    let wanted = channels as f64 * width;
    let steps = ((wanted + divisor as f64 / 2.0) / divisor as f64).floor() as usize;
    let rounded = (steps * divisor).max(divisor);
    if (rounded as f64) < 0.9 * wanted { rounded + divisor } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_originals() {
        // mnist-cnn as the project defines it, ResNet-8 and DS-CNN of MLPerf Tiny, MobileNets of keras.applications.
        let expected = [
            ("mnist-cnn", 421_642),
            ("lenet-5", 61_706),
            ("resnet-8", 78_666),
            ("mobilenet-v1", 4_253_864),
            ("mobilenet-v1:width=0.25", 475_544),
            ("mobilenet-v2", 3_538_984),
            ("mobilenet-v2:width=0.35", 1_691_208),
            ("ds-cnn", 24_908),
        ];
        for (spec, parameters) in expected {
            assert_eq!(architecture(spec).unwrap().summary().unwrap().parameters(), parameters, "{spec}");
        }
    }

    #[test]
    fn every_entry_builds_with_other_inputs_and_classes() {
        for entry in ZOO {
            let spec = ZooSpec { name: entry.name.into(), input: Some(vec![32, 40]), classes: Some(7), width: None };
            let architecture = spec.architecture().unwrap();
            let graph = architecture.graph(1).unwrap();
            assert_eq!(graph.tensor(graph.inputs[0]).to_string(), "float32[-1,32,40]");
            assert_eq!(graph.tensor(graph.outputs[0]).to_string(), "float32[-1,7]", "{}", entry.name);
            let exported = crate::export::export(&graph).unwrap();
            assert!(exported.nodes.iter().all(|node| !node.op.is_training_only()));
            let written = crate::arch::Architecture::from_toml(&architecture.to_toml().unwrap()).unwrap();
            assert_eq!(written.graph(1).unwrap(), graph);
            assert_eq!(spec.to_string().parse::<ZooSpec>().unwrap(), spec);
        }
    }

    #[test]
    fn wrong_specs_say_what_is_wrong() {
        let error = |spec: &str| architecture(spec).unwrap_err().to_string();
        assert!(error("mnist").contains("expected one of mnist-cnn, lenet-5"));
        assert!(error("mnist-cnn:width=2").contains("no option `width`"));
        assert!(error("mobilenet-v2:width=0").contains("expected above 0"));
        assert!(error("mobilenet-v2:depth=3").contains("unknown option \"depth\""));
        assert!(error("mobilenet-v2:input=96xx3").contains("96x96x3"));
        assert!(error("mnist-cnn:classes=0").contains("0 classes"));
        assert!(error("mobilenet-v1:input=3").contains("height, width"));
    }
}
