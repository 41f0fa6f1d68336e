//! SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND.

use litesmith_graph::ops::{BatchToSpaceNd, SpaceToBatchNd};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors, without_options};

without_options! {
    SpaceToBatchNd ["1.6.0", "1.14.0", "2.3.0", "2.12.0"] version;
    BatchToSpaceNd ["1.6.0", "1.14.0", "2.3.0", "2.12.0"] version;
}

fn version(dtype: Option<DType>, rank: usize) -> usize {
    match dtype {
        Some(DType::I16) => 4,
        _ if rank != 4 => 3,
        Some(DType::I8) => 2,
        _ => 1,
    }
}
