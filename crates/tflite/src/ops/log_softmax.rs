//! LOG_SOFTMAX.

use litesmith_graph::Result;
use litesmith_graph::ops::LogSoftmax;

use super::arithmetic::{empty_options, int8_version};
use super::{Format, Options, OptionsBuilder, Tensors};

empty_options! {
    LogSoftmax 36 ["1.14.0", "1.14.0"] int8_version;
}
