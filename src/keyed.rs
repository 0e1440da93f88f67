//! What goes to the ledger or to AWS in groups, and its answers: both by the key of the event, so
//! that an answer cannot be taken for that of another record.

use std::collections::HashMap;

/// Something with the key of its event.
#[derive(Debug)]
pub struct Keyed<'a, T> {
    /// The key of the event.
    pub key: &'a str,
    /// What belongs to the event.
    pub item: &'a T,
}

/// What became of each item, by the key of its event.
pub type KeyedResults<T, E> = HashMap<String, Result<T, E>>;

impl<T> Clone for Keyed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Keyed<'_, T> {}
