//! Splits what goes to AWS together into batches. Pure.

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    /// The maximum number of items.
    pub(super) items: usize,
    /// The maximum size of all items together, in bytes.
    pub(super) bytes: usize,
}

/// Splits items into batches within these limits, in order. A batch holds at least one item, even
/// one that AWS will refuse.
pub(super) fn batches<T>(
    mut items: &[T],
    limits: BatchLimits,
    size: impl Fn(&T) -> usize,
) -> Vec<&[T]> {
    let mut batches = Vec::new();
    while !items.is_empty() {
        let (batch, rest) = items.split_at(batch_length(items, limits, &size));
        batches.push(batch);
        items = rest;
    }
    batches
}

fn batch_length<T>(items: &[T], limits: BatchLimits, size: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    for (index, item) in items.iter().enumerate().take(limits.items) {
        bytes += size(item);
        if bytes > limits.bytes {
            return index.max(1);
        }
    }
    items.len().min(limits.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(sizes: &[usize]) -> Vec<usize> {
        let limits = BatchLimits {
            items: 10,
            bytes: 1000,
        };
        let batches = batches(sizes, limits, |size| *size);
        batches.iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn splits_by_number() {
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[1; 10]), [10]);
        assert_eq!(lengths(&[1; 11]), [10, 1]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
    }

    #[test]
    fn splits_by_size() {
        assert_eq!(lengths(&[500, 500, 1]), [2, 1]);
        assert_eq!(lengths(&[500, 501, 500]), [1, 1, 1]);
        assert_eq!(lengths(&[1000, 1000]), [1, 1]);
        assert_eq!(lengths(&[1001, 1]), [1, 1]);
    }
}
