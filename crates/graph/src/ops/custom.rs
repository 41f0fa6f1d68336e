//! CUSTOM: an op outside TensorFlow Lite's set, known by its name.

use super::{Inputs, OpSpec};
use crate::{Data, Error, FlexMap, Result};

/// Attributes of a custom op: its name, and options that only its implementation can read. The runtime has some built in and
/// takes others from its user; what they compute, and the shapes of it, only the runtime knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// Name (`custom_code`), as `TFLite_Detection_PostProcess`.
    pub name: String,
    /// Version of the op; 1 for the first.
    pub version: i32,
    /// Options: a FlexBuffer for most.
    pub options: Data,
}

impl Custom {
    /// The options by name, when they are a FlexBuffer.
    ///
    /// # Errors
    /// Those of [`FlexMap::read`].
    pub fn options_map(&self) -> Result<FlexMap> {
        FlexMap::read(self.options.bytes())
    }
}

impl OpSpec for Custom {
    fn infer(&self, _: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        Err(Error::unsupported(
            "CUSTOM",
            format!("what shapes \"{}\" computes is known only when it is run", self.name),
        ))
    }
}
