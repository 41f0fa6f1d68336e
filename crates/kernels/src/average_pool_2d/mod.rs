//! AVERAGE_POOL_2D. The geometry is [`crate::pool_2d::Pool2dGeometry`].

pub mod float;
pub mod quantized;
