//! Batches for the ledger and for AWS, and their results.
//!
//! Both carry the key of the event, so that no result is attributed to another record.

use std::collections::HashMap;

/// An item with the key of its event.
#[derive(Debug)]
pub struct Keyed<'a, T> {
    /// The key of the event.
    pub key: &'a str,
    /// What to write, publish or count for the event.
    pub item: &'a T,
}

/// The result for each item, by the key of its event.
pub type KeyedResults<T, E> = HashMap<String, Result<T, E>>;

impl<T> Clone for Keyed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Keyed<'_, T> {}
