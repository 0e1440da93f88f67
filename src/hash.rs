//! A hash that is stable across releases, for keys, short names and jitter.

/// Returns the 64-bit FNV-1a hash of a text.
///
/// Unlike that of the standard library's hasher, its algorithm is fixed.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
