//! Ops of complex numbers.

use litesmith_graph::Result;
use litesmith_graph::ops::{ComplexAbs, Imag, Real, Rfft2d};

use super::arithmetic::empty_options;
use super::{Format, Options, OptionsBuilder, Tensors};

empty_options! {
    Rfft2d 105 ["2.5.0"] |_| 1;
    Imag 0 ["2.5.0"] |_| 1;
    Real 0 ["2.5.0"] |_| 1;
    ComplexAbs 0 ["2.5.0"] |_| 1;
}
