//! The one error of this crate: a plan that cannot be made.

use std::fmt;

/// A kernel cannot be planned for this geometry. Only plans fail; running a plan cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The kernel, such as `conv_2d`.
    pub kernel: &'static str,
    /// What about the geometry is refused, with the numbers.
    pub reason: String,
}

impl Unsupported {
    /// An error of `kernel` for `reason`.
    #[must_use]
    pub fn new(kernel: &'static str, reason: impl Into<String>) -> Self {
        Self { kernel, reason: reason.into() }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kernel, self.reason)
    }
}

impl std::error::Error for Unsupported {}
