//! Batches for the ledger and for AWS, and their results.
//!
//! Both carry the key of the event or of the effect, so that no result is attributed to another
//! record.

use std::collections::HashMap;

/// An item with its key.
#[derive(Debug)]
pub struct Keyed<'a, K: ?Sized, T> {
    /// The key of the event or of the effect.
    pub key: &'a K,
    /// What to write, publish or count.
    pub item: &'a T,
}

/// The result for each item, by its key.
pub type KeyedResults<K, T, E> = HashMap<K, Result<T, E>>;

impl<K: ?Sized, T> Clone for Keyed<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, T> Copy for Keyed<'_, K, T> {}
