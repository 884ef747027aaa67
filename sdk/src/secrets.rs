//! Secrets by the slots of the manifest. No function returns a value: a request names a slot, the host fills it in.

pub use crate::bindings::imports::stellaclaw::plugin::secrets::{Hash, attributes, exists, renew, sign};
