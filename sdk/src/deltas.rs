//! Where a provider sends what it receives.

pub use crate::bindings::imports::stellaclaw::plugin::deltas::{Delta, Finished, Fragment, Item, ItemKind, Start, emit};
