//! Float kernels.
