//! Batch normalisation with the statistics of the batch, as training needs it. At inference it is folded into weights.

pub mod float;
