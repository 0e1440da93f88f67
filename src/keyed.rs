//! What goes to the ledger or to AWS in groups, and its answers: both by the key of the event or of
//! the effect, so that an answer cannot be taken for that of another.

use std::collections::HashMap;

/// Something with its key.
#[derive(Debug)]
pub struct Keyed<'a, K: ?Sized, T> {
    /// The key.
    pub key: &'a K,
    /// What belongs to it.
    pub item: &'a T,
}

/// What became of each item, by its key.
pub type KeyedResults<K, T, E> = HashMap<K, Result<T, E>>;

impl<K: ?Sized, T> Clone for Keyed<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, T> Copy for Keyed<'_, K, T> {}
