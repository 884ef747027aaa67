//! What the checker of the tests reads of a fake vendor. The bots of a soak ask none.

/// A request that was accepted.
pub struct Ask {
    pub key: String,
    pub round: usize,
}
