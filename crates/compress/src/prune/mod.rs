//! Pruning: channels that are taken out ([`structured`]), and weights that become zero ([`weights`]).

mod channels;
mod importance;
mod remove;
mod structured;
mod weights;

pub use channels::{Channels, Group, Unit};
pub use importance::{Importance, Taylor, magnitude};
pub use structured::{ChannelPruning, ChannelReport, GroupReport, Originals, Scope, choose_channels, prune_channels};
pub use weights::{LayerSparsity, Pattern, SparsityReport, WeightMasks, WeightPruning, check_excluded, prune_weights};
pub(crate) use weights::{is_excluded, layer_weights};
